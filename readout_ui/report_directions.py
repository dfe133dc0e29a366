"""Chapters of the report about the directions: layers, cosines, responses, redundancy and map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from readout_ui.terminal import size_text
from readout_ui.views.report import Section, Table

if TYPE_CHECKING:
    from readout_ui.corpus import Corpus
    from readout_ui.layer_sets import LayerSets
    from readout_ui.text_scores import Scorer

MOST_CONFUSIONS = 20
"""Confusions that are named; the heatmap has all."""


def judge_layers(scorer: Scorer, corpus: Corpus, _layer: int) -> Section:
    """AUROC of every layer, method, read rule and concept; the best sets of layers."""
    from readout_ui.layer_sets import best_layer_sets
    from readout_ui.layer_sweep import corpora_by_rule, fill_layers, sweep_means
    from readout_ui.views.layers import draw_sweep

    def corpora() -> Iterator[Corpus]:
        return corpora_by_rule(corpus, scorer.model, scorer.descriptions, scorer.cache)

    sweep, sets = sweep_means(corpora(), report=scorer.report), best_layer_sets(corpus)
    if sets.sets:
        sweep = fill_layers(sweep, corpora(), [sets.recommended], scorer.report)
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
            f"{best[0].label}. auto takes layer {sets.recommended}: within one standard error of "
            "the best, nearest to 0.6 of the depth. Empty cells were not computed: PCA and "
            "logistic regression fit anew for every fold.",
            draw_sweep(sweep.scores(), columns, marked, "Macro AUROC"),
            draw_sweep(
                per_concept.auroc.T, sweep.concepts, None, f"AUROC of each, {per_concept.label}"
            ),
            _sets_table(sets),
        ),
    )


def _sets_table(sets: LayerSets) -> Table:
    header = (
        *("layers", "AUROC", "chosen on half, scored on the other", "over one layer"),
        *("export", "multiply-adds per token"),
    )
    rows = tuple(
        (
            ", ".join(map(str, one.layers)),
            f"{one.auroc:.3f}",
            f"{one.elsewhere:.3f}",
            "–" if len(one.layers) == 1 else f"{one.gain:+.3f} ± {one.gain_error:.3f}",
            size_text(one.n_bytes),
            f"{one.multiply_adds:,}",
        )
        for one in sets.sets
    )
    return Table(header, rows)


def judge_cosines(scorer: Scorer, corpus: Corpus, layer: int) -> Section:
    """Cosines at the layer and averaged over all."""
    from readout_ui.crosstalk import cosine_matrix
    from readout_ui.views.crosstalk import draw_cosines

    one = cosine_matrix(corpus, layer)
    mean = cosine_matrix(corpus, None, report=scorer.report)
    return Section(
        "Cosines between directions",
        (f"Layer {layer}", draw_cosines(one), "Mean over all layers", draw_cosines(mean)),
    )


def judge_responses(_scorer: Scorer, corpus: Corpus, layer: int) -> Section:
    """Held-out descriptions on every direction, and what they are taken for."""
    from readout_ui.crosstalk import cosine_matrix
    from readout_ui.responses import response_matrix
    from readout_ui.views.crosstalk import draw_responses

    found = response_matrix(corpus, layer)
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
            draw_responses(found, cosine_matrix(corpus, layer).order),
            Table(("descriptions of", "score highest on", "how many", "beyond chance"), confusions),
            *((f"And {rest} more pairs of concepts.",) if rest else ()),
        ),
    )


def judge_redundancy(_scorer: Scorer, corpus: Corpus, layer: int) -> Section:
    """What of each direction the others explain, and the map."""
    from readout_ui.concept_map import concept_map
    from readout_ui.redundancy import redundancy
    from readout_ui.views.concept_map import draw_map

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
    return Section(
        "Redundancy and map", (Table(header, rows), draw_map(concept_map(corpus, layer)))
    )
