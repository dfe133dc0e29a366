"""Text to token ids and back: which ids a piece of text became, and what each id looks like.

Token ids as consecutive pieces of text, so that a text can be shown token by token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from readout_ui.errors import required

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SHOWN = str.maketrans({" ": "·", "▁": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"})


class Tokens(NamedTuple):
    """Token ids, and where each came from."""

    ids: tuple[int, ...]
    """Token ids in order."""
    owners: tuple[int, ...]
    """For each token the index of the piece of text it came from."""


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    pieces: Sequence[str],
    written: Sequence[bool] | None = None,
) -> Tokens:
    """Ids of the joined pieces, without any special tokens that the pieces do not spell out.

    Args:
        tokenizer: fast or slow.
        pieces: text in order; tokens may reach across the borders.
        written: for each piece, whether a person wrote it. A token that straddles a border
            belongs to the written piece, and a special token spelled out in a written piece
            (`<|im_end|>`) stays ordinary text.
    """
    return tokenize_all(tokenizer, [pieces], written)[0]


def tokenize_all(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Sequence[str]],
    written: Sequence[bool] | None = None,
) -> list[Tokens]:
    """The same of many texts, all in as many pieces; a fast tokenizer is called once for them.

    Args:
        tokenizer: fast or slow.
        texts: at least one, each in pieces.
        written: for each piece, whether a person wrote it.
    """
    written = written or [False] * len(texts[0])
    special = _special_pattern(tokenizer, len(tokenizer))
    spelled = [
        [own and bool(special.search(text)) for text, own in zip(pieces, written, strict=True)]
        for pieces in texts
    ]
    ordinary = [pieces for pieces, of_it in zip(texts, spelled, strict=True) if not any(of_it)]
    if tokenizer.is_fast:
        found = _by_offsets(tokenizer, ordinary, written)
    else:
        found = (_by_prefixes(tokenizer, pieces) for pieces in ordinary)
    return [
        _one_by_one(tokenizer, pieces, of_it, written) if any(of_it) else next(found)
        for pieces, of_it in zip(texts, spelled, strict=True)
    ]


def added_by_itself(tokenizer: PreTrainedTokenizerBase) -> str:
    """The BOS token where the tokenizer puts one before every text by itself, else ""."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return ""
    ids = tokenizer("a", add_special_tokens=True)["input_ids"]
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    return str(tokenizer.bos_token) if ids[:1] == [bos] != bare[:1] else ""


def visible_tokens(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> tuple[str, ...]:
    """Each token as the model sees it: space "·", newline "⏎", tab "⇥", loose bytes "<0xE2>".

    Models often have more rows than their tokenizer has tokens; such an id is shown as "<#151800>".
    """
    pieces = tokenizer.convert_ids_to_tokens(list(token_ids))
    added, byte_level = _spelling(tokenizer, len(tokenizer))
    return tuple(
        f"<#{index}>" if piece is None else _visible(str(piece), byte_level and piece not in added)
        for index, piece in zip(token_ids, pieces, strict=True)
    )


@lru_cache(maxsize=4)
def _spelling(tokenizer: PreTrainedTokenizerBase, _n_tokens: int) -> tuple[frozenset[str], bool]:
    """Added tokens, and whether the others stand for bytes; asked of the library once."""
    added = frozenset(token.content for token in tokenizer.added_tokens_decoder.values())
    return added, _is_byte_level(tokenizer)


@lru_cache(maxsize=4)
def _special_pattern(tokenizer: PreTrainedTokenizerBase, _n_tokens: int) -> re.Pattern[str]:
    """Matches every special token; the number of tokens is there to notice added ones."""
    known = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return re.compile("|".join(map(re.escape, known)) or r"(?!)")


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, plain: bool = False) -> tuple[int, ...]:
    encoded = tokenizer(text, add_special_tokens=False, split_special_tokens=plain, verbose=False)
    return tuple(encoded["input_ids"])


def _one_by_one(
    tokenizer: PreTrainedTokenizerBase,
    pieces: Sequence[str],
    spelled: Sequence[bool],
    written: Sequence[bool],
) -> Tokens:
    """Runs of pieces apart from those that spell out a special token, then joined."""
    ids: list[int] = []
    owners: list[int] = []
    for start, stop in _runs(spelled):
        if spelled[start]:
            part = Tokens(_encode(tokenizer, pieces[start], plain=True), ())
            part = part._replace(owners=(0,) * len(part.ids))
        else:
            part = tokenize(tokenizer, pieces[start:stop], written[start:stop])
        ids += part.ids
        owners += [start + owner for owner in part.owners]
    return Tokens(tuple(ids), tuple(owners))


def _runs(spelled: Sequence[bool]) -> Iterator[tuple[int, int]]:
    start = 0
    for index, alone in enumerate(spelled):
        if alone:
            if start < index:
                yield start, index
            yield index, index + 1
            start = index + 1
    if start < len(spelled):
        yield start, len(spelled)


def _by_offsets(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[str]], written: Sequence[bool]
) -> Iterator[Tokens]:
    if not texts:
        return
    encoded = tokenizer(
        ["".join(pieces) for pieces in texts],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        split_special_tokens=False,
        verbose=False,
    )
    for pieces, ids, spans in zip(
        texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        yield Tokens(tuple(ids), _owners(pieces, spans, written))


def _owners(
    pieces: Sequence[str], spans: Sequence[tuple[int, int]], written: Sequence[bool]
) -> tuple[int, ...]:
    owner_of: list[int] = []  # of every character
    for index, text in enumerate(pieces):
        owner_of += [index] * len(text)
    owners = []
    for start, stop in spans:
        # Byte-level tokenizers give a token of only spaces the empty span behind them.
        first, last = (start, stop - 1) if start < stop else (max(0, stop - 1),) * 2
        owner = owner_of[first]
        if owner != owner_of[last]:  # it reaches across a border
            owner = next((one for one in owner_of[first:stop] if written[one]), owner)
        owners.append(owner)
    return tuple(owners)


def _by_prefixes(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[str]) -> Tokens:
    """Without offsets: a piece begins where the ids of everything before it stop agreeing."""
    ids = _encode(tokenizer, "".join(pieces))
    owners = [0] * len(ids)
    for index, before in enumerate(accumulate(pieces[:-1]), start=1):
        start = agreement(ids, _encode(tokenizer, before))
        owners[start:] = [index] * (len(ids) - start)
    return Tokens(ids, tuple(owners))


def agreement(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two texts have in common before they part."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))


def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    if tokenizer.is_fast:
        backend = required(tokenizer, "backend_tokenizer", "transformers")
        return "ByteLevel" in repr(required(backend, "decoder", "tokenizers"))
    return hasattr(tokenizer, "byte_decoder")  # Slow tokenizers of transformers 4 only.


def _byte_alphabet() -> dict[str, int]:
    """The printable stand-ins of GPT-2's byte-level BPE (Radford et al. 2019, encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    stand_ins = {chr(byte): byte for byte in printable}
    return stand_ins | {chr(256 + index): byte for index, byte in enumerate(rest)}


_BYTE_OF = _byte_alphabet()


def _visible(piece: str, byte_level: bool) -> str:
    if not byte_level or any(character not in _BYTE_OF for character in piece):
        return piece.translate(_SHOWN)
    raw = bytes(_BYTE_OF[character] for character in piece)
    return _show_bytes(raw)


def _show_bytes(raw: bytes) -> str:
    """Whole characters as text, bytes of a character that other tokens complete as <0x..>."""
    shown, rest = "", raw
    while rest:
        try:
            return shown + rest.decode().translate(_SHOWN)
        except UnicodeDecodeError as error:
            shown += rest[: error.start].decode().translate(_SHOWN)
            shown += "".join(f"<0x{byte:02X}>" for byte in rest[error.start : error.end])
            rest = rest[error.end :]
    return shown


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
