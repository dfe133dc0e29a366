"""What reading, training and speaking cost on a GPU: at most 10 minutes, nothing is downloaded.

    python -m bench.gpu                              # an 8B Llama shape with random bf16 weights
    python -m bench.gpu --shape 70b --only training  # as wide and deep as a 70B model, 14B weights
    python -m bench.gpu --device cpu --shape tiny    # checks the benchmark itself

Needs torch, transformers and accelerate beside what the package needs. Exits 1 where a goal is
missed and writes what it found as JSON, part by part.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from bench import gpu_checks
from bench.results import Row
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import Activations, read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.prefix import forget_prefix
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
from tests.support.architectures import CHATML, tiny_tokenizer
from tests.support.loaded_tiny import random_vectors

SHAPES = {  # layers, width, inner width, heads, key-value heads, vocabulary
    "tiny": (4, 64, 128, 4, 2, 384),
    "small": (4, 1024, 4096, 16, 4, 1024),
    "1b": (16, 2048, 8192, 32, 8, 128_256),
    "8b": (32, 4096, 14_336, 32, 8, 128_256),
    "70b": (80, 8192, 1024, 64, 8, 128_256),  # narrow inside its blocks, so that one card holds it
}
TRAINING_GOALS = {"8b": ("<= 3", "<= 0.5"), "70b": ("", "<= 1.5")}
"""Of a first training and of a retrain after one edit; another shape has those of 8b."""
SYSTEM = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n"
)
"""The bundled model's own: 60 % of a framed text is the start that all share, as it is there."""
WORDS = ("calm", "warm", "breath", "slow", "even", "afraid", "hands", "shake", "harbour", "empty")
ROUNDS = 3
TURNS, TURN_TOKENS = 32, 9
"""Many short answers: a processor's speed drifts within a second."""
QUESTION = "How do you feel right now?"
LONG_QUESTION = f"The harbour was empty and the boats had left. {QUESTION} " * 8
"""Answers to it are of lengths that no other answer of this benchmark has."""
Ways = dict[str, Callable[[int], list[float]]]
"""By name, an answer of so many tokens: the milliseconds from each to the next."""


class Bench:
    """One device with one model, and the figures so far."""

    def __init__(self, shape: str, device: torch.device, n_concepts: int, n_texts: int) -> None:
        self.shape, self.device, self.rows = shape, device, list[Row]()
        self.goals = shape != "tiny"
        self.n_concepts, self.n_texts = n_concepts, n_texts

    @cached_property
    def model(self) -> LoadedModel:
        """Made when it is first asked for."""
        started = time.perf_counter()
        made = random_model(self.shape, self.device)
        self.add("making and identifying the model", time.perf_counter() - started, "s")
        return made

    def add(self, name: str, value: float, unit: str, goal: str = "", note: str = "") -> None:
        """Note a figure and print it; goals are those of the 8B shape."""
        row = Row(name, value, unit, goal if self.goals or unit == "times" else "", note)
        self.rows.append(row)
        said = f"{row.verdict:7}{name}: {value:.4g} {unit} {row.goal}".rstrip()
        print(f"{said} ({note})" if note else said, flush=True)

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
    tokenizer = tiny_tokenizer(SYSTEM + CHATML)
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
    model.lm_head.weight[config.eos_token_id] = 0  # else an answer may end by chance
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


def training(bench: Bench) -> None:
    """Capture against a bare forward, the first training, and a retrain after one edit."""
    model = bench.model
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = library(folder / "texts", bench.n_concepts, bench.n_texts)
        every = [text for file in texts.files for text in file.descriptions]

        def capture() -> Activations:
            forget_prefix(model)
            return read_activations(model, every, CaptureSettings())

        framed = sorted((model.frame.frame(text, 256).token_ids for text in every), key=len)
        bare_forward(model, framed)
        bare = bench.seconds(lambda: bare_forward(model, framed))
        bench.add("bare forward of all texts", bare, "s")
        print(*capture().notes)
        bench.add("capture / bare forward", bench.seconds(capture) / bare, "x", "<= 0.5")
        bench.add("peak of a capture above the weights", bench.peak(capture), "GiB", "<= 4")
        cache = ActivationCache(folder / "cache")
        first, goal = TRAINING_GOALS.get(bench.shape, TRAINING_GOALS["8b"])
        timed_training(bench, "first training", first, texts, cache)
        for edit in range(ROUNDS):
            edited = folder / "texts" / "concept00.txt"
            edited.write_text(f"I feel calm {edit}.\n\n" + edited.read_text("utf-8"), "utf-8")
            changed, name = Library(folder / "texts"), "retrain after one edit"
            timed_training(bench, f"{name}, {edit + 1}", goal, changed, cache)
        cache.close()


def timed_training(
    bench: Bench, name: str, goal: str, texts: Library, cache: ActivationCache
) -> None:
    """One training, whole and by part."""
    parts: dict[str, float] = {}

    def run() -> None:
        parts.update(train(texts, bench.model, TrainSettings(), cache).timings)

    bench.add(name, bench.seconds(run, rounds=1), "s", goal)
    for part, seconds in parts.items():
        bench.add(f"{name}, of which {part}", seconds, "s")


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


class Speaker:
    """Answers of one model: bare, read or steered."""

    def __init__(self, bench: Bench) -> None:
        self.model = bench.model
        layers, concepts = (
            tuple(range(self.model.n_layers)),
            tuple(map(str, range(bench.n_concepts))),
        )
        self.vectors = random_vectors(self.model, layers, concepts)
        self._norms = dict.fromkeys(layers, 3.0)
        self._setup = SteeringSetup((Steer(concepts[0], layers, 0.05),))

    def speak(
        self,
        n_tokens: int,
        read: ConceptVectors | None = None,
        steer: bool = False,
        question: str = QUESTION,
    ) -> list[float]:
        """A greedy answer, in which what was read is asked for after every token.

        Returns:
            Milliseconds from each token to the next. What an answer costs once lies outside them:
            its prompt, setting up hooks, the pass that reads its last token.
        """
        prompt, stamps = frame_for_answer(self.model, [Turn("user", question)]), list[float]()

        def hear(live: Live) -> None:
            stamps.append(time.perf_counter())  # the token is on the host, so the device is done
            if read:
                live.reading(len(prompt.token_ids) + live.n_tokens - 2)

        def steering(_prompt: object) -> Any:
            lengths = [len(prompt.token_ids)]
            return steered(self.model, self._setup, self.vectors, self._norms, lengths)

        generate(
            self.model,
            prompt,
            Sampling(max_new_tokens=n_tokens, temperature=0.0),
            vectors=read,
            on_text=hear,
            steering=steering if steer else None,
        )
        return [1e3 * (after - before) for before, after in pairwise(stamps)]


def speaking(bench: Bench, n_tokens: int) -> None:
    """What reading and steering add to every token of an answer, in time and in waits."""
    speaker = Speaker(bench)
    every = speaker.vectors
    some = every.select(layers=every.layers[:: max(1, len(every.layers) // 4)][:4])
    ways: Ways = {
        "answer, bare": speaker.speak,
        "live readout, 4 layers": partial(speaker.speak, read=some),
        "live readout, all layers": partial(speaker.speak, read=every),
        "steering at every layer": partial(speaker.speak, steer=True),
    }
    speaker.speak(2)  # what any first answer costs
    first, second = (median(speaker.speak(n_tokens, question=LONG_QUESTION)) for _ in range(2))
    bench.add("a token of the first answer of a length / of the second", first / second, "x")
    costs(bench, ways)
    counts = [waits_per_token(bench, way) for way in ways.values()]
    for name, count, goal in zip(ways, counts, (2, 4, 4, 2), strict=True):
        bench.add(f"{name}, waits of the host", count, "per token", f"<= {goal}")
    long = "I feel calm and the harbour was empty. " * (40 if not bench.goals else 700)
    content = frame_content(bench.model.frame, long, "assistant")
    name = f"peak of reading {len(content.token_ids)} tokens"
    bench.add(name, bench.peak(lambda: read_chat(bench.model, some, content)), "GiB", "<= 4")


def costs(bench: Bench, ways: Ways) -> None:
    """Milliseconds that a token takes in the first way, and how many more in the others.

    All go in turns, back and forth, each against the first beside it: a processor's speed drifts
    by more. In an answer the fastest token counts, as others are disturbed.
    """
    for way in ways.values():
        way(TURN_TOKENS)
    bare, *others = ways
    turns = list[dict[str, float]]()
    for turn in range(TURNS):
        names = [bare, *others][:: 1 if turn % 2 else -1]
        turns.append({name: min(ways[name](TURN_TOKENS)) for name in names})
    bench.add(bare, median(turn[bare] for turn in turns), "ms/token")
    for name in others:
        low, middle, high = quantiles([turn[name] - turn[bare] for turn in turns], n=4)
        bench.add(name, middle, "ms/token", "<= 1", f"{low:.2f} to {high:.2f} in half the turns")


def waits_per_token(bench: Bench, speak: Callable[[int], object]) -> float:
    """How often the host waits for the device, as torch itself counts it; 0 on a CPU."""
    few, more = (waits(bench, partial(speak, n_tokens)) for n_tokens in (8, 24))
    for place, count in (more - few).most_common(6):
        print(f"         {count / 16:.2f} {place}")
    return (more.total() - few.total()) / 16


def waits(bench: Bench, work: Callable[[], object]) -> Counter[str]:
    """By line of code."""
    if bench.device.type != "cuda":
        return Counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        work()
        torch.cuda.set_sync_debug_mode("default")
    told = (one for one in caught if "synchroniz" in str(one.message))
    return Counter(f"{Path(one.filename).name}:{one.lineno}" for one in told)


def main() -> int:
    parts: dict[str, Callable[[Bench], None]] = {
        "training": training,
        "speaking": lambda bench: speaking(bench, chosen.tokens),
        "recovery": gpu_checks.recovery,
        "overflow": gpu_checks.overflow,
        "equality": gpu_checks.equality,
        "loading": lambda bench: gpu_checks.loading(
            bench, lambda: random_model("small" if bench.goals else "tiny", bench.device)
        ),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="8b")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--concepts", type=int, default=36)
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32, help="of the first answer of its length")
    parser.add_argument("--only", nargs="+", choices=tuple(parts), default=tuple(parts))
    parser.add_argument("--out", type=Path, default=Path("bench/results/gpu.json"))
    chosen = parser.parse_args()
    bench = Bench(chosen.shape, torch.device(chosen.device), chosen.concepts, chosen.texts)
    for name in chosen.only:
        parts[name](bench)
        write(chosen.out, f"{chosen.shape} on {described(bench.device)}", bench.rows)
    return int(any(row.verdict == "missed" for row in bench.rows))


def described(device: torch.device) -> str:
    """The card or the processor, and the version of torch."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return f"{name}, torch {torch.__version__}"


def write(out: Path, title: str, rows: list[Row]) -> None:
    """What was found so far; a part that ends the process leaves what came before it."""
    figures = [{**asdict(row), "verdict": row.verdict} for row in rows]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"title": title, "rows": figures}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
