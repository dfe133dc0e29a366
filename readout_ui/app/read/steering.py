"""What the steering drawer asks the server: recipes, what they cost, and sweeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from readout_ui.app.events import Answer, Call, Request, answering
from readout_ui.app.read.chats import Chat, Told, framed_request
from readout_ui.app.read.waiting import PageJobs
from readout_ui.errors import UserError
from readout_ui.inference.recipe import parse_recipe, print_recipe
from readout_ui.inference.steering_setup import (
    MAX_BYTES,
    Steer,
    SteeringSetup,
    parse_factors,
    parse_setup,
    parse_where,
    setup_json,
)
from readout_ui.runs.run import Run
from readout_ui.vectors.settings import split_layers

if TYPE_CHECKING:
    from readout_ui.app.session import Studio
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.sweep import Sweep, Trial

DEFAULT_AMOUNT = 0.25
MOST_SCORES = 4000
"""Layers times concepts that are kept of every token of a sweep."""
LONGEST = 20_000


class Recipe(Request):
    """A recipe, and at most one change of it by a control of the drawer."""

    recipe: str = Field(max_length=LONGEST)
    add: str = Field(default="", max_length=1_000)
    drop: int | None = Field(default=None, ge=0)
    term: int | None = Field(default=None, ge=0)
    amount: float | None = Field(default=None, allow_inf_nan=False)
    where: str | None = Field(default=None, max_length=LONGEST)
    layers: str | None = Field(default=None, max_length=LONGEST)


class Measure(Told):
    """An answer whose perplexity is measured with and without a recipe."""

    text: str = Field(max_length=1_000_000)


class SetupFile(Request):
    """A setup that was kept as a file."""

    name: str = Field(max_length=1_000)
    text: str = Field(max_length=MAX_BYTES)


class AskSweep(Chat, Told):
    """A chat to be answered at every factor."""

    factors: str = Field(max_length=1_000)


class PollSweep(Chat):
    """What of a sweep is shown."""

    layer: int


def steering_calls(studio: Studio) -> list[Call]:
    """The server functions of the drawer."""
    sweeps: PageJobs[Sweep] = PageJobs(studio)

    def ask(asked: AskSweep) -> Answer:
        factors, request = parse_factors(asked.factors), asked.request()
        setup = parse_recipe(request.recipe, (studio.run().best_layer,), studio.run())

        def work(used: Readout) -> Sweep:
            from readout_ui.inference.sweep import sweep

            return sweep(_trial(asked, used, setup), setup, factors, used.report)

        sweeps.start(asked.chat, "sweep", "Sweeping", work)
        return {}

    def stop(asked: Chat) -> Answer:
        sweeps.stop(asked.chat)
        return {}

    return [
        answering(
            "steer_check", Recipe, lambda r: describe(changed(r, studio.run()), studio.run())
        ),
        answering("steer_file", Recipe, lambda r: kept(changed(r, studio.run()), studio.run())),
        answering("steer_open", SetupFile, lambda r: opened(r, studio.run())),
        answering("steer_cost", Measure, lambda r: cost(studio, r)),
        answering("sweep_ask", AskSweep, ask),
        answering(
            "sweep_poll",
            PollSweep,
            lambda r: sweeps.poll(r.chat, lambda found: shown(found, r.layer)),
        ),
        answering("sweep_stop", Chat, stop),
    ]


def changed(asked: Recipe, run: Run) -> SteeringSetup:
    """The setup of a recipe after the change.

    Raises:
        UserError: the recipe, or what a control says, makes no sense.
    """
    best = (run.best_layer,)
    empty = SteeringSetup(())
    setup = parse_recipe(asked.recipe, best, run) if asked.recipe.strip() else empty
    steers = list(setup.steers)
    if asked.add:
        term = print_recipe(SteeringSetup((Steer(asked.add, best, DEFAULT_AMOUNT),)), best)
        steers += parse_recipe(term, best, run).steers
    if asked.drop is not None:
        steers = [one for at, one in enumerate(steers) if at != asked.drop]
    if asked.term is not None and asked.amount is not None:
        amount = asked.amount
        steers = [
            replace(one, multiplier=amount) if at == asked.term else one
            for at, one in enumerate(steers)
        ]
    if asked.layers is not None:
        layers = _layers(run, asked.layers)
        steers = [replace(one, layers=layers) for one in steers]
    where = setup.where if asked.where is None else parse_where(asked.where)
    return SteeringSetup(tuple(steers), where)


def describe(setup: SteeringSetup, run: Run) -> Answer:
    """A setup as the drawer shows it."""
    best = (run.best_layer,)
    kind, _, tokens = str(setup.where).partition(":")
    layers = {one.layers for one in setup.steers} or {best}
    return {
        "recipe": print_recipe(setup, best),
        "words": setup.describe() if setup.steers else "",
        "terms": [
            {
                "concept": one.concept,
                "amount": one.multiplier,
                "label": print_recipe(SteeringSetup((replace(one, multiplier=1.0),)), one.layers),
                "unit": one.unit,
                "operator": str(one.operator),
            }
            for one in setup.steers
        ],
        "where": kind,
        "tokens": tokens,
        "layers": ",".join(map(str, layers.pop())) if len(layers) == 1 else "",
        "best": run.best_layer,
    }


def kept(setup: SteeringSetup, run: Run) -> Answer:
    """A setup as the text of a file that `readout-ui steer --setup` takes; UserError if empty."""
    if not setup.steers:
        raise UserError("the recipe is empty", fix="add a concept first")
    model = run.manifest.model
    return {"text": setup_json(setup, model.id, model.fingerprint)}


def opened(file: SetupFile, run: Run) -> Answer:
    """What such a file says, as the drawer shows it.

    Raises:
        UserError: it is none, or not for this model and run.
    """
    model, best = run.manifest.model, (run.best_layer,)
    setup = parse_setup(
        file.text.encode("utf-8", "replace"), file.name, model.id, model.fingerprint
    )
    return describe(parse_recipe(print_recipe(setup, best), best, run), run)


def _layers(run: Run, text: str) -> tuple[int, ...]:
    """Layers as typed; nothing typed is the best one."""
    if not text.strip():
        return (run.best_layer,)
    known = run.layers
    found = list(known) if text.strip().lower() == "all" else split_layers(text, known)
    wrong = [layer for layer in found or [] if layer not in known]
    if not found or wrong:
        raise UserError(
            f"layer {wrong[0]} was not trained" if wrong else "no layer is named",
            fix=f"choose from {min(known)} to {max(known)}, such as {run.best_layer}",
        )
    return tuple(dict.fromkeys(found))


def cost(studio: Studio, asked: Measure) -> Answer:
    """Perplexity of an answer without steering and under the recipe; None for an empty answer."""
    run = studio.run()
    setup = parse_recipe(asked.recipe, (run.best_layer,), run)

    def work(used: Readout) -> tuple[float | None, float | None]:
        from readout_ui.inference.forward import perplexity

        request = asked.request()
        start = len(framed_request(used, replace(request, begun="")).token_ids)
        ids = framed_request(used, replace(request, begun=asked.text)).token_ids
        plain = perplexity(used.model, ids, start)
        with used.steer(setup, prompt_length=start):
            return plain, perplexity(used.model, ids, start)

    plain, steered = studio.on_device("steer", "Measuring perplexity", work).result()
    return {"plain": _finite(plain), "steered": _finite(steered)}


def _trial(asked: Told, used: Readout, setup: SteeringSetup) -> Trial:
    from readout_ui.inference.sweep import Trial

    request = replace(asked.request(), begun="")
    return Trial(
        readout=used.select(layers=layers_to_read(used.run, setup.layers)),
        steers=used,
        prompt=framed_request(used, request),
        sampling=request.sampling,
    )


def layers_to_read(run: Run, steered: Sequence[int]) -> tuple[int, ...]:
    """All layers of a run, or some of them where every score of all would fill the memory.

    Args:
        run: the run; its best layer is always among them.
        steered: layers that are always among them as well.
    """
    room = MOST_SCORES // len(run.concepts)
    step = max(1, -(-len(run.layers) // max(1, room)))
    wanted = {*run.layers[::step], run.best_layer, *steered}
    return tuple(layer for layer in run.layers if layer in wanted)


def shown(swept: Sweep, layer: int) -> Answer:
    """A sweep at the layer nearest to the one asked for."""
    from readout_ui.inference.sweep import PERPLEXITY_LIMIT, USABLE_RULE

    nearest = min(swept.layers, key=lambda other: (abs(other - layer), other))
    during, alone = (swept.means(kind, nearest) for kind in ("during", "alone"))
    usable, plain = swept.usable, swept.plain_perplexity
    return {
        "layer": nearest,
        "words": swept.setup.describe(),
        "concepts": swept.concepts,
        "steered": list(dict.fromkeys(one.concept for one in swept.setup.steers)),
        "usable": [usable.low, usable.high] if usable else None,
        "reach": usable.describe() if usable else "not measured, because the plain answer is empty",
        "rule": " ".join((*swept.notes, USABLE_RULE)),
        "limit": None if plain is None else PERPLEXITY_LIMIT * plain,
        "points": [
            {
                "factor": point.factor,
                "text": point.text,
                "n_tokens": point.n_tokens,
                "ending": point.ending,
                "perplexity": _finite(point.perplexity),
                "during": [_finite(float(z)) for z in during[place]],
                "alone": [_finite(float(z)) for z in alone[place]],
            }
            for place, point in enumerate(swept.points)
        ],
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)
