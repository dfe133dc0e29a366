"""Which tokens of a text go through the model, and which texts go together."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Generic

import torch
from torch import Tensor

from readout_ui.activations.pooling import evenly_spaced, rule_span, span_weights
from readout_ui.models.blocks import config_values
from readout_ui.models.devices import Result, Shortage, free_bytes, sent, within_memory

if TYPE_CHECKING:
    from readout_ui.models.loading import LoadedModel
    from readout_ui.models.prompt import FramedText

CPU_TOKEN_BUDGET = 512
"""On two cores 384 to 1024 take the same time for 44 texts of 27 tokens, 128 takes 20 % more (the
weights are read once per batch) and one batch of all 10 % more (padding)."""
ACCELERATOR_TOKEN_BUDGET = 16_384
_ACCELERATOR_NUMBERS = 2**25
"""Tokens x d_model of a batch above which a GPU gains nothing more: with 4,096 wide layers on an
H200, 2,048 tokens took 14 % longer than 8,192, and 16,384 6 % longer with twice the memory."""


@dataclass(frozen=True)
class Feed:
    """One framed text and what of it the model has to read."""

    framed: "FramedText"
    """The text in its frame."""
    start: int
    """First token that is fed; what stands before it is the shared prefix."""
    rules: tuple[str, ...]
    """Read rules that are pooled; nothing behind the last position they need is fed."""
    n_kept: int = 0
    """How many single content tokens to keep."""

    @cached_property
    def stop(self) -> int:
        """One past the last token that is fed."""
        ends = [stop for _, stop in self._absolute_spans()]
        return max([*ends, *(1 + self.start + kept for kept in self.kept_positions())])

    @property
    def n_tokens(self) -> int:
        """How many tokens are fed."""
        return self.stop - self.start

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Ids of the fed tokens."""
        return self.framed.token_ids[self.start : self.stop]

    def spans(self) -> list[tuple[int, int]]:
        """Per rule the fed positions, from and up to, that it averages."""
        return [(start - self.start, stop - self.start) for start, stop in self._absolute_spans()]

    def kept_positions(self) -> list[int]:
        """The fed positions whose activations are kept one by one."""
        framed = self.framed
        kept = evenly_spaced(framed.content_start, framed.content_stop, self.n_kept)
        return [position - self.start for position in kept]

    def _absolute_spans(self) -> list[tuple[int, int]]:
        framed = self.framed
        n_tokens = len(framed.token_ids)
        return [
            rule_span(rule, framed.content_start, framed.content_stop, n_tokens)
            for rule in self.rules
        ]


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Several texts as one rectangle of tokens, padded on the right.

    Decoders look only back, so padding behind a text cannot change what is read inside it.
    """

    input_ids: Tensor
    """(n_texts, n_fed) int64."""
    attention_mask: Tensor
    """(n_texts, n_prefix + n_fed) int64, 0 on padding."""
    weights: Tensor
    """(n_texts, n_rules, n_fed) float32, the read rules as averages."""
    kept_rows: Tensor
    """(n_kept,) text of every kept token."""
    kept_columns: Tensor
    """(n_kept,) fed position of every kept token."""
    kept_counts: tuple[int, ...]
    """Per text, how many of them are its own."""


def pad_batch(feeds: Sequence[Feed], device: torch.device) -> TokenBatch:
    """The texts side by side; padding repeats a text's last token, so that it is an ordinary one.

    Args:
        feeds: texts that share their start.
        device: where the model's input embeddings are.
    """
    width = max(feed.n_tokens for feed in feeds)
    ids = [feed.token_ids + feed.token_ids[-1:] * (width - feed.n_tokens) for feed in feeds]
    lengths = torch.tensor([[feed.stop] for feed in feeds])  # (n_texts, 1)
    mask = torch.arange(feeds[0].start + width) < lengths  # (n_texts, n_prefix + n_fed)
    kept = [feed.kept_positions() for feed in feeds]
    rows = [row for row, positions in enumerate(kept) for _ in positions]
    columns = [position for positions in kept for position in positions]
    return TokenBatch(
        input_ids=sent(torch.tensor(ids), device),
        attention_mask=sent(mask.long(), device),
        weights=sent(span_weights([feed.spans() for feed in feeds], width), device),
        kept_rows=sent(torch.tensor(rows, dtype=torch.long), device),
        kept_columns=sent(torch.tensor(columns, dtype=torch.long), device),
        kept_counts=tuple(len(positions) for positions in kept),
    )


def batch_end(
    lengths: Sequence[int],
    start: int,
    token_budget: int,
    batch_size: int | None = None,
    text_tokens: int = 0,
) -> int:
    """One past the last text of the batch that begins at `start`; it holds at least one text.

    Args:
        lengths: tokens per text, longest first, so that neighbours need little padding.
        start: first text of the batch.
        token_budget: bound on texts times longest text, padding included.
        batch_size: bound on the number of texts.
        text_tokens: what a text takes beside its tokens, counted in tokens.
    """
    n_texts = max(1, token_budget // (lengths[start] + text_tokens))
    if batch_size is not None:
        n_texts = min(n_texts, batch_size)
    return min(start + n_texts, len(lengths))


@dataclass(frozen=True)
class BatchLimits:
    """How much goes through the model at once."""

    token_budget: int
    """Bound on texts times longest text, padding included."""
    batch_size: int | None = None
    """Bound on the number of texts."""
    text_tokens: int = 0
    """What a text takes beside its tokens, counted in tokens."""


class Batches(Generic[Result]):
    """Some texts at a time through the model, fewer once memory runs out.

    A GPU is given the next batch before the last one is copied, so that it need not wait.
    """

    def __init__(
        self,
        model: "LoadedModel",
        feeds: Sequence[Feed],
        limits: BatchLimits,
        start: Callable[[Sequence[Feed]], Callable[[], Result]],
    ) -> None:
        """Nothing is started yet.

        Args:
            model: the loaded model.
            feeds: the longest first: if memory is too small, that shows at once.
            limits: how many at once.
            start: starts a batch; what it returns waits for the result.
        """
        self._model, self._feeds, self._limits, self._start = model, feeds, limits, start
        self._lengths = [feed.n_tokens for feed in feeds]
        self._budget, self._next = limits.token_budget, 0
        self._started = deque[tuple[Callable[[], Result], str]]()
        self._finished = deque[tuple[Result, str]]()

    def __iter__(self) -> Iterator[tuple[Result, str]]:
        """Each result, with a note of what did not go as planned before it.

        Raises:
            UserError: a single text does not fit into memory.
        """
        ahead = int(self._model.device.type == "cuda")
        while self._started or self._next < len(self._feeds):
            if self._next < len(self._feeds) and len(self._started) <= ahead:
                self.begin()
            else:
                self._finish()
            while self._finished:
                yield self._finished.popleft()

    def begin(self) -> None:
        """Start with the next texts, in smaller batches from here on if memory runs out."""
        limits, note, n_tokens = self._limits, "", self._lengths[self._next]
        while True:
            stop = batch_end(
                self._lengths, self._next, self._budget, limits.batch_size, limits.text_tokens
            )
            work = within_memory(partial(self._start, self._feeds[self._next : stop]))
            if not isinstance(work, Shortage):
                break
            if self._started:  # whose results may be what fills the memory
                self._finish()
            elif stop - self._next == 1:
                what, lower = f"one text of {n_tokens} tokens", "choose a smaller maximum length"
                raise work.error(self._model.device, what, self._model.name, lower)
            else:
                self._budget = (stop - self._next) * (n_tokens + limits.text_tokens) // 2
                note = f"Memory ran out: from here on at most {self._budget} tokens at once."
        self._started.append((work, note))
        self._next = stop

    def _finish(self) -> None:
        work, note = self._started.popleft()
        self._finished.append((work(), note))


def default_token_budget(model: "LoadedModel") -> int:
    """How many tokens go through the model at once, from the device and its free memory."""
    if model.device.type == "cpu":
        return CPU_TOKEN_BUDGET
    # Half of what is free, for estimates err.
    affordable = free_bytes(model.device) // 2 // _token_bytes(model)
    enough = min(ACCELERATOR_TOKEN_BUDGET, _ACCELERATOR_NUMBERS // model.d_model)
    return max(CPU_TOKEN_BUDGET, min(enough, affordable))


def tokens_beside_a_text(model: "LoadedModel", n_prefix: int, n_pooled: int) -> int:
    """What a text of a batch takes beside its own tokens, in tokens of the budget; 0 on a CPU.

    Args:
        model: the model.
        n_prefix: tokens of the shared prefix, whose keys and values are copied for every text.
        n_pooled: rows in float32 that are kept of it at every layer.
    """
    if model.device.type == "cpu":
        return 0
    rows = 4 * n_pooled * model.n_layers * model.d_model
    return (n_prefix * _cache_bytes(model) + rows) // _token_bytes(model)


def _token_bytes(model: "LoadedModel") -> int:
    """Some 24 vectors live inside one block (MLPs are 3-4 times as wide as the residual stream)."""
    return 24 * model.dtype.itemsize * model.d_model + _cache_bytes(model)


def _cache_bytes(model: "LoadedModel") -> int:
    """Keys and values of one token, in every block; grouped heads share theirs."""
    heads = config_values(model.model, "num_attention_heads")
    shared = config_values(model.model, "num_key_value_heads") or heads
    share = max(shared) / min(heads) if heads and all((*heads, *shared)) else 1.0
    return int(2 * model.n_layers * model.d_model * model.dtype.itemsize * share)
