"""A language model ready to be read: weights, tokenizer, prompt frame, device and identity.

Weights and tokenizer from a folder, by transformers, with its errors in plain words.
"""

import inspect
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from readout_ui.errors import UserError
from readout_ui.models.blocks import (
    BlockPaths,
    LayerConfig,
    config_values,
    hidden_size,
    n_layers,
    resolve_blocks,
    text_config,
)
from readout_ui.models.calling import quiet_transformers
from readout_ui.models.checkpoints import Checkpoint, find_checkpoint, read_config, require_causal
from readout_ui.models.devices import (
    Shortage,
    choose_device,
    choose_dtype,
    free_bytes,
    gpu_count,
    require_room,
    within_memory,
    wrong_torch,
)
from readout_ui.models.packed import BUNDLED
from readout_ui.models.prompt import PromptFrame, frame_for, raw_frame
from readout_ui.models.weights import (
    ADAPTER_CONFIG,
    merge_adapter,
    require_finite,
    weight_bytes,
    weights_fingerprint,
)
from readout_ui.progress import Progress, Report, silent

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

QUANTIZATIONS = ("none", "8bit", "4bit")
_BITS_AND_BYTES = {"8bit": 1.0, "4bit": 0.6}
"""Bytes per quantized weight, scales included."""
_OUTPUTS = {
    "use_cache": True,
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "torchscript": False,
}


def bytes_per_float(
    quantization: str, dtype: "torch.dtype", config: dict[str, Any]
) -> float | None:
    """Memory per stored number; None where the checkpoint is packed already and stays so."""
    if config.get("quantization_config"):
        return None
    return _BITS_AND_BYTES.get(quantization, float(dtype.itemsize))


def find_tokenizer(spec: "ModelSpec", checkpoint: Checkpoint, report: Report) -> Checkpoint:
    """Where a model's tokenizer is: its own place, an adapter's, or the one that was named."""
    if spec.tokenizer:
        if _has_tokenizer(folder := Path(spec.tokenizer).expanduser()):
            return Checkpoint(folder.name, "", folder)
        return find_checkpoint(spec.tokenizer, None, spec.trust_remote_code, report)
    if checkpoint.adapter is not None and _has_tokenizer(checkpoint.adapter):
        return replace(checkpoint, folder=checkpoint.adapter)
    return checkpoint


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))


def load_tokenizer(checkpoint: Checkpoint, trusted: bool) -> "PreTrainedTokenizerBase":
    """The tokenizer as its makers ship it.

    Raises:
        UserError: it is missing or needs something that is not installed.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            checkpoint.folder, trust_remote_code=trusted, local_files_only=True
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UserError(
            f"its tokenizer cannot be loaded ({_first_line(error)})", where=checkpoint.name
        ) from error
    return tokenizer


def load_weights(
    checkpoint: Checkpoint,
    dtype: "torch.dtype",
    device_map: "torch.device | str",
    quantization: str,
    trusted: bool,
) -> "tuple[PreTrainedModel, tuple[str, ...]]":
    """The model in eval mode without gradients, and what the user should know about it.

    Raises:
        UserError: transformers cannot load it, or weights are missing.
    """
    import torch
    from safetensors import SafetensorError

    options = {
        "dtype": dtype,
        "device_map": device_map,
        "trust_remote_code": trusted,
        "local_files_only": True,
        "output_loading_info": True,
    }
    if quantization != "none":
        options["quantization_config"] = _bitsandbytes(quantization, dtype)
    kind = _auto_class(checkpoint, trusted)
    try:
        found = within_memory(partial(kind.from_pretrained, checkpoint.folder, **options))
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"the model cannot be loaded ({_first_line(error)})", where=checkpoint.name
        ) from error
    if isinstance(found, Shortage):
        device = torch.device("cuda" if device_map == "auto" else device_map)
        raise found.error(device, "the weights", checkpoint.name, "choose --quantization 4bit")
    model, info = found
    notes = (*_check_complete(checkpoint, info["missing_keys"]), *_offloaded(model))
    if checkpoint.adapter is not None:
        merge_adapter(model, checkpoint.adapter)
        notes = (*notes, f"the LoRA adapter {checkpoint.adapter.name} is merged into the weights")
    elif (checkpoint.folder / ADAPTER_CONFIG).is_file():
        done = "is applied" if getattr(model, "_hf_peft_config_loaded", False) else "is not applied"
        notes = (*notes, f"the LoRA adapter beside the weights ({ADAPTER_CONFIG}) {done}")
    require_finite(model, checkpoint.name)
    model.eval().requires_grad_(False)
    _settle_outputs(model)
    return model, notes


def _offloaded(model: "PreTrainedModel") -> tuple[str, ...]:
    """What it costs that parts of the model found no room on the GPUs."""
    places = getattr(model, "hf_device_map", None) or {}
    away = [name for name, place in places.items() if str(place) in ("cpu", "disk")]
    if not away or len(away) == len(places):
        return ()
    return (
        f"{len(away)} of {len(places)} parts of the model have no room on the GPUs and are fetched "
        "from memory or disk in every pass, so everything takes many times as long: free GPU "
        "memory, choose --quantization 4bit or a smaller model.",
    )


def _settle_outputs(model: "PreTrainedModel") -> None:
    """What a forward pass returns is asked for here, and not by the checkpoint's config.json."""
    for config in (model.config, text_config(model)):
        for name, ours in _OUTPUTS.items():
            if getattr(config, name, ours) != ours:
                setattr(config, name, ours)


def _auto_class(checkpoint: Checkpoint, trusted: bool) -> Any:
    """AutoModelForCausalLM, or the class for models that also take images."""
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
    )

    config = AutoConfig.from_pretrained(
        checkpoint.folder, trust_remote_code=trusted, local_files_only=True
    )
    remote = trusted and hasattr(config, "auto_map")
    if remote or type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    return AutoModelForImageTextToText


def _check_complete(checkpoint: Checkpoint, missing: list[str]) -> tuple[str, ...]:
    absent = sorted(missing)
    if absent and all("head" in name or "embed_out" in name for name in absent):
        return (f"the checkpoint has no LM head ({absent[0]}), so generated text is random",)
    if absent:
        raise UserError(
            f"{len(absent)} weights are missing from the checkpoint ({', '.join(absent[:3])})",
            where=checkpoint.name,
        )
    return ()


def _bitsandbytes(quantization: str, dtype: "torch.dtype") -> Any:
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise UserError(
            f"{quantization} loading needs bitsandbytes, which is not installed",
            fix="pip install bitsandbytes",
        )
    from transformers import BitsAndBytesConfig

    make: Any = BitsAndBytesConfig
    if quantization == "8bit":
        return make(load_in_8bit=True)
    return make(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


@dataclass(frozen=True)
class ModelSpec:
    """What the user asked for.

    >>> ro.ModelSpec("Qwen/Qwen3-8B", dtype="bf16").quantization
    'none'
    """

    model: str = BUNDLED
    """The bundled model's name, a hub id, a local folder or a GGUF file."""
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
    tokenizer: str = ""
    """Hub id or folder of another tokenizer; empty is the model's own."""

    def __post_init__(self) -> None:
        if self.quantization not in QUANTIZATIONS:
            raise UserError(
                f"there is no quantization {self.quantization!r}", options=QUANTIZATIONS
            )
        if not self.model.strip():
            raise UserError("the model's name is empty", fix="give a hub id or a local folder")


@dataclass(frozen=True, eq=False, repr=False)
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

    def framed(self, frame: str) -> "LoadedModel":
        """The same model with another frame round texts: "chat", as loaded, or "none"."""
        return self if frame == "chat" or self.frame.raw else self._without_frame

    @cached_property
    def _without_frame(self) -> "LoadedModel":
        return replace(self, frame=raw_frame(self.frame))

    def blocks(
        self, layer_type: str = "decoder_block", layer_config: LayerConfig | None = None
    ) -> BlockPaths:
        """Module paths of one layer type, one per layer."""
        return resolve_blocks(self.model, layer_type, layer_config)

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

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
        UserError: every way in which this can fail for a reason the user can remove.
    """
    device = choose_device(spec.device)
    dtype = choose_dtype(spec.dtype, device)
    checkpoint = _checkpoint(spec, report)
    config = read_config(checkpoint)
    require_causal(checkpoint, config, spec.trust_remote_code)
    spread = spec.device == "auto" and device.type == "cuda" and gpu_count() > 1
    scale = bytes_per_float(spec.quantization, dtype, config)
    needed = weight_bytes(checkpoint.folder, scale, dtype.itemsize)
    where = "all GPUs" if spread else str(device)
    require_room(checkpoint.name, needed, free_bytes(device, spread), where)
    source = find_tokenizer(spec, checkpoint, report)
    report(Progress(f"Loading {checkpoint.name}", 0, 0, "bytes"))
    with quiet_transformers():
        tokenizer = load_tokenizer(source, spec.trust_remote_code)
        model, notes = load_weights(
            checkpoint,
            dtype,
            "auto" if spread else device,
            spec.quantization,
            spec.trust_remote_code,
        )
    report(Progress("Identifying the weights", 0, 0, "tensors"))
    return _loaded(spec, checkpoint, model, tokenizer, notes)


def load_frame(spec: ModelSpec, report: Report = silent) -> PromptFrame:
    """The frame of a model whose weights are not loaded, to see how it frames a text.

    Raises:
        UserError: there is no such model, or its tokenizer cannot be loaded.
    """
    source = find_tokenizer(spec, _checkpoint(spec, report), report)
    with quiet_transformers():
        return frame_for(load_tokenizer(source, spec.trust_remote_code))


def _checkpoint(spec: ModelSpec, report: Report) -> Checkpoint:
    return find_checkpoint(
        spec.model, spec.revision, spec.trust_remote_code, report, bool(spec.tokenizer)
    )


def _loaded(
    spec: ModelSpec,
    checkpoint: Checkpoint,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    notes: tuple[str, ...],
) -> LoadedModel:
    # transformers 4 adds token_type_ids that most models refuse: `model.generate(**inputs)`.
    taken = inspect.signature(model.forward).parameters
    names = [name for name in tokenizer.model_input_names if name in taken]
    tokenizer.model_input_names = names or tokenizer.model_input_names
    frame = frame_for(tokenizer)
    embeddings: Any = model.get_input_embeddings().weight  # (n_vocabulary, d_model)
    device = embeddings.device
    if embeddings.is_meta:  # kept on the CPU or on disk, and fetched by accelerate
        device = choose_device(spec.device)
    resolve_blocks(model)
    if device.type == "cpu" and spec.device == "auto" and (why := wrong_torch()):
        notes = (*notes, why)
    if frame.kind == "plain":
        notes = (*notes, frame.describe())
    if len(tokenizer) > len(embeddings):
        notes = (*notes, f"the tokenizer has {len(tokenizer)} tokens, the model {len(embeddings)}")
    lengths = [n for n in config_values(model, "max_position_embeddings") if n]
    return LoadedModel(
        spec=spec,
        name=checkpoint.name,
        revision=checkpoint.revision,
        model=model,
        tokenizer=tokenizer,
        frame=frame,
        device=device,
        dtype=embeddings.dtype,
        n_layers=n_layers(model),
        d_model=hidden_size(model),
        context_length=min(map(int, lengths), default=None),
        fingerprint=weights_fingerprint(model),
        notes=notes,
    )
