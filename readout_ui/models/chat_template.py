"""What a chat template puts between the turns of a chat.

Templates are rendered with marks in the place of the turns, so a template never reads (and never
rewrites) what a person wrote; afterwards the turns' texts take the place of the marks.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FRAME_DATE = "26 Jul 2024"
"""What templates that print today's date get, so that a frame does not change overnight."""
_DATE_PARTS = {"%d": "26", "%-d": "26", "%b": "Jul", "%B": "July", "%m": "07", "%Y": "2024"}
_SIDE = "\x1f"
_MARK = re.compile(rf"({_SIDE}?)\[\[(\d+)#\]\]({_SIDE}?)")

Role = Literal["system", "user", "assistant"]


class TokenRole(StrEnum):
    """Who a token belongs to."""

    TEMPLATE = "template"
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True)
class Turn:
    """One message of a chat."""

    role: Role
    """Who speaks."""
    text: str
    """What is said."""


class Piece(NamedTuple):
    """A stretch of a rendered chat."""

    text: str
    """Its text."""
    role: TokenRole
    """Whose it is."""


class _Message(NamedTuple):
    role: str
    content: str


class TemplateRefused(Exception):
    """The chat template raised an error of its own, or dropped a turn."""


def plain_pieces(turns: Sequence[Turn], generation_prompt: bool) -> list[Piece]:
    """The turns line by line, for a tokenizer without a chat template."""
    pieces = [Piece("", TokenRole.TEMPLATE)]
    for turn in turns:
        pieces += [Piece(turn.text, TokenRole(turn.role)), Piece("\n", TokenRole.TEMPLATE)]
    return pieces if generation_prompt else pieces[:-1]


def _messages(turns: Iterable[Turn]) -> list[_Message]:
    # The separators are whitespace that no template prints: where they are gone, it strips texts.
    return [_Message(turn.role, f"{_SIDE}[[{i}#]]{_SIDE}") for i, turn in enumerate(turns)]


def _fold_system(messages: Sequence[_Message]) -> list[_Message]:
    text = f"{messages[0].content.rstrip()}\n\n{messages[1].content.lstrip()}"
    return [_Message("user", text), *messages[2:]]


def template_pieces(
    tokenizer: "PreTrainedTokenizerBase", turns: Sequence[Turn], generation_prompt: bool = False
) -> list[Piece]:
    """The template's own text and the turns' texts, in the order in which they stand.

    A system turn goes in front of the first user turn where the template refuses one.

    Raises:
        TemplateRefused: the template raises an error or leaves out a turn.
    """
    try:
        return _render(tokenizer, _messages(turns), turns, generation_prompt)
    except TemplateRefused:
        if [turn.role for turn in turns[:2]] != ["system", "user"]:
            raise
        return _render(tokenizer, _fold_system(_messages(turns)), turns, generation_prompt)


def _render(
    tokenizer: "PreTrainedTokenizerBase",
    messages: Sequence[_Message],
    turns: Sequence[Turn],
    generation_prompt: bool,
) -> list[Piece]:
    """The template's own text and the turns' texts, in the order in which they stand."""
    as_text = [{"role": m.role, "content": m.content} for m in messages]
    try:
        return _split(_apply(tokenizer, as_text, generation_prompt), turns)
    except TemplateRefused as refusal:
        # Templates of vision-language models may want a list of parts.
        as_parts = [
            {"role": m.role, "content": [{"type": "text", "text": m.content}]} for m in messages
        ]
        try:
            return _split(_apply(tokenizer, as_parts, generation_prompt), turns)
        except TemplateRefused:
            raise refusal from None


def _apply(
    tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, Any]], generation_prompt: bool
) -> str:
    from jinja2 import TemplateError

    try:
        rendered = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=generation_prompt,
            chat_template=_dated(tokenizer.get_chat_template()),
            date_string=FRAME_DATE,
        )
    except (TemplateError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TemplateRefused(str(error)) from error
    return str(rendered)


def _dated(template: str) -> str:
    """The template with its clock stopped at FRAME_DATE, by a macro of the clock's name."""
    if "strftime_now" not in template:
        return template
    filters = "".join(f" | replace('{part}', '{value}')" for part, value in _DATE_PARTS.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}{template}"


def _split(rendered: str, turns: Sequence[Turn]) -> list[Piece]:
    """Cut a rendered template at the marks and put the turns' texts in their place."""
    pieces, position, seen = [], 0, set()
    for mark in _MARK.finditer(rendered):
        turn = turns[int(mark[2])]
        text = turn.text if mark[1] else turn.text.lstrip()
        text = text if mark[3] else text.rstrip()
        pieces.append(Piece(rendered[position : mark.start()], TokenRole.TEMPLATE))
        pieces.append(Piece(text, TokenRole(turn.role)))
        position = mark.end()
        seen.add(int(mark[2]))
    pieces.append(Piece(rendered[position:], TokenRole.TEMPLATE))
    if missing := set(range(len(turns))) - seen:
        raise TemplateRefused(f"it leaves out turn {min(missing) + 1}")
    return pieces
