"""A chat typed as plain text: `User:`, `Assistant:` and `System:` lines begin turns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

from readout_ui.errors import UserError
from readout_ui.models.chat_template import Role, Turn

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
