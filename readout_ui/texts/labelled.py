"""Texts with labels, the evidence that vectors mean what they are called, and which concept each
label stands for: suggested first, then settled by a person."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rapidfuzz import fuzz, process

from readout_ui.errors import UserError, printable
from readout_ui.files import read_bytes, shown
from readout_ui.texts.names import is_about_folder
from readout_ui.texts.pairs import WRITER_TITLES
from readout_ui.texts.reading import is_blank, require_readable
from readout_ui.texts.shipped import library_named, shipped_held_out
from readout_ui.texts.table_files import one_label, read_table
from readout_ui.texts.tables import MAX_BYTES, MAX_ROWS, TableRow, TextTable
from readout_ui.texts.words import phrase_forms, words_of

MAX_TEXT = 20_000
"""Characters of one text."""
MAX_ALL_TEXT = 5_000_000
"""Characters of all texts of a collection, each of which the model reads."""
MAX_LABELS = 500
"""Different labels of a collection."""
GROUP_COLUMNS = frozenset({"author", "group", "participant", "prompt", "speaker", "writer"})
"""Titles of columns that say whose a text is: texts of one group are no independent evidence."""
SHIPPED_SETS = ("situations", "dialogue", "neutral")
"""The shipped test set: what the concepts are judged on, and texts without any of them."""


@dataclass(frozen=True)
class LabelledText:
    """A text and what its source says it is about."""

    text: str
    labels: tuple[str, ...]
    """As they stand in the source, one or several, each once."""
    writer: str = ""
    """The person or model who wrote it, where the source has a column for that."""
    group: str = ""
    """Whose text it is, its prompt or author; empty where the source does not say."""

    def __post_init__(self) -> None:
        if not self.text.strip() or not self.labels:
            raise ValueError("a labelled text needs a text and a label")


def read_shipped(*names: str, library: str = "emotions") -> tuple[LabelledText, ...]:
    """Texts that ship with the project and were never trained on; see held_out/README.md.

    Args:
        names: "situations", "dialogue", "neutral" or, for emotions, "other_sense"; by default the
            first three.
        library: for whose concepts, one of `shipped.LIBRARIES`.
    """
    folder = shipped_held_out(library)
    files = [folder / f"{name}.jsonl" for name in names or SHIPPED_SETS]
    lines = (line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    rows = map(json.loads, lines)
    return tuple(LabelledText(row["text"], (row["label"],)) for row in rows)


def read_labelled(
    path: Path,
    text_column: str | None = None,
    label_columns: Sequence[str] = (),
    group_column: str = "",
) -> tuple[LabelledText, ...]:
    """The labelled texts of a file or a folder; columns that are not named are guessed.

    Args:
        path: .csv, .tsv, .jsonl, .json, or a folder of `{concept}.txt` or `{concept}.json`; or
            `shipped:emotions`, `shipped:stances`.
        text_column: title of the column with the texts.
        label_columns: titles of the columns with labels; their labels are joined.
        group_column: title of the column that says whose a text is, its prompt or author; by
            default one of `GROUP_COLUMNS`, where there is one.

    Raises:
        UserError: not such a file, no such column, or a row without text or label.
    """
    if library := library_named(path):
        return read_shipped(library=library)
    paths = sorted(path.glob("*")) if path.is_dir() else [path]
    if path.is_dir():
        hidden = [each for each in paths if each.name[0] == "." or is_about_folder(each.stem)]
        paths = [each for each in paths if each not in hidden]
    table = read_files_table(paths, str(path))
    text = text_column or table.guess_text()
    return pick_columns(table, text, label_columns or table.guess_labels(text), group_column)


def read_files_table(paths: Sequence[Path], name: str = "these files") -> TextTable:
    """One file's table, or those of several files with the same columns put together.

    Raises:
        UserError: no file, one that cannot be read, or files whose columns differ.
    """
    tables = [read_table(read_bytes(path, MAX_BYTES), shown(path)) for path in paths]
    if not tables:
        raise UserError("there is no file in it", where=name, fix="bring .csv, .jsonl or .txt")
    odd = next((table for table in tables if table.columns != tables[0].columns), None)
    if odd is not None:
        raise UserError(
            f"its columns are not those of {tables[0].file}",
            where=odd.file,
            fix="bring files with the same columns, or one at a time",
            options=tables[0].columns,
        )
    rows = tuple(row for table in tables for row in table.rows)
    if len(rows) > MAX_ROWS:
        raise UserError(f"there are more than {MAX_ROWS:,} texts", where=name, fix="bring fewer")
    file = tables[0].file if len(tables) == 1 else name
    return one_label(TextTable(file, tables[0].columns, rows))


def pick_columns(
    table: TextTable, text_column: str, label_columns: Sequence[str], group_column: str = ""
) -> tuple[LabelledText, ...]:
    """The labelled texts of a table; `a|b` and `a; b` in a cell are two labels.

    Raises:
        UserError: no such column, none for labels, a row without text or label, or too many
            different labels.
    """
    table.require((text_column, *label_columns, *filter(None, [group_column])))
    if not label_columns or text_column in label_columns:
        raise UserError(
            "one column has to hold the texts and another the labels",
            where=table.file,
            options=table.columns,
        )
    text_at = table.columns.index(text_column)
    labels_at = [table.columns.index(name) for name in label_columns]
    writer_at = next((i for i, c in enumerate(table.columns) if c.casefold() in WRITER_TITLES), -1)
    if writer_at in (text_at, *labels_at):
        writer_at = -1
    taken = {text_column, *label_columns}
    named = [each for each in table.columns if each.casefold() in GROUP_COLUMNS - taken]
    group_at = next(iter(map(table.columns.index, filter(None, [group_column, *named]))), -1)
    texts = tuple(
        _labelled(row, text_at, labels_at, (writer_at, group_at), table.file) for row in table.rows
    )
    require_readable("".join(each.text for each in texts), table.file, MAX_ALL_TEXT)
    if len(labels_of(texts)) > MAX_LABELS:
        raise UserError(
            f"there are more than {MAX_LABELS} different labels",
            where=table.file,
            fix=f"choose another label column than {', '.join(map(printable, label_columns))}",
            options=table.columns,
        )
    return texts


def labels_of(texts: Iterable[LabelledText]) -> tuple[str, ...]:
    """Every label once, in the order of first occurrence."""
    return tuple(dict.fromkeys(label for text in texts for label in text.labels))


def _labelled(
    row: TableRow, text_at: int, labels_at: Sequence[int], about_at: tuple[int, int], file: str
) -> LabelledText:
    where = f"{file} line {row.line}"
    text = " ".join(row.cells[text_at]).strip()
    if is_blank(text):
        raise UserError("there is no text", where=where, fix="write one or remove the line")
    require_readable(text, where, MAX_TEXT)
    parts = (part for at in labels_at for cell in row.cells[at] for part in _SEPARATOR.split(cell))
    labels = tuple(dict.fromkeys(filter(None, (part.strip() for part in parts))))
    if not labels:
        raise UserError("the text has no label", where=where, fix="write one or remove the line")
    writer, group = ("" if at < 0 else " ".join(row.cells[at]).strip() for at in about_at)
    return LabelledText(text, labels, writer, group)


_SEPARATOR = re.compile(r"[|;]")


NEUTRAL = "(neutral)"
"""Texts without any concept: false positives are counted on them."""
OTHER = "(something else)"
"""Texts of no trained concept, negatives of all of them."""
IGNORE = "(ignore)"
"""Texts that are left out, unless another of their labels counts."""
SPECIAL = (NEUTRAL, OTHER, IGNORE)
"""Targets that are no concepts."""
LIKENESS = 80
"""rapidfuzz ratio (0..100) from which two spellings are named as alike."""
_NEUTRAL_WORDS = frozenset({"neutral", "none", "baseline", "no_emotion", "no emotion"})


@dataclass(frozen=True)
class Suggestion:
    """A concept that a label may stand for."""

    label: str
    target: str
    """A concept, or one of `SPECIAL`."""
    reason: str
    """Why, in a few words, for the person who decides."""


def suggest_mapping(labels: Iterable[str], concepts: Sequence[str]) -> tuple[Suggestion, ...]:
    """One suggestion per label: the same name, a form of the same word, or none.

    Nothing is guessed from meaning, "joy" for "happy", nor from spelling, "furious" for "curious":
    that is for a person to say. A like spelling is named among the reasons.
    """
    named, forms = defaultdict(list), defaultdict(list)
    for place, concept in enumerate(concepts):
        named[words_of(concept.replace("_", " "))].append(place)
        for form in phrase_forms(concept):
            forms[form].append(place)
    bare = {words_of(concept): place for place, concept in reversed([*enumerate(concepts)])}

    def suggest(label: str) -> Suggestion:
        words = words_of(label.replace("_", " "))
        if words in named:
            return Suggestion(label, concepts[named[words][0]], "same name")
        if not words:
            return Suggestion(label, IGNORE, "no word")
        if " ".join(words) in _NEUTRAL_WORDS or label.startswith("_"):
            return Suggestion(label, NEUTRAL, "neutral")
        inflected = [bare[form] for form in phrase_forms(label) if form in bare]
        if places := [*forms.get(words, ()), *inflected]:
            return Suggestion(label, concepts[min(places)], "same word")
        return _spelled_alike(label, words, concepts)

    return tuple(map(suggest, dict.fromkeys(labels)))


def _spelled_alike(label: str, words: tuple[str, ...], concepts: Sequence[str]) -> Suggestion:
    found = process.extractOne(" ".join(words), concepts, scorer=fuzz.ratio, score_cutoff=LIKENESS)
    if found is not None:
        return Suggestion(label, IGNORE, f"spelled like {found[0]}: choose it if it is meant")
    return Suggestion(label, IGNORE, "no concept of that name")


def mapping_of(suggestions: Iterable[Suggestion]) -> dict[str, str]:
    """Label -> target, as suggested."""
    return {each.label: each.target for each in suggestions}


def parse_mapping(written: str, labels: Iterable[str], concepts: Sequence[str]) -> dict[str, str]:
    """A mapping as typed on the command line, over the suggestions for all other labels.

    Args:
        written: `label=concept,label=concept`; `label=` leaves the label out.
        labels: every label that occurs.
        concepts: what a label may stand for.

    Raises:
        UserError: a part without `=`, a label that does not occur, or an unknown concept.
    """
    labels = tuple(labels)
    mapping = mapping_of(suggest_mapping(labels, concepts))
    for part in filter(str.strip, written.split(",")):
        label, separator, target = (piece.strip() for piece in part.partition("="))
        if not separator:
            raise UserError(
                f"'{printable(part.strip())}' maps nothing",
                where="--map",
                fix="write label=concept",
            )
        if label not in labels:
            raise UserError(
                f"no text is labelled '{printable(label)}'", where="--map", options=labels[:50]
            )
        mapping[label] = target or IGNORE
    return check_mapping(mapping, concepts)


def check_mapping(mapping: Mapping[str, str], concepts: Sequence[str]) -> dict[str, str]:
    """The mapping, with `neutral`, `other` and `ignore` also accepted without brackets.

    Raises:
        UserError: a target that is neither a concept nor special, or no concept at all.
    """
    bare = {"neutral": NEUTRAL, "other": OTHER, "something else": OTHER, "ignore": IGNORE}
    checked = {}
    for label, typed in mapping.items():
        target = typed.strip()
        if target not in concepts and target not in SPECIAL:
            target = bare.get(target.casefold(), target or IGNORE)
        if target not in concepts and target not in SPECIAL:
            near = [name for name, *_ in process.extract(target, concepts, limit=5)]
            raise UserError(
                f"there is no concept '{printable(target)}'",
                where=f"label '{printable(label)}'",
                fix="choose a trained concept or leave it out",
                options=[*near, *SPECIAL],
            )
        checked[label] = target
    if not set(checked.values()) & set(concepts):
        raise UserError(
            "no label stands for a trained concept",
            fix="map at least one label to a concept",
            options=tuple(concepts[:20]),
        )
    return checked
