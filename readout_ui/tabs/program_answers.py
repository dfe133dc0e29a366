"""What programs get back: plain values with names, ready for JSON."""

# No `from __future__ import annotations`: gradio turns the annotations into JSON schemas.
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from readout_ui.errors import UserError
from readout_ui.judgements import Generalization
from readout_ui.readout import Readout
from readout_ui.runs import RunRecord
from readout_ui.status import Status


class LabelledRow(TypedDict):
    """A text and the concept, or concepts, somebody says it shows."""

    text: str
    label: str | list[str]


class ConceptFile(TypedDict):
    """One file of the description folder."""

    name: str
    descriptions: int
    state: str


class RunSummary(TypedDict):
    """A kept training."""

    run: str
    created: str
    model: str
    concepts: list[str]
    layers: list[int]
    best_layer: int
    auroc: float | None
    layer_scores: list[float | None]
    texts: int
    warnings: list[str]


class ConceptList(TypedDict):
    """The library on disk and the run in use."""

    concepts: list[ConceptFile]
    neutral: list[ConceptFile]
    problems: list[str]
    model: str
    changed_descriptions: int
    run: RunSummary | None


class TextReading(TypedDict):
    """Scores of one text, token by token, for the concepts that score highest on average."""

    run: str
    layer: int
    score: str
    concepts: list[str]
    means: list[float]
    tokens: list[str]
    scores: list[list[float]]


class TrainingResult(RunSummary):
    """A training that has just ended."""

    seconds: float


class Evaluation(TypedDict):
    """How the vectors hold on labelled texts, with what chance and words reach."""

    run: str
    layer: int
    n_texts: int
    n_neutral: int
    mapping: dict[str, str]
    macro: dict[str, Any]
    top: list[dict[str, Any]]
    concepts: list[dict[str, Any]]
    misses: list[dict[str, Any]]
    notes: list[str]


def describe_run(run: RunRecord) -> RunSummary:
    """What a program wants to know about a run."""
    scores = list(run.layer_scores or ())
    return RunSummary(
        run=run.id,
        created=run.created.isoformat(),
        model=run.model_name,
        concepts=list(run.concepts),
        layers=list(run.layers),
        best_layer=run.best_layer,
        auroc=scores[run.best_layer] if run.best_layer < len(scores) else None,
        layer_scores=scores,
        texts=run.n_texts,
        warnings=list(run.warnings),
    )


def describe_status(status: Status) -> tuple[str, int, RunSummary | None]:
    """The loaded model in a line, how many descriptions changed, and the run in use."""
    model = status.model_description or "still loading"
    if status.model is not None and status.model.error:
        model = status.model.error
    return model, status.changed, describe_run(status.run) if status.run else None


def describe_reading(
    readout: Readout,
    run: RunRecord,
    *,
    speaker: str,
    layer: int | None,
    score: str,
    concepts: list[str] | None,
    top: int,
) -> TextReading:
    """The text's own tokens at one layer, the concepts with the highest mean first.

    Raises:
        UserError: no such layer or concept, or a text without a token that is scored.
    """
    at = readout.nearest_layer(run.best_layer) if layer is None else layer
    kept = readout.select(layers=[at], concepts=concepts)
    own = kept.scored & np.array([role == speaker for role in kept.roles])
    rows = np.flatnonzero(own).tolist()
    if not rows:
        raise UserError("the text has no token with a score", fix="read a longer text")
    scores = kept.scores(score)[rows, 0]  # (n_rows, n_concepts)
    means = scores.mean(axis=0)  # (n_concepts,)
    order = (-means).argsort(kind="stable")[: top or None].tolist()
    return TextReading(
        run=run.id,
        layer=at,
        score=score,
        concepts=[kept.concepts[column] for column in order],
        means=np.round(means[order].astype(float), 4).tolist(),
        tokens=[kept.tokens[row] for row in rows],
        scores=np.round(scores[:, order].astype(float), 4).tolist(),
    )


def describe_evaluation(
    found: Generalization, run: RunRecord, mapping: dict[str, str]
) -> Evaluation:
    """Every statistic; what too few texts leave open becomes null on its way."""
    evaluation: Evaluation = {"run": run.id, "mapping": mapping, **found.as_json()}  # type: ignore[typeddict-item]
    return evaluation
