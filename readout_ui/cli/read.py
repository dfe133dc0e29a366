"""What `readout-ui read` does: one text, every concept, as a table, CSV or JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import AsJson, KnownWeights, Model, named_model
from readout_ui.cli.output import as_json, table, work_with
from readout_ui.errors import UserError
from readout_ui.vectors.settings import split_layers

if TYPE_CHECKING:
    from readout_ui.inference.reading import Reading
    from readout_ui.models.loading import LoadedModel, ModelSpec
    from readout_ui.runs.manifest import Manifest
    from readout_ui.vectors.vectors import ConceptVectors

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
        str,
        typer.Option("--layers", "--layer", help="Such as 14,22; by default the best one."),
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
    loaded = open_vectors(vectors, score)
    spec = weights.spec(loaded.require_named(model), "" if model else loaded.revision, loaded.dtype)
    chosen = split_layers(layers, loaded.vectors.layers)
    view = View(score, chosen, top, "json" if json else "csv" if csv else "table", mode)
    print(read_text(loaded, spec, content, view), end="")


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


@dataclass(frozen=True, eq=False)
class OpenedVectors:
    """Vectors of a file, before a model is loaded."""

    source: Path
    vectors: ConceptVectors
    """Where the file holds directions alone, its z would be the raw score and is never shown."""
    manifest: Manifest | None
    """None where the file holds directions alone."""
    model: Mapping[str, str]
    """`id`, `revision`, `fingerprint` and `dtype`, as far as the file says."""

    @property
    def revision(self) -> str:
        """Of the model they belong to."""
        return self.model.get("revision", "")

    @property
    def dtype(self) -> str:
        """Number type of that model's weights."""
        return self.model.get("dtype", "")

    @property
    def best_layer(self) -> int:
        """The layer to show: the best one, else the middle of those there are."""
        if self.manifest is not None:
            return self.manifest.metrics.best_layer
        return sorted(self.vectors.layers)[len(self.vectors.layers) // 2]

    def require_named(self, model: str) -> str:
        """The model to load: the one that is named, else the one the file names.

        Raises:
            UserError: it names none that can be found.
        """
        known = self.model.get("id", "")
        if not (model or known):
            raise UserError(
                "the file does not say which model its directions belong to",
                where=str(self.source),
                fix="name it with --model",
            )
        # A control vector names a model without its revision; then the name has to do.
        revision = self.revision if self.manifest or self.revision else known.partition("/")[2]
        return named_model(known, revision, model)

    def refuse_unfit(self, model: LoadedModel) -> None:
        """Raise a UserError unless the vectors belong to this model, as far as can be told."""
        from readout_ui.runs.formats.readout import refuse_unfit_model
        from readout_ui.vectors.settings import refuse_other_model

        where = str(self.source)
        if self.manifest is not None:
            refuse_unfit_model(self.manifest, model, where)
            return
        if self.vectors.d_model != model.d_model or max(self.vectors.layers) >= model.n_layers:
            raise UserError(
                f"the directions have {self.vectors.d_model} numbers and go to layer "
                f"{max(self.vectors.layers)}; {model.name} has {model.d_model} and "
                f"{model.n_layers} layers",
                where=where,
                fix="name the model they were made for",
            )
        if self.model.get("fingerprint"):
            trained = (self.model.get("id", ""), self.model["fingerprint"])
            refuse_other_model(where, trained, (model.name, model.fingerprint), self.dtype)


def open_vectors(source: Path, score: str) -> OpenedVectors:
    """Vectors of any format that can be read back.

    Raises:
        UserError: what is there cannot be used, or holds directions alone and the score is not raw.
    """
    from readout_ui.runs.formats.readout import LoadedReadout
    from readout_ui.runs.importing import read_vectors

    loaded = read_vectors(source)
    if isinstance(loaded, LoadedReadout):
        manifest = loaded.manifest
        model = {key: str(value) for key, value in manifest.model.model_dump().items()}
        return OpenedVectors(source, loaded.vectors, manifest, model)
    if score != "raw":
        raise UserError(
            f"it holds directions alone, so there is no {score} score",
            where=str(source),
            fix="read with --score raw, or use an export in the format readout or npz",
        )
    return OpenedVectors(source, loaded.uncalibrated(), None, loaded.model)


def read_text(opened: OpenedVectors, spec: ModelSpec, text: str, view: View) -> str:
    """The scores of every token, ready to be printed.

    Raises:
        UserError: the vectors belong to another model, or the text is too long.
    """
    kept = opened.vectors.select(layers=view.layers)
    with work_with(spec) as work:
        from readout_ui.inference.forward import frame_content, read_chat

        model = work.model
        opened.refuse_unfit(model)
        readout = read_chat(
            model,
            kept,
            frame_content(model.frame, text, view.mode),
        )
    return show(readout, opened, view)


def show(readout: Reading, opened: OpenedVectors, view: View) -> str:
    """The readout in the form that was asked for, ending in a newline."""
    from readout_ui.inference.reading import SCORE_KINDS, scores_csv

    if view.form == "csv":
        return scores_csv(readout, SCORE_KINDS if opened.manifest else ("raw",))
    if view.form == "json":
        return readout_json(readout, opened, view.score) + "\n"
    best = readout.nearest_layer(opened.best_layer)
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


def readout_json(readout: Reading, opened: OpenedVectors, score: str) -> str:
    """All tokens, layers and concepts; scores are [token][layer][concept]."""
    values: dict[str, Any] = {
        "model": opened.model.get("id", ""),
        "score": score,
        "best_layer": opened.best_layer,
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
