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
from readout_ui.runs.manifest import describe_bare
from readout_ui.runs.run import Run
from readout_ui.runtime import ReadoutVectors, load, watching
from tests.support.loaded_tiny import random_vectors

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
    key = next(name for name in tensors if name.endswith(".vectors"))
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


@pytest.mark.parametrize("about", ["[" * 100_000, "[1]", '{"concepts": "abc"}', '{"layers": 3}'])
def test_an_altered_manifest_is_refused_by_file(export: Path, about: str) -> None:
    file = export / "readout.json"
    whole = json.loads(file.read_text("utf-8"))
    changed = about if about.startswith("[") else json.dumps(whole | json.loads(about))
    file.write_text(changed, "utf-8")
    with pytest.raises(UserError, match=r"readout\.json"):
        load(export)


def test_without_calibration_raw_scores_are_still_there(export: Path) -> None:
    (export / "calibration.safetensors").unlink()
    readout = load(export)
    with pytest.raises(UserError, match="no calibration"):
        readout.z_scores(torch.zeros(2, len(readout.concepts)))


# Other people's programs


IDS = torch.tensor([[1, 2, 3, 4, 5, 6, 7]])


@pytest.fixture
def plain(tiny_folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_folder)


def scores_of(model: Any, readout: ReadoutVectors, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad(), watching(model, readout) as watch:
        model(ids)
    return watch.scores()


def test_scores_of_a_pass_with_gradients_keep_no_graph(export: Path, plain: Any) -> None:
    with watching(plain, load(export)) as watch:
        plain(IDS)
    assert not watch.scores().requires_grad
    assert torch.equal(watch.scores(), scores_of(plain, load(export)))


def test_numbers_that_overflow_are_a_sentence_and_no_scores(export: Path, plain: Any) -> None:
    with torch.no_grad():
        plain.model.layers[2].mlp.down_proj.weight.fill_(torch.inf)
    with watching(plain, load(export)) as watch:
        plain(torch.tensor([[5, 6, 7]]))
    for ask in (watch.scores, watch.latest):
        with pytest.raises(UserError, match="overflow in its number format; load it in bfloat16"):
            ask()


def test_before_any_pass_there_is_a_sentence_and_no_index_error(export: Path, plain: Any) -> None:
    with watching(plain, load(export)) as watch:
        for asked in (watch.scores, watch.latest):
            with pytest.raises(UserError, match="no module ran that is read, there was no pass"):
                asked()


def test_a_compiled_model_that_ran_before_is_an_error_and_not_an_empty_result(
    export: Path, plain: Any
) -> None:
    compiled: Any = torch.compile(plain, backend="eager")
    compiled(IDS)
    with watching(compiled, load(export)) as watch:
        compiled(IDS)
    told, read = "", torch.zeros(0)
    try:
        read = watch.scores()
    except UserError as error:
        told = str(error)
    if told:
        assert "no module ran that is read in 1 passes" in told
    else:  # a torch that looks at hooks anew
        assert torch.allclose(read, scores_of(plain, load(export)), atol=1e-4)
    torch.compiler.reset()


class Wrapper(torch.nn.Module):
    """What PEFT does: the model under another name, its methods passed on."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.base_model = torch.nn.Module()
        self.base_model.model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model.model(*args, **kwargs)  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("wrap", [Wrapper, torch.nn.DataParallel])
def test_the_modules_are_found_below_a_wrapper(export: Path, plain: Any, wrap: Any) -> None:
    expected = scores_of(plain, load(export))
    assert torch.equal(scores_of(wrap(plain), load(export)), expected)


def test_calls_with_other_numbers_of_rows_are_refused_with_both(export: Path, plain: Any) -> None:
    with watching(plain, load(export)) as watch:
        for rows in (1, 2):
            plain.generate(IDS.repeat(rows, 1), max_new_tokens=2, do_sample=False)
    with pytest.raises(UserError, match=r"the passes had 1 and 2 rows; open one `watching`"):
        watch.scores()
    assert len(watch.latest(1)) == 2


@pytest.mark.parametrize("longest", [3, 8, 14])
def test_rejected_drafts_leave_no_rows(export: Path, plain: Any, longest: int) -> None:
    ids = torch.tensor([[5, 6, 7, 8, 5, 6, 7, 8, 5, 6]])
    with watching(plain, load(export)) as watch:
        made = plain.generate(
            ids, max_new_tokens=longest, do_sample=False, prompt_lookup_num_tokens=3
        )
    assert watch.scores().shape[1] == made.shape[1] - 1  # the last token is never fed
    again = scores_of(plain, load(export), made[:, :-1])
    assert torch.allclose(watch.scores(), again, rtol=1e-3, atol=1e-3)


def test_two_generations_of_one_row_are_read_in_order(export: Path, plain: Any) -> None:
    with watching(plain, load(export)) as watch:
        first = plain.generate(IDS, max_new_tokens=3, do_sample=False)
        second = plain.generate(IDS[:, :4], max_new_tokens=2, do_sample=False)
    expected = [scores_of(plain, load(export), made[:, :-1]) for made in (first, second)]
    assert torch.allclose(watch.scores(), torch.cat(expected, dim=1), rtol=1e-3, atol=1e-3)


def test_the_snippet_of_the_docs_works_as_printed_on_the_bundled_model(
    bundled_model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[1] / "docs" / "formats.md"
    blocks = [part.split("```")[0] for part in page.read_text("utf-8").split("```python\n")[1:]]
    code = next(block for block in blocks if "readout_ui.runtime" in block)
    vectors = random_vectors(bundled_model, layers=(9, 18))
    run = Run(describe_bare(vectors, "random", {"id": "bundled"}), lambda: vectors)
    run.export(tmp_path / "my-readout")
    monkeypatch.chdir(tmp_path)
    inputs = bundled_model.tokenizer("I feel calm.", return_tensors="pt")
    known: dict[str, Any] = {"model": bundled_model.model, "inputs": inputs}
    exec(code, known)
    assert known["watch"].scores().shape[2:] == (2, 3)
