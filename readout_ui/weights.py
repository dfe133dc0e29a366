"""Weights and tokenizer from a folder, by transformers, with its errors in plain words."""

from typing import TYPE_CHECKING, Any

from readout_ui.checkpoints import Checkpoint
from readout_ui.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

QUANTIZATIONS = ("none", "8bit", "4bit")
_BITS_AND_BYTES = {"8bit": 1.0, "4bit": 0.6}
"""Bytes per weight, scales and the parts that stay whole included."""
_NOT_CAUSAL = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)


def require_causal(checkpoint: Checkpoint, config: dict[str, Any], trusted: bool) -> None:
    """Refuse what its config says is no causal language model, or none that can run here."""
    from transformers import CONFIG_MAPPING

    kind = str(config.get("model_type", ""))
    known = kind in CONFIG_MAPPING
    if not known and "auto_map" in config and not trusted:
        raise UserError(
            f"{checkpoint.name} needs code from its own repository to run",
            fix="read that code, then pass --trust-remote-code if you trust it",
        )
    if not known and not trusted:
        import transformers

        raise UserError(
            f"this version of transformers ({transformers.__version__}) does not know the "
            f"architecture {kind!r}",
            where=checkpoint.name,
            fix="install a newer one: pip install -U transformers",
        )
    made_for = [str(name) for name in config.get("architectures") or ()]
    if config.get("is_encoder_decoder") or any(name.endswith(_NOT_CAUSAL) for name in made_for):
        what = ", ".join(made_for) or kind
        raise UserError(
            f"{checkpoint.name} is not a causal language model ({what})",
            fix="choose one whose architecture ends in ForCausalLM",
        )


def bytes_per_float(
    quantization: str, dtype: "torch.dtype", config: dict[str, Any]
) -> float | None:
    """Memory per stored number; None where the checkpoint is packed already and stays so."""
    if config.get("quantization_config"):
        return None
    return _BITS_AND_BYTES.get(quantization, float(dtype.itemsize))


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
    try:
        model, info = _auto_class(checkpoint, trusted).from_pretrained(checkpoint.folder, **options)
    except torch.OutOfMemoryError as error:
        raise UserError(f"{checkpoint.name} does not fit on {device_map}") from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"the model cannot be loaded ({_first_line(error)})", where=checkpoint.name
        ) from error
    notes = _check_complete(checkpoint, info["missing_keys"])
    model.eval().requires_grad_(False)
    return model, notes


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
    return make(load_in_4bit=True, bnb_4bit_compute_dtype=dtype)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
