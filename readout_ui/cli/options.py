"""The options that several commands share: each is declared once, as a field of a group.

A parameter of a command whose type is a dataclass stands for one option per field, in the field's
order; `with_groups` makes typer see them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from readout_ui.errors import UserError
from readout_ui.vectors.settings import TrainSettings, parse_layer_config

if TYPE_CHECKING:
    from readout_ui.models.loading import ModelSpec
    from readout_ui.models.workers import Cluster
    from readout_ui.runs.manifest import Manifest

DTYPES = ("auto", "bf16", "fp16", "fp32")
QUANTIZATIONS = ("none", "8bit", "4bit")
_DTYPE_OF_WEIGHTS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
Command = Callable[..., None]

Descriptions = Annotated[
    Path,
    typer.Option(
        "--descriptions",
        "--direct-dir",
        metavar="DIR",
        help="Folder of {concept}.txt files, or shipped:emotions or shipped:stances.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "--output-dir", metavar="DIR", help="Folder to write, or a file ending in .zip."
    ),
]
Model = Annotated[
    str, typer.Option(metavar="ID|DIR", help="Hub id, folder or .gguf file; empty: the default.")
]
Vectors = Annotated[
    Path, typer.Option(metavar="DIR", help="An export, folder or zip, or the folder of a run.")
]
TrainedTexts = Annotated[
    Path | None,
    typer.Option(
        "--descriptions",
        "--direct-dir",
        metavar="DIR",
        help="The texts an export was trained on; a run has them.",
    ),
]
Layer = Annotated[int | None, typer.Option(help="Which layer; by default the best one.")]
Form = Annotated[
    str, typer.Option("--format", help="readout, steering, gguf, npz, sglang or steering-pkl.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def with_groups(command: Command) -> Command:
    """The command as typer takes it: a group among its parameters becomes one option per field."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        parameters += _options(name, hints[name], parameter.default)

    @wraps(command)
    def run(**given: Any) -> None:
        command(**{name: _value(name, hints[name], given) for name in hints if name != "return"})

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _options(name: str, hint: Any, default: Any) -> Iterator[inspect.Parameter]:
    """One parameter, or those of the fields where the type is a group."""
    if not is_dataclass(hint):
        yield inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
        )
        return
    hints = get_type_hints(hint, include_extras=True)
    for each in fields(hint):
        usual = inspect.Parameter.empty if each.default is MISSING else each.default
        yield from _options(each.name, hints[each.name], usual)


def _value(name: str, hint: Any, given: Mapping[str, Any]) -> Any:
    """What typer gave for a parameter, or the group of what it gave for the fields."""
    if not (is_dataclass(hint) and isinstance(hint, type)):
        return given[name]
    hints = get_type_hints(hint, include_extras=True)
    return hint(**{each.name: _value(each.name, hints[each.name], given) for each in fields(hint)})


@dataclass(frozen=True)
class Weights:
    """Which weights of a model are loaded, and where to."""

    revision: Annotated[
        str, typer.Option(metavar="REV", help="Branch, tag or commit on the hub.")
    ] = ""
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto"
    dtype: Annotated[str, typer.Option(help="auto, bf16, fp16 or fp32.")] = "auto"
    quantization: Annotated[str, typer.Option(help="none, 8bit or 4bit (needs bitsandbytes).")] = (
        "none"
    )
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let code from the model's repository run.")
    ] = False
    tokenizer: Annotated[
        str, typer.Option(metavar="ID|DIR", help="Another tokenizer than the model's own.")
    ] = ""

    def __post_init__(self) -> None:
        if (self.dtype or "auto") not in DTYPES:
            raise UserError(f"unknown dtype {self.dtype!r}", options=DTYPES)
        if self.quantization not in QUANTIZATIONS:
            raise UserError(f"unknown quantization {self.quantization!r}", options=QUANTIZATIONS)

    def spec(self, model: str = "", revision: str = "", dtype: str = "") -> ModelSpec:
        """The model to load.

        Args:
            model: hub id or folder; empty is the bundled one.
            revision: taken where the command line names none.
            dtype: number type of the weights in training, taken where the command line names none.
        """
        from readout_ui.models.loading import ModelSpec

        return ModelSpec(
            **({"model": model} if model else {}),
            revision=self.revision or revision or None,
            device=self.device,
            dtype=self.dtype or _DTYPE_OF_WEIGHTS.get(dtype, "auto"),
            quantization=self.quantization,
            trust_remote_code=self.trust_remote_code,
            tokenizer=self.tokenizer,
        )

    def spec_of(self, manifest: Manifest, model: str = "") -> ModelSpec:
        """The model the vectors were trained on, or the one that is named.

        Raises:
            UserError: that was a local folder, of which the manifest knows only the name.
        """
        trained = manifest.model
        named = named_model(trained.id, trained.revision, model)
        return self.spec(named, "" if model else trained.revision, trained.dtype)


@dataclass(frozen=True)
class Spread:
    """Where texts are read, instead of in this process."""

    ray: Annotated[
        str,
        typer.Option(
            metavar="auto|HOST:PORT",
            help="Read texts on the workers of a Ray cluster; auto finds or starts one.",
        ),
    ] = ""
    gpus_per_model: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --ray: GPUs of one node for each worker's model."),
    ] = None
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="With --ray: how many models at once.")
    ] = None

    def cluster(self) -> Cluster | None:
        """The cluster, None for this process.

        Raises:
            UserError: a number of workers without a cluster.
        """
        if self.ray:
            from readout_ui.models.workers import Cluster

            return Cluster(self.ray, self.gpus_per_model, self.workers)
        if (self.gpus_per_model, self.workers) != (None, None):
            raise UserError(
                "--gpus-per-model and --workers say how a cluster is used", fix="add --ray auto"
            )
        return None


@dataclass(frozen=True)
class KnownWeights(Weights):
    """Weights of a model that vectors were trained on: their number type is known."""

    dtype: Annotated[str, typer.Option(help="auto, bf16, fp16 or fp32.")] = ""


@dataclass(frozen=True)
class JudgedWeights(Weights):
    """The same for the commands that judge and steer."""

    dtype: Annotated[
        str, typer.Option(help="auto, bf16, fp16 or fp32; by default as in training.")
    ] = ""


def named_model(trained: str, revision: str, model: str) -> str:
    """The model that is named, else the one of that id and revision.

    Raises:
        UserError: none is named, and the id alone does not find it.
    """
    from readout_ui.models.checkpoints import is_bundled

    if model or revision or is_bundled(trained):
        return model or trained
    raise UserError(
        f"the vectors were trained on {trained}, a local folder", fix="name the folder with --model"
    )


@dataclass(frozen=True)
class Training:
    """What a person chooses about any training: the fields of `TrainSettings`, model and places."""

    model: Model = ""
    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            "--target-layers",
            help="auto (the best by cross-validation), middle (3 to 5 layers at 40 to 60 % of the "
            "depth), all, or such as 14,22 or -1.",
        ),
    ] = "auto"
    method: Annotated[str, typer.Option(help="whitened, mean, neutral_pcs, pca or logistic.")] = (
        TrainSettings.method
    )
    read: Annotated[
        str, typer.Option(help="content_mean, content_last, content_tail, template_last or from:N.")
    ] = TrainSettings.read
    layer_type: Annotated[
        str,
        typer.Option(
            help="decoder_block, self_attn, mlp, input_layernorm or post_attention_layernorm."
        ),
    ] = TrainSettings.layer_type
    layer_config: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE=PATH", help="Module path, such as mlp=model.layers.{num}.mlp."),
    ] = None
    frame: Annotated[
        str, typer.Option(help="chat, or none for the text alone without a template.")
    ] = TrainSettings.frame
    read_token_index: Annotated[
        int | None,
        typer.Option(help="Instead of --read: one token of the framed text; -1 is the last."),
    ] = None
    weights: Weights = field(default_factory=Weights)
    spread: Spread = field(default_factory=Spread)
    batch_size: Annotated[
        int | None, typer.Option(help="Most texts in one batch; by default as memory allows.")
    ] = TrainSettings.batch_size
    max_length: Annotated[int, typer.Option(help="Tokens read of one text.")] = (
        TrainSettings.max_length
    )
    max_negatives_per_positive: Annotated[
        int, typer.Option(help="Negatives drawn per text by pca and logistic.")
    ] = TrainSettings.max_negatives_per_positive
    seed: Annotated[int, typer.Option(help="Seed of the pair sampling.")] = TrainSettings.seed
    runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the run in this folder as well.")
    ] = None
    preview: Annotated[
        bool, typer.Option("--preview", help="Show one text in its frame and what is read; stop.")
    ] = False
    json: AsJson = False

    def settings(self) -> TrainSettings:
        """The settings of the training.

        Raises:
            UserError: a value that no training takes.
        """
        own = {each.name: getattr(self, each.name) for each in fields(TrainSettings)}
        own["layers"] = self.layers.strip().lower()
        if self.read_token_index is not None:
            own["read"] = f"token:{self.read_token_index}"
        own["layer_config"] = parse_layer_config(self.layer_config or [])
        return TrainSettings(**own)

    def spec(self) -> ModelSpec:
        """The model to train on."""
        return self.weights.spec(self.model)
