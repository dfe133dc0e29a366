"""Token ids as consecutive pieces of text, so that a text can be shown token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HALF = "\ufffd"
_LONGEST_WAIT = 8
"""Tokens that may belong to one character; more are broken bytes, which are shown as they are."""


class TokenPieces:
    """What each token adds to the text, special tokens included; continue it with more ids.

    A character spread over several tokens belongs to the last of them, the others are empty. Each
    token is decoded beside the few before it, because a token alone loses its leading space in
    some tokenizers (as vLLM's incremental detokenizer does it).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._beside: list[int] = []
        self._open: list[int] = []

    def extend(self, token_ids: Sequence[int]) -> list[str]:
        """One piece per new token."""
        return [self._next(token) for token in token_ids]

    def _next(self, token: int) -> str:
        self._open.append(token)
        before = self._decode(self._beside)
        piece = self._decode([*self._beside, *self._open])[len(before) :]
        if piece.endswith(_HALF) and len(self._open) < _LONGEST_WAIT:
            return ""
        self._beside, self._open = self._open, []
        return piece

    def _decode(self, token_ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(token_ids), clean_up_tokenization_spaces=False)
        return str(text)
