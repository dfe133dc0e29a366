"""Speed: first training and retraining against the seed's loop and against a bare forward.

`--retrain-only` leaves both out and prints where the time of a retrain goes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from bench.results import Row, publish
from bench.seed_loop import template, train_as_the_seed_does
from readout_ui.activations.cache import ActivationCache
from readout_ui.models.blocks import bare_model
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.runs.store import RunStore
from readout_ui.runs.training import train
from readout_ui.texts.editing import save_concept
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings

TEXTS = Path(__file__).parent / "descriptions"
SEED_LAYERS = [10, 14, 18, 22]
ROUNDS = 5
BARE_BATCHES = (4, 8, 16, 22, 44)
RETRAINS = 9
SEED_SECONDS = 306.2
"""What the seed's loop took on 2 cores in the run that bench/results/speed.json keeps."""
EDIT = "I feel calm. My breath goes out slowly and I have all the time there is."


@dataclass(frozen=True)
class Training:
    """Seconds of one training, whole and by part."""

    whole: float
    parts: dict[str, float]


def timed_training(
    library: Library, model: LoadedModel, cache: ActivationCache, store: RunStore
) -> Training:
    """One training with everything a click on Train does: read, fit, calibrate, choose, save."""
    started = time.perf_counter()
    trained = train(library, model, TrainSettings(), cache)
    before_save = time.perf_counter()
    store.save(trained)
    ended = time.perf_counter()
    return Training(ended - started, {**trained.timings, "save": ended - before_save})


def first_training(model: LoadedModel, folder: Path) -> Training:
    """Train with an empty cache."""
    library = Library(TEXTS)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        cache = ActivationCache(Path(fresh) / "cache")
        return timed_training(library, model, cache, RunStore(Path(fresh) / "runs"))


def retraining(model: LoadedModel, folder: Path, edits: int) -> list[Training]:
    """Train once, then after each of several one-description edits."""
    texts = folder / "descriptions"
    texts.mkdir()
    for file in TEXTS.glob("*.txt"):
        (texts / file.name).write_bytes(file.read_bytes())
    cache, store = ActivationCache(folder / "cache"), RunStore(folder / "runs")
    timed_training(Library(texts), model, cache, store)
    times = []
    for number in range(edits):
        edit_one(texts, number)
        started = time.perf_counter()
        library = Library(texts)
        hashed = time.perf_counter() - started
        training = timed_training(library, model, cache, store)
        times.append(Training(training.whole + hashed, {"hash": hashed, **training.parts}))
    return times


def edit_one(texts: Path, number: int) -> None:
    """Replace the first description of `calm` by one never seen before."""
    calm = Library(texts).concept("calm")
    edited = (f"{EDIT} {'Again. ' * number}".strip(), *calm.descriptions[1:])
    save_concept(texts, "calm", edited, opened=calm.fingerprint)


def bare_forward(model: LoadedModel, batch_size: int) -> float:
    """Seconds of the model without head over all framed texts, length-sorted, padded right."""
    library = Library(TEXTS)
    texts = [t for c in library.files for t in c.descriptions]
    framed = sorted(
        (
            model.tokenizer(template(model.tokenizer, t), add_special_tokens=False)["input_ids"]
            for t in texts
        ),
        key=len,
    )
    decoder = bare_model(model.model)
    started = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, len(framed), batch_size):
            batch = framed[start : start + batch_size]
            longest = max(map(len, batch))
            ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
            mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch])
            decoder(input_ids=ids, attention_mask=mask, use_cache=False)
    return time.perf_counter() - started


def best_bare_forward(model: LoadedModel) -> int:
    """The batch size at which the bare forward is fastest."""
    return min(BARE_BATCHES, key=lambda size: min(bare_forward(model, size) for _ in range(2)))


def against_bare_forward(model: LoadedModel, folder: Path) -> list[Row]:
    """Forward part and whole first training against the bare forward, in turns."""
    batch = best_bare_forward(model)
    pairs = [(first_training(model, folder), bare_forward(model, batch)) for _ in range(ROUNDS)]
    bare = median(seconds for _, seconds in pairs)
    forward = median(t.parts["forward"] for t, _ in pairs)
    whole = median(t.whole for t, _ in pairs)
    return [
        Row("bare forward, best batching", bare, "s", note=f"batch {batch}"),
        Row("first training, forward part", forward, "s"),
        Row("first training, whole", whole, "s"),
        Row(
            "forward part / bare forward",
            median(t.parts["forward"] / seconds for t, seconds in pairs),
            "x",
            goal="<= 0.55",
        ),
        Row(
            "whole training / bare forward",
            median(t.whole / seconds for t, seconds in pairs),
            "x",
            goal="<= 0.8",
        ),
    ]


def against_seed(model: LoadedModel, folder: Path) -> list[Row]:
    """First training and retraining against one run of the seed's loop."""
    library = Library(TEXTS)
    texts = {c.name: c.descriptions for c in (*library.concepts, *library.neutral)}
    first = median(first_training(model, folder).whole for _ in range(ROUNDS))
    retrain, *parts = retrain_rows(retraining(model, folder, ROUNDS))
    seed, _ = train_as_the_seed_does(model.model, model.tokenizer, texts, SEED_LAYERS)
    return [
        Row("the seed's loop", seed, "s", note=f"{sum(map(len, texts.values()))} texts"),
        Row("first training", first, "s"),
        retrain,
        *parts,
        Row("seed's loop / first training", seed / first, "x", goal=">= 100"),
        Row("seed's loop / retrain", seed / retrain.value, "x", goal=">= 1000"),
    ]


def retrain_rows(retrains: list[Training]) -> list[Row]:
    """The median retrain and its parts; what no part counts is checking and describing."""
    again = sorted(retrains, key=lambda training: training.whole)[len(retrains) // 2]
    fastest = min(training.whole for training in retrains)
    rest = again.whole - sum(again.parts.values())
    return [
        Row("retrain after one edit", again.whole, "s", note=f"fastest {fastest:.3f} s"),
        *(Row(f"  of which {name}", s, "s") for name, s in (again.parts | {"rest": rest}).items()),
    ]


def retrain_alone(model: LoadedModel, folder: Path) -> list[Row]:
    """Retraining against what the seed's loop took in an earlier run on the same machine."""
    retrain, *parts = retrain_rows(retraining(model, folder, RETRAINS))
    ratio = SEED_SECONDS / retrain.value
    note = f"{SEED_SECONDS} s from an earlier run"
    return [retrain, *parts, Row("seed's loop / retrain", ratio, "x", ">= 1000", note)]


def measure(parts: tuple[Callable[[LoadedModel, Path], list[Row]], ...]) -> list[Row]:
    """Run parts of the benchmark on the bundled model."""
    model = load_model(ModelSpec(device="cpu", dtype="fp32"))
    rows: list[Row] = []
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            rows += part(model, Path(folder))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-seed", action="store_true", help="leave out the 8-minute loop")
    parser.add_argument("--retrain-only", action="store_true", help="only retraining, by part")
    chosen = parser.parse_args()
    title = "10 concepts x 4 descriptions + 4 neutral texts, bundled model"
    if chosen.retrain_only:
        publish("retrain", title, measure((retrain_alone,)))
        return
    parts = (against_bare_forward, against_seed)
    publish("speed", title, measure(parts[:1] if chosen.without_seed else parts))


if __name__ == "__main__":
    main()
