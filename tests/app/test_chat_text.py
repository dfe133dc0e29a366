import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.app.read.chat_text import parse_chat
from readout_ui.errors import UserError
from readout_ui.models.chat_template import Turn

SAID = (
    st.text(
        st.one_of(st.sampled_from("\\\n :*uUser"), st.characters(exclude_characters="\r")),
        min_size=1,
    )
    | st.sampled_from(["User: hello", "a\n\\User: b", "x\nAssistant: y", "a\n  **User:** b"])
).filter(lambda text: bool(text.strip()))
TURNS = st.lists(
    st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), SAID), min_size=1
)


NAME = re.compile(
    r"(?ai)\\*[ \t]*(?:\*\*)?(system|user|assistant|human|ai|model|bot)(?:\*\*)?[ \t]*:"
)


def written(turns: list[Turn]) -> str:
    """The chat as a person types it; a line that looks like a name gets a backslash."""
    lines = [
        [f"{turn.role}: {first}", *(f"\\{line}" if NAME.match(line) else line for line in rest)]
        for turn in turns
        for first, *rest in [turn.text.strip().split("\n")]
    ]
    return "\n".join(line for turn in lines for line in turn)


@given(TURNS)
def test_any_chat_comes_back_from_its_text(turns: list[Turn]) -> None:
    expected = tuple(Turn(turn.role, turn.text.strip()) for turn in turns)
    assert parse_chat(written(turns)) == expected


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        turns = parse_chat(text)
    except UserError:
        return
    assert turns
    assert all(turn.text.strip() for turn in turns)


def test_names_of_other_programs_and_bold_ones_are_understood() -> None:
    chat = "HUMAN: hi\r\n\r\n**AI:** hello\r\nstill me\nbot : again"
    assert parse_chat(chat) == (
        Turn("user", "hi"),
        Turn("assistant", "hello\nstill me"),
        Turn("assistant", "again"),
    )


def test_a_line_with_a_backslash_begins_no_turn() -> None:
    assert parse_chat("User: He wrote\n\\Assistant: no") == (
        Turn("user", "He wrote\nAssistant: no"),
    )


def test_text_before_the_first_name_is_refused_with_its_line() -> None:
    with pytest.raises(UserError, match=r"line 2: the chat does not say who speaks"):
        parse_chat("\nhello\nUser: hi")


def test_an_empty_turn_is_refused_with_its_line() -> None:
    with pytest.raises(UserError, match=r"line 2: the assistant says nothing"):
        parse_chat("User: hi\nAssistant:\n\nUser: there")


@pytest.mark.parametrize("text", ["", " \n "])
def test_nothing_to_read_is_said(text: str) -> None:
    with pytest.raises(UserError, match="nothing to read"):
        parse_chat(text)
