"""Every source names its own traps, and sound texts have none."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.texts.examples import ConceptExamples, Example
from readout_ui.texts.lint_sources import lint_examples
from readout_ui.texts.stories import Story, StoryLibrary

pytestmark = pytest.mark.once
PLACES = ("harbour", "orchard", "station", "library", "meadow", "workshop")
SOUND = tuple(
    Story(concept, f"{verb} {i} {place} {concept[0]}{i} {i * 7} {concept[::-1]}x{i}")
    for concept, verb in (("calm", "rested"), ("angry", "shouted"))
    for i, place in enumerate(PLACES)
    for verb in [f"{verb}{i}"]
)


def warnings(*stories: Story) -> str:
    return "\n".join(StoryLibrary("s", stories).warnings())


def test_sound_stories_have_no_warning() -> None:
    assert warnings(*SOUND) == ""


def test_tags_that_were_left_in_a_story_are_quoted() -> None:
    tagged = replace(SOUND[1], text=f"{SOUND[1].text}\nwarmth:9 clarity:10")
    assert "calm, text 2: “warmth:9” looks like a tag" in warnings(SOUND[0], tagged, *SOUND[2:])


def test_one_story_under_two_concepts_cancels_and_twice_in_one_counts_twice() -> None:
    found = warnings(*SOUND, replace(SOUND[0], concept="angry"), SOUND[7])
    assert "calm, text 1 is text 7 of angry; what they share is in neither's direction" in found
    assert "angry, text 8 is text 2 of angry; it counts twice" in found


def test_stories_of_one_scene_may_be_nearly_the_same_and_others_not() -> None:
    words = "she crossed the long wet square and sat down by the old stone well"
    pair = [Story("calm", f"{words} at ease"), Story("angry", f"{words} in a rage")]
    assert "calm, text 7 is nearly text 7 of angry" in warnings(*SOUND, *pair)
    assert "nearly" not in warnings(*SOUND, *(replace(story, scene="well") for story in pair))


def test_a_concept_that_length_alone_tells_is_named_once_each_way() -> None:
    long = [replace(s, text=f"{s.text} " + f"and more {s.text} " * 3) for s in SOUND[:6]]
    found = warnings(*long, *SOUND[6:])
    assert "calm: its texts have" in found
    assert "may be about length" in found


def test_a_name_that_stands_in_one_concepts_stories_only_is_told_but_not_the_concepts_own() -> None:
    told = [replace(s, text=f"Anna was calm. {s.text}") for s in SOUND[:6]]
    found = warnings(*told, *SOUND[6:])
    assert "calm: 'anna' stands in 6 of its 6 texts and in 0 of 6 others" in found
    assert "'calm' stands" not in found


def test_one_writer_is_told_where_writers_are_known() -> None:
    by_ann = [replace(story, writer="Ann") for story in SOUND]
    assert "All texts are by one writer, Ann" in warnings(*by_ann)
    assert "writer" not in warnings(*by_ann[:-1], replace(by_ann[-1], writer="Bo"))
    assert "writer" not in warnings(*by_ann[:-1], SOUND[-1])


def test_of_many_alike_only_the_first_are_told_and_the_rest_counted() -> None:
    found = warnings(*(replace(story, text=f"{story.text}\njoy:3") for story in SOUND))
    assert found.count("looks like a tag") == 3
    assert "There are 9 more such stories." in found


# Examples


def side(n: int, text: str = "plain", score: float | None = None) -> tuple[Example, ...]:
    return tuple(Example(f"{text} {i} {i * 3}", "", score) for i in range(n))


def test_examples_with_a_text_on_both_sides_or_tags_left_in_are_told() -> None:
    both = Example("Plain words.")
    tagged = Example("quiet words here\ncalm:9")
    each = ConceptExamples("calm", (*side(6, "rest"), both), (*side(6, "noise"), both, tagged))
    found = "\n".join(lint_examples([each]))
    assert "calm: 1 text stands on both sides and cancels." in found
    assert "calm (negative), text 8: “calm:9” looks like a tag" in found


def test_sides_that_look_swapped_by_score_or_by_words_are_told() -> None:
    by_score = ConceptExamples("calm", side(6, "aa", 1.0), side(6, "bb", 9.0))
    assert "positives score 1.0 on average, negatives 9.0; check" in "\n".join(
        lint_examples([by_score])
    )
    by_words = ConceptExamples("calm", side(6, "loud"), side(6, "calmly done"))
    assert "100% of the negatives name it and 0% of the positives" in "\n".join(
        lint_examples([by_words])
    )
    sound = ConceptExamples("calm", side(6, "calmly", 9.0), side(6, "loud", 0.0))
    assert "swapped" not in "\n".join(lint_examples([sound]))


def test_positives_of_one_memory_may_be_one_persons() -> None:
    nodes = tuple(Example(f"rest {i}", f"n{i}") for i in range(12))
    found = "\n".join(lint_examples([ConceptExamples("calm", nodes, side(12))]))
    assert "12 nodes of one memory: if one person wrote it" in found
    assert "memory" not in "\n".join(lint_examples([ConceptExamples("calm", side(12), side(12))]))


TEXTS = st.text(max_size=30)


@given(st.lists(st.tuples(st.sampled_from(["calm", "joy", "_plain"]), TEXTS, TEXTS), max_size=6))
def test_any_stories_are_linted(rows: list[tuple[str, str, str]]) -> None:
    stories = [Story("calm", "a"), Story("joy", "b"), *(Story(*row) for row in rows)]
    assert all(
        warning.endswith((".", ";")) for warning in StoryLibrary("s", tuple(stories)).warnings()
    )


@pytest.mark.parametrize("each", [((), side(3)), (side(3), ()), ((), ())])
def test_an_empty_side_is_no_traceback(each: tuple[tuple[Example, ...], ...]) -> None:
    assert list(lint_examples([ConceptExamples("calm", *each)]))
