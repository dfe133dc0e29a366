"""Notes beside a text: only on texts as they were trained on, none where nothing was judged."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from readout_ui.app.editor import influence_notes
from readout_ui.evaluation.influence import Influence, influence
from readout_ui.texts.library import Library, read_library
from tests.support.synthetic_corpus import Floats, make_corpus


@dataclass
class PlainDesk:
    folder: Path = Path()
    read_only: bool = False

    def library(self) -> Library:
        return read_library(self.folder)

    def concept_states(self) -> dict[str, str]:
        return {}

    def count_tokens(self, texts: object) -> None:
        return None


@dataclass
class KnowingDesk(PlainDesk):
    influences: tuple[Influence, ...] | None = field(default=None)

    def influence(self, name: str) -> tuple[Influence, ...] | None:
        return self.influences


@pytest.fixture(scope="module")
def influences() -> tuple[Influence, ...]:
    def plant(texts: Floats, means: Floats) -> None:
        texts[3] += means[5] - means[0]

    return tuple(b for b in influence(make_corpus(1, plant=plant), 0) if b.concept == "aconcept")


def test_the_text_that_pulls_away_is_told_so_and_the_others_are_not(
    influences: tuple[Influence, ...],
) -> None:
    boxes = [b.text for b in influences]
    notes = influence_notes(
        KnowingDesk(influences=influences), "aconcept", [f"{boxes[3]}\n", *boxes[:2], ""]
    )
    assert notes is not None
    assert notes[0].startswith("Pulls towards fconcept")
    assert notes[1:] == ["", "", ""]


def test_an_edited_text_has_no_note(influences: tuple[Influence, ...]) -> None:
    desk = KnowingDesk(influences=influences)
    assert influence_notes(desk, "aconcept", [f"{influences[3].text} More."]) == [""]


def test_a_desk_that_is_still_judging_says_so_and_a_plain_one_has_no_notes() -> None:
    assert influence_notes(KnowingDesk(), "aconcept", ["I am."]) is None
    assert influence_notes(PlainDesk(), "aconcept", ["I am."]) == [""]
