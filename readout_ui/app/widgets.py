"""What several tabs are built of: figures, score maps, layer choices, the frame of judgements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.plot import PlotData

from readout_ui.app.assets import saving
from readout_ui.app.events import AWAY, PRIVATE, Changes, Part, seen_if
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_SHOWN = 220
"""Characters of a long text that a page shows to tell it by."""
NOTHING = "–"
"""Stands in a table where there is no number."""


def table(
    titles: Iterable[str],
    rows: Iterable[Sequence[str]],
    *,
    kind: str = "judged cards",
    caption: str = "",
    row_kinds: Sequence[str] = (),
    column_kinds: Mapping[str, str] | None = None,
    file: str = "",
) -> str:
    """Rows under their titles, in a box that scrolls sideways where the page is narrow.

    Args:
        titles: plain text.
        rows: cells as HTML, one for each title.
        kind: classes of the table; with "cards" a phone shows each row's cells below each other.
        caption: HTML above the titles.
        row_kinds: a class for each row, none where it is empty.
        column_kinds: a class for the cells below some titles.
        file: of a table that can be saved as CSV, the file's name without ending.
    """
    titles, kinds_of = list(titles), column_kinds or {}
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    opened = [
        f"<td{_class(kinds_of.get(title, ''))} data-title='{escape(title)}'>" for title in titles
    ]
    drawn = ["".join(f"{o}{c}</td>" for o, c in zip(opened, row, strict=True)) for row in rows]
    kinds = [_class(one) for one in row_kinds] or [""] * len(drawn)
    body = "".join(f"<tr{one}>{cells}</tr>" for one, cells in zip(kinds, drawn, strict=True))
    above = f"<caption>{caption}</caption>" if caption else ""
    drawn_table = (
        f"<div class='scroll'><table class='{kind}'>{above}<thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
    if not file:
        return drawn_table
    button = f"<button type='button' class='btn sm' data-csv='{escape(file)}'>CSV</button>"
    return f"<div class='saved-table'>{button}{drawn_table}</div>"


def _class(kind: str) -> str:
    return f" class='{kind}'" if kind else ""


def bullets(items: Iterable[str], kind: str = "notes") -> str:
    """A list of HTML items, empty without any."""
    drawn = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul class='{kind}'>{drawn}</ul>" if drawn else ""


def sentence(words: str, kind: str = "empty") -> str:
    """Plain text as a paragraph: "empty", "failed", "warning", "about" or a tab's own class."""
    return f"<p class='{kind}'>{escape(words)}</p>"


def headline(first: str, rest: str, kind: str = "empty") -> str:
    """A sentence in bold and what follows it."""
    return f"<p class='{kind}'><b>{escape(first)}</b> {escape(rest)}</p>"


def error_text(error: UserError) -> str:
    """The error's sentence, beginning with a capital letter."""
    words = str(error)
    return f"{words[:1].upper()}{words[1:]}"


def minute(moment: datetime) -> str:
    """When it was, to the minute, on this machine's clock."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def count(number: int, noun: str) -> str:
    """ "1 text", "2 texts"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(value: float | None, sign: str = "") -> str:
    """A number from -1 to 1 with three decimals, without the zero before the point: ".883".

    Args:
        value: None gives a dash.
        sign: "+" puts a sign before positive ones too.
    """
    if value is None:
        return NOTHING
    return f"{value:{sign}z.3f}".replace("0.", ".", 1).replace("-", "−")


KINDS = {"z-score": "z", "Cosine": "cosine", "Raw": "raw"}
"""Units of scores, by the name a person chooses them by."""
PLOT_CLASS = "judged-plot"
"""What judged.css colours by the theme, and hides while there is no figure."""


def build_plot(elem_id: str, value: PlotData | None = None) -> gr.Plot:
    """A place for a figure, without frame and label, that takes no room while it is empty.

    `visible=False` would do the latter, but gradio 6.17 then never shows the figure.
    """
    return gr.Plot(
        value, show_label=False, container=False, elem_id=elem_id, elem_classes=PLOT_CLASS
    )


def plot_data(figure: go.Figure, *, responsive: bool = True) -> PlotData:
    """The figure with its settings, which gr.Plot would leave out of a plain figure.

    Args:
        figure: what is drawn.
        responsive: whether it follows the width of the page; a figure of fixed width scrolls.
    """
    follows = "true" if responsive else "false"
    config = f'"config":{{"displaylogo":false,"displayModeBar":false,"responsive":{follows}}}'
    return PlotData(type="plotly", plot=f"{figure.to_json()[:-1]},{config}}}")


NO_RUN = UserError("there are no vectors yet", fix="press Train first")


def draw_notice(error: UserError | None) -> str:
    """What stands in the way and what to do about it; empty without an error."""
    return sentence(error_text(error)) if error else ""


@dataclass(frozen=True)
class JudgedPart:
    """Where a tab that judges the run in use says what is missing, and shows what it found."""

    notice: gr.HTML
    """What to do first, empty when there is something to show."""
    results: gr.Column
    """Everything that was found; hidden until there is something."""

    @property
    def outputs(self) -> list[Any]:
        """Both."""
        return [self.notice, self.results]

    def missing(self, error: UserError) -> Changes:
        """Nothing to show, and why."""
        return {self.notice: draw_notice(error), self.results: gr.Column(elem_classes=AWAY)}

    def found(self, changes: Changes) -> Changes:
        """What was found, in sight."""
        return {self.notice: "", self.results: gr.Column(elem_classes=seen_if(True)), **changes}

    def show(self, find: Callable[[], Changes]) -> Changes:
        """What is found, or in the notice what a person did wrong."""
        try:
            return self.found(find())
        except UserError as error:
            return self.missing(error)


class RunTab(Part, ABC):
    """A tab that shows something of the run in use, and takes it down when another is used."""

    def __init__(self, studio: Studio) -> None:
        self.studio, run = studio, studio.runs.current()
        self.shown = gr.State(run.id if run else "")
        """Id of the run that the tab shows."""

    def refresh(self, shown: str) -> Changes:
        """What changes after a run was made or chosen; nothing where the page shows it already."""
        run = self.studio.runs.current()
        if run is not None and run.id == shown:
            return {}
        return {self.shown: run.id if run else "", **self.take_down(run)}

    @abstractmethod
    def take_down(self, run: Run | None) -> Changes:
        """The tab before it shows anything of a run."""


def build_judged(name: str, error: UserError | None, **notice: Any) -> JudgedPart:
    """Lay out both; the results are filled by `with judged.results:`.

    Args:
        name: the tab's; both ids begin with it.
        error: what stands in the way at first.
        **notice: more properties of the notice.
    """
    return JudgedPart(
        gr.HTML(draw_notice(error), elem_id=f"{name}-notice", **notice),
        gr.Column(elem_classes=AWAY, elem_id=f"{name}-results"),
    )


def layer_list(run: Run | None) -> dict[str, Any]:
    """Choices and value of a list: the layers the run has vectors of, the best one chosen."""
    if run is None:
        return {"choices": [], "value": None}
    return {
        "choices": list(run.layers),
        "value": run.best_layer,
        "info": f"best layer of this run: {run.best_layer}",
    }


def save_button(
    button: gr.Button, text: Callable[..., Any], inputs: set[Any], name: str, kind: str
) -> None:
    """A press on a button makes the browser save a text as a file.

    Args:
        button: what is pressed.
        text: a bound handler that makes the text of the inputs.
        inputs: what it takes.
        name: the file's name.
        kind: its media type, as `assets.saving` takes it.
    """
    kept = gr.Textbox(visible=False)
    made = button.click(text, inputs, kept, concurrency_limit=None, **PRIVATE)
    made.success(None, kept, js=saving(name, kind), **PRIVATE)


def drawer_head(title: str, drawer: str, about: str = "") -> gr.HTML:
    """Title and Close button of a drawer.

    Args:
        title: plain text.
        drawer: the id of its element.
        about: one line below.
    """
    below = f"<p class='dim'>{escape(about)}</p>" if about else ""
    return gr.HTML(
        f"<header><h2>{escape(title)}</h2><button type='button' class='btn quiet' "
        f"data-drawer='{drawer}'>Close</button></header>{below}",
        padding=False,
    )
