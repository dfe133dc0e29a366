"""Drafts: what a model is asked, what is read of its answers, and the mark of those kept."""

from pathlib import Path

import pytest

from readout_ui.errors import UserError
from readout_ui.texts.drafts import (
    KINDS,
    Draft,
    DraftRequest,
    checked,
    draft_lines,
    keep_drafts,
    parse_answer,
    written_by,
)
from readout_ui.texts.labelled import read_labelled
from readout_ui.texts.library import Library
from readout_ui.texts.pairs import read_pairs

LIBRARY = Library(
    {
        "calm": ["I breathe slowly. Nothing presses on me.", "My hands are still. I let it pass."],
        "angry": ["I clench my fists. They had no right.", "Heat rises in me. I want to shout."],
        "_neutral": ["I put the cup on the shelf. It has a handle."],
    }
)


def asked(kind: str, concept: str = "calm", count: int = 3) -> DraftRequest:
    return DraftRequest(LIBRARY, kind, concept, count)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_the_instruction_says_how_many_and_of_what(kind: str) -> None:
    request = asked(kind, "neutral" if kind == "neutral" else "calm")
    said = request.instruction(2)
    assert "Write 2 " in said
    assert (request.concept == "_neutral") is (kind == "neutral")
    shows = {"descriptions": "I breathe slowly", "neutral": "I put the cup"}.get(
        kind, 'word "calm"'
    )
    assert shows in said


@pytest.mark.parametrize(
    ("kind", "concept", "count"),
    [
        ("poems", "calm", 1),
        ("contrast", "calm", 0),
        ("neutral", "_n", 51),
        ("situations", "a/b", 1),
    ],
)
def test_what_cannot_be_asked_for_is_refused(kind: str, concept: str, count: int) -> None:
    with pytest.raises(UserError):
        asked(kind, concept, count)


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        (
            "Here you go:\n1. I sit by the water.\n2) I let the day go by.\n\nI hope this helps!",
            2,
        ),
        ('- "I sit here by the water."\n* **I let the day go by.**', 2),
        ("I sit here by\nthe water.\n\nI let the day go by.", 2),
        ("<think>1. I should write about calm now.</think>1. I sit here by the water.", 1),
        ("1. I sit here by the\nwater and rest.", 1),
        ("Sure.\n\nHere are the texts you wanted:", 0),
        ("", 0),
    ],
)
def test_texts_are_found_in_lists_and_paragraphs(answer: str, texts: int) -> None:
    found = parse_answer(answer, "descriptions")
    assert len(found) == texts
    assert all(draft.text.startswith("I ") and draft.text.endswith(".") for draft in found)


def test_the_two_sides_of_a_contrast_are_found() -> None:
    answer = "A: She waits by the door, humming.\nB: She waits by the door, reading.\nA: too short"
    assert [(d.text, d.other) for d in parse_answer(answer, "contrast")] == [
        ("She waits by the door, humming.", "She waits by the door, reading.")
    ]


def test_drafts_stand_beside_lint_and_their_nearest_neighbour() -> None:
    twin = Draft("I breathe slowly. Nothing at all presses on me.")
    odd = Draft("There is a lake. It is wide. It is cold. It is deep.")
    drafts = checked(asked("descriptions"), [twin, odd])
    assert (drafts[0].nearest_in, drafts[0].percent > 80) == ("calm", True)
    assert "duplicate" in {f.rule for f in drafts[0].findings}
    assert {"sentences", "first-person"} <= {f.rule for f in drafts[1].findings}


def test_a_held_out_text_that_names_any_concept_is_an_error() -> None:
    drafts = [Draft("The lake lay calm before him."), Draft("He sat down by the lake.")]
    findings = [[f.rule for f in d.findings] for d in checked(asked("situations"), drafts)]
    assert findings == [["named"], []]
    longer = Draft("He hums by the door.", "He stands by the door and reads the whole long notice.")
    assert [f.rule for f in checked(asked("contrast"), [longer])[0].findings] == ["length"]


def test_what_is_kept_is_in_the_file_and_marked_until_a_person_changes_it(tmp_path: Path) -> None:
    (tmp_path / "calm.txt").write_text("My own text. I wrote it.\n")
    kept = keep_drafts(tmp_path, "calm", ["I sit by the water.\n", "I rest. "], "tiny-model")
    assert kept.descriptions == ("My own text. I wrote it.", "I sit by the water.", "I rest.")
    assert written_by(tmp_path, kept.descriptions) == ("", "tiny-model", "tiny-model")
    assert written_by(tmp_path, ["I sit by the sea."]) == ("",)
    assert Library(tmp_path).names() == ("calm",)
    keep_drafts(tmp_path, "_plain", ["There is a cup on the shelf."], "tiny-model")
    assert len(Library(tmp_path).neutral_texts()) == 1
    notes = next((tmp_path / ".history").glob("*.jsonl"))
    notes.write_bytes(b"{broken\n" + notes.read_bytes())
    assert written_by(tmp_path, ["I rest."]) == ("tiny-model",)


def test_held_out_drafts_are_read_back_with_their_writer(tmp_path: Path) -> None:
    file = tmp_path / "drafts.jsonl"
    file.write_text(draft_lines(asked("situations"), [Draft("He sat by the lake.")], "tiny-model"))
    (text,) = read_labelled(file)
    assert (text.labels, text.writer) == (("calm",), "tiny-model")
    file.write_text(draft_lines(asked("contrast"), [Draft("He hums.", "He reads.")], "tiny-model"))
    (pair,) = read_pairs(file).pairs
    assert (pair.positive, pair.negative, pair.writer) == ("He hums.", "He reads.", "tiny-model")
