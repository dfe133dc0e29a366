"""Small pieces of HTML that several tabs draw: tables, notes, sentences, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isnan

from readout_ui.errors import UserError

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
) -> str:
    """Rows under their titles, in a box that scrolls sideways where the page is narrow.

    Args:
        titles: plain text.
        rows: cells as HTML, one for each title.
        kind: classes of the table; with "cards" a phone shows each row's cells below each other.
        caption: HTML above the titles.
        row_kinds: a class for each row, none where it is empty.
        column_kinds: a class for the cells below some titles.
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
    return (
        f"<div class='scroll'><table class='{kind}'>{above}<thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


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


def count(number: int, noun: str) -> str:
    """ "1 text", "2 texts"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def decimals(value: float | None, digits: int = 1) -> str:
    """A number with so many decimals, a dash where there is none."""
    return NOTHING if value is None or isnan(value) else f"{value:.{digits}f}"


def cut(text: str, length: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
