"""What may make directions from stories or examples be about something else than their concepts.

Sentences, as the command line and the page show them. What has the same form for every concept is
told for the first few and counted for the rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from statistics import mean
from typing import TYPE_CHECKING

from readout_ui.texts.memory import tags_inside
from readout_ui.texts.words import concept_words, near_pairs, words_of

if TYPE_CHECKING:
    from readout_ui.texts.examples import ConceptExamples

SHOWN = 3
"""Sentences of one kind before the rest is counted."""
MOST_COMPARED = 600
"""Texts that are compared with each other; equal ones are found among any number."""
UNEQUAL = 2.0
"""Times as long as the others at which length alone tells a concept."""
FEWEST_FOR_WORDS = 5
TELLING = 0.8
"""Part of a concept's texts that may hold a word which the others hardly have."""
RARE = 0.1
FEWEST_FOR_WRITER = 10
Texts = Mapping[str, Sequence[str]]


def limited(sentences: Iterable[str], noun: str) -> Iterator[str]:
    """The first few, and how many more there are."""
    every = iter(sentences)
    yield from islice(every, SHOWN)
    if more := sum(1 for _ in every):
        yield f"There {'is' if more == 1 else 'are'} {more} more such {noun}."


def tagged_texts(texts: Texts) -> Iterator[str]:
    """Texts that hold what looks like tags, which the model would read."""
    for concept, own in texts.items():
        for number, text in enumerate(own, start=1):
            if found := tags_inside(text):
                yield (
                    f"{concept}, text {number}: “{found[0]}” looks like a tag, and the model reads "
                    "it; take it out."
                )


def repeated_texts(texts: Texts, scenes: Texts | None = None) -> Iterator[str]:
    """Texts that are there twice, in one concept or in two, which then cancel.

    Args:
        texts: by concept.
        scenes: of every text; stories of one scene may be nearly the same, as they should be.
    """
    of_scene = [scene for name in texts for scene in (scenes or {}).get(name, ())]
    places = [(concept, i + 1) for concept, own in texts.items() for i in range(len(own))]
    every = [text for own in texts.values() for text in own]
    first: dict[tuple[str, ...], int] = {}
    near = {}
    if len(every) <= MOST_COMPARED:
        found = {pair.text: pair.other for pair in near_pairs(every)}
        near = {
            a: b for a, b in found.items() if not (of_scene and of_scene[a] == of_scene[b] != "")
        }
    for row, text in enumerate(every):
        other = first.setdefault(words_of(text), row)
        same = other != row
        if same or row in near:
            (one, n), (two, m) = places[row], places[other if same else near[row]]
            what = "is" if same else "is nearly"
            effect = (
                "it counts twice" if one == two else "what they share is in neither's direction"
            )
            yield f"{one}, text {n} {what} text {m} of {two}; {effect}."


def unequal_lengths(texts: Texts) -> Iterator[str]:
    """Concepts whose texts are much longer or shorter than those of all others."""
    words = {concept: [len(words_of(text)) for text in own] for concept, own in texts.items()}
    for concept, own in words.items():
        others = [n for name, some in words.items() if name != concept for n in some]
        if not own or not others or not min(mean(own), mean(others)):
            continue
        ratio = mean(own) / mean(others)
        if max(ratio, 1 / ratio) > UNEQUAL:
            yield (
                f"{concept}: its texts have {mean(own):.0f} words on average, the others "
                f"{mean(others):.0f}; the direction may be about length."
            )


def telling_words(texts: Texts) -> Iterator[str]:
    """Words that nearly all texts of one concept hold and hardly any other, such as a name."""
    held = {concept: _holders(own) for concept, own in texts.items()}
    n_texts = sum(len(own) for own in texts.values())
    everywhere: Counter[str] = sum(held.values(), Counter())
    for concept, own in texts.items():
        n_others = n_texts - len(own)
        if min(len(own), n_others) < FEWEST_FOR_WORDS:
            continue
        forms = concept_words([concept])
        for word, count in held[concept].most_common(20):
            elsewhere = everywhere[word] - count
            tells = count >= TELLING * len(own) and elsewhere <= RARE * n_others
            if tells and not forms.found_in(word):
                yield (
                    f"{concept}: '{word}' stands in {count} of its {len(own)} texts and in "
                    f"{elsewhere} of {n_others} others, so the word alone gives them away."
                )


def single_writer(writers: Sequence[str]) -> Iterator[str]:
    """One sentence where every text is known to be by the same person."""
    known = set(writers)
    if len(writers) >= FEWEST_FOR_WRITER and len(known) == 1 and "" not in known:
        yield (
            f"All texts are by one writer, {writers[0]}, whose habits may be in the directions; "
            "judge them on texts by others."
        )


def example_traps(each: ConceptExamples) -> Iterator[str]:
    """What is wrong between the two sides of one concept's examples."""
    positive, negative = ([e.text for e in side] for side in (each.positive, each.negative))
    both = {words_of(text) for text in positive} & {words_of(text) for text in negative}
    if both:
        n, noun = len(both), "text stands" if len(both) == 1 else "texts stand"
        yield f"{each.concept}: {n} {noun} on both sides and cancel{'s' if n == 1 else ''}."
    yield from _swapped_scores(each)
    if not positive or not negative:
        return
    forms = concept_words([each.concept])
    named = [mean(bool(forms.found_in(text)) for text in side) for side in (positive, negative)]
    if named[1] > named[0] + 0.3:
        yield (
            f"{each.concept}: {named[1]:.0%} of the negatives name it and {named[0]:.0%} of the "
            "positives; check that the sides are not swapped."
        )


def _swapped_scores(each: ConceptExamples) -> Iterator[str]:
    scores = [
        [e.score for e in side if e.score is not None] for side in (each.positive, each.negative)
    ]
    if all(scores) and mean(scores[0]) < mean(scores[1]):
        yield (
            f"{each.concept}: positives score {mean(scores[0]):.1f} on average, negatives "
            f"{mean(scores[1]):.1f}; check that the sides are not swapped."
        )


def lint_of_examples(concepts: Sequence[ConceptExamples]) -> Iterator[str]:
    """Traps of both sides, tags that were left in, and that one memory has one writer."""
    yield from limited((s for each in concepts for s in example_traps(each)), "remarks on sides")
    sides: dict[str, list[str]] = defaultdict(list)
    for each in concepts:
        sides[f"{each.concept} (positive)"] = [e.text for e in each.positive]
        sides[f"{each.concept} (negative)"] = [e.text for e in each.negative]
    yield from limited(tagged_texts(sides), "texts")
    n_nodes = len({e.node for each in concepts for e in each.positive if e.node})
    if n_nodes >= FEWEST_FOR_WRITER:
        yield (
            f"The positives are {n_nodes} nodes of one memory: if one person wrote it, that "
            "person's habits may be in the directions; judge them on texts by others."
        )


def _holders(texts: Sequence[str]) -> Counter[str]:
    return Counter(word for text in texts for word in set(words_of(text)))
