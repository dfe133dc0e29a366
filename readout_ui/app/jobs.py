"""The one background worker that owns the device: jobs with progress, log and cancel.

A job belongs to the process, not to the page that started it, so a reload or a closed tab never
stops it (Gradio throws GeneratorExit into running event handlers; nothing long may live there).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Hashable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from readout_ui.errors import UserError, device_lost, forget_frames, is_device_lost
from readout_ui.progress import Cancelled, Progress, Report

if TYPE_CHECKING:
    from readout_ui.runs.run import Run

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


LOG_LINES = 500
FINISHED_JOBS_KEPT = 50
MOST_UNFINISHED = 64
OUTLIVE_PAGES = ("train", "load", "report")
"""Kinds of work that everybody gets something of."""
ASKING: ContextVar[str] = ContextVar("ASKING", default="")
"""The page, or the program, whose event runs on this thread; empty where it is not known."""
CALLER = "x-readout-caller"
"""Header that names the MCP request of a call: gradio makes them all through one client."""
KEPT_ANSWERS = 64


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """True once nothing more will happen."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class JobView:
    """What a front end shows of a job at one moment."""

    number: int
    """Counts up from 1 in this process."""
    kind: str
    """What sort of work it is, e.g. "train"; at most one unfinished job per exclusive kind."""
    title: str
    """The job in words."""
    state: JobState
    """Where it stands."""
    progress: Progress | None
    """The last report, None before the first."""
    seconds: float
    """How long it has run."""
    seconds_left: float | None
    """Estimate for the current stage, None while there is no ground for one."""
    log: tuple[str, ...]
    """What it said, oldest first."""
    error: str
    """Why it failed, one sentence; empty otherwise."""
    cancelling: bool
    """True between the request to cancel and the end."""

    @property
    def fraction(self) -> float | None:
        """Share of the current stage that is done, 0..1, None while the total is unknown."""
        if self.progress is None or not self.progress.total:
            return None
        return min(1.0, self.progress.done / self.progress.total)


class Job(Generic[Result]):
    """One piece of work on the worker. Read it through `view()`; wait for it through `result()`."""

    def __init__(self, number: int, kind: str, title: str) -> None:
        self.number, self.kind, self.title = number, kind, title
        self.future: Future[Result]
        self._cancel = threading.Event()
        self._waiting: list[str] = []
        self._gone: set[str] = set()
        self._progress: Progress | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._started = self._stage_started = self._ended = 0.0

    def report(self, progress: Progress) -> None:
        """Take one report from the work; raises Cancelled when the job is to stop."""
        if self._cancel.is_set():
            raise Cancelled
        now = time.monotonic()
        if self._progress is None or self._progress.stage != progress.stage:
            self._stage_started = now
            self._log.append(f"{now - self._started:6.1f} s  {progress.stage}")
        if progress.note:
            self._log.append(f"{now - self._started:6.1f} s  {progress.note}")
        self._progress = progress

    def cancel(self) -> None:
        """Ask the work to stop at its next report; a waiting job never starts."""
        self._cancel.set()
        self.future.cancel()

    def result(self) -> Result:
        """Wait for the work and return what it made; raises what it raised, or Cancelled."""
        page = ASKING.get()
        self._waiting.append(page)
        try:
            return self.future.result()
        except CancelledError:
            raise Cancelled from None
        finally:
            self._waiting.remove(page)

    @property
    def awaited(self) -> bool:
        """Whether a page or a program waits for it."""
        return bool(self._waiting) and not self.future.done()

    def leave(self, page: str) -> None:
        """A page is gone; work that only such pages wait for is cancelled."""
        waiting = set(self._waiting)
        self._gone.add(page)
        if page in waiting and waiting <= self._gone and self.kind not in OUTLIVE_PAGES:
            self.cancel()

    def run(self, work: Callable[[Report], Result]) -> Result:
        """Do the work on the calling thread, keeping times and the last words."""
        if not self._started:
            self._started = self._stage_started = time.monotonic()
        try:
            if self._cancel.is_set():
                raise Cancelled
            return work(self.report)
        except BaseException as failure:
            if not isinstance(failure, UserError | Cancelled | StopIteration):
                _log.error("A job failed unexpectedly", exc_info=failure)
            forget_frames(failure)  # The future is kept, and with it would be every tensor.
            raise
        finally:
            self._ended = time.monotonic()

    def view(self) -> JobView:
        """What to show of the job now."""
        state, error = self._state()
        end = self._ended if state.finished and self._ended else time.monotonic()
        return JobView(
            number=self.number,
            kind=self.kind,
            title=self.title,
            state=state,
            progress=self._progress,
            seconds=end - self._started if self._started else 0.0,
            seconds_left=self._seconds_left(),
            log=tuple(self._log),
            error=error,
            cancelling=self._cancel.is_set() and not state.finished,
        )

    def _state(self) -> tuple[JobState, str]:
        if self.future.cancelled():
            return JobState.CANCELLED, ""
        if not self.future.done():
            running = self.future.running()
            return (JobState.RUNNING if running else JobState.WAITING), ""
        failure = self.future.exception()
        if failure is None:
            return JobState.DONE, ""
        if isinstance(failure, Cancelled):
            return JobState.CANCELLED, ""
        return JobState.FAILED, explain(failure)

    def _seconds_left(self) -> float | None:
        progress = self._progress
        if progress is None or not progress.done or not progress.total:
            return None
        spent = time.monotonic() - self._stage_started
        return spent / progress.done * (progress.total - progress.done)


def explain(failure: BaseException) -> str:
    """One sentence about a failure: a UserError's own, or where to find the traceback."""
    if isinstance(failure, UserError):
        return str(failure)
    return f"Unexpected {type(failure).__name__}: {failure} (the terminal has the traceback)"


class Worker:
    """Runs jobs one after another on a single thread, so nothing else touches the device.

    Args:
        save: called once where the device refuses all further work; every later job is refused.
    """

    def __init__(self, save: Callable[[], object] = lambda: None) -> None:
        self._save = save
        self._lost: BaseException | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="device")
        self._lock = threading.Lock()
        self._jobs: deque[Job[object]] = deque()
        self._count = 0

    def submit(
        self,
        kind: str,
        title: str,
        work: Callable[[Report], Result],
        *,
        exclusive: bool = False,
    ) -> Job[Result]:
        """Queue work. With `exclusive`, an unfinished job of the same kind is returned instead.

        Raises:
            UserError: too much waits already.
        """
        with self._lock:
            if exclusive and (running := self._unfinished(kind)) is not None:
                return running  # type: ignore[return-value]
            unfinished = sum(not job.future.done() for job in self._jobs)
            if unfinished >= MOST_UNFINISHED:
                raise UserError(
                    f"{unfinished} jobs wait for the device already", fix="try again later"
                )
            self._count += 1
            job: Job[Result] = Job(self._count, kind, title)
            job.future = self._pool.submit(job.run, partial(self._guarded, work))
            self._jobs.append(job)  # type: ignore[arg-type]
            self._forget_old()
            return job

    def submit_pieces(
        self, kind: str, title: str, work: Callable[[Report], Generator[None, None, Result]]
    ) -> Job[Result]:
        """Queue work that lets everything go first that waits where it yields.

        Args:
            kind: of which at most one is unfinished: the newest work stands for the older.
            title: the job in words.
            work: a generator; what it returns is the job's result.
        """
        with self._lock:
            if (older := self._unfinished(kind)) is not None:
                older.cancel()
            self._count += 1
            job: Job[Result] = Job(self._count, kind, title)
            job.future = Future()
            self._jobs.append(job)  # type: ignore[arg-type]
            self._forget_old()
        self._queue_piece(job, work(job.report))
        return job

    def _queue_piece(self, job: Job[Result], pieces: Generator[None, None, Result]) -> None:
        def go_on(piece: Future[None]) -> None:
            failure = Cancelled() if piece.cancelled() else piece.exception()
            if job.future.cancelled():
                return
            if isinstance(failure, StopIteration):
                job.future.set_result(failure.value)
            elif failure is not None:
                job.future.set_exception(failure)

        self._pool.submit(self._do_piece, job, pieces).add_done_callback(go_on)

    def _do_piece(self, job: Job[Result], pieces: Generator[None, None, Result]) -> None:
        if not (job.future.running() or job.future.set_running_or_notify_cancel()):
            return
        try:
            job.run(partial(self._guarded, lambda _report: next(pieces)))
            if job.view().cancelling:
                raise Cancelled
        except BaseException:
            pieces.close()  # The error is kept, and with it would be all that they hold.
            raise
        self._queue_piece(job, pieces)

    def latest(self, kind: str) -> Job[object] | None:
        """The newest job of a kind, finished or not."""
        with self._lock:
            return next((job for job in reversed(self._jobs) if job.kind == kind), None)

    def awaited(self, kind: str) -> Job[object] | None:
        """The next job of a kind that is waited for, the running one first."""
        with self._lock:
            return next((job for job in self._jobs if job.kind == kind and job.awaited), None)

    def unfinished(self) -> tuple[JobView, ...]:
        """Views of all jobs that wait or run, in order."""
        with self._lock:
            jobs = tuple(self._jobs)
        views = (job.view() for job in jobs if not job.future.done())
        return tuple(view for view in views if not view.state.finished)

    def leave(self, page: str) -> None:
        """A page is gone; nothing goes on for it alone."""
        with self._lock:
            jobs = [job for job in self._jobs if not job.future.done()]
        for job in jobs:
            job.leave(page)

    def close(self) -> None:
        """Ask everything to stop; waits for the running job to reach its next report."""
        with self._lock:
            for job in self._jobs:
                job.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _guarded(self, work: Callable[[Report], Result], report: Report) -> Result:
        if self._lost is None:
            try:
                return work(report)
            except (RuntimeError, UserError) as error:
                if not is_device_lost(error):
                    raise
                _log.error("The device was lost", exc_info=error)
                self._lost = error
                forget_frames(error)
            self._save()
        raise device_lost(self._lost)

    def _unfinished(self, kind: str) -> Job[object] | None:
        same = (job for job in self._jobs if job.kind == kind and not job.future.done())
        return next(same, None)

    def _forget_old(self) -> None:
        while len(self._jobs) > FINISHED_JOBS_KEPT and self._jobs[0].future.done():
            self._jobs.popleft()


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


class Answers:
    """Jobs by what they work out, so that each answer is worked out once and then remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Hashable, Job[Any]] = OrderedDict()

    def ask(
        self, key: Hashable, start: Callable[[], Job[Result]], *, again: bool = True
    ) -> Job[Result]:
        """The job that works an answer out: a new one, or the one that waits, runs or is done.

        Args:
            key: everything the answer depends on.
            start: queues the job.
            again: whether one that failed or was cancelled is started anew.
        """
        with self._lock:
            job: Job[Result] | None = self._jobs.get(key)
            lost = job is not None and job.view().state in (JobState.FAILED, JobState.CANCELLED)
            if job is None or (lost and again):
                job = self._jobs[key] = start()
                while len(self._jobs) > KEPT_ANSWERS:
                    self._jobs.popitem(last=False)
            return job
