"""The prompt frame: the chat template around a text, and which tokens are the text.

A frame is two fixed strings, what stands before the text and what stands after it, so every text
of a training gets the same frame.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from readout_ui.errors import UserError
from readout_ui.models.chat_template import (
    Piece,
    TemplateRefused,
    TokenRole,
    Turn,
    frame_pieces,
    plain_pieces,
    template_pieces,
    thinking_switch,
)
from readout_ui.models.tokens import Tokens, added_by_itself, agreement, tokenize, tokenize_all

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FRAMES = ("chat", "none")
"""What may stand round a text: the model's chat template, or nothing."""
QUESTION = "How do you feel right now?"
_PROBE = "The quick brown fox is calm; 42 naïve cafés."


@dataclass(frozen=True)
class FramedText:
    """One text inside the frame, as token ids."""

    text: str
    """The text as it stands in the frame (surrounding whitespace removed)."""
    token_ids: tuple[int, ...]
    """Ids of the whole frame, the text's among them."""
    content_start: int
    """Position of the text's first token; one that straddles the border counts. At least 1."""
    content_stop: int
    """Position after the text's last token."""
    truncated: bool
    """True when the end of the text was cut off at `max_length` tokens."""

    def __post_init__(self) -> None:
        if not 0 < self.content_start < self.content_stop <= len(self.token_ids):
            span = f"{self.content_start}..{self.content_stop}"
            raise ValueError(f"content {span} does not fit in {len(self.token_ids)} tokens")


@dataclass(frozen=True)
class FramedChat:
    """A chat, or a raw text, as token ids with the role of every token."""

    token_ids: tuple[int, ...]
    """Ids of all tokens, the template's among them."""
    roles: tuple[TokenRole, ...]
    """One role per token."""

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.roles):
            raise ValueError(f"{len(self.token_ids)} tokens but {len(self.roles)} roles")


@dataclass(frozen=True, eq=False)
class PromptFrame:
    """What is put around every text, for one tokenizer. Made by `frame_for`."""

    tokenizer: "PreTrainedTokenizerBase"
    """The model's tokenizer; never changed."""
    question: str
    """What the user asks in the frame."""
    kind: Literal["chat template", "plain"]
    """Whether the tokenizer's chat template is used."""
    before: str
    """Everything before the text, with the BOS token if the tokenizer wants one."""
    after: str
    """Everything after the text."""
    fingerprint: str
    """sha256 over the frame, its template and how the tokenizer splits it."""
    note: str = ""
    """Why a plain frame is used; empty for a chat template."""
    raw: bool = False
    """Whether a text stands alone. Chats are in the template all the same."""
    prompted: bool = False
    """Whether texts are those that `prompted` made: each has its own prompt as the user's turn."""

    def changed(self, **parts: Any) -> Self:
        """The same frame with other values; nothing is asked of a tokenizer that is not loaded."""
        made = copy.copy(self)
        vars(made).update(parts)
        return made

    def frame(self, text: str, max_length: int) -> FramedText:
        """Put `text` into the frame; its own tokens after the first `max_length` are cut off.

        Raises:
            UserError: the text is empty or has no tokens, or `max_length` is below 1.
        """
        return self.frame_all([text], max_length)[0]

    def frame_all(self, texts: Sequence[str], max_length: int) -> list[FramedText]:
        """The same of many texts; the tokenizer is called once for them, which takes less long.

        Raises:
            UserError: a text is empty or has no tokens, or `max_length` is below 1.
        """
        if max_length < 1:
            raise UserError(f"the maximum length must be at least 1 token, not {max_length}")
        if self.prompted:
            return [self._after_its_prompt(text, max_length) for text in texts]
        contents = [text.strip() for text in texts]
        if not all(contents):
            raise UserError("a text is empty", fix="write something or remove it")
        tokens = tokenize_all(
            self.tokenizer,
            [(self.before, content, self.after) for content in contents],
            written=(False, True, False),
        )
        return [
            _framed(content, found, max_length)
            for content, found in zip(contents, tokens, strict=True)
        ]

    def _after_its_prompt(self, text: str, max_length: int) -> FramedText:
        prompt, answer = unprompted(text)
        frame = frame_for(self.tokenizer, prompt)
        return (raw_frame(frame, prompt) if self.raw else frame).frame(answer, max_length)

    @property
    def thinking_switch(self) -> str:
        """The template's variable that is False where no reasoning is wanted; "" without one."""
        template = self.tokenizer.get_chat_template() if self.kind == "chat template" else ""
        return thinking_switch(str(template))

    def thinking(self, wanted: bool | None) -> dict[str, Any]:
        """The template's variables for reasoning or none; {} for None and without a switch."""
        switch = self.thinking_switch
        return {} if wanted is None or not switch else {switch: wanted}

    def frame_chat(
        self,
        turns: Sequence[Turn],
        add_generation_prompt: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> FramedChat:
        """A chat in the tokenizer's template, each token with its role.

        A system turn goes in front of the first user turn where the template refuses one. Earlier
        reasoning stays or goes as the template wants it.

        Args:
            turns: the chat.
            add_generation_prompt: whether the assistant's next turn is opened.
            template_kwargs: variables of the template, such as `enable_thinking`.

        Raises:
            UserError: no turns, or an order of turns that the template refuses.
        """
        if not turns:
            raise UserError("the chat is empty", fix="write at least one turn")
        if self.kind == "plain":
            pieces = plain_pieces(turns, add_generation_prompt)
        else:
            pieces = self._template_pieces(turns, add_generation_prompt, template_kwargs)
        pieces[0] = pieces[0]._replace(text=_with_bos(self.tokenizer, pieces[0].text))
        return self._framed_chat(pieces)

    def frame_alone(self, text: str) -> FramedChat:
        """A text where the texts of a training stand, with the role of every token."""
        content = text.strip()
        if not self.raw:
            return self.frame_chat([Turn("user", self.question), Turn("assistant", content)])
        before, after = (Piece(some, TokenRole.TEMPLATE) for some in (self.before, self.after))
        return self._framed_chat([before, Piece(content, TokenRole.ASSISTANT), after])

    def frame_raw(self, text: str) -> FramedChat:
        """A text as it is, special tokens in it included; BOS where the tokenizer adds one.

        Special tokens count as template, everything else as the assistant's.
        """
        if not text:
            raise UserError("the text is empty", fix="write something")
        ids = tokenize(self.tokenizer, [_with_bos(self.tokenizer, text)]).ids
        added = self.tokenizer.added_tokens_decoder.items()
        special = {index for index, token in added if token.special}
        return FramedChat(
            ids, tuple(TokenRole.TEMPLATE if i in special else TokenRole.ASSISTANT for i in ids)
        )

    def describe(self) -> str:
        """One line for people: what stands around a text."""
        if self.raw:
            return "no template: the text alone"
        if self.kind == "chat template":
            return f"chat template: user {self.question!r}, assistant = the text"
        return f"{self.note}: plain frame, the line {self.question!r} and then the text"

    def _template_pieces(
        self,
        turns: Sequence[Turn],
        generation_prompt: bool,
        template_kwargs: Mapping[str, Any] | None,
    ) -> list[Piece]:
        try:
            return template_pieces(self.tokenizer, turns, generation_prompt, template_kwargs)
        except TemplateRefused as refusal:
            roles = ", ".join([turn.role for turn in turns[:8]] + ["…"] * (len(turns) > 8))
            raise UserError(
                f"the model's chat template refuses the turns {roles}: {refusal}",
                fix="let user and assistant alternate, beginning with user",
            ) from refusal

    def _framed_chat(self, pieces: list[Piece]) -> FramedChat:
        ids, owners = self._tokens(pieces)
        if not ids:
            raise UserError("the chat has no tokens", fix="write something in one of its turns")
        return FramedChat(ids, tuple(pieces[owner].role for owner in owners))

    def _tokens(self, pieces: Sequence[Piece]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids, and for each the index of its piece; special tokens only from the template."""
        written = [piece.role != TokenRole.TEMPLATE for piece in pieces]
        return tokenize(self.tokenizer, [piece.text for piece in pieces], written)


def frame_for(tokenizer: "PreTrainedTokenizerBase", question: str = QUESTION) -> PromptFrame:
    """The frame of a tokenizer: its chat template, or a plain one where it has none that works."""
    note = "no chat template"
    if tokenizer.chat_template:
        try:
            around = frame_pieces(tokenizer, question)
            return _frame(tokenizer, question, "chat template", around, "")
        except TemplateRefused as refusal:
            note = f"the chat template cannot be used ({refusal})"
    return _frame(tokenizer, question, "plain", (f"{question}\n", ""), note)


def raw_frame(frame: PromptFrame, prompt: str = "") -> PromptFrame:
    """The frame with nothing around a text but the BOS token, or the line `prompt` before it."""
    around = (f"{prompt}\n" if prompt else "", "")
    made = _frame(frame.tokenizer, frame.question, frame.kind, around, frame.note)
    fingerprint = hashlib.sha256(f"raw\0{made.fingerprint}".encode()).hexdigest()
    return replace(made, fingerprint=fingerprint, raw=True)


def prompted(prompt: str, answer: str) -> str:
    """Prompt and answer as one text, by which its activations are cached."""
    return json.dumps([prompt, answer], ensure_ascii=False)


def unprompted(text: str) -> tuple[str, str]:
    """Prompt and answer of a text that `prompted` made."""
    prompt, answer = json.loads(text)
    return str(prompt), str(answer)


def shared_prefix_length(framed: Sequence[FramedText]) -> int:
    """How many leading tokens all texts share, at most up to the earliest content."""
    if not framed:
        return 0
    # The first and the last of them in the order of tuples share what all share.
    ids = [text.token_ids for text in framed]
    shared = agreement(min(ids), max(ids))
    return min(shared, *(text.content_start for text in framed))


def _framed(content: str, tokens: Tokens, max_length: int) -> FramedText:
    ids, owners = tokens
    inside = [position for position, owner in enumerate(owners) if owner == 1]
    start, stop = (max(1, inside[0]), inside[-1] + 1) if inside else (0, 0)
    if stop <= start:
        what = "needs two tokens or more" if inside else "has no tokens for the tokenizer"
        raise UserError(f"a text {what}", where=repr(content[:40]))
    kept = min(stop, start + max_length)
    return FramedText(content, ids[:kept] + ids[stop:], start, kept, kept < stop)


def _frame(
    tokenizer: "PreTrainedTokenizerBase",
    question: str,
    kind: Literal["chat template", "plain"],
    around: tuple[str, str],
    note: str,
) -> PromptFrame:
    before, after = _with_bos(tokenizer, around[0]), around[1]
    ids = tokenize(tokenizer, [before, _PROBE, after]).ids
    template = tokenizer.get_chat_template() if kind == "chat template" else ""
    identity = "\0".join((kind, before, after, template, repr(ids), str(len(tokenizer))))
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    return PromptFrame(tokenizer, question, kind, before, after, fingerprint, note)


def _with_bos(tokenizer: "PreTrainedTokenizerBase", text: str) -> str:
    """`text` with exactly one BOS in front, where the tokenizer would add one by itself."""
    bos = added_by_itself(tokenizer)
    return text if not bos or text.lstrip().startswith(bos) else bos + text
