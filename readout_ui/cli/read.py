"""What `readout-ui read` does: one text, every concept, as a table, CSV or JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import (
    AsJson,
    JudgedWeights,
    KnownWeights,
    Layer,
    Model,
    Spread,
    Vectors,
    Weights,
    named_model,
)
from readout_ui.cli.output import as_json, open_readout, table
from readout_ui.errors import UserError
from readout_ui.vectors.settings import split_layers

if TYPE_CHECKING:
    from readout_ui.inference.reading import Reading
    from readout_ui.models.loading import ModelSpec
    from readout_ui.runs.run import Run

MODES = ("assistant", "user", "raw")


def read(
    *,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text, or - for stdin.")],
    vectors: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="An export: folder, zip, .npz, .gguf or steering-vectors pair."
        ),
    ],
    model: Model = "",
    layers: Annotated[
        str, typer.Option("--layers", "--layer", help="Such as 14,22; by default the best one.")
    ] = "",
    score: Annotated[str, typer.Option(help="z, cosine or raw.")] = "z",
    mode: Annotated[
        str, typer.Option("--as", help="assistant (as in training), user, or raw (no template).")
    ] = "assistant",
    top: Annotated[int, typer.Option(min=1, help="Concepts in the table, highest first.")] = 6,
    weights: KnownWeights,
    json: AsJson = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print one line per score.")] = False,
) -> None:
    """Score every token of a text for every concept."""
    if json and csv:
        raise UserError("choose one of --json and --csv")
    content = text_of(text)
    run = open_run(vectors, score)
    spec = spec_of(run, weights, model)
    chosen = split_layers(layers, run.layers)
    view = View(score, chosen, top, "json" if json else "csv" if csv else "table", mode)
    print(read_text(run, spec, content, view), end="")


def snippets(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Texts: .txt or .jsonl.")],
    vectors: Vectors,
    field: Annotated[
        str, typer.Option(metavar="NAME", help="Of JSON lines, what holds the text; else guessed.")
    ] = "",
    layer: Layer = None,
    score: Annotated[str, typer.Option(help="z or cosine.")] = "z",
    average: Annotated[int, typer.Option(help="Tokens a strength is averaged over: 1, 5, 15.")] = 5,
    quantile: Annotated[
        float, typer.Option(help="Share of the tokens that a snippet's peak is above.")
    ] = 0.99,
    top: Annotated[int, typer.Option(min=1, help="Snippets of each concept.")] = 25,
    max_tokens: Annotated[
        int, typer.Option(min=0, help="Read about so many, spread over the file; 0 reads all.")
    ] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write it here: .csv or .jsonl.")
    ] = None,
    model: Model = "",
    weights: JudgedWeights,
    spread: Spread,
) -> None:
    """Find the places of a large file at which each concept is strongest, as CSV or JSON lines."""
    from readout_ui.files import write_file
    from readout_ui.inference.search import Search
    from readout_ui.inference.top_tokens import SnippetSettings, snippets_csv, snippets_jsonl
    from readout_ui.texts.streams import open_texts

    run = open_run(vectors)
    texts, chosen = open_texts(file, field), run.layer(layer)
    settings = SnippetSettings(chosen, score, average, quantile, top, max_tokens=max_tokens)
    with open_readout(run, weights.spec_of(run.manifest, model), spread.cluster()) as readout:
        found = Search(texts, settings).run(readout)
    as_lines = output is not None and output.suffix == ".jsonl"
    written = snippets_jsonl(found) if as_lines else snippets_csv(found)
    if output is None:
        print(written, end="")
    else:
        write_file(output, written.encode())


@dataclass(frozen=True)
class View:
    """What is shown of a readout."""

    score: str
    """"z", "cosine" or "raw"."""
    layers: list[int] | None
    """Which layers; None for the best one in a table and for all of them elsewhere."""
    top: int
    """How many concepts a table shows."""
    form: str
    """"table", "csv" or "json"."""
    mode: str
    """As what the text is read: "assistant", "user" or "raw"."""

    def __post_init__(self) -> None:
        from readout_ui.inference.reading import SCORE_KINDS

        if self.mode not in MODES:
            raise UserError(f"a text cannot be read as {self.mode!r}", options=MODES)
        if self.score not in SCORE_KINDS:
            raise UserError(f"unknown score {self.score!r}", options=SCORE_KINDS)


def text_of(argument: str) -> str:
    """The text itself, or what stdin holds for "-"."""
    text = argument if argument != "-" else _stdin()
    if not text.strip():
        raise UserError("there is nothing to read", fix="give a text, or - and a text on stdin")
    return text


def open_run(source: Path, score: str = "", texts: Path | None = None) -> Run:
    """A run's folder, or vectors of any format that can be read back.

    Args:
        source: what to open.
        score: how it will be read; directions alone have raw scores only. Empty: anyhow.
        texts: folder of the texts that an export was trained on.

    Raises:
        UserError: what is there cannot be used, or holds directions alone and the score is not raw.
    """
    from readout_ui.runs.run import Run

    run = Run.open(source, texts)
    if not score:
        run.require_calibrated()
    elif score != "raw" and not run.manifest.calibrated:
        raise UserError(
            f"it holds directions alone, so there is no {score} score",
            where=str(source),
            fix="read with --score raw, or use an export in the format readout or npz",
        )
    return run


def require_texts(run: Run, what: str) -> None:
    """Raise a UserError where the texts of the training, which `what` needs, are not there."""
    if not run.texts:
        raise UserError(
            f"{what} needs the texts of the training",
            where=run.where,
            fix="name their folder with --descriptions, or the folder of a kept run",
        )


def spec_of(run: Run, weights: Weights, model: str) -> ModelSpec:
    """The model to load: the one that is named, else the one the vectors were trained on.

    Raises:
        UserError: the file names none, or a local folder, of which it knows only the name.
    """
    known, revision = run.model_name, run.manifest.model.revision
    if run.manifest.calibrated or revision or model:
        return weights.spec_of(run.manifest, model)
    if not known:
        raise UserError(
            "the file does not say which model its directions belong to",
            where=run.where,
            fix="name it with --model",
        )
    # A control vector names a model without its revision; then the name has to do.
    return weights.spec(named_model(known, known.partition("/")[2], ""))


def read_text(run: Run, spec: ModelSpec, text: str, view: View) -> str:
    """The scores of every token, ready to be printed.

    Raises:
        UserError: the vectors belong to another model, or the text is too long.
    """
    kept = run.vectors.unit().select(layers=view.layers)
    with open_readout(run, spec) as readout:
        reading = readout.with_vectors(kept).read(text, view.mode)
    return show(reading, run, view)


def show(readout: Reading, run: Run, view: View) -> str:
    """The readout in the form that was asked for, ending in a newline."""
    from readout_ui.inference.reading import SCORE_KINDS, scores_csv

    if view.form == "csv":
        return scores_csv(readout, SCORE_KINDS if run.manifest.calibrated else ("raw",))
    if view.form == "json":
        return readout_json(readout, run, view.score) + "\n"
    best = readout.nearest_layer(run.best_layer)
    layers = readout.layers if view.layers is not None else (best,)
    return "\n".join(readout_table(readout, layer, view) for layer in layers)


def readout_table(readout: Reading, layer: int, view: View) -> str:
    """One layer: a row per token of the text, a column per concept, highest peak first."""
    speaker = "user" if view.mode == "user" else "assistant"
    of_text = [
        scored and role == speaker
        for scored, role in zip(readout.scored.tolist(), readout.roles, strict=True)
    ]
    rows = [row for row, shown in enumerate(of_text) if shown]
    if not rows:
        raise UserError("the text has no token with a score", fix="read a longer text")
    scores = readout.scores(view.score)[rows, readout.layer_index(layer)]  # (n_rows, n_concepts)
    columns = (-scores.max(axis=0)).argsort(kind="stable")[: view.top].tolist()
    digits = 3 if view.score == "cosine" else 2
    cells = [
        [readout.tokens[row], *(f"{scores[i, column]:+.{digits}f}" for column in columns)]
        for i, row in enumerate(rows)
    ]
    title = f"layer {layer}, {view.score}, as {view.mode}"
    return f"{title}\n{table(['token', *(readout.concepts[c] for c in columns)], cells)}\n"


def readout_json(readout: Reading, run: Run, score: str) -> str:
    """All tokens, layers and concepts; scores are [token][layer][concept]."""
    values: dict[str, Any] = {
        "model": run.model_name,
        "score": score,
        "best_layer": run.best_layer,
        "layers": list(readout.layers),
        "concepts": list(readout.concepts),
        "tokens": list(readout.tokens),
        "roles": [str(role) for role in readout.roles],
        "scored": readout.scored.tolist(),
        "scores": readout.scores(score).tolist(),
    }
    return as_json(values)


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"stdin is not UTF-8 text (byte {error.start})") from error
