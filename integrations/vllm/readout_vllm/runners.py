"""What vLLM's two model runners say of a forward pass, in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """The requests of one pass, in the order of their rows."""

    ids: Sequence[str]
    n_tokens: int
    starts: Sequence[int]
    """First row of each request, and after the last one the number of rows."""
    done: Sequence[int]
    """How many tokens of each request earlier passes have read."""
    sampled: Tensor
    """Rows that tokens are sampled from, request after request."""
    n_sampled: Sequence[int]
    """How many of them each request has: one and its drafts."""
    slots: Tensor
    """(n_tokens,) where in the cache the keys of each token are."""
    blocks: Tensor
    """(n_requests or more, most_blocks) which blocks of the cache a request has."""
    block_size: int
    places: Sequence[int]
    """Row of `blocks` that each request has."""

    def slots_of(self, place: int, n_tokens: int) -> Tensor:
        """(n_tokens,) slots of the first tokens of a request."""
        positions = torch.arange(n_tokens, device=self.blocks.device)
        blocks = self.blocks[self.places[place]][positions // self.block_size].long()
        return blocks * self.block_size + positions % self.block_size


def batch_of_v1(runner: Any, state: Any, group: int) -> Batch:
    """A pass of model runner V1."""
    batch, drafts = runner.input_batch, state.spec_decode_metadata
    n_requests, table = len(batch.req_ids), batch.block_table[group]
    n_tokens = state.scheduler_output.total_num_scheduled_tokens
    if drafts is None:
        sampled = runner.query_start_loc.gpu[1 : n_requests + 1] - 1
    else:
        sampled = drafts.logits_indices
    return Batch(
        ids=batch.req_ids,
        n_tokens=n_tokens,
        starts=runner.query_start_loc.np[: n_requests + 1].tolist(),
        done=batch.num_computed_tokens_cpu[:n_requests].tolist(),
        sampled=sampled.long(),
        n_sampled=[1] * n_requests if drafts is None else [n + 1 for n in drafts.num_draft_tokens],
        slots=table.slot_mapping.gpu[:n_tokens],
        blocks=table.block_table.gpu,
        block_size=int(table.block_size),
        places=range(n_requests),
    )


def batch_of_v2(runner: Any, state: Any, group: int) -> Batch:
    """A pass of model runner V2, which keeps requests in places of their own."""
    batch, tables = state.input_batch, runner.block_tables
    return Batch(
        ids=batch.req_ids,
        n_tokens=batch.num_tokens,
        starts=batch.query_start_loc_np[: batch.num_reqs + 1].tolist(),
        done=batch.num_computed_tokens_np.tolist(),
        sampled=batch.logits_indices.long(),
        n_sampled=(batch.cu_num_logits_np[1:] - batch.cu_num_logits_np[:-1]).tolist(),
        slots=tables.slot_mappings[group, : batch.num_tokens],
        blocks=tables.block_tables[group].gpu,
        block_size=int(tables.block_sizes[group]),
        places=batch.idx_mapping_np.tolist(),
    )
