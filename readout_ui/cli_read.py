"""What `readout-ui read` does: one text, every concept, as a table, CSV or JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from readout_ui.checkpoints import is_bundled
from readout_ui.errors import UserError
from readout_ui.folders import read_files
from readout_ui.manifest import MANIFEST_FILE, Manifest, parse_manifest
from readout_ui.readout import SCORE_KINDS, Readout, scores_csv
from readout_ui.terminal import as_json, progress_report, table

if TYPE_CHECKING:
    from readout_ui.artifacts import LoadedReadout
    from readout_ui.models import ModelSpec

MODES = ("assistant", "user", "raw")


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


def manifest_of(source: Path) -> Manifest:
    """An export's manifest, before anything heavy is loaded."""
    return parse_manifest(read_files(source, (MANIFEST_FILE,))[MANIFEST_FILE], str(source))


def require_named(manifest: Manifest, model: str) -> str:
    """The model to load: the one that is named, else the one the vectors were trained on.

    Raises:
        UserError: that was a local folder, of which the manifest knows only the name.
    """
    trained = manifest.model
    if model or trained.revision or is_bundled(trained.id):
        return model or trained.id
    raise UserError(
        f"the vectors were trained on {trained.id}, a local folder",
        fix="name the folder with --model",
    )


def read_text(source: Path, spec: ModelSpec, text: str, view: View) -> str:
    """The scores of every token, ready to be printed.

    Raises:
        UserError: the export is damaged or belongs to another model, or the text is too long.
    """
    with progress_report() as report:
        from readout_ui.artifacts import load_readout, refuse_unfit_model
        from readout_ui.models import load_model
        from readout_ui.reading import frame_content, read_chat

        loaded = load_readout(source)
        kept = loaded.vectors.select(layers=view.layers)
        model = load_model(spec, report)
        refuse_unfit_model(loaded.manifest, model, str(source))
        settings = loaded.manifest.settings
        readout = read_chat(
            model,
            kept,
            frame_content(model.frame, text, view.mode),
            layer_type=loaded.manifest.read.layer_type,
            layer_config=dict(settings.get("layer_config", ())),
        )
    return show(readout, loaded, view)


def show(readout: Readout, loaded: LoadedReadout, view: View) -> str:
    """The readout in the form that was asked for, ending in a newline."""
    if view.form == "csv":
        return scores_csv(readout)
    if view.form == "json":
        return readout_json(readout, loaded, view.score) + "\n"
    best = readout.nearest_layer(loaded.manifest.metrics.best_layer)
    layers = readout.layers if view.layers is not None else (best,)
    return "\n".join(readout_table(readout, layer, view) for layer in layers)


def readout_table(readout: Readout, layer: int, view: View) -> str:
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


def readout_json(readout: Readout, loaded: LoadedReadout, score: str) -> str:
    """All tokens, layers and concepts; scores are [token][layer][concept]."""
    values: dict[str, Any] = {
        "model": loaded.manifest.model.id,
        "score": score,
        "best_layer": loaded.manifest.metrics.best_layer,
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
