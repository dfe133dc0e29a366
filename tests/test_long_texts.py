"""Runs of one sign as long as a text may be: nothing is searched anew from each place in them."""

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
LENGTH, MOST_SECONDS = 60_000, 1.0
"""What was searched from each place took 3 to 70 seconds."""


def spent(work: Callable[[], object]) -> float:
    """Processor seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("run", [".", ". ", ". A", "a'", " ", "\t", "\n", " :", "'"])
@pytest.mark.parametrize("read", [count_sentences, lambda text: parse_node("key", text)])
def test_a_run_of_signs_is_read_once(read: Callable[[str], object], run: str) -> None:
    text = f"x {run * (LENGTH // len(run))}b"
    assert spent(lambda: read(text)) < MOST_SECONDS
    assert spent(lambda: read(run * (LENGTH // len(run)))) < MOST_SECONDS


def test_a_page_of_spaces_holds_no_reasoning() -> None:
    tokenizer = tiny_tokenizer(THINKING)
    thought = Turn("assistant", "<think> so </think>  b")
    assert template_pieces(tokenizer, [thought])[1].text == "b"
    turns = [Turn("user", "a"), Turn("assistant", f"a{' ' * LENGTH}b"), Turn("user", "c")]
    assert spent(lambda: template_pieces(tokenizer, turns, True)) < MOST_SECONDS


@pytest.fixture(scope="module")
def frame() -> PromptFrame:
    return frame_for(tiny_tokenizer(CHATML))


def test_thousands_of_turns_are_framed_in_time_that_grows_with_their_number(
    frame: PromptFrame,
) -> None:
    assert spent(lambda: frame.frame_chat([Turn("user", "x")] * 8000, True)) < MOST_SECONDS


def test_thousands_of_turns_are_refused_in_a_short_sentence(frame: PromptFrame) -> None:
    with pytest.raises(UserError) as refused:
        frame.frame_chat([Turn("user", "x")] * 2000, True, {"conversation": 1})
    assert len(str(refused.value)) < 300
