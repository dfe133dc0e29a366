"""The command line: train, read, steer, check, export, judge, models, cache; no browser.

Importing this module loads neither torch nor transformers, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from readout_ui import __version__
from readout_ui.cli import (
    export as cli_export,
)
from readout_ui.cli import (
    extract as cli_extract,
)
from readout_ui.cli import (
    judge as cli_judge,
)
from readout_ui.cli import (
    steer as cli_steer,
)
from readout_ui.cli import (
    train_pairs as cli_pairs,
)
from readout_ui.cli import (
    train_sources as cli_sources,
)
from readout_ui.cli.options import (
    AsJson,
    Descriptions,
    Device,
    Dtype,
    Model,
    Output,
    Quantization,
    Revision,
    TrustRemoteCode,
    dtype_option,
    model_spec,
    require_choices,
)
from readout_ui.errors import UserError, missing_import
from readout_ui.progress import Cancelled
from readout_ui.vectors.settings import TrainSettings, split_layers

app = typer.Typer(
    help="Write descriptions, fit concept directions, read them out token by token.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
# typer carries its own copy of click, or uses click itself, depending on its version.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run(
    arguments: Sequence[str] | None = None,
    start_app: Callable[[Sequence[str]], None] | None = None,
) -> int:
    """Run one command and return its exit status; a user's mistake is one sentence on stderr.

    Args:
        arguments: those of the process by default.
        start_app: what `readout-ui app` calls with its flags, as no command imports the app.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = app(
            given or ["--help"], prog_name="readout-ui", standalone_mode=False, obj=start_app
        )
        sys.stdout.flush()
    except (UserError, _UsageError) as error:
        return _complain(error)
    except ImportError as error:
        return _complain(missing_import(error))
    except (KeyboardInterrupt, typer.Abort, Cancelled):
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader left (`| head`); without this the interpreter complains when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if status == INTERRUPTED:  # typer may already have turned Ctrl-C into this status
        print("Stopped.", file=sys.stderr)
    return status if isinstance(status, int) else 0


def _complain(error: Exception) -> int:
    message = getattr(error, "format_message", error.__str__)()
    print(f"Error: {' '.join(message.split())}", file=sys.stderr)
    return 2


@app.callback(invoke_without_command=True)
def _start(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


@app.command()
def train(
    descriptions: Descriptions,
    output: Output,
    model: Model = "",
    layers: Annotated[
        str,
        typer.Option(
            "--layers", "--target-layers", help="auto (the best one), all, or such as 14,22 or -1."
        ),
    ] = "auto",
    method: Annotated[str, typer.Option(help="mean, pca or logistic.")] = "mean",
    read: Annotated[
        str, typer.Option(help="content_mean, content_last, content_tail or template_last.")
    ] = "content_mean",
    layer_type: Annotated[
        str,
        typer.Option(
            help="decoder_block, self_attn, mlp, input_layernorm or post_attention_layernorm."
        ),
    ] = "decoder_block",
    layer_config: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE=PATH", help="Module path, such as mlp=model.layers.{num}.mlp."),
    ] = None,
    revision: Revision = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantization: Quantization = "none",
    trust_remote_code: TrustRemoteCode = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Most texts in one batch; by default as memory allows.")
    ] = None,
    max_length: Annotated[int, typer.Option(help="Tokens read of one text.")] = 256,
    max_negatives_per_positive: Annotated[
        int, typer.Option(help="Negatives drawn per text by pca and logistic.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the pair sampling.")] = 0,
    runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the run in this folder as well.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Fit a direction for every concept and write them as an export."""
    require_choices(dtype, quantization)
    settings = TrainSettings(
        method=method,
        read=read,
        layers=layers.strip().lower(),
        layer_type=layer_type,
        layer_config=_pairs(layer_config or []),
        max_length=max_length,
        batch_size=batch_size,
        max_negatives_per_positive=max_negatives_per_positive,
        seed=seed,
    )
    from readout_ui.cli import train as cli_train

    library = cli_train.prepare(descriptions, output)
    spec = model_spec(model, revision, device, dtype, quantization, trust_remote_code)
    trained = cli_train.train_and_write(library, spec, settings, output, runs)
    print(cli_train.summary_json(trained, output) if json else cli_train.summary(trained, output))


@app.command()
def read(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text, or - for stdin.")],
    vectors: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="An export: folder, zip, .npz, .gguf or steering-vectors pair."
        ),
    ],
    model: Model = "",
    layers: Annotated[
        str,
        typer.Option("--layers", "--layer", help="Such as 14,22; by default the best one."),
    ] = "",
    score: Annotated[str, typer.Option(help="z, cosine or raw.")] = "z",
    mode: Annotated[
        str, typer.Option("--as", help="assistant (as in training), user, or raw (no template).")
    ] = "assistant",
    top: Annotated[int, typer.Option(min=1, help="Concepts in the table, highest first.")] = 6,
    revision: Revision = "",
    device: Device = "auto",
    dtype: Dtype = "",
    quantization: Quantization = "none",
    trust_remote_code: TrustRemoteCode = False,
    json: AsJson = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print one line per score.")] = False,
) -> None:
    """Score every token of a text for every concept."""
    require_choices(dtype or "auto", quantization)
    if json and csv:
        raise UserError("choose one of --json and --csv")
    from readout_ui.cli import read as cli_read

    content = cli_read.text_of(text)
    loaded = cli_read.open_vectors(vectors, score)
    spec = model_spec(
        loaded.require_named(model),
        revision or ("" if model else loaded.revision),
        device,
        dtype or dtype_option(loaded.dtype),
        quantization,
        trust_remote_code,
    )
    chosen = split_layers(layers, loaded.vectors.layers)
    view = cli_read.View(score, chosen, top, "json" if json else "csv" if csv else "table", mode)
    print(cli_read.read_text(loaded, spec, content, view), end="")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of {concept}.txt files.")],
    json: AsJson = False,
) -> None:
    """List what is wrong with the descriptions; exit status 1 when something is an error."""
    from readout_ui.cli import lists as cli_check

    report = cli_check.check_folder(folder)
    print(cli_check.report_json(report) if json else cli_check.report_text(report))
    if report.n_errors:
        raise typer.Exit(1)


@app.command()
def verify(
    vectors: Annotated[Path, typer.Argument(metavar="DIR", help="An export: folder, zip or .npz.")],
    model: Model = "",
    revision: Revision = "",
    device: Device = "auto",
    dtype: Dtype = "",
    quantization: Quantization = "none",
    trust_remote_code: TrustRemoteCode = False,
    json: AsJson = False,
) -> None:
    """Read an export's probe texts on its model again; exit status 1 when the scores differ."""
    require_choices(dtype or "auto", quantization)
    from readout_ui.cli import export as cli_verify
    from readout_ui.cli import read as cli_read

    manifest = cli_read.manifest_of(vectors)
    spec = model_spec(
        cli_read.require_named(manifest, model),
        revision or ("" if model else manifest.model.revision),
        device,
        dtype or dtype_option(manifest.model.dtype),
        quantization,
        trust_remote_code,
    )
    certificate = cli_verify.verify_export(vectors, spec)
    print(cli_verify.certificate_json(certificate) if json else certificate.sentence())
    if not certificate.certified:
        raise typer.Exit(1)


@app.command()
def serve(
    vectors: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An export: folder, zip or .npz.")
    ] = None,
    model: Model = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    revision: Revision = "",
    device: Device = "auto",
    dtype: Dtype = "",
    quantization: Quantization = "none",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Answer OpenAI-style chat requests; every streamed chunk carries the concept scores."""
    require_choices(dtype or "auto", quantization)
    from readout_ui.cli import lists as cli_serve
    from readout_ui.cli import read as cli_read

    if vectors is not None:
        manifest = cli_read.manifest_of(vectors)
        revision = revision or ("" if model else manifest.model.revision)
        dtype = dtype or dtype_option(manifest.model.dtype)
        model = cli_read.require_named(manifest, model)
    spec = model_spec(model, revision, device, dtype or "auto", quantization, trust_remote_code)
    cli_serve.serve(vectors, spec, host, port)


cli_export.register(app)
cli_judge.register(app)
cli_steer.register(app)
cli_extract.register(app)
cli_sources.register(app)
cli_pairs.register(app)


@app.command()
def models(json: AsJson = False) -> None:
    """List the models on this machine."""
    from readout_ui.cli import lists as cli_lists

    print(cli_lists.models_report(json))


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Forget all activations.")] = False,
    json: AsJson = False,
) -> None:
    """Say what the activation cache holds."""
    from readout_ui.cli import lists as cli_lists

    print(cli_lists.cache_report(clear, json))


def _pairs(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (_, sign, _) in zip(texts, pairs, strict=True) if not sign]:
        raise UserError(
            f"cannot read layer config {wrong[0]!r}", options=("mlp=model.layers.{num}.mlp",)
        )
    return tuple((name, path) for name, _, path in pairs)


@app.command(
    "app",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def web_app(context: typer.Context) -> None:
    """Serve the web app; `readout-ui app --help` lists its flags."""
    context.obj(context.args)
