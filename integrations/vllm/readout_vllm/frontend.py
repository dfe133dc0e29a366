"""In the front end: rows follow the tokens of their answer as logprobs do.

`CompletionOutput.readout` is an array (n_tokens, n_layers, n_concepts), of the new tokens when an
answer is streamed and of all tokens otherwise; `.readout_prompt` the same for the prompt's tokens
but the last; `.readout_fired` what watched concepts did.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from readout_vllm import metrics
from readout_vllm.loaded import asked, export_of
from readout_vllm.wire import CARRIER, Collected, merged

if TYPE_CHECKING:
    from readout_vllm.export import Export
    from readout_vllm.settings import Settings


def patch(settings: Settings) -> None:
    """Wrap what checks requests, takes the engine's outputs and makes those of a client."""
    _patch_input(settings)
    _patch_processor(settings, export_of(settings))
    _patch_completion()
    _patch_merge()


def _patch_input(settings: Settings) -> None:
    from vllm.v1.engine.input_processor import InputProcessor

    process = InputProcessor.process_inputs

    @functools.wraps(process)
    def process_inputs(
        self: Any, request_id: str, prompt: Any, params: Any, *args: Any, **kw: Any
    ) -> Any:
        ask = asked(getattr(params, "extra_args", None), settings)
        if ask is not None and ask.prompt and settings.prefix == "recompute":
            params.skip_reading_prefix_cache = True
        return process(self, request_id, prompt, params, *args, **kw)

    InputProcessor.process_inputs = process_inputs


def _patch_processor(settings: Settings, export: Export) -> None:
    from vllm.v1.engine.output_processor import OutputProcessor

    add, process = OutputProcessor.add_request, OutputProcessor.process_outputs

    @functools.wraps(add)
    def add_request(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        made = add(self, request, *args, **kwargs)
        ask = asked(getattr(request.sampling_params, "extra_args", None), settings)
        state = self.request_states.get(request.request_id)
        if ask is not None and state is not None:
            state.readout, state.readout_ask = Collected(), ask
        return made

    @functools.wraps(process)
    def process_outputs(self: Any, outputs: Any, *args: Any, **kwargs: Any) -> Any:
        for out in outputs:
            _take(self.request_states, out, export)
        return process(self, outputs, *args, **kwargs)

    OutputProcessor.add_request = add_request
    OutputProcessor.process_outputs = process_outputs


def _take(states: dict[str, Any], out: Any, export: Export) -> None:
    """Move the rows of an engine output into the state of its request."""
    carried = out.kv_transfer_params
    if not carried or CARRIER not in carried:
        return
    packed = carried.pop(CARRIER)
    out.kv_transfer_params = carried or None
    collected = getattr(states.get(out.request_id), "readout", None)
    if collected is not None:
        collected.add(packed, export.concepts)


def _patch_completion() -> None:
    from vllm.outputs import CompletionOutput
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.output_processor import RequestState

    make = RequestState._new_completion_output
    for name in ("readout", "readout_prompt", "readout_all", "readout_ask"):
        setattr(CompletionOutput, name, None)
    CompletionOutput.readout_fired = []

    @functools.wraps(make)
    def _new_completion_output(self: Any, token_ids: Any, finish: Any, stop: Any) -> Any:
        output = make(self, token_ids, finish, stop)
        collected: Collected | None = getattr(self, "readout", None)
        if collected is None:
            return output
        streamed = self.output_kind == RequestOutputKind.DELTA
        n_tokens = self.detokenizer.num_output_tokens()
        output.readout_ask, output.readout_fired = self.readout_ask, collected.fired
        output.readout_all = collected.rows(0, n_tokens) if finish is not None else None
        output.readout = collected.next_rows(n_tokens) if streamed else collected.rows(0, n_tokens)
        output.readout_prompt = collected.next_prompt() if streamed else collected.prompt
        if finish is not None:
            metrics.observe(collected.rows(0, n_tokens), collected.fired)
        return output

    RequestState._new_completion_output = _new_completion_output


def _patch_merge() -> None:
    from vllm.outputs import RequestOutput

    add = RequestOutput.add
    keys = ("readout", "readout_prompt")

    @functools.wraps(add)
    def merge(self: Any, later: Any, aggregate: bool) -> None:
        before = {c.index: {key: getattr(c, key) for key in keys} for c in self.outputs}
        add(self, later, aggregate)
        if not aggregate:
            return
        for new in later.outputs:
            for completion in self.outputs:
                if completion.index == new.index and completion is not new:
                    _merge(completion, new, before[new.index])

    RequestOutput.add = merge


def _merge(completion: Any, new: Any, before: dict[str, Any]) -> None:
    if new.readout_ask is None:
        return
    for key, rows in before.items():
        setattr(completion, key, merged(rows, getattr(new, key)))
    completion.readout_fired, completion.readout_all = new.readout_fired, new.readout_all
