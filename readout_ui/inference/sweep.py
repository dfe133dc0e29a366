"""One prompt with and without steering, and a sweep: how strong a setup may be made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.errors import UserError
from readout_ui.inference.decoding import Live
from readout_ui.inference.forward import perplexity, read_chat
from readout_ui.inference.generation import ENDS, Generated, generate
from readout_ui.inference.reading import FloatArray, Reading
from readout_ui.inference.steering import Patch
from readout_ui.inference.steering_setup import SteeringSetup
from readout_ui.models.prompt import FramedChat
from readout_ui.progress import Progress, Report, silent

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Finish
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.sampling import Sampling

PLAIN = SteeringSetup(())
"""No steering."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A prompt, and everything that does not depend on the steering."""

    readout: Readout
    """The model, and what is read of it."""
    prompt: FramedChat
    """Up to where the assistant is about to answer."""
    sampling: Sampling
    """The same seed for every answer."""
    steers: Readout | None = None
    """Whose directions a setup may use; None for those that are read."""

    def steering(self, setup: SteeringSetup) -> Patch:
        """The setup at work on this trial's prompt."""
        steers = self.steers or self.readout
        return steers.steer(setup, prompt_length=len(self.prompt.token_ids))

    def answer(
        self,
        setup: SteeringSetup = PLAIN,
        on_text: Callable[[Live], None] | None = None,
    ) -> Generated:
        """The answer under a setup, read out while it is steered.

        Raises:
            UserError: the prompt fills the context window, or the setup names what was not trained.
            Cancelled: `on_text` raised it; the model is as before.
        """
        return generate(
            self.readout.model,
            self.prompt,
            self.sampling,
            vectors=self.readout.vectors,
            steering=lambda _prompt: self.steering(setup),
            on_text=on_text,
        )

    def perplexity(self, text: Generated, setup: SteeringSetup = PLAIN) -> float | None:
        """How surprised the model is by an answer while it is steered; None for an empty one."""
        with self.steering(setup):
            return perplexity(self.readout.model, text.whole.token_ids, len(self.prompt.token_ids))

    def alone(self, text: Generated) -> Reading:
        """An answer read by the model without any steering: what the words themselves say."""
        return read_chat(self.readout.model, self.readout.vectors, text.whole)


@dataclass(frozen=True, eq=False)
class Pair:
    """The same prompt and seed, plain and steered."""

    setup: SteeringSetup
    baseline: Generated
    steered: Generated
    """Its reading is that of the steered model, so it holds what was added."""
    alone: Reading
    """The steered answer's words, read without steering."""
    plain_perplexity: float | None
    """Of the baseline's text without steering."""
    steered_perplexity: float | None
    """Of the same text under the setup."""

    def means(self, layer: int) -> tuple[FloatArray, ...]:
        """(n_concepts,) each: mean z of the plain answer, the steered one, and its words alone."""
        start = len(self.baseline.prompt.token_ids)
        readings = (self.baseline.reading, self.steered.reading, self.alone)
        found = (one for one in readings if one is not None)
        return tuple(answer_mean(one, start)[one.layer_index(layer)] for one in found)

    def order(self, layer: int) -> list[int]:
        """Columns of concepts: the steered ones first, then by how far the answer moved."""
        plain, during, _ = self.means(layer)
        moved = np.nan_to_num(np.abs(during - plain))
        steered = {one.concept for one in self.setup.steers}
        names = self.alone.concepts
        return sorted(range(len(names)), key=lambda i: (names[i] not in steered, -moved[i]))


def compare(
    trial: Trial,
    setup: SteeringSetup,
    report: Report = silent,
    on_text: Callable[[str, Live], None] | None = None,
) -> Pair:
    """Answer twice and measure both.

    Args:
        trial: prompt, seed and model.
        setup: what the second answer is steered by.
        report: told after every token.
        on_text: given "baseline" or "steered" and the answer so far, after every token.
    """

    def step(side: str, live: Live) -> None:
        stage = "Answering without steering" if side == "baseline" else "Answering with steering"
        report(Progress(stage, live.n_tokens, trial.sampling.max_new_tokens, "tokens"))
        if on_text is not None:
            on_text(side, live)

    baseline = trial.answer(PLAIN, partial(step, "baseline"))
    changed = trial.answer(setup, partial(step, "steered"))
    report(Progress("Measuring perplexity", 0, 2, "texts"))
    plain = trial.perplexity(baseline)
    report(Progress("Measuring perplexity", 1, 2, "texts"))
    return Pair(
        setup, baseline, changed, trial.alone(changed), plain, trial.perplexity(baseline, setup)
    )


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

    @property
    def ending(self) -> str:
        """Why it ended, in words."""
        return ENDS[self.finish]


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
    """Ascending by factor, without those that failed."""
    failed: tuple[tuple[float, str], ...] = ()
    """Factors without an answer, ascending, and why."""

    @property
    def factors(self) -> tuple[float, ...]:
        """All factors, ascending."""
        return tuple(point.factor for point in self.points)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which factors failed, and why, a sentence each."""
        return tuple(f"Factor {factor:g} failed: {why}" for factor, why in self.failed)

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
        known = {point.factor: point.perplexity or math.inf for point in self.points}
        known |= dict.fromkeys((factor for factor, _ in self.failed), math.inf)
        factors = sorted(known)
        return usable_range(factors, [known[one] for one in factors], self.plain_perplexity)


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

    A factor that overflows or runs out of memory is left out, and the sweep says so.

    Args:
        trial: prompt, seed and model.
        setup: what is scaled.
        factors: what its multipliers are taken times.
        report: told after every token how many answers are done; may raise Cancelled.

    Raises:
        UserError: the prompt fills the context window, the setup names what was not trained, or
            every factor failed.
    """
    with trial.steering(setup):
        pass  # what is wrong with the setup itself is no failure of a factor
    total = len(factors) + (0.0 not in factors)
    done = 0

    def step(_live: Live) -> None:
        report(Progress(STAGE, done, total, "answers"))

    baseline = trial.answer(on_text=step)
    plain = trial.perplexity(baseline)
    points = {0.0: _point(trial, 0.0, baseline, plain)}
    failed: list[tuple[float, str]] = []
    done = 1
    for factor in sorted(set(factors) - {0.0}):
        scaled = setup.scaled(factor)
        try:
            answer = trial.answer(scaled, step)
            points[factor] = _point(trial, factor, answer, trial.perplexity(baseline, scaled))
        except UserError as error:
            failed.append((factor, error.sentence()))
            if len(failed) == len(set(factors)):
                raise
        done += 1
        report(Progress(STAGE, done, total, "answers"))
    return Sweep(
        setup,
        baseline,
        plain,
        trial.readout.concepts,
        trial.readout.layers,
        tuple(points[factor] for factor in sorted(points.keys() & set(factors))),
        tuple(failed),
    )


def _point(trial: Trial, factor: float, answer: Generated, perplexity: float | None) -> SweepPoint:
    n_prompt = len(answer.prompt.token_ids)
    assert answer.reading is not None
    return SweepPoint(
        factor=factor,
        text=answer.text,
        n_tokens=len(answer.token_ids),
        finish=answer.finish,
        perplexity=perplexity,
        during=answer_mean(answer.reading, n_prompt),
        alone=answer_mean(trial.alone(answer), n_prompt),
    )


def answer_mean(reading: Reading, n_prompt: int) -> FloatArray:
    """(n_layers, n_concepts): mean z over the answer's scored tokens; NaN where it has none."""
    of_answer = reading.scored.copy()  # (n_tokens,)
    of_answer[:n_prompt] = False
    if not of_answer.any():
        return np.full(reading.z.shape[1:], np.nan, dtype=np.float32)
    mean: FloatArray = reading.z[of_answer].mean(axis=0)
    return mean
