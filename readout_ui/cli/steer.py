"""The command that answers a prompt with and without steering, once or over a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import AsJson, JudgedWeights, Model, Vectors
from readout_ui.cli.output import Work, work_with
from readout_ui.cli.read import text_of
from readout_ui.errors import UserError
from readout_ui.files import write_file
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import (
    OPERATORS,
    UNITS,
    Steer,
    SteeringSetup,
    load_setup,
    parse_factors,
    parse_where,
    setup_json,
)
from readout_ui.vectors.settings import split_layers

if TYPE_CHECKING:
    from readout_ui.cli.steer_output import Answered, Ask
    from readout_ui.inference.sweep import Trial
    from readout_ui.models.loading import ModelSpec
    from readout_ui.runs.run import Run

DEFAULT_MULTIPLIER = 0.25


def steer(
    *,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the user says, or -.")],
    vectors: Vectors,
    concept: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Steer with it. Repeatable.")
    ] = None,
    multiplier: Annotated[
        list[float] | None,
        typer.Option(
            metavar="X",
            help="How much, once or once per --concept: the length added, in --unit; for ablate "
            "and clamp the share of the change (default 1).",
        ),
    ] = None,
    unit: Annotated[
        str, typer.Option(help="norm (mean length of the residual stream there) or raw.")
    ] = "norm",
    operator: Annotated[str, typer.Option(help="add, ablate, ablate_then_add or clamp.")] = "add",
    value: Annotated[
        float | None, typer.Option(metavar="X", help="The projection clamp sets, in --unit.")
    ] = None,
    layers: Annotated[
        str, typer.Option("--layers", "--layer", help="Such as 10,14; by default the best one.")
    ] = "",
    where: Annotated[
        str, typer.Option(help="all, prompt, generated, from:12 or spans:3-7,12 (token positions).")
    ] = "all",
    setup: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A saved setup, instead of the above.")
    ] = None,
    save_setup: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the setup as JSON.")
    ] = None,
    sweep: Annotated[
        str,
        typer.Option(
            metavar="A..B:N", help="All multipliers times these, such as -2..2:9 or -1,0,1."
        ),
    ] = "",
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    seed: Annotated[int, typer.Option(help="The same one gives the same answers.")] = 0,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.7,
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 64,
    read_layer: Annotated[
        int | None, typer.Option(help="Layer of the scores shown; by default the best one.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Concepts in the table.")] = 8,
    model: Model = "",
    weights: JudgedWeights,
    json: AsJson = False,
) -> None:
    """Answer a prompt with and without steering, from the same seed, and score both answers."""
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    factors = parse_factors(sweep) if sweep else ()
    from readout_ui.cli.read import open_run
    from readout_ui.cli.steer_output import Ask, as_line, as_text

    source = open_run(vectors)
    parts = {"unit": unit, "operator": operator, "value": value, "layers": layers, "where": where}
    asked = _setup(source, concept or [], multiplier or [], parts, setup)
    ask = Ask(
        source=source,
        prompt=text_of(prompt),
        system=system,
        sampling=sampling,
        setup=asked,
        factors=factors,
        save_to=save_setup,
        read_layer=source.layer(read_layer),
        top=top,
    )
    found = answer(ask, weights.spec_of(source.manifest, model))
    print(as_line(ask, found) if json else as_text(ask, found))


def _setup(
    source: Run,
    concepts: Sequence[str],
    multipliers: Sequence[float],
    parts: dict[str, Any],
    file: Path | None,
) -> SteeringSetup | Path:
    """The setup that was asked for; a file's is read once the model is known."""
    if bool(concepts) == (file is not None):
        raise UserError(
            "nothing says what to steer with" if not concepts else "a setup names its own concepts",
            fix="give either --concept (and --multiplier) or --setup FILE",
            options=source.manifest.concepts if not concepts else (),
        )
    return file if file is not None else setup_from(source, concepts, multipliers, **parts)


def setup_from(
    source: Run,
    concepts: Sequence[str],
    multipliers: Sequence[float],
    *,
    unit: str,
    operator: str,
    value: float | None,
    layers: str,
    where: str,
) -> SteeringSetup:
    """A setup from the words of a command line, checked against what was trained.

    Raises:
        UserError: a concept, layer, operator, unit or place that there is not, or as many
            multipliers as make no sense.
    """
    trained = source.manifest
    for name in concepts:
        if name not in trained.concepts:
            raise UserError(f"concept {name} was not trained", options=trained.concepts)
    chosen = split_layers(layers, trained.layers) or [source.layer(None)]
    for layer in chosen:
        if layer not in trained.layers:
            known = [str(one) for one in trained.layers]
            raise UserError(f"layer {layer} was not trained", options=known)
    if operator not in OPERATORS or unit not in UNITS:
        raise UserError(
            f"cannot steer by {operator} in {unit}", options=(*OPERATORS, "and", *UNITS)
        )
    amounts = list(multipliers) or [1.0 if operator in ("ablate", "clamp") else DEFAULT_MULTIPLIER]
    if len(amounts) == 1:
        amounts *= len(concepts)
    if len(amounts) != len(concepts):
        raise UserError(
            f"{len(concepts)} concepts but {len(amounts)} multipliers",
            fix="give one --multiplier for all, or one after each --concept",
        )
    steers = tuple(
        Steer(name, tuple(chosen), amount, unit, operator, value)  # type: ignore[arg-type]
        for name, amount in zip(concepts, amounts, strict=True)
    )
    return SteeringSetup(steers, parse_where(where))


def answer(ask: Ask, spec: ModelSpec) -> Answered:
    """Load the model, answer, and write the setup where that was asked for.

    Raises:
        UserError: the vectors or the setup belong to another model, or the prompt is too long.
    """
    with work_with(spec) as work:
        from readout_ui.cli.steer_output import Answered
        from readout_ui.inference.sweep import compare, sweep

        model, report = work.model, work.report
        setup = ask.setup
        if isinstance(setup, Path):
            setup = load_setup(setup, model.name, model.fingerprint)
        trial = _trial(ask, work)
        outcome = (
            sweep(trial, setup, ask.factors, report)
            if ask.factors
            else compare(trial, setup, report)
        )
    if ask.save_to is not None:
        text = setup_json(setup, model.name, model.fingerprint)
        write_file(ask.save_to.expanduser(), text.encode())
    return Answered(trial, setup, outcome)


def _trial(ask: Ask, work: Work) -> Trial:
    from readout_ui.inference.generation import frame_for_answer
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.sweep import Trial
    from readout_ui.models.chat_template import Turn

    source, model = ask.source, work.model
    source.refuse_other_model(model)
    return Trial(
        readout=Readout(model, source, work.cache, work.report),
        prompt=frame_for_answer(model, [Turn("user", ask.prompt)], ask.system),
        sampling=ask.sampling,
    )
