"""An export becomes a run again only where its texts are, and only if its scores are the same."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from readout_ui.app.session import Studio
from readout_ui.app.ship.bring import bring
from readout_ui.errors import UserError
from readout_ui.runs.export import write_files
from readout_ui.runs.manifest import ModelPart
from readout_ui.runs.run import Run
from readout_ui.runs.store import BROUGHT, ROUNDED, RunStore, adopted
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings
from tests.support.trained_example import make_run, make_vectors


@pytest.fixture
def trained(studio: Studio) -> Studio:
    """A studio that trained once, on all layers."""
    studio.load_model()
    studio.start_training(TrainSettings(layers="all")).result()
    return studio


def empty_runs(studio: Studio) -> None:
    for run in studio.runs.list():
        studio.runs.delete(run.id)


@pytest.mark.parametrize(("form", "layers"), [("npz", []), ("readout", [1, 2])])
def test_an_export_is_a_run_again_where_its_texts_are(
    trained: Studio, form: str, layers: list[int]
) -> None:
    before = trained.run()
    vectors = before.vectors
    path = trained.export(["happy", "calm", "afraid", "angry"], layers, form=form)
    empty_runs(trained)
    said = bring(trained, [path])
    assert "Certified" in said
    run = trained.run()
    brought = run.vectors
    assert brought.concepts == vectors.concepts == ("afraid", "angry", "calm", "happy")
    assert run.layers == (tuple(layers) or before.layers)
    expected = vectors.select(layers=layers or None).directions
    assert torch.allclose(brought.directions, expected, atol=0 if form == "npz" else 1e-3)
    assert run.best_layer in run.layers
    assert run.texts == before.texts
    assert run.settings == before.settings
    assert run.warnings == (BROUGHT if form == "npz" else ROUNDED,)
    assert trained.changed_descriptions() == 0


def test_the_files_of_a_folder_come_one_by_one(trained: Studio, tmp_path: Path) -> None:
    folder = trained.export([], [], tmp_path / "out")
    files = [file for file in folder.iterdir() if file.name != "README.md"]
    empty_runs(trained)
    assert "4 concepts at 3 layers of 3 files" in bring(trained, files)
    with pytest.raises(UserError, match="is there twice"):
        bring(trained, [files[0], files[0]])
    alone = tmp_path / "upload" / "readout.json"
    alone.parent.mkdir()
    alone.write_bytes((folder / "readout.json").read_bytes())
    with pytest.raises(UserError, match=r"^readout\.safetensors: no such file"):
        bring(trained, [alone])


def test_texts_of_a_kept_run_count_although_the_folder_changed(trained: Studio) -> None:
    path = trained.export([], [])
    (trained.folder / "calm.txt").write_text("I am calm now. It is quiet.\n")
    assert "In use now" in bring(trained, [path])
    empty_runs(trained)
    with pytest.raises(UserError, match="not here: calm; import the descriptions"):
        bring(trained, [path])
    assert trained.runs.list() == ()


def test_scores_that_differ_and_another_model_keep_nothing(trained: Studio, tmp_path: Path) -> None:
    run = trained.run()
    vectors = run.vectors
    assert vectors.probes
    off = replace(vectors, probes=replace(vectors.probes, scores=vectors.probes.scores + 1))
    other = ModelPart(id="me/other", revision="", fingerprint="f")
    for name, wrong, said in (
        (
            "scores",
            replace(run, load=lambda: off),
            "Refused: .* differ by at most 1 standard deviations",
        ),
        (
            "name",
            replace(run, manifest=run.manifest.model_copy(update={"model": other})),
            "trained on me/other, the loaded model is",
        ),
    ):
        path = write_files(tmp_path / f"{name}.zip", wrong.files("npz"))
        with pytest.raises(UserError, match=f"^{name}.zip: .*{said}"):
            bring(trained, [path])
        assert [each.id for each in trained.runs.list()] == [run.id]
        assert trained.run().id == run.id


def test_directions_alone_are_told_about_and_keep_nothing(trained: Studio) -> None:
    path = trained.export(["calm"], [1], form="gguf")
    before = trained.runs.list()
    said = bring(trained, [path])
    assert "gguf.zip holds directions alone: 1 concept at 1 layer" in said
    assert [run.id for run in trained.runs.list()] == [run.id for run in before]


def test_hostile_files_are_refused_by_their_own_name(studio: Studio, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.mkdir()
    with zipfile.ZipFile(upload / "x.zip", "w") as archive:
        archive.writestr("../readout.json", "{}")
    (upload / "calm.pkl").write_bytes(b"\x80\x04N.")
    (upload / "cut.npz").write_bytes(b"PK\x03\x04")
    for file, said in (
        ("x.zip", "leads into another folder"),
        ("calm.pkl", "not opened"),
        ("cut.npz", "no .npz file"),
    ):
        with pytest.raises(UserError, match=said) as refused:
            bring(studio, [upload / file])
        assert str(refused.value).startswith(f"{file}: ")
        assert str(tmp_path) not in str(refused.value)
    with pytest.raises(UserError, match="there is no file"):
        bring(studio, [])


def whole(trained: Run, form: str, folder: Path) -> Run:
    return Run.open(write_files(folder / "out.zip", trained.files(form)))


def test_some_of_the_concepts_or_another_source_are_no_run(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    store.save(make_run())
    library = Library(tmp_path)
    some = make_run(vectors=make_vectors().select(["calm"]))
    with pytest.raises(UserError, match=r"1 of the 3 concepts .* \(not afraid, sad\)"):
        adopted(whole(some, "npz", tmp_path / "a"), "x.npz", library, store.list())
    pairs = make_run(contrast={"polarity": "positive = x, negative = y"})
    with pytest.raises(UserError, match=r"^x\.npz: these vectors were trained on contrast pairs"):
        adopted(whole(pairs, "npz", tmp_path / "b"), "x.npz", library, store.list())
    whole_run = adopted(whole(make_run(), "npz", tmp_path / "c"), "x", library, store.list())
    assert whole_run.texts == make_run().texts
