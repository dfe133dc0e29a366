"""What `readout-ui steer` prints: answers, scores and sweeps, for people or as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from readout_ui.cli.output import as_json, table
from readout_ui.inference.steering_setup import SteeringSetup
from readout_ui.inference.sweep import (
    USABLE_RULE,
    Pair,
    Sweep,
    answer_mean,
)

if TYPE_CHECKING:
    from readout_ui.inference.generation import Generated
    from readout_ui.inference.reading import FloatArray
    from readout_ui.inference.sampling import Sampling
    from readout_ui.inference.sweep import Trial
    from readout_ui.runs.run import Run

ENDS = {"end": "ended by itself", "length": "cut at the limit", "stopped": "stopped"}
SHOWN_TEXT = 60
"""Characters of an answer in the table of a sweep."""


@dataclass(frozen=True, eq=False)
class Ask:
    """What the command line asks for."""

    source: Run
    prompt: str
    system: str
    sampling: Sampling
    setup: SteeringSetup | Path
    """As written on the command line, or the file that holds it."""
    factors: tuple[float, ...]
    """Of the sweep; empty for one pair of answers."""
    save_to: Path | None
    """Where the setup is written to as well."""
    read_layer: int
    """Whose scores are shown."""
    top: int
    """How many concepts a table shows."""


@dataclass(frozen=True, eq=False)
class Answered:
    """What came out."""

    trial: Trial
    setup: SteeringSetup
    outcome: Pair | Sweep


def as_text(ask: Ask, found: Answered) -> str:
    """For people: what was done, the answers and their scores."""
    norms_of = found.trial.readout.norms()
    norms = ", ".join(f"{norms_of[i]:.4g} at layer {i}" for i in found.setup.layers)
    head = f"{found.setup.describe()}\n1 x norm = {norms}\n"
    if isinstance(found.outcome, Pair):
        return f"{head}\n{_pair_text(ask, found.outcome)}"
    return f"{head}\n{_sweep_text(ask, found.outcome)}"


def _pair_text(ask: Ask, pair: Pair) -> str:
    plain, during, alone = _pair_means(ask, pair)
    names = _concepts_of(pair.baseline)
    rows = [
        [names[i], *(_signed(means[i]) for means in (plain, during, alone))]
        for i in _order(names, pair.setup, during - plain)[: ask.top]
    ]
    head = ["concept", "plain", "steered", "its words alone"]
    return "\n".join(
        (
            _answer_text("Without steering", pair.baseline),
            _answer_text("With steering", pair.steered),
            f"Mean z of the answer at layer {ask.read_layer}; the last column reads the steered "
            "answer without steering.",
            table(head, rows),
            "",
            f"Perplexity of the plain answer: {_number(pair.plain_perplexity)}, "
            f"under steering {_number(pair.steered_perplexity)}",
        )
    )


def _answer_text(title: str, made: Generated) -> str:
    note = f"\n{made.note}" if made.note else ""
    end = f"{len(made.token_ids)} tokens, {ENDS[made.finish]}"
    return f"{title} ({end}):\n{made.text.strip()}{note}\n"


def _sweep_text(ask: Ask, swept: Sweep) -> str:
    steered = [one.concept for one in swept.setup.steers]
    shown = [swept.concepts.index(name) for name in dict.fromkeys(steered)]
    during, alone = (swept.means(kind, ask.read_layer) for kind in ("during", "alone"))
    usable = swept.usable
    rows = [
        [
            f"{point.factor:+g}",
            _number(point.perplexity),
            "yes" if usable is not None and point.factor in usable else "no",
            *(_signed(during[i, column]) for column in shown),
            *(_signed(alone[i, column]) for column in shown),
            f"  {_line(point.text)}",
        ]
        for i, point in enumerate(swept.points)
    ]
    head = [
        "factor",
        "perplexity",
        "usable",
        *(f"{swept.concepts[i]}" for i in shown),
        *(f"{swept.concepts[i]} alone" for i in shown),
        "  answer",
    ]
    body = table(head, rows, left=0).splitlines()
    lines = [
        f"Every multiplier times the factor. Concepts: mean z of the answer at layer "
        f"{ask.read_layer} under steering, and of its words alone.",
        *body,
        "",
        f"Usable factors: {usable.describe() if usable else 'not measured'}. {USABLE_RULE}",
    ]
    return "\n".join(lines)


def as_line(ask: Ask, found: Answered) -> str:
    """Everything as one JSON object."""
    outcome, norms_of = found.outcome, found.trial.readout.norms()
    values: dict[str, Any] = {
        "model": found.trial.readout.model.name,
        "prompt": ask.prompt,
        "sampling": asdict(ask.sampling),
        "steers": [asdict(one) for one in found.setup.steers],
        "where": str(found.setup.where),
        "norms": {str(layer): norms_of[layer] for layer in found.setup.layers},
        "layer": ask.read_layer,
    }
    if isinstance(outcome, Pair):
        return as_json({**values, **_pair_values(ask, outcome)})
    return as_json({**values, **_sweep_values(ask, outcome)})


def _pair_values(ask: Ask, pair: Pair) -> dict[str, Any]:
    plain, during, alone = _pair_means(ask, pair)
    names = _concepts_of(pair.baseline)
    return {
        "baseline": {**_answer_values(pair.baseline), "z": _by_name(names, plain)},
        "steered": {
            **_answer_values(pair.steered),
            "z": _by_name(names, during),
            "z_of_words_alone": _by_name(names, alone),
        },
        "perplexity": {
            "plain": _finite(pair.plain_perplexity),
            "steered": _finite(pair.steered_perplexity),
        },
    }


def _sweep_values(ask: Ask, swept: Sweep) -> dict[str, Any]:
    during, alone = (swept.means(kind, ask.read_layer) for kind in ("during", "alone"))
    usable = swept.usable
    return {
        "baseline": _answer_values(swept.baseline),
        "perplexity": _finite(swept.plain_perplexity),
        "usable": [usable.low, usable.high] if usable else None,
        "usable_rule": USABLE_RULE,
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


def _pair_means(ask: Ask, pair: Pair) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(n_concepts,) each: mean z plain, steered and of the steered words alone."""
    start = len(pair.baseline.prompt.token_ids)
    readouts = (pair.baseline.reading, pair.steered.reading, pair.alone)
    plain, during, alone = (
        answer_mean(one, start)[one.layer_index(ask.read_layer)]
        for one in readouts
        if one is not None
    )
    return plain, during, alone


def _concepts_of(made: Generated) -> tuple[str, ...]:
    assert made.reading is not None
    return made.reading.concepts


def _order(names: Sequence[str], setup: SteeringSetup, change: FloatArray) -> list[int]:
    """The steered concepts first, then those that moved most."""
    steered = [one.concept for one in setup.steers]
    size = abs(change)
    return sorted(
        range(len(names)),
        key=lambda i: (names[i] not in steered, -size[i] if math.isfinite(size[i]) else 0.0),
    )


def _by_name(names: Sequence[str], values: FloatArray) -> dict[str, float | None]:
    return {name: _finite(float(value)) for name, value in zip(names, values, strict=True)}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}" if value < 1e6 else f"{value:.2g}"


def _line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_TEXT else flat[: SHOWN_TEXT - 1] + "…"
