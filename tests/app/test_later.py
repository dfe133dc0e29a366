"""Later: nobody waits, each question is worked out once, a new question replaces the old one."""

import threading

from readout_ui.app.jobs import Later
from readout_ui.errors import UserError


def settled(later: Later[str], key: str) -> str | None:
    """The answer once it is there; the work it waits for is done already."""
    pause = threading.Event()
    for _ in range(500):
        ready, answer = later.answer(key, lambda: "never asked")
        if ready:
            return answer
        pause.wait(0.01)
    raise AssertionError("no answer came")


def test_callers_go_on_while_the_answer_is_worked_out_once() -> None:
    later: Later[str] = Later()
    may_finish = threading.Event()

    def work() -> str:
        may_finish.wait(10)
        return "found"

    assert later.answer("run 1", work) == (False, None)
    assert later.answer("run 1", work) == (False, None)
    may_finish.set()
    assert settled(later, "run 1") == "found"


def test_a_late_answer_to_an_old_question_is_forgotten() -> None:
    later: Later[str] = Later()
    may_finish, finished = threading.Event(), threading.Event()

    def slow() -> str:
        may_finish.wait(10)
        finished.set()
        return "old"

    later.answer("run 1", slow)
    later.answer("run 2", lambda: "new")
    may_finish.set()
    assert finished.wait(10)
    assert settled(later, "run 2") == "new"


def test_a_question_that_cannot_be_answered_is_settled_without_an_answer() -> None:
    later: Later[str] = Later()

    def fail() -> str:
        raise UserError("there is no model")

    later.answer("run 1", fail)
    assert settled(later, "run 1") is None
