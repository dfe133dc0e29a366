"""Contrast pairs on the Sources tab: a file or a shipped set, which side is positive, findings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import HIDDEN, QUIET, guarded, seen_if
from readout_ui.app.session import Studio
from readout_ui.app.tabs.sources_html import (
    draw_findings,
    draw_pairs,
    draw_polarity,
    draw_sentence,
)
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
class CheckedPairs:
    """Pairs under a mapping, and what was found in them."""

    found: PairSet
    findings: tuple[Finding, ...] = field(default=())

    @property
    def has_errors(self) -> bool:
        """Whether a pair would spoil the training."""
        return any(finding.severity == "error" for finding in self.findings)


@dataclass(frozen=True)
class PairInputs:
    """What is trained on, and which side is positive."""

    brought: gr.State
    positive: gr.Dropdown
    negative: gr.Dropdown
    prompt: gr.Dropdown
    name: gr.Textbox
    leave_out: gr.Checkbox

    def all(self) -> list[Any]:
        """In the order `pair_wish` takes them."""
        return [
            *(self.brought, self.positive, self.negative, self.prompt),
            *(self.name, self.leave_out),
        ]


def build_pair_inputs() -> PairInputs:
    """Lay out the pairs' part and wire what follows from a file or another column."""
    brought = gr.State(BroughtPairs())
    chosen = gr.Radio(list(SETS.items()), value=FILE, label="Pairs", elem_id="src-pair-set")
    file = gr.File(
        label="Pairs: JSON, JSONL, CSV or TSV",
        file_types=list(SUFFIXES),
        height=130,
        elem_id="src-pair-file",
    )
    box = gr.Column(visible=HIDDEN, elem_id="src-pair-columns")
    with box, gr.Row(elem_id="src-pair-mapping"):
        positive = gr.Dropdown([], label="Positive column", elem_id="src-positive", min_width=150)
        negative = gr.Dropdown([], label="Negative column", elem_id="src-negative", min_width=150)
        prompt = gr.Dropdown([], label="Prompt column", elem_id="src-prompt", min_width=150)
        name = gr.Textbox(label="Name of the direction", elem_id="src-name", min_width=150)
        swap = gr.Button("Swap sides", elem_id="src-swap", scale=0, min_width=140)
    about = gr.HTML(draw_sentence(TO_BEGIN), elem_id="src-pair-about", padding=False)
    leave_out = gr.Checkbox(
        label="Leave out the pairs with errors", visible=HIDDEN, elem_id="src-leave-out"
    )
    inputs = PairInputs(brought, positive, negative, prompt, name, leave_out)
    mapping = [brought, positive, negative, prompt, name]
    looks = [name, about, leave_out]
    gr.on(
        [chosen.input, file.upload, file.clear],
        guarded(show_pair_file),
        [chosen, file],
        [file, box, positive, negative, prompt, brought, *looks],
        **QUIET,
    )
    manner: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
    # Whatever changes a column, the last look is at the columns as they stand on screen.
    columns = [positive.change, negative.change, prompt.change]
    gr.on(columns, guarded(show_mapping), mapping, looks, **manner)
    name.input(guarded(show_name), mapping, [about, leave_out], **manner)
    sides = [positive, negative]
    swap.click(None, sides, sides, js="(positive, negative) => [negative, positive]", **QUIET)
    return inputs


def show_pair_file(chosen: str, path: str | None) -> tuple[Any, ...]:
    """File, columns' box, the three columns, state, and what `show_mapping` gives."""
    brought = bring_pairs(chosen, path)
    table = brought.table
    picker = gr.File(visible=seen_if(chosen == FILE))
    if table is None:
        about = draw_sentence(brought.problem, "failed") if brought.problem else ""
        nothing = gr.Dropdown(choices=[], value=None)
        looks = (brought, "", about or draw_sentence(TO_BEGIN), gr.Checkbox(visible=HIDDEN))
        return picker, gr.Column(visible=HIDDEN), nothing, nothing, nothing, *looks
    guessed = guess_columns(table.columns)
    positive, negative = (guessed.positive, guessed.negative) if guessed else (None, None)
    prompt = guessed.prompt if guessed and guessed.prompt else NO_PROMPT
    columns = list(table.columns)
    return (
        picker,
        gr.Column(visible=True),
        gr.Dropdown(choices=columns, value=positive),
        gr.Dropdown(choices=columns, value=negative),
        gr.Dropdown(choices=[NO_PROMPT, *columns], value=prompt),
        brought,
        *show_mapping(brought, positive, negative, prompt, ""),
    )


def show_mapping(
    brought: BroughtPairs,
    positive: str | None,
    negative: str | None,
    prompt: str,
    name: str,
) -> tuple[Any, ...]:
    """Name, about and the choice to leave pairs out, under these columns.

    A name that could have been suggested follows the columns; any other was typed and stays.
    """
    called = name
    if not name.strip() or name.strip() in _suggestions(brought):
        called = suggest_name(brought, _columns(positive, negative, prompt))
    return called, *show_name(brought, positive, negative, prompt, called)


def show_name(
    brought: BroughtPairs, positive: str | None, negative: str | None, prompt: str, name: str
) -> tuple[str, Any]:
    """Polarity, findings and the first pairs, and whether some can be left out."""
    if brought.table is None:
        return draw_sentence(TO_BEGIN), gr.Checkbox(visible=HIDDEN)
    if not (positive and negative):
        columns = ", ".join(brought.table.columns)
        sentence = f"Nothing says which column is positive; choose both sides among {columns}"
        return draw_sentence(sentence, "warning"), gr.Checkbox(visible=HIDDEN, value=False)
    try:
        checked = check(brought, positive, negative, prompt, name)
    except UserError as error:
        return draw_sentence(str(error), "failed"), gr.Checkbox(visible=HIDDEN, value=False)
    found, note = checked.found, ""
    if len(found.pairs) > CHECKED:
        note = f" (in the first {CHECKED:,} pairs)"
    about = draw_polarity(found.columns, found.name)
    about += draw_pairs(found) + draw_findings(checked.findings, note)
    leave_out = gr.Checkbox(visible=True) if checked.has_errors else gr.Checkbox(visible=HIDDEN)
    return about, leave_out


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


def suggest_name(brought: BroughtPairs, columns: PairColumns | None) -> str:
    """What the direction is called unless the person says otherwise: what high scores mean."""
    if columns is None or brought.table is None:
        return ""
    preset = contrast_named(columns)
    if preset and PRESETS[preset].positive == columns.positive:
        return preset
    return _named_after(columns.positive, brought.table)


def _suggestions(brought: BroughtPairs) -> set[str]:
    if brought.table is None:
        return set()
    return {*PRESETS, *(_named_after(column, brought.table) for column in brought.table.columns)}


def _named_after(column: str, table: TextTable) -> str:
    if column.casefold() in ("positive", "negative"):
        stem = Path(table.file).stem
        column = stem if column.casefold() == "positive" else f"not_{stem}"
    return _UNSAFE.sub("_", column).strip("_")[:60]


def check(
    brought: BroughtPairs,
    positive: str | None,
    negative: str | None,
    prompt: str | None,
    name: str,
) -> CheckedPairs:
    """The pairs under this mapping, and what is to mend in them.

    Raises:
        UserError: nothing was brought, the columns do not fit, or the name is none.
    """
    if brought.problem:
        raise UserError(brought.problem)
    if brought.table is None:
        raise UserError(NO_PAIRS, fix="drop a file or choose a shipped set")
    columns = _columns(positive, negative, prompt)
    if columns is None:
        raise UserError(
            "nothing says which column is positive",
            where=brought.table.file,
            fix="choose both columns",
            options=brought.table.columns,
        )
    pairs = pick_pairs(brought.table, columns)
    found = PairSet(check_name(name), columns, pairs, brought.table.file)
    return CheckedPairs(found, check_pairs(found.first(CHECKED)))


def pair_wish(studio: Studio, *values: Any) -> TextSource:
    """The training that is on screen.

    Raises:
        UserError: there are no pairs, or some of them would spoil the training.
    """
    from readout_ui.vectors.pairs import pair_source
    from readout_ui.vectors.sources import neutral_texts_of

    *mapping, leave_out = values
    checked = check(*mapping)
    found = checked.found
    if leave_out:
        found = without_errors(found, checked.findings)
    else:
        refuse_errors(found, checked.findings)
    return pair_source(found, neutral_texts_of(studio.library()))


def _columns(positive: str | None, negative: str | None, prompt: str | None) -> PairColumns | None:
    if not (positive and negative):
        return None
    return PairColumns(positive, negative, "" if prompt in (None, NO_PROMPT) else str(prompt))
