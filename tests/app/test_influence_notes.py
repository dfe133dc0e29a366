"""Notes beside a text: only on texts as they were trained on, none where nothing was judged."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.app.write import calls
from readout_ui.app.write.calls import influence_notes
from readout_ui.evaluation.influence import Influence, influence
from tests.support.synthetic_corpus import Floats, make_corpus


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(StudioOptions(tmp_path / "descriptions", tmp_path / "runs"))
    yield studio
    studio.close()


@pytest.fixture
def knowing(
    studio: Studio, influences: tuple[Influence, ...], monkeypatch: pytest.MonkeyPatch
) -> Studio:
    """A session that has worked out what each text did."""
    monkeypatch.setattr(calls, "influences_of", lambda _studio, _name: influences)
    return studio


@pytest.fixture(scope="module")
def influences() -> tuple[Influence, ...]:
    def plant(texts: Floats, means: Floats) -> None:
        texts[3] += means[5] - means[0]

    return tuple(b for b in influence(make_corpus(1, plant=plant), 0) if b.concept == "aconcept")


def test_the_text_that_pulls_away_is_told_so_and_the_others_are_not(
    knowing: Studio, influences: tuple[Influence, ...]
) -> None:
    boxes = [b.text for b in influences]
    notes = influence_notes(knowing, "aconcept", [f"{boxes[3]}\n", *boxes[:2], ""])
    assert notes is not None
    assert notes[0].startswith("Reads more like a text of fconcept")
    assert notes[1:] == ["", "", ""]


def test_an_edited_text_has_no_note(knowing: Studio, influences: tuple[Influence, ...]) -> None:
    assert influence_notes(knowing, "aconcept", [f"{influences[3].text} More."]) == [""]


def test_a_session_that_is_still_judging_says_so_and_one_without_a_run_has_no_notes(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert influence_notes(studio, "aconcept", ["I am."]) == [""]
    monkeypatch.setattr(calls, "influences_of", lambda _studio, _name: None)
    assert influence_notes(studio, "aconcept", ["I am."]) is None
