"""A library of 205,200 stories: time, memory and disk as texts grow, with a tiny model.

The model is random and tiny, so that nearly all of the time is bookkeeping: framing, keys, the
activation cache, gathering and the fit, all real. 171 emotions x 100 topics x 12 stories, as in
the largest published library. `--ray` compares two workers with one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.results import Row, publish
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.pooling import TextActivations
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.models.workers import Cluster, spread_model
from readout_ui.runs.training import train
from readout_ui.texts.sources import Source, shipped_neutral
from readout_ui.texts.stories import Story, StoryLibrary
from readout_ui.vectors.settings import TrainSettings
from tests.support.architectures import CHATML

EMOTIONS, TOPICS, EACH = 171, 100, 12
EVERY = EMOTIONS * TOPICS * EACH
SIZES = (1_000, 10_000, 100_000, EVERY)
N_LAYERS, D_MODEL = 4, 96
GIB, MIB = 2**30, 2**20
N_WORDS = 900
RAY_TEXTS = 4_000


def save_model(folder: Path) -> Path:
    """A random Llama that knows the stories' words, one token each."""
    words = ["[UNK]", "<|im_start|>", "<|im_end|>", *(f"word{i}" for i in range(N_WORDS))]
    words += [
        f"{kind}{i}" for kind, n in (("emotion", EMOTIONS), ("topic", TOPICS)) for i in range(n)
    ]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast  # typed in one version of transformers only
    tokenizer = fast(tokenizer_object=made, unk_token="[UNK]")
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=D_MODEL,
        intermediate_size=2 * D_MODEL,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        max_position_embeddings=512,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def told(n_stories: int) -> StoryLibrary:
    """The first stories of the library, every emotion and topic as often as every other."""
    draws = random.Random(0)
    stories = []
    for number in range(n_stories):
        emotion, topic = number % EMOTIONS, number // EMOTIONS % TOPICS
        words = [f"word{draws.randrange(N_WORDS)}" for _ in range(draws.randint(5, 10))]
        words[3:3] = [f"topic{topic}", f"emotion{emotion}", f"word{number % N_WORDS}"]
        stories.append(Story(f"emotion{emotion}", " ".join(words), f"topic{topic}"))
    return StoryLibrary("simulated", tuple(stories))


@contextmanager
def watched() -> Iterator[list[int]]:
    """The largest memory of this process that is its own, in bytes, sampled meanwhile."""
    largest, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            status = Path("/proc/self/status").read_text("ascii")
            own = int(status.split("RssAnon:")[1].split()[0]) * 1024
            largest[0] = max(largest[0], own)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield largest
    over.set()
    thread.join()


def measure(n_stories: int) -> dict[str, float]:
    """One training from nothing and one in which every text is known, in this process."""
    with tempfile.TemporaryDirectory() as place, watched() as largest:
        model = load_model(ModelSpec(str(save_model(Path(place) / "model")), device="cpu"))
        source = Source(told(n_stories), shipped_neutral())
        prepared, spent = time.perf_counter(), [time.process_time()]
        with closing(ActivationCache(Path(place) / "cache", max_bytes=64 * GIB)) as cache:
            run = train(source, model, TrainSettings(), cache)
        trained = time.perf_counter()
        spent.append(time.process_time())
        disk = sum(file.stat().st_size for file in (Path(place) / "cache").iterdir())
        with closing(ActivationCache(Path(place) / "cache", max_bytes=64 * GIB)) as cache:
            again = train(source, model, TrainSettings(), cache)
        spent.append(time.process_time())
        if again.timings.get("forward"):
            raise SystemExit("A text was read a second time.")
        return {
            "seconds": spent[1] - spent[0],
            "again": spent[2] - spent[1],
            "clock": trained - prepared,
            "fit": run.timings["fit"],
            "forward": run.timings["forward"],
            "others": trained - prepared - run.timings["fit"] - run.timings["forward"],
            "disk": disk,
            "own": largest[0],
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def apart(*arguments: str) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "bench.scale", *arguments]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def growth_rows(found: dict[int, dict[str, float]]) -> Iterator[Row]:
    """Per size, and how what a text takes grows from the second size to the last."""
    names = {
        "seconds": ("training from nothing, of the processor", "s", 1),
        "clock": ("the same by the clock", "s", 1),
        "forward": ("of which the tiny model", "s", 1),
        "fit": ("of which the fit", "s", 1),
        "others": ("of which the rest", "s", 1),
        "again": ("training again, all texts known, of the processor", "s", 1),
        "disk": ("cache on disk", "MiB", MIB),
        "own": ("memory of the process", "MiB", MIB),
        "peak": ("with mapped files", "MiB", MIB),
    }
    sizes = list(found)
    for key, (name, unit, scale) in names.items():
        for size in sizes:
            goal = "<= 4096" if key in ("own", "peak") else ""
            yield Row(f"{name}, {size:,} texts", found[size][key] / scale, unit, goal)
        if len(sizes) > 2 and key not in ("own", "peak"):
            first, last = sizes[1], sizes[-1]
            per_text = (found[last][key] / last) / (found[first][key] / first)
            note = f"per text, {first:,} to {last:,}"
            yield Row(f"{name}, growth", per_text, "x", "<= 1.5", note)


def read_by(n_workers: int) -> dict[str, float]:
    """Seconds to read texts with so many workers that are ready; 0 for this process alone."""
    os.environ["OMP_NUM_THREADS"] = "1"
    texts = [story.text for story in told(RAY_TEXTS).stories]
    with tempfile.TemporaryDirectory() as place:
        spec = ModelSpec(str(save_model(Path(place) / "model")), device="cpu")
        if not n_workers:
            model = load_model(spec)
            read_activations(model, texts[:64], CaptureSettings())
            started = time.perf_counter()
            read_activations(model, texts, CaptureSettings())
            return {"seconds": time.perf_counter() - started}
        with spread_model(spec, Cluster("local", workers=n_workers)) as spread:
            for _ in range(3):  # until all of them have loaded
                read_activations(spread, texts[: 64 * n_workers], CaptureSettings())
                time.sleep(2)
            started = time.perf_counter()
            read_activations(spread, texts, CaptureSettings())
            return {"seconds": time.perf_counter() - started}


def ray_rows() -> Iterator[Row]:
    """One process, one worker and two."""
    seconds = {n: apart("--read-by", str(n))["seconds"] for n in (0, 1, 2)}
    for n, name in ((0, "in one process"), (1, "by one worker"), (2, "by two workers")):
        yield Row(f"{RAY_TEXTS:,} texts read {name}", seconds[n], "s")
    yield Row("one worker, times as fast as two", seconds[1] / seconds[2], "x")


def store_rows() -> Iterator[Row]:
    """How fast one process keeps and finds texts of a 70B model, 80 layers x 8192."""
    n_texts = 100
    noise = torch.randn(n_texts, 1, 80, 8192)
    entries = {f"{i}": TextActivations(each, each[:0], 9, False) for i, each in enumerate(noise)}
    n_bytes = sum(each.n_bytes for each in entries.values())
    with tempfile.TemporaryDirectory() as place:
        spent = [(time.perf_counter(), time.process_time())]
        with closing(ActivationCache(Path(place))) as cache:
            cache.put_many(entries)
        spent.append((time.perf_counter(), time.process_time()))
        with closing(ActivationCache(Path(place))) as cache:
            assert len(cache.get_many(list(entries))) == n_texts
        spent.append((time.perf_counter(), time.process_time()))
    size = n_bytes / MIB
    for what, before, after in zip(("into", "out of"), spent, spent[1:], strict=False):
        seconds, work = (b - a for a, b in zip(before, after, strict=True))
        note = (
            f"{size / n_texts:.2g} MiB a text; {size / work:.0f} MiB per second of processor time"
        )
        yield Row(f"70B texts {what} the cache", size / seconds, "MiB/s", note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--one", type=int)
    parser.add_argument("--read-by", type=int)
    parser.add_argument("--ray", action="store_true")
    chosen = parser.parse_args()
    if chosen.one is not None:
        return print(json.dumps(measure(chosen.one)))
    if chosen.read_by is not None:
        return print(json.dumps(read_by(chosen.read_by)))
    if chosen.ray:
        return publish("scale_ray", "Texts read by the workers of a Ray cluster", [*ray_rows()])
    found = {}
    for size in chosen.sizes:
        found[size] = apart("--one", str(size))
        print(size, json.dumps(found[size]), file=sys.stderr, flush=True)
    title = f"Stories in a training, {N_LAYERS} layers x d_model {D_MODEL}, random weights"
    publish("scale", title, [*growth_rows(found), *store_rows()])


if __name__ == "__main__":
    main()
