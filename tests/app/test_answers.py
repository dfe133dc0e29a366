"""Background answers: no caller waits, each is worked out once, a failure can be tried again."""

import threading
from collections.abc import Callable, Iterator

import pytest

from readout_ui.app.jobs import Answers, Job, JobState, Worker
from readout_ui.errors import UserError


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def test_callers_go_on_while_the_answer_is_worked_out_once(worker: Worker) -> None:
    answers, may_finish = Answers(), threading.Event()

    def start() -> Job[str]:
        def work(_report: object) -> str:
            may_finish.wait(10)
            return "found"

        return worker.submit("judge", "Judging", work)

    first = answers.ask("run 1", start)
    assert not first.view().state.finished
    assert answers.ask("run 1", start) is first
    assert answers.ask("run 2", start) is not first
    may_finish.set()
    assert first.result() == "found"
    assert answers.ask("run 1", start) is first


def failing(worker: Worker, said: list[str]) -> Callable[[], Job[str]]:
    """Starts a job that fails the first time it runs."""

    def work(_report: object) -> str:
        said.append("asked")
        if len(said) == 1:
            raise UserError("there is no model")
        return "found"

    return lambda: worker.submit("judge", "Judging", work)


def test_what_failed_is_tried_again_or_left_as_the_caller_says(worker: Worker) -> None:
    answers, start = Answers(), failing(worker, [])
    first = answers.ask("run 1", start)
    with pytest.raises(UserError, match="no model"):
        first.result()
    assert answers.ask("run 1", start, again=False) is first
    assert first.view().state is JobState.FAILED
    assert answers.ask("run 1", start).result() == "found"


def test_only_the_newest_answers_are_kept(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readout_ui.app.jobs.KEPT_ANSWERS", 2)
    answers = Answers()

    def start() -> Job[int]:
        return worker.submit("judge", "Judging", lambda _report: 1)

    first, second = answers.ask(1, start), answers.ask(2, start)
    answers.ask(3, start)
    assert answers.ask(2, start) is second
    assert answers.ask(1, start) is not first
