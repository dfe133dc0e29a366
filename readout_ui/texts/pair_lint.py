"""What could be better in contrast pairs: anything but the meaning that tells the sides apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from readout_ui.errors import UserError
from readout_ui.texts.lint import Finding, Severity
from readout_ui.texts.memory import tags_inside
from readout_ui.texts.pairs import PRESETS, ContrastPair, PairSet
from readout_ui.texts.words import near_pairs, opening, words_of

FEWEST_PAIRS = 10
MOST_ONE_SIDED = 0.8
"""Part of the pairs in which the same side may be the longer one."""
TELLING = 0.6
"""Part of one side's texts that may hold a word which the other side hardly has."""
_SURE = 5.0
"""Log odds of its words at which a pair that goes the other way is named."""
CUES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "self_other": (
        frozenset(["i", "me", "my", "mine", "myself", "i'm", "i've", "i'll"]),
        frozenset(
            [
                "he",
                "she",
                "him",
                "her",
                "his",
                "hers",
                "they",
                "them",
                "their",
                "himself",
                "herself",
            ]
        ),
    ),
    "irony": (
        frozenset(
            [
                "oh",
                "wonderful",
                "brilliant",
                "fantastic",
                "lovely",
                "marvellous",
                "delightful",
                "just",
            ]
        ),
        frozenset(["annoying", "disappointing", "terrible", "unfortunately", "awful"]),
    ),
}
"""Words that speak for the positive and for the negative side of a contrast type."""


def check_pairs(found: PairSet) -> tuple[Finding, ...]:
    """Every finding: about the set, then pair by pair. `Finding.index` is the pair, from 0."""
    name, pairs = found.name, found.pairs
    findings = [
        *_polarity(found),
        *_few(name, pairs),
        *_equal_sides(name, pairs),
        *_repeated(name, pairs),
        *_lengths(name, pairs),
        *_openings(name, pairs),
        *_telling_words(name, pairs),
        *_odd_ones(name, pairs),
        *_tags(name, pairs),
        *_writers(name, pairs),
    ]
    return tuple(sorted(findings, key=lambda f: -1 if f.index is None else f.index))


def refuse_errors(found: PairSet, findings: Sequence[Finding]) -> None:
    """Raise a UserError that names the first pair which would spoil the training."""
    for finding in findings:
        if finding.severity == "error":
            place = "" if finding.index is None else f" pair {finding.index + 1}"
            raise UserError(
                finding.message.rstrip("."),
                where=f"{found.source}{place}",
                fix=finding.suggestion.rstrip("."),
            )


def without_errors(found: PairSet, findings: Sequence[Finding]) -> PairSet:
    """The pairs that no error was found in.

    Raises:
        UserError: none is left.
    """
    wrong = {finding.index for finding in findings if finding.severity == "error"}
    kept = tuple(pair for index, pair in enumerate(found.pairs) if index not in wrong)
    return replace(found, pairs=kept)


def _polarity(found: PairSet) -> Iterator[Finding]:
    preset, columns = PRESETS.get(found.name), found.columns
    if preset is not None and columns.positive == preset.negative:
        yield _about(
            found.name,
            "polarity",
            "warning",
            f"Here {columns.polarity}, so {found.name} would read high on {columns.positive} text.",
            f"Swap the columns, unless that is meant: usually positive = {preset.positive}.",
        )
    speaks = _cue_balance(found)
    if speaks < 0:
        yield _about(
            found.name,
            "swapped",
            "warning",
            f"The words of the negative side are those expected of {found.name}.",
            f"Check that {columns.polarity}.",
        )


def _cue_balance(found: PairSet) -> int:
    """Above 0 where cue words agree with the polarity, below where they clearly disagree."""
    for_positive, for_negative = CUES.get(found.name, (frozenset(), frozenset()))

    def agree(text: str) -> int:
        words = set(words_of(text))
        return len(words & for_positive) - len(words & for_negative)

    differences = [agree(pair.positive) - agree(pair.negative) for pair in found.pairs]
    clear = [difference for difference in differences if difference]
    against = sum(difference < 0 for difference in clear)
    few = len(clear) < max(3, len(found.pairs) / 4)
    return 0 if few else (-1 if against > MOST_ONE_SIDED * len(clear) else 1)


def _few(name: str, pairs: Sequence[ContrastPair]) -> Iterator[Finding]:
    if len(pairs) < FEWEST_PAIRS:
        noun = "pair" if len(pairs) == 1 else "pairs"
        yield _about(
            name,
            "few",
            "warning",
            f"With {len(pairs)} {noun} the direction is noisy and hardly to be judged.",
            f"Write at least {FEWEST_PAIRS - len(pairs)} more; 40 are better.",
        )


def _equal_sides(name: str, pairs: Sequence[ContrastPair]) -> Iterator[Finding]:
    for index, pair in enumerate(pairs):
        if words_of(pair.positive) == words_of(pair.negative):
            yield Finding(
                name,
                index,
                "equal",
                "error",
                "Both sides are the same text.",
                "Write the side that is missing, or delete the pair.",
            )


def _repeated(name: str, pairs: Sequence[ContrastPair]) -> Iterator[Finding]:
    sides: dict[tuple[tuple[str, ...], ...], int] = {}
    exact: set[int] = set()
    for index, pair in enumerate(pairs):
        prompt, positive, negative = map(words_of, (pair.prompt, pair.positive, pair.negative))
        same, other = (prompt, positive, negative), (prompt, negative, positive)
        if same in sides:
            exact.add(index)
            yield _duplicate(name, index, "error", f"This is pair {sides[same] + 1} again.")
        elif other in sides and positive != negative:
            exact.add(index)
            message = f"This is pair {sides[other] + 1} with its sides swapped."
            yield _duplicate(name, index, "error", message)
        sides.setdefault(same, index)
    joined = [f"{pair.prompt} {pair.positive} {pair.negative}" for pair in pairs]
    for near in near_pairs(joined):
        if near.text not in exact:
            message = f"This is nearly pair {near.other + 1} ({near.percent:.0f}% of the words)."
            yield _duplicate(name, near.text, "warning", message)


def _duplicate(name: str, index: int, severity: Severity, message: str) -> Finding:
    return Finding(name, index, "duplicate", severity, message, "Rewrite or delete one of them.")


def _lengths(name: str, pairs: Sequence[ContrastPair]) -> Iterator[Finding]:
    lengths = [(len(words_of(pair.positive)), len(words_of(pair.negative))) for pair in pairs]
    unequal = [positive - negative for positive, negative in lengths if positive != negative]
    longer = sum(difference > 0 for difference in unequal)
    share = max(longer, len(unequal) - longer) / len(pairs)
    if len(pairs) < 5 or share < MOST_ONE_SIDED:
        return
    side = "positive" if longer * 2 > len(unequal) else "negative"
    yield _about(
        name,
        "length",
        "warning",
        f"The {side} side is the longer one in {share:.0%} of the pairs,"
        " so length alone gives it away.",
        "Write sides of the same length, or let either be longer.",
    )
    for index, (positive, negative) in enumerate(lengths):
        if (negative if side == "positive" else positive) > 1.2 * min(positive, negative):
            yield Finding(
                name,
                index,
                "swapped",
                "hint",
                f"Here the {'negative' if side == 'positive' else 'positive'} side is the longer"
                " one, unlike in the others.",
                "Check that its sides are not swapped.",
            )


def _openings(name: str, pairs: Sequence[ContrastPair]) -> Iterator[Finding]:
    for side in ("positive", "negative"):
        openings = Counter(opening(getattr(pair, side)) for pair in pairs)
        openings.pop("", None)
        words, count = max(openings.items(), key=lambda item: item[1], default=("", 0))
        if len(pairs) >= 5 and 2 * count > len(pairs):
            yield _about(
                name,
                "opening",
                "warning",
                f"{count} of {len(pairs)} {side} sides begin with '{words}'.",
                "Begin most of them in different ways.",
            )


def _telling_words(name: str, pairs: Sequence[ContrastPair]) -> Iterator[Finding]:
    if len(pairs) < FEWEST_PAIRS:
        return
    counts = {side: _texts_with(pairs, side) for side in ("positive", "negative")}
    for side, other in (("positive", "negative"), ("negative", "positive")):
        for word, count in counts[side].most_common(5):
            if count >= TELLING * len(pairs) and counts[other][word] <= 0.1 * len(pairs):
                yield _about(
                    name,
                    "word",
                    "warning",
                    f"'{word}' stands in {count} of {len(pairs)} {side} sides"
                    f" and in {counts[other][word]} others, so the word alone gives them away.",
                    "Say it in other words in most of them.",
                )


def _odd_ones(name: str, pairs: Sequence[ContrastPair]) -> Iterator[Finding]:
    """Pairs whose words belong to the other side, where words tell the sides of the rest apart."""
    counts = {side: _texts_with(pairs, side) for side in ("positive", "negative")}
    odds = [_word_odds(pair, counts) for pair in pairs]
    if len(pairs) < FEWEST_PAIRS or sum(o > 0 for o in odds) < MOST_ONE_SIDED * len(pairs):
        return
    for index, value in enumerate(odds):
        if value < -_SURE:
            yield Finding(
                name,
                index,
                "swapped",
                "warning",
                "Its positive side has the words of the others' negative side.",
                "Check that its sides are not swapped.",
            )


def _word_odds(pair: ContrastPair, counts: dict[str, Counter[str]]) -> float:
    """Log odds, by the words of all other pairs, that the sides are as they are named."""
    positive, negative = set(words_of(pair.positive)), set(words_of(pair.negative))
    total = 0.0
    for word in positive ^ negative:
        for_positive = counts["positive"][word] - (word in positive)
        for_negative = counts["negative"][word] - (word in negative)
        odds = math.log((for_positive + 0.5) / (for_negative + 0.5))
        total += odds if word in positive else -odds
    return total


def _texts_with(pairs: Sequence[ContrastPair], side: str) -> Counter[str]:
    return Counter(word for pair in pairs for word in set(words_of(getattr(pair, side))))


def _tags(name: str, pairs: Sequence[ContrastPair]) -> Iterator[Finding]:
    for index, pair in enumerate(pairs):
        sides = {"prompt": pair.prompt, "positive": pair.positive, "negative": pair.negative}
        for side, text in sides.items():
            for tag in tags_inside(text)[:1]:
                yield Finding(
                    name,
                    index,
                    "tag",
                    "warning",
                    f"“{tag}” in its {side} {'side ' if side != 'prompt' else ''}looks like a tag, "
                    "and the model reads it.",
                    "Take it out, unless it is part of the text.",
                )


def _writers(name: str, pairs: Sequence[ContrastPair]) -> Iterator[Finding]:
    writers = {pair.writer for pair in pairs}
    if len(pairs) >= FEWEST_PAIRS and len(writers) == 1 and "" not in writers:
        yield _about(
            name,
            "writer",
            "hint",
            f"All pairs are by one writer, {pairs[0].writer}.",
            "Judge the direction on texts by others.",
        )


def _about(name: str, rule: str, severity: Severity, message: str, suggestion: str) -> Finding:
    return Finding(name, None, rule, severity, message, suggestion)
