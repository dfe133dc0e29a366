"""What a chat template puts between the turns of a chat.

Templates are rendered with marks in the place of the turns, so a template never reads (and never
rewrites) what a person wrote; afterwards the turns' texts take the place of the marks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FRAME_DAY = datetime(2024, 7, 26)
FRAME_DATE = FRAME_DAY.strftime("%d %b %Y")
"""What templates that print today's date get, so that a frame does not change overnight."""
_SIDE = "\x1f"
_MARK = re.compile(rf"({_SIDE}?)\[\[(\d+)\.(\d+)#\]\]({_SIDE}?)")
_SPOILED = re.compile(rf"{_SIDE}|\\x1f|\\u001f|\[\[\d")
"""What is left of a mark that a template did not print as it is."""
_ITS_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_NOT_VARIABLES = {"conversation", "chat_template", "continue_final_message", "tokenizer_kwargs"}
_THOUGHTS = ("think", "thinking", "THINK", "reasoning", "seed:think")
_SWITCH = re.compile(r"\benable_thinking\b|\bthinking(?= is (?:not )?defined)")
PROBE = 'She said: "It\'s <b>done</b> & 100% naïve".\n\n' + "And then nobody answered. " * 200
"""Longer than templates cut, with what JSON, HTML and upper case would change."""

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


class _Part(NamedTuple):
    """A stretch of a turn's text: what stands for itself, then what a mark stands for."""

    tag: str
    """A tag round reasoning with the space beside it, as the template has to see it; mostly ""."""
    text: str
    """What follows."""


class TemplateRefused(Exception):
    """The chat template raised an error of its own, dropped a turn or changed a text."""


def plain_pieces(turns: Sequence[Turn], generation_prompt: bool) -> list[Piece]:
    """The turns line by line, for a tokenizer without a chat template."""
    pieces = [Piece("", TokenRole.TEMPLATE)]
    for turn in turns:
        pieces += [Piece(turn.text, TokenRole(turn.role)), Piece("\n", TokenRole.TEMPLATE)]
    return pieces if generation_prompt else pieces[:-1]


def thinking_switch(template: str) -> str:
    """The variable by which a template is told to open no reasoning, "" where it has none."""
    found = _SWITCH.search(template)
    return found[0] if found else ""


def template_pieces(
    tokenizer: "PreTrainedTokenizerBase",
    turns: Sequence[Turn],
    generation_prompt: bool = False,
    template_kwargs: Mapping[str, Any] | None = None,
) -> list[Piece]:
    """The template's own text and the turns' texts, in the order in which they stand.

    Earlier reasoning is kept or dropped as the template does it. A system turn goes in front of
    the first user turn where the template refuses one.

    Args:
        tokenizer: whose template it is.
        turns: the chat.
        generation_prompt: whether the assistant's next turn is opened.
        template_kwargs: the template's own variables, such as `enable_thinking`.

    Raises:
        TemplateRefused: the template raises an error, leaves out a turn or changes its text.
    """
    render = _Rendering(tokenizer, turns, generation_prompt, dict(template_kwargs or {}))
    try:
        return render.pieces(render.contents)
    except TemplateRefused:
        if [turn.role for turn in turns[:2]] != ["system", "user"]:
            raise
        first, second, *rest = render.contents
        return render.pieces([f"{first.rstrip()}\n\n{second.lstrip()}", *rest], folded=True)


def frame_pieces(tokenizer: "PreTrainedTokenizerBase", question: str) -> tuple[str, str]:
    """What stands before and after the assistant's text, the same for every text.

    Raises:
        TemplateRefused: the template cannot be used, or not for every text: it prints the text
            twice, cuts it, or writes it in another form.
    """
    turns = (Turn("user", question), Turn("assistant", ""))
    pieces = template_pieces(tokenizer, turns)
    at = [index for index, piece in enumerate(pieces) if piece.role == TokenRole.ASSISTANT]
    if len(at) > 1:
        raise TemplateRefused("it prints a text twice")
    before = "".join(piece.text for piece in pieces[: at[0]])
    after = "".join(piece.text for piece in pieces[at[0] + 1 :])
    rendering, probe = _Rendering(tokenizer, turns, False, {}), PROBE.strip()
    for in_parts in (False, True):
        try:
            if rendering.printed([question, probe], in_parts=in_parts) == before + probe + after:
                return before, after
        except TemplateRefused:
            continue
    raise TemplateRefused("it changes a text")


_DIRECTIVES = [
    f"%{flag}{letter}"
    for flag in ("", "-", "_", "0")
    for letter in "aAbBcCdDeFgGhHIjklmMnprRsSTuUVwWxXyYzZ"
]


def _dated(template: str) -> str:
    """The template with its clock stopped at FRAME_DAY, by a macro of the clock's name.

    A function of ours would not do: transformers 5 turns what templates are given into text.
    """
    if "strftime_now" not in template:
        return template
    values = {each: FRAME_DAY.strftime(each).replace("\n", "\\n") for each in _DIRECTIVES}
    pairs = [("%%", "\\0"), *values.items(), ("\\0", "%")]
    filters = "".join(f" | replace('{part}', '{value}')" for part, value in pairs)
    return f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}{template}"


class _Rendering:
    """One chat in one template."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        turns: Sequence[Turn],
        generation_prompt: bool,
        template_kwargs: dict[str, Any],
    ) -> None:
        self._tokenizer, self._turns = tokenizer, turns
        self._generation_prompt, self._kwargs = generation_prompt, template_kwargs
        template = str(tokenizer.get_chat_template())
        known = "|".join(rf"</?{tag}>|\[/?{tag}\]" for tag in _THOUGHTS if f"{tag}" in template)
        # Space in front only where it begins: a page of spaces would be searched from every one.
        self._tags = re.compile(rf"((?:(?<!\s)\s+)?(?:{known})\s*)" if known else r"((?!))")
        self._parts = [self._split(turn) for turn in turns]
        # The separators are whitespace that no template prints: where they are gone, it strips.
        self.contents = [
            "".join(
                f"{part.tag}{_SIDE}[[{index}.{place}#]]{_SIDE}"
                if part.text or not place
                else part.tag
                for place, part in enumerate(parts)
            )
            for index, parts in enumerate(self._parts)
        ]

    def pieces(self, contents: Sequence[str], folded: bool = False) -> list[Piece]:
        """The rendered chat with the turns' texts in the place of the marks."""
        try:
            return self._cut(self.printed(contents, folded))
        except TemplateRefused as refusal:
            # Templates of vision-language models may want a list of parts.
            try:
                return self._cut(self.printed(contents, folded, in_parts=True))
            except TemplateRefused:
                raise refusal from None

    def printed(self, contents: Sequence[str], folded: bool = False, in_parts: bool = False) -> str:
        """The template's output for these texts; `folded` leaves the first turn's role out."""
        turns = self._turns[1:] if folded else self._turns
        messages: list[dict[str, Any]] = [
            {
                "role": turn.role,
                "content": [{"type": "text", "text": content}] if in_parts else content,
            }
            for turn, content in zip(turns, contents, strict=True)
        ]
        return self._apply(messages)

    def _split(self, turn: Turn) -> list[_Part]:
        """Only the assistant's turns hold reasoning; no other text is read for it."""
        if turn.role != "assistant":
            return [_Part("", turn.text)]
        first, *more = self._tags.split(turn.text)
        parts = [_Part(tag, text) for tag, text in zip(more[::2], more[1::2], strict=True)]
        return [_Part("", first), *parts] if first or not parts else parts

    def _apply(self, messages: list[dict[str, Any]]) -> str:
        from jinja2 import TemplateError

        if taken := _NOT_VARIABLES & self._kwargs.keys():
            raise TemplateRefused(f"{min(taken)} is no variable of a template")
        ours = {
            "chat_template": _dated(str(self._tokenizer.get_chat_template())),
            "date_string": FRAME_DATE,
            "add_generation_prompt": self._generation_prompt,
            "tokenize": False,
        }
        try:
            return str(self._tokenizer.apply_chat_template(messages, **(self._kwargs | ours)))
        except (TemplateError, *_ITS_ERRORS) as error:
            raise TemplateRefused(str(error)) from error

    def _cut(self, rendered: str) -> list[Piece]:
        """Cut a rendered template at the marks and put the turns' texts in their place."""
        pieces, position = [], 0
        missing = [self._last(parts) for parts in self._parts]
        for mark in _MARK.finditer(rendered):
            index, place = int(mark[2]), int(mark[3])
            part, role = self._parts[index][place], TokenRole(self._turns[index].role)
            text = part.text if mark[1] else part.text.lstrip()
            text = text if mark[4] else text.rstrip()
            own = rendered[position : mark.start()]
            tag = part.tag if part.tag and own.endswith(part.tag) else ""
            pieces.append(Piece(own.removesuffix(tag), TokenRole.TEMPLATE))
            pieces.append(Piece(tag + text, role))
            position = mark.end()
            missing[index].discard(place)
        pieces.append(Piece(rendered[position:], TokenRole.TEMPLATE))
        if any(_SPOILED.search(p.text) for p in pieces if p.role == TokenRole.TEMPLATE):
            raise TemplateRefused("it changes a text")
        if left_out := next((turn for turn, places in enumerate(missing, 1) if places), 0):
            raise TemplateRefused(f"it leaves out turn {left_out}")
        return pieces

    @staticmethod
    def _last(parts: Sequence[_Part]) -> set[int]:
        """Which parts have to be there: what stands behind the last closing tag, if anything."""
        closed = [place for place, part in enumerate(parts) if "/" in part.tag]
        first = closed[-1] if closed else 0
        return {place for place in range(first, len(parts)) if parts[place].text or not place}
