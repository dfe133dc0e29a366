"""The descriptions that ship with the package, and where a person's own copy of them lives.

In a clone both are the folder `descriptions/` of the clone. An installed package keeps them as data
and copies them once to the user's data folder, where they can be edited.
"""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_data_path

from readout_ui.files import fill_folder, os_errors, partial_name

_PACKAGED = Path(__file__).parent / "data" / "descriptions"
_CLONE = Path(__file__).parents[2]


def in_clone() -> bool:
    """Whether this code runs from a clone of the project, not from an installed package."""
    return not _PACKAGED.is_dir() and (_CLONE / "pyproject.toml").is_file()


def shipped_descriptions() -> Path:
    """Folder of the 36 concepts and the neutral texts as they were shipped."""
    return _CLONE / "descriptions" if in_clone() else _PACKAGED


def home() -> Path:
    """Folder that holds `descriptions/` and `runs/`: the clone, or the user's data folder."""
    return _CLONE if in_clone() else user_data_path("readout-ui")


def provide_descriptions() -> Path:
    """The person's own folder of descriptions; the shipped ones are copied where there is none.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = home() / "descriptions"
    if not folder.exists():
        files = {path.name: path.read_bytes() for path in shipped_descriptions().glob("*.txt")}
        partial = folder.parent / partial_name("saving")
        with os_errors("cannot be written", str(folder), "name another with --descriptions"):
            fill_folder(partial, files)
            partial.rename(folder)
    return folder
