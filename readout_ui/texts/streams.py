"""A large text or JSON-lines file, read passage by passage in bounded memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from readout_ui.errors import UserError, printable
from readout_ui.files import os_errors
from readout_ui.texts.reading import is_blank
from readout_ui.texts.tables import TEXT_TITLES

MAX_BYTES = 100 * 2**20
"""Largest file that is read."""
MAX_PASSAGE = 4_000
"""Characters of one passage; longer texts are cut at a space into several."""
MAX_JSON_LINE = 4 * 2**20
"""Bytes of one line of JSON; a longer one is left out."""
TEXT_SUFFIXES = (".txt", ".md", ".text")
JSON_SUFFIXES = (".jsonl", ".ndjson")
_PIECE = 1 << 16
_LOOKED_AT = 50
"""Objects whose fields are offered."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Passage:
    """A stretch of the file that goes through the model as one text."""

    text: str
    """At most MAX_PASSAGE characters, not all of them blank."""
    line: int
    """Where it begins, from 1."""
    n_bytes: int
    """How much of the file had been read by then."""


@dataclass(frozen=True)
class BadLine:
    """A line that was left out."""

    line: int
    """From 1."""
    reason: str
    """Why, as the end of a sentence that begins with the line."""


OnBadLine = Callable[[BadLine], None]


@dataclass(frozen=True)
class TextFile:
    """A file that can be read. Made by `open_texts`."""

    path: Path
    name: str
    """What messages call it."""
    n_bytes: int
    field: str
    """Which field of the JSON objects holds the text; empty for plain text."""
    by_line: bool
    """Plain text: whether every line is a text; otherwise blank lines stand between texts."""

    def passages(self, on_bad: OnBadLine) -> Iterator[Passage]:
        """Every passage in order; holds one line of JSON, or one passage of text, at a time."""
        with self.path.open("rb") as file:
            if self.field:
                yield from _json_passages(file, self.field, on_bad)
            else:
                yield from _text_passages(file, self.by_line, on_bad)


def open_texts(path: Path, field: str = "", name: str = "") -> TextFile:
    """Check a file before anything is read.

    Args:
        path: .txt or .jsonl.
        field: of the JSON objects; guessed where empty.
        name: what messages call the file.

    Raises:
        UserError: not such a file, too large, empty, binary or in another encoding; no field that
            holds texts, or no way to tell which one does.
    """
    name = name or printable(path.name)
    suffix = path.suffix.lower()
    if suffix not in TEXT_SUFFIXES + JSON_SUFFIXES:
        raise UserError(
            "this kind of file is not read", where=name, options=TEXT_SUFFIXES + JSON_SUFFIXES
        )
    with os_errors("cannot be read", name):
        n_bytes = os.stat(path).st_size
        with path.open("rb") as file:
            start = file.read(_PIECE)
    _refuse_odd(start, n_bytes, name)
    if suffix in TEXT_SUFFIXES:
        return TextFile(path, name, n_bytes, "", by_line=not _has_blank_line(start))
    fields = text_fields(path)
    return TextFile(path, name, n_bytes, _choose_field(fields, field, name), by_line=False)


def text_fields(path: Path) -> tuple[str, ...]:
    """Fields of the file's first objects that hold a string, in order of occurrence."""
    found: dict[str, None] = {}
    with path.open("rb") as file:
        for seen, (_, _, value) in enumerate(_json_objects(file, lambda _: None)):
            found.update({key: None for key, each in value.items() if isinstance(each, str)})
            if seen + 1 >= _LOOKED_AT:
                break
    return tuple(found)


def guess_field(fields: tuple[str, ...]) -> str:
    """The field that holds the texts by its title, or because it is the only one; else ""."""
    titled = [field for field in fields if field.strip().lower() in TEXT_TITLES]
    if titled:
        return titled[0]
    return fields[0] if len(fields) == 1 else ""


def _choose_field(fields: tuple[str, ...], requested: str, name: str) -> str:
    if not fields:
        raise UserError(
            "no line is a JSON object with a text in it",
            where=name,
            fix='write lines such as {"text": "..."}, or bring the texts as .txt',
        )
    shown = [printable(field) for field in fields[:20]]
    if requested and requested not in fields:
        raise UserError(f"there is no field '{printable(requested)}'", where=name, options=shown)
    chosen = requested or guess_field(fields)
    if not chosen:
        raise UserError(
            "several fields hold text", where=name, fix="choose one of them", options=shown
        )
    return chosen


def _refuse_odd(start: bytes, n_bytes: int, name: str) -> None:
    if n_bytes > MAX_BYTES:
        size = f"{n_bytes / 2**20:.0f} MB"
        raise UserError(f"the file has {size}, {MAX_BYTES // 2**20} MB are read", where=name)
    if not start.strip():
        raise UserError("the file is empty", where=name, fix="bring one with text in it")
    if start.startswith(_UTF16):
        raise UserError("the text is in UTF-16", where=name, fix="save it as UTF-8")
    if b"\0" in start:
        raise UserError("this is no text but a binary file", where=name, fix="bring plain text")


def _has_blank_line(start: bytes) -> bool:
    return any(map(is_blank, start.decode("utf-8", "replace").splitlines()))


def _pieces(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Line number, at most _PIECE bytes of it, and whether the line ends with them."""
    number, first = 1, True
    while piece := file.readline(_PIECE):
        ends = piece.endswith(b"\n")
        yield number, piece.removeprefix(b"\xef\xbb\xbf") if first else piece, ends
        number, first = number + ends, False


def _text_passages(file: BinaryIO, by_line: bool, on_bad: OnBadLine) -> Iterator[Passage]:
    pending, start, rest, bad = "", 1, b"", 0
    for number, raw, ends in _pieces(file):
        whole, rest = (rest + raw, b"") if ends else _cut_character(rest + raw)
        try:
            text = whole.decode()
            reason = "holds a NUL character" if "\0" in text else ""
        except UnicodeDecodeError:
            text, reason = "", "is not UTF-8 text"
        if reason:
            if bad != number:
                on_bad(BadLine(number, reason))
            bad, text = number, ""
        start = start if pending else number
        over = ends and (by_line or is_blank(text))
        pending += text
        while len(pending) > MAX_PASSAGE or (over and pending):
            passage, pending = _cut_passage(pending)
            if passage.strip():
                yield Passage(passage, start, file.tell())
            start = number
    if rest:
        on_bad(BadLine(number, "is not UTF-8 text"))
    if pending.strip():
        yield Passage(pending, start, file.tell())


def _cut_character(raw: bytes) -> tuple[bytes, bytes]:
    """The bytes up to a character that a limit cut in two, and the begun character."""
    for back in range(1, min(4, len(raw)) + 1):
        byte = raw[-back]
        if byte >= 0xC0:  # begins a character of 2 to 4 bytes
            length = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return (raw[:-back], raw[-back:]) if back < length else (raw, b"")
        if byte < 0x80:
            break
    return raw, b""


def _cut_passage(text: str) -> tuple[str, str]:
    """The first passage of a text, up to a space where there is one, and the rest."""
    if len(text) <= MAX_PASSAGE:
        return text, ""
    space = max(text.rfind(" ", MAX_PASSAGE // 2, MAX_PASSAGE), text.rfind("\n", 0, MAX_PASSAGE))
    at = space + 1 if space > 0 else MAX_PASSAGE
    return text[:at], text[at:]


def _json_passages(file: BinaryIO, field: str, on_bad: OnBadLine) -> Iterator[Passage]:
    for number, n_bytes, value in _json_objects(file, on_bad):
        text = value.get(field)
        if not isinstance(text, str):
            what = f"has no field '{printable(field)}'" if text is None else "holds no text there"
            on_bad(BadLine(number, what))
            continue
        if any("\ud800" <= character <= "\udfff" for character in text):
            on_bad(BadLine(number, "holds half a character (a lone surrogate)"))
            continue
        while text:
            passage, text = _cut_passage(text)
            if passage.strip():
                yield Passage(passage, number, n_bytes)


def _json_objects(
    file: BinaryIO, on_bad: OnBadLine
) -> Iterator[tuple[int, int, dict[str, object]]]:
    """Line, bytes read so far and the object, for every line that holds one."""
    line = bytearray()
    for number, raw, ends in _pieces(file):
        if len(line) <= MAX_JSON_LINE:
            line += raw
        if ends:
            yield from _json_object(number, line, file.tell(), on_bad)
            line.clear()
    if line:
        yield from _json_object(number, line, file.tell(), on_bad)


def _json_object(
    number: int, line: bytearray, n_bytes: int, on_bad: OnBadLine
) -> Iterator[tuple[int, int, dict[str, object]]]:
    if len(line) > MAX_JSON_LINE:
        on_bad(BadLine(number, f"is longer than {MAX_JSON_LINE // 2**20} MB"))
        return
    if not line.strip():
        return
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        on_bad(BadLine(number, "is not UTF-8 text"))
    except (ValueError, RecursionError):
        on_bad(BadLine(number, "is not JSON"))
    else:
        if isinstance(value, dict):
            yield number, n_bytes, value
        else:
            on_bad(BadLine(number, "is no JSON object"))
