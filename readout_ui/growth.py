"""Rows of text while they grow: which tokens are new, which rows have ended and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import torch
from transformers import StoppingCriteria

Finish = Literal["end", "length", "stopped"]


class Growth(StoppingCriteria):
    """Watches every new token, as transformers' `generate` asks after each whether to go on.

    A row ends at an end token, at the limit or when `stop` says so. Its last token is then still
    fed once, because only a fed token has activations; what is sampled in that pass is dropped.

    Args:
        n_rows: texts side by side.
        limit: most new tokens of a row.
        end_tokens: ids that end a row; they belong to it.
        stop: asked after every token.
        extra_pass: whether the last token is fed too.
        on_token: called after every step that gave some row a token.
    """

    def __init__(
        self,
        n_rows: int,
        limit: int,
        end_tokens: Collection[int],
        stop: Callable[[], bool],
        extra_pass: bool,
        on_token: Callable[[], None],
    ) -> None:
        self.rows: list[list[int]] = [[] for _ in range(n_rows)]
        self.finish: list[Finish | None] = [None] * n_rows
        self._limit, self._end_tokens, self._stop = limit, frozenset(end_tokens), stop
        self._extra_pass, self._on_token = extra_pass, on_token

    def __call__(self, input_ids: Any, _scores: Any, **_more: Any) -> Any:
        """True for every row once nothing more is needed of any."""
        was_over = self.over
        if not was_over:
            self._take(input_ids[:, -1].tolist())
            self._on_token()
        done = was_over if self._extra_pass else self.over
        return torch.full((len(self.rows),), done, device=input_ids.device)

    @property
    def over(self) -> bool:
        """Whether every row has ended."""
        return all(self.finish)

    def _take(self, tokens: Sequence[int]) -> None:
        stopped = self._stop()
        for row, token in enumerate(tokens):
            if self.finish[row] is None:
                self.rows[row].append(token)
                self.finish[row] = self._ended(row, token, stopped)

    def _ended(self, row: int, token: int, stopped: bool) -> Finish | None:
        if token in self._end_tokens:
            return "end"
        if len(self.rows[row]) >= self._limit:
            return "length"
        return "stopped" if stopped else None
