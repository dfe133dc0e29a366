"""Which releases of vLLM this package was tested with, and what it needs to find in them."""

from __future__ import annotations

import importlib
import os

from readout_vllm.errors import ReadoutError

TESTED = ("0.31", "0.32")
"""Releases whose tests pass, as major.minor."""
NEEDED = (
    "vllm.config:VllmConfig.compute_hash",
    "vllm.v1.worker.gpu_worker:Worker.load_model",
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner.execute_model",
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner.sample_tokens",
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner.initialize_kv_cache",
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner.sync_and_gather_intermediate_tensors",
    "vllm.model_executor.models.interfaces:EagleModelMixin.AUX_HIDDEN_STATE_KEY",
    "vllm.model_executor.models.interfaces:supports_eagle3",
    "vllm.v1.outputs:ModelRunnerOutput",
    "vllm.v1.outputs:AsyncModelRunnerOutput.get_output",
    "vllm.v1.core.sched.scheduler:Scheduler.update_from_output",
    "vllm.v1.core.sched.scheduler:check_stop",
    "vllm.v1.engine.input_processor:InputProcessor.process_inputs",
    "vllm.v1.engine.output_processor:OutputProcessor.process_outputs",
    "vllm.v1.engine.output_processor:OutputProcessor.add_request",
    "vllm.v1.engine.output_processor:RequestState._new_completion_output",
    "vllm.outputs:RequestOutput.add",
)
"""Every name that is patched or relied on, as module:attribute."""

_CLAIM = "_READOUT_VLLM_PATCHED"


def claim() -> bool:
    """Whether this is the first call in this process: vLLM may load plugins several times."""
    if os.environ.get(_CLAIM) == str(os.getpid()):
        return False
    os.environ[_CLAIM] = str(os.getpid())
    return True


def check() -> None:
    """Raise a ReadoutError where this vLLM is not one that was tested, or a name is missing."""
    import vllm

    if not any(vllm.__version__.startswith(f"{release}.") for release in TESTED):
        raise ReadoutError(
            f"readout-vllm was tested with vLLM {', '.join(TESTED)}, this is {vllm.__version__}; "
            "install one of those, or unset VLLM_READOUT_VECTORS to serve without readouts"
        )
    if missing := [name for name in NEEDED if not _exists(name)]:
        raise ReadoutError(
            f"vLLM {vllm.__version__} has no {missing[0]}; readout-vllm does not fit this build"
        )


def _exists(name: str) -> bool:
    module, path = name.split(":")
    found: object = importlib.import_module(module)
    for part in path.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True
