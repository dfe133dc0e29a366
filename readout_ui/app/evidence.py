"""What is asked about a run and what the answer may use."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from readout_ui.errors import UserError
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.evaluation.advice import Judged
    from readout_ui.inference.readout import Readout
    from readout_ui.vectors.settings import TrainSettings
    from readout_ui.vectors.training import Corpus


@dataclass(frozen=True)
class Question:
    """Something to be worked out about a run."""

    title: str
    """In words, e.g. "Cross-talk: cosines"; shown while it is worked out."""
    about: Hashable
    """Everything the answer depends on besides the run, e.g. the layer."""
    needs_descriptions: bool = True
    """Whether the texts of the training are judged: descriptions, stories, examples or pairs."""

    def refuse(self, run: Run) -> None:
        """Raise a UserError where the run has not what the question needs."""
        if self.needs_descriptions and not run.texts:
            raise UserError(
                f"{self.title.partition(':')[0]} judges the texts of a training, and the run in "
                "use has none",
                fix="use a run that was trained here",
            )


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a judgement of a run may use, on the device's thread."""

    readout: Readout
    """The run with its model, for texts that were never read."""
    known: Corpus | None = None
    """The run's texts where an earlier judgement read them."""

    @cached_property
    def corpus(self) -> Corpus:
        """The run's texts with their activations at every layer, read when first asked for."""
        return self.known or self.read(self.readout.settings)

    def read(self, settings: TrainSettings) -> Corpus:
        """The run's texts read as other settings say, e.g. by another read rule."""
        from readout_ui.evaluation.public import corpus_of

        return corpus_of(self.readout, settings)


def advise(evidence: Evidence, layer: int) -> Judged:
    """Influence, shortcuts and advice at one layer, with each concept's redundancy."""
    from readout_ui.evaluation.advice import judge_descriptions
    from readout_ui.evaluation.redundancy import redundancy

    return judge_descriptions(evidence.corpus, layer, redundancy(evidence.corpus, layer))
