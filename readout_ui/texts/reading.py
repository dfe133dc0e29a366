"""Files that people bring: UTF-8 text, descriptions, JSON lines and zips, up to fixed bounds.

Descriptions are plain text with blank lines between them.
"""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from unicodedata import category

from readout_ui.errors import UnreadableFile, UserError, printable
from readout_ui.files import MAX_FILE_BYTES, read_bytes, shown, too_large
from readout_ui.texts.names import is_about_folder

MAX_UNPACKED_BYTES = 50_000_000
"""Of all texts in one zip."""
MAX_READ = 500_000
"""Characters of what is given to a model at once: refused before it is cut into tokens."""
_BOM = "\ufeff"
_EXCEL = 'in Excel choose "Save As" and "CSV UTF-8 (Comma delimited)"'
"""Its plain CSV is in the code page of the machine, which a file does not name: an é of Western
Europe, an й and an ι are the same byte, so a guess would change texts without a word."""


def require_readable(text: str, where: str, limit: int = MAX_READ) -> None:
    """Raise a UserError for text that no model can be given: too long, or no text at all.

    Args:
        text: what a person or program sent.
        where: what messages call it.
        limit: most characters.
    """
    if len(text) > limit:
        what = f"the text has {len(text):,} characters, {limit:,} are read"
        raise UserError(what, where=where, fix="send a part of it")
    bad = no_character(text)
    if bad:
        raise UserError(f"the text holds {bad}, which is no character", where=where)


def no_character(text: str) -> str:
    """The first NUL or half of a surrogate pair in a text as U+XXXX, or nothing."""
    found = _NO_CHARACTER.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


_NO_CHARACTER = re.compile(r"[\0\ud800-\udfff]")


def decode_text(raw: bytes, file: str) -> str:
    """The bytes as text, a byte order mark included.

    Raises:
        UnreadableFile: UTF-16, not UTF-8 (byte offset and line), or NUL bytes.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableFile(
            "the file is UTF-16, not UTF-8", where=file, fix="save it as UTF-8 in your editor"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line_at(raw, error.start)
        how = _EXCEL if file.lower().endswith((".csv", ".tsv")) else "save the file as UTF-8"
        raise UnreadableFile(
            f"byte {error.start} (line {line}) is not UTF-8 text",
            where=file,
            fix=f"{how}; its bytes were left as they are",
            line=line,
        ) from None
    if "\0" in text:
        offset = raw.index(0)
        line = _line_at(raw, offset)
        raise UnreadableFile(
            f"byte {offset} (line {line}) is NUL, so this is not a text file",
            where=file,
            fix="save the file as UTF-8 text; its bytes were left as they are",
            line=line,
        )
    return text


def parse_descriptions(raw: bytes, file: str) -> tuple[str, ...]:
    """The descriptions in a file's bytes, in order; an empty file has none.

    Accepts a UTF-8 byte order mark and any line ends. Lines in which nothing can be seen separate.

    Raises:
        UnreadableFile: too large, UTF-16, not UTF-8 (byte offset and line), or NUL bytes.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise too_large(file, len(raw))
    return split_text(decode_text(raw, file))


def is_blank(text: str) -> bool:
    """Whether nothing of it can be seen: white space and invisible characters only."""
    return all(c.isspace() or c in _UNSEEN or (c != "\0" and category(c) in _FORMAT) for c in text)


_FORMAT = frozenset({"Cc", "Cf"})
# Letters, marks and symbols without a shape: fillers, the empty Braille cell, variation selectors.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_UNSEEN |= {chr(c) for c in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10))}


def split_text(text: str) -> tuple[str, ...]:
    """The descriptions in decoded text."""
    paragraphs: list[list[str]] = [[]]
    for line in _lines(text):
        if not is_blank(line):
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    return tuple("\n".join(lines).strip() for lines in paragraphs if lines)


def normalise_description(text: str) -> str:
    """One description as the file format can hold it: no blank lines, no outer whitespace."""
    return "\n".join(line for line in _lines(text) if not is_blank(line)).strip()


def normalise_descriptions(descriptions: Iterable[str]) -> tuple[str, ...]:
    """Every description normalised, empty ones dropped."""
    normal = (normalise_description(text) for text in descriptions)
    return tuple(text for text in normal if text)


def format_descriptions(descriptions: Iterable[str]) -> str:
    """The file's text: `split_text(format_descriptions(x)) == normalise_descriptions(x)`."""
    normal = normalise_descriptions(descriptions)
    return "\n\n".join(normal) + "\n" if normal else ""


def encode_descriptions(descriptions: Iterable[str], file: str) -> bytes:
    """The file's bytes.

    Raises:
        UserError: a character that no UTF-8 text file can hold, or too much text.
    """
    text = format_descriptions(descriptions)
    if bad := no_character(text):
        what = f"a description contains the character {bad}, which a text file cannot hold"
        raise UserError(what, where=file, fix="remove it")
    data = text.encode("utf-8")
    if len(data) > MAX_FILE_BYTES:
        raise too_large(file, len(data))
    return data


def _lines(text: str) -> list[str]:
    # U+FEFF means nothing but a byte order mark, which editors leave at any seam of two files.
    unified = text.replace(_BOM, "").replace("\r\n", "\n").replace("\r", "\n")
    return [line.rstrip() for line in unified.split("\n")]


def read_text(path: Path, limit: int = MAX_FILE_BYTES) -> str:
    """The text of a UTF-8 file without its byte order mark.

    Raises:
        UnreadableFile: more than `limit` bytes, not UTF-8, or the system refuses.
    """
    return decode_text(read_bytes(path, limit), shown(path)).removeprefix("\ufeff")


def parse_json(text: str, where: str, fix: str = "correct it") -> Any:
    """The value in JSON text.

    Args:
        text: the JSON.
        where: what messages call it; the line is added where `where` does not name one.
        fix: what to do where it is no JSON.

    Raises:
        UserError: it is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, json.JSONDecodeError):
            why = f"{error.msg} at column {error.colno}"
            where = where if " line " in where else f"{where} line {error.lineno}"
        raise UserError(f"this is not JSON ({why})", where=where, fix=fix) from None


class JsonLine(NamedTuple):
    """One line of JSON lines."""

    number: int
    """In the file, from 1."""
    where: str
    """File and line, for messages."""
    value: Any


def json_lines(
    lines: Iterable[str], file: str, fix: str = "correct the line"
) -> Iterator[JsonLine]:
    """The value of every line that is not blank.

    Args:
        lines: of the file, with or without their ends.
        file: what messages call it.
        fix: what to do about a line that is no JSON.

    Raises:
        UserError: a line that is no JSON; it is named.
    """
    for number, line in enumerate(lines, start=1):
        if bare := line.strip("\ufeff \t\r\n"):
            where = f"{file} line {number}"
            yield JsonLine(number, where, parse_json(bare, where, fix))


MAX_ZIP_ENTRIES = 10_000
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_ENTRY_MARK = b"PK\x01\x02"
ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OverflowError),
    *(RuntimeError, ValueError),
)
"""What zipfile raises for archives whose parts contradict each other."""


def zip_bytes(files: Mapping[str, bytes], compress: bool = False) -> bytes:
    """A zip without times or owners, so that equal files give equal bytes.

    Args:
        files: bytes by name.
        compress: for texts; vectors hardly become smaller.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.create_system = 3  # Unix everywhere: the default depends on the system
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            archive.writestr(entry, files[name])
    return buffer.getvalue()


@contextmanager
def open_zip(
    source: Path | bytes, where: str, what: str = "this is not a zip file, or it is damaged"
) -> Iterator[zipfile.ZipFile]:
    """A zip to read from; the one place where an archive is opened that may be hostile.

    Args:
        source: the file, or its bytes.
        where: what messages call it.
        what: what a message says of a file that cannot be read.

    Raises:
        UserError: it is no zip, it is damaged, or it has too many entries.
    """
    if isinstance(source, bytes) and source.count(_ENTRY_MARK) > MAX_ZIP_ENTRIES:
        # Before a list of entries is made that fills the memory.
        raise UserError(f"the zip has more than {MAX_ZIP_ENTRIES:,} entries", where=where)
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            yield opened
    except ZIP_DAMAGE:
        raise UserError(what, where=where) from None
    except OSError:
        if isinstance(source, Path):
            raise
        raise UserError(what, where=where) from None


@dataclass(frozen=True)
class ZipEntry:
    """One file in a zip."""

    path: PurePosixPath
    """Its name in the zip, with forward slashes."""
    data: bytes | UserError | None
    """None for a file of another suffix or about the folder; an error for an untrusted one."""


def zip_entries(raw: bytes, where: str, suffix: str) -> Iterator[ZipEntry]:
    """The text files in a zip, read in memory up to fixed bounds; nothing is written.

    Folders, hidden files and those that macOS adds are passed over.

    Args:
        raw: the zip.
        where: what messages call it.
        suffix: of the files that are read, in lower case.

    Raises:
        UserError: no zip, too many entries, or too much text altogether.
    """
    unpacked = 0
    with open_zip(raw, where) as archive:
        for info in archive.infolist():
            path = PurePosixPath(info.filename.replace("\\", "/"))
            hidden = path.name.startswith(".") or "__MACOSX" in path.parts
            if not info.filename or info.is_dir() or hidden:
                continue
            wanted = path.name.lower().endswith(suffix) and not is_about_folder(path.stem)
            data = _entry_text(archive, info, path) if wanted else None
            unpacked += len(data) if isinstance(data, bytes) else 0
            if unpacked > MAX_UNPACKED_BYTES:
                most = MAX_UNPACKED_BYTES / 1e6
                raise UserError(f"the zip unpacks to more than {most:g} MB", where=where)
            yield ZipEntry(path, data)


def _entry_text(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: PurePosixPath
) -> bytes | UserError:
    where = printable(info.filename)
    if fault := _entry_fault(info, path):
        return UserError(fault, where=where)
    if info.file_size > MAX_FILE_BYTES:
        return too_large(where, info.file_size)
    try:
        with archive.open(info) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (*ZIP_DAMAGE, OSError):
        return UserError("the entry is damaged", where=where)
    return data if len(data) <= MAX_FILE_BYTES else too_large(where, len(data))


def _entry_fault(info: zipfile.ZipInfo, path: PurePosixPath) -> str:
    usual = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    rules = (
        (path.is_absolute(), "the entry has an absolute path"),
        (":" in info.filename, "the entry names a drive"),
        (".." in path.parts, "the entry leads out of its folder"),
        (stat.S_ISLNK(info.external_attr >> 16), "the entry is a link, not a file"),
        (info.flag_bits & 1, "the entry is encrypted"),
        (info.compress_type not in usual, "the entry is compressed in an unusual way"),
    )
    return next((message for wrong, message in rules if wrong), "")


def _line_at(raw: bytes, offset: int) -> int:
    before = raw[:offset].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return before.count(b"\n") + 1
