"""A first fit and a fit after one edit, here and in saklas, on the same 64 texts of two concepts.

    python -m bench.peers --saklas PATH/TO/python   # of an environment that has saklas 5.3.0

saklas is no part of our environments: its side runs in a process of its own with that Python. Both
sides read the bundled model in float32 on one thread, put the question of our chat frame before
each text, and fit one other concept first, which makes what a fit keeps per model. Seconds are the
processor's, and count what is stored.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.results import Row, publish

DESCRIPTIONS = Path(__file__).parents[1] / "descriptions"
SIDES = (("calm", "content", "grateful", "hopeful"), ("afraid", "angry", "anxious", "ashamed"))
"""The concepts whose eight texts each make one side."""
QUESTION = "How do you feel right now?"
EDIT = " That is how it is with me now."
THEIRS = """
import json, sys, time
import torch
torch.set_num_threads(1)
from saklas.core.session import SaklasSession
given = json.load(sys.stdin)
session = SaklasSession.from_pretrained(
    given["model"], device="cpu", dtype=torch.float32, probes=[])
def fit(name, sides):
    started = time.process_time()
    session.extract_from_corpora(name, *sides, force=True)
    return time.process_time() - started
fit("other", given["warm_up"])
found = {"first": fit("feeling", given["texts"]), "edited": fit("feeling", given["edited"])}
print(json.dumps(found))
"""


def texts_of(sides: tuple[tuple[str, ...], ...]) -> list[list[str]]:
    """Both sides' texts, 32 each."""
    from readout_ui.texts.library import Library

    texts = Library(DESCRIPTIONS).texts()
    return [[text for name in names for text in texts[name][:8]] for names in sides]


def theirs(python: str, model: Path, sets: dict[str, list[list[str]]]) -> dict[str, float]:
    """saklas' seconds."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "baseline_prompts.json").write_text(json.dumps([QUESTION]))
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= {"SAKLAS_HOME": home, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        given = json.dumps({"model": str(model), **sets})
        command = [python, "-c", THEIRS]
        end = subprocess.run(
            command, env=environment, input=given, capture_output=True, text=True, check=False
        )
        if end.returncode:
            raise SystemExit(f"saklas ended with {end.returncode}:\n{end.stderr[-2000:]}")
    return dict(json.loads(end.stdout.splitlines()[-1]))


def ours(model: Path, sets: dict[str, list[list[str]]]) -> dict[str, float]:
    """Our seconds."""
    import torch

    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import ModelSpec, load_model
    from readout_ui.runs.training import train
    from readout_ui.texts.library import Library
    from readout_ui.vectors.settings import TrainSettings

    torch.set_num_threads(1)
    loaded = load_model(ModelSpec(str(model), device="cpu", dtype="fp32"))
    with tempfile.TemporaryDirectory() as folder:
        cache = ActivationCache(Path(folder))

        def fit(sides: list[list[str]]) -> float:
            library = Library(dict(zip(("one", "other"), sides, strict=True)))
            started = time.process_time()
            train(library, loaded, TrainSettings(), cache)
            cache.flush()
            return time.process_time() - started

        fit(sets["warm_up"])
        found = {"first": fit(sets["texts"]), "edited": fit(sets["edited"])}
        cache.close()
    return found


def measure(python: str) -> list[Row]:
    """Both sides' figures and what lies between them."""
    from readout_ui.models.packed import bundled_folder
    from readout_ui.progress import silent

    texts, model = texts_of(SIDES), bundled_folder(silent)
    edited = [[texts[0][0] + EDIT, *texts[0][1:]], texts[1]]
    warm_up = texts_of((("bored",), ("curious",)))
    sets = {"warm_up": warm_up, "texts": texts, "edited": edited}
    other, own = theirs(python, model, sets), ours(model, sets)
    rows = [Row("texts", sum(map(len, texts)))]
    for part, said, goal in (
        ("first", "first fit", ">= 2"),
        ("edited", "after one edit", ">= 30"),
    ):
        rows += [
            Row(f"{said}, saklas", other[part], "s"),
            Row(f"{said}, here", own[part], "s"),
            Row(f"{said}, saklas / here", other[part] / own[part], "x", goal),
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saklas", default=sys.executable, help="a Python that has saklas")
    publish(
        "peers", "Fit on 64 texts, here and in saklas 5.3.0", measure(parser.parse_args().saklas)
    )


if __name__ == "__main__":
    main()
