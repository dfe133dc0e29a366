"""One prompt answered with and without steering, from the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from readout_ui.inference.decoding import Live
from readout_ui.inference.generation import Generated, generate
from readout_ui.inference.model import read_chat
from readout_ui.inference.perplexity import perplexity
from readout_ui.inference.steering import Patch
from readout_ui.inference.steering_setup import SteeringSetup
from readout_ui.models.prompt import FramedChat
from readout_ui.progress import Progress, Report, silent

if TYPE_CHECKING:
    from readout_ui.inference.reading import Reading
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.sampling import Sampling

PLAIN = SteeringSetup(())
"""No steering."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A prompt, and everything that stays the same whatever is steered."""

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
    """Its readout is that of the steered model, so it holds what was added."""
    alone: Reading
    """The steered answer's words, read without steering."""
    plain_perplexity: float | None
    """Of the baseline's text without steering."""
    steered_perplexity: float | None
    """Of the same text under the setup."""


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
