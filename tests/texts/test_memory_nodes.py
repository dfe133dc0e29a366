"""Taking a memory node's tags from its text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.texts.memory import concept_of_tag, parse_node

NAMES = st.from_regex(r"[a-zäöéßжあ][a-zäöé0-9_-]{0,8}", fullmatch=True).map(concept_of_tag)
SCORES = st.dictionaries(NAMES, st.integers(0, 10), min_size=1, max_size=5)
PROSE = st.text(st.characters(exclude_characters=":：", exclude_categories=["Cs"]), max_size=60)


def test_tags_at_the_end_are_scores_and_not_text() -> None:
    node = parse_node("n1", "I sat with her.\nIt was quiet.\n\nwarmth:9 clarity:10\n")
    assert node.text == "I sat with her.\nIt was quiet."
    assert node.scores == {"warmth": 9, "clarity": 10}
    assert node.problems == ()
    assert (node.score("warmth"), node.score("grief")) == (9, 0)


@pytest.mark.parametrize(
    "line",
    [
        "warmth:9 clarity:10",
        "  warmth : 9\t clarity:   10  ",
        "warmth:9, clarity:10",
        "warmth:9;clarity:10;",
        "warmth:9,clarity:10",
        "Warmth:9/10 CLARITY:10.0",
        "warmth:9\r\nclarity:10\r\n",
        "warmth:9\n\n\nclarity:10\n \n",
    ],
)
def test_spacing_case_and_number_of_lines_do_not_matter(line: str) -> None:
    node = parse_node("n", f"Said.\r\n{line}")
    assert node.text == "Said."
    assert node.scores == {"warmth": 9, "clarity": 10}
    assert node.problems == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("warmth:11", "warmth:11 is not from 0 to 10"),
        ("warmth:-1 clarity:3", "warmth:-1 is not from 0 to 10"),
        ("warmth:high clarity:3", "warmth:high has no number"),
        ("warmth: clarity:3 grief:2", "warmth:clarity:3 has no number"),
        ("warmth:3\nwarmth:4", "the last, 4, counts"),
    ],
)
def test_a_tag_that_cannot_count_is_reported_and_still_not_text(line: str, said: str) -> None:
    node = parse_node("n", f"Said.\n{line}")
    assert node.text == "Said."
    assert len(node.problems) == 1
    assert said in node.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "We met at 9:30.",
        "See http://host:80/path for it.",
        "He asked: why?\nAnswer: because",
        "The warmth:9 of it stayed with me.",
        "3:1",
        "note one: two",
    ],
)
def test_a_last_line_with_anything_but_tags_is_text(text: str) -> None:
    node = parse_node("n", text)
    assert node.text == text
    assert node.scores == {}


def test_tags_inside_the_text_stay_there_and_are_reported() -> None:
    node = parse_node("n", "joy:8 was what I wrote.\ngrief:2\nThen I left.\nwarmth:9")
    assert node.text == "joy:8 was what I wrote.\ngrief:2\nThen I left."
    assert node.scores == {"warmth": 9}
    assert ["joy:8" in p for p in node.problems] == [True, False]
    assert "grief:2" in node.problems[1]


def test_times_and_addresses_are_not_reported_as_tags() -> None:
    text = "Up at 9:30, ratio 3:1, http://host:80/x, at t:12:30 and line a:1.5.2 too."
    assert parse_node("n", text).problems == ()


@settings(max_examples=50)
@given(PROSE, SCORES, st.sampled_from(["\n", "\r\n", "\r", "\n\n"]), st.sampled_from(" \t,;"))
def test_any_prose_and_tags_come_apart(
    prose: str, scores: dict[str, int], newline: str, between: str
) -> None:
    prose = prose.replace("\r", "\n")
    line = f"{between} ".join(f"{name}:{score}" for name, score in scores.items())
    node = parse_node("n", f"{prose}{newline}{line}")
    assert node.scores == scores
    assert node.problems == ()
    assert node.text == "\n".join(each.rstrip() for each in prose.split("\n")).strip()


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(":\n ,9a"), max_size=80))
def test_what_is_left_has_no_line_of_tags_at_its_end(content: str) -> None:
    node = parse_node("n", content)
    again = parse_node("n", node.text)
    assert again.text == node.text
    assert again.scores == {}
    assert all(0 <= score <= 10 for score in node.scores.values())
