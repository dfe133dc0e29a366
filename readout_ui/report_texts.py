"""Chapters of the report about texts: other people's, words and doses, and the descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.cli_evaluate import SHIPPED
from readout_ui.errors import UserError
from readout_ui.views.report import Section, Table

if TYPE_CHECKING:
    from readout_ui.blame import Blame
    from readout_ui.corpus import Corpus
    from readout_ui.text_scores import Scorer

MOST_ROWS = 20
"""Rows of the longer tables."""


def judge_generalization(scorer: Scorer, _corpus: Corpus, layer: int) -> Section:
    """The shipped test set beside its baselines."""
    from readout_ui.cli_evaluate import table_rows
    from readout_ui.generalization import judge_texts
    from readout_ui.label_mapping import mapping_of, suggest_mapping
    from readout_ui.labelled_texts import labels_of, read_shipped
    from readout_ui.views.generalization import draw_forest, draw_violins

    title, texts = "Generalization", read_shipped()
    mapping = mapping_of(suggest_mapping(labels_of(texts), scorer.concepts))
    try:
        found = judge_texts(scorer, texts, mapping, layer)
    except UserError as error:
        return Section(title, (f"Not judged on {SHIPPED}: {error}",))
    misses = tuple(
        (miss.text, ", ".join(miss.concepts), miss.rival, f"{miss.margin:.3f}")
        for miss in found.misses
    )
    return Section(
        title,
        (
            f"On {SHIPPED}, which was never trained on: {len(found.texts)} texts.",
            draw_forest(found),
            "words: a bag of words trained on the same descriptions. random: directions of no "
            "meaning. p: permuted labels, corrected over concepts. recall and false positives on "
            "neutral texts: at the threshold that finds four in five of a concept's own texts.",
            Table(*table_rows(found)),
            *(f"Top-{top.k}: {top.hits}, chance {top.chance:.3f}." for top in found.top),
            draw_violins(found),
            Table(("worst misses", "labelled", "taken for", "by"), misses),
            *found.notes,
        ),
    )


def judge_words(scorer: Scorer, _corpus: Corpus, layer: int) -> Section:
    """Scores without the concept's own word, and with the word in another sense."""
    from readout_ui.label_mapping import mapping_of, suggest_mapping
    from readout_ui.labelled_texts import labels_of, read_shipped
    from readout_ui.lexical import control_words

    texts = read_shipped()
    mapping = mapping_of(suggest_mapping(labels_of(texts), scorer.concepts))
    try:
        found = control_words(scorer, texts, mapping, layer)
    except UserError as error:
        return Section("Lexical control", (f"Not judged: {error}",))
    before, after = found.macro
    lines: list[str | Table] = [
        f"{found.n_named} texts hold their concept's own word. With it masked, macro AUROC goes "
        f"from {before:.3f} to {after:.3f}."
        if found.n_named
        else "No text holds its concept's own word: the scores above owe nothing to it."
    ]
    named = [each for each in found.masked if each.n_named]
    if named:
        header = ("concept", "texts with its word", "AUROC", "masked", "cosine moved")
        rows = tuple(
            (m.concept, str(m.n_named), f"{m.before:.3f}", f"{m.after:.3f}", f"{m.moved:+.3f}")
            for m in sorted(named, key=lambda each: each.after - each.before)
        )
        lines.append(Table(header, rows))
    other = found.other_sense
    if other is not None:
        lines.append(
            "On sentences that use the word in another sense, judged as if they meant the "
            f"concept: {other.macro.auroc} (0.5 says that the word alone moves nothing)."
        )
    return Section("Lexical control", tuple(lines))


def judge_doses(scorer: Scorer, _corpus: Corpus, layer: int) -> Section:
    """How every concept's score follows a number in an example text."""
    from readout_ui.dose import EXAMPLE_TEXT, EXAMPLE_VALUES, parse_values, read_dose
    from readout_ui.views.dose import draw_dose

    found = read_dose(scorer, EXAMPLE_TEXT, parse_values(EXAMPLE_VALUES), layer)
    strongest = sorted(range(len(found.concepts)), key=lambda c: -abs(found.rho[c]))[:MOST_ROWS]
    rows = tuple(
        (found.concepts[c], f"{found.rho[c]:+.2f}", f"{found.p[c]:.3f}") for c in strongest
    )
    return Section(
        "Dose",
        (
            f"An example: {EXAMPLE_TEXT}",
            draw_dose(found),
            Table(("concept", "Spearman rho", "p, corrected"), rows),
        ),
    )


def advise(_scorer: Scorer, corpus: Corpus, layer: int) -> Section:
    """What to change, shortcuts, and the descriptions that do most."""
    from readout_ui.advice import judge_descriptions

    found = judge_descriptions(corpus, layer)
    rows = tuple((one.title, one.evidence, one.concept) for one in found.advice)
    advice: Table | str = "Nothing stands out beyond chance."
    if rows:
        advice = Table(("what to do", "why", "concept"), rows)
    shortcuts = tuple(
        (one.concept, one.kind, one.sentence(), f"{one.p:.2g}") for one in found.shortcuts.found
    )
    told: Table | str = "No word, opening, length or mark tells a concept by itself."
    if shortcuts:
        told = Table(("concept", "shortcut", "evidence", "p"), shortcuts[:MOST_ROWS])
    return Section("Advice", (advice, told, *_most_influential(found.blames)))


def _most_influential(blames: Sequence[Blame]) -> tuple[str, Table]:
    order = sorted(blames, key=lambda b: (not b.outlier, not b.heavy, -np.nan_to_num(b.influence)))
    rows = tuple(
        (
            f"{one.concept} {one.index + 1}",
            one.text,
            f"{one.influence:.3f}",
            f"{one.own:.1f}",
            one.pull or "",
            "outlier" if one.outlier else "heavy" if one.heavy else "",
        )
        for one in order[:MOST_ROWS]
    )
    header = ("description", "text", "influence", "own score", "pulls towards", "mark")
    about = (
        f"The {len(rows)} descriptions that move their direction most, marked ones first. "
        "Influence is 1 - cosine of the concept's direction with and without the text; the own "
        "score is in standard deviations above other concepts' texts, held out."
    )
    return about, Table(header, rows)
