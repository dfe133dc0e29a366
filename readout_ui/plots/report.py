"""One HTML page that holds figures, tables and sentences, and works without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --faint: #57606a; --line: #d0d7de; --page: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #9da7b3; --line: #3d444d; --page: #0d1117 }
}
body { margin: 0 auto; max-width: 1100px; padding: 1.5rem 1rem 4rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 ui-sans-serif, system-ui, sans-serif }
h1 { font-size: 1.6rem } h2 { margin-top: 2.5rem; border-top: 1px solid var(--line);
  padding-top: 1rem; font-size: 1.25rem }
p { max-width: 80ch }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem }
th, td { padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums }
th { color: var(--faint); font-weight: 600; font-size: .8rem; min-width: 4.5rem }
td { white-space: nowrap } td.words { white-space: normal; min-width: 17rem }
.scroll { margin: .5rem 0 1.5rem } .scroll table { margin: 0 }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem } nav a { color: inherit }
.js-plotly-plot text { fill: var(--ink) !important }
.js-plotly-plot .hoverlayer text { fill: #fff !important }
"""

LONG = 40
"""Characters from which a cell is running text, which wraps."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part: TypeAlias = str | go.Figure | Table
"""A sentence (plain text), a figure or a table."""


@dataclass(frozen=True)
class Section:
    """One heading and what stands below it."""

    title: str
    parts: tuple[Part, ...]


def draw_report(title: str, about: Sequence[str], sections: Sequence[Section]) -> str:
    """The page. plotly.js is in it once, and nothing is fetched from anywhere.

    Args:
        title: heading of the page.
        about: sentences below it, plain text.
        sections: in the order of the page.
    """
    links = "".join(
        f"<a href='#part-{i}'>{escape(section.title)}</a>" for i, section in enumerate(sections)
    )
    body = "".join(_section(i, section) for i, section in enumerate(sections))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body><h1>{escape(title)}</h1>"
        f"{''.join(_paragraph(line) for line in about)}<nav>{links}</nav>{body}</body></html>\n"
    )


def _section(index: int, section: Section) -> str:
    parts = "".join(_part(f"figure-{index}-{i}", part) for i, part in enumerate(section.parts))
    return f"<section id='part-{index}'><h2>{escape(section.title)}</h2>{parts}</section>"


def _part(name: str, part: Part) -> str:
    if isinstance(part, str):
        return _paragraph(part)
    if isinstance(part, Table):
        return _table(part)
    # A fixed id keeps the same figures the same bytes.
    drawn = part.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        config={"displaylogo": False, "displayModeBar": False, "responsive": True},
    )
    return f"<div class='scroll'>{drawn}</div>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return f"<div class='scroll'><table><tr>{head}</tr>{rows}</table></div>"


def _cell(text: str) -> str:
    words = " class='words'" if len(text) > LONG else ""
    return f"<td{words}>{escape(text)}</td>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"
