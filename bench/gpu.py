"""What reading, training and speaking cost on a GPU: at most 10 minutes, nothing is downloaded.

    python -m bench.gpu                              # an 8B Llama shape with random bf16 weights
    python -m bench.gpu --device cpu --shape tiny    # checks the benchmark itself

Needs torch, transformers and accelerate beside what the package needs. Exits 1 where a goal is
missed and writes what it found as JSON. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from bench.results import Row
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.prefix import forget_prefix
from readout_ui.errors import UserError
from readout_ui.inference.decoding import Live
from readout_ui.inference.forward import frame_content, read_chat
from readout_ui.inference.generation import frame_for_answer, generate
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering import steered
from readout_ui.inference.steering_setup import Steer, SteeringSetup
from readout_ui.models.blocks import bare_model
from readout_ui.models.chat_template import Turn
from readout_ui.models.devices import release_memory
from readout_ui.models.loading import LoadedModel, ModelSpec, adopt_model
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.vectors import ConceptVectors
from tests.support.architectures import CHATML, available, tiny_tokenizer
from tests.support.loaded_tiny import load_tiny, random_vectors

SHAPES = {  # layers, width, inner width, heads, key-value heads, vocabulary
    "tiny": (4, 64, 128, 4, 2, 384),
    "1b": (16, 2048, 8192, 32, 8, 128_256),
    "8b": (32, 4096, 14_336, 32, 8, 128_256),
}
WORDS = ("calm", "warm", "breath", "slow", "even", "afraid", "hands", "shake", "harbour", "empty")
ROUNDS = 3


class Bench:
    """One device with one model, and the figures so far."""

    def __init__(self, shape: str, device: torch.device, n_concepts: int, n_texts: int) -> None:
        self.device, self.rows = device, list[Row]()
        self.goals = shape != "tiny"
        self.n_concepts, self.n_texts = n_concepts, n_texts
        self.model = random_model(shape, device)

    def add(self, name: str, value: float, unit: str, goal: str = "") -> None:
        """Note a figure and print it; goals are those of the 8B shape."""
        row = Row(name, value, unit, goal if self.goals or unit == "times" else "")
        self.rows.append(row)
        print(f"{row.verdict or '':7}{name}: {value:.4g} {unit} {row.goal}".rstrip(), flush=True)

    def seconds(self, work: Callable[[], object], rounds: int = ROUNDS) -> float:
        """The fastest of some rounds, everything on the device done."""
        best = float("inf")
        for _ in range(rounds):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            best = min(best, time.perf_counter() - start)
        return best

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak(self, work: Callable[[], object]) -> float:
        """GiB that it took above what was there before; 0 on a CPU."""
        if self.device.type != "cuda":
            work()
            return 0.0
        release_memory()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        work()
        return (torch.cuda.max_memory_allocated(self.device) - before) / 2**30


def random_model(shape: str, device: torch.device) -> LoadedModel:
    layers, width, inner, heads, shared, vocabulary = SHAPES[shape]
    tokenizer = tiny_tokenizer(CHATML)
    make: Any = LlamaConfig
    config = make(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=shared,
        vocab_size=vocabulary,
        max_position_embeddings=32_768,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    build_model: Any = AutoModelForCausalLM.from_config
    with device:
        model = build_model(config, dtype=torch.bfloat16)
    model.eval().requires_grad_(False)
    spec = ModelSpec(model=shape, device=str(device), dtype="bf16")
    return adopt_model(model, tokenizer, spec)


def library(folder: Path, n_concepts: int, n_texts: int) -> Library:
    """Random texts of 22 words, alike in length."""
    chance = random.Random(0)
    folder.mkdir()
    for name in (*(f"concept{i:02d}" for i in range(n_concepts)), "_neutral"):
        texts = (" ".join(chance.choices(WORDS, k=22)) + f" {name} {i}." for i in range(n_texts))
        (folder / f"{name}.txt").write_text("\n\n".join(texts), "utf-8")
    return Library(folder)


def training(bench: Bench) -> ConceptVectors:
    """Capture against a bare forward, the first training, and a retrain after one edit."""
    model = bench.model
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = library(folder / "texts", bench.n_concepts, bench.n_texts)
        every = [text for file in texts.files for text in file.descriptions]

        def capture() -> None:
            forget_prefix(model)
            read_activations(model, every, CaptureSettings())

        framed = sorted((model.frame.frame(text, 256).token_ids for text in every), key=len)
        bare_forward(model, framed)
        bare = bench.seconds(lambda: bare_forward(model, framed))
        bench.add("bare forward of all texts", bare, "s")
        capture()
        bench.add("capture / bare forward", bench.seconds(capture) / bare, "x", "<= 0.5")
        bench.add("peak of a capture above the weights", bench.peak(capture), "GiB", "<= 4")
        cache = ActivationCache(folder / "cache")
        first = bench.seconds(lambda: train(texts, model, TrainSettings(), cache), rounds=1)
        bench.add("first training", first, "s", "<= 3")
        edited = folder / "texts" / "concept00.txt"
        edited.write_text("I feel calm.\n\n" + edited.read_text("utf-8"), "utf-8")
        changed = Library(folder / "texts")
        again = bench.seconds(lambda: train(changed, model, TrainSettings(), cache), rounds=1)
        bench.add("retrain after one edit", again, "s", "<= 0.5")
        vectors = train(changed, model, TrainSettings(), cache).vectors
        cache.close()
    return vectors


def bare_forward(model: LoadedModel, framed: list[tuple[int, ...]], budget: int = 16_384) -> None:
    """The decoder without head over all texts, sorted by length and padded."""
    start = 0
    while start < len(framed):
        stop = start + 1
        while stop < len(framed) and (stop + 1 - start) * len(framed[stop]) <= budget:
            stop += 1
        width = len(framed[stop - 1])
        rows = [[*row, *[0] * (width - len(row))] for row in framed[start:stop]]
        ids = torch.tensor(rows, device=model.device)
        with torch.inference_mode():
            bare_model(model.model)(input_ids=ids, attention_mask=ids != 0, use_cache=False)
        start = stop


def speaking(bench: Bench, vectors: ConceptVectors, n_tokens: int) -> None:
    """What reading and steering add to every token of an answer."""
    model = bench.model
    prompt = frame_for_answer(model, [Turn("user", "How do you feel right now?")])
    norms = dict.fromkeys(range(model.n_layers), 3.0)
    setup = SteeringSetup((Steer(vectors.concepts[0], vectors.layers, 0.05),))

    def speak(read: ConceptVectors | None = None, steer: bool = False) -> None:
        def hear(live: Live) -> None:
            live.reading(len(prompt.token_ids) + live.n_tokens - 2)

        generate(
            model,
            prompt,
            Sampling(max_new_tokens=n_tokens, temperature=0.0),
            vectors=read,
            on_text=hear if read else None,
            steering=(lambda p: steered(model, setup, vectors, norms, [len(p.token_ids)]))
            if steer
            else None,
        )

    def per_token(work: Callable[[], None]) -> float:
        return bench.seconds(work) / n_tokens * 1e3

    speak()
    plain = per_token(speak)
    bench.add("answer, bare", plain, "ms/token")
    some = vectors.select(layers=vectors.layers[:: max(1, len(vectors.layers) // 4)][:4])
    for name, read in (("4 layers", some), ("all layers", vectors)):
        cost = per_token(lambda read=read: speak(read)) - plain  # type: ignore[misc]
        bench.add(f"live readout, {name}", cost, "ms/token", "<= 1")
    cost = per_token(lambda: speak(steer=True)) - plain
    bench.add("steering at every layer", cost, "ms/token", "<= 1")
    long = "I feel calm and the harbour was empty. " * (40 if not bench.goals else 700)
    content = frame_content(model.frame, long, "assistant")
    bench.add(
        f"peak of reading {len(content.token_ids)} tokens",
        bench.peak(lambda: read_chat(model, some, content)),
        "GiB",
        "<= 4",
    )


def recovery(bench: Bench) -> None:
    """Real memory that runs out: the same work is done afterwards, with the memory of before."""
    if bench.device.type != "cuda":
        return
    model = bench.model
    vectors = random_vectors(model, (0, model.n_layers - 1))
    prompt = frame_for_answer(model, [Turn("user", "How do you feel? " * 50)])
    content = frame_content(model.frame, "I feel calm. " * 300, "assistant")
    works: dict[str, Callable[[], object]] = {
        "capture": lambda: read_activations(model, ["I feel calm. " * 40], CaptureSettings()),
        "reading": lambda: read_chat(model, vectors, content),
        "answer": lambda: generate(model, prompt, Sampling(max_new_tokens=8), vectors=vectors),
    }
    for name, work in works.items():
        release_memory()
        before = torch.cuda.memory_allocated(bench.device)
        total = torch.cuda.get_device_properties(bench.device).total_memory
        torch.cuda.set_per_process_memory_fraction((before + 2**20) / total, bench.device)
        refused = 0
        with suppress(UserError):
            refused = 1
            work()
            refused = 0
        torch.cuda.set_per_process_memory_fraction(1.0, bench.device)
        gc.collect()
        left = torch.cuda.memory_allocated(bench.device) - before
        bench.add(f"{name} without memory: bytes left behind", left, "times", "<= 0")
        bench.add(f"{name} without memory: one sentence", refused, "times", ">= 1")
        work()


def equality(bench: Bench) -> None:
    """Largest relative difference to the CPU in float32, of every architecture."""
    for name in available():
        cpu = load_tiny(name)
        there = load_tiny(name)
        there.model.to(bench.device)  # type: ignore[arg-type]
        there = replace(there, device=bench.device)
        texts = ["I feel calm and warm.", "The harbour was empty; the boats had left."]
        one, two = (read_activations(m, texts, CaptureSettings()).pooled for m in (cpu, there))
        difference = float(((one - two).norm(dim=-1) / one.norm(dim=-1)).max())
        bench.add(f"difference to the CPU, {name}", difference, "x", "<= 1e-4")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="8b")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--concepts", type=int, default=36)
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("bench/results/gpu.json"))
    chosen = parser.parse_args()
    bench = Bench(chosen.shape, torch.device(chosen.device), chosen.concepts, chosen.texts)
    speaking(bench, training(bench), chosen.tokens)
    recovery(bench)
    equality(bench)
    missed = [row for row in bench.rows if row.verdict == "missed"]
    figures = [{**asdict(row), "verdict": row.verdict} for row in bench.rows]
    title = f"{chosen.shape} on {chosen.device}, torch {torch.__version__}"
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps({"title": title, "rows": figures}, indent=2) + "\n", "utf-8")
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
