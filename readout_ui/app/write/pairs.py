"""Contrast pairs from elsewhere: a file or a shipped set, which side is positive, findings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.assets import calling
from readout_ui.app.events import (
    AWAY,
    LATEST,
    QUIET,
    Changes,
    Part,
    Values,
    bound,
    components,
    seen_if,
)
from readout_ui.app.session import Studio
from readout_ui.app.widgets import MOST_SHOWN, count, sentence, table
from readout_ui.errors import UserError
from readout_ui.files import read_bytes, shown
from readout_ui.texts.lint import Finding
from readout_ui.texts.lint_sources import check_pairs, refuse_errors, without_errors
from readout_ui.texts.names import check_name
from readout_ui.texts.pairs import (
    PRESETS,
    SUFFIXES,
    PairColumns,
    PairSet,
    contrast_named,
    guess_columns,
    pick_pairs,
    read_pair_table,
    shipped_table,
)
from readout_ui.texts.tables import MAX_BYTES, TextTable
from readout_ui.texts.words import cut

if TYPE_CHECKING:
    from readout_ui.vectors.sources import TextSource

FILE = "file"
SETS = {
    "A file": FILE,
    "Theory of mind": "tom",
    "Irony": "irony",
    "Self or other": "self_other",
    "Harmfulness": "harmfulness",
}
NO_PROMPT = "(none)"
CHECKED = 1000
"""Pairs looked at for findings; comparing more of them with each other takes too long."""
NO_PAIRS = "there are no pairs yet"
TO_BEGIN = (
    "Drop a JSON, JSONL, CSV or TSV file with one column for each side, or choose a shipped set."
)
_UNSAFE = re.compile(r"[^\w-]+")


@dataclass(frozen=True)
class BroughtPairs:
    """A table of pairs before its columns were settled."""

    table: TextTable | None = None
    problem: str = ""
    """Why it cannot be read, as a sentence."""


@dataclass(frozen=True)
class PairMapping:
    """What the columns of a table stand for, as on screen."""

    brought: BroughtPairs
    positive: str | None
    negative: str | None
    prompt: str | None = NO_PROMPT
    name: str = ""
    """What the direction is called."""

    @property
    def columns(self) -> PairColumns | None:
        """None while a side is not chosen."""
        if not (self.positive and self.negative):
            return None
        prompt = "" if self.prompt in (None, NO_PROMPT) else str(self.prompt)
        return PairColumns(self.positive, self.negative, prompt)

    def settled_name(self) -> str:
        """A name that could have been suggested follows the columns; any other was typed."""
        table = self.brought.table
        if table is None:
            return self.name
        suggested = {*PRESETS, *(_named_after(column, table) for column in table.columns)}
        if self.name.strip() and self.name.strip() not in suggested:
            return self.name
        return suggest_name(table, self.columns)


@dataclass(frozen=True)
class CheckedPairs:
    """Pairs under a mapping, and what was found in them."""

    found: PairSet
    findings: tuple[Finding, ...] = field(default=())

    @property
    def has_errors(self) -> bool:
        """Whether a pair would spoil the training."""
        return any(finding.severity == "error" for finding in self.findings)


class PairInputs(Part):
    """What is trained on, and which side is positive."""

    def __init__(self) -> None:
        self.chosen = gr.Radio(
            list(SETS.items()), value=FILE, label="Pairs", elem_id="src-pair-set"
        )
        self.file = gr.File(
            label="Pairs: JSON, JSONL, CSV or TSV",
            file_types=list(SUFFIXES),
            height=130,
            elem_id="src-pair-file",
        )
        with (
            gr.Column(elem_classes=AWAY, elem_id="src-pair-columns") as self.box,
            gr.Row(elem_id="src-pair-mapping"),
        ):
            self.positive, self.negative, self.prompt = (
                gr.Dropdown(
                    [], label=f"{side.capitalize()} column", elem_id=f"src-{side}", min_width=150
                )
                for side in ("positive", "negative", "prompt")
            )
            self.name = gr.Textbox(label="Name of the direction", elem_id="src-name", min_width=150)
            self.swap = gr.Button("Swap sides", elem_id="src-swap", scale=0, min_width=140)
        self.about = gr.HTML(sentence(TO_BEGIN), elem_id="src-pair-about", padding=False)
        self.leave_out = gr.Checkbox(
            label="Leave out the pairs with errors", elem_classes=AWAY, elem_id="src-leave-out"
        )
        self.brought = gr.State(BroughtPairs())
        self.columns = (self.positive, self.negative, self.prompt)
        self.asked: set[Any] = {*self.columns, self.brought, self.name, self.leave_out}
        self._wire()

    def _wire(self) -> None:
        mapping = self.asked - {self.leave_out}
        file, outputs = self.file, components(self)
        events = [self.chosen.input, file.upload, file.clear]
        gr.on(events, bound(self.show_file), {self.chosen, file, self.brought}, outputs, **LATEST)
        # Whatever changes a column, the last look is at the columns as they stand on screen.
        changed = [column.change for column in self.columns]
        gr.on(changed, bound(self.show_mapping), mapping, outputs, **LATEST)
        self.name.input(bound(self.show_name), mapping, outputs, **LATEST)
        sides, js = [self.positive, self.negative], calling("write/pair_sides.js", "swapped")
        self.swap.click(None, sides, sides, js=js, **QUIET)

    def mapping(self, values: Values) -> PairMapping:
        """What is on screen."""
        positive, negative, prompt = (values[column] for column in self.columns)
        return PairMapping(values[self.brought], positive, negative, prompt, values[self.name])

    def show_file(self, values: Values) -> Changes:
        """The columns of what was chosen or dropped, and what they make of it."""
        chosen = values[self.chosen]
        brought = bring_pairs(chosen, values[self.file])
        if brought == values[self.brought]:  # looked at twice: what was chosen meanwhile counts
            return {}
        table = brought.table
        changes: Changes = {
            self.file: gr.File(elem_classes=seen_if(chosen == FILE)),
            self.box: gr.Column(elem_classes=seen_if(table is not None)),
            self.brought: brought,
        }
        if table is None:
            nothing = gr.Dropdown(choices=[], value=None)
            problem = sentence(brought.problem, "failed") if brought.problem else sentence(TO_BEGIN)
            hidden = gr.Checkbox(elem_classes=AWAY)
            changes |= dict.fromkeys(self.columns, nothing)
            return changes | {self.name: "", self.about: problem, self.leave_out: hidden}
        guessed, columns = guess_columns(table.columns), list(table.columns)
        positive, negative = (guessed.positive, guessed.negative) if guessed else (None, None)
        prompt = guessed.prompt if guessed and guessed.prompt else NO_PROMPT
        settled = PairMapping(brought, positive, negative, prompt)
        return {
            **changes,
            self.positive: gr.Dropdown(choices=columns, value=positive),
            self.negative: gr.Dropdown(choices=columns, value=negative),
            self.prompt: gr.Dropdown(choices=[NO_PROMPT, *columns], value=prompt),
            **self._described(settled, rename=True),
        }

    def show_mapping(self, values: Values) -> Changes:
        """Name, about and the choice to leave pairs out, under these columns."""
        return self._described(self.mapping(values), rename=True)

    def show_name(self, values: Values) -> Changes:
        """The same under a name that was typed."""
        return self._described(self.mapping(values), rename=False)

    def _described(self, mapping: PairMapping, *, rename: bool) -> Changes:
        named = replace(mapping, name=mapping.settled_name()) if rename else mapping
        about, has_errors = describe_pairs(named)
        leave_out = gr.Checkbox(elem_classes=seen_if(has_errors))
        changes = {self.about: about, self.leave_out: leave_out}
        return {self.name: named.name, **changes} if rename else changes


def describe_pairs(mapping: PairMapping) -> tuple[str, bool]:
    """Polarity, the first pairs and what was found in them; whether some would spoil a training."""
    table = mapping.brought.table
    if table is None:
        return sentence(TO_BEGIN), False
    if mapping.columns is None:
        columns = ", ".join(table.columns)
        words = f"Nothing says which column is positive; choose both sides among {columns}"
        return sentence(words, "warning"), False
    try:
        checked = check(mapping)
    except UserError as error:
        return sentence(str(error), "failed"), False
    found = checked.found
    note = f" (in the first {CHECKED:,} pairs)" if len(found.pairs) > CHECKED else ""
    about = draw_polarity(found.columns, found.name)
    about += draw_pairs(found) + draw_findings(checked.findings, note)
    return about, checked.has_errors


def bring_pairs(chosen: str, path: str | None) -> BroughtPairs:
    """The table that was chosen or dropped; nothing where there is none yet."""
    try:
        if chosen != FILE:
            return BroughtPairs(shipped_table(chosen))
        if not path:
            return BroughtPairs()
        file = Path(path)
        table = read_pair_table(read_bytes(file, MAX_BYTES), shown(file))
        if not table.rows:
            raise UserError("there are no pairs", where=table.file, fix="write one per line")
        return BroughtPairs(table)
    except UserError as error:
        return BroughtPairs(problem=str(error))


def suggest_name(table: TextTable, columns: PairColumns | None) -> str:
    """What the direction is called unless the person says otherwise: what high scores mean."""
    if columns is None:
        return ""
    preset = contrast_named(columns)
    if preset and PRESETS[preset].positive == columns.positive:
        return preset
    return _named_after(columns.positive, table)


def _named_after(column: str, table: TextTable) -> str:
    if column.casefold() in ("positive", "negative"):
        stem = Path(table.file).stem
        column = stem if column.casefold() == "positive" else f"not_{stem}"
    return _UNSAFE.sub("_", column).strip("_")[:60]


def check(mapping: PairMapping) -> CheckedPairs:
    """The pairs under a mapping, and what could be better in them.

    Raises:
        UserError: nothing was brought, the columns do not fit, or the name is none.
    """
    brought, columns = mapping.brought, mapping.columns
    if brought.problem:
        raise UserError(brought.problem)
    if brought.table is None:
        raise UserError(NO_PAIRS, fix="drop a file or choose a shipped set")
    if columns is None:
        raise UserError(
            "nothing says which column is positive",
            where=brought.table.file,
            fix="choose both columns",
            options=brought.table.columns,
        )
    pairs = pick_pairs(brought.table, columns)
    found = PairSet(check_name(mapping.name), columns, pairs, brought.table.file)
    return CheckedPairs(found, check_pairs(found.first(CHECKED)))


def pair_request(studio: Studio, mapping: PairMapping, *, leave_out: bool) -> TextSource:
    """These pairs, to be trained on.

    Raises:
        UserError: there are no pairs, or some of them would spoil the training.
    """
    from readout_ui.vectors.pairs import pair_source
    from readout_ui.vectors.sources import neutral_texts_of

    checked = check(mapping)
    found = checked.found
    if leave_out:
        found = without_errors(found, checked.findings)
    else:
        refuse_errors(found, checked.findings)
    return pair_source(found, neutral_texts_of(studio.library()))


SHOWN_PAIRS = 5

SHOWN_FINDINGS = 25


def draw_polarity(columns: PairColumns, concept: str) -> str:
    """Which side is positive and what high scores will mean."""
    positive, negative = escape(columns.positive), escape(columns.negative)
    prompt = f" The user says what is in <b>{escape(columns.prompt)}</b>." if columns.prompt else ""
    return (
        f"<p class='src-polarity' role='status'>Positive = <b>{positive}</b>: high scores of "
        f"<b>{escape(concept)}</b> mean {positive}, low scores mean {negative}.{prompt}</p>"
    )


def draw_pairs(found: PairSet) -> str:
    """The first pairs as they will be trained on."""
    prompted = any(pair.prompt for pair in found.pairs)
    heads = [
        *([f"Prompt: {found.columns.prompt}"] if prompted else []),
        f"Positive: {found.columns.positive}",
        f"Negative: {found.columns.negative}",
    ]
    rows = []
    for number, pair in enumerate(found.pairs[:SHOWN_PAIRS], start=1):
        texts = [*([pair.prompt] if prompted else []), pair.positive, pair.negative]
        rows.append((str(number), *(escape(cut(text, MOST_SHOWN)) for text in texts)))
    shown = min(SHOWN_PAIRS, len(found.pairs))
    title = f"The first {shown} of {len(found.pairs):,} pairs"
    return f"<h3>{title}</h3>{table(('Pair', *heads), rows)}"


def draw_findings(findings: Sequence[Finding], note: str = "") -> str:
    """What could be better in pairs, errors first, each with the number of its pair."""
    if not findings:
        return f"<p class='src-note'>Nothing to improve was found in the pairs.{escape(note)}</p>"
    gravest = sorted(findings, key=lambda finding: finding.severity != "error")
    items = "".join(_finding(finding) for finding in gravest[:SHOWN_FINDINGS])
    more = len(findings) - SHOWN_FINDINGS
    rest = f"<li>and {more:,} more</li>" if more > 0 else ""
    return (
        f"<h3>{count(len(findings), 'thing')} to look at{escape(note)}</h3>"
        f"<ul class='src-findings'>{items}{rest}</ul>"
    )


def _finding(finding: Finding) -> str:
    place = "All pairs" if finding.index is None else f"Pair {finding.index + 1}"
    words = f"{escape(finding.message)} {escape(finding.suggestion)}"
    return f"<li class='{finding.severity}'><b>{place}</b> {words}</li>"
