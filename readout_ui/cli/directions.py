"""Commands about the directions themselves: how they lie, and the tokens that they raise."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from readout_ui.cli.options import AsJson, JudgedWeights, Layer, Model, TrainedTexts, Vectors
from readout_ui.cli.output import as_json, open_readout, table

Ratings = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV with a column concept and one of numbers for each scale; by default valence and "
        "arousal of the shipped emotions.",
    ),
]


def geometry(
    *,
    vectors: Vectors,
    ratings: Ratings = None,
    layer: Layer = None,
    descriptions: TrainedTexts = None,
    model: Model = "",
    weights: JudgedWeights,
    json: AsJson = False,
) -> None:
    """Compare directions with ratings and across layers, and sort concepts into families."""
    from readout_ui.cli.read import open_run, require_texts

    source = open_run(vectors, texts=descriptions)
    require_texts(source, "geometry")
    chosen = source.layer(layer)
    with open_readout(source, weights.spec_of(source.manifest, model)) as readout:
        from readout_ui.evaluation.geometry import geometry_of, ratings_or_shipped

        rated = ratings_or_shipped(ratings, readout.concepts)
        found = geometry_of(readout, chosen, rated)
    unknown = rated.passed_over if ratings and rated else ()
    print(as_json(found.as_json()) if json else "\n".join((*found.sentences(), *unknown)))


def lens(
    *,
    vectors: Vectors,
    layer: Layer = None,
    tokens: Annotated[int, typer.Option(min=1, max=100, help="How many on each side.")] = 10,
    model: Model = "",
    weights: JudgedWeights,
    json: AsJson = False,
) -> None:
    """List the tokens that each direction raises and lowers most (logit lens)."""
    from readout_ui.cli.read import open_run

    source = open_run(vectors)
    chosen = source.layer(layer)
    with open_readout(source, weights.spec_of(source.manifest, model)) as readout:
        from readout_ui.evaluation.logit_lens import logit_lens

        found = logit_lens(readout.model, readout.vectors, chosen, tokens)
    if json:
        print(as_json({"layer": chosen, "directions": [asdict(one) for one in found]}))
        return
    rows = [
        (one.concept, f"{one.highest:+.1f}", " ".join(one.raised), " ".join(one.lowered))
        for one in found
    ]
    print(f"layer {chosen}; first: how far the first token is raised, in standard deviations")
    print(table(("direction", "first", "raises most", "lowers most"), rows))
