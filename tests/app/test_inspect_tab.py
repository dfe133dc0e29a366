import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from readout_ui.app.tabs.inspect import draw_notice, read_prompt, switch_mode
from readout_ui.app.tabs.inspect_view import Look, draw, draw_csv, settle_choices
from readout_ui.errors import UserError
from readout_ui.inference.reading import Reading, scored_tokens
from readout_ui.models.chat_template import Turn
from readout_ui.models.prompt import QUESTION

LOOK = Look("concepts", "z", 0, None, [], "peak", True)


@dataclass(frozen=True)
class FakeRun:
    id: str = "first"
    best_layer: int = 5


@dataclass
class FakeReader:
    """Reads nothing; gives the same scores for every prompt and keeps what it was asked."""

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


def looked(look: Look) -> tuple[object, ...]:
    return tuple(getattr(look, name) for name in look.__dataclass_fields__)


def test_a_text_is_read_as_typed_and_a_chat_as_turns() -> None:
    reader = FakeReader()
    read_prompt(reader, "User: x", "assistant")
    read_prompt(reader, "User: x", "chat")
    assert reader.asked == [("User: x", "assistant"), ((Turn("user", "x"),), "chat")]


def test_an_empty_prompt_does_not_reach_the_model() -> None:
    reader = FakeReader()
    with pytest.raises(UserError, match="nothing to read"):
        read_prompt(reader, " \n", "raw")
    assert reader.asked == []


def test_a_first_reading_is_shown_at_the_best_layer_and_its_strongest_concept() -> None:
    look = settle_choices(make_readout(), FakeRun(), LOOK)
    assert (look.layer, look.concept) == (5, "afraid")


def test_a_best_layer_that_was_not_kept_gives_way_to_the_nearest() -> None:
    assert settle_choices(make_readout(), FakeRun(best_layer=9), LOOK).layer == 8


def test_choices_survive_another_reading_as_far_as_they_fit() -> None:
    wish = Look("layers", "raw", 2, "sad", ["calm", "gone"], "alphabet", False)
    look = settle_choices(make_readout(), FakeRun(), wish)
    assert look == Look("layers", "raw", 2, "sad", ["calm"], "alphabet", False)


def test_only_chosen_concepts_are_drawn_and_all_when_none_is_chosen() -> None:
    reading = read_prompt(FakeReader(), "x", "assistant")
    rows = draw(reading, "concepts", "z", 5, "calm", ["sad", "calm"], "peak", True)[1]
    assert [name for name in ("sad", "calm", "afraid") if f">{name}<" in rows] == ["sad", "calm"]
    assert rows.index(">sad<") < rows.index(">calm<")
    everything = draw(reading, "concepts", "z", 5, "calm", [], "peak", True)[1]
    assert ">afraid<" in everything


def test_layers_are_drawn_for_one_concept() -> None:
    reading = read_prompt(FakeReader(), "x", "assistant")
    _strip, rows, _columns, plot, _map = draw(reading, "layers", "z", 5, "sad", [], "peak", True)
    assert rows.index("layer 8") < rows.index("layer 5") < rows.index("layer 2")
    assert plot is not None
    assert json.loads(plot.plot)["data"][0]["name"] == "sad"


def test_template_tokens_can_be_left_out_and_the_rest_keeps_its_scores() -> None:
    reading = read_prompt(FakeReader(), "x", "assistant")
    strip, _rows, columns, _plot, _map = draw(
        reading, "concepts", "z", 5, "calm", [], "peak", False
    )
    assert "&lt;s&gt;" not in strip + columns
    assert columns.count("</i>") == 3


def test_nothing_is_drawn_before_a_reading() -> None:
    assert draw(None, *looked(LOOK)) == ("", "", "", None, "")
    with pytest.raises(UserError, match="read a prompt first"):
        draw_csv(None, *looked(LOOK))


def test_csv_holds_the_cells_of_the_heatmap_on_screen() -> None:
    reading = read_prompt(FakeReader(), "x", "assistant")
    concepts = draw_csv(reading, "concepts", "z", 5, "calm", ["sad"], "peak", True)
    assert {line.split(",")[4:6][1] for line in concepts.splitlines()[1:]} == {"sad"}
    assert len(concepts.splitlines()) == 1 + 4
    layers = draw_csv(reading, "layers", "z", 5, "calm", [], "peak", True)
    assert len(layers.splitlines()) == 1 + 4 * 3


def test_the_notice_says_what_to_do_next() -> None:
    reader = FakeReader()
    reading = read_prompt(reader, "x", "assistant")
    assert "Press Train" in draw_notice(FakeReader(run=None), None)
    assert "press Read" in draw_notice(reader, None)
    assert draw_notice(reader, reading) == ""
    assert "Another run" in draw_notice(FakeReader(run=FakeRun("second")), reading)


def test_switching_to_chat_and_back_keeps_the_text() -> None:
    chat = switch_mode("chat", "I feel calm.")["value"]
    assert chat == f"User: {QUESTION}\n\nAssistant: I feel calm."
    assert switch_mode("user", chat)["value"] == "I feel calm."
    assert "value" not in switch_mode("raw", "I feel calm.")
    assert "value" not in switch_mode("chat", "")
