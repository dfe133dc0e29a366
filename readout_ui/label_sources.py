"""Where tables of texts come from: a file, told by its suffix, or pasted text, told by its look."""

from __future__ import annotations

from collections.abc import Iterator

from readout_ui.concept_names import printable
from readout_ui.description_text import decode_text, split_text, too_large
from readout_ui.errors import UserError
from readout_ui.label_csv import read_delimited
from readout_ui.label_json import holds_lists, read_json, read_json_lines
from readout_ui.label_tables import MAX_BYTES, Cell, TextTable, from_pairs


def read_table(raw: bytes, file: str) -> TextTable:
    """The table in a file's bytes, by the suffix of its name.

    Args:
        raw: the whole file.
        file: its name: .csv, .tsv, .jsonl, .json or .txt. A .json list of plain texts and a .txt
            file are labelled with the file's name.

    Raises:
        UserError: too large, not UTF-8, or not what the suffix says; it names file and line.
    """
    if len(raw) > MAX_BYTES:
        raise too_large(file, len(raw), MAX_BYTES)
    stem, _, suffix = file.rpartition(".")
    text = decode_text(raw, file).removeprefix("\ufeff")
    match suffix.lower():
        case "csv" | "tsv":
            return read_delimited(text, file)
        case "jsonl" | "ndjson":
            return read_json_lines(text, file)
        case "json":
            return read_json(text, file, stem)
        case "txt" if stem:
            return from_pairs(((text, (stem,)) for text in split_texts(text)), file)
    raise UserError(
        "the file has no suffix that says how to read it",
        where=printable(file),
        fix="rename it",
        options=(".csv", ".tsv", ".jsonl", ".json", ".txt"),
    )


def read_pasted(text: str) -> TextTable:
    """The table in pasted text: JSON, JSON lines, CSV or TSV, or lines `label: text`.

    Raises:
        UserError: it is none of these; it names the line.
    """
    file, start = "pasted text", text.lstrip()
    if len(text) > MAX_BYTES:
        raise too_large(file, len(text), MAX_BYTES)
    if not start:
        raise UserError("there is nothing pasted", fix="paste texts with labels")
    if start[0] == "[" or (start[0] == "{" and holds_lists(text)):
        return read_json(text, file, "")
    if start[0] == "{":
        return read_json_lines(text, file)
    if _is_labelled_lines(text):
        return from_pairs(_labelled_lines(text), file)
    return read_delimited(text, file)


def split_texts(text: str) -> tuple[str, ...]:
    """The texts of a plain file: separated by blank lines, or one per line where there are none."""
    paragraphs = split_text(text)
    return tuple(paragraphs[0].split("\n")) if len(paragraphs) == 1 else paragraphs


def _is_labelled_lines(text: str) -> bool:
    """Whether every line is `label: text` with a short label before the first colon."""
    lines = [line for line in text.splitlines() if line.strip()]
    heads = [line.partition(":")[0] for line in lines if ":" in line]
    short = all(len(head) <= 40 and not set(head) & set(',;\t"') for head in heads)
    return len(heads) == len(lines) and short


def _labelled_lines(text: str) -> Iterator[tuple[str, Cell]]:
    for line in filter(str.strip, text.splitlines()):
        label, _, rest = line.partition(":")
        yield rest.strip(), (label.strip(),)
