"""Influence: what each description does to its concept's direction, and which of them do not fit.

Influence and scores are those of the run's own method where its directions are mean differences of
texts under a linear map, else of plain mean differences (see `left_out`).

Which descriptions do not fit their concept is found out in `misfits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from readout_ui.evaluation.left_out import (
    LayerTexts,
    LeftOut,
    layer_texts,
    leave_out,
)
from readout_ui.evaluation.misfits import FEWEST_TEXTS, MAD_TO_DEVIATION, Misfits, find_misfits
from readout_ui.evaluation.results import Floats, Rows
from readout_ui.vectors.blas import single_thread

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus

FALSE_ALARM = 0.05
"""At most this part of libraries with nothing wrong has a description marked as an outlier; the
same holds, separately, for marks of influence."""
MAD_EFFICIENCY = 0.37
"""A median absolute deviation knows as much as the standard deviation of 0.37 times the texts."""
USUAL = (95.0, 1.96)
"""Percentile of the residuals' sizes, and where it stands in a normal distribution."""


@dataclass(frozen=True)
class Influence:
    """What one description does to its concept's direction at one layer."""

    concept: str
    index: int
    """Which description of the concept, from 0."""
    text: str
    influence: float
    """1 - cosine of the direction with and without this text; NaN where it is the only one."""
    own: float
    """Score on its concept when left out, in standard deviations above the other concepts'
    texts; NaN where it is the only one."""
    siblings: float
    """Mean of the same over the concept's other descriptions; NaN where there is none."""
    pull: str | None
    """The concept whose direction this text brings its own closest to; None without another."""
    pull_score: float
    """Score on that concept, in the unit of `own`."""
    pull_shift: float
    """By how much the text raises the cosine between the two directions."""
    like: str
    """What it reads most like besides its concept: another one, or "" for the neutral texts."""
    margin: float
    """Log odds of its own concept against that, in robust standard deviations of all texts'."""
    p: float
    """Chance that a library with nothing wrong has any margin so low."""
    influence_p: float
    """The same for so high an influence."""

    @property
    def outlier(self) -> bool:
        """Whether the text does not fit its concept's other ones."""
        return self.p <= FALSE_ALARM

    @property
    def heavy(self) -> bool:
        """Whether the text decides more of the direction than descriptions usually do."""
        return self.influence_p <= FALSE_ALARM

    def note(self) -> str:
        """One line to stand beside the text; empty where there is nothing to say."""
        if self.outlier:
            like = f"{self.like} than of {self.concept}" if self.like else "nothing in particular"
            return (
                f"Reads more like a text of {like}: held out, it scores {self.own:.1f} on "
                f"{self.concept}, the others {self.siblings:.1f}."
            )
        if self.heavy:
            return f"Influence {self.influence:.2f}: leaving it out moves the direction most."
        return ""


def influence(corpus: Corpus, layer: int) -> Rows[Influence]:
    """Every concept's descriptions in order, judged at one layer; neutral texts are not.

    Args:
        corpus: the run's texts with their activations.
        layer: which layer, from 0; whether a text fits is judged at several.
    """
    with single_thread():
        texts = layer_texts(corpus, layer)
        return influences_of(texts, leave_out(texts), corpus, find_misfits(corpus))


def influences_of(
    texts: LayerTexts, left_out: LeftOut, corpus: Corpus, misfits: Misfits
) -> Rows[Influence]:
    """The same from a layer's texts left out already."""
    influence_p = _heavy_p(texts, left_out.influence)
    siblings = _sibling_means(texts, left_out.standard)  # (n_members, n_concepts)
    names = (*texts.concepts, "")
    judged = []
    for concept, name in enumerate(texts.concepts):
        for index, place in enumerate(texts.members(concept)):
            pull = _strongest_pull(left_out.shift[place])
            judged.append(
                Influence(
                    concept=name,
                    index=index,
                    text=corpus.texts[texts.rows[place]],
                    influence=float(left_out.influence[place]),
                    own=float(left_out.standard[place, concept]),
                    siblings=float(siblings[place, concept]),
                    pull=None if pull is None else names[pull],
                    pull_score=_at(left_out.standard[place], pull),
                    pull_shift=_at(left_out.shift[place], pull),
                    like=names[misfits.like[place]],
                    margin=float(misfits.margin[place]),
                    p=float(misfits.p[place]),
                    influence_p=float(influence_p[place]),
                )
            )
    return Rows(judged)


def _strongest_pull(shifts: Floats) -> int | None:
    return None if np.isnan(shifts).all() else int(np.nanargmax(shifts))


def _at(values: Floats, concept: int | None) -> float:
    return float("nan") if concept is None else float(values[concept])


def _sibling_means(texts: LayerTexts, values: Floats) -> Floats:
    """For each text the mean of its group's other ones, of the shape of `values`."""
    sums = np.zeros((texts.n_concepts + 1, *values.shape[1:]))
    np.add.at(sums, texts.group, values)
    counts = texts.counts[texts.group].reshape(-1, *(1,) * (values.ndim - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        means: Floats = np.where(counts > 1, (sums[texts.group] - values) / (counts - 1), np.nan)
    return means


def _residuals(texts: LayerTexts, values: Floats) -> Floats:
    """Texts against their siblings' mean, of equal variance for groups of any size.

    NaN for neutral texts and for concepts with fewer than FEWEST_TEXTS.
    """
    counts = texts.counts[texts.group]
    usable = (texts.group < texts.n_concepts) & (counts >= FEWEST_TEXTS)
    scale = np.where(usable, np.sqrt((counts - 1) / counts), np.nan)
    residuals: Floats = (values - _sibling_means(texts, values)) * scale.reshape(
        -1, *(1,) * (values.ndim - 1)
    )
    return residuals


def _heavy_p(texts: LayerTexts, influence: Floats) -> Floats:
    logs = np.log(np.maximum(influence, np.finfo(np.float64).tiny))
    return upper_p(_residuals(texts, logs)[:, None], texts)[:, 0]


def upper_p(residuals: Floats, texts: LayerTexts) -> Floats:
    """Corrected chance of residuals so high, of their shape; 1 where there is none.

    Each column is measured in its own robust deviation. Few texts make that uncertain, so the
    comparison is with Student's t; the correction is Bonferroni's over all finite residuals.

    Args:
        residuals: (n_members, n_columns), about 0 where nothing is wrong.
        texts: whose members they are.
    """
    known = np.isfinite(residuals)
    p = np.ones(residuals.shape)
    if not known.any():
        return p
    tested = known.any(axis=1)
    n_groups = len(np.unique(texts.group[tested]))
    freedom = max(1.0, MAD_EFFICIENCY * (tested.sum() - n_groups))
    sizes = np.where(known, np.abs(residuals), np.nan)
    deviation = _deviation(sizes[:, known.any(axis=0)])
    z = residuals[:, known.any(axis=0)] / np.maximum(deviation, np.finfo(np.float64).tiny)
    p[:, known.any(axis=0)] = np.where(np.isnan(z), 1.0, stats.t.sf(z, freedom))
    corrected: Floats = np.minimum(1.0, p * known.sum())
    return corrected


def _deviation(sizes: Floats) -> Floats:
    """Robust deviation of each column: the larger of two, so that long tails raise no alarm."""
    percentile, normal = USUAL
    deviation: Floats = np.maximum(
        MAD_TO_DEVIATION * np.nanmedian(sizes, axis=0),
        np.nanpercentile(sizes, percentile, axis=0) / normal,
    )
    return deviation
