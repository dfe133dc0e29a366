"""`read`, `verify` and `export --vectors` over every format that can be read back."""

import csv
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from readout_ui.cli import program as cli
from tests.conftest import SMALL_LIBRARY
from tests.support.tiny_model import save_tiny_model

TEXT = "Someone is at the door."


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run's exports in four formats, as folders, and a model."""
    folder = tmp_path_factory.mktemp("vectors")
    save_tiny_model(folder / "tiny")
    (folder / "descriptions").mkdir()
    for name, texts in SMALL_LIBRARY.items():
        (folder / "descriptions" / f"{name}.txt").write_text("\n\n".join(texts) + "\n")
    train = ["train", "--descriptions", f"{folder}/descriptions", "--output", f"{folder}/readout"]
    train += ["--method", "mean"]  # what one reads with is then what one pushes with
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READOUT_UI_CACHE", str(folder / "cache"))
        model = ["--model", f"{folder}/tiny", "--device", "cpu", "--layers", "1,2"]
        assert cli.run([*train, *model, "--runs", f"{folder}/runs"]) == 0
        for form in ("npz", "gguf", "steering"):
            export = ["export", "--runs", f"{folder}/runs", "--format", form]
            assert cli.run([*export, "--output", f"{folder}/{form}"]) == 0
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))


def read(place: Path, vectors: str, *more: str) -> int:
    model = ["--model", str(place / "tiny"), "--device", "cpu", "--score", "raw"]
    return cli.run(["read", "--vectors", str(place / vectors), *model, *more, TEXT])


def scores(place: Path, vectors: str, shown: pytest.CaptureFixture[str]) -> dict[str, np.ndarray]:
    """Raw scores by concept, (n_tokens, n_layers)."""
    shown.readouterr()
    assert read(place, vectors, "--json") == 0
    found = json.loads(shown.readouterr().out)
    assert found["layers"] == [1, 2]
    table = np.array(found["scores"])
    return {name: table[:, :, i] for i, name in enumerate(found["concepts"])}


@pytest.mark.parametrize(
    "vectors",
    ["npz", "npz/vectors.npz", "gguf", "steering", "steering/steering_vectors.json", "readout"],
)
def test_every_format_reads_the_same_projections(
    vectors: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = scores(place, vectors, capsys)
    expected = scores(place, "npz", capsys)
    assert found.keys() == expected.keys() == {"afraid", "angry", "calm", "happy"}
    for name, values in found.items():
        assert np.allclose(values, expected[name], atol=2e-3 * np.abs(expected[name]).max())


def test_of_directions_alone_only_raw_scores_are_shown(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(place, "gguf/calm.gguf", "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0].keys() >= {"token", "layer", "concept", "raw"}
    assert not rows[0].keys() & {"z", "cosine"}
    assert {row["concept"] for row in rows} == {"calm"}
    for score in ("z", "cosine"):
        assert read(place, "gguf", "--score", score) == 2
        shown = capsys.readouterr().err
        assert f"directions alone, so there is no {score} score; read with --score raw" in shown
        assert shown.count("\n") == 1


def test_npz_is_verified_and_evaluated_like_a_readout_and_directions_alone_are_not(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(place / "tiny"), "--device", "cpu"]
    assert cli.run(["verify", str(place / "npz"), *model]) == 0
    assert capsys.readouterr().out.startswith("Certified")
    rows = [f"Words {i} of {n}.,{n}" for i in range(3) for n in ("calm", "happy", "angry")]
    texts = tmp_path / "texts.csv"
    texts.write_text("\n".join(["text,label", *rows]))
    judge = ["evaluate", "--vectors", str(place / "npz" / "vectors.npz"), "--texts", str(texts)]
    assert cli.run([*judge, *model]) == 0
    capsys.readouterr()
    for command in (
        ["verify", str(place / "steering")],
        ["serve", "--vectors", str(place / "gguf")],
    ):
        assert cli.run([*command, *model]) == 2
        assert "it holds directions alone" in capsys.readouterr().err


def test_a_conversion_equals_the_export_of_the_run(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, form in (("npz", "gguf"), ("npz", "readout"), ("steering", "gguf")):
        out = tmp_path / f"{source}-{form}"
        convert = ["export", "--vectors", str(place / source), "--format", form]
        assert cli.run([*convert, "--output", str(out)]) == 0
        names = [file.name for file in out.iterdir()]
        for name in names:
            if (place / form / name).exists() and form != "readout":
                assert (out / name).read_bytes() == (place / form / name).read_bytes()
    some = ["--concepts", "sad", "--layers", "-1", "--output", str(tmp_path / "x")]
    assert cli.run(["export", "--vectors", str(place / "npz"), *some]) == 2
    assert "sad was not trained (options: afraid" in capsys.readouterr().err
    some[1] = "calm"
    assert cli.run(["export", "--vectors", str(place / "npz"), *some]) == 0
    assert json.loads((tmp_path / "x" / "readout.json").read_text())["layers"] == [2]


def other_model(folder: Path, n_layers: int) -> Path:
    """The tiny model with other weights."""
    import torch

    from tests.support.architectures import CHATML, build, tiny_tokenizer

    model = build("llama", num_hidden_layers=n_layers)
    with torch.no_grad():
        next(model.parameters()).add_(0.5)
    model.save_pretrained(folder)
    tiny_tokenizer(CHATML).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("vectors", "n_layers", "said"),
    [
        ("npz", 3, "the vectors were trained on tiny"),
        ("readout", 3, "the vectors were trained on tiny"),
        ("steering", 3, "the vectors were trained on tiny"),
        ("npz", 2, "the last layer of other is 1"),
        ("gguf", 2, "the last layer of other is 1"),
        ("steering", 2, "the last layer of other is 1"),
    ],
)
def test_vectors_of_another_model_are_refused(
    vectors: str,
    n_layers: int,
    said: str,
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = other_model(tmp_path / "other", n_layers)
    arguments = ["read", "--vectors", str(place / vectors), "--score", "raw", TEXT]
    assert cli.run([*arguments, "--model", str(other), "--device", "cpu"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "--output", "o"], "name one source of vectors (options: --runs, --vectors)"),
        (["export", "--runs", "r", "--vectors", "v", "--output", "o"], "name one source"),
        (["export", "--runs", "r"], "nothing says where to (options: --output, --push-to-hub)"),
        (["export", "--runs", "r", "--output", "o", "--public"], "--public is for --push-to-hub"),
        (["export", "--runs", "r", "--push-to-hub", "calm"], "write OWNER/NAME"),
        (["export", "--vectors", "{tmp}/a.pkl", "--output", "o"], "so it is not opened"),
        (["read", "--vectors", "{tmp}/a.pkl", "x"], "so it is not opened"),
        (["verify", "{tmp}/a.pkl"], "so it is not opened"),
        (["serve", "--vectors", "{tmp}/a.pkl"], "so it is not opened"),
        (["steer", "--vectors", "{tmp}/a.pkl", "x"], "so it is not opened"),
        (
            ["export", "--vectors", "{place}/gguf", "--output", "o"],
            "cannot become the format readout",
        ),
        (
            ["read", "--vectors", "{place}/gguf", "--score", "raw", "x"],
            "name the folder with --model",
        ),
        (["read", "--vectors", "{tmp}", "x"], "there are no vectors in it"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    arguments: list[str],
    said: str,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "files"
    folder.mkdir()
    if "{tmp}" not in arguments:
        (folder / "a.pkl").write_bytes(pickle.dumps([1]))
    known = {"{tmp}": str(folder), "{place}": str(place)}
    for name, value in known.items():
        arguments = [word.replace(name, value) for word in arguments]
    assert cli.run(arguments) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not Path("o").exists()
