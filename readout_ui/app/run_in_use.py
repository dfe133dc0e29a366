"""The run in use with its model: what is asked of both, one thing after another on the device.

Importing this module loads neither torch nor transformers; the worker's thread does that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from readout_ui.app.jobs import Answers, Job, JobState, JobView, Question, Worker
from readout_ui.app.status import StudioOptions, describe
from readout_ui.errors import UserError
from readout_ui.files import cache_folder
from readout_ui.progress import Progress, Report
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.evaluation.advice import Judged
    from readout_ui.inference.reading import Reading
    from readout_ui.inference.readout import Readout
    from readout_ui.models.chat_template import Turn
    from readout_ui.models.loading import LoadedModel, ModelSpec
    from readout_ui.runs.report import RunReport

Result = TypeVar("Result")


class RunInUse:
    """What reads, answers and judges. All public methods may be called from any thread."""

    def __init__(self, options: StudioOptions, runs: RunStore | None = None) -> None:
        self.options = options
        self.worker = Worker(save=self._save)
        self.runs = runs or RunStore(options.runs)
        self._model: LoadedModel | None = None
        self._described: dict[str, Any] = describe(None)
        self._cache: ActivationCache | None = None
        self._in_use: Run | None = None
        self._readout: Readout | None = None
        self._answers = Answers()

    @property
    def read_only(self) -> bool:
        """True when nothing may be written."""
        return self.options.read_only

    def refuse_if_read_only(self, what: str) -> None:
        """Raise a UserError when the app was started with --read-only."""
        if self.read_only:
            raise UserError(
                f"cannot {what}: the app runs read-only", fix="start without --read-only"
            )

    def run(self) -> Run:
        """The run in use.

        Raises:
            UserError: nothing was trained yet.
        """
        run = self.runs.current()
        if run is None:
            raise UserError("there are no vectors yet", fix="press Train first")
        kept = self._in_use  # its vectors may have been read already
        if kept is None or (kept.id, kept.created) != (run.id, run.created):
            kept = self._in_use = run
        return kept

    def load_model(self, spec: ModelSpec | None = None) -> Job[None]:
        """Load a model in the background; a second call while one loads joins the first.

        Args:
            spec: another than the app was started with. The one in use stays until this one is
                loaded, and where it cannot be; texts and runs stay as they are.

        Raises:
            UserError: another is asked for and the app runs read-only.
        """
        if spec is not None:
            self.refuse_if_read_only("load another model")
        title = f"Loading {spec.model}" if spec else "Loading the model"
        return self.worker.submit(
            "load", title, lambda report: self._load(spec, report), exclusive=True
        )

    def _load(self, spec: ModelSpec | None, report: Report) -> None:
        report(Progress("Starting torch and transformers", 0, 0, "modules"))
        from readout_ui.activations.cache import ActivationCache
        from readout_ui.models.devices import release_memory
        from readout_ui.models.loading import load_model

        if self._cache is None:
            self._cache = ActivationCache(cache_folder() / "activations")
        model = load_model(spec or self.options.model_spec(), report)
        self._described = describe(model)
        self._model, self._readout = model, None
        if spec is not None:
            self.options = self.options.loading(spec)
            release_memory()

    def _loaded(self) -> LoadedModel:
        if self._model is None:
            load = self.worker.latest("load")
            failed = load is not None and load.view().state is JobState.FAILED
            reason = load.view().error if load and failed else "the model is still loading"
            raise UserError(f"there is no model to run: {reason.rstrip('.')}")
        return self._model

    def _save(self) -> None:
        """What was read and is not on disk yet; texts and runs are, at once."""
        if self._cache is not None:
            self._cache.close()

    def read(self, content: str | Sequence[Turn], mode: str) -> Reading:
        """Read a text, or turns where `mode` is "chat", with the run in use; see `Readout.read`."""
        return self.on_device(
            "read", "Reading a prompt", lambda readout: readout.read(content, mode)
        ).result()

    def on_device(
        self,
        kind: str,
        title: str,
        work: Callable[[Readout], Result],
        run_id: str | None = None,
    ) -> Job[Result]:
        """Queue work that needs the model and a run's vectors; the job shows progress and cancels.

        Args:
            kind: what sort of work it is, e.g. "read".
            title: the job in words, for those who wait behind it.
            work: runs on the device's thread.
            run_id: whose vectors; None for the run in use at this moment.

        Raises:
            UserError: there is no such run. The job fails with one when no model is loaded or the
                vectors belong to another.
        """
        return self._queue(kind, title, work, self.runs.open(run_id) if run_id else self.run())

    def _queue(
        self, kind: str, title: str, work: Callable[[Readout], Result], run: Run
    ) -> Job[Result]:
        _ = run.vectors  # a damaged file is told before it waits for the device
        return self.worker.submit(kind, title, lambda report: work(self.readout_of(run, report)))

    def readout_of(self, run: Run, report: Report) -> Readout:
        """A run with its model; that of the run in use keeps what was measured with it."""
        from readout_ui.inference.readout import Readout

        model = self._loaded()
        run.refuse_other_model(model)
        known = self._readout
        if known is not None and known.run is run and known.model is model:
            return known.reporting_to(report)
        readout = Readout(model, run, self._cache, report)
        if run is self._in_use:
            self._readout = readout
        return readout

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
