"""Choosing examples for and against concepts among memory nodes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.texts.examples import (
    POLARITIES,
    ConceptExamples,
    Example,
    ExtractionSettings,
    chosen_concepts,
    prepare,
    read_examples,
    write_examples,
)
from readout_ui.texts.lint_sources import lint_examples
from readout_ui.texts.memory import MemoryNode, parse_node

SHORT = ExtractionSettings(min_content_chars=1)
NODES = [
    parse_node("rest", "I rest by the river.\ncalm:9 warmth:8"),
    parse_node("hand", "Her hand on mine.\nwarmth:10 calm:3"),
    parse_node("lie", "They lied to me.\nanger:9 calm:0"),
    parse_node("word", "I tried to calm down, calmly.\nanger:8"),
    parse_node("list", "Four entries, one per room."),
]


def keys(examples: tuple[Example, ...]) -> set[str]:
    return {example.node for example in examples}


def test_positives_score_high_and_negatives_do_not_mention_the_concept() -> None:
    calm = prepare(NODES, SHORT).examples("calm")
    assert keys(calm.positive) == {"rest"}
    assert keys(calm.negative) == {"lie", "list"}


def test_mentions_count_the_tag_once_and_every_form_of_the_name_in_the_text() -> None:
    some = prepare(NODES, replace(SHORT, max_negative_mentions=1)).examples("calm")
    assert keys(some.negative) == {"lie", "list", "hand"}
    more = prepare(NODES, replace(SHORT, max_negative_mentions=2)).examples("calm")
    assert keys(more.negative) == {"lie", "list", "hand", "word"}
    assert keys(more.positive) == {"rest"}


def test_short_texts_and_repeated_ones_are_left_out_and_counted() -> None:
    again = [*NODES, parse_node("rest2", "I rest by the river.\ncalm:10 awe:9")]
    extraction = prepare(again, ExtractionSettings(min_content_chars=18))
    assert (extraction.n_short, extraction.n_repeated) == (2, 1)
    assert [e.score for e in extraction.examples("calm").positive] == [10]
    assert keys(extraction.examples("awe").positive) == {"rest"}


def test_the_table_names_every_concept_by_its_positives() -> None:
    rows = [
        (c.concept, c.n_positive, c.n_tagged, c.n_negative) for c in prepare(NODES, SHORT).counts()
    ]
    assert rows == [("anger", 2, 2, 3), ("warmth", 2, 2, 3), ("calm", 1, 2, 2)]


def test_the_highest_scores_are_kept_and_the_same_ones_every_time() -> None:
    nodes = [MemoryNode(str(i), f"text {i}", {"joy": 8 + i % 3}) for i in range(30)]
    others = [MemoryNode(f"x{i}", f"other {i}", {}) for i in range(30)]
    few = replace(SHORT, max_examples_per_emotion=12)
    chosen = prepare([*nodes, *others], few).examples("joy")
    assert [example.score for example in chosen.positive] == [10] * 10 + [9] * 2
    turned = prepare([*others[::-1], *nodes[::-1]], few).examples("joy")
    assert turned == chosen
    other_seed = prepare([*nodes, *others], replace(few, seed=1)).examples("joy")
    assert keys(other_seed.negative) != keys(chosen.negative)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.text("abc ", min_size=1, max_size=4),
            st.dictionaries(st.sampled_from(["a", "joy", "awe"]), st.integers(0, 10)),
        ),
        max_size=12,
    ),
    st.integers(1, 10),
    st.integers(0, 2),
)
def test_no_text_is_ever_for_and_against_the_same_concept(
    nodes: list[tuple[str, dict[str, int]]], score: int, mentions: int
) -> None:
    given_settings = replace(SHORT, min_positive_score=score, max_negative_mentions=mentions)
    made = [MemoryNode(str(i), text, dict(scores)) for i, (text, scores) in enumerate(nodes)]
    extraction = prepare(made, given_settings)
    for concept in ("a", "joy", "awe"):
        found = extraction.examples(concept)
        positive, negative = ([e.text for e in found.of(side)] for side in POLARITIES)
        assert not {*positive} & {*negative}
        assert len({*positive}) == len(positive)


def test_named_concepts_are_checked_and_all_usable_ones_are_the_default() -> None:
    extraction = prepare(NODES, SHORT)
    assert chosen_concepts(extraction) == ("anger", "warmth", "calm")
    assert chosen_concepts(extraction, ["Calm", "calm"]) == ("calm",)
    with pytest.raises(UserError, match=r"grief: no node is an example for it .*anger, warmth"):
        chosen_concepts(extraction, ["grief"])
    with pytest.raises(UserError, match="no concept has examples on both sides among 1 nodes"):
        chosen_concepts(prepare(NODES[:1], SHORT))


def test_a_tag_that_can_be_no_folder_is_listed_but_not_written() -> None:
    extraction = prepare([*NODES, parse_node("x", "Some text.\ncon:9 awe:9")], SHORT)
    assert "con" in [count.concept for count in extraction.counts()]
    assert {"con", "awe"} & {*chosen_concepts(extraction)} == {"awe"}
    with pytest.raises(UserError, match="Windows keeps this name"):
        chosen_concepts(extraction, ["con"])


def test_few_examples_unequal_lengths_and_shared_positives_are_warned_of() -> None:
    nodes = [MemoryNode(str(i), f"joyless and light {i}", {"joy": 9, "awe": 9}) for i in range(6)]
    nodes += [MemoryNode(f"x{i}", f"long {i} " * 20, {}) for i in range(4)]
    extraction = prepare(nodes, SHORT)
    found = list(lint_examples([extraction.examples(name) for name in ("joy", "awe")]))
    assert "joy has 6 positive and 4 negative examples" in found[0]
    assert "may be about length" in found[1]
    assert found[-1].startswith("joy and awe share 6 of 6 positives")


@pytest.mark.parametrize(
    "wrong",
    [{"min_positive_score": 11}, {"min_positive_score": 0}, {"max_examples_per_emotion": 0}],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        ExtractionSettings(**wrong)  # type: ignore[arg-type]


# The folder they are written to.

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
EXAMPLES = st.lists(
    st.builds(
        Example, TEXTS.filter(str.strip), st.text("ab", max_size=2), st.none() | st.floats(0, 10)
    ),
    max_size=4,
).map(tuple)


@settings(max_examples=25)  # every file waits for the disk
@given(EXAMPLES, EXAMPLES)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    positive: tuple[Example, ...],
    negative: tuple[Example, ...],
) -> None:
    folder = tmp_path_factory.mktemp("examples")
    made = ConceptExamples("quiet_joy", positive, negative)
    write_examples(folder, [made], {"seed": 0})
    assert read_examples(folder) == (made,)


def test_concepts_of_an_earlier_choice_do_not_count(tmp_path: Path) -> None:
    one = ConceptExamples("calm", (Example("a"),), (Example("b"),))
    write_examples(tmp_path, [one, replace(one, concept="awe")], {})
    write_examples(tmp_path, [one], {})
    assert read_examples(tmp_path) == (one,)
    (tmp_path / "extraction.json").unlink()
    assert [each.concept for each in read_examples(tmp_path)] == ["awe", "calm"]


def test_no_line_that_is_written_holds_a_line_of_tags(tmp_path: Path) -> None:
    extraction = prepare(NODES, SHORT)
    write_examples(tmp_path, [extraction.examples(c) for c in ("calm", "anger")], {})
    written = "".join(file.read_text() for file in tmp_path.glob("*/*.jsonl"))
    assert "calm:" not in written
    assert json.loads(written.splitlines()[0]).keys() >= {"concept", "polarity", "text"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "calm/positive.jsonl line 1: this is not JSON"),
        ('{"text": " "}', "calm/positive.jsonl line 1: there is no text"),
        ('{"text": "a", "polarity": "negative"}', "the polarity is 'negative', not 'positive'"),
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "calm").mkdir()
    (tmp_path / "calm" / "positive.jsonl").write_text(line)
    with pytest.raises(UserError) as raised:
        read_examples(tmp_path)
    assert said in str(raised.value)


def test_the_concepts_with_most_positives_can_be_taken_alone() -> None:
    extraction = prepare(NODES, SHORT)
    assert chosen_concepts(extraction, top=2) == ("anger", "warmth")
    assert chosen_concepts(extraction, top=99) == chosen_concepts(extraction)
    with pytest.raises(UserError, match="--top: 0 concepts are too few"):
        chosen_concepts(extraction, top=0)
    with pytest.raises(UserError, match="--top: concepts are named already"):
        chosen_concepts(extraction, ["calm"], top=1)
