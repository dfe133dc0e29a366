"""What users rely on stays as it was recorded in `tests/frozen/`, however the code inside moves.

Recorded are the help texts, the endpoints of the app, and what a tiny model's trainings, exports
and readings hold. Everything is asked for through the command line and `python app.py`.

A change that is meant is recorded with `READOUT_REWRITE_FROZEN=1 pytest tests/test_frozen.py`;
the difference then shows in the commit. Numbers may differ by 1e-4, as processors do.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from readout_ui.__main__ import main
from tests.conftest import SMALL_LIBRARY
from tests.support.running_app import running_app
from tests.support.tiny_model import save_tiny_model

RECORDS = Path(__file__).parent / "frozen"
REWRITE = os.environ.get("READOUT_REWRITE_FROZEN") == "1"
TOLERANCE = 1e-4
ON_TINY = ("--model", "tiny", "--device", "cpu")
DESCRIPTIONS = ("train", "--descriptions", "descriptions", "--layers", "all")
STORIES = ("train-stories", "stories.jsonl", "--layers", "all")
EXAMPLES = ("train-examples", "--training-data-dir", "examples", "--layers", "all")
OWN_PATH = ("--layer-type", "own", "--layer-config", "own=model.layers.{num}.self_attn.o_proj")
MEAN = ("--method", "mean")
TRAININGS = {
    "mean": (*DESCRIPTIONS, *MEAN),
    "whitened": DESCRIPTIONS,
    "neutral_pcs": (*DESCRIPTIONS, "--method", "neutral_pcs"),
    "pca": (*DESCRIPTIONS, "--method", "pca", "--seed", "3"),
    "logistic": (*DESCRIPTIONS, "--method", "logistic"),
    "content_last": (*DESCRIPTIONS, *MEAN, "--read", "content_last"),
    "content_tail": (*DESCRIPTIONS, *MEAN, "--read", "content_tail"),
    "template_last": (*DESCRIPTIONS, *MEAN, "--read", "template_last"),
    "self_attn": (*DESCRIPTIONS, *MEAN, "--layer-type", "self_attn"),
    "mlp": (*DESCRIPTIONS, *MEAN, "--layer-type", "mlp"),
    "input_layernorm": (*DESCRIPTIONS, *MEAN, "--layer-type", "input_layernorm"),
    "post_attention_layernorm": (*DESCRIPTIONS, *MEAN, "--layer-type", "post_attention_layernorm"),
    "own_path": (*DESCRIPTIONS, *MEAN, *OWN_PATH),
    "best_layer": (*DESCRIPTIONS[:3], *MEAN),
    "cut_texts": (*DESCRIPTIONS, *MEAN, "--max-length", "9", "--batch-size", "2"),
    "stories": (*STORIES, *MEAN),
    "stories_whitened": STORIES,
    "stories_pca": (*STORIES, "--method", "pca"),
    "examples": (*EXAMPLES, *MEAN),
    "examples_whitened": EXAMPLES,
    "examples_logistic": (*EXAMPLES, "--method", "logistic"),
}
PAIR_TRAININGS = {
    "pairs": ("--contrast-type", "irony", "--num-samples", "8", *MEAN),
    "pairs_file": ("--pairs", "drinks.csv", "--positive", "nice", "--negative", "bad", *MEAN),
}
FORMATS = ("readout", "steering", "gguf", "npz", "steering-pkl")
VOLATILE = ("fingerprint", "sha256", "files", "packages")
"""Keys whose values differ between processors or versions."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder: a tiny model and the same few texts as every source of training."""
    place = tmp_path_factory.mktemp("frozen")
    save_tiny_model(place / "tiny")
    (place / "descriptions").mkdir()
    stories, nodes = [], []
    for concept, texts in SMALL_LIBRARY.items():
        (place / "descriptions" / f"{concept}.txt").write_text("\n\n".join(texts) + "\n")
        tag = "" if concept.startswith("_") else f"\n{concept}:9"
        for number, text in enumerate(texts):
            scene = f"scene {number}" if tag else ""
            stories.append(json.dumps({"concept": concept, "text": text, "scene": scene}))
            nodes.append(json.dumps({"content": text + tag}))
    (place / "stories.jsonl").write_text("\n".join(stories))
    (place / "nodes.jsonl").write_text("\n".join(nodes))
    drinks = [f"{n} warm tea,{n} cold tea" for n in ("One", "Two", "Three", "Four", "Five", "Six")]
    (place / "drinks.csv").write_text("\n".join(["nice,bad", *drinks]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READOUT_UI_CACHE", str(place / "cache"))
        patch.chdir(place)
        command("extract", "--jsonl", "nodes.jsonl", "--output-dir", "examples")
        yield place


@pytest.fixture(scope="module")
def mean(place: Path) -> dict[str, Any]:
    """The training with the default settings, which the others are told apart from."""
    return trained("mean")


def command(*arguments: str) -> str:
    """What `readout-ui` prints for these arguments."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", ["readout-ui", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return printed.getvalue()


def trained(name: str) -> dict[str, Any]:
    """Train, export as .npz, and give the manifest and a summary of every array."""
    if name in PAIR_TRAININGS:
        neutral = ("--descriptions", "descriptions", "--no-progress")
        where = ("--output-dir", f"out/{name}")
        arguments = ("train-pairs", *PAIR_TRAININGS[name], *neutral, *where)
    else:
        arguments = (*TRAININGS[name], "--output", f"out/{name}")
    command(*arguments, *ON_TINY, "--runs", f"runs/{name}")
    command("export", "--runs", f"runs/{name}", "--format", "npz", "--output", f"npz/{name}")
    arrays = dict(np.load(f"npz/{name}/vectors.npz"))
    manifest = json.loads(arrays.pop("manifest").tobytes())
    return {
        "manifest": without_versions(manifest),
        "arrays": {key: summary(value) for key, value in sorted(arrays.items())},
    }


def without_versions(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the values that differ between machines taken out; the keys stay."""
    for part in (manifest, manifest.get("model", {})):
        for key in VOLATILE:
            if isinstance(part.get(key), dict):
                part[key] = sorted(part[key])
            elif key in part:
                part[key] = "..."
    return manifest


def summary(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Number type, shape, length, and the cosines with three fixed waves."""
    flat = array.astype(float).ravel()
    waves = [np.cos(step * np.arange(flat.size)) for step in (1, 2, 3)]
    length = float(np.linalg.norm(flat))
    along = [wave @ flat / np.linalg.norm(wave) / (length or 1) for wave in waves]
    shape = " x ".join(map(str, array.shape))
    return {
        "kind": f"{array.dtype} {shape}",
        "length": round(length, 6),
        "cosines": [round(float(cosine), 6) for cosine in along],
    }


def assert_as_recorded(name: str, found: Any) -> None:
    """Compare with the record of that name, text or JSON; or write it, if that is asked for."""
    path = RECORDS / name
    is_text = isinstance(found, str)
    if REWRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found if is_text else as_json(found), encoding="utf-8")
    recorded = path.read_text(encoding="utf-8")
    if is_text:
        assert found == recorded
    else:
        assert list(differences(json.loads(recorded), found)) == []


def as_json(value: Any) -> str:
    """Indented JSON with a list of numbers on one line."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    numbers = re.compile(r"\[[-\d.e,\s]+\]")
    return numbers.sub(lambda found: " ".join(found[0].split()), text) + "\n"


def differences(recorded: Any, found: Any, where: str = "") -> Iterator[str]:
    """One line for every value that is not as recorded."""
    if isinstance(recorded, dict) and isinstance(found, dict) and recorded.keys() == found.keys():
        for key, value in recorded.items():
            yield from differences(value, found[key], f"{where}/{key}")
    elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for index, value in enumerate(recorded):
            yield from differences(value, found[index], f"{where}/{index}")
    elif isinstance(recorded, float) and isinstance(found, float):
        if found != pytest.approx(recorded, rel=TOLERANCE, abs=TOLERANCE):
            yield f"{where}: {recorded} -> {found}"
    elif recorded != found:
        yield f"{where}: {recorded!r} -> {found!r}"


@pytest.mark.parametrize("name", [*TRAININGS, *PAIR_TRAININGS])
def test_a_training_gives_the_recorded_manifest_and_vectors(
    name: str, mean: dict[str, Any]
) -> None:
    found = mean if name == "mean" else trained(name)
    if name != "mean":
        usual = mean["manifest"]
        found["manifest"] = {
            key: value for key, value in found["manifest"].items() if value != usual.get(key)
        }
    assert_as_recorded(f"trainings/{name}.json", found)


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_has_the_recorded_files(form: str, mean: dict[str, Any]) -> None:
    target = Path("exports") / form
    command("export", "--runs", "runs/mean", "--format", form, "--output", str(target))
    found = {file.name: contents(file) for file in sorted(target.iterdir())}
    assert_as_recorded(f"exports/{form}.json", found)


def contents(file: Path) -> Any:
    """What is in a file of an export, as far as it can be read at a glance."""
    if file.suffix == ".safetensors":
        return {name: summary(array) for name, array in sorted(load_file(file).items())}
    if file.suffix == ".gguf":
        from gguf import GGUFReader

        reader = GGUFReader(file)
        fields = {name: str(field.contents()) for name, field in reader.fields.items()}
        return {"fields": fields} | {part.name: summary(part.data) for part in reader.tensors}
    if file.suffix == ".json":
        return without_versions(json.loads(file.read_text()))
    if file.suffix == ".md":
        return re.sub(r"\b[0-9a-f]{64}\b", "...", file.read_text()).splitlines()
    return file.suffix


def test_a_text_is_read_as_recorded(mean: dict[str, Any]) -> None:
    text = "Somebody broke in, and the lock is open."
    found = json.loads(command("read", text, "--vectors", "out/mean", *ON_TINY, "--json"))
    scores = np.array(found.pop("scores"))  # (n_tokens, n_layers, n_concepts)
    for concept, of_concept in zip(found["concepts"], np.moveaxis(scores, 2, 0), strict=True):
        found[f"scores of {concept}"] = summary(of_concept)
    assert_as_recorded("reading.json", found)


@pytest.mark.latest_only
def test_help_is_as_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    program = command("--help")
    names = re.findall(r"^  ([a-z][\w-]*)", program.partition("Commands:")[2], re.M)
    assert len(names) > 10
    texts = {"readout-ui": program, **{name: command(name, "--help") for name in names}}
    for name, text in texts.items():
        assert_as_recorded(f"help/{name}.txt", text)
    assert {file.stem for file in (RECORDS / "help").iterdir()} == set(texts)


@pytest.mark.latest_only
def test_programs_find_the_recorded_endpoints_and_tools(place: Path) -> None:
    flags = ["--mcp", "--model", str(place / "tiny"), "--device", "cpu"]
    with running_app(place, place / "descriptions", place / "cache", flags) as app:
        for record, address in (("endpoints", "info"), ("tools", "mcp/schema")):
            with urllib.request.urlopen(f"{app.url}gradio_api/{address}") as answer:
                found = json.load(answer)
            if record == "endpoints":
                for endpoint in found["named_endpoints"].values():
                    del endpoint["code_snippets"]  # gradio's own, with the port of this moment
            assert_as_recorded(f"{record}.json", found)
