"""What judgements of a run rest on, and the memory of those already made."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from readout_ui.app.jobs import Worker
from readout_ui.progress import Report
from readout_ui.runs.run import RunRecord

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel
    from readout_ui.vectors.training import Corpus
    from readout_ui.vectors.vectors import ConceptVectors

Judgement = TypeVar("Judgement")
KEPT_JUDGEMENTS = 64


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a judgement of a run may use, on the device's thread."""

    run: RunRecord
    vectors: ConceptVectors
    corpus: Corpus
    """The run's texts with their activations at every layer."""
    model: LoadedModel
    """For texts that were never read; through `read_activations` with the cache."""
    cache: ActivationCache | None
    report: Report
    """Call it after every batch; it raises Cancelled."""


class Judge:
    """Works out things about the run in use on the device's thread, each of them once."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._corpus: tuple[str, Corpus] | None = None
        self._answers: dict[Hashable, Any] = {}

    def answer(
        self,
        question: tuple[str, Hashable],
        run: RunRecord,
        vectors: ConceptVectors,
        device: Callable[[], tuple[LoadedModel, ActivationCache | None]],
        work: Callable[[Evidence], Judgement],
    ) -> Judgement:
        """The answer to a question about a run, worked out now or remembered.

        Args:
            question: its name, shown while it is worked out, and all it depends on besides the run.
            run: the run in use.
            vectors: its vectors.
            device: gives model and cache on the worker's thread, or raises a UserError.
            work: finds the answer.
        """
        place = (run.id, *question)
        if place not in self._answers:

            def find(report: Report) -> Judgement:
                model, cache = device()
                corpus = self._corpus_of(run, model, cache, report)
                return work(Evidence(run, vectors, corpus, model, cache, report))

            found = self._worker.submit("judge", question[0], find).result()
            if len(self._answers) >= KEPT_JUDGEMENTS:
                self._answers.clear()
            self._answers[place] = found
        answer: Judgement = self._answers[place]
        return answer

    def _corpus_of(
        self, run: RunRecord, model: LoadedModel, cache: ActivationCache | None, report: Report
    ) -> Corpus:
        from readout_ui.vectors.training import read_corpus

        run.refuse_other_model(model.name, model.fingerprint)
        if self._corpus is None or self._corpus[0] != run.id:
            corpus = read_corpus(model, run.descriptions, run.settings, cache, report)
            self._corpus = (run.id, corpus)
        return self._corpus[1]
