"""A multiplier sweep: one prompt under a setup made weaker and stronger, and where it breaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.inference.reading import FloatArray, Reading
from readout_ui.progress import Progress, Report, silent

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Finish, Live
    from readout_ui.inference.generation import Generated
    from readout_ui.inference.steering_setup import SteeringSetup
    from readout_ui.inference.trials import Trial

DEFAULT_FACTORS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
PERPLEXITY_LIMIT = 2.0
"""How many times the plain perplexity of the baseline text still counts as usable."""
USABLE_RULE = (
    f"The usable range reaches from 0 outwards as long as the model finds its own plain answer at "
    f"most {PERPLEXITY_LIMIT:g} times as surprising (perplexity) as without steering."
)
STAGE = "Sweeping"


@dataclass(frozen=True, eq=False)
class SweepPoint:
    """What came out at one factor."""

    factor: float
    """Every multiplier of the setup was taken times this."""
    text: str
    """The answer."""
    n_tokens: int
    """New tokens of it."""
    finish: Finish
    """Why it ended: "end", "length" or "stopped"."""
    perplexity: float | None
    """Of the baseline text under this steering; None where the baseline is empty."""
    during: FloatArray
    """(n_layers, n_concepts): mean z of the answer's tokens in the steered model."""
    alone: FloatArray
    """(n_layers, n_concepts): mean z of the same tokens in the plain model."""


@dataclass(frozen=True)
class UsableRange:
    """The factors that do not break the model, as far as they were tried."""

    low: float
    high: float
    low_is_end: bool
    """True when nothing lower was tried, so the range may reach further."""
    high_is_end: bool

    def __contains__(self, factor: float) -> bool:
        return self.low <= factor <= self.high

    def describe(self) -> str:
        """One line for people."""
        if self.low == self.high:
            return f"only {self.low:g}"
        low = f"{self.low:g}" + (" or lower" if self.low_is_end else "")
        high = f"{self.high:g}" + (" or higher" if self.high_is_end else "")
        return f"{low} to {high}"


@dataclass(frozen=True, eq=False)
class Sweep:
    """A whole sweep."""

    setup: SteeringSetup
    """As written, that is at factor 1."""
    baseline: Generated
    """The answer without steering."""
    plain_perplexity: float | None
    """Of the baseline text without steering."""
    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    points: tuple[SweepPoint, ...]
    """Ascending by factor."""

    @property
    def factors(self) -> tuple[float, ...]:
        """All factors, ascending."""
        return tuple(point.factor for point in self.points)

    def means(self, kind: str, layer: int) -> FloatArray:
        """(n_points, n_concepts): mean z "during" steering, or of the words "alone"."""
        at = self.layers.index(layer)
        rows = [point.during if kind == "during" else point.alone for point in self.points]
        found: FloatArray = np.stack(rows)[:, at]
        return found

    @property
    def usable(self) -> UsableRange | None:
        """Where the model still works, by `USABLE_RULE`; None where nothing could be measured."""
        found = [point.perplexity for point in self.points]
        if self.plain_perplexity is None or any(value is None for value in found):
            return None
        values = [math.inf if value is None else value for value in found]
        return usable_range(self.factors, values, self.plain_perplexity)


def usable_range(
    factors: Sequence[float], perplexities: Sequence[float], plain: float
) -> UsableRange:
    """The factors from 0 outwards whose perplexity stays within the limit.

    Args:
        factors: what was tried, ascending; 0 need not be among them.
        perplexities: of the baseline text at each.
        plain: without steering.
    """
    limit = PERPLEXITY_LIMIT * plain
    fine = dict(zip(factors, (value <= limit for value in perplexities), strict=True))
    high = _reach([factor for factor in factors if factor > 0], fine)
    low = _reach([factor for factor in reversed(factors) if factor < 0], fine)
    return UsableRange(low, high, low == min(factors), high == max(factors))


def _reach(outwards: Sequence[float], fine: dict[float, bool]) -> float:
    reached = 0.0
    for factor in outwards:
        if not fine[factor]:
            break
        reached = factor
    return reached


def sweep(
    trial: Trial,
    setup: SteeringSetup,
    factors: Sequence[float] = DEFAULT_FACTORS,
    report: Report = silent,
) -> Sweep:
    """Answer the trial's prompt at every factor, always from the same seed.

    Args:
        trial: prompt, seed and model.
        setup: what is scaled.
        factors: what its multipliers are taken times.
        report: told after every token how many answers are done; may raise Cancelled.

    Raises:
        UserError: the prompt fills the context window, or the setup names what was not trained.
    """
    total = len(factors) + (0.0 not in factors)
    done = 0

    def step(_live: Live) -> None:
        report(Progress(STAGE, done, total, "answers"))

    baseline = trial.answer(on_text=step)
    plain = trial.perplexity(baseline)
    points = {0.0: _point(trial, 0.0, baseline, plain)}
    done = 1
    for factor in sorted(set(factors) - {0.0}):
        scaled = setup.scaled(factor)
        answer = trial.answer(scaled, step)
        points[factor] = _point(trial, factor, answer, trial.perplexity(baseline, scaled))
        done += 1
        report(Progress(STAGE, done, total, "answers"))
    return Sweep(
        setup,
        baseline,
        plain,
        trial.readout.concepts,
        trial.readout.layers,
        tuple(points[factor] for factor in sorted(set(factors))),
    )


def _point(trial: Trial, factor: float, answer: Generated, perplexity: float | None) -> SweepPoint:
    n_prompt = len(answer.prompt.token_ids)
    assert answer.readout is not None
    return SweepPoint(
        factor=factor,
        text=answer.text,
        n_tokens=len(answer.token_ids),
        finish=answer.finish,
        perplexity=perplexity,
        during=answer_mean(answer.readout, n_prompt),
        alone=answer_mean(trial.alone(answer), n_prompt),
    )


def answer_mean(readout: Reading, n_prompt: int) -> FloatArray:
    """(n_layers, n_concepts): mean z over the answer's scored tokens; NaN where it has none."""
    of_answer = readout.scored.copy()  # (n_tokens,)
    of_answer[:n_prompt] = False
    if not of_answer.any():
        return np.full(readout.z.shape[1:], np.nan, dtype=np.float32)
    mean: FloatArray = readout.z[of_answer].mean(axis=0)
    return mean
