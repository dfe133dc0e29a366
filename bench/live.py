"""Live readout: tokens per second with every shipped concept read at 4 layers, and without.

What a readout costs is a hundredth of what a token costs and less than a busy machine's noise, so
it is not the difference of the two: the seconds are counted that a thread spends in our own code.
The last token has scores once it is fed, which plain generation does not do: that is said apart.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from bench.results import Row, publish
from readout_ui.activations import hooks
from readout_ui.inference.decoding import (
    Answers,
    Live,
    TokenTracker,
    pad_token,
)
from readout_ui.inference.generation import frame_for_answer, generate
from readout_ui.inference.logits import FiniteLogits, NextLogits
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


def page(with_text: bool = True) -> Callable[[Live], None]:
    """What a chat's page takes: text, if that is asked for, and new scores, now and then."""
    shown, have = 0.0, 0

    def show(live: Live) -> None:
        nonlocal shown, have
        if time.perf_counter() - shown > TICK_SECONDS:
            _text, part = live.text if with_text else "", live.reading(have)
            have += len(part.tokens) if part else 0
            shown = time.perf_counter()

    return show


def read_out(model: LoadedModel, prompt: FramedChat, vectors: ConceptVectors) -> float:
    """Seconds per token of our `generate`, its text and new scores fetched as the page does."""
    sampling = Sampling(temperature=0, max_new_tokens=N_TOKENS)
    started = time.perf_counter()
    made = generate(model, prompt, sampling, vectors=vectors, on_text=page())
    return (time.perf_counter() - started) / len(made.token_ids)


OURS = (
    (Answers, "_check_fed"),
    (FiniteLogits, "__call__"),
    (NextLogits, "__call__"),
    (TokenTracker, "__call__"),
)
"""What a pass calls of ours beside the hooks; the last one also tells the page."""


@contextmanager
def counted() -> Iterator[list[float]]:
    """Inside, the processor's seconds in our code go to the list's one number."""
    spent = [0.0]

    def timed(method: Any) -> Any:
        @functools.wraps(method)
        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.thread_time()
            try:
                return method(*args, **kwargs)
            finally:
                spent[0] += time.thread_time() - started

        return run

    make = hooks._hook
    with ExitStack() as stack:
        stack.enter_context(patch.object(hooks, "_hook", lambda *args: timed(make(*args))))
        for owner, name in OURS:
            stack.enter_context(patch.object(owner, name, timed(getattr(owner, name))))
        yield spent


def own_work(model: LoadedModel, prompt: FramedChat, vectors: ConceptVectors) -> list[float]:
    """Seconds of the processor: in our code for each token, and what feeding the last one takes.

    The answer's text is not counted, which is made without a readout as well.
    """
    over = 0.0

    def mark(live: Live) -> None:
        nonlocal over
        over = time.thread_time()
        show(live)

    show = page(with_text=False)
    sampling = Sampling(temperature=0, max_new_tokens=N_TOKENS)
    with counted() as spent:
        made = generate(model, prompt, sampling, vectors=vectors, on_text=mark)
    return [spent[0] / len(made.token_ids), time.thread_time() - over]


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
    own = [own_work(model, prompt, vectors) for _ in range(ROUNDS)]
    each, last = (median(column) for column in zip(*own, strict=True))
    token, shared = median(bare for bare, _ in pairs), each + last / N_TOKENS
    note = f"{len(vectors.concepts)} concepts, {N_LAYERS} layers, {N_TOKENS} tokens, {model.device}"
    return [
        Row("plain generate", 1 / token, "/s", note=note),
        Row("with live readout", 1 / median(read for _, read in pairs), "/s"),
        Row("with / without, tokens per second", ratio, "x", goal=">= 0.97"),
        Row("readout per token", 1000 * each, "ms", goal="<= 0.6"),
        Row("of what a token takes", 100 * each / token, "%", goal="<= 1"),
        Row("the last token is fed too, once per answer", 1000 * last, "ms"),
        Row("readout per token with its share of that", 1000 * shared, "ms"),
        Row("of what a token takes, with it", 100 * shared / token, "%"),
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
