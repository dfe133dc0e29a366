"""Contrast pairs are checked for everything but their meaning that tells the sides apart."""

from dataclasses import replace

from readout_ui.texts.lint_sources import check_pairs
from readout_ui.texts.pairs import ContrastPair, PairColumns, PairSet, shipped_pairs

COLUMNS = PairColumns("good", "bad")
TOPICS = [
    "bread",
    "rain",
    "stairs",
    "chess",
    "tea",
    "gardens",
    "maps",
    "violins",
    "ferries",
    "candles",
    "kites",
    "clocks",
]


def pairs_of(*pairs: ContrastPair, name: str = "kindness") -> PairSet:
    return PairSet(name, COLUMNS, pairs, "x.csv")


def sound_pairs() -> list[ContrastPair]:
    """Twelve pairs with nothing wrong: no side is longer as a rule, no word comes again."""
    return [
        ContrastPair(f"{topic} {i} {i}w {i}x", f"{topic} {i} {i}y" + f" {i}z" * (i % 2))
        for i, topic in enumerate(TOPICS)
    ]


def rules(found: PairSet) -> set[tuple[str, int | None]]:
    return {(finding.rule, finding.index) for finding in check_pairs(found)}


def test_sides_that_are_the_same_text_are_an_error() -> None:
    pairs = sound_pairs()
    pairs[4] = ContrastPair("The same.", "the same")
    assert ("equal", 4) in rules(pairs_of(*pairs))


def test_a_repeated_and_a_swapped_pair_are_found_at_the_later_place() -> None:
    pairs = sound_pairs()
    pairs += [pairs[0], ContrastPair(pairs[1].negative, pairs[1].positive)]
    found = {f.index: f.message for f in check_pairs(pairs_of(*pairs)) if f.rule == "duplicate"}
    assert found == {12: "This is pair 1 again.", 13: "This is pair 2 with its sides swapped."}


def test_a_side_that_is_nearly_always_longer_is_told_and_the_odd_pair_named() -> None:
    pairs = [ContrastPair(f"{t} is here for all of us", f"{t} is") for t in TOPICS]
    pairs[3] = ContrastPair("chess is", "chess was there with every one")
    found = rules(pairs_of(*pairs))
    assert {("length", None), ("swapped", 3)} <= found


def test_a_word_that_only_one_side_has_is_named() -> None:
    pairs = [ContrastPair(f"surely {t} {i}", f"hardly {t} {i}") for i, t in enumerate(TOPICS)]
    messages = [f.message for f in check_pairs(pairs_of(*pairs)) if f.rule == "word"]
    assert any("'surely' stands in 12 of 12 positive sides" in message for message in messages)


def test_one_pair_whose_words_are_those_of_the_other_side_is_named() -> None:
    pairs = [ContrastPair(f"surely we open {t}", f"hardly they shut {t}") for t in TOPICS]
    pairs[7] = ContrastPair("hardly they shut violins", "surely we open violins")
    assert ("swapped", 7) in rules(pairs_of(*pairs))
    assert ("swapped", 6) not in rules(pairs_of(*pairs))


def test_an_opening_that_most_of_a_side_shares_is_told() -> None:
    pairs = [ContrastPair(f"It is {t}", f"{t} {i} it") for i, t in enumerate(TOPICS)]
    assert ("opening", None) in rules(pairs_of(*pairs))


def test_few_pairs_and_a_single_writer_are_told() -> None:
    pairs = [replace(pair, writer="Ann") for pair in sound_pairs()]
    assert ("few", None) in rules(pairs_of(*pairs[:3]))
    assert ("writer", None) in rules(pairs_of(*pairs))
    assert ("writer", None) not in rules(pairs_of(*pairs[1:], replace(pairs[0], writer="Bo")))


def test_the_other_polarity_of_a_known_contrast_is_told() -> None:
    shipped = shipped_pairs("irony")
    swapped = tuple(
        ContrastPair(pair.negative, pair.positive, pair.prompt) for pair in shipped.pairs
    )
    found = replace(shipped, columns=PairColumns("literal", "ironic"), pairs=swapped)
    assert ("polarity", None) in rules(found)
    assert ("polarity", None) not in rules(shipped)


def test_sides_of_self_and_other_that_are_swapped_in_the_file_are_told_by_their_words() -> None:
    shipped = shipped_pairs("self_other")
    swapped = tuple(ContrastPair(pair.negative, pair.positive) for pair in shipped.pairs)
    assert ("swapped", None) in rules(replace(shipped, pairs=swapped))
    assert ("swapped", None) not in rules(shipped)


def test_tags_that_were_left_in_a_side_or_prompt_are_told() -> None:
    pairs = sound_pairs()
    pairs[2] = replace(pairs[2], positive=f"{pairs[2].positive} warmth:9")
    pairs[5] = replace(pairs[5], prompt="What is it? clarity: 10")
    found = [f for f in check_pairs(pairs_of(*pairs)) if f.rule == "tag"]
    assert [(f.index, f.severity) for f in found] == [(2, "warning"), (5, "warning")]
    assert found[0].message.startswith("“warmth:9” in its positive side looks like a tag")


def test_sound_pairs_have_no_finding() -> None:
    assert rules(pairs_of(*sound_pairs())) == set()
