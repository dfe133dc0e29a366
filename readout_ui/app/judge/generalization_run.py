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
from urllib.parse import quote

from readout_ui.app.jobs import Question
from readout_ui.app.session import Studio
from readout_ui.app.widgets import bullets, table
from readout_ui.errors import UserError
from readout_ui.evaluation.dose import DoseCurves, parse_values
from readout_ui.evaluation.judgements import ConceptJudgement, Generalization, JudgeSettings, Miss
from readout_ui.evaluation.resampling import Estimate
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
    from readout_ui.evaluation.lexical import LexicalControl
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
    return studio.judge(asked.question("Generalization"), asked.judge)


def judge_words(studio: Studio, request: Request) -> Any:
    """The lexical control of the texts on screen."""
    asked = _ask(studio, request)
    return studio.judge(asked.question("Generalization: words"), asked.check_words)


def judge_dose(studio: Studio, template: str, values: str, layer: int | None) -> DoseCurves:
    """The dose curves of one text."""
    studio.run()
    chosen = _chosen_layer(layer)
    parsed = parse_values(values)

    def work(readout: Readout) -> DoseCurves:
        from readout_ui.evaluation.dose import read_dose

        return read_dose(readout, template, parsed, chosen)

    about = (template, parsed, chosen)
    question = Question("Generalization: dose", about, needs_descriptions=False)
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


CHANCE_EXPLAINS = 0.05
"""Corrected p from which a number is marked as not different from chance."""


def draw_brought(brought: Brought) -> str:
    """How many texts were read, or why none; empty while nothing was brought."""
    if brought.problem:
        return f"<p class='warning'>{escape(brought.problem)}</p>"
    if brought.table is None:
        return ""
    n_texts, file = len(brought.table.rows), escape(brought.table.file)
    return f"<p>{n_texts} texts in {file}. Say below what their labels stand for.</p>"


def draw_summary(found: Generalization) -> str:
    """The means over all concepts with their baselines, and what to know about the texts."""
    macro = found.macro
    beside = [("Random directions", _interval(macro.random), "middle 95 % of them")]
    beside.append(("Permuted labels", _interval(macro.permuted), f"p {_p(macro.p)}"))
    if macro.words is not None and macro.gain is not None:
        gain = f"vectors minus words {_interval(macro.gain, signed=True)}"
        beside.insert(0, ("Bag of words, same descriptions", _interval(macro.words), gain))
    if macro.embedding is not None and macro.embedding_gain is not None:
        gain = f"vectors minus embedding {_interval(macro.embedding_gain, signed=True)}"
        beside.insert(0, ("Sentence embedding, same", _interval(macro.embedding), gain))
    rows = [
        ("<b>Vectors</b>", f"<b>{_interval(macro.auroc)}</b>", "macro AUROC; 0.5 is chance"),
        *beside,
        ("Average precision", f"{macro.average_precision:.3f}", f"chance {_base(found):.3f}"),
        *((f"Top-{top.k}", _interval(top.hits), f"chance {top.chance:.3f}") for top in found.top),
    ]
    about = (
        f"<p class='about'>{len(found.texts)} texts, {len(found.concepts)} concepts, "
        f"{len(found.neutral_scores)} neutral texts, layer {found.layer}. "
        "Brackets: 95 %.</p>"
    )
    values = table(("", "Value", " "), rows, kind="judged")
    return f"{about}{values}{bullets(map(escape, (*found.sentences(), *found.notes)))}"


def draw_concepts(found: Generalization) -> str:
    """One row per concept, lowest AUROC first."""
    ordered = sorted(found.per_concept, key=lambda each: each.auroc.value)
    titles = (
        "Concept",
        "Texts",
        "AUROC",
        "Bag of words",
        "Embedding",
        "p, corrected",
        "Av. precision",
        "Top-1",
        "Threshold",
        "Found",
        "False positives on neutral",
    )
    return f"<div class='wide'>{table(titles, map(_concept_row, ordered), kind='judged')}</div>"


def _concept_row(each: ConceptJudgement) -> tuple[str, ...]:
    wrong = each.false_positives
    return (
        escape(each.concept),
        str(each.n_texts),
        _interval(each.auroc),
        _interval(each.words) if each.words else "–",
        _interval(each.embedding) if each.embedding else "–",
        _p(each.p),
        f"{each.average_precision:.2f} <i>chance {each.base_rate:.2f}</i>",
        f"{each.top1:.0%}",
        f"{each.threshold:+.3f}",
        f"{each.recall:.0%}",
        f"{wrong.value:.0%} <i>{wrong.low:.0%}–{wrong.high:.0%}</i>" if wrong else "–",
    )


def draw_misses(misses: Sequence[Miss]) -> str:
    """The worst misses as texts."""
    if not misses:
        return "<p class='about'>No text scored higher on another concept than on its own.</p>"
    rows = [
        (
            f"{escape(miss.text)} {_ways_on(miss)}",
            f"{escape(', '.join(miss.concepts))} <i>{miss.score:+.3f}</i>",
            f"{escape(miss.rival)} <i>{miss.rival_score:+.3f}</i>",
        )
        for miss in misses
    ]
    return table(("Text", "Labelled", "Scored highest"), rows)


def _ways_on(miss: Miss) -> str:
    """Read the text, or make it a description of what it is labelled with."""
    text = quote(miss.text)
    ways = {f"read?text={text}": "Read it"}
    if miss.concepts:
        name = quote(miss.concepts[0])
        ways[f"write/{name}?draft={text}"] = f"Add to {miss.concepts[0]}"
    return " ".join(
        f"<a class='btn quiet' href='#/{address}'>{escape(words)}</a>"
        for address, words in ways.items()
    )


def draw_words(found: LexicalControl) -> str:
    """What masking the own word does, and what the word does in another sense."""
    before, after = found.macro
    if found.n_named:
        text = (
            f"<p class='about'>{found.n_named} texts hold their concept's own word. With it masked "
            f"by an ellipsis, macro AUROC goes from {before:.3f} to <b>{after:.3f}</b>.</p>"
        )
        titles = ("Concept", "Texts", "AUROC", "Masked", "Cosine moved")
        named = sorted((m for m in found.masked if m.n_named), key=lambda m: m.after - m.before)
        rows = [
            (
                escape(m.concept),
                str(m.n_named),
                f"{m.before:.3f}",
                f"{m.after:.3f}",
                f"{m.moved:+.3f}",
            )
            for m in named
        ]
        text += table(titles, rows, kind="judged")
    else:
        text = (
            "<p class='about'>No text holds its concept's own word, so there is nothing to mask: "
            "the scores above owe nothing to it.</p>"
        )
    return text + _other_sense(found.other_sense)


def _other_sense(found: Generalization | None) -> str:
    if found is None:
        return "<p class='about'>There are no other-sense sentences for these concepts.</p>"
    macro = found.macro
    words = f" The bag of words: {_interval(macro.words)}." if macro.words else ""
    pulled = [
        f"{escape(each.concept)} {each.auroc.value:.2f}"
        for each in found.per_concept
        if each.p < CHANCE_EXPLAINS
    ]
    named = f" Pulled by the word alone: {', '.join(pulled)}." if pulled else ""
    return (
        f"<p class='about'>{len(found.texts)} sentences use the word in another sense. Scored as "
        f"if they meant it, macro AUROC is <b>{_interval(macro.auroc)}</b>, p {_p(macro.p)}; 0.5 "
        f"would say that the word alone moves nothing.{words}{named}</p>"
    )


def draw_dose_table(curves: DoseCurves) -> str:
    """Every concept's rank correlation with the value, strongest first."""
    order = sorted(range(len(curves.concepts)), key=lambda c: -abs(curves.rho[c]))
    rows = [
        (
            escape(curves.concepts[c]),
            f"{curves.rho[c]:+.2f}",
            _p(float(curves.p[c])),
            f"{curves.scores[0, c]:+.3f} → {curves.scores[-1, c]:+.3f}",
        )
        for c in order
    ]
    first, last = curves.values[0], curves.values[-1]
    titles = ("Concept", "Spearman ρ", "p, corrected", f"Cosine, {first} → {last}")
    return table(titles, rows, kind="judged")


def mapping_help(concepts: Sequence[str]) -> str:
    """What may stand in the mapping's concept column."""
    return f"Type into the Concept column: {', '.join(concepts)}; or (neutral), {OTHER}, (ignore)."


def _base(found: Generalization) -> float:
    return sum(each.base_rate for each in found.per_concept) / len(found.per_concept)


def _interval(each: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    low, high = format(each.low, f"{sign}.3f"), format(each.high, f"{sign}.3f")
    return f"{format(each.value, f'{sign}.3f')} <i>{low} to {high}</i>"


def _p(p: float) -> str:
    shown = f"{p:.3f}"
    return shown if p < CHANCE_EXPLAINS else f"{shown} <i>as by chance</i>"
