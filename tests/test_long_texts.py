"""Runs of one sign as long as a text may be: nothing is searched anew from each place in them."""

import gc
import time
from collections.abc import Callable

import pytest

from readout_ui.errors import UserError
from readout_ui.models.chat_template import Turn, template_pieces
from readout_ui.models.prompt import PromptFrame, frame_for
from readout_ui.texts.memory import parse_node
from readout_ui.texts.words import count_sentences
from tests.support.architectures import CHATML, tiny_tokenizer

THINKING = CHATML.replace("m['content']", "m['content'].split('</think>')[-1]")
LENGTH = 60_000
"""What was searched from each place took 3 to 70 seconds."""


def grows_with_length(work: Callable[[int], object], length: int = LENGTH) -> bool:
    """Whether four times as much takes no more than eight times as long; it would be 16 times.

    The best of three, without collections of garbage: these look at all that other tests left.
    """

    def spent(length: int) -> float:
        start = time.process_time()
        work(length)
        return time.process_time() - start

    spent(8)  # what is loaded at the first use
    gc.disable()
    try:
        short, long = (min(spent(n) for _ in range(3)) for n in (length // 4, length))
    finally:
        gc.enable()
    return long < 8 * short + 0.2


@pytest.mark.parametrize("run", [".", ". ", ". A", "a'", " ", "\t", "\n", " :", "'"])
@pytest.mark.parametrize("read", [count_sentences, lambda text: parse_node("key", text)])
def test_a_run_of_signs_is_read_once(read: Callable[[str], object], run: str) -> None:
    assert grows_with_length(lambda n: read(f"x {run * (n // len(run))}b"))
    assert grows_with_length(lambda n: read(run * (n // len(run))))


def test_a_page_of_spaces_holds_no_reasoning() -> None:
    tokenizer = tiny_tokenizer(THINKING)
    thought = Turn("assistant", "<think> so </think>  b")
    assert template_pieces(tokenizer, [thought])[1].text == "b"

    def read(n: int) -> object:
        turns = [Turn("user", "a"), Turn("assistant", f"a{' ' * n}b"), Turn("user", "c")]
        return template_pieces(tokenizer, turns, True)

    assert grows_with_length(read)


@pytest.fixture(scope="module")
def frame() -> PromptFrame:
    return frame_for(tiny_tokenizer(CHATML))


def test_thousands_of_turns_are_framed_in_time_that_grows_with_their_number(
    frame: PromptFrame,
) -> None:
    assert grows_with_length(lambda n: frame.frame_chat([Turn("user", "x")] * n, True), 8000)


def test_thousands_of_turns_are_refused_in_a_short_sentence(frame: PromptFrame) -> None:
    with pytest.raises(UserError) as refused:
        frame.frame_chat([Turn("user", "x")] * 2000, True, {"conversation": 1})
    assert len(str(refused.value)) < 300
