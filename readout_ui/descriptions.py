"""Editing the concept library: save, create, rename and delete without ever losing a text."""

import os
from collections.abc import Iterable
from pathlib import Path

from readout_ui.concept_names import SUFFIX, check_name, fold_name, is_neutral_name, printable
from readout_ui.description_text import (
    MAX_FILE_BYTES,
    UnreadableFile,
    encode_descriptions,
    format_descriptions,
    normalise_description,
    normalise_descriptions,
    parse_descriptions,
    split_text,
)
from readout_ui.errors import UserError
from readout_ui.files import WRITING, fingerprint_of, read_bytes, shown, sync_folder, write_file
from readout_ui.library import (
    Concept,
    Library,
    Problem,
    concept_files,
    concept_name,
    read_concept,
    read_library,
    require_trainable,
)
from readout_ui.versions import TrashEntry, keep_bytes, keep_version, move_to_trash, move_versions

__all__ = [
    "MAX_FILE_BYTES",
    "Concept",
    "FileChanged",
    "Library",
    "Problem",
    "TrashEntry",
    "UnreadableFile",
    "check_name",
    "create_concept",
    "delete_concept",
    "find_concept_file",
    "format_descriptions",
    "is_neutral_name",
    "normalise_description",
    "normalise_descriptions",
    "parse_descriptions",
    "read_concept",
    "read_library",
    "rename_concept",
    "replace_bytes",
    "require_trainable",
    "save_concept",
]


class FileChanged(UserError):
    """The file on disk is not what the editor opened; neither text has been touched.

    To keep mine, save again with `opened=error.theirs_fingerprint`.
    """

    def __init__(
        self,
        name: str,
        mine: tuple[str, ...],
        theirs: tuple[str, ...],
        theirs_fingerprint: str | None,
    ) -> None:
        self.mine = mine
        """What was to be saved, normalised."""
        self.theirs = theirs
        """What is on disk now (undecodable bytes shown as U+FFFD); empty when deleted."""
        self.theirs_fingerprint = theirs_fingerprint
        """sha256 of the file on disk; None when it was deleted."""
        happened = "was deleted" if theirs_fingerprint is None else "was changed on disk"
        super().__init__(
            f"the file {happened} since it was opened here",
            where=f"{name}{SUFFIX}",
            fix="keep yours, take theirs, or look at both",
        )


def save_concept(
    folder: Path | str, name: str, descriptions: Iterable[str], opened: str | None
) -> Concept:
    """Write a concept's descriptions; the version they replace goes to the history first.

    Args:
        folder: the library's folder, made if missing.
        name: concept, or neutral file with its leading underscore.
        descriptions: normalised on the way (no blank lines inside, empty ones dropped).
        opened: fingerprint of the file that the editor opened; None: it must not exist yet.

    Returns:
        The concept as it is on disk now. If its descriptions are these already, nothing is
        written, whatever `opened` says.

    Raises:
        FileChanged: the file is not the one that was opened.
        UserError: unsafe name, text that no file can hold, or the system refuses.
    """
    folder = Path(folder)
    name = check_name(name, neutral=is_neutral_name(name))
    mine = normalise_descriptions(descriptions)
    data = encode_descriptions(mine, f"{name}{SUFFIX}")
    with WRITING:
        path = find_concept_file(folder, name) or folder / f"{name}{SUFFIX}"
        present = fingerprint_of(path)
        if present is not None and _same_descriptions(path, mine):
            return read_concept(path)
        if present != opened:
            raise FileChanged(name, mine, _theirs(path, present), present)
        return replace_bytes(folder, path, data)


def create_concept(
    folder: Path | str, name: str, descriptions: Iterable[str] = (), *, neutral: bool = False
) -> Concept:
    """Make a new concept, perhaps still without descriptions.

    Args:
        folder: the library's folder.
        name: what the user typed.
        descriptions: its first texts.
        neutral: make a file of neutral texts; the underscore is added.

    Raises:
        UserError: the name is unsafe or taken.
    """
    folder = Path(folder)
    with WRITING:
        cleaned = check_name(name, _taken(folder), neutral=neutral)
        return save_concept(folder, cleaned, descriptions, None)


def rename_concept(folder: Path | str, old: str, new: str) -> Concept:
    """Give a concept another name; its history goes along. Neutral files stay neutral.

    Raises:
        UserError: no such concept, the new name is unsafe or taken, or the system refuses.
    """
    folder = Path(folder)
    with WRITING:
        path = _require_file(folder, old)
        others = [concept_name(other) for other in concept_files(folder) if other != path]
        cleaned = check_name(new, others, neutral=is_neutral_name(old))
        parse_descriptions(read_bytes(path), shown(path))
        target = folder / f"{cleaned}{SUFFIX}"
        if target.name != path.name:
            _move(folder, path, target)
            move_versions(folder, concept_name(path), cleaned)
        keep_version(folder, cleaned, target)
        return read_concept(target)


def delete_concept(folder: Path | str, name: str) -> TrashEntry:
    """Move a concept's file to the trash, from where `history.restore_trashed` brings it back.

    Raises:
        UserError: no such concept, or the system refuses; nothing is deleted then.
    """
    folder = Path(folder)
    with WRITING:
        path = _require_file(folder, name)
        if path.is_dir():
            raise UserError("this is a folder", where=shown(path), fix="remove it yourself")
        if path.is_file():
            keep_version(folder, concept_name(path), path)
        return move_to_trash(folder, concept_name(path), path)


def find_concept_file(folder: Path, name: str) -> Path | None:
    """The concept's file: the exact name, else one equal under case folding and NFC."""
    if not folder.exists():
        return None
    files = {concept_name(path): path for path in concept_files(folder)}
    if name in files:
        return files[name]
    return next((p for other, p in files.items() if fold_name(other) == fold_name(name)), None)


def replace_bytes(folder: Path, path: Path, data: bytes) -> Concept:
    """Write the file's bytes; the version before and the one after are both in the history.

    The new version is stored before it is written, so a failed write loses neither.
    """
    name = concept_name(path)
    with WRITING:
        if path.exists():
            keep_version(folder, name, path)
        keep_bytes(folder, name, data)
        write_file(path, data)
        return read_concept(path)


def _taken(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    return [concept_name(path) for path in concept_files(folder)]


def _require_file(folder: Path, name: str) -> Path:
    path = find_concept_file(folder, name)
    if path is None:
        raise UserError(f"there is no concept '{printable(name)}'", where=str(folder))
    return path


def _move(folder: Path, path: Path, target: Path) -> None:
    try:
        if target.exists() and not target.samefile(path):
            raise UserError("a file of that name exists", where=shown(target), fix="choose another")
        os.rename(path, target)
        sync_folder(folder)
    except OSError as error:
        raise UserError(
            f"could not be renamed ({error.strerror})",
            where=shown(path),
            fix="check the folder's permissions; nothing was changed",
        ) from None


def _same_descriptions(path: Path, mine: tuple[str, ...]) -> bool:
    try:
        return parse_descriptions(read_bytes(path), shown(path)) == mine
    except UnreadableFile:
        return False


def _theirs(path: Path, fingerprint: str | None) -> tuple[str, ...]:
    if fingerprint is None:
        return ()
    try:
        return split_text(read_bytes(path).decode("utf-8", "replace").replace("\0", "\ufffd"))
    except UnreadableFile:
        return ()
