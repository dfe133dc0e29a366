"""What the Steering tab asks of the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from readout_ui.app.session import Studio
from readout_ui.app.tabs.steering_form import setup_from
from readout_ui.app.tabs.steering_html import Found
from readout_ui.errors import UserError
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import SteeringSetup
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Live
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.sweep import Trial
    from readout_ui.models.prompt import FramedChat

NO_RUN = UserError("there are no vectors to steer with yet", fix="press Train first")

MOST_SCORES = 4000
"""Layers times concepts that are kept of every token; a session holds three readings."""


@dataclass(frozen=True, eq=False)
class Wish:
    """One press of a button, checked."""

    setup: SteeringSetup
    prompt: str
    system: str
    sampling: Sampling


def wish_from(studio: Studio, asked: tuple[Any, ...], fields: tuple[Any, ...]) -> Wish:
    """What is on screen, checked; UserError for a missing prompt or a setup that makes no sense."""
    prompt, system, temperature, longest, seed, _factors = asked
    if not str(prompt).strip():
        raise UserError("there is no prompt", fix="write what the user says")
    sampling = Sampling(
        temperature=float(temperature), max_new_tokens=int(longest), seed=int(seed or 0)
    )
    return Wish(setup_from(run_in_use(studio), *fields), prompt, system or "", sampling)


def run_in_use(studio: Studio) -> Run:
    """The run whose vectors steer; UserError before the first training."""
    run = studio.runs.current()
    if run is None:
        raise NO_RUN
    return run


def compare_answers(wish: Wish, on_text: Callable[[str, Live], None], used: Readout) -> Found:
    """Answer with and without steering, on the device's thread."""
    from readout_ui.inference.sweep import compare

    return Found(pair=compare(_trial(wish, used), wish.setup, used.report, on_text))


def sweep_answers(wish: Wish, factors: tuple[float, ...], used: Readout) -> Found:
    """Answer at every factor, on the device's thread."""
    from readout_ui.inference.sweep import sweep

    return Found(sweep=sweep(_trial(wish, used), wish.setup, factors, used.report))


def _trial(wish: Wish, used: Readout) -> Trial:
    from readout_ui.inference.sweep import Trial

    return Trial(
        readout=used.select(layers=layers_to_read(used.run, wish.setup.layers)),
        steers=used,
        prompt=framed_prompt(used, wish.prompt, wish.system),
        sampling=wish.sampling,
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


def framed_prompt(used: Readout, prompt: str, system: str) -> FramedChat:
    """The prompt up to where the assistant is about to answer."""
    from readout_ui.inference.generation import frame_for_answer
    from readout_ui.models.chat_template import Turn

    return frame_for_answer(used.model, [Turn("user", prompt)], system)
