"""Coloured text as HTML: the snippets a concept is highest on."""

from collections.abc import Sequence
from html import escape

import numpy as np

from readout_ui.inference.top_tokens import Snippet, Snippets
from readout_ui.plots.colours import STRIP_STRENGTH, ColourScale, fit_scale
from readout_ui.plots.token_grid import UNITS


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


def _ramp(scale: ColourScale) -> str:
    """The colours from the lowest score to the highest."""
    ends = np.linspace(scale.low, scale.high, 9)
    stops = ", ".join(scale.css(float(end), STRIP_STRENGTH) for end in ends)
    return f'<i class="ramp" style="background:linear-gradient(90deg, {stops})"></i>'


FEW = 3
"""Snippets of each concept while all concepts are shown."""
MOST_CONCEPTS = 40
"""Concepts on one page; more are found by their name."""
FAINT = 0.06
"""Share of full colour below which a piece is left plain, which keeps the page small."""


def draw_snippets(found: Snippets, concept: str = "", wanted: str = "") -> str:
    """The snippets of one concept, or the first of each.

    Args:
        found: what was found.
        concept: show all of this one; empty for a few of every concept.
        wanted: only snippets whose text holds this, whatever the case.
    """
    scale = _scale(found)
    names = [concept] if concept else list(found.by_concept)
    sections: list[str] = []
    n_matching = 0
    for name in names:
        every = found.by_concept[name]
        kept = [each for each in every if wanted.casefold() in each.text.casefold()]
        n_matching += bool(kept)
        if (kept or not wanted) and len(sections) < MOST_CONCEPTS:
            sections.append(
                _section(found, name, kept if concept else kept[:FEW], len(kept), scale)
            )
    if not sections:
        return f"<p class='empty'>No snippet holds “{escape_text(wanted)}”.</p>"
    more = n_matching - len(sections)
    note = f"<p class='snip-more'>{more} more concepts: choose one by name.</p>" if more > 0 else ""
    return f"<div class='snips'>{''.join(sections)}</div>{note}{_snippet_legend(found, scale)}"


def draw_found(found: Snippets) -> str:
    """What was read and what the threshold means, in a few sentences."""
    settings = found.settings
    share = "all of" if found.share >= 1 else f"{found.share:.0%} of"
    over = f"averaged over {settings.width} tokens" if settings.width > 1 else "of single tokens"
    sentences = [
        f"<b>{found.n_snippets:,} snippets</b> from {share} {escape_text(found.file)}: "
        f"{found.n_texts:,} {_noun(found.n_texts, 'text')}, {found.n_tokens:,} tokens read at "
        f"layer {settings.layer}.",
        f"A snippet's peak is at or above the {settings.quantile * 100:g}th percentile of its "
        f"concept's scores ({over}, every token counted, exact to {found.exactness:.2g}); one per "
        "stretch of text, repeats once.",
    ]
    if found.n_bad:
        first = found.bad[0]
        sentences.append(
            f"<span class='snip-bad'>{found.n_bad:,} {_noun(found.n_bad, 'line')} left out, the "
            f"first: line {first.line} {escape_text(first.reason)}.</span>"
        )
    return f"<p class='snip-about'>{' '.join(sentences)}</p>"


def _noun(n: int, noun: str) -> str:
    return noun if n == 1 else f"{noun}s"


def _scale(found: Snippets) -> ColourScale:
    scores = [s for some in found.by_concept.values() for each in some for s in each.scores]
    return fit_scale(np.array(scores, np.float32), found.settings.kind)


def _section(
    found: Snippets, concept: str, shown: Sequence[Snippet], n_matching: int, scale: ColourScale
) -> str:
    threshold = _signed(found.thresholds[concept], found.settings.kind)
    count = f"{len(shown)} of {n_matching}" if len(shown) < n_matching else f"{n_matching}"
    strongest = max((each.strength for each in found.by_concept[concept]), default=1.0)
    rows = "".join(_row(each, found.settings.kind, strongest, scale) for each in shown)
    rows = rows or "<li class='snip-none'>Nothing lies above it.</li>"
    return (
        f"<section class='snip-concept'><h3>{escape_text(concept)} <small>{count} above "
        f"{found.settings.kind} {threshold}</small></h3><ol>{rows}</ol></section>"
    )


def _row(snippet: Snippet, kind: str, strongest: float, scale: ColourScale) -> str:
    width = max(0.0, min(1.0, snippet.strength / strongest)) * 100 if strongest > 0 else 0.0
    before = _pieces(snippet, 0, snippet.start, kind, scale)
    inside = _pieces(snippet, snippet.start, snippet.stop, kind, scale)
    after = _pieces(snippet, snippet.stop, len(snippet.pieces), kind, scale)
    begin, end = ("… " if snippet.cut[0] else ""), (" …" if snippet.cut[1] else "")
    return (
        f"<li><div class='snip-strength'><b>{_signed(snippet.strength, kind)}</b>"
        f"<i style='width:{width:.0f}%'></i></div>"
        f"<p>{begin}{before}<mark>{inside}</mark>{after}{end}</p>"
        f"<span class='snip-line'>line {snippet.line:,}</span></li>"
    )


def _pieces(snippet: Snippet, start: int, stop: int, kind: str, scale: ColourScale) -> str:
    parts = []
    for piece, score in zip(snippet.pieces[start:stop], snippet.scores[start:stop], strict=True):
        text = escape_text(piece.replace("\n", " ⏎ "))
        if abs(score - scale.middle) < FAINT * scale.reach:
            parts.append(text)
            continue
        colour = scale.css(score, STRIP_STRENGTH)
        parts.append(
            f'<span style="background:{colour}" title="{kind} {_signed(score, kind)}">{text}</span>'
        )
    return "".join(parts)


def _signed(score: float, kind: str) -> str:
    return f"{score:+z.{3 if kind == 'cosine' else 2}f}".replace("-", "−")


def _snippet_legend(found: Snippets, scale: ColourScale) -> str:
    return (
        f"<div class='strip-legend'>−{scale.reach:.2g}{_ramp(scale)}"
        f"+{scale.reach:.2g} · {UNITS[found.settings.kind]}, each token's own</div>"
    )
