"""The rules for contrast pairs and examples: what but the meaning tells their sides apart."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import mean
from typing import TYPE_CHECKING

from readout_ui.errors import UserError
from readout_ui.texts.lint import (
    ABOUT_LENGTH,
    FEWEST_EXAMPLES,
    FEWEST_FOR_OPENING,
    FEWEST_FOR_WRITER,
    FEWEST_PAIRS,
    ONE_SIDED,
    RARE,
    SURE,
    TELLING_SIDE,
    UNEQUAL,
    Finding,
    Severity,
    common_opening,
    holders,
    limited,
    one_writer,
    tag_findings,
    tagged_texts,
)
from readout_ui.texts.pairs import PRESETS, ContrastPair, PairSet
from readout_ui.texts.words import concept_words, near_pairs, words_of

if TYPE_CHECKING:
    from readout_ui.texts.examples import ConceptExamples

_SELF = "i me my mine myself i'm i've i'll"
_OTHER = "he she him her his hers they them their himself herself"
_IRONIC = "oh wonderful brilliant fantastic lovely marvellous delightful just"
_LITERAL = "annoying disappointing terrible unfortunately awful"
CUES = {"self_other": (_SELF, _OTHER), "irony": (_IRONIC, _LITERAL)}
"""Words that speak for the positive and for the negative side of a contrast type."""


def check_pairs(found: PairSet) -> tuple[Finding, ...]:
    """Every finding: about the set, then pair by pair. `Finding.index` is the pair, from 0."""
    rules: tuple[Callable[[PairSet], Iterator[Finding]], ...] = (
        *(_polarity, _few, _equal_sides, _repeated_pairs, _lengths_of_sides, _openings),
        *(_telling_words, _odd_pairs, _tagged_sides, _writer_of_pairs),
    )
    findings = [finding for rule in rules for finding in rule(found)]
    return tuple(sorted(findings, key=lambda f: -1 if f.index is None else f.index))


def refuse_errors(found: PairSet, findings: Sequence[Finding]) -> None:
    """Raise a UserError that names the first pair which would spoil the training."""
    for finding in findings:
        if finding.severity == "error":
            place = "" if finding.index is None else f" pair {finding.index + 1}"
            what, fix = finding.message.rstrip("."), finding.suggestion.rstrip(".")
            raise UserError(what, where=f"{found.source}{place}", fix=fix)


def without_errors(found: PairSet, findings: Sequence[Finding]) -> PairSet:
    """The pairs that no error was found in.

    Raises:
        UserError: none is left.
    """
    wrong = {finding.index for finding in findings if finding.severity == "error"}
    kept = tuple(pair for index, pair in enumerate(found.pairs) if index not in wrong)
    return replace(found, pairs=kept)


def _polarity(found: PairSet) -> Iterator[Finding]:
    name, preset, columns = found.name, PRESETS.get(found.name), found.columns
    if preset is not None and columns.positive == preset.negative:
        message = f"Here {columns.polarity}, so {name} would read high on {columns.positive} text."
        fix = f"Swap the columns, unless that is meant: usually positive = {preset.positive}."
        yield Finding(name, None, "polarity", "warning", message, fix)
    if _cues_disagree(found):
        message = f"The words of the negative side are those expected of {name}."
        yield Finding(name, None, "swapped", "warning", message, f"Check that {columns.polarity}.")


def _cues_disagree(found: PairSet) -> bool:
    """Whether the words expected of one side clearly stand on the other."""
    cues = [set(words.split()) for words in CUES.get(found.name, ("", ""))]

    def agree(text: str) -> int:
        words = set(words_of(text))
        return len(words & cues[0]) - len(words & cues[1])

    differences = [agree(pair.positive) - agree(pair.negative) for pair in found.pairs]
    clear = [difference for difference in differences if difference]
    enough = len(clear) >= max(3, len(found.pairs) / 4)
    return enough and sum(difference < 0 for difference in clear) > ONE_SIDED * len(clear)


def _few(found: PairSet) -> Iterator[Finding]:
    n = len(found.pairs)
    if n < FEWEST_PAIRS:
        noun = "pair" if n == 1 else "pairs"
        message = f"With {n} {noun} the direction is noisy and hardly to be judged."
        fix = f"Write at least {FEWEST_PAIRS - n} more; 40 are better."
        yield Finding(found.name, None, "few", "warning", message, fix)


def _equal_sides(found: PairSet) -> Iterator[Finding]:
    for index, pair in enumerate(found.pairs):
        if words_of(pair.positive) == words_of(pair.negative):
            message = "Both sides are the same text."
            fix = "Write the side that is missing, or delete the pair."
            yield Finding(found.name, index, "equal", "error", message, fix)


def _repeated_pairs(found: PairSet) -> Iterator[Finding]:
    def duplicate(index: int, severity: Severity, message: str) -> Finding:
        fix = "Rewrite or delete one of them."
        return Finding(found.name, index, "duplicate", severity, message, fix)

    sides: dict[tuple[tuple[str, ...], ...], int] = {}
    exact: set[int] = set()
    for index, pair in enumerate(found.pairs):
        prompt, positive, negative = map(words_of, (pair.prompt, pair.positive, pair.negative))
        same, other = (prompt, positive, negative), (prompt, negative, positive)
        if same in sides:
            exact.add(index)
            yield duplicate(index, "error", f"This is pair {sides[same] + 1} again.")
        elif other in sides and positive != negative:
            exact.add(index)
            swapped = f"This is pair {sides[other] + 1} with its sides swapped."
            yield duplicate(index, "error", swapped)
        sides.setdefault(same, index)
    joined = [f"{pair.prompt} {pair.positive} {pair.negative}" for pair in found.pairs]
    for near in near_pairs(joined):
        if near.text not in exact:
            message = f"This is nearly pair {near.other + 1} ({near.percent:.0f}% of the words)."
            yield duplicate(near.text, "warning", message)


def _lengths_of_sides(found: PairSet) -> Iterator[Finding]:
    lengths = [(len(words_of(pair.positive)), len(words_of(pair.negative))) for pair in found.pairs]
    unequal = [positive - negative for positive, negative in lengths if positive != negative]
    longer = sum(difference > 0 for difference in unequal)
    share = max(longer, len(unequal) - longer) / len(lengths)
    if len(lengths) < FEWEST_FOR_OPENING or share < ONE_SIDED:
        return
    sides = ("positive", "negative") if longer * 2 > len(unequal) else ("negative", "positive")
    message = (
        f"The {sides[0]} side is the longer one in {share:.0%} of the pairs,"
        " so length alone gives it away."
    )
    fix = "Write sides of the same length, or let either be longer."
    yield Finding(found.name, None, "length", "warning", message, fix)
    message = f"Here the {sides[1]} side is the longer one, unlike in the others."
    for index, (positive, negative) in enumerate(lengths):
        if (negative if sides[0] == "positive" else positive) > 1.2 * min(positive, negative):
            fix = "Check that its sides are not swapped."
            yield Finding(found.name, index, "swapped", "hint", message, fix)


def _openings(found: PairSet) -> Iterator[Finding]:
    n = len(found.pairs)
    for side in ("positive", "negative"):
        words, count = common_opening(getattr(pair, side) for pair in found.pairs)
        if n >= FEWEST_FOR_OPENING and 2 * count > n:
            message = f"{count} of {n} {side} sides begin with '{words}'."
            fix = "Begin most of them in different ways."
            yield Finding(found.name, None, "opening", "warning", message, fix)


def _telling_words(found: PairSet) -> Iterator[Finding]:
    n = len(found.pairs)
    if n < FEWEST_PAIRS:
        return
    held = _held_by_side(found.pairs)
    for side, other in (("positive", "negative"), ("negative", "positive")):
        for word, count in held[side].most_common(5):
            if count >= TELLING_SIDE * n and held[other][word] <= RARE * n:
                message = (
                    f"'{word}' stands in {count} of {n} {side} sides"
                    f" and in {held[other][word]} others, so the word alone gives them away."
                )
                fix = "Say it in other words in most of them."
                yield Finding(found.name, None, "word", "warning", message, fix)


def _odd_pairs(found: PairSet) -> Iterator[Finding]:
    """Pairs whose words belong to the other side, where words tell the sides of the rest apart."""
    held, n = _held_by_side(found.pairs), len(found.pairs)
    odds = [_word_odds(pair, held) for pair in found.pairs]
    if n < FEWEST_PAIRS or sum(o > 0 for o in odds) < ONE_SIDED * n:
        return
    message = "Its positive side has the words of the others' negative side."
    for index, value in enumerate(odds):
        if value < -SURE:
            fix = "Check that its sides are not swapped."
            yield Finding(found.name, index, "swapped", "warning", message, fix)


def _word_odds(pair: ContrastPair, held: Mapping[str, Counter[str]]) -> float:
    """Log odds, by the words of all other pairs, that the sides are as they are named."""
    positive, negative = set(words_of(pair.positive)), set(words_of(pair.negative))
    total = 0.0
    for word in positive ^ negative:
        for_positive = held["positive"][word] - (word in positive)
        for_negative = held["negative"][word] - (word in negative)
        odds = math.log((for_positive + 0.5) / (for_negative + 0.5))
        total += odds if word in positive else -odds
    return total


def _held_by_side(pairs: Sequence[ContrastPair]) -> dict[str, Counter[str]]:
    return {
        "positive": holders(pair.positive for pair in pairs),
        "negative": holders(pair.negative for pair in pairs),
    }


def _tagged_sides(found: PairSet) -> Iterator[Finding]:
    for side in ("prompt", "positive", "negative"):
        place = f"in its {side} {'' if side == 'prompt' else 'side '}"
        texts = [getattr(pair, side) for pair in found.pairs]
        for tagged in tag_findings(found.name, texts, place):
            yield replace(tagged, suggestion="Take it out, unless it is part of the text.")


def _writer_of_pairs(found: PairSet) -> Iterator[Finding]:
    if writer := one_writer([pair.writer for pair in found.pairs]):
        message = f"All pairs are by one writer, {writer}."
        fix = "Judge the direction on texts by others."
        yield Finding(found.name, None, "writer", "hint", message, fix)


def lint_examples(concepts: Sequence[ConceptExamples]) -> Iterator[str]:
    """What may make the directions say something else than the concepts, in sentences."""
    for finding in check_examples(concepts):
        yield finding.sentence()


def check_examples(concepts: Sequence[ConceptExamples]) -> Iterator[Finding]:
    """Every finding: sides concept by concept, tags, the writer, positives that are shared."""
    yield from (finding for each in concepts for finding in _sizes(each))
    yield from limited((f for each in concepts for f in _sides(each)), "remarks on sides")
    sides = {
        f"{each.concept} ({polarity})": [e.text for e in some]
        for each in concepts
        for polarity, some in (("positive", each.positive), ("negative", each.negative))
    }
    yield from limited(tagged_texts(sides), "texts")
    n_nodes = len({e.node for each in concepts for e in each.positive if e.node})
    if n_nodes >= FEWEST_FOR_WRITER:
        message = (
            f"The positives are {n_nodes} nodes of one memory: if one person wrote it, that "
            "person's habits may be in the directions."
        )
        yield Finding("", None, "writer", "hint", message, "Judge them on texts by others.")
    yield from _shared_positives(concepts)


def _sizes(each: ConceptExamples) -> Iterator[Finding]:
    n_positive, n_negative = len(each.positive), len(each.negative)
    if min(n_positive, n_negative) < FEWEST_EXAMPLES:
        message = f"{each.concept} has {n_positive} positive and {n_negative} negative examples."
        effect = (
            f"With fewer than {FEWEST_EXAMPLES} the direction is about these texts more than the"
            " concept."
        )
        yield Finding(each.concept, None, "few", "warning", message, effect)
    lengths = [
        sum(len(example.text) for example in side) / max(1, len(side))
        for side in (each.positive, each.negative)
    ]
    if min(lengths) and max(lengths) > UNEQUAL * min(lengths):
        message = (
            f"positives have {lengths[0]:.0f} characters on average, negatives {lengths[1]:.0f}."
        )
        yield Finding(each.concept, None, "length", "warning", message, ABOUT_LENGTH)


def _sides(each: ConceptExamples) -> Iterator[Finding]:
    """What is wrong between the two sides of one concept's examples."""
    positive, negative = ([e.text for e in side] for side in (each.positive, each.negative))
    n = len(set(map(words_of, positive)) & set(map(words_of, negative)))
    if n:
        message = "1 text stands on both sides and cancels."
        message = message if n == 1 else f"{n} texts stand on both sides and cancel."
        yield Finding(each.concept, None, "duplicate", "warning", message)
    sides = (each.positive, each.negative)
    scores = [[e.score for e in side if e.score is not None] for side in sides]
    if all(scores) and mean(scores[0]) < mean(scores[1]):
        message = (
            f"positives score {mean(scores[0]):.1f} on average, negatives {mean(scores[1]):.1f}."
        )
        yield Finding(each.concept, None, "swapped", "warning", message, _CHECK_SIDES)
    if not positive or not negative:
        return
    forms = concept_words([each.concept])
    named = [mean(bool(forms.found_in(text)) for text in side) for side in (positive, negative)]
    if named[1] > named[0] + 0.3:
        message = f"{named[1]:.0%} of the negatives name it and {named[0]:.0%} of the positives."
        yield Finding(each.concept, None, "swapped", "warning", message, _CHECK_SIDES)


_CHECK_SIDES = "Check that the sides are not swapped."


def _shared_positives(concepts: Sequence[ConceptExamples]) -> Iterator[Finding]:
    texts = {each.concept: {example.text for example in each.positive} for each in concepts}
    holding: dict[str, list[str]] = defaultdict(list)
    for concept, own in texts.items():
        for text in own:
            holding[text].append(concept)
    shared = Counter(pair for names in holding.values() for pair in combinations(names, 2))
    for (one, two), both in shared.items():
        fewer = min(len(texts[one]), len(texts[two]))
        if both >= 2 and both > fewer / 2:
            message = f"{one} and {two} share {both} of {fewer} positives."
            yield Finding(
                one, None, "shared", "warning", message, "Their directions will be close."
            )
