"""Vectors of other people beside the run in use: brought as files, judged on the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from readout_ui.app.events import DEVICE, Changes, Part, Values, bound, components
from readout_ui.app.jobs import Question
from readout_ui.app.judge.kept import KeptBeside, keep_beside, read_kept
from readout_ui.app.judge.report import interval
from readout_ui.app.session import Studio
from readout_ui.app.widgets import error_text, minute, sentence, short, table
from readout_ui.errors import UserError
from readout_ui.evaluation.judgements import Beside
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout

INTRO = (
    "### Vectors of other people\nA folder, zip or file: an export of this program, npz, GGUF "
    "control vectors, steering-vectors. They are read by the loaded model on the shipped texts "
    "whose concepts both have; those without calibration are centred on neutral texts here."
)
TITLES = (
    "Vectors",
    "Layer",
    "Concepts",
    "AUROC",
    "95 %",
    "Ours, same texts",
    "Difference",
    "Judged",
)


class LeaderboardPart(Part):
    """What was brought so far, the best first; kept with the run."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        gr.Markdown(INTRO)
        with gr.Row():
            where = gr.Textbox(label="Path on this machine", elem_id="beside-path", scale=3)
            file = gr.File(label="or a file", elem_id="beside-file", height=130, scale=2)
        judge = gr.Button("Judge beside ours", elem_id="beside-judge")
        self.board = gr.HTML(elem_id="beside-board", padding=False)
        self.shown = gr.State("")  # run and rows that the page shows
        manner = {**DEVICE, "show_progress_on": judge}

        def show(values: Values) -> Changes:
            return self.add(str(values[where] or "").strip() or values[file])

        judge.click(bound(show), {where, file}, components(self), **manner)

    def refresh(self, shown: str) -> Changes:
        """The rows of the run in use, where the page shows others."""
        run = self.studio.runs.current()
        try:
            rows = read_kept(self.studio).board
        except UserError as error:
            return {self.board: sentence(error_text(error), "warning")}
        now = f"{run and run.id} {len(rows)} {rows and rows[0].made}"
        return {} if now == shown else {self.shown: now, self.board: draw_board(rows)}

    def add(self, place: str | None) -> Changes:
        """The table with the vectors at a place judged; the same place is judged once.

        Raises:
            UserError: nothing there, another model's vectors, or too few common concepts.
        """
        if not place:
            raise UserError("no vectors were named", fix="type a path or choose a file")
        run = self.studio.run()
        found = judge_place(self.studio, Path(place).expanduser())
        keep_beside(self.studio, run.id, found)
        return self.refresh("")


def judge_place(studio: Studio, place: Path) -> Beside:
    """The vectors at a place beside the run in use; worked out once."""
    brought = Run.open(place)

    def work(readout: Readout) -> Beside:
        from readout_ui.evaluation.leaderboard import judge_beside

        return judge_beside(readout, brought, place.name)

    changed = place.stat().st_mtime_ns
    question = Question("Leaderboard", (str(place), changed), needs_descriptions=False)
    return studio.judge(question, work)


def _cells(kept: KeptBeside) -> tuple[str, ...]:
    one = kept.found
    change = one.difference
    return (
        one.name + ("" if one.calibrated else " (centred here)"),
        str(one.layer),
        str(len(one.labels)),
        short(one.theirs.value),
        interval(one.theirs.low, one.theirs.high),
        short(one.ours.value),
        f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]",
        minute(kept.made),
    )


def draw_board(rows: Sequence[KeptBeside]) -> str:
    """One row for each, the best first."""
    ranked = sorted(rows, key=lambda each: -each.found.theirs.value)
    drawn = [tuple(map(escape, _cells(each))) for each in ranked]
    return table(TITLES, drawn, file="leaderboard") if rows else ""
