"""What a session judges: questions about the run in use, and a report of every run.

Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TypeVar

from readout_ui.app.jobs import Answers, Job, JobView, Question, Worker
from readout_ui.progress import Report
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore

if TYPE_CHECKING:
    from readout_ui.evaluation.advice import Judged
    from readout_ui.inference.readout import Readout
    from readout_ui.runs.report import RunReport

Result = TypeVar("Result")


class Judging:
    """The part of a session that judges. All public methods may be called from any thread."""

    worker: Worker
    runs: RunStore
    _answers: Answers

    def run(self) -> Run:
        """The run in use."""
        raise NotImplementedError

    def readout_of(self, run: Run, report: Report) -> Readout:
        """A run with its model."""
        raise NotImplementedError

    def refuse_if_read_only(self, what: str) -> None:
        """Raise a UserError where nothing may be written."""
        raise NotImplementedError

    def _queue(
        self, kind: str, title: str, work: Callable[[Readout], Result], run: Run
    ) -> Job[Result]:
        raise NotImplementedError

    def judge(self, question: Question, work: Callable[[Readout], Result]) -> Result:
        """Work out something about the run in use on the device's thread, once; waits for it.

        Args:
            question: what is asked; the same question is answered from memory.
            work: gets the model with the run.

        Raises:
            UserError: nothing was trained yet, or the run has not what the question needs.
        """
        return self.ask(question, work).result()

    def ask(
        self, question: Question, work: Callable[[Readout], Result], *, again: bool = True
    ) -> Job[Result]:
        """The same in the background; with `again`, what failed before is tried anew."""
        run = self.run()
        question.refuse(run)
        return self._answers.ask(
            (run.id, question), lambda: self._queue("judge", question.title, work, run), again=again
        )

    def advise(self, layer: int, *, again: bool = True) -> Job[Judged]:
        """Influence, shortcuts and advice at one layer of the run in use, in the background."""

        def work(readout: Readout) -> Judged:
            from readout_ui.evaluation.advice import judge_descriptions
            from readout_ui.evaluation.redundancy import redundancy

            corpus = readout.corpus()
            return judge_descriptions(corpus, layer, redundancy(corpus, layer))

        return self.ask(Question("Advice", layer), work, again=again)

    def report(self, run_id: str | None = None) -> RunReport | None:
        """How a run was judged, by default the one in use; None where it was not yet."""
        run = self.runs.open(run_id) if run_id else self.runs.current()
        return self.runs.report(run.id) if run else None

    def report_job(self) -> Job[RunReport] | None:
        """The newest work on a report, finished or not."""
        return self.worker.latest("report")  # type: ignore[return-value]

    def judging(self) -> JobView | None:
        """The work on a report that waits or runs."""
        job = self.report_job()
        view = job.view() if job else None
        return view if view and not view.state.finished else None

    def start_report(self, run_id: str, before: Run | None = None) -> Job[RunReport]:
        """Judge a run and keep its report, in pieces, so that nothing waits for it long.

        Args:
            run_id: which run.
            before: the run to compare it with.

        Raises:
            UserError: there is no such run, or the app runs read-only.
        """
        self.refuse_if_read_only("judge a run")
        used = self.runs.current()
        run = self.run() if used and used.id == run_id else self.runs.open(run_id)

        def work(report: Report) -> Generator[None, None, RunReport]:
            from readout_ui.evaluation.report import judge_run

            judged = yield from judge_run(self.readout_of(run, report), before)
            self.runs.keep_report(judged)
            return judged

        return self.worker.submit_pieces("report", f"Judging {self.runs.title(run)}", work)
