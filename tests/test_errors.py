"""What a library no longer has ends in one sentence with its version."""

from importlib.metadata import version
from types import SimpleNamespace

import numpy
import pytest

from readout_ui.cli import program as cli
from readout_ui.errors import UserError, library_error, missing_import, required
from readout_ui.runs.hub import _refused


def test_what_is_there_is_given_back_and_what_is_not_is_never_a_default() -> None:
    assert required(SimpleNamespace(width=8), "width", "numpy") == 8
    assert required(SimpleNamespace(width=None), "width", "numpy") is None
    with pytest.raises(
        UserError, match=f"numpy has no width, .* numpy {version('numpy')}; install"
    ):
        required(numpy, "width", "numpy")
    assert "of an unknown version" in str(library_error("no-such-library", "it is gone"))


def test_an_import_that_a_library_no_longer_offers_names_the_library() -> None:
    with pytest.raises(ImportError) as caught:
        from numpy.linalg import no_such_solver  # type: ignore[attr-defined]  # noqa: F401
    assert f"cannot work with numpy {version('numpy')}" in str(missing_import(caught.value))


def test_the_command_line_says_so_and_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(*_args: object, **_options: object) -> None:
        raise ImportError("cannot import name 'X' from 'transformers.y'", name="transformers.y")

    monkeypatch.setattr(cli, "app", gone)
    assert cli.run(["models"]) == 2
    assert f"cannot work with transformers {version('transformers')}" in capsys.readouterr().err


def test_the_command_line_names_a_gpu_that_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(*_args: object, **_options: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nSearch for...")

    monkeypatch.setattr(cli, "app", lost)
    assert cli.run(["models"]) == 2
    said = capsys.readouterr().err
    assert "stopped working for this process (CUDA error: an illegal memory access" in said
    assert said.count("\n") == 1


def test_an_answer_of_the_hub_that_tells_no_status_is_no_answer_of_status_none() -> None:
    with pytest.raises(UserError, match=f"huggingface_hub {version('huggingface_hub')}"):
        _refused("me/vectors", ValueError("another kind of error"))
