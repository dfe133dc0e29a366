"""Lint: every finding says what is the case and what to do, and good texts have none."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.texts.library import Concept, Library, Problem
from readout_ui.texts.lint import Finding, check_concept, check_library
from readout_ui.texts.words import (
    concept_words,
    count_sentences,
    is_first_person,
    near_pairs,
    word_forms,
)

GOOD = (
    "My shoulders have come down. I let each breath take its time.",
    "Nothing in me needs to hurry. The quiet is wide, and I rest in it.",
    "There is room between my thoughts. I watch them pass without following.",
    "A slow steadiness holds me. Even my voice has grown soft.",
)
OTHER = (
    "Heat climbs up my neck. I want to strike the table.",
    "How dare they do that to me? My jaw is tight, and I cannot let it go.",
    "Something in me pushes forward, ready to shout. It will not be reasoned with.",
)
NEUTRAL = ("I put the cup on the shelf. Then I close the door.",)


def library(
    problems: tuple[Problem, ...] = (), neutral: Sequence[str] = NEUTRAL, **concepts: Sequence[str]
) -> Library:
    made = [
        Concept(name, tuple(texts), "", Path(f"{name}.txt"))
        for name, texts in sorted({**concepts, "_baseline": neutral}.items())
    ]
    return Library(
        Path("descriptions"),
        tuple(c for c in made if not c.is_neutral),
        tuple(c for c in made if c.is_neutral),
        problems,
    )


def rules(findings: Sequence[Finding]) -> list[tuple[str, int | None, str]]:
    return [(f.rule, f.index, f.severity) for f in findings]


def live(*texts: str) -> tuple[Finding, ...]:
    return check_concept(library(calm=GOOD, angry=OTHER), "calm", [*texts, *GOOD[len(texts) :]])


def test_good_descriptions_have_no_findings() -> None:
    assert check_library(library(calm=GOOD, angry=OTHER)) == ()
    assert live() == ()


def test_the_shipped_descriptions_name_no_other_concept() -> None:
    folder = Path(__file__).parents[2] / "descriptions"
    from readout_ui.texts.library import Library

    found = check_library(Library(folder))
    assert [f for f in found if f.rule in {"other-concept", "duplicate", "first-person"}] == []


@pytest.mark.parametrize(
    ("text", "n_sentences"),
    [
        ("", 0),
        ("...", 0),
        ("I am here", 1),
        ("I am here. And here", 2),
        ("Is it me? Yes! It is.", 3),
        ("I wait... and wait. Then it comes.", 2),
        ("I wait… Then it comes.", 2),
        ('I think "this is it." Then I rest.', 2),
        ("I like small things, e.g. Sundays. They rest me.", 2),
        ("It rose by 3.5 degrees in me. I felt it.", 2),
        ("我很平静。我在休息。", 2),
        ("One thing.\nAnother thing.", 2),
    ],
)
def test_sentences_are_counted_as_a_reader_would(text: str, n_sentences: int) -> None:
    assert count_sentences(text) == n_sentences


@given(st.lists(st.from_regex(r"I [a-z]{2,8} it[.!?]", fullmatch=True), max_size=6))
def test_joined_sentences_count_as_many(sentences: list[str]) -> None:
    assert count_sentences(" ".join(sentences)) == len(sentences)


@given(st.text())
def test_any_text_can_be_checked(text: str) -> None:
    for finding in live(text, text):
        assert finding.message.endswith(".")
        assert finding.suggestion.endswith(".")


def test_one_sentence_or_four_are_too_few_or_many() -> None:
    assert rules(live("I let each breath take all of the time that it needs.")) == [
        ("sentences", 0, "warning")
    ]
    (finding,) = live("I am still. I sit. I breathe out. I wait here.")
    assert (finding.rule, finding.message) == ("sentences", "This has 4 sentences.")


def test_a_text_without_a_speaker_is_named() -> None:
    found = live("The room is still and wide. Nobody in it needs to hurry now.")
    assert rules(found) == [("first-person", 0, "warning")]


@pytest.mark.parametrize(
    "text", ["I'm here.", "It is mine.", "Myself, yes.", "Ich ruhe.", "我休息"]
)
def test_first_person_is_heard_in_several_forms(text: str) -> None:
    assert is_first_person(text)


@pytest.mark.parametrize("text", ["It is here.", "The item is still."])
def test_first_person_is_not_heard_inside_other_words(text: str) -> None:
    assert not is_first_person(text)


def test_an_equal_text_is_an_error_at_the_later_place() -> None:
    found = live(GOOD[1].upper())
    assert rules(found) == [("duplicate", 1, "error")]
    assert "same text as description 1." in found[0].message


def test_a_nearly_equal_text_is_a_warning_that_names_the_other() -> None:
    found = live("Nothing within me needs to hurry. The quiet is wide, and I rest in it.")
    assert rules(found) == [("duplicate", 1, "warning")]
    assert "nearly the same as description 1 (93% of the words)" in found[0].message


def test_reordered_sentences_are_still_nearly_the_same() -> None:
    (pair,) = near_pairs([GOOD[1], "The quiet is wide, and I rest in it. Nothing in me hurries."])
    assert (pair.text, pair.other, pair.same) == (1, 0, False)


def test_a_text_of_another_concept_is_found_across_files() -> None:
    found = live(OTHER[0])
    assert rules(found) == [("duplicate", 0, "error")]
    assert "description 1 of angry" in found[0].message
    found = check_library(library(angry=OTHER, calm=(OTHER[0], *GOOD[1:])))
    assert [(f.concept, f.rule, f.index) for f in found] == [("calm", "duplicate", 0)]


def test_the_saved_version_of_the_edited_concept_is_not_compared() -> None:
    assert check_concept(library(calm=GOOD), "calm", GOOD[:3]) == ()


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("sad", ["sad", "sadly", "sadness", "sadder", "saddest", "sadden"]),
        ("happy", ["happily", "happiness", "happier"]),
        ("angry", ["anger", "angrily", "angered"]),
        ("afraid", ["fear", "fearful"]),
        ("ashamed", ["shame", "shameful"]),
        ("guilty", ["guilt"]),
        ("proud", ["pride", "proudly"]),
        ("hopeful", ["hope", "hopes", "hopefully"]),
        ("jealous", ["jealousy", "jealously"]),
        ("nostalgic", ["nostalgia"]),
        ("loving", ["love", "loves", "loved"]),
        ("lonely", ["loneliness"]),
        ("calm", ["calmly", "calmer", "calmness"]),
        ("tired", ["tiredness", "tiring"]),
        ("excited", ["excite", "exciting", "excitement", "excitedly"]),
        ("amused", ["amuse", "amusing", "amusement"]),
        ("confused", ["confusion", "confusing"]),
        ("confident", ["confidence", "confidently"]),
        ("compassionate", ["compassion"]),
        ("curious", ["curiosity", "curiously"]),
        ("gentle", ["gently", "gentleness"]),
        ("worried", ["worry", "worries", "worrying"]),
        ("trapped", ["trap", "trapping"]),
        ("peaceful", ["peace", "peacefully"]),
    ],
)
def test_a_name_covers_its_inflections_and_relatives(name: str, forms: list[str]) -> None:
    assert set(forms) <= word_forms(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [("grateful", "grate"), ("playful", "play"), ("sad", "saddle"), ("tender", "tend")],
)
def test_a_name_does_not_cover_unrelated_words(name: str, word: str) -> None:
    assert word not in word_forms(name)


@pytest.mark.parametrize("word", ["angry", "Anger", "ANGRILY"])
def test_another_concepts_word_is_named_with_its_concept(word: str) -> None:
    found = live(f"{word} is not the name for me. I let each breath take its time.")
    assert rules(found) == [("other-concept", 0, "warning")]
    assert f"'{word.casefold()}' is a word of the concept angry." in found[0].message


def test_only_whole_words_count() -> None:
    assert live("The strangers are far from me. I let each breath take its time.") == ()


def test_the_concepts_own_word_is_allowed_even_if_shared() -> None:
    shelf = library(hopeful=GOOD, hopeless=OTHER)
    text = "There is hope in me today. I let each breath take its time."
    assert check_concept(shelf, "hopeful", [text, *GOOD[1:]]) == ()
    found = check_concept(shelf, "tired", [text, *GOOD[1:]])
    assert "hopeful and hopeless" in next(f.message for f in found if f.rule == "other-concept")


@pytest.mark.parametrize("name", ["quiet_joy", "quiet-joy", "quiet joy", "Quiet_Joy"])
def test_names_of_several_words_are_found_as_a_phrase(name: str) -> None:
    words = concept_words([name])
    assert words.found_in("A Quiet Joy is in me") == {("quiet", "joy"): (name,)}
    assert words.found_in("my quiet-joys") == {("quiet", "joys"): (name,)}
    assert words.found_in("A joy, quiet, without that phrase") == {}


def test_neutral_texts_should_not_name_a_concept_but_may_lack_a_speaker() -> None:
    shelf = library(calm=GOOD, angry=OTHER, neutral=["The calm sea is on the map."])
    assert [(f.concept, f.rule) for f in check_library(shelf)] == [("_baseline", "other-concept")]


def test_an_opening_shared_by_most_is_named_once() -> None:
    found = live("I feel my shoulders come down. It is good.", "I feel no hurry. I rest.")
    assert found == ()
    texts = [f"I feel {word}. It has been so for a while now." for word in ("slow", "wide", "old")]
    (finding,) = [f for f in live(*texts) if f.rule == "opening"]
    assert finding.index is None
    assert "3 of 4 descriptions begin with 'i feel'" in finding.message


def test_few_and_no_descriptions_are_told_apart() -> None:
    assert rules(check_concept(library(), "calm", [])) == [("empty", None, "error")]
    assert rules(check_concept(library(), "calm", ["", " \n"])) == [("empty", None, "error")]
    assert rules(check_concept(library(), "calm", GOOD[:2])) == [("few", None, "warning")]


def test_blank_boxes_keep_the_numbering() -> None:
    found = check_concept(library(), "calm", ["", *GOOD[:3], " ", GOOD[0]])
    assert rules(found) == [("duplicate", 5, "error")]
    assert "description 2." in found[0].message


def test_a_text_much_longer_than_the_others_is_a_hint_and_a_very_long_one_a_warning() -> None:
    long = "I rest, " + ", ".join(f"word{i}" for i in range(30)) + ". I wait."
    assert rules(live(long)) == [("length", 0, "hint")]
    very_long = "I rest, " + ", ".join(f"word{i}" for i in range(200)) + ". I wait."
    assert rules(live(very_long)) == [("long", 0, "warning")]


def test_unusable_files_and_missing_neutral_texts_come_first() -> None:
    problem = Problem("bad.txt", 3, "bad.txt: byte 7 (line 3) is not UTF-8 text.")
    found = check_library(library((problem,), neutral=(), calm=GOOD, angry=()))
    assert [(f.concept, f.rule) for f in found] == [
        ("bad.txt", "unusable"),
        ("", "no-neutral"),
        ("angry", "empty"),
        ("_baseline", "empty"),
    ]
    assert found[0].message == problem.message
