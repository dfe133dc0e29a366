"""What the Steering tab makes of its inputs and results, without a browser."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import pytest

from readout_ui.app.events import HIDDEN, Values, components, seen_if
from readout_ui.app.follow import Follower, Task
from readout_ui.app.jobs import JobState, Worker
from readout_ui.app.tabs.steering import layers_to_read, pick_token
from readout_ui.app.tabs.steering_form import (
    MOST_STEERS,
    SetupInputs,
)
from readout_ui.app.tabs.steering_results import PairLook, Results, draw_pair, draw_sweep
from readout_ui.errors import UserError
from readout_ui.inference.generation import frame_for_answer
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import Steer, SteeringSetup, Where
from readout_ui.inference.sweep import Pair, Sweep, Trial, compare, sweep
from readout_ui.models.chat_template import Turn
from readout_ui.plots.colours import fit_scale
from readout_ui.plots.curves import SweepCurves, draw_sweep_curves
from readout_ui.plots.token_grid import concept_grid, share_scale
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore
from tests.support.loaded_tiny import load_tiny, random_readout
from tests.support.trained_example import make_run

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = ("concept", "operator", "multiplier", "unit", "value", "layers")
UNUSED = (None, "add", 0.25, "norm", 1.0, "")
SETUP = SteeringSetup((Steer("calm", (0,), 2.0), Steer("sad", (2,), operator="ablate")))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A kept run of afraid, calm and sad at layers 1 and 3, 3 being the best."""
    return RunStore(tmp_path).save(make_run())


@pytest.fixture
def inputs() -> SetupInputs:
    with gr.Blocks():
        return SetupInputs(None)


def filled(inputs: SetupInputs, place: str, tokens: str, *rows: tuple[Any, ...]) -> Values:
    """What is on screen when the first rows are filled in."""
    every = [*rows, *[UNUSED] * (MOST_STEERS - len(rows))]
    values: Values = {inputs.place: place, inputs.tokens: tokens}
    for row, typed in zip(inputs.rows, every, strict=True):
        values |= {getattr(row, name): value for name, value in zip(FIELDS, typed, strict=True)}
    return values


def test_rows_become_steers_and_an_empty_layer_box_is_the_best_layer(
    run: Run, inputs: SetupInputs
) -> None:
    rows = (("calm", "add", 0.5, "raw", 1.0, ""), ("sad", "clamp", 1, "norm", -2, "1, -1"))
    found = inputs.setup(run, filled(inputs, "spans", "3-4,9", *rows))
    assert found == SteeringSetup(
        (Steer("calm", (3,), 0.5, "raw"), Steer("sad", (1, 3), 1, "norm", "clamp", -2)),
        Where("spans", spans=((3, 5), (9, 10))),
    )
    row = ("calm", *UNUSED[1:5], "all")
    everywhere = inputs.setup(run, filled(inputs, "all", "left over", row))
    assert (everywhere.where, everywhere.layers) == (Where(), (1, 3))


@pytest.mark.parametrize(
    ("rows", "place", "message"),
    [
        ([UNUSED], "all", "no concept is chosen"),
        ([("joy", *UNUSED[1:])], "all", "joy was not trained"),
        ([("calm", "add", None, "norm", 1, "")], "all", "a number is missing"),
        (
            [("calm", "add", 1, "norm", 1, "2")],
            "all",
            "layer 2 was not trained; choose from 1 to 3",
        ),
        ([("calm", *UNUSED[1:])], "spans", "is no span of tokens"),
        ([("calm", *UNUSED[1:])], "from", "cannot steer 'from:'"),
    ],
)
def test_what_makes_no_sense_is_said(
    run: Run, inputs: SetupInputs, rows: list[Any], place: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        inputs.setup(run, filled(inputs, place, "", *rows))


def test_a_setup_that_is_shown_is_the_setup_that_is_read(inputs: SetupInputs) -> None:
    shown = inputs.show(SteeringSetup(SETUP.steers, Where("from", start=7)))
    assert set(shown) <= set(components(inputs))
    assert shown[inputs.open] == (True, True, False, False, False, False)
    assert shown[inputs.place] == "from"
    assert (shown[inputs.tokens].value, shown[inputs.tokens].visible) == ("7", True)
    first = inputs.rows[0]
    values = [shown[getattr(first, name)] for name in ("concept", "operator", "multiplier", "unit")]
    assert values == ["calm", "add", 2.0, "norm"]
    assert shown[first.layers] == "0"
    assert shown[inputs.rows[2].concept] is None
    assert inputs.rows[2].layers not in shown
    too_many = SteeringSetup(tuple(Steer(str(i), (1,)) for i in range(MOST_STEERS + 1)))
    with pytest.raises(UserError, match="the setup has 7 steers, the tab has room for 6"):
        inputs.show(too_many)


def test_a_row_is_added_with_the_layers_of_the_first_until_there_is_no_room(
    inputs: SetupInputs,
) -> None:
    values = {inputs.open: (True, False, True, False, False, False), inputs.rows[0].layers: "1,3"}
    changes = inputs.add_row(values)
    assert changes[inputs.open] == (True, True, True, False, False, False)
    assert changes[inputs.rows[1].layers] == "1,3"
    with pytest.raises(UserError, match="6 concepts are the most"):
        inputs.add_row(values | {inputs.open: (True,) * MOST_STEERS})


def test_a_row_that_is_removed_has_no_concept(inputs: SetupInputs) -> None:
    row = inputs.rows[1]
    changes = inputs.remove_row(row, (True, True, False, False, False, False))
    assert changes[inputs.open] == (True, False, False, False, False, False)
    assert changes[row.concept] is None
    assert changes[row.box].visible == HIDDEN


def test_only_clamp_asks_for_a_value(inputs: SetupInputs) -> None:
    row = inputs.rows[0]
    for operator, label in (("add", "Multiplier"), ("ablate", "Share"), ("clamp", "Share")):
        changes = row.operator_fields(operator)
        assert changes[row.multiplier].label == label
        assert changes[row.value].visible == seen_if(operator == "clamp")


def test_clicked_tokens_join_into_spans_and_come_out_again() -> None:
    chosen = ""
    for token, expected in ((4, "4"), (6, "4,6"), (5, "4-6"), (4, "5-6"), (6, "5"), (5, "")):
        chosen = pick_token("spans", chosen, token)
        assert chosen == expected
    assert pick_token("from", "3", 8) == "8"


@pytest.fixture(scope="module")
def trial() -> Trial:
    model = load_tiny()
    prompt = frame_for_answer(model, [Turn("user", "How do you feel?")])
    sampling = Sampling(temperature=0.9, max_new_tokens=6, seed=3)
    return Trial(random_readout(model), prompt, sampling)


@pytest.fixture(scope="module")
def pair(trial: Trial) -> Pair:
    return compare(trial, SETUP)


def look(**changes: Any) -> PairLook:
    """The first look: layer 0, coloured by calm, read while steered."""
    first = PairLook(0, "calm", kind="z", read="during", prompt=False, chosen=[])
    return replace(first, **changes)


def test_both_sides_have_one_colour_scale_and_the_steered_concepts_come_first(pair: Pair) -> None:
    summary, means, plain, steered = draw_pair(pair, look())
    assert "add calm +2 x norm at layer 0; ablate sad" in summary
    assert means.index(">calm<") < means.index(">sad<") < means.index(">afraid<")
    legends = [side.strip[side.strip.index("strip-legend") :] for side in (plain, steered)]
    assert legends[0] == legends[1]
    assert plain.strip != steered.strip
    alone = draw_pair(pair, look(read="alone"))
    assert alone.steered.strip != steered.strip
    whole = draw_pair(pair, look(prompt=True, chosen=["sad"])).plain
    assert "turn-user" in whole.strip
    assert "turn-user" not in plain.strip
    assert "sad" in whole.rows
    assert "calm" not in whole.rows


def test_a_run_of_many_scores_is_read_at_some_layers_the_best_and_the_steered_among_them(
    run: Run,
) -> None:
    assert layers_to_read(run, (1,)) == (1, 3)
    manifest = run.manifest.model_copy(
        update={"layers": tuple(range(80)), "concepts": tuple(f"c{i}" for i in range(200))}
    )
    large = layers_to_read(replace(run, manifest=manifest), (1, 77))
    assert {1, run.best_layer, 77} <= set(large)
    assert len(large) <= 23
    assert list(large) == sorted(large)


def test_a_pair_settles_the_choices_and_fills_both_sides(pair: Pair) -> None:
    with gr.Blocks():
        results = Results(None)
    first = asdict(look(layer=9, concept=None, chosen=["joy"]))
    values: Values = {each: first[name] for name, each in vars(results.look).items()}
    assert results.redraw_pair({results.found: None, **values}) == {}
    shown = results.show_pair(values, pair)
    assert shown[results.found] is pair
    assert shown[results.look.layer].value in pair.alone.layers
    assert shown[results.look.concept].value == "calm"
    assert shown[results.look.chosen].value == []
    assert set(shown) <= set(components(results))


def test_shared_colours_span_the_cells_of_both(pair: Pair) -> None:
    assert pair.baseline.reading is not None
    assert pair.steered.reading is not None
    grids = [concept_grid(r, 0, "z") for r in (pair.baseline.reading, pair.steered.reading)]
    first, second = share_scale(grids)
    cells = np.concatenate([grid.scores["z"][:, grid.scored].ravel() for grid in grids])
    assert first.scale == second.scale == fit_scale(cells, "z")
    assert first.tokens == grids[0].tokens
    long = replace(grids[1], tokens=("word" * 4,) * len(grids[1].tokens))
    level = share_scale([grids[0], long])
    assert level[0].geometry.first_row == level[1].geometry.first_row


def test_a_sweep_table_marks_usable_rows_and_escapes_what_the_model_said(trial: Trial) -> None:
    swept = sweep(trial, SETUP, (-1, 0, 1))
    hostile = [
        replace(point, text="<script>x</script>", perplexity=10.0 ** (4 * abs(point.factor)))
        for point in swept.points
    ]
    broken = Sweep(SETUP, swept.baseline, 1.0, swept.concepts, swept.layers, tuple(hostile))
    plot, table = draw_sweep(broken, 0, "during")
    assert table.count("class='usable'") == 1
    assert table.count("class='broken'") == 2
    assert "<script>" not in table
    assert "only 0" in table
    assert "usable up to here" in plot.plot


def test_curves_hold_every_concept_and_a_perplexity_that_overflowed() -> None:
    factors = (-1.0, 0.0, 1.0)
    values = {name: np.array([-1, 0, 1], np.float32) for name in ("calm", "sad", "proud")}
    figure = draw_sweep_curves(
        SweepCurves(
            factors,
            {"calm": values["calm"]},
            {name: values[name] for name in ("sad", "proud")},
            (float("inf"), 2.0, None),
            4.0,
            (0.0, 1.0),
        )
    )
    assert [trace.name for trace in figure.data][:3] == ["sad", "proud", "calm"]
    surprise = figure.data[3].y
    assert np.isfinite(surprise[0])
    assert np.isnan(surprise[2])
    assert [float(tick) for tick in figure.layout.yaxis2.tickvals] == [1, 2, 5, 10, 20, 50]
    assert figure.layout.shapes[0].x0 < 0 < 1 < figure.layout.shapes[0].x1


def test_who_stops_following_a_job_cancels_it() -> None:
    worker = Worker()
    with gr.Blocks():
        follower = Follower(worker, gr.HTML(), gr.Button(), [gr.Button()])
    blocked = worker.submit("train", "Long work", _until_cancelled)
    waiting = worker.submit("steer", "Steering", lambda _report: 1)
    watching = follower.follow("me", lambda: Task(waiting, lambda found: {"found": found}))
    first = next(watching)
    assert "1 job before this one: Long work" in first[follower.progress]
    assert first[follower.cancel_button].visible is True
    assert first[follower.starts[0]].interactive is False
    follower.cancel("someone else")
    assert not waiting.future.cancelled()
    watching.close()  # type: ignore[attr-defined]
    assert waiting.view().state is JobState.CANCELLED
    again = worker.submit("steer", "Steering", lambda _report: 1)
    watching = follower.follow("me", lambda: Task(again, lambda found: {"found": found}))
    next(watching)
    follower.cancel("me")
    ended = list(watching)[-1]
    assert "Cancelled." in ended[follower.progress]
    assert "found" not in ended
    blocked.cancel()
    worker.close()


def test_a_job_that_is_done_shows_its_result_and_a_mistake_is_told() -> None:
    worker = Worker()
    with gr.Blocks():
        follower = Follower(worker, gr.HTML(), gr.Button(), [])
    job = worker.submit("steer", "Steering", lambda _report: 7)
    *_, ended = follower.follow("me", lambda: Task(job, lambda found: {"found": found}))
    assert (ended[follower.progress], ended["found"]) == ("", 7)

    def mistaken() -> Task:
        raise UserError("there is no prompt", fix="write one")

    (told,) = follower.follow("me", mistaken)
    assert "There is no prompt" in told[follower.progress]
    worker.close()


def _until_cancelled(report: Any) -> None:
    from readout_ui.progress import Progress

    while True:
        report(Progress("Working", 0, 0))
