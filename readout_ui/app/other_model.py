"""Reading one side of a comparison with a model that is loaded for it alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError
from readout_ui.progress import Progress, Report
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.reading import Reading
    from readout_ui.models.chat_template import Turn
    from readout_ui.models.loading import ModelSpec

_DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_GIB = 2**30


def model_of(run: Run, location: str, options: StudioOptions) -> ModelSpec:
    """How to load the model a run was trained on, in the number format of its training.

    Args:
        run: the run.
        location: hub id or folder; empty for what the run's manifest says.
        options: how the app was started; its device and trust count for this model too.

    Raises:
        UserError: the model was a local folder, of which the run knows only the name.
    """
    from readout_ui.models.checkpoints import is_bundled
    from readout_ui.models.loading import ModelSpec

    trained = run.manifest.model
    if not (location or trained.revision or is_bundled(trained.id)):
        raise UserError(
            f"run {run.id} was trained on {trained.id}, a local folder",
            fix="write the folder's path under Model of B",
        )
    return ModelSpec(
        model=location or trained.id,
        revision=None if location else trained.revision or None,
        device=options.device,
        dtype=_DTYPES.get(trained.dtype, "auto"),
        trust_remote_code=options.trust_remote_code,
    )


def read_with_other_model(
    spec: ModelSpec,
    run: Run,
    content: str | Sequence[Turn],
    mode: str,
    report: Report,
) -> Reading:
    """Load a model beside the one in use, read once, and let it go.

    Raises:
        UserError: it does not fit (with needed and free bytes), is not to be had, or is not the
            model of the run.
    """
    from readout_ui.inference.readout import Readout
    from readout_ui.models.devices import release_memory
    from readout_ui.models.loading import load_model

    note = room_words(spec)

    def told(progress: Progress) -> None:
        loading = progress.stage.startswith("Loading")
        report(replace(progress, stage=f"{progress.stage}{note}") if loading else progress)

    model = None
    try:
        model = load_model(spec, told)
        run.refuse_other_model(model)
        return Readout(model, run).read(content, mode)
    finally:
        del model
        release_memory()


def room_words(spec: ModelSpec) -> str:
    """What a model on this disk takes and what is free, in words; empty if unknown."""
    from readout_ui.models.checkpoints import (
        find_checkpoint,
        is_bundled,
        read_config,
        weight_bytes,
    )
    from readout_ui.models.devices import choose_device, choose_dtype, free_bytes
    from readout_ui.models.loading import bytes_per_float
    from readout_ui.progress import silent

    if not (is_bundled(spec.model) or spec.model.startswith(("/", ".", "~"))):
        return ""  # on the hub: its size is known once it is here
    device = choose_device(spec.device)
    checkpoint = find_checkpoint(spec.model, spec.revision, spec.trust_remote_code, silent)
    dtype = choose_dtype(spec.dtype, device)
    scale = bytes_per_float(spec.quantization, dtype, read_config(checkpoint))
    needed, free = weight_bytes(checkpoint, scale), free_bytes(device)
    return f" for this comparison: {needed / _GIB:.2f} of {free / _GIB:.1f} GiB that are free"
