"""The command that lets a model draft texts, shows them, and adds what a person keeps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from readout_ui.cli.options import AsJson, Descriptions, Model, Weights
from readout_ui.cli.output import as_json, progress_report
from readout_ui.errors import UserError
from readout_ui.texts.drafts import KINDS, Draft, DraftRequest, draft_lines, keep_drafts

if TYPE_CHECKING:
    from readout_ui.inference.drafting import Drafts, Endpoint
    from readout_ui.models.loading import LoadedModel
    from readout_ui.progress import Report


def draft(
    *,
    concept: Annotated[str, typer.Argument(help="Whose texts, or a neutral file: _baseline.")],
    descriptions: Descriptions,
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}.")] = "descriptions",
    count: Annotated[int, typer.Option(min=1, help="How many texts.")] = 5,
    endpoint: Annotated[
        str, typer.Option(metavar="URL", help="Ask an OpenAI-compatible server instead.")
    ] = "",
    endpoint_model: Annotated[str, typer.Option(help="Its name there; else the first.")] = "",
    key_variable: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable with the endpoint's key.")
    ] = "OPENAI_API_KEY",
    keep: Annotated[bool, typer.Option("--keep", help="Ask of each draft whether to keep it.")] = (
        False
    ),
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write them as JSON lines, marked.")
    ] = None,
    model: Model = "",
    weights: Weights,
    json: AsJson = False,
) -> None:
    """Let a model draft texts; none enters the library unless you keep it."""
    from readout_ui.texts.library import Library

    library = Library(descriptions)
    request = DraftRequest(library, kind, concept, count)  # type: ignore[arg-type]
    to_library = keep and output is None
    _require_place(request, descriptions, keep, to_library)
    if endpoint:
        print(f"What is asked, with texts of {descriptions}, goes to {endpoint}.", file=sys.stderr)
    with _writer(endpoint, endpoint_model, key_variable, model, weights) as (writer, report):
        from readout_ui.inference.drafting import draft as draft_with

        made = draft_with(writer, request, report)
    shown = as_json({**asdict(made), "kind": kind, "concept": request.concept})
    print(shown if json else "\n".join(_lines(made)))
    chosen = _chosen(made.drafts) if keep else made.drafts
    if output is not None:
        from readout_ui.files import write_file

        write_file(output, draft_lines(request, chosen, made.writer).encode())
    elif to_library and chosen:
        keep_drafts(descriptions, request.concept, [each.text for each in chosen], made.writer)
        print(f"Added {len(chosen)} to {request.concept}, marked as written by {made.writer}.")


def _require_place(request: DraftRequest, folder: Path, keep: bool, to_library: bool) -> None:
    """What would fail after the work is refused before it."""
    from readout_ui.texts.shipped import library_named

    if keep and not sys.stdin.isatty():
        raise UserError("there is no person to ask", where="--keep", fix="write them with --output")
    if to_library and request.kind in ("situations", "contrast"):
        fix = "name a file with --output"
        raise UserError(f"{request.kind} are held out of the library", where="--keep", fix=fix)
    if to_library and library_named(folder):
        raise UserError("what ships is not changed", where=str(folder), fix="copy it first")


@contextmanager
def _writer(
    url: str, name: str, key_variable: str, model: str, weights: Weights
) -> Iterator[tuple[LoadedModel | Endpoint, Report]]:
    with progress_report() as report:
        if url:
            from readout_ui.inference.drafting import Endpoint

            yield Endpoint(url, name, key_variable), report
        else:
            from readout_ui.models.loading import load_model

            yield load_model(weights.spec(model), report), report


def _lines(made: Drafts) -> Iterator[str]:
    """Each draft with what speaks against it, then the counts."""
    for number, each in enumerate(made.drafts, start=1):
        yield f"{number}. {each.text}"
        if each.other:
            yield f"   without: {each.other}"
        yield from (f"   {f.severity}: {f.message} {f.suggestion}" for f in each.findings)
        if each.nearest_in:
            yield f"   nearest: {each.nearest_in} ({each.percent:.0f} % of the words)"
    yield made.summary()


def _chosen(drafts: Sequence[Draft]) -> list[Draft]:
    numbered = enumerate(drafts, start=1)
    return [each for number, each in numbered if typer.confirm(f"Keep {number}?", default=False)]
