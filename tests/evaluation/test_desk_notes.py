"""Notes beside a text: only on texts as they were trained on, none from a desk without blame."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from readout_ui.app.editor import blame_notes
from readout_ui.evaluation.influence import Blame, blame
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
    blames: tuple[Blame, ...] | None = field(default=None)

    def blame(self, name: str) -> tuple[Blame, ...] | None:
        return self.blames


@pytest.fixture(scope="module")
def blames() -> tuple[Blame, ...]:
    def plant(texts: Floats, means: Floats) -> None:
        texts[3] += means[5] - means[0]

    return tuple(b for b in blame(make_corpus(1, plant=plant), 0) if b.concept == "aconcept")


def test_the_text_that_pulls_away_is_told_so_and_the_others_are_not(
    blames: tuple[Blame, ...],
) -> None:
    boxes = [b.text for b in blames]
    notes = blame_notes(KnowingDesk(blames=blames), "aconcept", [f"{boxes[3]}\n", *boxes[:2], ""])
    assert notes is not None
    assert notes[0].startswith("Pulls towards fconcept")
    assert notes[1:] == ["", "", ""]


def test_an_edited_text_has_no_note(blames: tuple[Blame, ...]) -> None:
    desk = KnowingDesk(blames=blames)
    assert blame_notes(desk, "aconcept", [f"{blames[3].text} More."]) == [""]


def test_a_desk_that_is_still_judging_says_so_and_a_plain_one_has_no_notes() -> None:
    assert blame_notes(KnowingDesk(), "aconcept", ["I am."]) is None
    assert blame_notes(PlainDesk(), "aconcept", ["I am."]) == [""]
