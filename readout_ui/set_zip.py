"""A zip of description files: written the same every time, read without trusting a byte of it.

Nothing is unpacked to disk: entries are read in memory, up to fixed bounds.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import PurePosixPath

from readout_ui.concept_names import SUFFIX, printable
from readout_ui.description_text import (
    MAX_FILE_BYTES,
    encode_descriptions,
    parse_descriptions,
    too_large,
)
from readout_ui.errors import UserError
from readout_ui.library import Concept
from readout_ui.set_reading import ImportedSet, Refusal, check_set_entry

MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 50_000_000

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_ENTRY_MARK = b"PK\x01\x02"
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What zipfile lets out for archives that lie about themselves."""


def zip_bytes(concepts: Iterable[Concept]) -> bytes:
    """One `<concept>.txt` per concept; equal concepts give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for concept in concepts:
            entry = zipfile.ZipInfo(f"{concept.name}{SUFFIX}", _FIRST_DAY)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            archive.writestr(entry, encode_descriptions(concept.descriptions, entry.filename))
    return buffer.getvalue()


def read_zip(raw: bytes, file: str) -> ImportedSet:
    """The `.txt` entries, in folders or not; an entry that cannot be trusted is refused by name.

    Raises:
        UserError: no zip file, too many entries, or too much text altogether.
    """
    refuse_many_entries(raw, file)
    concepts: dict[str, tuple[str, ...]] = {}
    refused: list[Refusal] = []
    notes: list[str] = []
    unpacked = 0
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for entry in archive.infolist():
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                if (
                    not entry.filename
                    or entry.is_dir()
                    or path.name.startswith(".")
                    or "__MACOSX" in path.parts
                ):
                    continue
                if not path.name.lower().endswith(SUFFIX):
                    notes.append(f"{printable(path.name)} is no .txt file and is ignored.")
                    continue
                try:
                    data = read_entry(archive, entry, path)
                    unpacked += len(data)
                    texts = parse_descriptions(data, printable(path.name))
                    name, texts = check_set_entry(path.name[: -len(SUFFIX)], texts, concepts)
                except UserError as error:
                    refused.append(Refusal(printable(entry.filename), str(error)))
                else:
                    concepts[name] = texts
                if unpacked > MAX_UNPACKED_BYTES:
                    break
    except DAMAGE:
        raise UserError("this is not a zip file, or it is damaged", where=file) from None
    if unpacked > MAX_UNPACKED_BYTES:
        raise UserError(f"the zip unpacks to more than {MAX_UNPACKED_BYTES / 1e6:g} MB", where=file)
    return ImportedSet(concepts, tuple(refused), tuple(notes[:20]))


def refuse_many_entries(raw: bytes, file: str) -> None:
    """Raise a UserError before a list of entries is made that fills the memory."""
    if raw.count(_ENTRY_MARK) > MAX_ENTRIES:
        raise UserError(f"the zip has more than {MAX_ENTRIES:,} entries", where=file)


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: PurePosixPath) -> bytes:
    """The bytes of one entry.

    Raises:
        UserError: it is too large or damaged, or its name or kind cannot be trusted.
    """
    where = printable(entry.filename)
    fault = _fault(entry, path)
    if fault:
        raise UserError(fault, where=where)
    if entry.file_size > MAX_FILE_BYTES:
        raise too_large(where, entry.file_size)
    try:
        with archive.open(entry) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except DAMAGE:
        raise UserError("the entry is damaged", where=where) from None
    if len(data) > MAX_FILE_BYTES:
        raise too_large(where, len(data))
    return data


def _fault(entry: zipfile.ZipInfo, path: PurePosixPath) -> str:
    rules = (
        (path.is_absolute(), "the entry has an absolute path"),
        (":" in entry.filename, "the entry names a drive"),
        (".." in path.parts, "the entry leads out of its folder"),
        (stat.S_ISLNK(entry.external_attr >> 16), "the entry is a link, not a file"),
        (entry.flag_bits & 1, "the entry is encrypted"),
        (
            entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
            "the entry is compressed in an unusual way",
        ),
    )
    return next((message for wrong, message in rules if wrong), "")
