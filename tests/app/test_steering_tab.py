"""What the Steering tab makes of its inputs and results, without a browser."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from readout_ui.app.events import seen_if
from readout_ui.app.follow import SessionJobs, draw_job, follow
from readout_ui.app.jobs import JobState, Worker
from readout_ui.app.tabs.steering_form import (
    MOST_STEERS,
    add_row,
    operator_fields,
    setup_from,
    show_setup,
)
from readout_ui.app.tabs.steering_html import Found, draw_pair, draw_sweep
from readout_ui.app.tabs.steering_picker import pick_token
from readout_ui.app.tabs.steering_run import layers_to_read
from readout_ui.errors import UserError
from readout_ui.inference.generation import frame_for_answer
from readout_ui.inference.readout import Readout
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import Steer, SteeringSetup, Where
from readout_ui.inference.sweep import Pair, Sweep, Trial, compare, sweep
from readout_ui.models.chat_template import Turn
from readout_ui.plots.colours import fit_scale
from readout_ui.plots.sweep import SweepCurves, draw_sweep_curves
from readout_ui.plots.token_grid import concept_grid, share_scale
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore
from tests.support.loaded_tiny import load_tiny, random_vectors
from tests.support.trained_example import make_run

if TYPE_CHECKING:
    from pathlib import Path

UNUSED = (None, "add", 0.25, "norm", 1.0, "")
SETUP = SteeringSetup((Steer("calm", (0,), 2.0), Steer("sad", (2,), operator="ablate")))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A kept run of afraid, calm and sad at layers 1 and 3, 3 being the best."""
    return RunStore(tmp_path).save(make_run())


def fields(*rows: tuple[Any, ...]) -> list[Any]:
    return [each for row in (*rows, *[UNUSED] * (MOST_STEERS - len(rows))) for each in row]


def test_rows_become_steers_and_an_empty_layer_box_is_the_best_layer(run: Run) -> None:
    rows = fields(
        ("calm", "add", 0.5, "raw", 1.0, ""), ("sad", "clamp", 1, "norm", -2, "1, -1"), UNUSED
    )
    found = setup_from(run, "spans", "3-4,9", *rows)
    assert found == SteeringSetup(
        (Steer("calm", (3,), 0.5, "raw"), Steer("sad", (1, 3), 1, "norm", "clamp", -2)),
        Where("spans", spans=((3, 5), (9, 10))),
    )
    everywhere = setup_from(run, "all", "left over", *fields(("calm", *UNUSED[1:5], "all")))
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
def test_what_makes_no_sense_is_said(run: Run, rows: list[Any], place: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        setup_from(run, place, "", *fields(*rows))


def test_a_setup_that_is_shown_is_the_setup_that_is_read() -> None:
    shown, *rest = show_setup(SteeringSetup(SETUP.steers, Where("from", start=7)))
    assert shown == (True, True, False, False, False, False)
    kind, tokens, *values = rest[MOST_STEERS:]
    assert (kind, tokens.value, tokens.visible) == ("from", "7", True)
    assert values[:4] == ["calm", "add", 2.0, "norm"]
    assert values[5] == "0"
    assert len(values) == MOST_STEERS * 6
    too_many = SteeringSetup(tuple(Steer(str(i), (1,)) for i in range(MOST_STEERS + 1)))
    with pytest.raises(UserError, match="the setup has 7 steers, the tab has room for 6"):
        show_setup(too_many)


def test_a_row_is_added_with_the_layers_of_the_first_until_there_is_no_room() -> None:
    shown, *rest = add_row((True, False, True, False, False, False), "1,3")
    assert shown == (True, True, True, False, False, False)
    assert rest[MOST_STEERS + 1] == "1,3"
    with pytest.raises(UserError, match="6 concepts are the most"):
        add_row((True,) * MOST_STEERS, "")


def test_only_clamp_asks_for_a_value() -> None:
    for operator, label in (("add", "Multiplier"), ("ablate", "Share"), ("clamp", "Share")):
        multiplier, value = operator_fields(operator)
        assert (multiplier.label, value.visible) == (label, seen_if(operator == "clamp"))


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
    return Trial(Readout(model, random_vectors(model)), prompt, sampling)


@pytest.fixture(scope="module")
def pair(trial: Trial) -> Pair:
    return compare(trial, SETUP)


def test_both_sides_have_one_colour_scale_and_the_steered_concepts_come_first(pair: Pair) -> None:
    drawn = draw_pair(Found(pair=pair), 0, "calm", "z", "during", False, [])
    summary, means, plain, steered = drawn[0], drawn[1], drawn[2:7], drawn[7:]
    assert "add calm +2 x norm at layer 0; ablate sad" in summary
    assert means.index("<td>calm") < means.index("<td>sad") < means.index("<td>afraid")
    legends = [side[1][side[1].index("strip-legend") :] for side in (plain, steered)]
    assert legends[0] == legends[1]
    assert plain[1] != steered[1]
    alone = draw_pair(Found(pair=pair), 0, "calm", "z", "alone", False, [])
    assert alone[8] != steered[1]
    whole = draw_pair(Found(pair=pair), 0, "calm", "z", "during", True, ["sad"])
    assert "turn-user" in whole[3]
    assert "turn-user" not in plain[1]
    assert "sad" in whole[4]
    assert "calm" not in whole[4]


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


def test_without_a_result_nothing_is_drawn() -> None:
    assert not any(draw_pair(None, 0, None, "z", "during", False, []))
    assert draw_sweep(Found(), 0, "during") == (None, "")


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
    plot, table = draw_sweep(Found(sweep=broken), 0, "during")
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
    worker, jobs = Worker(), SessionJobs()
    blocked = worker.submit("train", "Long work", _until_cancelled)
    waiting = worker.submit("steer", "Steering", lambda _report: 1)
    watching = follow(jobs, "me", waiting)
    view = next(watching)
    assert "1 job before this one: Long work" in draw_job(view, worker)
    jobs.cancel("someone else")
    assert not waiting.future.cancelled()
    watching.close()
    assert waiting.view().state is JobState.CANCELLED
    first = worker.submit("steer", "Steering", lambda _report: 1)
    jobs.start("me", first)
    jobs.cancel("me")
    assert first.view().state is JobState.CANCELLED
    blocked.cancel()
    worker.close()


def _until_cancelled(report: Any) -> None:
    from readout_ui.progress import Progress

    while True:
        report(Progress("Working", 0, 0))
