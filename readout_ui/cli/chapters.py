"""The chapters of a report: one judgement each, drawn as a section of the page.

Loaded when a report is written: this module imports torch and plotly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from readout_ui.errors import UserError
from readout_ui.evaluation.advice import judge_descriptions
from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.dose import EXAMPLE_TEXT, EXAMPLE_VALUES, parse_values, read_dose
from readout_ui.evaluation.generalization import judge_texts
from readout_ui.evaluation.geometry import geometry_of, ratings_or_shipped
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.influence import Influence
from readout_ui.evaluation.layer_sets import best_layer_sets
from readout_ui.evaluation.layers import fill_layers, sweep_means
from readout_ui.evaluation.lexical import control_words
from readout_ui.evaluation.logit_lens import logit_lens
from readout_ui.evaluation.public import corpora_of, own_directions
from readout_ui.evaluation.redundancy import concept_map, redundancy
from readout_ui.inference.readout import Readout
from readout_ui.plots.directions import draw_cosines, draw_map, draw_responses, draw_sweep
from readout_ui.plots.new_texts import draw_dose, draw_forest, draw_violins
from readout_ui.plots.report import Section, Table
from readout_ui.texts.labelled import (
    LabelledText,
    labels_of,
    mapping_of,
    read_shipped,
    suggest_mapping,
)
from readout_ui.texts.shipped import fitting_library

MOST_CONFUSIONS = 20
"""Confusions that are named; the heatmap has all."""


def judge_layers(readout: Readout, _layer: int) -> Section:
    """AUROC of every layer, method, read rule and concept; the best sets of layers."""
    sweep = sweep_means(corpora_of(readout), report=readout.report)
    sets = best_layer_sets(readout.corpus())
    if sets.sets:
        sweep = fill_layers(sweep, corpora_of(readout), [sets.recommended], readout.report)
    best = sweep.best()
    if best is None:
        return Section("Layers", ("Two descriptions of a concept are needed to compare layers.",))
    marked = (sweep.columns.index(best[0]), best[1])
    columns = [column.label for column in sweep.columns]
    per_concept = sweep.columns[[c.method == "mean" for c in sweep.columns].index(True)]
    return Section(
        "Layers",
        (
            f"Held-out descriptions, {sweep.folds} folds. Highest: layer {best[1]} with "
            f"{best[0].label}. auto takes layer {sets.recommended}: within two standard errors of "
            "the best, nearest to the middle of the depth. Empty cells were not computed: PCA and "
            "logistic regression fit anew for every fold.",
            draw_sweep(sweep.scores(), columns, marked, "Macro AUROC"),
            draw_sweep(
                per_concept.auroc.T, sweep.concepts, None, f"AUROC of each, {per_concept.label}"
            ),
            Table(*sets.table()),
        ),
    )


def judge_cosines(readout: Readout, layer: int) -> Section:
    """Cosines at the layer and averaged over all."""
    corpus, own = readout.corpus(), own_directions(readout)
    one = cosine_matrix(corpus, layer, own=own)
    mean = cosine_matrix(corpus, None, report=readout.report, own=own)
    return Section(
        "Cosines between directions",
        (f"Layer {layer}", draw_cosines(one), "Mean over all layers", draw_cosines(mean)),
    )


def judge_responses(readout: Readout, layer: int) -> Section:
    """Held-out descriptions on every direction, and what they are taken for."""
    found = held_out_matrix(readout.corpus(), layer)
    top1 = found.top1
    confusions = tuple(
        (one.concept, one.taken_for, f"{one.count} of {one.of}", "yes" if one.differs else "no")
        for one in found.confusions[:MOST_CONFUSIONS]
    )
    rest = len(found.confusions) - len(confusions)
    return Section(
        "Responses of held-out descriptions",
        (
            "Each description is scored on directions fitted without it. "
            f"{top1.value:.0%} ({top1.low:.0%} to {top1.high:.0%}) score highest on their own "
            f"concept; chance is {found.chance:.1%}.",
            draw_responses(found, cosine_matrix(readout.corpus(), layer).order),
            Table(("descriptions of", "score highest on", "how many", "beyond chance"), confusions),
            *((f"And {rest} more pairs of concepts.",) if rest else ()),
        ),
    )


def judge_redundancy(readout: Readout, layer: int) -> Section:
    """What of each direction the others explain, and the map."""
    corpus = readout.corpus()
    plane = draw_map(concept_map(corpus, layer, own=own_directions(readout)))
    rows = tuple(
        (
            one.concept,
            ", ".join(f"{near.concept} {near.cosine:.2f}" for near in one.nearest),
            f"{one.r2:.2f} [{one.r2_low:.2f}, {one.r2_high:.2f}]"
            + ("" if one.r2_differs else " like chance"),
            f"{one.r2_chance:.2f}",
            f"{one.first_component_share:.2f}",
        )
        for one in sorted(redundancy(corpus, layer), key=lambda one: -one.r2)
    )
    header = ("concept", "nearest", "R2 from the others", "R2 of random groups", "first component")
    return Section("Redundancy and map", (Table(header, rows), plane))


def judge_geometry_of(readout: Readout, layer: int) -> Section:
    """Components beside valence and arousal, layers compared, families."""
    found = geometry_of(readout, layer, ratings_or_shipped(None, readout.concepts))
    return Section("Geometry", found.sentences())


def judge_tokens(readout: Readout, layer: int) -> Section:
    """The tokens that every direction raises and lowers most."""
    at = layer if layer in readout.layers else readout.best_layer
    rows = tuple(
        (one.concept, " ".join(one.raised), f"{one.highest:+.1f}", " ".join(one.lowered))
        for one in logit_lens(readout.model, readout.vectors, at)
    )
    about = (
        f"Each direction of layer {at} through the final norm and the unembedding. What it raises "
        "no further than the random direction in the last row says nothing about it."
    )
    titles = ("direction", "raises most", "first, in deviations", "lowers most")
    return Section("Logit lens", (about, Table(titles, rows)))


MOST_ROWS = 20
"""Rows of the longer tables."""


def judge_generalization(readout: Readout, layer: int) -> Section:
    """The shipped test set beside its baselines."""
    title = "Generalization"
    try:
        found = judge_texts(readout, *_shipped(readout), layer)
    except UserError as error:
        return Section(title, (f"Not judged on the shipped test set: {error}",))
    misses = tuple(
        (miss.text, ", ".join(miss.concepts), miss.rival, f"{miss.margin:.3f}")
        for miss in found.misses
    )
    return Section(
        title,
        (
            f"On the shipped test set, which was never trained on: {len(found.texts)} texts.",
            draw_forest(found),
            "words: a bag of words, embedding: a sentence embedding, both trained on the same "
            "descriptions. random: directions of no "
            "meaning. p: permuted labels, corrected over concepts. recall and false positives on "
            "neutral texts: at the threshold that finds four in five of a concept's own texts.",
            *found.sentences(),
            Table(*found.table()),
            *(f"Top-{top.k}: {top.hits}, chance {top.chance:.3f}." for top in found.top),
            draw_violins(found),
            Table(("worst misses", "labelled", "taken for", "by"), misses),
            *found.notes,
        ),
    )


def _shipped(readout: Readout) -> tuple[tuple[LabelledText, ...], dict[str, str]]:
    """The shipped texts of the run's library, and which concepts their labels stand for."""
    texts = read_shipped(library=fitting_library(readout.concepts))
    return texts, mapping_of(suggest_mapping(labels_of(texts), readout.concepts))


def judge_words(readout: Readout, layer: int) -> Section:
    """Scores without the concept's own word, and with the word in another sense."""
    try:
        found = control_words(readout, *_shipped(readout), layer)
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


def judge_doses(readout: Readout, layer: int) -> Section:
    """How every concept's score follows a number in an example text."""
    found = read_dose(readout, EXAMPLE_TEXT, parse_values(EXAMPLE_VALUES), layer)
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


def advise(readout: Readout, layer: int) -> Section:
    """What to change, shortcuts, and the descriptions that do most."""
    found = judge_descriptions(readout.corpus(), layer)
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
    return Section("Advice", (advice, told, *_most_influential(found.influences)))


def _most_influential(influences: Sequence[Influence]) -> tuple[str, Table]:
    order = sorted(
        influences, key=lambda b: (not b.outlier, not b.heavy, -np.nan_to_num(b.influence))
    )
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


Chapter: TypeAlias = Callable[[Readout, int], Section]
CHAPTERS: tuple[Chapter, ...] = (
    judge_generalization,
    judge_words,
    judge_doses,
    judge_layers,
    judge_cosines,
    judge_responses,
    judge_redundancy,
    judge_geometry_of,
    judge_tokens,
    advise,
)
