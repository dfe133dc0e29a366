"""Work on description folders of growing size: what each takes, and that it grows with the size."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.results import Row, publish
from readout_ui.texts.editing import record_library, save_concept
from readout_ui.texts.exchange import export_bytes, plan_import
from readout_ui.texts.labelled import suggest_mapping
from readout_ui.texts.library import Library
from readout_ui.texts.lint import check_concept, check_library
from readout_ui.texts.set_files import read_csv
from readout_ui.texts.versions import tidy_texts

SIZES = (1_000, 4_000, 16_000)
TEXTS_EACH = 4
WORDS = [f"{a}{b}{c}" for a in "bdfglmnprst" for b in "aeiou" for c in ("ck", "lm", "nd", "rt")]


def fill(folder: Path, n_concepts: int) -> None:
    """Concepts of four texts of twenty words, the same in every run."""
    chosen = random.Random(0)
    for number in range(n_concepts):
        texts = (" ".join(chosen.choices(WORDS, k=20)) for _ in range(TEXTS_EACH))
        (folder / f"concept_{number:05d}.txt").write_text("\n\n".join(texts) + "\n", "utf-8")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measured(folder: Path) -> dict[str, float]:
    """Seconds of each piece of work on the folder."""
    library = Library(folder)
    library_bytes = export_bytes(library, ".csv")
    names = library.names()
    name = names[0]
    texts = library.concept(name).descriptions
    mark = library.fingerprints()[name]
    return {
        "first history": seconds(lambda: record_library(library)),
        "poll": seconds(lambda: record_library(Library(folder), library.fingerprints())),
        "start (every version checked)": seconds(lambda: tidy_texts(folder)),
        "lint of everything": seconds(lambda: check_library(library)),
        "lint of one concept": seconds(lambda: check_concept(library, name, texts)),
        "a set of names read and planned": seconds(
            lambda: plan_import(library, read_csv(library_bytes, "set.csv"))
        ),
        "labels suggested": seconds(
            lambda: suggest_mapping(library.names()[:500], library.names())
        ),
        "one save": seconds(lambda: save_concept(folder, name, [*texts, "More."], mark)),
    }


def main() -> None:
    found: dict[int, dict[str, float]] = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as place:
            fill(Path(place), size)
            first = seconds(lambda place=place: Library(place))  # type: ignore[misc]
            found[size] = {"first read": first, **measured(Path(place))}
    rows = []
    for work in found[SIZES[0]]:
        rows += [Row(f"{work}, {size:,} concepts", found[size][work], "s") for size in SIZES]
        per_concept = (found[SIZES[-1]][work] / SIZES[-1]) / (found[SIZES[0]][work] / SIZES[0])
        rows.append(Row(f"{work}, growth", per_concept, "x", "<= 2", "seconds per concept, 16:1"))
    publish("texts", f"Folders of concepts with {TEXTS_EACH} texts each", rows)


if __name__ == "__main__":
    main()
