"""What moved between two runs, always new minus old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gradio as gr

from readout_ui.app.assets import on_load
from readout_ui.app.events import PRIVATE, Changes, Part, bound
from readout_ui.app.jobs import Question
from readout_ui.app.session import Studio
from readout_ui.app.widgets import count, short, table
from readout_ui.errors import UserError
from readout_ui.evaluation.run_changes import ConceptChange, change_rows, changes_csv, moved
from readout_ui.runs.run import Run
from readout_ui.texts.words import cut

if TYPE_CHECKING:
    from readout_ui.evaluation.run_diff import RunDiff, ScoreChanges, TextChange
    from readout_ui.inference.readout import Readout
    from readout_ui.vectors.training import Corpus

SHOWN_TEXTS = 50
"""Changed texts that are listed; the rest is counted."""
COMPARING: dict[str, Any] = {
    **PRIVATE,
    "trigger_mode": "multiple",
    "concurrency_id": "compare",
    "concurrency_limit": 1,
}
"""One after another as they were asked for, wherever: what is shown last was asked for last."""


class DiffBox(Part):
    """Two runs and what moved from the older to the newer one."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.choice = gr.HTML(
            draw_choice(studio),
            elem_id="diff",
            padding=False,
            js_on_load=on_load("ship/picks.js", "compare"),
        )
        self.found = gr.HTML(elem_id="diff-place", padding=False)
        self.compare_on(self.choice)

    def compare_on(self, source: gr.HTML) -> None:
        """Compare the runs that a click in a part of the page names."""
        manner = {**COMPARING, "show_progress_on": self.choice}
        source.compare(bound(self.compare), None, [self.found], **manner)

    def compare(self, event: gr.EventData) -> Changes:
        """What moved: words, settings, a row for each concept, and the changed texts.

        Raises:
            UserError: a run is gone, or both are the same.
        """
        runs = [self.studio.runs.open(str(each)) for each in (event.old, event.new)]
        old, new = sorted(runs, key=lambda run: (run.created, run.id))
        if old.id == new.id:
            raise UserError("both runs are the same", fix="choose two")
        from readout_ui.evaluation.run_diff import compare_runs

        diff = compare_runs(old, new)
        changes, reason = _score_changes(self.studio, diff)
        return {self.found: draw_diff(self.studio, diff, changes, reason)}

    def refresh(self) -> Changes:
        """The choice of runs, after one was made, named, used or deleted; what was found stays."""
        return {self.choice: draw_choice(self.studio)}


def draw_choice(studio: Studio) -> str:
    """Two lists of runs, at first the one in use and that before; nothing for fewer than two."""
    runs = studio.runs.list()
    if len(runs) < 2:
        return ""
    ids, used = [run.id for run in runs], studio.runs.current()
    new = used.id if used else ids[0]
    old = next((run_id for run_id in ids[ids.index(new) + 1 :]), ids[0])
    picked = (("New", "new", new), ("Old", "old", old))
    lists = " − ".join(_list_of(studio, runs, *one) for one in picked)
    return (
        f"<section class='box'><header><h2>What moved</h2><span class='dim small'>new minus old, "
        f"everywhere</span></header><div class='pick'>{lists} <button type='button' "
        "class='btn sm' data-act='compare' data-picked='yes'>Compare</button></div></section>"
    )


def _list_of(studio: Studio, runs: Sequence[Run], label: str, key: str, chosen: str) -> str:
    options = "".join(
        f"<option value='{escape(run.id)}'{' selected' if run.id == chosen else ''}>"
        f"{escape(cut(studio.runs.title(run), 40))}</option>"
        for run in runs
    )
    return f"<select data-pick='{key}' aria-label='{label} run'>{options}</select>"


def draw_diff(studio: Studio, diff: RunDiff, changes: ScoreChanges | None, reason: str = "") -> str:
    """Both runs by name, the verdict, a row for each concept that moved, settings and texts."""
    rows = change_rows(diff, changes)
    new, old = (studio.runs.title(studio.runs.open(run_id)) for run_id in (diff.new, diff.old))
    csv = "\ufeff" + changes_csv(rows)
    link = f"data:text/csv;charset=utf-8,{quote(csv)}"
    lines = [verdict(changes) if changes else escape(reason), escape(diff.why_no_moves)]
    lines += [f"Settings: {escape('; '.join(diff.settings))}."] if diff.settings else []
    words = "".join(f"<p>{line}</p>" for line in lines if line)
    return (
        f"<section class='box' id='diff-found'><header><h2>{escape(new)} − {escape(old)}</h2>"
        f"<span class='sp'></span><a class='btn sm' download='what-moved.csv' href='{link}'>CSV</a>"
        f"</header>{words}{_table(rows)}{_texts(diff.texts)}</section>"
    )


def verdict(changes: ScoreChanges) -> str:
    """How the mean over concepts changed, and whether that is more than noise."""
    macro = changes.macro
    noise = "beyond noise" if macro.beyond_noise else "within noise"
    return (
        f"AUROC {short(macro.before)} → {short(macro.after)}, {short(macro.change, '+')} "
        f"[{short(macro.low, '+')}, {short(macro.high, '+')}], <b>{noise}</b>: held out, on the "
        f"{count(changes.n_texts, 'text')} both runs have, at layer {changes.layer}."
    )


def _table(rows: Sequence[ConceptChange]) -> str:
    shown = moved(rows)
    still = [row for row in rows if row not in shown]
    head = (
        "<th>Concept</th><th class='num'>Turned</th><th class='num'>AUROC</th>"
        "<th class='num h'>Difference</th><th class='said'>Verdict</th>"
    )
    cells = [_row(row) for row in shown]
    if still:
        most = max(row.turned or 0 for row in still)
        who = f"{len(still)} others" if shown else f"all {count(len(still), 'concept')}"
        cells.append(
            f"<td class='dim'>{who}</td><td class='num dim'>≤ {most:.2f}</td><td></td>"
            "<td class='h'></td><td class='said dim'>did not move</td>"
        )
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table class='t1 diff'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_KINDS = {"better": "v ok", "worse": "v bad", "new": "v", "gone": "v"}


def _row(row: ConceptChange) -> str:
    turned = "" if row.turned is None else f"{row.turned:.2f}"
    auroc = difference = ""
    if row.before is not None and row.after is not None and row.change is not None:
        auroc = f"{short(row.before)} → {short(row.after)}"
        difference = short(row.change, "+")
        if row.low is not None and row.high is not None:
            difference += f" [{short(row.low, '+')}, {short(row.high, '+')}]"
    link = f"#/write/{quote(row.concept)}"
    return (
        f"<td><a href='{link}'>{escape(row.concept)}</a></td><td class='num'>{turned}</td>"
        f"<td class='num'>{auroc}</td><td class='num h'>{difference}</td>"
        f"<td class='said'><span class='{_KINDS.get(row.verdict, 'dim')}'>{row.verdict}</span></td>"
    )


def _texts(texts: Sequence[TextChange]) -> str:
    if not texts:
        return "<p class='dim small'>The texts are the same.</p>"
    rows = [
        (escape(c.concept), c.kind, escape(c.before), escape(c.after)) for c in texts[:SHOWN_TEXTS]
    ]
    rest = len(texts) - SHOWN_TEXTS
    more = f"<p>and {rest} more</p>" if rest > 0 else ""
    listed = table(("Concept", "Change", "Before", "After"), rows, kind="judged cards")
    return (
        f"<details><summary>{count(len(texts), 'text')} changed</summary>{listed}{more}</details>"
    )


def _score_changes(studio: Studio, diff: RunDiff) -> tuple[ScoreChanges | None, str]:
    """Changed scores, or why there are none: another model in use, too few common texts."""
    if not diff.same_space:
        return None, ""
    old, new = studio.runs.open(diff.old), studio.runs.open(diff.new)

    def work(readout: Readout) -> ScoreChanges:
        from readout_ui.evaluation.run_diff import compare_scores

        old.refuse_other_model(readout.model)
        layer = new.best_layer

        def at_layer(run: Run) -> Corpus:
            return studio.readout_of(run, readout.report).corpus().at(layer)

        return replace(compare_scores(at_layer(old), at_layer(new), 0), layer=layer)

    try:
        return studio.judge(Question("Comparing runs", (diff.old, diff.new)), work), ""
    except UserError as error:
        return None, f"Scores were not compared: {error}"
