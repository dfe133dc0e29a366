"""The background worker, driven with events instead of sleeps."""

import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterator

import pytest

from readout_ui.app.jobs import ASKING, MOST_UNFINISHED, JobState, Worker
from readout_ui.errors import UserError
from readout_ui.progress import Cancelled, Progress, Report

WAIT = 10.0


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


class Steps:
    """Work that reports a step each time the test lets it go on."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps
        self.go = threading.Semaphore(0)
        self.reported = threading.Semaphore(0)
        self.done = 0
        self.threads: list[threading.Thread] = []

    def __call__(self, report: Report) -> str:
        report(Progress("Reading texts", 0, self.n_steps))
        self.reported.release()
        for step in range(self.n_steps):
            assert self.go.acquire(timeout=WAIT)
            self.done = step + 1
            report(Progress("Reading texts", step + 1, self.n_steps, note=f"text {step + 1}"))
            self.reported.release()
        return "finished"

    def advance(self) -> None:
        self.go.release()
        assert self.reported.acquire(timeout=WAIT)


def started(worker: Worker, n_steps: int = 3) -> tuple[Steps, Callable[[], object]]:
    steps = Steps(n_steps)
    job = worker.submit("train", "Training", steps, exclusive=True)
    assert steps.reported.acquire(timeout=WAIT)
    return steps, job.result


def test_a_job_shows_real_counts_and_a_time_left_while_it_runs(worker: Worker) -> None:
    steps, _ = started(worker)
    steps.advance()
    view = worker.latest("train").view()  # type: ignore[union-attr]
    assert (view.state, view.fraction) == (JobState.RUNNING, 1 / 3)
    assert view.seconds_left is not None
    assert "text 1" in view.log[-1]
    for _ in range(2):
        steps.advance()


def test_a_finished_job_returns_its_result(worker: Worker) -> None:
    steps, result = started(worker, n_steps=1)
    steps.advance()
    assert result() == "finished"
    assert worker.latest("train").view().state is JobState.DONE  # type: ignore[union-attr]


def test_cancel_takes_effect_at_the_next_report(worker: Worker) -> None:
    steps, result = started(worker)
    worker.latest("train").cancel()  # type: ignore[union-attr]
    assert worker.latest("train").view().cancelling  # type: ignore[union-attr]
    steps.go.release()
    with pytest.raises(Cancelled):
        result()
    assert steps.done == 1
    assert worker.latest("train").view().state is JobState.CANCELLED  # type: ignore[union-attr]


def test_two_clicks_make_one_job(worker: Worker) -> None:
    steps, _ = started(worker, n_steps=1)
    first = worker.latest("train")
    assert worker.submit("train", "Training", steps, exclusive=True) is first
    steps.advance()


def test_after_a_job_has_ended_the_same_kind_starts_a_new_one(worker: Worker) -> None:
    steps, result = started(worker, n_steps=1)
    steps.advance()
    result()
    again = worker.submit("train", "Training", lambda _report: "second", exclusive=True)
    assert again.result() == "second"


def test_jobs_run_one_after_another_in_the_order_they_came(worker: Worker) -> None:
    steps, _ = started(worker, n_steps=1)
    order: list[str] = []
    second = worker.submit("read", "Reading", lambda _report: order.append("second"))
    third = worker.submit("read", "Reading", lambda _report: order.append("third"))
    assert [view.state for view in worker.unfinished()] == [
        JobState.RUNNING,
        JobState.WAITING,
        JobState.WAITING,
    ]
    steps.advance()
    second.result()
    third.result()
    assert order == ["second", "third"]


def test_a_waiting_job_that_is_cancelled_never_starts(worker: Worker) -> None:
    steps, _ = started(worker, n_steps=1)
    ran: list[bool] = []
    waiting = worker.submit("read", "Reading", lambda _report: ran.append(True))
    waiting.cancel()
    steps.advance()
    with pytest.raises(Cancelled):
        waiting.result()
    assert not ran


def test_a_user_error_is_shown_as_its_own_sentence(worker: Worker) -> None:
    def fail(_report: Report) -> None:
        raise UserError("no texts", where="calm", fix="write one")

    job = worker.submit("train", "Training", fail)
    with pytest.raises(UserError):
        job.result()
    assert job.view().error == "calm: no texts; write one."


def test_an_unexpected_error_does_not_stop_the_worker(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    job = worker.submit("train", "Training", lambda _report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        job.result()
    assert "ZeroDivisionError" in job.view().error
    assert worker.submit("train", "Training", lambda _report: "alive").result() == "alive"
    assert any(record.exc_info for record in caplog.records)


def waiting(worker: Worker, kind: str, pages: tuple[str, ...]) -> tuple[Steps, list[str]]:
    """A job that each of these pages waits for, and how the waiting ended."""
    steps, ends = Steps(1), list[str]()
    job = worker.submit(kind, "Judging", steps)
    assert steps.reported.acquire(timeout=WAIT)

    def wait(page: str) -> None:
        ASKING.set(page)
        try:
            ends.append(f"{page} {job.result()}")
        except Cancelled:
            ends.append(f"{page} cancelled")

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(wait, p)) for p in pages
    ]
    for thread in threads:
        thread.start()
    steps.threads = threads
    deadline = time.monotonic() + WAIT
    while len(job._waiting) < len(pages) and time.monotonic() < deadline:
        time.sleep(0.01)
    return steps, ends


def ended(steps: Steps) -> None:
    steps.go.release()
    for thread in steps.threads:
        thread.join(timeout=WAIT)


def test_work_that_only_gone_pages_wait_for_is_cancelled(worker: Worker) -> None:
    steps, ends = waiting(worker, "judge", ("a", "b"))
    worker.leave("a")
    worker.leave("somebody else")
    worker.leave("b")
    ended(steps)
    assert sorted(ends) == ["a cancelled", "b cancelled"]


@pytest.mark.parametrize(
    ("kind", "pages", "gone"),
    [("judge", ("a", "b"), ["a"]), ("train", ("a",), ["a"]), ("judge", ("",), ["a"])],
)
def test_work_that_others_wait_for_and_trainings_go_on(
    worker: Worker, kind: str, pages: tuple[str, ...], gone: list[str]
) -> None:
    steps, ends = waiting(worker, kind, pages)
    for page in gone:
        worker.leave(page)
    ended(steps)
    assert sorted(ends) == [f"{page} finished" for page in pages]


def test_too_much_work_is_sent_away(worker: Worker) -> None:
    steps, _ = started(worker)
    for _ in range(MOST_UNFINISHED - 1):
        worker.submit("read", "Reading", lambda _report: None)
    with pytest.raises(UserError, match="64 jobs wait for the device already"):
        worker.submit("read", "Reading", lambda _report: None)
    assert worker.submit("train", "Training", steps, exclusive=True).number == 1
    for _ in range(3):
        steps.advance()


def test_others_go_first_between_two_pieces(worker: Worker) -> None:
    order: list[str] = []
    queued = threading.Event()

    def pieces(report: Report) -> Generator[None, None, str]:
        for number in range(3):
            if number == 1:
                assert queued.wait(WAIT)
            report(Progress("Judging", number, 3))
            order.append(f"piece {number}")
            yield
        return "judged"

    job = worker.submit_pieces("report", "Judging", pieces)
    reading = worker.submit("read", "Reading", lambda _report: order.append("reading"))
    queued.set()
    assert job.result() == "judged"
    reading.result()
    assert order.index("reading") < order.index("piece 2")
    assert job.view().state is JobState.DONE
    assert worker.unfinished() == ()


def test_work_in_pieces_fails_stops_and_makes_way_for_newer(worker: Worker) -> None:
    def forever(report: Report) -> Generator[None, None, None]:
        while True:
            report(Progress("Judging", 0, 0))
            yield

    def broken(_report: Report) -> Generator[None, None, None]:
        yield
        raise UserError("there are no texts")

    old = worker.submit_pieces("report", "Old", forever)
    new = worker.submit_pieces("report", "New", broken)
    with pytest.raises(Cancelled):
        old.result()
    with pytest.raises(UserError, match="no texts"):
        new.result()
    assert new.view().error == "there are no texts."
    last = worker.submit_pieces("report", "Last", forever)
    worker.close()
    with pytest.raises(Cancelled):
        last.result()
