"""The options that several commands share, and how their words become settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from readout_ui.errors import UserError

if TYPE_CHECKING:
    from readout_ui.models.loading import ModelSpec

DTYPES = ("auto", "bf16", "fp16", "fp32")
QUANTIZATIONS = ("none", "8bit", "4bit")
_DTYPE_OF_WEIGHTS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}

Descriptions = Annotated[
    Path,
    typer.Option(
        "--descriptions", "--direct-dir", metavar="DIR", help="Folder of {concept}.txt files."
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "--output-dir", metavar="DIR", help="Folder to write, or a file ending in .zip."
    ),
]
Model = Annotated[
    str, typer.Option(metavar="ID|DIR", help="Hub id or local folder; empty: the default.")
]
Revision = Annotated[str, typer.Option(metavar="REV", help="Branch, tag or commit on the hub.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, bf16, fp16 or fp32.")]
Quantization = Annotated[str, typer.Option(help="none, 8bit or 4bit (needs bitsandbytes).")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let code from the model's repository run.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def require_choices(dtype: str, quantization: str) -> None:
    """UserError for a word no option takes, before anything heavy is imported."""
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}", options=DTYPES)
    if quantization not in QUANTIZATIONS:
        raise UserError(f"unknown quantization {quantization!r}", options=QUANTIZATIONS)


def model_spec(
    model: str,
    revision: str | None,
    device: str,
    dtype: str,
    quantization: str,
    trust_remote_code: bool,
) -> ModelSpec:
    """The model to load; an empty name is the bundled one."""
    from readout_ui.models.loading import ModelSpec

    return ModelSpec(
        **({"model": model} if model else {}),
        revision=revision or None,
        device=device,
        dtype=dtype,
        quantization=quantization,
        trust_remote_code=trust_remote_code,
    )


def dtype_option(dtype_of_weights: str) -> str:
    """The --dtype that loads weights as they were in training; "auto" if that is unknown."""
    return _DTYPE_OF_WEIGHTS.get(dtype_of_weights, "auto")
