"""Sentences and tables of the Layers tab as HTML: layers and their cost, and what moved."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from readout_ui.terminal import size_text

if TYPE_CHECKING:
    from readout_ui.layer_sets import LayerSet, LayerSets
    from readout_ui.layer_sweep import LayerSweep
    from readout_ui.run_diff import RunDiff, TextChange
    from readout_ui.score_changes import ScoreChanges

SHOWN_TEXTS = 50
"""Changed texts that are listed; the rest is counted."""


def draw_about(sets: LayerSets, sweep: LayerSweep, concept: str | None = None) -> str:
    """The best cell, what was not computed, and the table of sets with their cost."""
    best = sweep.best(concept)
    if best is None:
        return "<p class='warning'>Write two descriptions of a concept to compare layers.</p>"
    column, layer = best
    auroc = sweep.scores(concept)[sweep.columns.index(column), layer]
    text = (
        f"<p>Highest: <b>layer {layer}</b> with {escape(column.label)}, AUROC {auroc:.3f}. "
        f"<code>auto</code> takes <b>layer {sets.recommended}</b>: among the layers within one "
        "standard error of the best, the one nearest to 0.6 of the depth.</p>"
    )
    if sweep.n_missing:
        text += (
            f"<p>{sweep.n_missing} empty cells were not computed: PCA and logistic regression fit "
            "anew for every fold, seconds per layer.</p>"
        )
    return text + _sets_table(sets)


def _sets_table(sets: LayerSets) -> str:
    rows = "".join(
        f"<tr><td>{', '.join(map(str, one.layers))}</td><td>{one.auroc:.3f}</td>"
        f"<td>{one.elsewhere:.3f}</td><td>{_gain(one)}</td>"
        f"<td>{size_text(one.n_bytes)}</td><td>{one.multiply_adds:,}</td></tr>"
        for one in sets.sets
    )
    return (
        "<div class='scroll'><table class='judged'><thead><tr><th>Best layers</th>"
        "<th>AUROC</th><th>Chosen on half, scored on the other</th><th>Over one layer</th>"
        f"<th>Export</th><th>Multiply-adds per token</th></tr></thead>{rows}</table></div>"
        "<p class='about'>Mean of standardized scores, mean-difference directions; layers are "
        "added one by one. The layers were chosen on the texts of the AUROC column; the column "
        "beside it is free of that.</p>"
    )


def _gain(one: LayerSet) -> str:
    """What more layers give over the best single one, which gains nothing over itself."""
    return "–" if len(one.layers) == 1 else f"{one.gain:+.3f} ± {one.gain_error:.3f}"


def draw_diff(diff: RunDiff, changes: ScoreChanges | None, reason: str) -> str:
    """What changed in words: settings, concepts, scores and texts."""
    lines = [f"Settings: {escape('; '.join(diff.settings))}." if diff.settings else ""]
    for noun, names in (("New", diff.concepts_added), ("Gone", diff.concepts_removed)):
        lines.append(f"{noun} concepts: {escape(', '.join(names))}." if names else "")
    lines.append(escape(diff.why_no_moves))
    lines.append(draw_verdict(changes) if changes else escape(reason))
    body = "".join(f"<p>{line}</p>" for line in lines if line)
    return body + _texts_table(diff.texts)


def draw_verdict(changes: ScoreChanges) -> str:
    """Which scores changed beyond noise, in one or two sentences."""
    macro = changes.macro
    noise = "beyond noise" if macro.beyond_noise else "within noise"
    found = [c for c in changes.concepts if c.beyond_noise]
    named = ", ".join(f"{escape(c.concept)} {c.change:+.3f}" for c in found)
    return (
        f"On the {changes.n_texts} texts both runs have, held out, at layer {changes.layer}: macro "
        f"AUROC {macro.before:.3f} → {macro.after:.3f} ({macro.change:+.3f}, 95 % from "
        f"{macro.low:+.3f} to {macro.high:+.3f}, {noise}). "
        + (f"Beyond noise: <b>{named}</b>." if found else "No concept changed beyond noise.")
    )


def _texts_table(texts: Sequence[TextChange]) -> str:
    if not texts:
        return "<p>The texts are the same.</p>"
    rows = "".join(
        f"<tr><td>{escape(c.concept)}</td><td>{c.kind}</td>"
        f"<td>{escape(c.before)}</td><td>{escape(c.after)}</td></tr>"
        for c in texts[:SHOWN_TEXTS]
    )
    rest = len(texts) - SHOWN_TEXTS
    more = f"<p>and {rest} more</p>" if rest > 0 else ""
    return (
        f"<details><summary>{len(texts)} of the texts changed</summary><div class='scroll'>"
        "<table class='judged'><tr><th>Concept</th><th>Change</th><th>Before</th><th>After</th>"
        f"</tr>{rows}</table></div>{more}</details>"
    )
