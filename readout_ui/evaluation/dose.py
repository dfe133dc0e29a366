"""Dose curves: one text with a slot, one value after another, and how the scores follow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.errors import UserError
from readout_ui.evaluation.resampling import p_values
from readout_ui.evaluation.results import matrix_frame
from readout_ui.vectors.auroc import Floats, ranks_of

if TYPE_CHECKING:
    import pandas as pd

    from readout_ui.inference.readout import Readout

SLOT = "{x}"
EXAMPLE_TEXT = "I just took {x} mg of paracetamol for my headache."
EXAMPLE_VALUES = "200, 500, 1000, 2000, 4000, 8000, 16000"
MAX_VALUES = 200
N_PERMUTATIONS = 2000


@dataclass(frozen=True, eq=False, repr=False)
class DoseCurves:
    """Scores of one text for every value in its slot."""

    template: str
    values: tuple[str, ...]
    """As they were written."""
    doses: Floats
    """(n_values,): the values as numbers, or their places where one is no number."""
    concepts: tuple[str, ...]
    scores: Floats
    """(n_values, n_concepts), centred cosine."""
    rho: Floats
    """(n_concepts,): Spearman's rank correlation of score and dose, -1..1."""
    p: Floats
    """(n_concepts,): from permuted values, two-sided, corrected over concepts by the largest."""

    def to_frame(self) -> pd.DataFrame:
        """Value x concept: centred cosine."""
        return matrix_frame(self.scores, self.values, self.concepts, ("value", "concept"))

    def __repr__(self) -> str:
        return f"<{len(self.concepts)} concepts at {len(self.values)} values of {self.template!r}>"

    def steepest(self, n: int) -> tuple[str, ...]:
        """The n concepts whose scores span most among those that follow the dose best."""
        span = np.ptp(self.scores, axis=0)
        order = np.lexsort((-span, -np.abs(self.rho).round(6)))
        return tuple(self.concepts[i] for i in order[:n])


def read_dose(readout: Readout, template: str, values: Sequence[str], layer: int) -> DoseCurves:
    """Score the text once with every value.

    Args:
        readout: what scores the texts.
        template: a text that holds `{x}` at least once.
        values: three or more different ones, in the order of the dose; numbers are sorted by size.
        layer: one of the vectors' layers.

    Raises:
        UserError: no slot, or too few or too many values.
    """
    checked = _check(template, values)
    doses = doses_of(checked)
    order = np.argsort(doses, kind="stable")
    values = tuple(checked[i] for i in order)
    scores = readout.score_texts([template.replace(SLOT, value) for value in values], layer)
    return dose_curves(template, values, doses[order], readout.concepts, scores)


def dose_curves(
    template: str, values: Sequence[str], doses: Floats, concepts: Sequence[str], scores: Floats
) -> DoseCurves:
    """The curves with their correlations.

    Args:
        template: the text.
        values: as written.
        doses: (n_values,).
        concepts: names of the columns.
        scores: (n_values, n_concepts).
    """
    rho = _correlate(doses[None, :], scores)[0]  # (n_concepts,)
    shuffled = np.random.default_rng(0).permuted(np.tile(doses, (N_PERMUTATIONS, 1)), axis=1)
    largest = np.abs(_correlate(shuffled, scores)).max(axis=1)  # (n_permutations,)
    p = p_values(np.abs(rho), largest)
    return DoseCurves(template, tuple(values), doses, tuple(concepts), scores, rho, p)


def parse_values(written: str) -> tuple[str, ...]:
    """Values separated by commas or line breaks, each once."""
    parts = (part.strip() for part in re.split(r"[,\n]", written))
    return tuple(dict.fromkeys(filter(None, parts)))


def doses_of(values: Sequence[str]) -> Floats:
    """The values as numbers if all of them begin with one (`500 mg`), else their places."""
    numbers = [re.match(r"[+-]?\d+(?:\.\d+)?", value) for value in values]
    if all(numbers):
        return np.array([float(number[0]) for number in numbers if number])
    return np.arange(len(values), dtype=float)


def _check(template: str, values: Sequence[str]) -> tuple[str, ...]:
    different = tuple(dict.fromkeys(value.strip() for value in values if value.strip()))
    if SLOT not in template:
        raise UserError(
            f"the text has no place for a value; write {SLOT} where it goes",
            where="dose",
            fix=f"for example: I took {SLOT} mg of paracetamol",
        )
    if not 3 <= len(different) <= MAX_VALUES:
        raise UserError(
            f"there are {len(different)} different values",
            where="dose",
            fix=f"give 3 to {MAX_VALUES}, separated by commas",
        )
    return different


def _correlate(doses: Floats, scores: Floats) -> Floats:
    """Spearman's rho of each row of doses with each column of scores; 0 where one is constant."""
    x, y = ranks_of(doses.T).T, ranks_of(scores)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=0)
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=0)
    rho: Floats = np.divide(x @ y, lengths, out=np.zeros(lengths.shape), where=lengths > 0)
    return rho
