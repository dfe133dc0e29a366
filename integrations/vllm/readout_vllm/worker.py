"""On the device: project the residual stream of every token, keep the scores beside its keys.

The residual stream comes from vLLM's own interface for EAGLE-3: a model that supports it adds
`hidden_states + residual` after chosen decoder blocks to the outputs of its compiled graph, so
nothing is hooked and compilation and CUDA graphs keep working. Block i of an export is auxiliary
layer i + 1. The projection runs outside the graph, after each pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput

from readout_vllm.asks import Ask
from readout_vllm.errors import ReadoutError
from readout_vllm.export import Export
from readout_vllm.loaded import asked
from readout_vllm.wire import Rows

if TYPE_CHECKING:
    from readout_vllm.settings import Settings

CHUNK = 1024
"""Tokens projected at once: bounds the float32 copy of a layer's states."""
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
            for place, weight in enumerate(self._weights):
                made[rows, place] = states[place][rows].float() @ weight
        return made


class SlotScores:
    """Scores of all tokens whose keys and values are in the cache, by KV slot.

    A slot is overwritten when its block is given to another request, exactly as its keys are. So a
    prompt that is found in the prefix cache finds its scores too.
    """

    def __init__(self, n_slots: int, n_layers: int, n_concepts: int, device: torch.device) -> None:
        self._scores = torch.full((n_slots, n_layers, n_concepts), torch.nan, device=device)

    @property
    def bytes_per_million_tokens(self) -> int:
        """Memory on the device that holds the keys."""
        return 1_000_000 * self._scores[0].numel() * self._scores.element_size()

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

    def get_output(self) -> ModelRunnerOutput:
        """The runner's output with its rows."""
        output = self._inner.get_output()
        self._step.fill(output)
        return output


class RunnerReadout:
    """What one model runner needs to score its passes (model runner V1)."""

    def __init__(self, runner: Any, export: Export, settings: Settings) -> None:
        self._runner, self._export, self._settings = runner, export, settings
        self._projector = Projector(export, runner.device)
        self._slots: SlotScores | None = None
        self._group = 0
        self._asks: dict[str, Ask | None] = {}
        self._chunks: dict[str, list[Tensor]] = {}
        """Without a store: rows of prompts that are read in several passes."""

    def prepare_slots(self) -> None:
        """Make room for the scores of every KV slot; called when the cache has its size.

        Raises:
            ReadoutError: blocks of the cache can come from elsewhere, without scores.
        """
        config = self._runner.kv_cache_config
        if self._settings.prefix != "store":
            return
        if self._runner.vllm_config.kv_transfer_config is not None:
            raise ReadoutError(
                "keys and values that come through a KV connector have no scores; set "
                "VLLM_READOUT_PREFIX_CACHE=recompute"
            )
        self._group = _full_attention_group(config)
        block_size = config.kv_cache_groups[self._group].kv_cache_spec.block_size
        n_layers, n_concepts, _ = self._export.vectors.shape
        self._slots = SlotScores(
            config.num_blocks * block_size, n_layers, n_concepts, self._runner.device
        )

    @torch.inference_mode()
    def score(self, state: Any) -> Pass | None:
        """Score a pass: into the slots, and the rows that requests asked for."""
        runner, states = self._runner, state.aux_hidden_states
        ids = tuple(runner.input_batch.req_ids)
        if not ids or not states:
            return None
        asks = tuple(self._ask(request_id) for request_id in ids)
        if self._slots is None and not any(asks):
            return None
        n_tokens = state.scheduler_output.total_num_scheduled_tokens
        scores = self._projector.scores(states, n_tokens)
        if self._slots is not None:
            table = runner.input_batch.block_table[self._group]
            self._slots.write(table.slot_mapping.gpu[:n_tokens], scores)
        if not any(asks):
            return None
        rows, first_row = self._sampled_rows(state, ids)
        needed = any(ask is not None and ask.needs_rows for ask in asks)
        return Pass(
            ids=ids,
            asks=asks,
            first_row=first_row,
            sampled=scores[rows] if needed else None,
            prompts=self._prompts(state, ids, asks, scores),
        )

    def _ask(self, request_id: str) -> Ask | None:
        """What a request asked for, remembered while it runs."""
        if request_id not in self._asks:
            running = self._runner.requests
            self._asks = {key: ask for key, ask in self._asks.items() if key in running}
            parameters = running[request_id].sampling_params
            self._asks[request_id] = asked(getattr(parameters, "extra_args", None), self._settings)
        return self._asks[request_id]

    def _sampled_rows(self, state: Any, ids: tuple[str, ...]) -> tuple[Tensor, tuple[int, ...]]:
        """Rows of the pass that sampled, and where each request's first of them is."""
        drafts = state.spec_decode_metadata
        if drafts is None:
            ends = self._runner.query_start_loc.gpu[1 : len(ids) + 1]
            return (ends - 1).long(), tuple(range(len(ids)))
        counts = [n + 1 for n in drafts.num_draft_tokens]
        starts = [sum(counts[:place]) for place in range(len(counts))]
        return drafts.logits_indices.long(), tuple(starts)

    def _prompts(
        self, state: Any, ids: tuple[str, ...], asks: tuple[Ask | None, ...], scores: Tensor
    ) -> dict[str, Tensor]:
        """Prompt rows of the requests whose prompt this pass completes."""
        found = {}
        batch = self._runner.input_batch
        self._chunks = {key: rows for key, rows in self._chunks.items() if key in ids}
        for place, (request_id, ask) in enumerate(zip(ids, asks, strict=True)):
            if ask is None or not ask.prompt:
                continue
            n_prompt = self._runner.requests[request_id].num_prompt_tokens
            done = int(batch.num_computed_tokens_cpu[place])
            new = state.scheduler_output.num_scheduled_tokens[request_id]
            if n_prompt == 1 or done >= n_prompt:
                continue
            if self._slots is None:
                self._keep_chunk(request_id, place, done, n_prompt, scores)
            if done + new < n_prompt:
                continue
            if self._slots is None:
                found[request_id] = torch.cat(self._chunks.pop(request_id))
            else:
                found[request_id] = self._slots.read(self._prompt_slots(place, n_prompt - 1))
        return found

    def _prompt_slots(self, place: int, n_tokens: int) -> Tensor:
        table = self._runner.input_batch.block_table[self._group]
        positions = torch.arange(n_tokens, device=self._runner.device)
        block_size = int(table.block_size)
        blocks: Tensor = table.block_table.gpu[place][positions // block_size].long()
        return blocks * block_size + positions % block_size

    def _keep_chunk(
        self, request_id: str, place: int, done: int, n_prompt: int, scores: Tensor
    ) -> None:
        """Without a store, a prompt's rows wait for its last pass; a new start drops them."""
        start, end = self._runner.query_start_loc.np[place : place + 2].tolist()
        end = min(end, start + n_prompt - 1 - done)
        chunks = [] if done == 0 else self._chunks.get(request_id, [])
        self._chunks[request_id] = [*chunks, scores[start:end]]


def _full_attention_group(config: Any) -> int:
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    for place, group in enumerate(config.kv_cache_groups):
        if isinstance(group.kv_cache_spec, FullAttentionSpec):
            return place
    raise ReadoutError(
        "the model keeps no keys of all earlier tokens, so there is no slot per token; set "
        "VLLM_READOUT_PREFIX_CACHE=recompute"
    )
