"""A chat as plain text: `User:`, `Assistant:` and `System:` lines begin turns."""

import re
from collections.abc import Sequence
from typing import get_args

from readout_ui.errors import UserError
from readout_ui.frames import QUESTION, Role, Turn

EXAMPLE = "User: My flight was cancelled.\nAssistant: Oh no. I feel for you."
_NAMES: dict[str, Role] = {
    **{role: role for role in get_args(Role)},
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
_NAME = rf"[ \t]*(?:\*\*)?({'|'.join(_NAMES)})(?:\*\*)?[ \t]*:(?:\*\*)?"
# ASCII, so that "ſystem" is no "system"; names in bold are how other programs paste a chat.
_TURN = re.compile(rf"(?ai){_NAME}")
_LITERAL = re.compile(rf"(?ai)\\+{_NAME}")
_AMBIGUOUS = re.compile(rf"(?ai)\\*{_NAME}")


def parse_chat(text: str) -> tuple[Turn, ...]:
    r"""The turns of a chat; lines without a name belong to the turn above them.

    `\User: x` is a line that says "User: x" and begins no turn. Human, AI, Bot and Model are
    understood too, in any case.

    Raises:
        UserError: there is no turn, text stands before the first one, or one has no text.
    """
    turns: list[tuple[Role, list[str], int]] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if begin := _TURN.match(line):
            turns.append((_NAMES[begin[1].lower()], [line[begin.end() :]], number))
        elif turns:
            turns[-1][1].append(line[1:] if _LITERAL.match(line) else line)
        elif line.strip():
            raise UserError(
                "the chat does not say who speaks",
                where=f"line {number}",
                fix="begin it with 'User:' or 'Assistant:', or read it as a plain text",
            )
    if not turns:
        raise UserError("there is nothing to read", fix="write 'User: ...' and 'Assistant: ...'")
    return tuple(_turn(role, lines, number) for role, lines, number in turns)


def _turn(role: Role, lines: Sequence[str], number: int) -> Turn:
    said = "\n".join(lines).strip()
    if not said:
        raise UserError(f"the {role} says nothing", where=f"line {number}", fix="remove the turn")
    return Turn(role, said)


def format_chat(turns: Sequence[Turn]) -> str:
    """The text that `parse_chat` reads as these turns (whitespace around each is not kept)."""
    return "\n\n".join(f"{turn.role.capitalize()}: {_escape(turn.text.strip())}" for turn in turns)


def as_chat(text: str) -> str:
    """A text as a chat whose assistant says it; a chat stays as it is."""
    if not text.strip() or _TURN.match(text.lstrip("\r\n")):
        return text
    return format_chat([Turn("user", QUESTION), Turn("assistant", text)])


def as_text(chat: str) -> str:
    """What the assistant says in a chat that `as_chat` made; any other text stays as it is."""
    start = f"User: {QUESTION}\n\nAssistant: "
    if not chat.startswith(start):
        return chat
    try:
        turns = parse_chat(chat)
    except UserError:
        return chat
    return turns[1].text if len(turns) == 2 else chat


def _escape(text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(f"\\{line}" if _AMBIGUOUS.match(line) else line for line in rest)])
