"""A language model ready to be read: weights, tokenizer, prompt frame, device and identity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from readout_ui.blocks import BlockPaths, hidden_size, n_layers, resolve_blocks, text_config
from readout_ui.bundled import BUNDLED
from readout_ui.checkpoints import Checkpoint, find_checkpoint, read_config, weight_bytes
from readout_ui.devices import choose_device, choose_dtype, free_bytes, gpu_count, require_room
from readout_ui.errors import UserError
from readout_ui.fingerprints import weights_fingerprint
from readout_ui.frames import PromptFrame, frame_for
from readout_ui.progress import Progress, Report, silent
from readout_ui.quiet import quiet_transformers
from readout_ui.weights import (
    QUANTIZATIONS,
    bytes_per_float,
    load_tokenizer,
    load_weights,
    require_causal,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class ModelSpec:
    """What the user asked for."""

    model: str = BUNDLED
    """The bundled model's name, a hub id or a local folder."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None is its default branch."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps; auto spreads over all GPUs where there are several."""
    dtype: str = "auto"
    """auto, bf16, fp16 or fp32."""
    quantization: str = "none"
    """none, 8bit or 4bit (bitsandbytes)."""
    trust_remote_code: bool = False
    """Whether code from the model's repository may run."""

    def __post_init__(self) -> None:
        if self.quantization not in QUANTIZATIONS:
            raise UserError(
                f"there is no quantization {self.quantization!r}", options=QUANTIZATIONS
            )
        if not self.model.strip():
            raise UserError("the model's name is empty", fix="give a hub id or a local folder")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model on its device, in eval mode, without gradients."""

    spec: ModelSpec
    """What was asked for."""
    name: str
    """Hub id, the bundled model's name or the folder's name."""
    revision: str
    """The hub's commit hash; empty for other sources."""
    model: "PreTrainedModel"
    """The model with its LM head."""
    tokenizer: "PreTrainedTokenizerBase"
    """As its makers ship it; never changed here."""
    frame: PromptFrame
    """What is put around every text."""
    device: "torch.device"
    """Where the token embeddings are, so where inputs go."""
    dtype: "torch.dtype"
    """Number format of the weights."""
    n_layers: int
    """How many decoder blocks."""
    d_model: int
    """Width of the residual stream."""
    context_length: int | None
    """Most tokens the model can read at once, None where its config does not say."""
    fingerprint: str
    """The weights' identity, the same on every device."""
    notes: tuple[str, ...]
    """What the user should know about how it was loaded."""

    def blocks(
        self, layer_type: str = "decoder_block", layer_config: Mapping[str, str] | None = None
    ) -> BlockPaths:
        """Module paths of one layer type, one per layer."""
        return resolve_blocks(self.model, layer_type, layer_config)

    def describe(self) -> str:
        """One line for people."""
        dtype = str(self.dtype).removeprefix("torch.")
        return (
            f"{self.name} on {self.device} in {dtype}: {self.n_layers} layers at "
            f"{self.blocks().template}, d_model {self.d_model}"
        )


def load_model(spec: ModelSpec, report: Report = silent) -> LoadedModel:
    """Find, check and load a model, its tokenizer and its frame.

    Raises:
        UserError: every way in which this can fail for a reason the user can mend.
    """
    device = choose_device(spec.device)
    dtype = choose_dtype(spec.dtype, device)
    checkpoint = find_checkpoint(spec.model, spec.revision, spec.trust_remote_code, report)
    config = read_config(checkpoint)
    require_causal(checkpoint, config, spec.trust_remote_code)
    spread = spec.device == "auto" and device.type == "cuda" and gpu_count() > 1
    needed = weight_bytes(checkpoint, bytes_per_float(spec.quantization, dtype, config))
    where = "all GPUs" if spread else str(device)
    require_room(checkpoint.name, needed, free_bytes(device, spread), where)
    report(Progress(f"Loading {checkpoint.name}", 0, 0, "bytes"))
    with quiet_transformers():
        tokenizer = load_tokenizer(checkpoint, spec.trust_remote_code)
        model, notes = load_weights(
            checkpoint,
            dtype,
            "auto" if spread else device,
            spec.quantization,
            spec.trust_remote_code,
        )
    report(Progress("Identifying the weights", 0, 0, "tensors"))
    return _loaded(spec, checkpoint, model, tokenizer, notes)


def _loaded(
    spec: ModelSpec,
    checkpoint: Checkpoint,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    notes: tuple[str, ...],
) -> LoadedModel:
    frame = frame_for(tokenizer)
    embeddings: Any = model.get_input_embeddings().weight  # (n_vocabulary, d_model)
    resolve_blocks(model)
    if frame.kind == "plain":
        notes = (*notes, frame.describe())
    if len(tokenizer) > len(embeddings):
        notes = (
            *notes,
            f"the tokenizer has {len(tokenizer)} tokens, the model {len(embeddings)}",
        )
    length = getattr(text_config(model), "max_position_embeddings", None)
    return LoadedModel(
        spec=spec,
        name=checkpoint.name,
        revision=checkpoint.revision,
        model=model,
        tokenizer=tokenizer,
        frame=frame,
        device=embeddings.device,
        dtype=embeddings.dtype,
        n_layers=n_layers(model),
        d_model=hidden_size(model),
        context_length=int(length) if length else None,
        fingerprint=weights_fingerprint(model),
        notes=notes,
    )
