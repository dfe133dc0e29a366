"""The reference consumer over a trained export: same numbers, nothing left, clear refusals."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.inference.forward import read_chat
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.runs.run import Run
from readout_ui.runtime import load, watching

PROMPT = [Turn("user", "Something is going to hurt me."), Turn("assistant", "I need nothing.")]


@pytest.fixture
def export(studio: Studio, tmp_path: Path) -> Path:
    studio.load_model()
    studio.start_training().result()
    return studio.export([], [2, 1], tmp_path / "out")


@pytest.fixture
def model(tiny_folder: Path) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_folder), device="cpu", dtype="fp32"))


def test_importing_it_loads_torch_and_safetensors_only() -> None:
    code = "import sys, readout_ui.runtime; print(sorted(m for m in sys.modules if '.' not in m))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"transformers", "gradio", "plotly", "pandas", "pydantic", "sklearn", "scipy"}
    assert "torch" in run.stdout
    assert not heavy & set(json.loads(run.stdout.replace("'", '"')))


def test_a_forward_pass_gives_what_the_app_reads(
    export: Path, model: LoadedModel, studio: Studio
) -> None:
    framed = model.frame.frame_chat(PROMPT)
    readout = load(export)
    with watching(model.model, readout) as watch:
        model.model(torch.tensor([framed.token_ids]))

    expected = read_chat(model, Run.open(export).vectors, framed)
    scores = watch.scores()[0]  # (n_tokens, n_layers, n_concepts)
    assert readout.layers == expected.layers == (2, 1)
    assert np.allclose(scores.numpy(), expected.raw, rtol=1e-4, atol=1e-4)
    assert np.allclose(readout.z_scores(scores).numpy(), expected.z, rtol=1e-3, atol=1e-3)


def test_every_token_of_a_generation_has_its_scores(export: Path, tiny_folder: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_folder)
    readout = load(export)
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    with watching(model, readout) as watch:
        out = model.generate(ids, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    with watching(model, readout) as again:
        model(out[:, :-1])
    assert watch.scores().shape == (2, 8, 2, len(readout.concepts))  # the last token is never fed
    assert torch.allclose(watch.scores(), again.scores(), rtol=1e-3, atol=1e-4)
    assert watch.latest(1) == watch.scores()[1, -1].tolist()


def test_nothing_is_left_on_the_model_even_after_an_error(export: Path, tiny_folder: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_folder)
    with pytest.raises(RuntimeError, match="stop"), watching(model, load(export)):
        raise RuntimeError("stop")
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_of_another_shape_is_refused(export: Path) -> None:
    readout = load(export)
    with (
        pytest.raises(UserError, match="no such module"),
        watching(torch.nn.Linear(2, 2), readout),
    ):
        pass
    narrow = torch.nn.Sequential()
    narrow.add_module("model", torch.nn.Module())
    narrow.model.layers = torch.nn.ModuleList(torch.nn.Identity() for _ in range(4))  # type: ignore[union-attr]
    with pytest.raises(UserError, match="activations have 3"), watching(narrow, readout):
        narrow.model.layers[1](torch.zeros(1, 1, 3))  # type: ignore[union-attr, index, operator]


@pytest.mark.parametrize("damage", ["missing", "truncated", "shape", "nan", "manifest"])
def test_a_damaged_export_is_refused_by_file(export: Path, damage: str) -> None:
    file = export / "readout.safetensors"
    tensors = load_file(file)
    key = next(iter(tensors))
    if damage == "missing":
        save_file({"other": torch.zeros(1)}, file)
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:-7])
    elif damage == "shape":
        save_file({**tensors, key: tensors[key][:, :-1].contiguous()}, file)
    elif damage == "nan":
        save_file({**tensors, key: tensors[key] * float("nan")}, file)
    else:
        file = export / "readout.json"
        file.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=file.name.replace(".", r"\.")):
        load(export)


def test_without_calibration_raw_scores_are_still_there(export: Path) -> None:
    (export / "calibration.safetensors").unlink()
    readout = load(export)
    with pytest.raises(UserError, match="no calibration"):
        readout.z_scores(torch.zeros(2, len(readout.concepts)))
