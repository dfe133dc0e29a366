import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr
import numpy as np
import pytest

from readout_ui.app.events import Values, components
from readout_ui.app.tabs.inspect import (
    InspectTab,
    draw_notice,
    read_prompt,
)
from readout_ui.app.tabs.inspect_view import LastReading, Look, draw, draw_csv, settle_choices
from readout_ui.errors import UserError
from readout_ui.inference.reading import Reading, scored_tokens
from readout_ui.models.chat_template import Turn
from readout_ui.models.prompt import QUESTION

LOOK = Look("concepts", "z", 0, None, [], "peak", True)


@dataclass(frozen=True)
class FakeRun:
    id: str = "first"
    best_layer: int = 5


FIRST: Any = FakeRun()
NINE: Any = FakeRun(best_layer=9)


@dataclass
class FakeReader:
    """A session that gives the same scores for every prompt and keeps what it was asked."""

    run: FakeRun | None = field(default_factory=FakeRun)
    asked: list[tuple[object, str]] = field(default_factory=list)

    def status(self) -> "FakeReader":
        return self

    def read(self, content: str | Sequence[Turn], mode: str) -> Reading:
        self.asked.append((content, mode))
        return make_readout()


def make_readout(concepts: tuple[str, ...] = ("calm", "afraid", "sad")) -> Reading:
    """Layers 2, 5 and 8; at layer 5 "afraid" has the highest peak."""
    z = np.zeros((4, 3, len(concepts)), np.float32)
    z[3, 1] = [1, 3, 2]
    z[2, 2] = [5, 0, 0]
    roles = ("template", "user", "assistant", "assistant")
    similarity = np.stack([np.eye(len(concepts), dtype=np.float32)] * 3)
    tokens = ("<s>", "·how", "·so", "·so")
    return Reading(tokens, roles, concepts, (2, 5, 8), z, z, z, similarity, scored_tokens(roles))


def built(session: Any) -> InspectTab:
    with gr.Blocks():
        return InspectTab(session)


def on_screen(tab: InspectTab, text: str, mode: str = "assistant") -> Values:
    look = {each: getattr(LOOK, name) for name, each in vars(tab.controls.look).items()}
    return {tab.prompt: text, tab.mode: mode, tab.controls.reading: None, **look}


def test_a_text_is_read_as_typed_and_a_chat_as_turns() -> None:
    session: Any = FakeReader()
    read_prompt(session, "User: x", "assistant")
    read_prompt(session, "User: x", "chat")
    assert session.asked == [("User: x", "assistant"), ((Turn("user", "x"),), "chat")]


def test_an_empty_prompt_does_not_reach_the_model() -> None:
    session: Any = FakeReader()
    with pytest.raises(UserError, match="nothing to read"):
        read_prompt(session, " \n", "raw")
    assert session.asked == []


def test_one_press_reads_settles_the_choices_and_draws() -> None:
    session: Any = FakeReader()
    tab = built(session)
    controls, values = tab.controls, on_screen(tab, "x")
    changes = tab.read_and_draw(values)
    assert changes[controls.look.layer].value == 5
    assert changes[controls.look.concept]["value"] == "afraid"
    assert changes[tab.notice] == ""
    assert set(changes) <= set(components(tab))
    reading = changes[controls.reading]
    drawn = controls.redraw(values | {controls.reading: reading, controls.look.concept: "sad"})
    assert set(drawn) <= set(components(controls))
    assert controls.redraw(values) == {}
    with pytest.raises(UserError, match="read a prompt first"):
        controls.write_csv(values)


def test_a_first_reading_is_shown_at_the_best_layer_and_its_strongest_concept() -> None:
    look = settle_choices(make_readout(), FIRST, LOOK)
    assert (look.layer, look.concept) == (5, "afraid")


def test_a_best_layer_that_was_not_kept_gives_way_to_the_nearest() -> None:
    assert settle_choices(make_readout(), NINE, LOOK).layer == 8


def test_choices_survive_another_reading_as_far_as_they_fit() -> None:
    chosen = Look("layers", "raw", 2, "sad", ["calm", "gone"], "alphabet", False)
    look = settle_choices(make_readout(), FIRST, chosen)
    assert look == Look("layers", "raw", 2, "sad", ["calm"], "alphabet", False)


def test_only_chosen_concepts_are_drawn_and_all_when_none_is_chosen() -> None:
    look = replace(LOOK, layer=5, concept="calm", chosen=["sad", "calm"])
    rows = draw(make_readout(), look).rows
    assert [name for name in ("sad", "calm", "afraid") if f">{name}<" in rows] == ["sad", "calm"]
    assert rows.index(">sad<") < rows.index(">calm<")
    assert ">afraid<" in draw(make_readout(), replace(look, chosen=[])).rows


def test_layers_are_drawn_for_one_concept() -> None:
    drawn = draw(make_readout(), replace(LOOK, view="layers", layer=5, concept="sad"))
    rows, plot = drawn.rows, drawn.plot
    assert rows.index("layer 8") < rows.index("layer 5") < rows.index("layer 2")
    assert plot is not None
    assert json.loads(plot.plot)["data"][0]["name"] == "sad"


def test_template_tokens_can_be_left_out_and_the_rest_keeps_its_scores() -> None:
    look = replace(LOOK, layer=5, concept="calm", template=False)
    drawn = draw(make_readout(), look)
    assert "&lt;s&gt;" not in drawn.strip + drawn.columns
    assert drawn.columns.count("</i>") == 3


def test_csv_holds_the_cells_of_the_heatmap_on_screen() -> None:
    look = replace(LOOK, layer=5, concept="calm", chosen=["sad"])
    concepts = draw_csv(make_readout(), look)
    assert {line.split(",")[4:6][1] for line in concepts.splitlines()[1:]} == {"sad"}
    assert len(concepts.splitlines()) == 1 + 4
    layers = draw_csv(make_readout(), replace(look, view="layers", chosen=[]))
    assert len(layers.splitlines()) == 1 + 4 * 3


def test_the_notice_says_what_to_do_next() -> None:
    reading = LastReading(make_readout(), "first")
    assert "Press Train" in draw_notice(None, None)
    assert "press Read" in draw_notice(FIRST, None)
    assert draw_notice(FIRST, reading) == ""
    other: Any = FakeRun("second")
    assert "Another run" in draw_notice(other, reading)


def test_switching_to_chat_and_back_keeps_the_text() -> None:
    tab = built(FakeReader())

    def switched(mode: str, text: str) -> Any:
        return tab.switch_mode({tab.mode: mode, tab.prompt: text})[tab.prompt]

    chat = switched("chat", "I feel calm.")["value"]
    assert chat == f"User: {QUESTION}\n\nAssistant: I feel calm."
    assert switched("user", chat)["value"] == "I feel calm."
    assert "value" not in switched("raw", "I feel calm.")
    assert "value" not in switched("chat", "")
