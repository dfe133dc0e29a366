"""What the Steering tab is made of below the setup: prompt, buttons, results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
from gradio.components.plot import PlotData

from readout_ui.app.events import HIDDEN, QUIET, Changes, Part, Values, bound, components
from readout_ui.app.widgets import KINDS, build_plot, layer_slider, plot_data, table
from readout_ui.inference.reading import Reading
from readout_ui.plots.curves import SweepCurves, draw_sweep_curves
from readout_ui.plots.token_grid import (
    Grid,
    concept_grid,
    draw_heatmap,
    draw_row_labels,
    draw_token_labels,
    share_scale,
)
from readout_ui.plots.tokens import draw_strip
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.generation import Generated
    from readout_ui.inference.sweep import Pair, Sweep

MOST_ROWS = 12
"""Concepts shown where none are chosen: the steered ones and those that moved most."""


@dataclass(frozen=True)
class PairLook:
    """How a pair is shown."""

    layer: float
    concept: str | None
    kind: str
    read: str
    """"during": the steered answer as the steered model had it; "alone": its words."""
    prompt: bool
    """Whether the prompt's tokens are shown as well."""
    chosen: list[str]
    """Concepts of the heatmaps; empty for those that moved most."""


class DrawnSide(NamedTuple):
    """One answer and its readout."""

    text: str
    strip: str = ""
    rows: str = ""
    columns: str = ""
    plot: PlotData | None = None


class DrawnPair(NamedTuple):
    """Two answers side by side."""

    summary: str
    means: str
    plain: DrawnSide
    steered: DrawnSide


def draw_pair(pair: Pair, look: PairLook) -> DrawnPair:
    """Both answers with their readouts, in one scale of colours."""
    plain = pair.baseline.reading
    during = pair.steered.reading
    assert plain is not None
    assert during is not None
    steered = during if look.read == "during" else pair.alone
    layer = plain.nearest_layer(int(look.layer))
    ranked = [pair.alone.concepts[i] for i in pair.order(layer)]
    names = [name for name in ranked if name in look.chosen] or ranked[:MOST_ROWS]
    concept = look.concept if look.concept in plain.concepts else ranked[0]
    start = 0 if look.prompt else len(pair.baseline.prompt.token_ids)
    parts = [_part(one, start, layer) for one in (plain, steered)]
    grids = share_scale(
        [concept_grid(part.select(concepts=names), layer, look.kind) for part in parts]
    )
    sides = zip(parts, grids, (pair.baseline, pair.steered), strict=True)
    drawn = [_draw_side(part, grid, made, concept, layer, look.kind) for part, grid, made in sides]
    return DrawnPair(_summary(pair), _means(pair, ranked, layer), *drawn)


def draw_answer(text: str, about: str) -> str:
    """An answer as text."""
    shown = escape(text.strip()) or "<i>nothing yet</i>"
    return f"<div class='steer-answer'>{shown}</div><p class='steer-about'>{escape(about)}</p>"


def _draw_side(
    part: Reading, grid: Grid, made: Generated, concept: str, layer: int, kind: str
) -> DrawnSide:
    about = f"{len(made.token_ids)} tokens, {made.ending}, {made.seconds:.1f} s. {made.note}"
    text = draw_answer(made.text, about)
    if not part.tokens:
        return DrawnSide(text)
    return DrawnSide(
        text,
        draw_strip(part, concept, layer, kind, grid.scale),
        draw_row_labels(grid, clickable=False),
        draw_token_labels(grid),
        plot_data(draw_heatmap(grid), responsive=False),
    )


def _part(readout: Reading, start: int, layer: int) -> Reading:
    return readout.select(tokens=range(start, len(readout.tokens)), layers=[layer])


def _summary(pair: Pair) -> str:
    return (
        f"<p class='steer-setup'>{escape(pair.setup.describe())}</p>"
        f"<p class='steer-numbers'>Perplexity of the plain answer: "
        f"<b>{number(pair.plain_perplexity)}</b> plain, "
        f"<b>{number(pair.steered_perplexity)}</b> while steered.</p>"
    )


def _means(pair: Pair, ranked: Sequence[str], layer: int) -> str:
    steered = {one.concept for one in pair.setup.steers}
    index, shown, means = pair.alone.concepts.index, ranked[:8], pair.means(layer)
    caption = (
        f"Mean z of the answer at layer {layer}. “Words alone” is the steered answer read without "
        "steering."
    )
    return table(
        ("", "plain", "steered", "words alone"),
        [(escape(name), *(_signed(mean[index(name)]) for mean in means)) for name in shown],
        kind="judged steer-table",
        caption=caption,
        row_kinds=["steered" if name in steered else "" for name in shown],
    )


def draw_sweep(swept: Sweep, layer: int, read: str) -> tuple[PlotData, str]:
    """Curves and table of a sweep."""
    return plot_data(draw_sweep_curves(_curves(swept, layer, read))), _table(swept, layer, read)


def _curves(swept: Sweep, layer: int, read: str) -> SweepCurves:
    from readout_ui.inference.sweep import PERPLEXITY_LIMIT

    means = swept.means(read, layer)  # (n_points, n_concepts)
    steered = dict.fromkeys(one.concept for one in swept.setup.steers)
    by_name = {name: means[:, i] for i, name in enumerate(swept.concepts)}
    plain, usable = swept.plain_perplexity, swept.usable
    return SweepCurves(
        factors=swept.factors,
        steered={name: by_name[name] for name in steered},
        others={name: values for name, values in by_name.items() if name not in steered},
        perplexity=[point.perplexity for point in swept.points],
        limit=None if plain is None else PERPLEXITY_LIMIT * plain,
        usable=(usable.low, usable.high) if usable else None,
    )


def _table(swept: Sweep, layer: int, read: str) -> str:
    from readout_ui.inference.sweep import USABLE_RULE

    usable = swept.usable
    names = list(dict.fromkeys(one.concept for one in swept.setup.steers))
    means = swept.means(read, layer)[:, [swept.concepts.index(name) for name in names]]
    fine = [usable is not None and point.factor in usable for point in swept.points]
    rows = [
        (
            f"<b>{_factor(point.factor)}</b>",
            *map(_signed, scores),
            number(point.perplexity),
            "yes" if good else "no",
            f"{escape(point.text.strip())} <i>{point.n_tokens} tokens, {point.ending}</i>",
        )
        for point, scores, good in zip(swept.points, means, fine, strict=True)
    ]
    titles = ("factor", *names, "perplexity", "usable", "answer")
    kinds = ["usable" if good else "broken" for good in fine]
    drawn = table(
        titles, rows, kind="judged steer-sweep", row_kinds=kinds, column_kinds={"answer": "answer"}
    )
    reach = usable.describe() if usable else "not measured, because the plain answer is empty"
    return (
        f"<p class='steer-setup'>{escape(swept.setup.describe())}</p>"
        f"<p class='steer-numbers'>Usable factors: <b>{reach}</b>. {escape(USABLE_RULE)}</p>"
        f"{drawn}"
    )


def number(value: float | None) -> str:
    """A perplexity for people."""
    if value is None or math.isnan(value):
        return "–"
    if value >= 10_000:
        return "over 10,000"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _factor(value: float) -> str:
    return f"{value:+g}".replace("-", "−") if value else "0"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "–"


READS = {"While steered": "during", "Its words alone": "alone"}


class Side(Part):
    """The components of one of the two answers; the attributes are the fields of `DrawnSide`."""

    def __init__(self, name: str) -> None:
        with gr.Column(min_width=320, elem_classes="steer-side"):
            self.text = gr.HTML(elem_id=f"steer-{name}-text", padding=False)
            self.strip = gr.HTML(elem_id=f"steer-{name}-strip", padding=False)
            with gr.Column(elem_classes="steer-scroll"):
                self.rows = gr.HTML(elem_classes="steer-rows")
                self.columns = gr.HTML(elem_classes="steer-columns")
                self.plot = gr.Plot(
                    show_label=False,
                    container=False,
                    elem_id=f"steer-{name}-heatmap",
                    elem_classes="steer-heatmap",
                )

    def fill(self, drawn: DrawnSide) -> Changes:
        """One answer in its place."""
        return {getattr(self, name): value for name, value in drawn._asdict().items()}


class PairInputs(Part):
    """How a pair is shown; the attributes are the fields of `PairLook`."""

    def __init__(self, run: Run | None) -> None:
        with gr.Accordion("Look", open=False, elem_id="steer-look"):
            with gr.Row():
                self.layer = gr.Slider(**layer_slider(run), step=1, label="Layer", min_width=200)
                self.concept = gr.Dropdown([], label="Text coloured by", min_width=180)
                self.chosen = gr.Dropdown(
                    [],
                    label="Concepts (empty: moved most)",
                    multiselect=True,
                    value=[],
                    min_width=220,
                )
            with gr.Row():
                self.kind = gr.Radio(list(KINDS.items()), value="z", label="Score")
                self.read = gr.Radio(
                    list(READS.items()),
                    value="during",
                    label="Steered answer read",
                    elem_id="steer-read",
                )
                self.prompt = gr.Checkbox(
                    False, label="Show the prompt's tokens", elem_id="steer-whole"
                )

    def look(self, values: Values) -> PairLook:
        """What is chosen."""
        return PairLook(**self.values_of(values))


class Results(Part):
    """Everything below the buttons; hidden until there is something."""

    def __init__(self, run: Run | None) -> None:
        self.progress = gr.HTML(elem_id="steer-progress", padding=False)
        self.found, self.swept = gr.State(None), gr.State(None)  # the pair and sweep on the page
        with gr.Column(visible=HIDDEN, elem_id="steer-pair") as self.pair:
            self.summary = gr.HTML(elem_id="steer-summary", padding=False)
            self.look = PairInputs(run)
            with gr.Row(elem_id="steer-sides"):
                self.plain, self.steered = Side("plain"), Side("steered")
            self.means = gr.HTML(elem_id="steer-means", padding=False)
        with gr.Column(visible=HIDDEN, elem_id="steer-swept") as self.sweep:
            with gr.Row():
                self.sweep_layer = gr.Slider(
                    **layer_slider(run), step=1, label="Scores at layer", min_width=200
                )
                self.sweep_read = gr.Radio(
                    list(READS.items()), value="during", label="Answers read"
                )
            self.curves = build_plot("steer-curves")
            self.table = gr.HTML(elem_id="steer-table", padding=False)
        self.pair_inputs: list[Any] = components(self.look)
        self.sweep_inputs: list[Any] = [self.sweep_layer, self.sweep_read]
        self._wire()

    def _wire(self) -> None:
        """Another look draws anew from what was found; the model is not asked."""
        for looks, redraw, found in (
            (self.pair_inputs, self.redraw_pair, self.found),
            (self.sweep_inputs, self.redraw_sweep, self.swept),
        ):
            gr.on(
                [each.input for each in looks],
                bound(redraw),
                {found, *looks},
                components(self),
                trigger_mode="always_last",
                **QUIET,
            )

    def redraw_pair(self, values: Values) -> Changes:
        """The pair that was found last, as it is to be shown now."""
        pair: Pair | None = values[self.found]
        return self._drawn(pair, self.look.look(values)) if pair else {}

    def _drawn(self, pair: Pair, look: PairLook) -> Changes:
        drawn = draw_pair(pair, look)
        words = {self.summary: drawn.summary, self.means: drawn.means}
        return {**words, **self.plain.fill(drawn.plain), **self.steered.fill(drawn.steered)}

    def show_pair(self, values: Values, pair: Pair) -> Changes:
        """Both answers, with the choices that fit them."""
        look, names = self.look.look(values), list(pair.alone.concepts)
        settled = replace(
            look,
            layer=pair.alone.nearest_layer(int(look.layer)),
            concept=pair.setup.steers[0].concept,
            chosen=[name for name in look.chosen if name in names],
        )
        return {
            self.pair: gr.Column(visible=True),
            self.found: pair,
            self.look.layer: gr.Slider(value=settled.layer),
            self.look.concept: gr.Dropdown(choices=names, value=settled.concept),
            self.look.chosen: gr.Dropdown(choices=names, value=settled.chosen),
            **self._drawn(pair, settled),
        }

    def redraw_sweep(self, values: Values) -> Changes:
        """The sweep that was found last, as it is to be shown now."""
        return self.show_sweep(values, values[self.swept]) if values[self.swept] else {}

    def show_sweep(self, values: Values, swept: Sweep) -> Changes:
        """A sweep, at the layer nearest to the chosen one."""
        wanted = int(values[self.sweep_layer])
        layer = min(swept.layers, key=lambda other: abs(other - wanted))
        curves, table = draw_sweep(swept, layer, values[self.sweep_read])
        return {
            self.sweep: gr.Column(visible=True),
            self.swept: swept,
            self.sweep_layer: gr.Slider(value=layer),
            self.curves: curves,
            self.table: table,
        }
