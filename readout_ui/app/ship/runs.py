"""The list of runs: what they are called, how well they read, and what a person does with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from readout_ui.app.assets import calling, on_load
from readout_ui.app.events import DEVICE, EACH, IN_TURN, QUIET, Changes, Part, bound, components
from readout_ui.app.session import Studio
from readout_ui.app.ship.bring import bring
from readout_ui.app.ship.packs import pack_to_download
from readout_ui.app.widgets import count, short
from readout_ui.runs.run import Run
from readout_ui.runs.store import BrokenRun, local_time
from readout_ui.texts.words import cut

SHOWN_RUNS = 10
"""Runs on the page before a person asks for the others."""
_HEAD = (
    "<header class='rtop'><div><h1>Runs</h1><p class='dim lab'>Every training is kept, with its "
    "report, notes and settings.</p></div></header>"
)
EMPTY = "<p class='empty'>No run yet. Press <b>Train</b> to fit the first vectors.</p>"
NO_SCORE = "<span class='dim small'>not judged</span>"


class RunsList(Part):
    """The table of runs; `run_chosen` is the event after which another may be in use."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Row(elem_id="runs-head"):
            gr.HTML(_HEAD, padding=False)
            take = gr.UploadButton(
                "Import",
                file_count="multiple",
                size="sm",
                elem_id="bring-files",
                interactive=not studio.read_only,
            )
        self.told = gr.HTML(elem_id="bring-found", padding=False)
        self.list = gr.HTML(
            draw_runs(studio),
            elem_id="runs",
            padding=False,
            js_on_load=on_load("ship/acts.js", "compare"),
        )
        self.file = gr.File(visible=False, elem_id="runs-file")
        everything = components(self)
        self.run_chosen: Any = self.list.select(bound(self.act), None, everything, **IN_TURN)
        saved = calling("ship/acts.js", "download")
        self.run_chosen.success(None, self.file, js=saved, **QUIET)
        take.upload(bound(self.bring), take, everything, **{**DEVICE, **EACH})

    def act(self, event: gr.EventData) -> Changes:
        """Use, name, delete or pack the run that was clicked."""
        studio, run_id = self.studio, str(event.run)
        if event.act == "use":
            studio.use_run(run_id)
        elif event.act == "pack":
            return {self.file: str(pack_to_download(studio, studio.runs.open(run_id)))}
        else:
            studio.refuse_if_read_only("change a run")
            self._change(str(event.act), run_id, event)
        return {self.file: None, **self.refresh()}

    def _change(self, act: str, run_id: str, event: gr.EventData) -> None:
        runs = self.studio.runs
        if act == "delete":
            runs.delete(run_id)
        elif act == "describe":
            tags = tuple(tag.strip() for tag in str(event.tags).split(",") if tag.strip())
            runs.describe(run_id, name=str(event.name), note=str(event.note), tags=tags)

    def bring(self, files: Sequence[str] | str | None) -> Changes:
        """Take vectors from other programs or machines as a run."""
        paths = [files] if isinstance(files, str) else files or []
        said = bring(self.studio, [Path(path) for path in paths])
        return {self.told: said, self.file: None, **self.refresh()}

    def refresh(self) -> Changes:
        """The runs as they are now."""
        return {self.list: draw_runs(self.studio)}


def draw_runs(studio: Studio) -> str:
    """The kept runs as an HTML table, newest first."""
    runs, broken = studio.runs.list(), studio.runs.broken()
    if not runs and not broken:
        return EMPTY
    current = studio.runs.current()
    used = current.id if current else ""
    rows = [_row(studio, run, used, number) for number, run in enumerate(runs)]
    rows += [_broken_row(run) for run in broken]
    head = (
        "<th>Run</th><th class='h'>When</th><th class='num'>Concepts</th><th class='num'>AUROC</th>"
        "<th><span class='vh'>Actions</span></th>"
    )
    table = f"<table class='t1 runs'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"{_finder(len(runs))}{table}</table>{_more(len(runs))}"


def _finder(n_runs: int) -> str:
    if n_runs <= SHOWN_RUNS:
        return ""
    return (
        "<input type='search' class='find' data-filter='tr' aria-label='Find a run' "
        "placeholder='Find a run by name, note or tag'>"
    )


def _more(n_runs: int) -> str:
    if n_runs <= SHOWN_RUNS:
        return ""
    return (
        "<button type='button' class='btn quiet' data-act='all'>"
        f"Show all {count(n_runs, 'run')}</button>"
    )


def _row(studio: Studio, run: Run, used: str, number: int) -> str:
    about, title = studio.runs.about(run.id), studio.runs.title(run)
    is_used = run.id == used
    kinds = " ".join(
        kind for kind, wanted in (("use", is_used), ("old", number >= SHOWN_RUNS)) if wanted
    )
    chips = [*(["in use"] if is_used else []), *about.tags]
    tags = "".join(f" <span class='tag'>{escape(tag)}</span>" for tag in chips)
    note = f"<div class='small'>{escape(cut(about.note, 120))}</div>" if about.note else ""
    origin = f"{studio.runs.origin(run)} · {run.settings.method} · layer {run.best_layer}"
    data = {"run": run.id, "title": title, "name": about.name, "note": about.note}
    data["tags"] = ", ".join(about.tags)
    return (
        f"<tr class='{kinds}'{_data(data)}><td><b class='title'>{escape(title)}</b>{tags}{note}"
        f"<div class='small dim'>{escape(origin)}</div></td>"
        f"<td class='h dim' title='{local_time(run)}'>"
        f"{when(run.created)}</td><td class='num'>{len(run.concepts)}</td>"
        f"<td class='num'>{_score(studio, run)}</td><td>{_actions(run.id, title, used)}</td></tr>"
    )


def _actions(run_id: str, title: str, used: str) -> str:
    name = escape(title)
    buttons = (
        f"<button type='button' class='btn sm' data-act='use' data-run='{escape(run_id)}' "
        f"aria-label='Use {name}'>Use</button>"
        if run_id != used
        else ""
    )
    if used and run_id != used:
        buttons += (
            f"<button type='button' class='btn sm h' data-act='compare' data-new='{escape(used)}' "
            f"data-old='{escape(run_id)}' aria-label='Diff against {name}'>Diff against</button>"
        )
    return (
        f"<div class='act'>{buttons}<button type='button' class='btn quiet sm' data-act='menu' "
        f"aria-haspopup='dialog' aria-label='Name, note, tags, delete: {name}'>{DOTS}</button>"
        "</div>"
    )


DOTS = (
    "<svg class='ic' viewBox='0 0 24 24' aria-hidden='true'><circle cx='5' cy='12' r='1.6'/>"
    "<circle cx='12' cy='12' r='1.6'/><circle cx='19' cy='12' r='1.6'/></svg>"
)


def _data(values: dict[str, str]) -> str:
    return "".join(f" data-{name}='{escape(value)}'" for name, value in values.items())


def _broken_row(run: BrokenRun) -> str:
    name = escape(run.id)
    return (
        f"<tr class='broken' data-run='{name}' data-title='{name}'><td colspan='4'>"
        f"<b class='title'>{name}</b> <span class='v bad'>broken</span>"
        f"<div class='small dim'>{escape(run.reason)}</div></td><td><div class='act'>"
        f"<button type='button' class='btn quiet sm' data-act='menu' aria-haspopup='dialog' "
        f"aria-label='Delete: {name}'>{DOTS}</button></div></td></tr>"
    )


def _score(studio: Studio, run: Run) -> str:
    report = studio.runs.report(run.id)
    if report is None or report.auroc is None:
        return NO_SCORE
    return f"<span title='{escape(report.held_out)}'>{short(report.auroc)}</span>"


def when(moment: datetime, now: datetime | None = None) -> str:
    """A moment for people: "today 17:36", "yesterday 09:12", "26 Nov 17:36", "26 Nov 2025"."""
    at, today = moment.astimezone(), (now or datetime.now(UTC)).astimezone()
    days = (today.date() - at.date()).days
    if days in (0, 1):
        return f"{('today', 'yesterday')[days]} {at:%H:%M}"
    return f"{at.day} {at:%b %H:%M}" if at.year == today.year else f"{at.day} {at:%b %Y}"
