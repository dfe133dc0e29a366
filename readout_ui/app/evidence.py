"""What is asked about a run, what the answer may use, and the memory of those already given."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from readout_ui.app.jobs import Worker
from readout_ui.errors import UserError
from readout_ui.progress import Report
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.evaluation.advice import Judged
    from readout_ui.inference.readout import Readout
    from readout_ui.vectors.settings import TrainSettings
    from readout_ui.vectors.training import Corpus
    from readout_ui.vectors.vectors import ConceptVectors

Judgement = TypeVar("Judgement")
KEPT_JUDGEMENTS = 64


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
        from readout_ui.evaluation.corpus import corpus_of

        return corpus_of(self.readout, settings)

    @property
    def own_directions(self) -> ConceptVectors | None:
        """The run's vectors where they do not follow from its texts by its method alone."""
        return self.readout.vectors if self.readout.run.source else None


def advise(evidence: Evidence, layer: int) -> Judged:
    """Influence, shortcuts and advice at one layer, with each concept's redundancy."""
    from readout_ui.evaluation.advice import judge_descriptions
    from readout_ui.evaluation.redundancy import redundancy

    return judge_descriptions(evidence.corpus, layer, redundancy(evidence.corpus, layer))


class Judge:
    """Works out things about the run in use on the device's thread, each of them once."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._corpus: tuple[str, Corpus] | None = None
        self._answers: dict[Hashable, Any] = {}

    def answer(
        self,
        question: Question,
        run: Run,
        device: Callable[[Report], Readout],
        work: Callable[[Evidence], Judgement],
    ) -> Judgement:
        """The answer to a question about a run, worked out now or remembered.

        Args:
            question: what is asked.
            run: the run in use.
            device: gives the run with its model on the worker's thread, or raises a UserError.
            work: finds the answer.

        Raises:
            UserError: the run has not what the question needs.
        """
        question.refuse(run)
        place = (run.id, question)
        if place not in self._answers:

            def find(report: Report) -> Judgement:
                known = self._corpus[1] if self._corpus and self._corpus[0] == run.id else None
                evidence = Evidence(device(report), known)
                found = work(evidence)
                if question.needs_descriptions:
                    self._corpus = (run.id, evidence.corpus)
                return found

            found = self._worker.submit("judge", question.title, find).result()
            if len(self._answers) >= KEPT_JUDGEMENTS:
                self._answers.clear()
            self._answers[place] = found
        answer: Judgement = self._answers[place]
        return answer
