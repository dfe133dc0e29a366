"""Where the shipped descriptions are, in a clone and in an installed package."""

from pathlib import Path

import pytest

from readout_ui.texts import shipped

ROOT = Path(__file__).resolve().parents[2]


def test_in_a_clone_the_descriptions_and_runs_are_those_of_the_clone() -> None:
    assert shipped.in_clone()
    assert shipped.home() == ROOT
    assert shipped.shipped_descriptions() == shipped.provide_descriptions() == ROOT / "descriptions"


def test_an_installed_package_copies_them_once_and_never_over_what_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(shipped, "_PACKAGED", ROOT / "descriptions")
    folder = shipped.provide_descriptions()
    assert folder.is_relative_to(tmp_path)
    assert (folder / "calm.txt").read_bytes() == (ROOT / "descriptions" / "calm.txt").read_bytes()
    (folder / "calm.txt").write_text("My own text.\n")
    (folder / "tired.txt").unlink()
    assert shipped.provide_descriptions() == folder
    assert (folder / "calm.txt").read_text() == "My own text.\n"
    assert not (folder / "tired.txt").exists()
