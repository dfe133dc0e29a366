"""How token positions become one activation per text: the read rules and what is kept of a text."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.files import cache_folder, size_text
from readout_ui.models.tokens import visible_tokens

if TYPE_CHECKING:
    from readout_ui.models.prompt import PromptFrame

CONTENT_RULES = ("content_mean", "content_last", "content_tail")
"""Rules that need nothing after the content."""
TEMPLATE_RULES = ("template_last",)
"""The rule that needs the whole framed text, closing template tokens included."""
TOKEN_RULE = "token:"
"""Before the number of the one position that is read, e.g. "token:-1"."""
FROM_RULE = "from:"
"""Before the number of the content token, counted from 1, from which on all are averaged."""
Numbers = npt.NDArray[np.float32]
READ_RULES = CONTENT_RULES + TEMPLATE_RULES
IN_MEMORY = 2**30
"""Bytes of activations above which they lie in a file."""


@dataclass(frozen=True, eq=False)
class TextActivations:
    """What is kept of one text."""

    pooled: Tensor
    """(n_rules, n_layers, d_model) float32 on the CPU, one row for each rule that was captured."""
    tokens: Tensor
    """(n_kept, n_layers, d_model) float32 on the CPU: evenly spaced content tokens."""
    n_tokens: int
    """How many content tokens the model read."""
    truncated: bool
    """Whether the end of the text was cut off."""

    def __post_init__(self) -> None:
        if self.pooled.ndim != 3 or self.pooled.shape[1:] != self.tokens.shape[1:]:
            raise ValueError(
                f"pooled {tuple(self.pooled.shape)} and tokens {tuple(self.tokens.shape)} "
                "must both end in (n_layers, d_model)"
            )

    @property
    def n_bytes(self) -> int:
        """Memory of both tensors."""
        return self.pooled.nbytes + self.tokens.nbytes


@dataclass(eq=False)
class Rows:
    """Activations of texts or of single tokens, each where it was read.

    They are copied into one tensor when somebody asks for that, and are then parts of it. Whoever
    goes through the layers needs no such copy.
    """

    parts: tuple[Tensor, ...]
    """(n_layers, d_model) float32 each, on the CPU."""
    n_layers: int
    d_model: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, n_layers, d_model)."""
        return len(self.parts), self.n_layers, self.d_model

    @cached_property
    def whole(self) -> Tensor:
        """(n, n_layers, d_model)."""
        whole = text_block(*self.shape)
        if self.parts:
            torch.stack(self.parts, out=whole)
        self.parts = whole.unbind()
        vars(self).pop("_arrays", None)  # else what was copied stays in memory beside the copy
        return whole

    def layer(
        self, layer: int, some: Sequence[int] | None = None, room: Numbers | None = None
    ) -> Numbers:
        """Of all rows, or some of them, at one layer, (n, d_model)."""
        if "whole" in vars(self):
            return at_layer(self.whole, layer, some)
        chosen = self._arrays if some is None else [self._arrays[row] for row in some]
        if room is None:
            room = np.empty((len(chosen), self.d_model), dtype=np.float32)
        if chosen:
            np.concatenate([row[layer] for row in chosen], out=room.reshape(-1))
        return room

    @cached_property
    def _arrays(self) -> list[Numbers]:
        return [row.numpy() for row in self.parts]


Layered = Tensor | Rows
"""(n, n_layers, d_model), as one tensor or where they were read."""


def at_layer(
    activations: Layered,
    layer: int,
    some: Sequence[int] | None = None,
    room: Numbers | None = None,
) -> Numbers:
    """All rows, or some of them, at one layer, (n, d_model); maybe where they are, so not to be
    written to.

    Args:
        activations: of texts or of single tokens.
        layer: which layer.
        some: which rows; None for all.
        room: where they are put, (n, d_model), if they are not taken where they are: new memory
            for every layer takes longer than what is done with it.
    """
    if isinstance(activations, Rows):
        return activations.layer(layer, some, room)
    found = activations[:, layer] if some is None else activations[list(some), layer]
    numbers: Numbers = found.float().numpy()
    return numbers


def each_layer(activations: Layered) -> Iterator[Numbers]:
    """All rows at one layer after the other, (n, d_model), each overwritten by the next."""
    n_rows, n_layers, d_model = activations.shape
    room = np.empty((n_rows, d_model), dtype=np.float32)
    return (at_layer(activations, layer, room=room) for layer in range(n_layers))


def some_layers(activations: Layered, layers: range) -> Tensor:
    """All rows at some layers that follow each other, (n, n_some_layers, d_model) float32."""
    start, stop = layers.start, layers.stop
    if isinstance(activations, Rows) and "whole" not in vars(activations):
        return torch.stack([part[start:stop] for part in activations.parts])
    return in_one(activations)[:, start:stop].float()


def layers_on(device: torch.device, activations: Layered, layers: range) -> Tensor:
    """The same on a device, with no copy of them on the host, which would take longer than all that
    a GPU does with them."""
    start, stop = layers.start, layers.stop
    if isinstance(activations, Rows):
        rows = activations.parts
    elif activations.transpose(0, 1).is_contiguous():  # as `text_block` lies in a file
        return activations[:, start:stop].to(device, torch.float32)
    else:
        rows = activations.unbind()
    block = torch.empty(len(rows), len(layers), activations.shape[2], device=device)
    for place, row in zip(block, rows, strict=True):
        place.copy_(row[start:stop], non_blocking=True)  # CUDA returns once it has read the row
    return block


def some_rows(activations: Layered, rows: Sequence[int]) -> Tensor:
    """Some rows at all layers, (n, n_layers, d_model)."""
    if isinstance(activations, Rows):
        return torch.stack([activations.parts[row] for row in rows])
    return activations[list(rows)]


def in_one(activations: Layered) -> Tensor:
    """As one tensor."""
    return activations.whole if isinstance(activations, Rows) else activations


def host_block(*shape: int) -> Tensor:
    """Room for float32 numbers; numpy asks for it in large pages, 3 times as fast as torch."""
    return torch.from_numpy(np.empty(shape, dtype=np.float32))


def in_memory(n_rows: int, n_layers: int, d_model: int) -> bool:
    """Whether activations are few enough to lie in memory."""
    return 4 * n_rows * n_layers * d_model <= IN_MEMORY


def text_block(n_rows: int, n_layers: int, d_model: int) -> Tensor:
    """Room for float32 activations (n_rows, n_layers, d_model).

    A large one lies in a file without a name, layer after layer: whoever goes through the layers
    has one of them in memory, and the system writes out what it has no room for.

    Raises:
        UserError: the disk has no room for it either.
    """
    if in_memory(n_rows, n_layers, d_model):
        return host_block(n_rows, n_layers, d_model)
    n_bytes, folder = 4 * n_rows * n_layers * d_model, cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(n_bytes)
        try:
            if hasattr(os, "posix_fallocate"):  # else a disk that is full ends the process
                os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError as error:
            raise UserError(
                f"the activations need {size_text(n_bytes)} of disk ({error.strerror})",
                where=str(folder),
                fix="free some, or set READOUT_UI_CACHE to a folder that has the room",
            ) from error
        mapped = np.memmap(file, np.float32, "r+", shape=(n_layers, n_rows, d_model))
    return torch.from_numpy(mapped).permute(1, 0, 2)


def rule_group(read: str) -> tuple[str, ...]:
    """The rules that one pass can pool together with `read`.

    Raises:
        UserError: there is no such rule.
    """
    if token_index(read) is not None or first_token(read) is not None:
        return (read,)
    if read not in READ_RULES:
        raise UserError(f"unknown read rule {read!r}", options=(*READ_RULES, "token:-1", "from:50"))
    return CONTENT_RULES if read in CONTENT_RULES else TEMPLATE_RULES


def token_index(rule: str) -> int | None:
    """The one position that a rule such as "token:-1" reads, None for every other rule."""
    prefix, _, number = rule.partition(TOKEN_RULE)
    return int(number) if not prefix and number.removeprefix("-").isdecimal() else None


def first_token(rule: str) -> int | None:
    """The content token from which a rule such as "from:50" averages, None for other rules."""
    prefix, _, number = rule.partition(FROM_RULE)
    return int(number) if not prefix and number.isdecimal() and int(number) else None


def tail_length(n_tokens: int) -> int:
    """How many tokens the last two thirds of `n_tokens` are: rounded up, at least one."""
    return max(1, -(-2 * n_tokens // 3))


def rule_span(rule: str, start: int, stop: int, n_tokens: int) -> tuple[int, int]:
    """The positions, from and up to, that `rule` averages.

    Args:
        rule: one of `READ_RULES`, "token:N" for one position of the whole framed text, or
            "from:N" for the content from its Nth token on.
        start: first content token.
        stop: one past the last content token.
        n_tokens: length of the whole framed text.
    """
    index = token_index(rule)
    if index is not None:
        position = index % n_tokens if -n_tokens <= index < n_tokens else n_tokens
        if position == n_tokens:
            raise UserError(f"there is no token {index} in a text of {n_tokens} tokens")
        return position, position + 1
    first = first_token(rule)
    if first is not None:  # a text too short for that loses its first third, as in content_tail
        tail = max(tail_length(stop - start), stop - start - first + 1)
        return stop - tail, stop
    spans = {
        "content_mean": (start, stop),
        "content_last": (stop - 1, stop),
        "content_tail": (stop - tail_length(stop - start), stop),
        "template_last": (n_tokens - 1, n_tokens),
    }
    return spans[rule]


def span_weights(spans: Sequence[Sequence[tuple[int, int]]], n_tokens: int) -> Tensor:
    """Averages as a matrix, so that one batched product pools every rule at once.

    Args:
        spans: for every text, one (from, up to) per rule, counted in fed tokens.
        n_tokens: width of the batch, padding included.

    Returns:
        (n_texts, n_rules, n_tokens) float32; every row adds up to 1.
    """
    weights = torch.zeros(len(spans), len(spans[0]), n_tokens)  # (n_texts, n_rules, n_tokens)
    for row, text_spans in enumerate(spans):
        for rule, (start, stop) in enumerate(text_spans):
            weights[row, rule, start:stop] = 1 / (stop - start)
    return weights


def evenly_spaced(start: int, stop: int, n_kept: int) -> tuple[int, ...]:
    """At most `n_kept` positions spread over start..stop, never position 0 of the sequence.

    The first token is left out because it carries massive activations that say nothing of the text.
    """
    start = max(start, 1)
    n_tokens = max(0, stop - start)
    n_kept = min(n_kept, n_tokens)
    return tuple(start + (2 * i + 1) * n_tokens // (2 * n_kept) for i in range(n_kept))


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
