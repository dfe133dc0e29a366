"""One text as a training would read it: its tokens in the frame, and which of them are pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from readout_ui.activations.pooling import rule_group, rule_span
from readout_ui.models.tokens import visible_tokens

if TYPE_CHECKING:
    from readout_ui.models.prompt import PromptFrame


@dataclass(frozen=True)
class Preview:
    """A framed text, token by token."""

    frame: str
    """What stands round the text, in one line."""
    read: str
    """The read rule."""
    tokens: tuple[str, ...]
    """All tokens as the model sees them."""
    content: tuple[int, int]
    """Positions of the text's own tokens, from and up to."""
    pooled: tuple[int, int]
    """Positions whose hidden states are averaged, from and up to."""
    truncated: bool
    """Whether the end of the text is cut off."""

    def lines(self) -> list[str]:
        """One line per token: position, "pooled" or "text" or "frame", and the token."""
        return [
            f"{position:5}  {self._part(position):6}  {token}"
            for position, token in enumerate(self.tokens)
        ]

    def _part(self, position: int) -> str:
        if self.pooled[0] <= position < self.pooled[1]:
            return "pooled"
        return "text" if self.content[0] <= position < self.content[1] else "frame"


def preview_text(frame: PromptFrame, text: str, read: str, max_length: int) -> Preview:
    """The text in its frame; nothing but the tokenizer is needed.

    Args:
        frame: what is put round the text.
        text: one text of a training.
        read: the read rule.
        max_length: content tokens that are read.

    Raises:
        UserError: no such read rule, a text without tokens, or one that has no such token.
    """
    rule_group(read)
    framed = frame.frame(text, max_length)
    start, stop = framed.content_start, framed.content_stop
    return Preview(
        frame=frame.describe(),
        read=read,
        tokens=visible_tokens(frame.tokenizer, framed.token_ids),
        content=(start if frame.before else 0, stop),  # a first token is the text's, but not read
        pooled=rule_span(read, start, stop, len(framed.token_ids)),
        truncated=framed.truncated,
    )
