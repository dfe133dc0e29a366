"""What `readout-ui steer` does: load the model, answer, keep the setup."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.cli.output import progress_report
from readout_ui.files import write_file
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import (
    SteeringSetup,
    load_setup,
    setup_json,
)
from readout_ui.progress import Report
from readout_ui.runs.sources import VectorSource

if TYPE_CHECKING:
    from readout_ui.inference.sweep import Sweep
    from readout_ui.inference.trials import Pair, Trial
    from readout_ui.models.loading import LoadedModel, ModelSpec


@dataclass(frozen=True, eq=False)
class Ask:
    """What the command line asks for."""

    source: VectorSource
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


def answer(ask: Ask, spec: ModelSpec) -> Answered:
    """Load the model, answer, and write the setup where that was asked for.

    Raises:
        UserError: the vectors or the setup belong to another model, or the prompt is too long.
    """
    with progress_report() as report:
        from readout_ui.inference.sweep import sweep
        from readout_ui.inference.trials import compare
        from readout_ui.models.loading import load_model

        model = load_model(spec, report)
        setup = _setup_of(ask, model)
        trial = _trial(ask, model, report)
        outcome = (
            sweep(trial, setup, ask.factors, report)
            if ask.factors
            else compare(trial, setup, report)
        )
    if ask.save_to is not None:
        text = setup_json(setup, model.name, model.fingerprint)
        write_file(ask.save_to.expanduser(), text.encode())
    return Answered(trial, setup, outcome)


def _setup_of(ask: Ask, model: LoadedModel) -> SteeringSetup:
    if isinstance(ask.setup, Path):
        return load_setup(ask.setup, model.name, model.fingerprint)
    return ask.setup


def _trial(ask: Ask, model: LoadedModel, report: Report) -> Trial:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.files import cache_folder
    from readout_ui.inference.generation import frame_for_answer
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.trials import Trial
    from readout_ui.models.chat_template import Turn

    source, cache = ask.source, ActivationCache(cache_folder() / "activations")
    vectors = source.load(model)
    return Trial(
        readout=Readout(model, vectors, source.settings, source.descriptions, cache, report),
        prompt=frame_for_answer(model, [Turn("user", ask.prompt)], ask.system),
        sampling=ask.sampling,
    )
