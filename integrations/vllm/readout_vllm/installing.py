"""How the worker's part gets into vLLM: what is refused, and which methods are wrapped."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vllm.v1.outputs import AsyncModelRunnerOutput

from readout_vllm.errors import ReadoutError
from readout_vllm.export import Export
from readout_vllm.loaded import export_of
from readout_vllm.runners import batch_of_v1, batch_of_v2
from readout_vllm.worker import LateOutput, RunnerReadout

if TYPE_CHECKING:
    from readout_vllm.settings import Settings


def install(runner: Any, settings: Settings) -> None:
    """Make a loaded model give its residual stream, before it is compiled.

    Raises:
        ReadoutError: this model or this configuration cannot be read.
    """
    from vllm.distributed.parallel_state import get_pp_group, get_tp_group

    export = export_of(settings)
    model, config = runner.get_model(), runner.vllm_config
    second = bool(config.use_v2_model_runner)
    _refuse_unreadable(runner, model)
    refuse_unknown(config.parallel_config, second, settings)
    names = config.model_config.served_model_name or ()
    names = (names,) if isinstance(names, str) else tuple(names)
    export.refuse_other_model(
        (str(config.model_config.model), *names),
        config.model_config.get_hidden_size(),
        config.model_config.get_total_num_hidden_layers(),
    )
    model.set_aux_hidden_state_layers(tuple(layer + 1 for layer in export.layers))
    pipeline = get_pp_group()
    if pipeline.world_size > 1:
        _refuse_far_layers(model, config.model_config.enforce_eager)
    runner.use_aux_hidden_state_outputs = pipeline.is_last_rank
    if pipeline.world_size > 1 and not pipeline.is_first_rank:
        _wrap(
            runner,
            "sync_and_gather_intermediate_tensors",
            lambda gather: _gathering(gather, runner),
        )
    if pipeline.is_last_rank and get_tp_group().is_first_rank:
        batch_of = batch_of_v2 if second else batch_of_v1
        _connect(runner, RunnerReadout(runner, export, settings, batch_of))


def refuse_unknown(parallel: Any, second: bool, settings: Settings) -> None:
    """Raise a ReadoutError for what no readout was ever run with.

    Args:
        parallel: vLLM's configuration of parallelism.
        second: whether the model runner is V2.
        settings: what the operator allowed.
    """
    if parallel.decode_context_parallel_size > 1 or parallel.prefill_context_parallel_size > 1:
        raise ReadoutError(
            "context parallelism spreads a prompt over ranks, and no rank sees all of it; serve "
            "with --tensor-parallel-size instead"
        )
    if not second:
        return
    if not settings.untested:
        raise ReadoutError(
            "model runner V2 was never run on a GPU with readouts; set "
            "VLLM_USE_V2_MODEL_RUNNER=0, or VLLM_READOUT_UNTESTED=1 to try it"
        )
    if parallel.pipeline_parallel_size > 1:
        raise ReadoutError(
            "model runner V2 is not read with pipeline parallelism; set VLLM_USE_V2_MODEL_RUNNER=0"
        )


def _connect(runner: Any, readout: RunnerReadout) -> None:
    """Tell a readout of what its model runner does."""
    runner.readout = readout
    _wrap(runner, "initialize_kv_cache", lambda prepare: _sizing(prepare, readout))
    _wrap(runner, "execute_model", lambda execute: _beginning(execute, readout))
    _wrap(runner, "sample_tokens", lambda sample: _sampling(runner, sample))


def _refuse_unreadable(runner: Any, model: Any) -> None:
    from vllm.model_executor.models.interfaces import supports_eagle3

    if not supports_eagle3(model):
        raise ReadoutError(
            f"{type(model).__name__} hands out no residual stream in this vLLM (it does not "
            "support EAGLE-3); serve it with `readout-ui serve`"
        )
    if runner.use_aux_hidden_state_outputs:
        raise ReadoutError(
            "EAGLE-3, DFlash or extract_hidden_states already use the residual stream; serve "
            "without that kind of speculation (ngram works)"
        )


def _refuse_far_layers(model: Any, eager: bool) -> None:
    """With pipeline parallelism, the residual stream of other ranks must travel to the last one."""
    inner = getattr(model, "model", model)
    if not getattr(inner, "supports_aux_hidden_states_over_pp", False):
        raise ReadoutError(
            f"{type(model).__name__} cannot send the residual stream over pipeline ranks; serve "
            "with --tensor-parallel-size instead"
        )
    if not eager:
        raise ReadoutError(
            "pipeline parallelism with readouts needs --enforce-eager: a compiled graph has no "
            "place for the residual stream of earlier ranks"
        )


def patch(settings: Settings) -> None:
    """Wrap what loads the model and what keys the compile cache."""
    from vllm.config import VllmConfig
    from vllm.v1.worker.gpu_worker import Worker

    _wrap(Worker, "load_model", lambda load: _loading(load, settings))
    _wrap(VllmConfig, "compute_hash", lambda compute: _salting(compute, export_of(settings)))


def _wrap(owner: Any, name: str, around: Callable[[Any], Any]) -> None:
    inner = getattr(owner, name)
    setattr(owner, name, functools.wraps(inner)(around(inner)))


def _loading(load: Any, settings: Settings) -> Any:
    def load_model(worker: Any, *args: Any, **kwargs: Any) -> Any:
        made = load(worker, *args, **kwargs)
        install(worker.model_runner, settings)
        return made

    return load_model


def _sizing(initialize: Any, readout: RunnerReadout) -> Any:
    def initialize_kv_cache(*args: Any, **kwargs: Any) -> Any:
        made = initialize(*args, **kwargs)
        readout.prepare_slots()
        return made

    return initialize_kv_cache


def _beginning(execute: Any, readout: RunnerReadout) -> Any:
    def execute_model(scheduled: Any, *args: Any, **kwargs: Any) -> Any:
        readout.begin(scheduled)
        return execute(scheduled, *args, **kwargs)

    return execute_model


def _sampling(runner: Any, sample: Any) -> Any:
    def sample_tokens(*args: Any, **kwargs: Any) -> Any:
        readout, state = runner.readout, runner.execute_model_state
        step = readout.score(state) if readout is not None and state is not None else None
        output = sample(*args, **kwargs)
        if step is None:
            return output
        if isinstance(output, AsyncModelRunnerOutput):
            return LateOutput(output, step)
        step.fill(output)
        return output

    return sample_tokens


def _gathering(gather: Any, runner: Any) -> Any:
    """Model runner V1 has buffers for two tensors between pipeline ranks; ours pass beside them."""
    from vllm.model_executor.models.interfaces import EagleModelMixin

    def sync_and_gather(n_tokens: int, received: Any, *args: Any, **kw: Any) -> Any:
        there = {} if received is None else received.tensors
        far = [name for name in there if name.startswith(EagleModelMixin.AUX_HIDDEN_STATE_KEY)]
        states = {name: there.pop(name)[:n_tokens] for name in far}
        if runner.intermediate_tensors is None:  # made by a warm-up that eager processors skip
            runner.intermediate_tensors = runner.model.make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=runner.dtype, device=runner.device
            )
        gathered = gather(n_tokens, received, *args, **kw)
        gathered.tensors.update(states)
        return gathered

    return sync_and_gather


def _salting(compute: Any, export: Export) -> Any:
    """The layers are part of the traced graph: a graph compiled for other layers must not serve."""

    def compute_hash(config: Any) -> str:
        base = str(compute(config))
        salted = hashlib.sha256(f"{base} readout {export.layers}".encode()).hexdigest()
        return salted[: len(base)]

    return compute_hash
