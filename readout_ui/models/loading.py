"""A language model ready to be read: weights, tokenizer, prompt frame, device and identity.

Weights and tokenizer from a folder, by transformers, with its errors in plain words.
"""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from readout_ui.errors import UserError
from readout_ui.models.adapters import ADAPTER_CONFIG, merge_adapter
from readout_ui.models.blocks import (
    BlockPaths,
    LayerConfig,
    config_values,
    hidden_size,
    n_layers,
    resolve_blocks,
)
from readout_ui.models.calling import LibraryErrors, quiet_transformers, settle_outputs
from readout_ui.models.checkpoints import (
    Checkpoint,
    find_checkpoint,
    find_tokenizer,
    read_config,
    require_causal,
)
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
    bytes_per_float,
    config_digest,
    require_finite,
    weight_bytes,
    weights_fingerprint,
)
from readout_ui.progress import Progress, Report, silent

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

QUANTIZATIONS = ("none", "8bit", "4bit")


def load_tokenizer(checkpoint: Checkpoint, trusted: bool) -> "PreTrainedTokenizerBase":
    """The tokenizer as its makers ship it.

    Raises:
        UserError: it is missing or needs something that is not installed.
    """
    from transformers import AutoTokenizer

    with LibraryErrors("its tokenizer cannot be loaded", checkpoint.name):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            checkpoint.folder, trust_remote_code=trusted, local_files_only=True
        )
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

    options = {
        "dtype": dtype,
        "device_map": device_map,
        "trust_remote_code": trusted,
        "local_files_only": True,
        "output_loading_info": True,
    }
    if quantization != "none":
        options["quantization_config"] = _bitsandbytes(quantization, dtype)
    with LibraryErrors("the model cannot be loaded", checkpoint.name):
        kind = _auto_class(checkpoint, trusted)
        found = within_memory(partial(kind.from_pretrained, checkpoint.folder, **options))
    if isinstance(found, Shortage):
        device = torch.device("cuda" if device_map == "auto" else device_map)
        raise found.error(device, "the weights", checkpoint.name, "choose --quantization 4bit")
    model, info = found
    unused = _unused(info["unexpected_keys"])
    notes = (*_check_complete(checkpoint, info["missing_keys"]), *unused, *_offloaded(model))
    if checkpoint.adapter is not None:
        kind = merge_adapter(model, checkpoint.adapter)
        notes = (*notes, f"the {kind} adapter {checkpoint.adapter.name} is merged into the weights")
    elif (checkpoint.folder / ADAPTER_CONFIG).is_file():
        done = "is applied" if getattr(model, "_hf_peft_config_loaded", False) else "is not applied"
        notes = (*notes, f"the adapter beside the weights ({ADAPTER_CONFIG}) {done}")
    require_finite(model, checkpoint.name)
    model.eval().requires_grad_(False)
    settle_outputs(model)
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


def _unused(unexpected: Iterable[str]) -> tuple[str, ...]:
    """What the checkpoint holds beside the model; a config of fewer layers leaves some out."""
    names = sorted(unexpected)
    if not names:
        return ()
    rest = ", ..." if len(names) > 3 else ""
    return (
        f"{len(names)} weights of the checkpoint have no place in the model that its config.json "
        f"describes and are not used ({', '.join(names[:3])}{rest})",
    )


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
    no_answers: str = ""
    """Why it can be read but cannot write a text that is read while it grows; "" if it can."""

    def framed(self, frame: str) -> "LoadedModel":
        """The same model with another frame round texts: "chat", as loaded, or "none"."""
        return self if frame == "chat" or self.frame.raw else self._without_frame

    def with_frame(self, frame: PromptFrame) -> "LoadedModel":
        """The same model with that frame round texts."""
        return replace(self, frame=frame)

    @cached_property
    def identity(self) -> str:
        """All but the frame that decides activations: weights, and how the config runs them."""
        return f"{self.fingerprint} {config_digest(self.model)}"

    @property
    def works_on(self) -> "torch.device":
        """Its device once it is loaded; until something asks for that, the CPU."""
        import torch

        return vars(self).get("device") or torch.device("cpu")

    @cached_property
    def _without_frame(self) -> "LoadedModel":
        return self.with_frame(raw_frame(self.frame))

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
    checkpoint, source = find_files(spec, report)
    config = read_config(checkpoint)
    require_causal(checkpoint, config, spec.trust_remote_code)
    spread = spec.device == "auto" and device.type == "cuda" and gpu_count() > 1
    scale = bytes_per_float(spec.quantization, dtype, config)
    needed = weight_bytes(checkpoint.folder, scale, dtype.itemsize)
    where = "all GPUs" if spread else str(device)
    require_room(checkpoint.name, needed, free_bytes(device, spread), where)
    report(Progress(f"Loading {checkpoint.name}", 0, 0, "bytes"))
    with quiet_transformers():
        tokenizer = load_tokenizer(source, spec.trust_remote_code)
        place, trusted = "auto" if spread else device, spec.trust_remote_code
        model, notes = load_weights(checkpoint, dtype, place, spec.quantization, trusted)
    report(Progress("Identifying the weights", 0, 0, "tensors"))
    name, revision = checkpoint.name, checkpoint.revision
    return adopt_model(model, tokenizer, spec, name=name, revision=revision, notes=notes)


def load_frame(spec: ModelSpec, report: Report = silent) -> PromptFrame:
    """The frame of a model whose weights are not loaded, to see how it frames a text.

    Raises:
        UserError: there is no such model, or its tokenizer cannot be loaded.
    """
    _, source = find_files(spec, report)
    with quiet_transformers():
        return frame_for(load_tokenizer(source, spec.trust_remote_code))


def find_files(spec: ModelSpec, report: Report) -> tuple[Checkpoint, Checkpoint]:
    """Where the weights are, and where the tokenizer.

    Raises:
        UserError: there is no such model, or no way to reach it.
    """
    trusted = spec.trust_remote_code
    checkpoint = find_checkpoint(spec.model, spec.revision, trusted, report, bool(spec.tokenizer))
    return checkpoint, find_tokenizer(checkpoint, spec.tokenizer, trusted, report)


def adopt_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    spec: ModelSpec,
    *,
    name: str = "",
    revision: str = "",
    notes: tuple[str, ...] = (),
) -> LoadedModel:
    """A transformers model that is in memory already, tried on a few tokens.

    Args:
        model: a causal language model on its device, in eval mode.
        tokenizer: its tokenizer.
        spec: what it stands for.
        name: what it is called; `spec.model` by default.
        revision: the hub's commit hash, where it has one.
        notes: what the user should know about it.

    Raises:
        UserError: it keeps its layers where they cannot be found, or what would be read of it
            would be wrong; says why.
    """
    from readout_ui.models.trial import try_model

    # transformers 4 adds token_type_ids that most models refuse: `model.generate(**inputs)`.
    taken = inspect.signature(model.forward).parameters
    names = [name for name in tokenizer.model_input_names if name in taken]
    tokenizer.model_input_names = names or tokenizer.model_input_names
    frame = frame_for(tokenizer)
    table: Any = model.get_input_embeddings()
    if not hasattr(table, "weight"):
        raise UserError(f"{type(model).__name__} has no token table", fix="choose another model")
    embeddings: Any = table.weight  # (n_vocabulary, d_model)
    # What is kept on the CPU or on disk is on meta until accelerate fetches it.
    device = choose_device(spec.device) if embeddings.is_meta else embeddings.device
    resolve_blocks(model)
    lengths = [int(n) for n in config_values(model, "max_position_embeddings") if n]
    room, no_answers = min(lengths, default=None), ""
    if not _offloaded(model):  # each pass would fetch all weights
        ids = [token for token in tokenizer(_TRIAL)["input_ids"] if token < len(embeddings)]
        with quiet_transformers():
            no_answers = try_model(model, ids or [0], room)
    if device.type == "cpu" and spec.device == "auto" and (why := wrong_torch()):
        notes = (*notes, why)
    if frame.kind == "plain":
        notes = (*notes, frame.describe())
    if len(tokenizer) > len(embeddings):
        notes = (*notes, f"the tokenizer has {len(tokenizer)} tokens, the model {len(embeddings)}")
    if no_answers:
        notes = (*notes, f"{no_answers}, so it can be read but not asked")
    return LoadedModel(
        spec=spec,
        name=name or spec.model,
        revision=revision,
        model=model,
        tokenizer=tokenizer,
        frame=frame,
        device=device,
        dtype=embeddings.dtype,
        n_layers=n_layers(model),
        d_model=hidden_size(model),
        context_length=room,
        fingerprint=weights_fingerprint(model),
        notes=notes,
        no_answers=no_answers,
    )


_TRIAL = "The boats had left before dawn. Nothing is asked of us now, and the harbour is empty."
