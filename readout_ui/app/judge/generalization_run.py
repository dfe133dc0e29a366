"""What New texts in Judge judges: texts, their labels, and the judgements."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from readout_ui.app.jobs import Question
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.evaluation.dose import DoseCurves, parse_values
from readout_ui.evaluation.judgements import Generalization, JudgeSettings
from readout_ui.texts.labelled import (
    OTHER,
    SHIPPED_SETS,
    LabelledText,
    check_mapping,
    labels_of,
    pick_columns,
    read_files_table,
    read_shipped,
    suggest_mapping,
)
from readout_ui.texts.shipped import LIBRARIES, SHIPPED, library_named
from readout_ui.texts.table_files import read_pasted
from readout_ui.texts.tables import TextTable

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout

SOURCES = {
    **{f"The test set of the {library}": f"{SHIPPED}{library}" for library in LIBRARIES},
    "Pasted text": "paste",
    "Files": "files",
}
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
    library: str = "emotions"
    """Whose shipped set."""
    table: TextTable | None = None
    """What was pasted or uploaded."""
    problem: str = ""
    """Why it cannot be read, as a sentence."""

    def name(self) -> str:
        """What a judgement of these texts is called."""
        if self.table is not None:
            return self.table.file
        return f"test set of the {self.library} ({', '.join(self.parts)})"

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
            return read_shipped(*self.parts, "neutral", library=self.library)
        if self.problem:
            raise UserError(self.problem)
        if self.table is None:
            raise UserError("there are no texts yet", fix="paste some or choose files")
        return pick_columns(self.table, text_column or "", labels)


def bring(source: str, parts: Sequence[str], pasted: str, files: Sequence[str] | None) -> Brought:
    """What the chosen source holds now; nothing where it is still empty."""
    if library := library_named(source):
        return Brought("shipped", tuple(parts), library)
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


@dataclass(frozen=True)
class Asked:
    """Labelled texts, to be judged by the run in use; the same question is answered once."""

    texts: tuple[LabelledText, ...]
    mapping: dict[str, str]
    layer: int
    settings: JudgeSettings = field(default_factory=JudgeSettings)

    def question(self, title: str) -> Question:
        """The question, by a digest of everything its answer depends on."""
        texts = [[each.text, *each.labels] for each in self.texts]
        asked = [texts, sorted(self.mapping.items()), self.layer, asdict(self.settings)]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        return Question(title, key, needs_descriptions=False)

    def judge(self, readout: Readout) -> Generalization:
        """On the device's thread."""
        from readout_ui.evaluation.generalization import judge_texts

        return judge_texts(readout, self.texts, self.mapping, self.layer, self.settings)

    def check_words(self, readout: Readout) -> Any:
        """The lexical control, on the device's thread."""
        from readout_ui.evaluation.lexical import control_words

        return control_words(readout, self.texts, self.mapping, self.layer, self.settings)


def judge_request(studio: Studio, request: Request) -> Generalization:
    """Judge the run in use on the texts on screen."""
    asked = _ask(studio, request)
    return studio.judge(asked.question("New texts"), asked.judge)


def judge_words(studio: Studio, request: Request) -> Any:
    """The lexical control of the texts on screen."""
    asked = _ask(studio, request)
    return studio.judge(asked.question("New texts: words"), asked.check_words)


def judge_dose(studio: Studio, template: str, values: str, layer: int | None) -> DoseCurves:
    """The dose curves of one text."""
    studio.run()
    chosen = _chosen_layer(layer)
    parsed = parse_values(values)

    def work(readout: Readout) -> DoseCurves:
        from readout_ui.evaluation.dose import read_dose

        return read_dose(readout, template, parsed, chosen)

    about = (template, parsed, chosen)
    question = Question("New texts: dose", about, needs_descriptions=False)
    return studio.judge(question, work)


def _ask(studio: Studio, request: Request) -> Asked:
    run = studio.run()
    texts = request.brought.texts(request.text_column, request.label_columns)
    # The shipped labels are concept names, so their mapping follows the run, not the table.
    rows = (
        mapping_rows(texts, run.concepts)
        if request.brought.source == "shipped"
        else request.mapping
    )
    mapping = mapping_from(rows, run.concepts)
    return Asked(texts, mapping, _chosen_layer(request.layer), request.settings())


def _chosen_layer(layer: int | None) -> int:
    if layer is None:
        raise UserError("no layer is chosen", fix="choose one")
    return int(layer)


def draw_brought(brought: Brought) -> str:
    """How many texts were read, or why none; empty while nothing was brought."""
    if brought.problem:
        return f"<p class='warning'>{escape(brought.problem)}</p>"
    if brought.table is None:
        return ""
    n_texts, file = len(brought.table.rows), escape(brought.table.file)
    return f"<p>{n_texts} texts in {file}. Say below what their labels stand for.</p>"


def mapping_help(concepts: Sequence[str]) -> str:
    """What may stand in the mapping's concept column."""
    return f"Type into the Concept column: {', '.join(concepts)}; or (neutral), {OTHER}, (ignore)."
