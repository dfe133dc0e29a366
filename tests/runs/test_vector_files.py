"""Vectors read back from every format, written again in another, and nothing hostile is taken."""

import io
import json
import pickle
import stat
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from readout_ui.errors import UserError
from readout_ui.files import sha256_of
from readout_ui.runs.export import FORMATS, write_files
from readout_ui.runs.formats.readout import round_vectors
from readout_ui.runs.importing import read_vectors
from readout_ui.runs.run import Run
from readout_ui.runs.run_files import write_zip
from readout_ui.texts.names import check_name
from readout_ui.vectors.vectors import ConceptVectors, Probes
from tests.support.trained_example import CONCEPTS, D_MODEL, LAYERS, make_run, make_vectors

pytestmark = pytest.mark.once
READABLE = sorted(FORMATS.keys() - {"steering-pkl", "sglang"})
WHOLE = ("npz", "readout")


@st.composite
def trainings(draw: st.DrawFn) -> Run:
    """Any vectors: names in any script, any layers, lengths of one or zero, with probes or not."""
    letters = st.characters(categories=["Ll", "Lo", "Nd"])
    names = st.text(letters, min_size=1, max_size=8).map(lambda name: check_name(f"c{name}"))
    concepts = tuple(sorted(draw(st.sets(names, min_size=1, max_size=4))))
    layers = tuple(sorted(draw(st.sets(st.integers(1, 99), min_size=1, max_size=3))))
    d_model, seed = draw(st.integers(1, 40)), draw(st.integers(0, 99))
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(len(concepts), len(layers), d_model, generator=random)
    directions /= directions.norm(dim=2, keepdim=True)
    if draw(st.booleans()):
        directions[0, 0] = 0
    shape = (len(concepts), len(layers))
    probes = Probes(("one", "two\n"), torch.randn(2, *shape, generator=random))
    vectors = replace(
        make_vectors(),
        concepts=concepts,
        layers=layers,
        directions=directions,
        center=torch.randn(len(layers), d_model, generator=random),
        neutral_mean=torch.randn(shape, generator=random),
        neutral_std=torch.rand(shape, generator=random) + 0.1,
        probes=probes if draw(st.booleans()) else None,
    )
    texts: dict[str, tuple[str, ...]] = {name: (f"I am {name}.",) for name in concepts}
    marks = {name: sha256_of(name.encode()) for name in concepts}
    return make_run(vectors=vectors, texts=texts, fingerprints=marks)


@settings(max_examples=30)
@given(trained=trainings(), form=st.sampled_from(READABLE), zipped=st.booleans())
def test_every_format_comes_back_from_a_folder_and_from_a_zip(
    tmp_path_factory: pytest.TempPathFactory, trained: Run, form: str, zipped: bool
) -> None:
    target = tmp_path_factory.mktemp("out") / ("out.zip" if zipped else "out")
    loaded = Run.open(write_files(target, trained.files(form)))
    vectors = trained.vectors
    if loaded.manifest.calibrated:
        expected = round_vectors(vectors) if form == "readout" else vectors
        assert loaded.vectors.concepts == vectors.concepts
        for part in ("directions", "center", "neutral_mean", "neutral_std"):
            assert torch.equal(getattr(loaded.vectors, part), getattr(expected, part))
        assert (loaded.vectors.probes is None) == (vectors.probes is None)
        assert loaded.manifest.descriptions == trained.fingerprints
        assert form in WHOLE
    else:
        assert sorted(loaded.concepts) == sorted(vectors.concepts)
        rows = [loaded.concepts.index(name) for name in vectors.concepts]
        assert loaded.layers == vectors.layers
        assert torch.equal(loaded.vectors.directions[rows], vectors.directions)
        assert loaded.model_name == "tiny/model"
        assert form not in WHOLE


@settings(max_examples=15)
@given(trained=trainings(), form=st.sampled_from(READABLE))
def test_a_conversion_gives_what_the_training_itself_would_have_given(
    tmp_path_factory: pytest.TempPathFactory, trained: Run, form: str
) -> None:
    source = tmp_path_factory.mktemp("npz") / "out.zip"
    loaded = Run.open(write_files(source, trained.files("npz")))
    assert loaded.files(form) == trained.files(form)


@settings(max_examples=15)
@given(trained=trainings())
def test_directions_alone_go_from_one_format_to_the_other_and_back(
    tmp_path_factory: pytest.TempPathFactory, trained: Run
) -> None:
    folder = tmp_path_factory.mktemp("bare")
    first = Run.open(write_files(folder / "a", trained.files("gguf")))
    second = Run.open(write_files(folder / "b", first.files("steering")))
    third = Run.open(write_files(folder / "c", second.files("gguf")))
    for found in (second, third):
        assert not found.vectors.calibrated
        assert (found.concepts, found.layers) == (first.concepts, first.layers)
        assert torch.equal(found.vectors.directions, first.vectors.directions)
        assert found.model_name == "tiny/model"


def files_of(form: str) -> dict[str, bytes]:
    return dict(make_run().files(form))


def folder_of(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


def test_one_file_of_a_pair_stands_for_both_and_single_files_are_read(tmp_path: Path) -> None:
    steering = folder_of(files_of("steering"), tmp_path / "steering")
    for name in ("steering_vectors.json", "steering_vectors.safetensors"):
        loaded = Run.open(steering / name)
        assert (loaded.concepts, loaded.layers, loaded.vectors.d_model) == (
            CONCEPTS,
            LAYERS,
            D_MODEL,
        )
    gguf = folder_of(files_of("gguf"), tmp_path / "gguf")
    alone = Run.open(gguf / "calm.gguf")
    assert alone.concepts == ("calm",)
    readout = folder_of(files_of("readout"), tmp_path / "readout")
    assert Run.open(readout / "readout.json").vectors.concepts == CONCEPTS
    assert Run.open(folder_of(files_of("npz"), tmp_path / "n") / "vectors.npz").vectors.layers


def test_directions_alone_are_no_readout_and_become_no_format_with_calibration(
    tmp_path: Path,
) -> None:
    gguf = folder_of(files_of("gguf"), tmp_path / "gguf")
    with pytest.raises(UserError, match="holds directions alone"):
        Run.open(gguf).require_calibrated()
    bare = Run.open(gguf)
    for form in WHOLE:
        with pytest.raises(UserError, match=f"cannot become the format {form}"):
            bare.files(form)
    with pytest.raises(UserError, match="concept glad was not trained"):
        bare.files("steering", ["glad"])
    with pytest.raises(UserError, match="layer 2 was not trained"):
        bare.files("steering", None, [2])


def test_directions_of_any_length_are_projected_on_at_unit_length() -> None:
    directions = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    vectors = ConceptVectors.bare(("calm",), (1, 2), directions).unit()
    assert torch.allclose(vectors.directions, torch.tensor([[[0.6, 0.8], [0.0, 0.0]]]))


# What is refused


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["calm.pkl", "calm.PT", "calm.pth", "pytorch_model.bin"])
def test_a_pickle_is_never_opened_alone_in_a_folder_or_in_a_zip(name: str, tmp_path: Path) -> None:
    ran, folder = tmp_path / "ran", tmp_path / "folder"
    folder_of({name: pickle.dumps(Hostile(ran))}, folder)
    write_zip(tmp_path / "x.zip", {name: pickle.dumps(Hostile(ran))})
    for source in (folder / name, folder, tmp_path / "x.zip"):
        with pytest.raises(UserError, match=r"a pickle can run any program .* not opened"):
            read_vectors(source)
    assert not ran.exists()


def test_a_pickle_under_another_name_is_not_opened_either(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("vectors.npz", "calm.gguf", "readout.zip"):
        (tmp_path / name).write_bytes(pickle.dumps(Hostile(ran)))
        with pytest.raises(UserError):
            read_vectors(tmp_path / name)
    for pair in ("steering", "readout"):
        files = files_of(pair)
        tensors = next(name for name in files if name.endswith(".safetensors"))
        folder = folder_of({**files, tensors: pickle.dumps(Hostile(ran))}, tmp_path / pair)
        with pytest.raises(UserError):
            read_vectors(folder)
    assert not ran.exists()


def zipped(tmp_path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in entries:
            archive.writestr(name, raw)
    return path


@pytest.mark.parametrize(
    "name",
    ["../calm.gguf", "/etc/calm.gguf", "a/calm.gguf", "..\\calm.gguf", "a/../../readout.json"],
)
def test_a_zip_that_leads_elsewhere_is_refused_and_writes_nothing(
    name: str, tmp_path: Path
) -> None:
    path = zipped(tmp_path, ("vectors.npz", files_of("npz")["vectors.npz"]), (name, b"x"))
    with pytest.raises(UserError, match="leads into another folder"):
        read_vectors(path)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    for entries in (
        [("readout.json", b" " * 5_000_000)],
        [(f"c{i}.gguf", b"\0" * 4_000) for i in range(2500)],
        [(f"c{i}.gguf", b"\0" * 200_000) for i in range(50)],
    ):
        with pytest.raises(UserError, match="unpacks to more"):
            read_vectors(zipped(tmp_path, *entries))


def test_a_link_in_a_zip_is_read_as_the_text_it_is(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("calm.gguf")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(UserError, match="cannot be read as GGUF"):
        read_vectors(zipped(tmp_path, (link, b"/etc/passwd")))


def steering_of(tmp_path: Path, tensors: dict[str, torch.Tensor], **index: object) -> Path:
    raw = save(tensors)
    known = json.loads(files_of("steering")["steering_vectors.json"])
    text = json.dumps({**known, "sha256": sha256_of(raw), **index})
    files = {"steering_vectors.safetensors": raw, "steering_vectors.json": text.encode()}
    return folder_of(files, tmp_path / "steering")


@pytest.mark.parametrize(
    ("tensors", "index", "said"),
    [
        ({"0.layer_1": torch.full((4,), torch.nan)}, {}, "NaN"),
        ({"0.layer_1": torch.zeros(4, dtype=torch.bool)}, {}, "which no direction is"),
        ({"0.layer_1": torch.zeros(2, 2)}, {}, "shapes"),
        ({"0.layer_2": torch.zeros(4)}, {}, "does not fit the index"),
        ({}, {"concepts": []}, "no index"),
        ({"0.layer_1": torch.zeros(4)}, {"concepts": ["a", "a"]}, "no index"),
        ({"0.layer_1": torch.zeros(4)}, {"layers": [-1]}, "no index"),
        ({"0.layer_1": torch.zeros(4)}, {"layers": [True]}, "no index"),
        ({"0.layer_1": torch.zeros(4)}, {"model": 3}, "no index"),
    ],
)
def test_a_steering_pair_is_refused_for_what_is_wrong_with_it(
    tensors: dict[str, torch.Tensor], index: dict[str, object], said: str, tmp_path: Path
) -> None:
    known = {"concepts": ["calm"], "layers": [1], **index}
    with pytest.raises(UserError, match=said):
        read_vectors(steering_of(tmp_path, tensors, **known))


def test_a_concept_whose_name_is_a_path_is_never_written(tmp_path: Path) -> None:
    tensors = {"0.layer_1": torch.ones(4)}
    source = steering_of(tmp_path, tensors, concepts=["../../calm"], layers=[1])
    loaded = Run.open(source)
    for form in ("gguf", "steering-pkl"):
        with pytest.raises(UserError, match="a name cannot contain /"):
            loaded.files(form)


def control_vector(path: Path, width: int = 4, name: str = "direction.1", value: float = 1) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "controlvector")
    writer.add_tensor(name, np.full(width, value, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda path: control_vector(path, value=np.nan), "NaN"),
        (lambda path: control_vector(path, width=5), "other layers or widths"),
        (lambda path: control_vector(path, name="direction.2"), "other layers or widths"),
        (lambda path: control_vector(path, name="direction.01"), "no direction"),
        (lambda path: control_vector(path, name=f"direction.{'9' * 40}"), "no direction"),
    ],
)
def test_control_vectors_that_do_not_go_together_are_refused(
    wrong: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    control_vector(tmp_path / "calm.gguf")
    wrong(tmp_path / "sad.gguf")
    with pytest.raises(UserError, match=said):
        read_vectors(tmp_path)


@settings(max_examples=40)
@given(
    form=st.sampled_from(READABLE),
    cut=st.integers(0, 3000),
    flip=st.integers(0, 2999),
    data=st.data(),
)
def test_a_damaged_export_gives_one_sentence_or_the_vectors(
    tmp_path_factory: pytest.TempPathFactory, form: str, cut: int, flip: int, data: st.DataObject
) -> None:
    files = files_of(form)
    name = data.draw(st.sampled_from(sorted(files.keys() - {"README.md"})))
    raw = bytearray(files[name])
    raw[flip % len(raw)] ^= 0xFF
    damaged = raw[: cut % len(raw)] if data.draw(st.booleans()) else raw
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each, content in {**files, name: bytes(damaged)}.items():
            archive.writestr(each, content)
    archived = bytearray(buffer.getvalue())
    archived[flip % len(archived)] ^= 0x55
    folder = tmp_path_factory.mktemp("damaged")
    folder_of({**files, name: bytes(damaged)}, folder / "folder")
    (folder / "x.zip").write_bytes(archived)
    for source in ("folder", "x.zip"):
        with suppress(UserError):
            read_vectors(folder / source)


def test_a_place_without_vectors_says_what_would_be_some(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are no vectors in it \(options: readout\.json"):
        read_vectors(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_vectors(tmp_path / "none")
    (tmp_path / "text.txt").write_text("nothing")
    with pytest.raises(UserError, match="not a folder and not a readable zip"):
        read_vectors(tmp_path / "text.txt")
