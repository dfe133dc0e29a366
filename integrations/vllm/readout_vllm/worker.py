"""On the device: project the residual stream of every token, keep the scores beside its keys.

The residual stream comes from vLLM's own interface for EAGLE-3: a model that supports it adds
`hidden_states + residual` after chosen decoder blocks to the outputs of its compiled graph, so
nothing is hooked and compilation and CUDA graphs keep working. Block i of an export is auxiliary
layer i + 1. The projection runs outside the graph, after each pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput

from readout_vllm.asks import Ask
from readout_vllm.errors import ReadoutError
from readout_vllm.export import Export
from readout_vllm.loaded import asked
from readout_vllm.runners import Batch
from readout_vllm.wire import Rows

if TYPE_CHECKING:
    from readout_vllm.settings import Settings

CHUNK = 1024
"""Tokens projected at once: bounds the float32 copy of a layer's states."""
BatchOf = Callable[[Any, Any, int], Batch]
READOUT = "readout"
"""Attribute of a model runner's output: request id -> Rows. It is pickled with the output."""


class Projector:
    """The directions on one device."""

    def __init__(self, export: Export, device: torch.device) -> None:
        weights = torch.from_numpy(export.vectors).to(device)
        self._weights = weights.transpose(1, 2).contiguous()  # (n_layers, hidden_size, n_concepts)

    def scores(self, states: Sequence[Tensor], n_tokens: int) -> Tensor:
        """Raw scores of the first `n_tokens` rows of every layer's states.

        Args:
            states: per layer (n_padded_tokens, hidden_size), in the model's own precision.

        Returns:
            (n_tokens, n_layers, n_concepts) float32 on the device.
        """
        n_layers, _, n_concepts = self._weights.shape
        made = self._weights.new_empty(n_tokens, n_layers, n_concepts)
        for start in range(0, n_tokens, CHUNK):
            rows = slice(start, min(start + CHUNK, n_tokens))
            chunk = torch.stack([layer[rows] for layer in states]).float()
            made[rows] = torch.bmm(chunk, self._weights).transpose(0, 1)
        return made


class SlotScores:
    """Scores of all tokens whose keys and values are in the cache, by KV slot.

    A slot is overwritten when its block is given to another request, exactly as its keys are. So a
    prompt that is found in the prefix cache finds its scores too.
    """

    def __init__(
        self, blocks: tuple[int, int], n_layers: int, n_concepts: int, device: torch.device
    ) -> None:
        """`blocks` is how many the cache has, and how many tokens each of them holds."""
        shape = (*blocks, n_layers, n_concepts)
        self._blocks = torch.full(shape, torch.nan, device=device)
        self._scores = self._blocks.flatten(0, 1)

    def copy(self, blocks: Sequence[tuple[int, int]]) -> None:
        """Follow vLLM where it gives a request a block of its own: (from, to), before the pass."""
        for source, target in blocks:
            self._blocks[target] = self._blocks[source]

    def write(self, slots: Tensor, scores: Tensor) -> None:
        """Keep scores (n_tokens, n_layers, n_concepts) under the slots (n_tokens,) of a pass."""
        self._scores.index_copy_(0, slots, scores)

    def read(self, slots: Tensor) -> Tensor:
        """(n_tokens, n_layers, n_concepts) of the slots (n_tokens,)."""
        return self._scores[slots]


@dataclass(frozen=True)
class Pass:
    """Scores of one forward pass, on the device, until its tokens are known."""

    ids: tuple[str, ...]
    asks: tuple[Ask | None, ...]
    first_row: tuple[int, ...]
    """Where each request's sampled rows start in `sampled`."""
    sampled: Tensor | None
    """(n_sampled_rows, n_layers, n_concepts)."""
    prompts: Mapping[str, Tensor]
    """Per request (n_prompt - 1, n_layers, n_concepts)."""

    def fill(self, output: ModelRunnerOutput) -> None:
        """Attach the rows of the tokens that were really sampled."""
        sampled = None if self.sampled is None else self.sampled.cpu().numpy()
        found: dict[str, Rows] = {}
        for place, (request_id, ask) in enumerate(zip(self.ids, self.asks, strict=True)):
            tokens = output.sampled_token_ids
            n_new = len(tokens[place]) if place < len(tokens) else 0
            prompt = self.prompts.get(request_id)
            generated = None
            if n_new and ask is not None and ask.needs_rows and sampled is not None:
                generated = sampled[self.first_row[place] : self.first_row[place] + n_new]
            if generated is not None or prompt is not None:
                found[request_id] = Rows(
                    generated, None if prompt is None else prompt.cpu().numpy()
                )
        if found:
            setattr(output, READOUT, found)


class LateOutput(AsyncModelRunnerOutput):  # type: ignore[misc]
    """The output of asynchronous scheduling: rows are attached when its tokens are fetched."""

    def __init__(self, inner: AsyncModelRunnerOutput, step: Pass) -> None:
        self._inner, self._step = inner, step
        rows = [step.sampled, *step.prompts.values()]
        on_gpu = any(one is not None and one.is_cuda for one in rows)
        self._stream = torch.cuda.Stream() if on_gpu else None  # type: ignore[no-untyped-call]

    def get_output(self) -> ModelRunnerOutput:
        """The runner's output with its rows.

        It waits for the copy of the tokens, which was queued after the scores were made; a stream
        of our own then copies them without waiting for the next pass.
        """
        output = self._inner.get_output()
        with torch.cuda.stream(self._stream) if self._stream else nullcontext():
            self._step.fill(output)
        return output


class RunnerReadout:
    """What one model runner needs to score its passes."""

    def __init__(self, runner: Any, export: Export, settings: Settings, batch_of: BatchOf) -> None:
        self._runner, self._export, self._settings = runner, export, settings
        self._batch_of = batch_of
        self._projector = Projector(export, runner.device)
        self._slots: SlotScores | None = None
        self._group = 0
        self._asks: dict[str, tuple[Ask, int]] = {}
        """What running requests asked for, and how many tokens their prompt has."""
        self._chunks: dict[str, list[Tensor]] = {}
        """Without a store: rows of prompts that are read in several passes."""

    def prepare_slots(self) -> None:
        """Make room for the scores of every KV slot; called when the cache has its size.

        Raises:
            ReadoutError: blocks of the cache can come from elsewhere, without scores.
        """
        config, whole = self._runner.kv_cache_config, self._runner.vllm_config
        if getattr(self._runner, "adaptive_verification", None) is not None:
            raise ReadoutError("adaptive verification leaves tokens out of a pass that are counted")
        if self._settings.prefix != "store":
            return
        if whole.kv_transfer_config is not None:
            raise ReadoutError(
                "keys and values that come through a KV connector have no scores; set "
                "VLLM_READOUT_PREFIX_CACHE=recompute"
            )
        self._group = _full_attention_group(config)
        block_size = config.kv_cache_groups[self._group].kv_cache_spec.block_size
        n_layers, n_concepts, _ = self._export.vectors.shape
        self._slots = SlotScores(
            (config.num_blocks, block_size), n_layers, n_concepts, self._runner.device
        )

    def begin(self, scheduled: Any) -> None:
        """Before a pass: who comes and who is gone, and which blocks vLLM copies."""
        for request_id in scheduled.finished_req_ids:
            self._asks.pop(request_id, None)
            self._chunks.pop(request_id, None)
        for new in scheduled.scheduled_new_reqs:
            ask = asked(getattr(new.sampling_params, "extra_args", None), self._settings)
            if ask is not None:
                self._asks[new.req_id] = (ask, new.prompt_len)
        if self._slots is not None:
            self._slots.copy(scheduled.kv_cache_block_copies or ())

    @torch.inference_mode()
    def score(self, state: Any) -> Pass | None:
        """Score a pass: into the slots, and the rows that requests asked for."""
        states = state.aux_hidden_states
        if not states or (self._slots is None and not self._asks):
            return None
        batch = self._batch_of(self._runner, state, self._group)
        asks = tuple(self._asks[one][0] if one in self._asks else None for one in batch.ids)
        if self._slots is None and not any(asks):
            return None
        scores = self._projector.scores(states, batch.n_tokens)
        if self._slots is not None:
            self._slots.write(batch.slots, scores)
        if not any(asks):
            return None
        needed = any(ask is not None and ask.needs_rows for ask in asks)
        return Pass(
            ids=tuple(batch.ids),
            asks=asks,
            first_row=tuple(accumulate(batch.n_sampled, initial=0)),
            sampled=scores[batch.sampled] if needed else None,
            prompts=self._prompts(batch, scores),
        )

    def _prompts(self, batch: Batch, scores: Tensor) -> dict[str, Tensor]:
        """Prompt rows of the requests whose prompt this pass completes."""
        found = {}
        for place, request_id in enumerate(batch.ids):
            ask, n_prompt = self._asks.get(request_id, (None, 0))
            start, end = batch.starts[place : place + 2]
            done = batch.done[place]
            if ask is None or not ask.prompt or n_prompt == 1 or done >= n_prompt:
                continue
            if self._slots is None:  # a new start drops what an earlier one had read
                kept = self._chunks.setdefault(request_id, []) if done else []
                self._chunks[request_id] = [
                    *kept,
                    scores[start : min(end, start + n_prompt - 1 - done)],
                ]
            if done + end - start < n_prompt:
                continue
            if self._slots is None:
                found[request_id] = torch.cat(self._chunks.pop(request_id))
            else:
                found[request_id] = self._slots.read(batch.slots_of(place, n_prompt - 1))
        return found


def _full_attention_group(config: Any) -> int:
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    for place, group in enumerate(config.kv_cache_groups):
        if isinstance(group.kv_cache_spec, FullAttentionSpec):
            return place
    raise ReadoutError(
        "the model keeps no keys of all earlier tokens, so there is no slot per token; set "
        "VLLM_READOUT_PREFIX_CACHE=recompute"
    )
