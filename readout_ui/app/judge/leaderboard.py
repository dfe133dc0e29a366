"""Vectors of other people beside the run in use: brought as files, judged on the same texts."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import DEVICE, Changes, Part, Values, bound
from readout_ui.app.jobs import Question
from readout_ui.app.judge.report import interval
from readout_ui.app.session import Studio
from readout_ui.app.widgets import save_button, short, table
from readout_ui.errors import UserError
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.evaluation.leaderboard import Beside
    from readout_ui.inference.readout import Readout

INTRO = (
    "### Vectors of other people\nA folder, zip or file: an export of this program, npz, GGUF "
    "control vectors, steering-vectors. They are read by the loaded model on the shipped texts "
    "whose concepts both have; those without calibration are centred on neutral texts here."
)
TITLES = ("Vectors", "Layer", "Concepts", "AUROC", "95 %", "Ours, same texts", "Difference")


class LeaderboardPart(Part):
    """What was brought so far, the best first."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        gr.Markdown(INTRO)
        with gr.Row():
            where = gr.Textbox(label="Path on this machine", elem_id="beside-path", scale=3)
            file = gr.File(label="or a file", elem_id="beside-file", height=90, scale=2)
        judge = gr.Button("Judge beside ours", elem_id="beside-judge")
        self.rows = gr.State([])
        self.board = gr.HTML(elem_id="beside-board", padding=False)
        save = gr.Button("CSV", size="sm", elem_id="beside-csv", min_width=80)
        asked: set[Any] = {where, file, self.rows}
        manner = {**DEVICE, "show_progress_on": judge}

        def show(values: Values) -> Changes:
            place = str(values[where] or "").strip() or values[file]
            return self.add(place, values[self.rows])

        judge.click(bound(show), asked, [self.rows, self.board], **manner)

        def as_csv(values: Values) -> str:
            return board_csv(values[self.rows])

        save_button(save, bound(as_csv), {self.rows}, "leaderboard.csv", "text/csv")

    def add(self, place: str | None, rows: Sequence[Beside]) -> Changes:
        """The table with the vectors at a place judged; the same place is judged once.

        Raises:
            UserError: nothing there, another model's vectors, or too few common concepts.
        """
        if not place:
            raise UserError("no vectors were named", fix="type a path or choose a file")
        found = judge_place(self.studio, Path(place).expanduser())
        rest = [each for each in rows if each.name != found.name]
        ranked = sorted([*rest, found], key=lambda each: -each.theirs.value)
        return {self.rows: ranked, self.board: draw_board(ranked)}


def judge_place(studio: Studio, place: Path) -> Beside:
    """The vectors at a place beside the run in use; worked out once."""
    brought = Run.open(place)

    def work(readout: Readout) -> Beside:
        from readout_ui.evaluation.leaderboard import judge_beside

        return judge_beside(readout, brought, place.name)

    changed = place.stat().st_mtime_ns
    question = Question("Leaderboard", (str(place), changed), needs_descriptions=False)
    return studio.judge(question, work)


def _cells(one: Beside) -> tuple[str, ...]:
    change = one.difference
    return (
        one.name + ("" if one.calibrated else " (centred here)"),
        str(one.layer),
        str(len(one.labels)),
        short(one.theirs.value),
        interval(one.theirs.low, one.theirs.high),
        short(one.ours.value),
        f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]",
    )


def draw_board(rows: Sequence[Beside]) -> str:
    """One row for each, the best first."""
    return table(TITLES, [tuple(map(escape, _cells(one))) for one in rows])


def board_csv(rows: Sequence[Beside]) -> str:
    """The same as CSV; empty without any."""
    text = io.StringIO()
    csv.writer(text).writerows([TITLES, *map(_cells, rows)] if rows else [])
    return text.getvalue()
