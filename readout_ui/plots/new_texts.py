"""Figures of vectors on new texts: AUROCs with intervals and baselines, scores, doses."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from readout_ui.evaluation.judgements import Generalization
from readout_ui.evaluation.resampling import Estimate
from readout_ui.plots.colours import ABOVE, BELOW, FAINT, GREY, fixed_layout, intervals
from readout_ui.vectors.auroc import Floats

if TYPE_CHECKING:
    from readout_ui.evaluation.dose import DoseCurves


def lay_out(figure: go.Figure, height: int) -> None:
    """Transparent ground, faint grid, legend on top; neither zoom nor drag.

    Args:
        figure: is changed.
        height: in pixels.
    """
    figure.update_layout(
        **fixed_layout(
            height=height,
            margin={"l": 12, "r": 16, "t": 44, "b": 48},
            font={"color": GREY, "size": 12},
            legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        )
    )
    figure.update_xaxes(gridcolor=FAINT, zeroline=False, fixedrange=True)
    figure.update_yaxes(gridcolor=FAINT, zeroline=False, fixedrange=True, automargin=True)


ALPHA = 0.05
"""Corrected p from which a concept is drawn as not told apart from chance."""
MOST_VIOLINS = 12
MOST_POINTS = 200
"""Quantiles that stand for the scores of a violin; more are not visible."""
ROW_HEIGHT = 22
MACRO = "mean of all"
_GREY = "rgba(128,128,128,0.35)"
_VECTORS = f"rgb{ABOVE}"
_BASELINES = f"rgb{BELOW}"


def draw_forest(found: Generalization) -> go.Figure:
    """AUROC of every concept, best first, below the mean of all; baselines beside each.

    Filled dots differ from chance (corrected p below 0.05), hollow ones do not. Grey bars span 95 %
    of random directions, diamonds are the bag of words, squares a sentence embedding.
    """
    judged = sorted(found.per_concept, key=lambda each: -each.auroc.value)
    names = [MACRO, *(each.concept for each in judged)]
    macro = found.macro
    vectors = [macro.auroc, *(each.auroc for each in judged)]
    random = [macro.random, *(each.random for each in judged)]
    p = [macro.p, *(each.p for each in judged)]
    rows = list(range(len(names)))
    traces = [_random_bars(random, rows)]
    if macro.words is not None:
        words = [macro.words, *(each.words for each in judged)]
        traces.append(_baseline_marks("bag of words", "diamond-open", words, rows))
    if macro.embedding is not None:
        embedding = [macro.embedding, *(each.embedding for each in judged)]
        traces.append(_baseline_marks("sentence embedding", "square-open", embedding, rows))
    traces.append(_vector_dots(vectors, rows, names, p))
    figure = go.Figure(traces)
    figure.add_vline(x=0.5, line_dash="dot", line_color="#888")
    lay_out(figure, height=110 + ROW_HEIGHT * len(names))
    lowest = min(each.low for each in vectors)
    figure.update_xaxes(title="AUROC, one against the rest", range=[min(0.3, lowest - 0.02), 1.02])
    figure.update_yaxes(
        tickvals=rows, ticktext=[escape(name) for name in names], range=[len(names) - 0.4, -0.6]
    )
    return figure


def _random_bars(random: Sequence[Estimate], rows: Sequence[int]) -> go.Bar:
    return go.Bar(
        x=[each.high - each.low for each in random],
        base=[each.low for each in random],
        y=rows,
        orientation="h",
        width=0.7,
        marker={"color": _GREY, "line": {"width": 0}},
        name="random directions (95 %)",
        hoverinfo="skip",
    )


def _baseline_marks(
    name: str, symbol: str, known: Sequence[Estimate | None], rows: Sequence[int]
) -> go.Scatter:
    shown = [(each, row) for each, row in zip(known, rows, strict=True) if each is not None]
    return go.Scatter(
        x=[each.value for each, _ in shown],
        y=[row for _, row in shown],
        mode="markers",
        marker={"symbol": symbol, "size": 9, "color": _BASELINES, "line": {"width": 2}},
        name=name,
        customdata=[[each.low, each.high] for each, _ in shown],
        hovertemplate=f"{name} %{{x:.3f}} [%{{customdata[0]:.3f}}, %{{customdata[1]:.3f}}]"
        "<extra></extra>",
    )


def _vector_dots(
    vectors: Sequence[Estimate], rows: Sequence[int], names: Sequence[str], p: Sequence[float]
) -> go.Scatter:
    return go.Scatter(
        x=[each.value for each in vectors],
        y=rows,
        mode="markers",
        marker={
            "symbol": ["circle" if each < ALPHA else "circle-open" for each in p],
            "size": 10,
            "color": _VECTORS,
            "line": {"width": 2, "color": _VECTORS},
        },
        error_x=intervals(
            [each.value for each in vectors],
            [each.low for each in vectors],
            [each.high for each in vectors],
            color=_VECTORS,
            thickness=2,
        ),
        name="vectors (95 % interval)",
        customdata=[
            [escape(name), each.low, each.high, chance]
            for name, each, chance in zip(names, vectors, p, strict=True)
        ],
        hovertemplate="<b>%{customdata[0]}</b><br>AUROC %{x:.3f} [%{customdata[1]:.3f}, "
        "%{customdata[2]:.3f}]<br>corrected p %{customdata[3]:.3f}<extra></extra>",
    )


def draw_violins(found: Generalization, concepts: Sequence[str] = ()) -> go.Figure:
    """Scores of each concept's own texts, of the others and of neutral ones.

    Args:
        found: the judgement.
        concepts: which to draw, twelve at most; by default those with the lowest AUROC.
    """
    lowest = sorted(found.per_concept, key=lambda each: each.auroc.value)
    known = [name for name in concepts if name in found.concepts]
    shown = (known or [each.concept for each in lowest])[:MOST_VIOLINS]
    kinds = (
        ("own texts", _VECTORS),
        ("other texts", _BASELINES),
        ("neutral texts", "rgb(128,128,128)"),
    )
    figure = go.Figure(
        [
            _violin(_scores(found, concept, kind), row, kind, colour)
            for kind, colour in kinds
            for row, concept in enumerate(shown)
        ]
    )
    for row, concept in enumerate(shown):
        figure.add_shape(
            type="line",
            x0=found.of(concept).threshold,
            x1=found.of(concept).threshold,
            y0=row - 0.45,
            y1=row + 0.45,
            line={"color": "#888", "width": 1.5, "dash": "dot"},
        )
    lay_out(figure, height=110 + 72 * len(shown))
    figure.update_layout(violinmode="group", violingap=0.15, violingroupgap=0)
    figure.update_xaxes(title="cosine; dotted: threshold")
    figure.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=[escape(name) for name in shown],
        range=[len(shown) - 0.5, -0.5],
    )
    return figure


def _violin(scores: Floats, row: int, kind: str, colour: str) -> go.Violin:
    """One shape; each has a scale of its own, or a narrow one would flatten all others."""
    return go.Violin(
        x=_thin(scores),
        y=np.full(min(len(scores), MOST_POINTS), row),
        orientation="h",
        name=kind,
        legendgroup=kind,
        offsetgroup=kind,
        scalegroup=f"{kind} {row}",
        showlegend=row == 0,
        line={"color": colour, "width": 1.2},
        fillcolor=colour.replace("rgb(", "rgba(").replace(")", ",0.3)"),
        points=False,
        meanline={"visible": True},
        spanmode="hard",
        hoveron="violins",
        hoverinfo="name+x",
    )


def _scores(found: Generalization, concept: str, kind: str) -> Floats:
    column = found.concepts.index(concept)
    own = found.own[:, column]
    parts: dict[str, Floats] = {
        "own texts": found.scores[own, column],
        "other texts": found.scores[~own, column],
        "neutral texts": found.neutral_scores[:, column],
    }
    return parts[kind]


def _thin(scores: Floats) -> Floats:
    if len(scores) <= MOST_POINTS:
        return scores
    thinned: Floats = np.quantile(scores, np.linspace(0, 1, MOST_POINTS))
    return thinned


WIDE = 20
"""Ratio of the highest to the lowest dose from which the axis is logarithmic."""
_DASHES = ("solid", "dash", "dot", "dashdot")
# Okabe and Ito's colours, without black and yellow, which one of the two modes would swallow.
_LINES = ("#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7")


def draw_dose(curves: DoseCurves, concepts: Sequence[str] = ()) -> go.Figure:
    """Cosine over dose, one line per concept; by default the six that follow the dose best."""
    shown = [name for name in concepts if name in curves.concepts] or curves.steepest(6)
    figure = go.Figure([_dose_line(curves, name, place) for place, name in enumerate(shown)])
    lay_out(figure, height=380)
    figure.update_xaxes(
        title="{x}",
        tickvals=curves.doses.tolist(),
        ticktext=[escape(value) for value in curves.values],
    )
    if curves.doses[0] > 0 and curves.doses[-1] / curves.doses[0] >= WIDE:
        figure.update_xaxes(type="log")
    figure.update_yaxes(title="cosine")
    return figure


def _dose_line(curves: DoseCurves, concept: str, place: int) -> go.Scatter:
    column = curves.concepts.index(concept)
    doubt = "" if curves.p[column] < ALPHA else ", n.s."
    return go.Scatter(
        x=curves.doses,
        y=curves.scores[:, column],
        mode="lines+markers",
        line={"dash": _DASHES[place // 4 % 4], "width": 2, "color": _LINES[place % len(_LINES)]},
        name=f"{escape(concept)} (ρ {curves.rho[column]:+.2f}{doubt})",
        hovertemplate="%{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
    )
