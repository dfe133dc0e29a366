"""Editing the concept library without ever losing a text: save, rename, delete, bring back."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from readout_ui.errors import UnreadableFile, UserError, printable
from readout_ui.files import os_errors, read_bytes, sha256_of, shown, sync_folder, write_file
from readout_ui.texts.library import Concept, Library, concept_files, concept_name, read_concept
from readout_ui.texts.names import (
    SUFFIX,
    against_name,
    check_name,
    contrasted,
    fold_name,
    is_neutral_name,
)
from readout_ui.texts.reading import (
    encode_descriptions,
    normalise_descriptions,
    parse_descriptions,
    split_text,
)
from readout_ui.texts.tags import change_tags, read_tags
from readout_ui.texts.versions import (
    MAX_KEPT_BYTES,
    TrashEntry,
    Version,
    begin_rename,
    changing,
    end_rename,
    keep_bytes,
    keep_version,
    list_trash,
    move_to_trash,
    versions_of,
)


class FileChanged(UserError):
    """The file on disk is not what the editor opened; neither text has been touched.

    To keep mine, save again with `opened=error.theirs_fingerprint`.
    """

    def __init__(self, name: str, mine: tuple[str, ...], present: bytes | None) -> None:
        self.mine = mine
        """What was to be saved, normalised."""
        self.theirs = _readable(present)
        """What is on disk now (undecodable bytes shown as U+FFFD); empty when deleted."""
        self.theirs_fingerprint = mark_of(present)
        """sha256 of the file on disk; None when it was deleted."""
        happened = "was deleted" if present is None else "was changed on disk"
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
    with changing(folder):
        path = find_concept_file(folder, name) or folder / f"{name}{SUFFIX}"
        return put_concept(folder, path, normalise_descriptions(descriptions), opened)


def put_concept(folder: Path, path: Path, mine: tuple[str, ...], opened: str | None) -> Concept:
    """`save_concept` of normalised descriptions to the concept's file, there or not.

    For a caller that holds `versions.changing`; errors as there.
    """
    data = encode_descriptions(mine, path.name)
    present = bytes_of(path)
    if present is not None and _same_descriptions(present, mine):
        return read_concept(path)
    if mark_of(present) != opened:
        raise FileChanged(concept_name(path), mine, present)
    return _replace(folder, path, data, present)


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
    with changing(folder):
        cleaned = check_name(name, concept_index(folder), neutral=neutral)
        return save_concept(folder, cleaned, descriptions, None)


def add_texts(folder: Path | str, name: str, texts: Iterable[str]) -> Concept:
    """Put texts behind those that a concept has, each once; a concept that is missing is made.

    Raises:
        UserError: unsafe name, its file cannot be used, or the system refuses.
    """
    folder = Path(folder)
    with changing(folder):
        path = find_concept_file(folder, name)
        there = None if path is None else read_concept(path)
        before = there.descriptions if there else ()
        new = [text for text in normalise_descriptions(texts) if text not in before]
        opened = there.fingerprint if there else None
        return save_concept(folder, there.name if there else name, [*before, *new], opened)


def rename_concept(folder: Path | str, old: str, new: str) -> Concept:
    """Give a concept another name; history, tags and its contrast texts go along.

    Neutral files stay neutral.

    Raises:
        UserError: no such concept, the new name is unsafe or taken, or the system refuses.
    """
    folder = Path(folder)
    with changing(folder):
        path = _require_file(folder, old)
        others = [concept_name(other) for other in concept_files(folder) if other != path]
        cleaned = check_name(new, others, neutral=is_neutral_name(old))
        data = read_bytes(path)
        parse_descriptions(data, shown(path))
        if beside := _contrast_of(folder, path):
            rename_concept(folder, beside, against_name(cleaned))
        target = folder / f"{cleaned}{SUFFIX}"
        keep_bytes(folder, concept_name(path), data)
        if target.name != path.name:
            begin_rename(folder, concept_name(path), cleaned)
            _move(folder, path, target)
            end_rename(folder)
            if not read_tags(folder).problem:
                change_tags(folder, lambda said: said.renamed(concept_name(path), cleaned))
        return read_concept(target)


def delete_concept(folder: Path | str, name: str) -> TrashEntry:
    """Move a concept's file to the trash, from where `restore_trashed` brings it back.

    The texts it is contrasted with go there too, as an entry of their own.

    Raises:
        UserError: no such concept, or the system refuses; nothing is deleted then.
    """
    folder = Path(folder)
    with changing(folder):
        path = _require_file(folder, name)
        if path.is_dir():
            raise UserError("this is a folder", where=shown(path), fix="remove it yourself")
        if path.is_file() and path.stat().st_size <= MAX_KEPT_BYTES:
            keep_version(folder, concept_name(path), path)
        if beside := _contrast_of(folder, path):
            delete_concept(folder, beside)
        return move_to_trash(folder, concept_name(path), path)


def _contrast_of(folder: Path, path: Path) -> str:
    """The name of the texts that the concept of this file is contrasted with; empty without any."""
    name = concept_name(path)
    beside = None if is_neutral_name(name) else find_concept_file(folder, against_name(name))
    return concept_name(beside) if beside else ""


def find_concept_file(folder: Path, name: str) -> Path | None:
    """The concept's file: the exact name, else one equal under case folding and NFC."""
    files = concept_index(folder)
    return files.get(name) or files.get(fold_name(name))


def concept_index(folder: Path) -> dict[str, Path]:
    """The folder's files by concept, both as it is written and folded; empty without a folder."""
    if not folder.exists():
        return {}
    files = {concept_name(path): path for path in concept_files(folder)}
    return {**{fold_name(name): path for name, path in reversed(files.items())}, **files}


def _replace(folder: Path, path: Path, data: bytes, present: bytes | None) -> Concept:
    """Write the file's bytes; those before and those after are both in the history.

    Both are stored before the file is written, so a failed write loses neither.

    Raises:
        FileChanged: another program wrote the file after its bytes `present` were read.
    """
    name = concept_name(path)
    if present is not None:
        keep_bytes(folder, name, present)
    keep_bytes(folder, name, data)

    def check() -> None:
        if (now := bytes_of(path)) != present:
            raise FileChanged(name, _readable(data), now)

    write_file(path, data, check)
    return read_concept(path)


def bytes_of(path: Path | None) -> bytes | None:
    """The file's bytes, read once; None where there is no file."""
    if path is None or not os.path.lexists(path):
        return None
    return read_bytes(path, MAX_KEPT_BYTES)


def mark_of(data: bytes | None) -> str | None:
    """The fingerprint that an editor keeps of what it opened; None where there was no file."""
    return None if data is None else sha256_of(data)


def _require_file(folder: Path, name: str) -> Path:
    path = find_concept_file(folder, name)
    if path is None:
        raise UserError(f"there is no concept '{printable(name)}'", where=str(folder))
    return path


def _move(folder: Path, path: Path, target: Path) -> None:
    fix = "check the folder's permissions; nothing was changed"
    with os_errors("could not be renamed", shown(path), fix):
        if target.exists() and not target.samefile(path):
            raise UserError("a file of that name exists", where=shown(target), fix="choose another")
        os.rename(path, target)
        sync_folder(folder)


def _same_descriptions(present: bytes, mine: tuple[str, ...]) -> bool:
    try:
        return parse_descriptions(present, "") == mine
    except UnreadableFile:
        return False


def _readable(present: bytes | None) -> tuple[str, ...]:
    """What bytes say to a person, whatever they are."""
    return split_text((present or b"").decode("utf-8", "replace").replace("\0", "\ufffd"))


class NameTaken(UserError):
    """A deleted concept's name is in use again; both texts are untouched."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a concept '{printable(name)}' again",
            where="trash",
            fix="restore under another name, or replace the present one, which goes to its history",
        )


def list_versions(folder: Path | str, name: str) -> list[Version]:
    """Earlier versions that differ from the file as it is now, newest first."""
    folder = Path(folder)
    path = find_concept_file(folder, name)
    with suppress(UnreadableFile):
        present = mark_of(bytes_of(path))
        return [v for v in versions_of(folder, name) if v.fingerprint != present]
    return versions_of(folder, name)


def read_version(version: Version) -> tuple[str, ...]:
    """The descriptions of an earlier version.

    Raises:
        UserError: the stored bytes are gone, damaged, or were never readable.
    """
    return parse_descriptions(_stored_bytes(version), shown(version.path))


def restore_version(folder: Path | str, name: str, version: Version) -> Concept:
    """Put an earlier version's exact bytes back; the present version goes to the history.

    Raises:
        UserError: the stored bytes are gone, damaged, or were never readable.
    """
    folder = Path(folder)
    name = check_name(name, neutral=is_neutral_name(name))
    with changing(folder):
        data = _stored_bytes(version)
        parse_descriptions(data, shown(version.path))
        path = find_concept_file(folder, name) or folder / f"{name}{SUFFIX}"
        return _replace(folder, path, data, bytes_of(path))


def record_library(library: Library, known: dict[str, str] | None = None) -> dict[str, str]:
    """Record every concept whose fingerprint is not the one in `known`; call it after a poll.

    So what another editor wrote is in the history before it is replaced. A history that cannot be
    written (a read-only folder) must not keep anyone from reading: what was not recorded is
    missing in the answer and so tried again at the next call.

    Args:
        library: as read just now.
        known: what the last call returned; None records all.

    Returns:
        The fingerprints of what is recorded.
    """
    seen = known or {}
    now = {concept.name: concept.fingerprint for concept in library.files}
    recorded = {name: mark for name, mark in now.items() if seen.get(name) == mark}
    due = [concept for concept in library.files if concept.name not in recorded]
    with suppress(UserError):
        if due:
            with changing(library.folder):
                for concept in due:
                    _record(library.folder, concept)
                    recorded[concept.name] = concept.fingerprint
    return recorded


def _record(folder: Path, concept: Concept) -> None:
    with suppress(UnreadableFile):  # gone since: there is nothing to keep
        data = read_bytes(concept.path, MAX_KEPT_BYTES)
        keep_bytes(folder, concept.name, data, again=False, durable=False)


def restore_trashed(
    folder: Path | str, entry: TrashEntry, new_name: str | None = None, *, replace: bool = False
) -> Concept:
    """Undo a deletion: the file moves back as it was, readable or not.

    The texts that the concept was contrasted with come back with it, where there are none now.

    Args:
        folder: the library's folder.
        entry: from `list_trash` or `delete_concept`.
        new_name: bring it back under this name.
        replace: overwrite a present concept of the name; it goes to the history.

    Raises:
        NameTaken: the name is in use and `replace` is False.
        UnreadableFile: the file is back, but its bytes cannot be used as descriptions.
        UserError: unsafe new name, the entry is gone, or the system refuses.
    """
    folder = Path(folder)
    with changing(folder):
        name = entry.name
        if new_name is not None:
            name = check_name(new_name, neutral=is_neutral_name(name))
        present = find_concept_file(folder, name)
        if present is not None and not replace:
            raise NameTaken(name)
        if present is not None:
            keep_version(folder, concept_name(present), present)
        target = present or folder / f"{name}{SUFFIX}"
        _move_back(entry, target)
        beside = next((e for e in list_trash(folder) if contrasted(e.name) == entry.name), None)
        if beside and not is_neutral_name(name) and not _contrast_of(folder, target):
            _move_back(beside, folder / f"{against_name(concept_name(target))}{SUFFIX}")
        return read_concept(target)


def _move_back(entry: TrashEntry, target: Path) -> None:
    try:
        os.replace(entry.path, target)
        sync_folder(target.parent)
    except FileNotFoundError:
        raise UserError("this is no longer in the trash", where=printable(entry.name)) from None
    except OSError as error:
        raise UserError(
            f"could not be brought back ({error.strerror})",
            where=printable(entry.name),
            fix="check the folder's permissions; it is still in the trash",
        ) from None


def _stored_bytes(version: Version) -> bytes:
    raw = read_bytes(version.path)
    if sha256_of(raw) != version.fingerprint:
        raise UserError("this stored version is damaged", where=shown(version.path))
    return raw
