"""Live readout: tokens per second with every shipped concept read at 4 layers, and without."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from bench.results import Row, publish
from readout_ui.inference.decoding import Live, pad_token
from readout_ui.inference.generation import frame_for_answer, generate
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.prompt import FramedChat
from readout_ui.texts.library import Library
from readout_ui.vectors.vectors import ConceptVectors

DESCRIPTIONS = Path(__file__).parents[1] / "descriptions"
N_LAYERS, N_TOKENS, ROUNDS = 4, 128, 7
PROMPT = "Tell me a long story about a harbour, a storm and the people who wait."
TICK_SECONDS = 0.12
"""How often the page asks for what is new."""


class Collector(BaseStreamer):  # type: ignore[misc]
    """What a chat needs of a streamer: the new tokens, and the text now and then."""

    def __init__(self, tokenizer: Any) -> None:
        self.ids: list[int] = []
        self.tokenizer, self.text, self.shown = tokenizer, "", 0.0
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        self.ids += value.tolist()
        if time.perf_counter() - self.shown > TICK_SECONDS:
            self.text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
            self.shown = time.perf_counter()

    def end(self) -> None:
        """Nothing is held back."""


def plain(model: LoadedModel, prompt: FramedChat) -> float:
    """Seconds per token of transformers' `generate` with a streamer and without a hook."""
    streamer = Collector(model.tokenizer)
    make: Any = GenerationConfig
    config = make(
        max_new_tokens=N_TOKENS,
        do_sample=False,
        eos_token_id=2**31 - 1,
        pad_token_id=pad_token(model),
    )
    ids = torch.tensor([prompt.token_ids], device=model.device)
    started = time.perf_counter()
    with torch.inference_mode():
        run: Any = model.model.generate
        run(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=config,
            streamer=streamer,
        )
    return (time.perf_counter() - started) / len(streamer.ids)


def read_out(model: LoadedModel, prompt: FramedChat, vectors: ConceptVectors) -> float:
    """Seconds per token of our `generate`, its text and new scores fetched as the page does."""
    shown, have = 0.0, 0

    def show(live: Live) -> None:
        nonlocal shown, have
        if time.perf_counter() - shown > TICK_SECONDS:
            _text, part = live.text, live.reading(have)
            have += len(part.tokens) if part else 0
            shown = time.perf_counter()

    sampling = Sampling(temperature=0, max_new_tokens=N_TOKENS)
    started = time.perf_counter()
    made = generate(model, prompt, sampling, vectors=vectors, on_text=show)
    return (time.perf_counter() - started) / len(made.token_ids)


def random_vectors(model: LoadedModel, concepts: tuple[str, ...]) -> ConceptVectors:
    """Directions of the right shape; what a projection costs does not depend on its numbers."""
    layers = tuple(model.n_layers * (place + 1) // (N_LAYERS + 1) for place in range(N_LAYERS))
    random = torch.Generator().manual_seed(0)
    shape = len(concepts), N_LAYERS, model.d_model
    directions = torch.randn(*shape, generator=random)
    return ConceptVectors(
        concepts=concepts,
        layers=layers,
        directions=directions / directions.norm(dim=2, keepdim=True),
        center=torch.randn(*shape[1:], generator=random),
        neutral_mean=torch.zeros(*shape[:2]),
        neutral_std=torch.ones(*shape[:2]),
    )


def measure(model: LoadedModel) -> list[Row]:
    """Both sides in turns, so that a busy machine slows both."""
    prompt = frame_for_answer(model, [Turn("user", PROMPT)])
    vectors = random_vectors(model, Library(DESCRIPTIONS).names())
    plain(model, prompt), read_out(model, prompt, vectors)
    pairs = [(plain(model, prompt), read_out(model, prompt, vectors)) for _ in range(ROUNDS)]
    ratio = median(bare / read for bare, read in pairs)
    extra = median(read - bare for bare, read in pairs) * 1000
    note = f"{len(vectors.concepts)} concepts, {N_LAYERS} layers, {N_TOKENS} tokens, {model.device}"
    goal = "<= 1" if model.device.type == "cuda" else ""
    return [
        Row("plain generate", 1 / median(bare for bare, _ in pairs), "/s", note=note),
        Row("with live readout", 1 / median(read for _, read in pairs), "/s"),
        Row("with / without, tokens per second", ratio, "x", goal=">= 0.97"),
        Row("readout per token", extra, "ms", goal=goal),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    model = load_model(ModelSpec(device=device, dtype="fp32"))
    name = "live" if model.device.type == "cpu" else f"live_{model.device.type}"
    publish(name, "Live readout against plain generation, bundled model", measure(model))


if __name__ == "__main__":
    main()
