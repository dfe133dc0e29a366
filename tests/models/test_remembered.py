"""A model of which enough is known is loaded only when something has to be read."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.errors import UserError
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.models.prompt import prompted
from readout_ui.models.remembered import RememberedModel, open_model
from readout_ui.vectors.pairs import with_prompts
from tests.support.tiny_model import save_tiny_model

PARTS = (
    *("fingerprint", "identity", "name", "dtype", "n_layers", "d_model", "context_length"),
    "no_answers",
)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    return ModelSpec(str(save_tiny_model(tmp_path / "tiny")), device="cpu")


def test_what_is_noted_is_what_loading_finds_and_the_rest_is_loaded(spec: ModelSpec) -> None:
    loaded, known = open_model(spec), open_model(spec)
    assert not isinstance(loaded, RememberedModel)
    assert isinstance(known, RememberedModel)
    for name in PARTS:
        assert getattr(known, name) == getattr(loaded, name)
    for frame in ("chat", "none"):
        mine, theirs = known.framed(frame), loaded.framed(frame)
        assert mine.frame.fingerprint == theirs.frame.fingerprint
        assert mine.frame.describe() == theirs.frame.describe()
        assert mine.blocks("mlp") == theirs.blocks("mlp")
        assert "model" not in vars(mine)
        assert mine.frame.frame("It is calm.", 8) == theirs.frame.frame("It is calm.", 8)
    assert all(field.name in vars(known) for field in fields(known))
    own = {"mine": "model.layers.{num}.mlp.up_proj"}
    assert known.blocks("mine", own) == loaded.blocks("mine", own)


def test_it_reads_new_texts_like_a_loaded_one_and_known_texts_without(
    spec: ModelSpec, tmp_path: Path
) -> None:
    settings, texts = CaptureSettings(), ["It is calm.", "How dare they!"]
    whole = read_activations(open_model(spec), texts, settings)
    cache = ActivationCache(tmp_path / "activations")
    known = open_model(spec)
    found = read_activations(known, texts, settings, cache)
    assert found.n_computed == 2
    assert (found.pooled == whole.pooled).all()
    again = open_model(spec)
    assert read_activations(again, texts, settings, cache).n_cached == 2
    assert "model" not in vars(again)
    answers = [prompted("Well?", text) for text in texts]
    prompts = with_prompts(again)
    assert "model" not in vars(prompts)
    assert read_activations(prompts, answers, settings, cache).n_computed == 2
    assert prompts.frame.fingerprint == with_prompts(load_model(spec)).frame.fingerprint
    last = with_prompts(open_model(spec))
    assert read_activations(last, answers, settings, cache).n_cached == 2
    assert "model" not in vars(last)
    cache.close()


def test_changed_files_are_loaded_again(spec: ModelSpec, tmp_path: Path) -> None:
    open_model(spec)
    config = tmp_path / "tiny" / "config.json"
    config.write_text(config.read_text().replace("10000.0", "20000.0"))
    changed = open_model(spec)
    assert not isinstance(changed, RememberedModel)
    assert changed.identity == load_model(spec).identity


@pytest.mark.parametrize("note", ["{", "[]", "{}", '{"frames": 5}', '{"frames": [{}, {}]}'])
def test_a_damaged_note_is_as_good_as_none(spec: ModelSpec, tmp_path: Path, note: str) -> None:
    open_model(spec)
    (file,) = (tmp_path / "cache" / "known").glob("*.json")
    file.write_text(note)
    assert not isinstance(open_model(spec), RememberedModel)
    assert isinstance(open_model(spec), RememberedModel)


def test_a_note_that_does_not_fit_the_loaded_model_is_refused(
    spec: ModelSpec, tmp_path: Path
) -> None:
    open_model(spec)
    (note,) = (tmp_path / "cache" / "known").iterdir()
    note.write_text(note.read_text().replace('"identity": "', '"identity": "0'))
    with pytest.raises(UserError, match="changed"):
        _ = open_model(spec).tokenizer
    note.write_text("{")
    assert open_model(spec).identity == load_model(spec).identity


def test_a_training_without_new_texts_imports_no_transformers(
    spec: ModelSpec, tmp_path: Path, descriptions: Path
) -> None:
    code = (
        "import sys; from readout_ui.cli.program import run; run(); "
        "print(sorted({'transformers', 'sklearn', 'scipy.stats', 'gradio'} & set(sys.modules)))"
    )
    ends = []
    for export in ("first", "again"):
        command = [
            *("train", "--descriptions", descriptions, "--output", tmp_path / export),
            *("--model", spec.model, "--device", "cpu"),
        ]
        run = [sys.executable, "-c", code, *map(str, command)]
        ends.append(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert "transformers" in ends[0]
    assert ends[1].splitlines()[-1] == "[]"
    first, again = (
        (tmp_path / export / "readout.safetensors").read_bytes() for export in ("first", "again")
    )
    assert first == again
