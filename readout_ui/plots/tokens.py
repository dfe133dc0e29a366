"""The prompt itself as HTML: tokens coloured by one concept, roles marked.

Text of other people inside HTML that a page's template engine looks through.
"""

from html import escape
from itertools import groupby

import numpy as np

from readout_ui.inference.reading import Reading
from readout_ui.plots.colours import ROLE_NAMES, STRIP_STRENGTH, ColourScale
from readout_ui.plots.token_grid import UNITS

NEWLINE = "⏎"


def draw_strip(readout: Reading, concept: str, layer: int, kind: str, scale: ColourScale) -> str:
    """Tokens in reading order, a group per speaker.

    Template tokens and the first one carry no colour; hovering shows all three scores of any.
    """
    column = readout.select(layers=[layer], concepts=[concept])
    runs = groupby(range(len(column.tokens)), key=lambda i: column.roles[i])
    groups = "".join(_group(column, role, list(rows), kind, scale) for role, rows in runs)
    label = f"The prompt coloured by {concept} at layer {layer}"
    return (
        f'<div class="token-strip" role="group" aria-label="{escape(label)}">{groups}</div>'
        f"{_legend(concept, layer, kind, scale)}"
    )


def _group(column: Reading, role: str, rows: list[int], kind: str, scale: ColourScale) -> str:
    tokens = "".join(_token(column, row, kind, scale) for row in rows)
    name = ROLE_NAMES[role]
    return f'<span class="turn turn-{role}"><b class="role">{name}</b>{tokens}</span>'


def _token(column: Reading, row: int, kind: str, scale: ColourScale) -> str:
    token = column.tokens[row]
    title = "\n".join([token, *(f"{name} {column.scores(name)[row, 0, 0]:.3f}" for name in UNITS)])
    style = ""
    if column.scored[row]:
        colour = scale.css(float(column.scores(kind)[row, 0, 0]), STRIP_STRENGTH)
        style = f' style="background:{colour}"'
    space = "<wbr>" if token.startswith("·") else ""
    line = "<br>" * token.count(NEWLINE)
    return (
        f'{space}<span class="token"{style} title="{_escape(title)}">{_escape(token)}</span>{line}'
    )


def _legend(concept: str, layer: int, kind: str, scale: ColourScale) -> str:
    ends = np.linspace(scale.low, scale.high, 9)
    stops = ", ".join(scale.css(float(end), STRIP_STRENGTH) for end in ends)
    return (
        '<div class="strip-legend">'
        f"<b>{_escape(concept)}</b> · layer {layer} · <span>{_number(scale.low)}</span>"
        f'<i class="ramp" style="background:linear-gradient(90deg, {stops})"></i>'
        f"<span>{_number(scale.high)}</span> <span>{UNITS[kind]}</span></div>"
    )


def _number(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def _escape(text: str) -> str:
    """HTML text that no template engine of the page takes for its own."""
    return (
        escape(text)
        .replace("{", "&#123;")
        .replace("}", "&#125;")
        .replace("$", "&#36;")
        .replace("`", "&#96;")
        .replace("\\", "&#92;")
        .replace("\n", "&#10;")
    )


def escape_text(text: str) -> str:
    """HTML text that no template engine of the page takes for its own."""
    return (
        escape(text)
        .replace("{", "&#123;")
        .replace("}", "&#125;")
        .replace("$", "&#36;")
        .replace("`", "&#96;")
        .replace("\\", "&#92;")
        .replace("\n", "&#10;")
    )
