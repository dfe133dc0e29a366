"""What the Generalization tab judges: brought texts, and what their labels stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from readout_ui.errors import UserError
from readout_ui.label_mapping import check_mapping, suggest_mapping
from readout_ui.labelled_texts import (
    SHIPPED_SETS,
    LabelledText,
    TextTable,
    labels_of,
    pick_columns,
    read_files_table,
    read_pasted,
    read_shipped,
)

SOURCES = {"The shipped test set": "shipped", "Pasted text": "paste", "Files": "files"}
SHIPPED_CHOICES = {"Situations": "situations", "Dialogue": "dialogue"}
MAPPING_TITLES = ["Label", "Texts", "Concept", "Why"]
MappingRows = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Brought:
    """Texts somebody brought, before their columns were settled."""

    source: str
    """"shipped", "paste" or "files"."""
    parts: tuple[str, ...] = SHIPPED_SETS[:2]
    """Of the shipped set."""
    table: TextTable | None = None
    """What was pasted or uploaded."""
    problem: str = ""
    """Why it cannot be read, as a sentence."""

    def columns(self) -> tuple[tuple[str, ...], str | None, tuple[str, ...]]:
        """All columns, and the guesses for text and labels; none for the shipped set."""
        if self.table is None:
            return (), None, ()
        text = self.table.guess_text()
        return self.table.columns, text, self.table.guess_labels(text)

    def texts(self, text_column: str | None, labels: Sequence[str]) -> tuple[LabelledText, ...]:
        """The labelled texts.

        Raises:
            UserError: nothing was brought, or the columns do not fit.
        """
        if self.source == "shipped":
            if not self.parts:
                raise UserError("no part of the shipped set is chosen", fix="tick at least one")
            return read_shipped(*self.parts, "neutral")
        if self.problem:
            raise UserError(self.problem)
        if self.table is None:
            raise UserError("there are no texts yet", fix="paste some or choose files")
        return pick_columns(self.table, text_column or "", labels)


def bring(source: str, parts: Sequence[str], pasted: str, files: Sequence[str] | None) -> Brought:
    """What the chosen source holds now; nothing where it is still empty."""
    if source == "shipped":
        return Brought(source, tuple(parts))
    paths = sorted(map(Path, files or ()), key=lambda path: path.name)
    try:
        if source == "paste":
            return Brought(source, table=read_pasted(pasted) if pasted.strip() else None)
        return Brought(source, table=read_files_table(paths) if paths else None)
    except UserError as error:
        return Brought(source, problem=str(error))


def mapping_rows(texts: Sequence[LabelledText], concepts: Sequence[str]) -> list[list[object]]:
    """Rows of the mapping table: label, how many texts, suggested concept, why."""
    counts = Counter(label for text in texts for label in text.labels)
    suggestions = suggest_mapping(labels_of(texts), concepts)
    return [[each.label, counts[each.label], each.target, each.reason] for each in suggestions]


def mapping_from(rows: MappingRows, concepts: Sequence[str]) -> dict[str, str]:
    """The mapping as it stands in the table.

    Raises:
        UserError: a target that is no concept.
    """
    named = {str(row[0]): str(row[2] if row[2] is not None else "") for row in rows if row}
    return check_mapping({label: target for label, target in named.items() if label}, concepts)
