"""The command that answers a prompt with and without steering, once or over a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import AsJson, JudgedWeights, Model, Vectors
from readout_ui.cli.output import as_json, open_readout, table
from readout_ui.cli.read import open_run, text_of
from readout_ui.errors import UserError
from readout_ui.files import write_file
from readout_ui.inference.recipe import parse_recipe, print_recipe
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
from readout_ui.texts.words import cut
from readout_ui.vectors.settings import split_layers

if TYPE_CHECKING:
    from readout_ui.inference.generation import Generated
    from readout_ui.inference.reading import FloatArray
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.sweep import Pair, Sweep, Trial
    from readout_ui.runs.run import Run

DEFAULT_MULTIPLIER = 0.25
SHOWN_TEXT = 60
"""Characters of an answer in the table of a sweep."""


@dataclass(frozen=True)
class Steering:
    """What to steer by, in the words of a command line."""

    concept: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Steer with it. Repeatable.")
    ] = None
    multiplier: Annotated[
        list[float] | None,
        typer.Option(
            metavar="X",
            help="How much, once or once per --concept: the length added, in --unit; for ablate "
            "and clamp the share of the change (default 1).",
        ),
    ] = None
    unit: Annotated[
        str, typer.Option(help="norm (mean length of the residual stream there) or raw.")
    ] = "norm"
    operator: Annotated[str, typer.Option(help="add, ablate, ablate_then_add or clamp.")] = "add"
    value: Annotated[
        float | None, typer.Option(metavar="X", help="The projection clamp sets, in --unit.")
    ] = None
    layers: Annotated[
        str, typer.Option("--layers", "--layer", help="Such as 10,14; by default the best one.")
    ] = ""
    where: Annotated[
        str, typer.Option(help="all, prompt, generated, from:12 or spans:3-7,12 (token positions).")
    ] = "all"
    recipe: Annotated[
        str,
        typer.Option(
            metavar="LINE",
            help="All of the above in one line: '0.4 calm + -0.2 angry @generated'.",
        ),
    ] = ""
    setup: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A saved setup, instead of the above.")
    ] = None

    def of(self, source: Run) -> SteeringSetup | Path:
        """The setup, checked against what was trained; a file's is read once the model is known.

        Raises:
            UserError: neither or both are given; a concept, layer, operator, unit or place that
                there is not; or as many multipliers as make no sense.
        """
        concepts, trained = self.concept or [], source.manifest
        given = bool(concepts) + bool(self.recipe) + (self.setup is not None)
        if given != 1:
            raise UserError(
                "two ways of saying what to steer with"
                if given
                else "nothing says what to steer with",
                fix="give either --recipe, --concept (and --multiplier) or --setup FILE",
                options=() if given else trained.concepts,
            )
        if self.setup is not None:
            return self.setup
        if self.recipe:
            default = split_layers(self.layers, trained.layers) or [source.layer(None)]
            return parse_recipe(self.recipe, tuple(default), source)
        for name in concepts:
            if name not in trained.concepts:
                raise UserError(f"concept {name} was not trained", options=trained.concepts)
        chosen = split_layers(self.layers, trained.layers) or [source.layer(None)]
        for layer in chosen:
            if layer not in trained.layers:
                raise UserError(f"layer {layer} was not trained", options=map(str, trained.layers))
        amounts = self._amounts(len(concepts))
        steers = tuple(
            Steer(name, tuple(chosen), amount, self.unit, self.operator, self.value)  # type: ignore[arg-type]
            for name, amount in zip(concepts, amounts, strict=True)
        )
        return SteeringSetup(steers, parse_where(self.where))

    def _amounts(self, n_concepts: int) -> list[float]:
        if self.operator not in OPERATORS or self.unit not in UNITS:
            options = (*OPERATORS, "and", *UNITS)
            raise UserError(f"cannot steer by {self.operator} in {self.unit}", options=options)
        usual = 1.0 if self.operator in ("ablate", "clamp") else DEFAULT_MULTIPLIER
        amounts = self.multiplier or [usual]
        if len(amounts) not in (1, n_concepts):
            raise UserError(
                f"{n_concepts} concepts but {len(amounts)} multipliers",
                fix="give one --multiplier for all, or one after each --concept",
            )
        return amounts * n_concepts if len(amounts) == 1 else amounts


def steer(
    *,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the user says, or -.")],
    vectors: Vectors,
    steering: Steering,
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
    source = open_run(vectors)
    setup, said, layer = steering.of(source), text_of(prompt), source.layer(read_layer)
    with open_readout(source, weights.spec_of(source.manifest, model)) as readout:
        loaded = readout.model
        if isinstance(setup, Path):
            setup = load_setup(setup, loaded.name, loaded.fingerprint)
        trial = _trial(readout, said, system, sampling)
        found = _answered(trial, setup, factors)
    if save_setup is not None:
        text = setup_json(setup, loaded.name, loaded.fingerprint)
        write_file(save_setup.expanduser(), text.encode())
    shown = Answered(trial, setup, found, layer)
    print(shown.as_line(said) if json else shown.as_text(top))


def _trial(readout: Readout, prompt: str, system: str, sampling: Sampling) -> Trial:
    from readout_ui.inference.generation import frame_for_answer
    from readout_ui.inference.sweep import Trial
    from readout_ui.models.chat_template import Turn

    framed = frame_for_answer(readout.model, [Turn("user", prompt)], system)
    return Trial(readout=readout, prompt=framed, sampling=sampling)


def _answered(trial: Trial, setup: SteeringSetup, factors: tuple[float, ...]) -> Pair | Sweep:
    from readout_ui.inference.sweep import compare, sweep

    report = trial.readout.report
    return sweep(trial, setup, factors, report) if factors else compare(trial, setup, report)


@dataclass(frozen=True, eq=False)
class Answered:
    """What came out, for people or as JSON."""

    trial: Trial
    setup: SteeringSetup
    found: Pair | Sweep
    layer: int
    """Whose scores are shown."""

    def as_text(self, top: int) -> str:
        """What was done, the answers and their scores; `top` concepts in the table of a pair."""
        from readout_ui.inference.sweep import Pair

        norms_of, found = self.trial.readout.norms(), self.found
        norms = ", ".join(f"{norms_of[i]:.4g} at layer {i}" for i in self.setup.layers)
        body = (
            _pair_text(found, self.layer, top)
            if isinstance(found, Pair)
            else _sweep_text(found, self.layer)
        )
        line = f"recipe: {print_recipe(self.setup)}"
        return f"{self.setup.describe()}\n{line}\n1 x norm = {norms}\n\n{body}"

    def as_line(self, prompt: str) -> str:
        """Everything as one JSON object."""
        from readout_ui.inference.sweep import Pair

        norms_of, found = self.trial.readout.norms(), self.found
        values: dict[str, Any] = {
            "model": self.trial.readout.model.name,
            "prompt": prompt,
            "sampling": asdict(self.trial.sampling),
            "steers": [asdict(one) for one in self.setup.steers],
            "where": str(self.setup.where),
            "recipe": print_recipe(self.setup),
            "norms": {str(layer): norms_of[layer] for layer in self.setup.layers},
            "layer": self.layer,
        }
        came = (
            _pair_values(found, self.layer)
            if isinstance(found, Pair)
            else _sweep_values(found, self.layer)
        )
        return as_json({**values, **came})


def _pair_text(pair: Pair, layer: int, top: int) -> str:
    means, names = pair.means(layer), pair.alone.concepts
    rows = [[names[i], *(_signed(mean[i]) for mean in means)] for i in pair.order(layer)[:top]]
    return "\n".join(
        (
            _answer_text("Without steering", pair.baseline),
            _answer_text("With steering", pair.steered),
            f"Mean z of the answer at layer {layer}; the last column reads the steered "
            "answer without steering.",
            table(["concept", "plain", "steered", "its words alone"], rows),
            "",
            f"Perplexity of the plain answer: {_number(pair.plain_perplexity)}, "
            f"under steering {_number(pair.steered_perplexity)}",
        )
    )


def _answer_text(title: str, made: Generated) -> str:
    note = f"\n{made.note}" if made.note else ""
    end = f"{len(made.token_ids)} tokens, {made.ending}"
    return f"{title} ({end}):\n{made.text.strip()}{note}\n"


def _sweep_text(swept: Sweep, layer: int) -> str:
    from readout_ui.inference.sweep import USABLE_RULE

    steered = list(dict.fromkeys(one.concept for one in swept.setup.steers))
    columns = [swept.concepts.index(name) for name in steered]
    scores = [swept.means(kind, layer)[:, columns] for kind in ("during", "alone")]
    usable = swept.usable
    rows = [
        [
            f"{point.factor:+g}",
            _number(point.perplexity),
            "yes" if usable is not None and point.factor in usable else "no",
            *(_signed(score) for kind in scores for score in kind[i]),
            f"  {cut(' '.join(point.text.split()), SHOWN_TEXT)}",
        ]
        for i, point in enumerate(swept.points)
    ]
    alone = [f"{name} alone" for name in steered]
    head = ["factor", "perplexity", "usable", *steered, *alone, "  answer"]
    return (
        f"Every multiplier times the factor. Concepts: mean z of the answer at layer {layer} "
        f"under steering, and of its words alone.\n{table(head, rows, left=0)}\n\n"
        f"Usable factors: {usable.describe() if usable else 'not measured'}. {USABLE_RULE}"
        + "".join(f"\n{note}" for note in swept.notes)
    )


def _pair_values(pair: Pair, layer: int) -> dict[str, Any]:
    plain, during, alone = (_by_name(pair.alone.concepts, mean) for mean in pair.means(layer))
    return {
        "baseline": {**_answer_values(pair.baseline), "z": plain},
        "steered": {**_answer_values(pair.steered), "z": during, "z_of_words_alone": alone},
        "perplexity": {
            "plain": _finite(pair.plain_perplexity),
            "steered": _finite(pair.steered_perplexity),
        },
    }


def _sweep_values(swept: Sweep, layer: int) -> dict[str, Any]:
    from readout_ui.inference.sweep import USABLE_RULE

    during, alone = (swept.means(kind, layer) for kind in ("during", "alone"))
    usable = swept.usable
    return {
        "baseline": _answer_values(swept.baseline),
        "perplexity": _finite(swept.plain_perplexity),
        "usable": [usable.low, usable.high] if usable else None,
        "usable_rule": USABLE_RULE,
        "failed": [{"factor": factor, "why": why} for factor, why in swept.failed],
        "points": [
            {
                "factor": point.factor,
                "text": point.text,
                "n_tokens": point.n_tokens,
                "finish": point.finish,
                "perplexity": _finite(point.perplexity),
                "z": _by_name(swept.concepts, during[i]),
                "z_of_words_alone": _by_name(swept.concepts, alone[i]),
            }
            for i, point in enumerate(swept.points)
        ],
    }


def _answer_values(made: Generated) -> dict[str, Any]:
    return {"text": made.text, "n_tokens": len(made.token_ids), "finish": made.finish}


def _by_name(names: Sequence[str], values: FloatArray) -> dict[str, float | None]:
    return {name: _finite(float(value)) for name, value in zip(names, values, strict=True)}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}" if value < 1e6 else f"{value:.2g}"
