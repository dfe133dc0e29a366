"""Contrast pairs: two texts that differ in one thing, and a mapping that says which is positive.

Pairs come as JSON, JSON lines, CSV or TSV. Which column is positive is never guessed from what the
texts say: it is stated by the mapping, and `PairColumns.polarity` is shown wherever pairs are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import fmean

from readout_ui.errors import UserError, printable
from readout_ui.files import read_bytes, shown
from readout_ui.texts.names import check_name
from readout_ui.texts.table_files import read_table
from readout_ui.texts.tables import MAX_BYTES, TableRow, TextTable, column_names

MAX_TEXT = 20_000
"""Characters of one side or prompt."""
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
WRITER_TITLES = ("writer", "author")
_EXAMPLE = '{"positive": "...", "negative": "..."}'


@dataclass(frozen=True)
class PairColumns:
    """Which columns hold the two sides, and the prompt where there is one."""

    positive: str
    """The side that the direction points to."""
    negative: str
    """The side that it points away from."""
    prompt: str = ""
    """What the user says before either side; empty: the pairs have no prompt."""

    @property
    def polarity(self) -> str:
        """Which side is positive, in words for the person."""
        prompt = f", prompt = {self.prompt}" if self.prompt else ""
        return f"positive = {self.positive}, negative = {self.negative}{prompt}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is used."""
        return tuple(filter(None, (self.positive, self.negative, self.prompt)))


PRESETS: dict[str, PairColumns] = {
    "tom": PairColumns("high_tom", "low_tom", "scenario"),
    "irony": PairColumns("ironic", "literal"),
    "self_other": PairColumns("self_subject", "other_subject"),
    "harmfulness": PairColumns("harmful", "harmless", "instruction"),
}
"""The contrast types, each pointing to what it is called after."""
GENERAL = PairColumns("positive", "negative", "prompt")
_TITLES = frozenset(name for each in (*PRESETS.values(), GENERAL) for name in each.names)
_OTHER_NAMES = {"tom": ("theory_of_mind",)}


@dataclass(frozen=True)
class ContrastPair:
    """Two texts that differ in one thing."""

    positive: str
    negative: str
    prompt: str = ""
    """What the user said before either; empty: the default frame."""
    writer: str = ""
    """Who wrote it, where the source says so."""

    def __post_init__(self) -> None:
        if not self.positive.strip() or not self.negative.strip():
            raise ValueError("a contrast pair needs two texts")


@dataclass(frozen=True)
class PairSet:
    """The pairs of one contrast."""

    name: str
    """The contrast type: what the direction is called."""
    columns: PairColumns
    """Where the sides come from, so which one is positive."""
    pairs: tuple[ContrastPair, ...]
    source: str
    """File they were read from."""

    def __post_init__(self) -> None:
        if not self.pairs:
            raise UserError("there are no pairs", where=self.source, fix=f"write {_EXAMPLE}")

    def first(self, n_pairs: int | None) -> PairSet:
        """Only the first pairs; None keeps all.

        Raises:
            UserError: fewer than one.
        """
        if n_pairs is not None and n_pairs < 1:
            raise UserError(f"{n_pairs} pairs are too few", where="--num-samples", fix="use 2 up")
        return PairSet(self.name, self.columns, self.pairs[:n_pairs], self.source)


def read_pairs(
    path: Path, columns: PairColumns | None = None, name: str = "", max_pairs: int | None = None
) -> PairSet:
    """The pairs of a file.

    Args:
        path: .json, .jsonl, .csv or .tsv.
        columns: the mapping; None takes the first of the presets whose columns are all there.
        name: what the direction is called; by default the preset, else the file's name.
        max_pairs: read only the first ones.

    Raises:
        UserError: not such a file, no such column, or a row without one of its texts.
    """
    table = read_pair_table(read_bytes(path, MAX_BYTES), shown(path))
    return pairs_of(table, columns, name, path.stem).first(max_pairs)


def pairs_of(table: TextTable, columns: PairColumns | None, name: str, other: str) -> PairSet:
    """The pairs of a table.

    Args:
        table: one row a pair.
        columns: the mapping; None takes the first of the presets whose columns are all there.
        name: what the direction is called.
        other: what it is called without a name, where no preset has these columns.

    Raises:
        UserError: as `read_pairs`, or the name is no safe file name.
    """
    mapping = columns or require_columns(table)
    found = check_name(name or contrast_named(mapping) or other)
    return PairSet(found, mapping, pick_pairs(table, mapping), table.file)


def shipped_pairs(name: str) -> PairSet:
    """The 40 pairs of a contrast type that ship with the project.

    Raises:
        UserError: there is no such contrast type.
    """
    table = shipped_table(name)
    return PairSet(name, PRESETS[name], pick_pairs(table, PRESETS[name]), table.file)


def shipped_table(name: str) -> TextTable:
    """The rows of a contrast type that ships with the project.

    Raises:
        UserError: there is no such contrast type.
    """
    require_contrast(name)
    file = resources.files("readout_ui.texts") / "data" / "contrast_pairs" / f"{name}.jsonl"
    return read_pair_table(file.read_bytes(), f"{name}.jsonl")


def find_pairs(folder: Path, name: str) -> Path:
    """The file of a contrast type in a folder of pairs: `irony.jsonl`, `irony_pairs.json`, ...

    Raises:
        UserError: there is none; the files that are there are listed.
    """
    require_contrast(name)
    if not folder.is_dir():
        raise UserError("there is no such folder", where=str(folder), fix="name one of pair files")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    stems = (name, *_OTHER_NAMES.get(name, ()))
    exact = [path for path in files if path.stem.casefold() in stems]
    close = [path for path in files if path.stem.casefold().startswith(stems)]
    if not (exact or close):
        raise UserError(
            f"there is no file of {name} pairs",
            where=str(folder),
            fix=f"name it {name}.jsonl",
            options=[shown(path) for path in files[:20]],
        )
    return (exact or close)[0]


def require_contrast(name: str) -> None:
    """UserError with all names unless it is one of the contrast types."""
    if name not in PRESETS:
        raise UserError(f"unknown contrast type {printable(name)!r}", options=PRESETS)


def contrast_named(columns: PairColumns) -> str:
    """The preset that has these columns, with either polarity; empty if there is none."""
    sides = {columns.positive, columns.negative}
    known = (n for n, preset in PRESETS.items() if {preset.positive, preset.negative} == sides)
    return next(known, "")


def read_pair_table(raw: bytes, file: str) -> TextTable:
    """The table in a file's bytes, by the suffix of its name, before a column is chosen.

    A JSON object with one list of objects in it counts as that list.

    Raises:
        UserError: not JSON, JSON lines, CSV or TSV; it names file and line.
    """
    if not file.lower().endswith(SUFFIXES):
        raise UserError(
            "the file has no suffix that says how to read it",
            where=printable(file),
            fix="rename it",
            options=SUFFIXES,
        )
    try:
        return _titled(read_table(raw, file, _TITLES))
    except UserError as error:
        what = error.what.replace("labelled texts", "contrast pairs").replace("texts", "pairs")
        fix = f"write {_EXAMPLE}" if "label" in error.fix or "calm" in error.fix else error.fix
        raise UserError(what, where=error.where, fix=fix, options=error.options) from None


def guess_columns(columns: Sequence[str]) -> PairColumns | None:
    """The first preset whose columns are all there, then `positive`, `negative` and `prompt`."""
    for preset in (*PRESETS.values(), GENERAL):
        if {preset.positive, preset.negative} <= set(columns):
            prompt = preset.prompt if preset.prompt in columns else ""
            return PairColumns(preset.positive, preset.negative, prompt)
    return None


def require_columns(table: TextTable) -> PairColumns:
    """The columns as guessed.

    Raises:
        UserError: none of the presets fits; the columns that are there are listed.
    """
    guessed = guess_columns(table.columns)
    if guessed is None:
        raise UserError(
            "nothing says which column is positive",
            where=table.file,
            fix="name the columns of both sides",
            options=table.columns,
        )
    return guessed


def pick_pairs(table: TextTable, columns: PairColumns) -> tuple[ContrastPair, ...]:
    """The pairs of a table.

    Raises:
        UserError: no such column, one column used twice, or a row without one of its texts.
    """
    table.require(columns.names)
    if len(set(columns.names)) < len(columns.names) or not (columns.positive and columns.negative):
        raise UserError(
            "positive, negative and prompt have to be different columns",
            where=table.file,
            fix="name one column for each",
            options=table.columns,
        )
    writer = next((name for name in table.columns if name.casefold() in WRITER_TITLES), "")
    return tuple(_pair(row, table, columns, writer) for row in table.rows)


def _pair(row: TableRow, table: TextTable, columns: PairColumns, writer: str) -> ContrastPair:
    def text(column: str, required: bool = True) -> str:
        return _text(row, table, column, required) if column else ""

    return ContrastPair(
        positive=text(columns.positive),
        negative=text(columns.negative),
        prompt=text(columns.prompt),
        writer="" if writer in columns.names else text(writer, required=False),
    )


def _text(row: TableRow, table: TextTable, column: str, required: bool) -> str:
    where = f"{table.file} line {row.line}"
    cell = row.cells[table.columns.index(column)]
    text = " ".join(cell).strip()
    if required and not text:
        raise UserError(
            f"there is no text in the column '{printable(column)}'",
            where=where,
            fix="write it or remove the line",
            options=table.columns,
        )
    if required and len(cell) > 1:
        raise UserError(f"the column '{printable(column)}' holds several texts", where=where)
    if len(text) > MAX_TEXT:
        raise UserError(f"the text has more than {MAX_TEXT:,} characters", where=where)
    return text


def _titled(table: TextTable) -> TextTable:
    """A CSV table whose first row was taken for texts, though it reads like titles."""
    if table.columns != column_names([""] * len(table.columns)) or len(table.rows) < 2:
        return table
    titles = [" ".join(cell).strip() for cell in table.rows[0].cells]
    if not all(title and len(title.split()) <= 4 and title[-1] not in ".!?…" for title in titles):
        return table
    lengths = [len(" ".join(cell)) for row in table.rows[1:] for cell in row.cells]
    longer = sum(map(len, titles)) / len(titles) < fmean(lengths) / 2
    if not longer or len({title.casefold() for title in titles}) < len(titles):
        return table
    return TextTable(table.file, column_names(titles), table.rows[1:])
