from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.inference.compare import (
    KINDS,
    align,
    align_spans,
    alignment_words,
    compare,
)
from readout_ui.inference.reading import Reading, scored_tokens

CONCEPTS = ("calm", "afraid", "sad")


def make(
    tokens: tuple[str, ...],
    roles: tuple[str, ...] = (),
    concepts: tuple[str, ...] = CONCEPTS,
    seed: int = 0,
    layers: tuple[int, ...] = (2, 5),
) -> Reading:
    roles = roles or ("template", *("user",) * (len(tokens) - 1))
    rng = np.random.default_rng(seed)
    shape = (len(tokens), len(layers), len(concepts))
    z = rng.normal(size=shape).astype(np.float32)
    similarity = np.stack([np.eye(len(concepts), dtype=np.float32)] * len(layers))
    return Reading(
        tokens, roles, concepts, layers, z * 9, np.tanh(z), z, similarity, scored_tokens(roles)
    )


def cut(text: str, places: list[int]) -> tuple[str, ...]:
    edges = [0, *sorted({p for p in places if 0 < p < len(text)}), len(text)]
    return tuple(text[a:b] for a, b in pairwise(edges))


CUTS = st.lists(st.integers(1, 39), max_size=12)
TEXTS = st.text("ab·⏎é", min_size=1, max_size=40).filter(lambda text: text.strip("·⏎"))


@given(TEXTS, CUTS, CUTS)
def test_groups_cover_the_same_characters_and_every_token_once(
    text: str, one: list[int], other: list[int]
) -> None:
    a, b = cut(text, one), cut(text, other)
    found = align_spans(a, b)
    assert found is not None
    for groups, tokens in zip(found, (a, b), strict=True):
        assert [i for group in groups for i in group] == list(range(len(tokens)))
        assert all(groups)
    for left, right in zip(*found, strict=True):
        words = ["".join(t[i] for i in g) for g, t in ((left, a), (right, b))]
        assert len({word.replace("·", "").replace("⏎", "") for word in words}) == 1


@given(TEXTS, CUTS)
def test_equal_cuts_group_nothing_that_has_ink(text: str, places: list[int]) -> None:
    tokens = cut(text, places)
    first, second = align_spans(tokens, tokens) or ((), ())
    assert first == second
    inked = [sum(bool(tokens[i].strip("·⏎")) for i in group) for group in first]
    assert set(inked) == {1}


def test_loose_bytes_are_the_character_they_make_up() -> None:
    assert align_spans(("<0xC3>", "<0xA9>", "·a"), ("é", "a")) == (((0, 1), (2,)), ((0,), (1,)))
    assert align_spans(("a",), ("b",)) is None


def test_a_space_of_its_own_goes_with_the_word_behind_it() -> None:
    found = align_spans(("I", "·", "am", "⏎"), ("·I", "·am⏎"))
    assert found == (((0,), (1, 2, 3)), ((0,), (1,)))


def test_two_runs_of_one_prompt_are_compared_by_position() -> None:
    tokens = ("<s>", "·so", "·so")
    first, second = make(tokens), make(tokens, concepts=("sad", "calm", "proud"), seed=1)
    found = compare(first, second, "z", (5, 5), same_tokenizer=True)
    assert (found.alignment, found.concepts) == ("position", ("calm", "sad"))
    assert found.left_out == ("afraid", "proud")
    assert found.difference is not None
    expected = second.z[:, 1, [1, 0]] - first.z[:, 1, [0, 2]]
    np.testing.assert_allclose(found.difference, expected, rtol=1e-5)
    assert found.both_scored.tolist() == [False, True, True]
    assert "same 3 tokens" in alignment_words(found, True)


@given(st.integers(0, 50), st.integers(0, 50), st.sampled_from(KINDS))
def test_exchanging_the_sides_turns_the_difference_round(a: int, b: int, kind: str) -> None:
    first, second = make(("<s>", "·a", "·b", "·c"), seed=a), make(("<s>", "·b", "·c"), seed=b)
    there = compare(first, second, kind, (2, 5), same_tokenizer=True)
    back = compare(second, first, kind, (5, 2), same_tokenizer=True)
    assert there.difference is not None
    assert back.difference is not None
    np.testing.assert_array_equal(there.difference, -back.difference)
    np.testing.assert_array_equal(there.first.scores, back.second.scores)


def test_other_tokens_of_the_same_text_are_compared_by_characters() -> None:
    first = make(("<s>", "How", "·are", "·you"))
    second = make(
        ("[x]", "[y]", "·Ho", "w·are", "·yo", "u"), ("template", "template", *["user"] * 4)
    )
    found = compare(first, second, "z", (5, 2), same_tokenizer=False)
    assert found.alignment == "characters"
    assert found.first.tokens == ("How·are", "·you")
    assert found.second.tokens == ("·How·are", "·you")
    expected = second.z[4:, 0].mean(axis=0) - first.z[3, 1]
    assert found.difference is not None
    np.testing.assert_allclose(found.difference[1], expected, rtol=1e-5)
    assert "different tokens" in alignment_words(found, False)


def test_two_prompts_are_compared_where_their_tokens_agree() -> None:
    first = make(("<s>", "·I", "·am", "·sad", "·now"))
    second = make(("<s>", "·I", "·am", "·so", "·glad", "·now"), seed=1)
    found = compare(first, second, "z", (5, 5), same_tokenizer=True)
    assert found.alignment == "shared"
    assert found.first.tokens == ("<s>", "·I", "·am", "·sad", "", "", "·now")
    assert found.second.tokens == ("<s>", "·I", "·am", "", "·so", "·glad", "·now")
    assert found.difference is not None
    assert np.isfinite(found.difference[:, 0]).tolist() == [True] * 3 + [False] * 3 + [True]
    assert found.first.roles == found.second.roles
    assert "4 of 7 columns" in alignment_words(found, True)


def test_texts_with_nothing_in_common_stand_side_by_side() -> None:
    first, second = make(("<s>", "·a")), make(("<s>", "·b", "·c"))
    for same_tokenizer in (True, False):
        found = compare(first, second, "z", (5, 5), same_tokenizer=same_tokenizer)
        assert (found.alignment, found.difference) == ("none", None)
        assert (len(found.first.tokens), len(found.second.tokens)) == (2, 3)
        assert "without a difference" in alignment_words(found, same_tokenizer)


def test_equal_tokens_of_another_tokenizer_pair_nothing_by_themselves() -> None:
    found = align(make(("<s>", "·a", "·b")), make(("<s>", "·a", "·c")), same_tokenizer=False)
    assert found.kind == "none"


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UserError, match="no concept in common"):
        compare(
            make(("a", "b")), make(("a", "b"), concepts=("x",)), "z", (5, 5), same_tokenizer=True
        )
    with pytest.raises(UserError, match="cannot be compared"):
        compare(make(("a", "b")), make(("a", "b")), "raw", (5, 5), same_tokenizer=True)
