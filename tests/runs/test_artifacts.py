"""Exports: what is in the files, that they give the same scores, and what is refused."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from readout_ui.errors import UserError
from readout_ui.files import sha256_of
from readout_ui.runs.export import READOUT_FILES
from readout_ui.runs.formats.readout import load_readout
from readout_ui.runs.manifest import EXPORT_FILES
from readout_ui.runs.run import Run
from readout_ui.texts.library import Concept, Library
from readout_ui.vectors.vectors import ConceptVectors
from tests.support.trained_example import CONCEPTS, D_MODEL, LAYERS, make_run, make_vectors

ROOT = Path(__file__).parents[2]
LOADER = ROOT / "docs" / "loader.py"


def library_of(descriptions: dict[str, tuple[str, ...]]) -> Library:
    """A library on no disk."""
    concepts = [Concept(n, texts, "0" * 64, Path(f"{n}.txt")) for n, texts in descriptions.items()]
    return Library(
        Path("."),
        concepts=tuple(c for c in concepts if not c.is_neutral),
        neutral=tuple(c for c in concepts if c.is_neutral),
        problems=(),
    )


@dataclass(frozen=True)
class FakeModel:
    """As much of a loaded model as loading compares."""

    name: str = "tiny/model"
    fingerprint: str = "f" * 16
    d_model: int = D_MODEL
    n_layers: int = 4
    frame_fingerprint: str = "a" * 64

    def framed(self, frame: str) -> Any:
        """The same model; there is one frame."""
        del frame
        return self

    @property
    def frame(self) -> SimpleNamespace:
        return SimpleNamespace(fingerprint=self.frame_fingerprint, describe=lambda: "a frame")


def activations(n_tokens: int = 200) -> torch.Tensor:
    """Token activations round the centre, (n_tokens, n_layers, d_model)."""
    generator = torch.Generator().manual_seed(9)
    spread = torch.randn(n_tokens, len(LAYERS), D_MODEL, generator=generator) * 3
    return make_vectors().center + spread


def z_scores(vectors: ConceptVectors, hidden: torch.Tensor) -> torch.Tensor:
    """(n_tokens, n_layers, n_concepts)."""
    raw = torch.einsum("tld,cld->tlc", hidden, vectors.directions)
    scores: torch.Tensor = (raw - vectors.neutral_mean.T) / vectors.neutral_std.T
    return scores


def cosines(vectors: ConceptVectors, hidden: torch.Tensor) -> torch.Tensor:
    """(n_tokens, n_layers, n_concepts)."""
    centred = hidden - vectors.center
    raw = torch.einsum("tld,cld->tlc", centred, vectors.directions)
    scores: torch.Tensor = raw / centred.norm(dim=2, keepdim=True)
    return scores


def test_the_vectors_file_holds_just_what_the_server_takes(tmp_path: Path) -> None:
    make_run().export(tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "readout.safetensors")
    assert set(tensors) == {"layer_1.vectors", "layer_3.vectors"}
    for tensor in tensors.values():
        assert tensor.dtype == torch.float16
        assert tuple(tensor.shape) == (len(CONCEPTS), D_MODEL)


def test_rows_are_in_the_order_of_the_manifests_concepts(tmp_path: Path) -> None:
    trained = make_run()
    trained.export(tmp_path / "out", concepts=["sad", "afraid"], layers=[3])
    manifest = json.loads((tmp_path / "out" / "readout.json").read_text())
    tensors = load_file(tmp_path / "out" / "readout.safetensors")
    assert manifest["concepts"] == ["sad", "afraid"]
    assert manifest["layers"] == [3]
    expected = trained.vectors.directions[[2, 0], 1].half()
    assert torch.equal(tensors["layer_3.vectors"], expected)


def test_an_unknown_concept_or_layer_is_refused_with_the_trained_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="afraid, calm, sad"):
        make_run().export(tmp_path / "out", concepts=["glad"])
    with pytest.raises(UserError, match="1, 3"):
        make_run().export(tmp_path / "out", layers=[2])
    assert not (tmp_path / "out").exists()


def test_a_loaded_export_gives_the_scores_of_the_run_within_the_rounding(tmp_path: Path) -> None:
    trained = make_run()
    loaded = Run.open(trained.export(tmp_path / "out"))
    hidden = activations()
    off = (z_scores(loaded.vectors, hidden) - z_scores(trained.vectors, hidden)).abs()
    spread = (hidden - trained.vectors.center).norm(dim=2)[:, :, None]
    bound = spread * 2**-11 / trained.vectors.neutral_std.T
    float32_noise = 500 * 1e-6 / trained.vectors.neutral_std.T
    assert (off <= bound + float32_noise).all()
    assert (cosines(loaded.vectors, hidden) - cosines(trained.vectors, hidden)).abs().max() < 1e-3


def test_without_the_calibrations_correction_a_massive_activation_would_shift_scores(
    tmp_path: Path,
) -> None:
    trained = make_run()
    loaded = Run.open(trained.export(tmp_path / "out"))
    naive = replace(loaded.vectors, neutral_mean=trained.vectors.neutral_mean)
    hidden, exact = activations(), z_scores(trained.vectors, activations())
    off = (z_scores(loaded.vectors, hidden) - exact).abs().max()
    assert off * 5 < (z_scores(naive, hidden) - exact).abs().max()


def test_directions_that_float16_can_hold_come_back_unchanged(tmp_path: Path) -> None:
    vectors = make_vectors()
    exact = replace(vectors, directions=vectors.directions.half().float())
    loaded = Run.open(make_run(vectors=exact).export(tmp_path / "out"))
    for part in ("directions", "center", "neutral_mean", "neutral_std"):
        assert torch.equal(getattr(loaded.vectors, part), getattr(exact, part))


def test_the_loader_in_the_documentation_gives_the_same_z_scores(tmp_path: Path) -> None:
    text = LOADER.read_text()
    assert len(text.splitlines()) <= 20
    imported = {
        line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))
    }
    assert imported <= {"json", "pathlib", "safetensors.torch", "torch"}
    folder = make_run().export(tmp_path / "out")
    names: dict[str, Any] = {}
    exec(compile(text, str(LOADER), "exec"), names)
    manifest, tensors = names["load"](folder)
    hidden = activations()
    loaded = Run.open(folder).vectors
    for column, layer in enumerate(manifest["layers"]):
        found = names["z_scores"](hidden[:, column], layer, tensors)
        assert torch.allclose(found, z_scores(loaded, hidden)[:, column], rtol=1e-5, atol=1e-3)


def test_a_direction_of_length_zero_is_exported_and_named(tmp_path: Path) -> None:
    vectors = make_vectors()
    vectors.directions[1, 0] = 0
    loaded = Run.open(make_run(vectors=vectors).export(tmp_path / "out"))
    assert [(z.concept, z.layer) for z in loaded.manifest.zero_directions] == [("calm", 1)]


def test_the_folder_and_the_zip_hold_the_same_bytes(tmp_path: Path) -> None:
    folder = make_run().export(tmp_path / "out")
    archive = zipfile.ZipFile(make_run().export(tmp_path / "out.zip"))
    assert sorted(archive.namelist()) == sorted(READOUT_FILES)
    for name in READOUT_FILES:
        assert archive.read(name) == (folder / name).read_bytes()


def test_a_zip_loads_like_a_folder(tmp_path: Path) -> None:
    loaded = Run.open(make_run().export(tmp_path / "out.zip"))
    assert loaded.vectors.concepts == CONCEPTS


SCRIPT = """
import pathlib
from tests.support.trained_example import make_run
make_run().export(pathlib.Path({out!r}))
make_run().export(pathlib.Path({out!r} + ".zip"))
"""


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    make_run().export(here)
    make_run().export(tmp_path / "here.zip")
    script = SCRIPT.format(out=str(there))
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
    for name in EXPORT_FILES:
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert (tmp_path / "here.zip").read_bytes() == (tmp_path / "there.zip").read_bytes()


def test_an_older_export_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    make_run(seed=1).export(tmp_path / "out")
    make_run(seed=2).export(tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    found = Run.open(tmp_path / "out").vectors.directions
    assert torch.equal(found, make_vectors(2).directions.half().float())


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match=r"diary\.txt"):
        make_run().export(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["diary.txt"]


def test_a_file_where_the_folder_should_go_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="name a folder"):
        make_run().export(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_another_zip_is_not_overwritten(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.jpg", b"mine")
    before = (tmp_path / "photos.zip").read_bytes()
    with pytest.raises(UserError, match="another file is there"):
        make_run().export(tmp_path / "photos.zip")
    assert (tmp_path / "photos.zip").read_bytes() == before


def test_a_failed_write_leaves_the_older_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(seed=1).export(tmp_path / "out")

    def refuse(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("readout_ui.files.os.fsync", refuse)
    with pytest.raises(UserError, match="No space left on device"):
        make_run(seed=2).export(tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    found = Run.open(tmp_path / "out").vectors.directions
    assert torch.equal(found, make_vectors(1).directions.half().float())


def test_a_failed_rename_puts_the_older_export_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    make_run(seed=1).export(tmp_path / "out")
    rename, calls = os.rename, []

    def fail_second(old: Path, new: Path) -> None:
        calls.append(new)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(old, new)

    monkeypatch.setattr("readout_ui.runs.run_files._exchanged", lambda *_: False)
    monkeypatch.setattr("readout_ui.files.os.rename", fail_second)
    with pytest.raises(UserError, match="Input/output error"):
        make_run(seed=2).export(tmp_path / "out")
    assert sha256_of((tmp_path / "out" / "readout.json").read_bytes())
    assert len(list(tmp_path.iterdir())) == 1


def test_vectors_of_changed_descriptions_are_refused_by_name() -> None:
    trained = make_run()
    now = dict(trained.texts)
    now["calm"] = ("I feel calm now. It is new.",)
    now["glad"] = ("I feel glad. It is new.",)
    del now["_neutral"]
    with pytest.raises(UserError, match="_neutral, calm, glad"):
        trained.refuse_changed(library_of(now))


def test_an_export_names_the_texts_of_its_training(tmp_path: Path) -> None:
    trained = make_run()
    trained.export(tmp_path / "out")
    manifest = Run.open(tmp_path / "out").manifest
    assert manifest.descriptions == trained.fingerprints


def test_unchanged_descriptions_are_not_refused() -> None:
    trained = make_run()
    trained.refuse_changed(library_of(trained.texts))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (FakeModel(d_model=128), "64 numbers"),
        (FakeModel(n_layers=3), "layer 3, the last layer of tiny/model is 2"),
        (FakeModel(name="other/model", fingerprint="e"), "trained on tiny/model"),
        (FakeModel(fingerprint="e"), "weights of tiny/model differ"),
        (FakeModel(frame_fingerprint="b"), "another prompt frame"),
    ],
)
def test_another_model_is_refused_with_what_differs(
    tmp_path: Path, model: FakeModel, said: str
) -> None:
    folder = make_run().export(tmp_path / "out")
    with pytest.raises(UserError, match=said):
        Run.open(folder).refuse_other_model(cast(Any, model))


def test_the_model_it_was_trained_on_is_accepted(tmp_path: Path) -> None:
    folder = make_run().export(tmp_path / "out")
    run = Run.open(folder)
    run.refuse_other_model(cast(Any, FakeModel()))
    assert run.vectors.layers == LAYERS


def forge(
    folder: Path,
    change: Callable[[dict[str, torch.Tensor]], object],
    name: str = "readout.safetensors",
) -> None:
    """Change tensors and make the manifest's hash agree, so that only later checks can tell."""
    tensors = load_file(folder / name)
    change(tensors)
    save_file(tensors, folder / name)
    manifest = json.loads((folder / "readout.json").read_text())
    manifest["files"][name] = sha256_of((folder / name).read_bytes())
    (folder / "readout.json").write_text(json.dumps(manifest))


def set_value(key: str, value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[key].view(-1)[0] = value

    return change


def put(key: str, tensor: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.__setitem__(key, tensor)


VECTORS, CALIBRATION = "readout.safetensors", "calibration.safetensors"
HALF, FLOAT = torch.float16, torch.float32


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (VECTORS, lambda t: t.pop("layer_3.vectors"), r"layer_3\.vectors is missing"),
        (VECTORS, put("layer_7.vectors", torch.zeros(3, 64, dtype=HALF)), "not in the manifest"),
        (VECTORS, put("layer_3.vectors", torch.zeros(2, 64, dtype=HALF)), r"wants .*\(3, 64\)"),
        (VECTORS, put("layer_3.vectors", torch.zeros(3, 64, dtype=FLOAT)), "wants torch.float16"),
        (VECTORS, put("layer_3.vectors", torch.zeros(3, 64, dtype=HALF)), "length zero"),
        (VECTORS, set_value("layer_3.vectors", float("nan")), "NaN"),
        (VECTORS, set_value("layer_3.vectors", 9.0), "lengths"),
        (CALIBRATION, set_value("layer_1.neutral_std", 0.0), "neutral_std must be above zero"),
        (CALIBRATION, set_value("layer_1.center", float("inf")), "infinite"),
        (CALIBRATION, lambda t: t.pop("layer_1.neutral_mean"), "neutral_mean is missing"),
    ],
)
def test_tensors_that_do_not_fit_the_manifest_are_refused_by_name(
    tmp_path: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object], said: str
) -> None:
    folder = make_run().export(tmp_path / "out")
    forge(folder, change, name)
    with pytest.raises(UserError, match=said):
        load_readout(folder)


@pytest.mark.parametrize("name", EXPORT_FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = make_run().export(tmp_path / "out")
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        load_readout(folder)


@pytest.mark.parametrize("name", EXPORT_FILES)
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = make_run().export(tmp_path / "out")
    raw = (folder / name).read_bytes()
    (folder / name).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(UserError, match=name):
        load_readout(folder)


@pytest.mark.parametrize("name", ["readout.safetensors", "calibration.safetensors"])
def test_one_flipped_bit_is_refused(tmp_path: Path, name: str) -> None:
    folder = make_run().export(tmp_path / "out")
    raw = bytearray((folder / name).read_bytes())
    raw[-1] ^= 1
    (folder / name).write_bytes(raw)
    with pytest.raises(UserError, match=f"{name} is not the file"):
        load_readout(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "C:\\x"])
def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    folder = make_run().export(tmp_path / "out")
    manifest = json.loads((folder / "readout.json").read_text())
    manifest["files"][name] = "0" * 64
    (folder / "readout.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="does not match"):
        load_readout(folder)


def test_a_readout_of_the_seed_trainer_is_refused_because_it_lacks_the_calibration(
    tmp_path: Path,
) -> None:
    save_file({"layer_1.vectors": torch.zeros(1, 4).half()}, tmp_path / "readout.safetensors")
    (tmp_path / "readout.json").write_text('{"concepts": ["a"], "layers": [1]}')
    with pytest.raises(UserError, match=r"calibration\.safetensors"):
        load_readout(tmp_path)


def test_a_path_to_nothing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        load_readout(tmp_path / "nowhere")


def zip_of(entries: Sequence[tuple[str, bytes]], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, raw in entries:
            archive.writestr(name, raw)
    return buffer.getvalue()


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    entries = [(name, b"\0" * 10_000_000) for name in EXPORT_FILES]
    (tmp_path / "bomb.zip").write_bytes(zip_of(entries, zipfile.ZIP_DEFLATED))
    with pytest.raises(UserError, match="unpacks to more"):
        load_readout(tmp_path / "bomb.zip")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_zip_is_a_user_error_or_still_whole(tmp_path: Path, data: st.DataObject) -> None:
    whole = zip_of(sorted(make_run().files().items()), zipfile.ZIP_STORED)
    raw = bytearray(whole)
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(raw)) | st.just(len(raw)))
    (tmp_path / "x.zip").write_bytes(bytes(raw[:cut]))
    try:
        found = Run.open(tmp_path / "x.zip").vectors
    except UserError:
        return
    assert torch.equal(found.directions, make_vectors().directions.half().float())
