"""What the Generalization tab judges: brought texts, their labels, and the judgements."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from readout_ui.app.evidence import Evidence, Question
from readout_ui.app.session import Studio
from readout_ui.app.widgets import NO_RUN
from readout_ui.errors import UserError
from readout_ui.evaluation.dose import DoseCurves, parse_values
from readout_ui.evaluation.judgements import Generalization, JudgeSettings
from readout_ui.runs.run import Run
from readout_ui.texts.labelled import (
    SHIPPED_SETS,
    LabelledText,
    check_mapping,
    labels_of,
    pick_columns,
    read_files_table,
    read_shipped,
    suggest_mapping,
)
from readout_ui.texts.tables import TextTable, read_pasted

SOURCES = {"The shipped test set": "shipped", "Pasted text": "paste", "Files": "files"}
SHIPPED_CHOICES = {"Situations": "situations", "Dialogue": "dialogue"}
MAPPING_TITLES = ["Label", "Texts", "Concept", "Why"]
MappingRows = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Brought:
    """Texts that were brought, before their columns were settled."""

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


@dataclass(frozen=True)
class Request:
    """The inputs on screen."""

    brought: Brought
    text_column: str | None
    label_columns: Sequence[str]
    mapping: Sequence[Sequence[object]]
    layer: int | None
    recall: float
    threshold: str

    def settings(self) -> JudgeSettings:
        """How to judge.

        Raises:
            UserError: the threshold is no number.
        """
        typed = self.threshold.strip().replace(",", ".")
        try:
            threshold = float(typed) if typed else None
        except ValueError:
            raise UserError(
                f"{typed!r} is no number", where="threshold", fix="leave it empty or type 0.2"
            ) from None
        return JudgeSettings(recall=self.recall, threshold=threshold)


def judge_request(studio: Studio, request: Request) -> Generalization:
    """Judge the run in use on the texts on screen; the same question is answered once."""
    asked = _ask(studio, request)

    def work(evidence: Evidence) -> Generalization:
        from readout_ui.evaluation.generalization import judge_texts

        return judge_texts(
            evidence.readout, asked.texts, asked.mapping, asked.layer, asked.settings
        )

    return studio.judge(Question("Generalization", asked.key, needs_descriptions=False), work)


def judge_words(studio: Studio, request: Request) -> Any:
    """The lexical control of the texts on screen."""
    asked = _ask(studio, request)

    def work(evidence: Evidence) -> Any:
        from readout_ui.evaluation.generalization import control_words

        return control_words(
            evidence.readout, asked.texts, asked.mapping, asked.layer, asked.settings
        )

    question = Question("Generalization: words", asked.key, needs_descriptions=False)
    return studio.judge(question, work)


def judge_dose(studio: Studio, template: str, values: str, layer: int | None) -> DoseCurves:
    """The dose curves of one text."""
    _run_of(studio)
    chosen = _chosen_layer(layer)
    parsed = parse_values(values)

    def work(evidence: Evidence) -> DoseCurves:
        from readout_ui.evaluation.dose import read_dose

        return read_dose(evidence.readout, template, parsed, chosen)

    about = (template, parsed, chosen)
    question = Question("Generalization: dose", about, needs_descriptions=False)
    return studio.judge(question, work)


@dataclass(frozen=True)
class _Asked:
    """One question about the run in use, with a name of its own."""

    texts: tuple[LabelledText, ...]
    mapping: dict[str, str]
    layer: int
    settings: JudgeSettings

    @property
    def key(self) -> str:
        """Digest of everything the answer depends on."""
        asked = [
            [[each.text, *each.labels] for each in self.texts],
            sorted(self.mapping.items()),
            self.layer,
            asdict(self.settings),
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _ask(studio: Studio, request: Request) -> _Asked:
    run = _run_of(studio)
    texts = request.brought.texts(request.text_column, request.label_columns)
    # The shipped labels are concept names, so their mapping follows the run, not the table.
    rows = (
        mapping_rows(texts, run.concepts)
        if request.brought.source == "shipped"
        else request.mapping
    )
    mapping = mapping_from(rows, run.concepts)
    return _Asked(texts, mapping, _chosen_layer(request.layer), request.settings())


def _run_of(studio: Studio) -> Run:
    run = studio.runs.current()
    if run is None:
        raise NO_RUN
    return run


def _chosen_layer(layer: int | None) -> int:
    if layer is None:
        raise UserError("no layer is chosen", fix="choose one")
    return int(layer)
