"""What programs get back: plain values with names, ready for JSON.

How programs reach the app: checked arguments and errors as sentences.
"""

import functools
import inspect
import json
from collections.abc import Callable
from copy import copy
from typing import Any, ParamSpec, TypeVar

import gradio as gr
import numpy as np
from anyio import CapacityLimiter
from gradio_client.utils import is_file_obj_with_meta
from pydantic import ValidationError, validate_call
from typing_extensions import TypedDict

from readout_ui.app.events import beside, guarded
from readout_ui.app.status import Status
from readout_ui.errors import UserError
from readout_ui.evaluation.judgements import Generalization
from readout_ui.inference.reading import Reading
from readout_ui.runs.run import Run

# No `from __future__ import annotations`: gradio turns the annotations into JSON schemas.


class LabelledRow(TypedDict):
    """A text and the concept, or concepts, it is said to show."""

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


class DirectionGeometry(TypedDict):
    """How the directions of a layer lie to each other."""

    run: str
    layer: int
    concepts: list[str]
    xy: list[list[float]]
    explained: list[float]
    ratings: list[dict[str, Any]]
    layers: list[int]
    stability: list[list[float]]
    families: list[dict[str, Any]]


class DirectionTokens(TypedDict):
    """What each direction raises and lowers most; a random one stands last."""

    run: str
    layer: int
    directions: list[dict[str, Any]]


class DraftedTexts(TypedDict):
    """What a model drafted; nothing of it is in the library."""

    writer: str
    asked: int
    drafts: list[dict[str, Any]]
    summary: str


def describe_run(run: Run) -> RunSummary:
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
    readout: Reading,
    run: Run,
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


def describe_evaluation(found: Generalization, run: Run, mapping: dict[str, str]) -> Evaluation:
    """Every statistic; what too few texts leave open becomes null on its way."""
    evaluation: Evaluation = {"run": run.id, "mapping": mapping, **found.as_json()}  # type: ignore[typeddict-item]
    return evaluation


Params = ParamSpec("Params")
Result = TypeVar("Result")
NAMES = (
    *("list_concepts", "read_text", "train", "evaluate", "export", "draft_texts"),
    *("geometry", "logit_lens"),
)
"""Every endpoint there is; gradio keeps "predict" for the page's own direct calls."""
MOST_AT_ONCE = 4
"""How many programs, and how many tools, are answered at once; the others wait their turn."""


def checked(program: Callable[Params, Result]) -> Callable[Params, Result]:
    """Refuse arguments of the wrong type in a sentence; gradio passes on whatever was sent."""
    validated = validate_call(program)

    @functools.wraps(program)
    def call(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        try:
            return validated(*args, **kwargs)
        except ValidationError as error:
            raise _refusal(program, error) from None

    return guarded(call)


def _refusal(program: Callable[..., Any], error: ValidationError) -> UserError:
    first = error.errors(include_url=False)[0]
    argument, *inside = first["loc"]
    if isinstance(argument, int):  # gradio passes arguments by position
        argument = list(inspect.signature(program).parameters)[argument]
    place = ".".join(str(part) for part in (argument, *inside))
    message = first["msg"][0].lower() + first["msg"][1:]
    return UserError(f"{message}, not {repr(first['input'])[:60]}", where=place)


def answer_in_json(app: gr.Blocks, address: str) -> None:
    """Make an app's MCP tools answer in JSON, and never hold each other up.

    Gradio would write Python's `repr`, and call its own app through one client for all tools, which
    stands still for good as soon as some 40 of them wait. They wait on threads of their own: those
    of gradio also deliver the page.

    Args:
        app: what serves them.
        address: under which its tools reach the app itself; gradio would take what a request names.
    """
    server: Any = app.mcp_server_obj
    server._local_url = address
    as_content, program = server.postprocess_output_data, server.get_block_fn_from_endpoint_name
    limiter = CapacityLimiter(MOST_AT_ONCE)

    def in_json(data: list[Any], root_url: str) -> Any:
        return as_content([_text(value) for value in data], root_url)

    def called_at_once(name: str) -> Any:
        found = copy(program(name))
        if found is not None and found.fn is not None:
            found.queue, found.fn = False, beside(found.fn, limiter)
        return found

    server.postprocess_output_data = in_json
    server.get_block_fn_from_endpoint_name = called_at_once


def _text(value: Any) -> Any:
    if isinstance(value, str) or is_file_obj_with_meta(value):
        return value
    return json.dumps(value, ensure_ascii=False)
