"""The text of a description file: blank lines between descriptions, UTF-8, bounded in size."""

from collections.abc import Iterable

from readout_ui.errors import UserError
from readout_ui.files import MAX_FILE_BYTES, too_large
from readout_ui.texts.reading import decode_text

_BOM = "\ufeff"


def parse_descriptions(raw: bytes, file: str) -> tuple[str, ...]:
    """The descriptions in a file's bytes, in order; an empty file has none.

    Accepts a UTF-8 byte order mark and any line ends. Lines of only whitespace separate.

    Raises:
        UnreadableFile: too large, UTF-16, not UTF-8 (byte offset and line), or NUL bytes.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise too_large(file, len(raw))
    return split_text(decode_text(raw, file))


def split_text(text: str) -> tuple[str, ...]:
    """The descriptions in decoded text."""
    paragraphs: list[list[str]] = [[]]
    for line in _lines(text):
        if line.strip():
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    return tuple("\n".join(lines).strip() for lines in paragraphs if lines)


def normalise_description(text: str) -> str:
    """One description as the file format can hold it: no blank lines, no outer whitespace."""
    return "\n".join(line for line in _lines(text) if line.strip()).strip()


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
    bad = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
    if bad is not None:
        raise UserError(
            f"a description contains the character U+{ord(bad):04X}, which a text file cannot hold",
            where=file,
            fix="remove it",
        )
    data = text.encode("utf-8")
    if len(data) > MAX_FILE_BYTES:
        raise too_large(file, len(data))
    return data


def _lines(text: str) -> list[str]:
    # U+FEFF means nothing but a byte order mark, which editors leave at any seam of two files.
    unified = text.replace(_BOM, "").replace("\r\n", "\n").replace("\r", "\n")
    return [line.rstrip() for line in unified.split("\n")]
