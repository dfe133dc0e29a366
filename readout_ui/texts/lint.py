"""What could be better in texts: one kind of finding, every threshold, and the rules.

The rules for texts by concept serve stories and examples; those for descriptions come last. What
concerns pairs and the sides of examples is in `lint_sources`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import mean, median
from typing import Literal

from readout_ui.texts.library import Concept, Library, Texts
from readout_ui.texts.memory import tags_inside
from readout_ui.texts.names import is_neutral_name
from readout_ui.texts.words import (
    ConceptWords,
    concept_words,
    count_sentences,
    counted,
    is_first_person,
    near_pairs,
    opening,
    words_of,
)

Severity = Literal["error", "warning", "hint"]

FEWEST_DESCRIPTIONS = 3
FEWEST_EXAMPLES = 5
"""On a side: a direction from fewer says more about these texts than about the concept."""
FEWEST_PAIRS = 10
FEWEST_FOR_WORDS = 5
"""Texts on either side from which a word can tell them apart."""
FEWEST_FOR_OPENING = 5
"""Pairs in which one opening may be called common."""
FEWEST_FOR_WRITER = 10
SENTENCES = (2, 3)
"""Fewest and most sentences of a description."""
LONGEST_WORDS = 180
"""Words of a description."""
UNEQUAL = 2.0
"""Times as long as the others at which length alone tells a concept."""
ONE_SIDED = 0.8
"""Part of the pairs in which the same side may be the longer one."""
TELLING_SIDE = 0.6
"""Part of one side's texts that may hold a word which the other side hardly has."""
TELLING_CONCEPT = 0.8
"""The same for the texts of one concept among those of several."""
RARE = 0.1
"""Part of the other texts that may hold such a word."""
SURE = 5.0
"""Log odds of its words at which a pair that goes the other way is named."""
MOST_COMPARED = 600
"""Texts that are compared with each other; equal ones are found among any number."""
SHOWN = 3
"""Findings of one kind before the rest is counted."""
ABOUT_LENGTH = "The direction may be about length."


@dataclass(frozen=True)
class Finding:
    """One thing to improve in one text, one concept or all of them."""

    concept: str
    """Concept, neutral file or contrast; the file's name if unreadable; empty: all of them."""
    index: int | None
    """Which description, pair or text, from 0; None: the concept as a whole."""
    rule: str
    """Short name of the rule, e.g. `sentences`."""
    severity: Severity
    """error: training fails or is spoilt; warning: the direction suffers; hint: look at it."""
    message: str
    """What is the case, one sentence."""
    suggestion: str = ""
    """What to do about it, one sentence."""

    def sentence(self) -> str:
        """Place, message and suggestion as one sentence."""
        place = "" if self.index is None else f", text {self.index + 1}"
        named = not self.concept or self.message.startswith(
            (f"{self.concept} ", f"{self.concept}, ")
        )
        text = self.message if named else f"{self.concept}{place}: {self.message}"
        if not self.suggestion:
            return text
        return f"{text.rstrip('.')}; {self.suggestion[0].lower()}{self.suggestion[1:]}"


def common_opening(texts: Iterable[str]) -> tuple[str, int]:
    """The words that most texts begin with, and how many do; empty and 0 where all differ."""
    openings = Counter(map(opening, texts))
    openings.pop("", None)
    return max(openings.items(), key=lambda item: item[1], default=("", 0))


def tag_findings(concept: str, texts: Iterable[str], place: str = "") -> Iterator[Finding]:
    """Texts that hold what looks like tags, which the model would read.

    Args:
        concept: whose texts.
        texts: one after the other.
        place: where in each the tag stands, as the message says it, with a space at its end.
    """
    for index, text in enumerate(texts):
        for tag in tags_inside(text)[:1]:
            message = f"“{tag}” {place}looks like a tag, and the model reads it."
            yield Finding(concept, index, "tag", "warning", message, "Take it out.")


def one_writer(writers: Sequence[str]) -> str:
    """The person who wrote every one of many texts; empty where that is not known."""
    known = set(writers)
    return writers[0] if len(writers) >= FEWEST_FOR_WRITER and len(known) == 1 else ""


def holders(texts: Iterable[str]) -> Counter[str]:
    """In how many of the texts each word stands."""
    return Counter(word for text in texts for word in set(words_of(text)))


def limited(findings: Iterable[Finding], noun: str) -> Iterator[Finding]:
    """The first few, and how many more there are."""
    every = iter(findings)
    yield from islice(every, SHOWN)
    if more := sum(1 for _ in every):
        message = f"There {'is' if more == 1 else 'are'} {more} more such {noun}."
        yield Finding("", None, "more", "hint", message)


def tagged_texts(texts: Texts) -> Iterator[Finding]:
    """Texts that hold what looks like tags."""
    for concept, own in texts.items():
        yield from tag_findings(concept, own)


def repeated_texts(texts: Texts, scenes: Texts) -> Iterator[Finding]:
    """Texts that are there twice, in one concept or in two, which then cancel.

    Args:
        texts: by concept.
        scenes: of every text; stories of one scene may be nearly the same, as they should be.
    """
    of_scene = [scene for name in texts for scene in scenes[name]]
    places = [(concept, i) for concept, own in texts.items() for i in range(len(own))]
    every = [text for own in texts.values() for text in own]
    pairs = near_pairs(every) if len(every) <= MOST_COMPARED else []
    near = {p.text: p.other for p in pairs if not of_scene[p.text] == of_scene[p.other] != ""}
    first: dict[tuple[str, ...], int] = {}
    for row, text in enumerate(every):
        other = first.setdefault(words_of(text), row)
        what = "is" if other != row else "is nearly"
        if other == row and row not in near:
            continue
        (one, i), (two, k) = places[row], places[other if other != row else near[row]]
        message = f"{one}, text {i + 1} {what} text {k + 1} of {two}."
        effect = "It counts twice." if one == two else "What they share is in neither's direction."
        yield Finding(one, i, "duplicate", "warning", message, effect)


def unequal_lengths(texts: Texts) -> Iterator[Finding]:
    """Concepts whose texts are much longer or shorter than those of all others."""
    words = {concept: [len(words_of(text)) for text in own] for concept, own in texts.items()}
    n_words, n_texts = sum(map(sum, words.values())), sum(map(len, words.values()))
    for concept, own in words.items():
        n_others = n_texts - len(own)
        if not own or not n_others or not sum(own) or n_words == sum(own):
            continue
        usual = (n_words - sum(own)) / n_others
        ratio = mean(own) / usual
        if max(ratio, 1 / ratio) > UNEQUAL:
            message = f"its texts have {mean(own):.0f} words on average, the others {usual:.0f}."
            yield Finding(concept, None, "length", "warning", message, ABOUT_LENGTH)


def telling_words(texts: Texts) -> Iterator[Finding]:
    """Words that nearly all texts of one concept hold and hardly any other, such as a name."""
    held = {concept: holders(own) for concept, own in texts.items()}
    n_texts = sum(len(own) for own in texts.values())
    everywhere: Counter[str] = Counter()
    for words in held.values():
        everywhere.update(words)
    for concept, own in texts.items():
        n_others = n_texts - len(own)
        if min(len(own), n_others) < FEWEST_FOR_WORDS:
            continue
        forms = concept_words([concept])
        for word, count in held[concept].most_common(20):
            elsewhere = everywhere[word] - count
            tells = count >= TELLING_CONCEPT * len(own) and elsewhere <= RARE * n_others
            if tells and not forms.found_in(word):
                message = (
                    f"'{word}' stands in {count} of its {len(own)} texts and in {elsewhere} of "
                    f"{n_others} others, so the word alone gives them away."
                )
                yield Finding(concept, None, "word", "warning", message)


def single_writer(writers: Sequence[str]) -> Iterator[Finding]:
    """One finding where every text is known to be by the same person."""
    if writer := one_writer(writers):
        message = f"All texts are by one writer, {writer}, whose habits may be in the directions."
        yield Finding("", None, "writer", "hint", message, "Judge them on texts by others.")


def check_library(library: Library) -> tuple[Finding, ...]:
    """Every finding: files that cannot be used, the library as a whole, then each concept.

    Two texts that are nearly the same are reported once, at the later one.
    """
    concepts = library.files
    words = concept_words(library.names())
    texts = _texts(concepts)
    findings = [
        *(found for c in concepts for found in _about_concept(c.name, c.descriptions)),
        *(found for text in texts for found in _about_text(text, words)),
        *_duplicates(texts, None),
    ]
    order = {concept.name: place for place, concept in enumerate(concepts)}
    findings.sort(key=lambda f: (order[f.concept], -1 if f.index is None else f.index))
    return (*_about_library(library), *findings)


def check_concept(library: Library, name: str, descriptions: Sequence[str]) -> tuple[Finding, ...]:
    """Findings for texts as they stand in the editor, saved or not.

    Args:
        library: what is on disk; its own version of this concept is not looked at.
        name: the concept being edited.
        descriptions: one per box; a blank one is passed over but counts in `index`.
    """
    own_name = () if is_neutral_name(name) else (name,)
    words = concept_words(sorted({*library.names(), *own_name}))
    own = [PlacedText(name, i, text) for i, text in enumerate(descriptions)]
    others = [c for c in library.files if c.name != name]
    findings = [
        *_about_concept(name, descriptions),
        *(found for text in own for found in _about_text(text, words)),
        *_duplicates([*own, *_texts(others)], len(own)),
    ]
    findings.sort(key=lambda f: -1 if f.index is None else f.index)
    return tuple(findings)


@dataclass(frozen=True)
class PlacedText:
    """One description and where it stands."""

    concept: str
    index: int
    text: str

    def warning(self, rule: str, message: str, suggestion: str) -> Finding:
        """A finding about this text."""
        return Finding(self.concept, self.index, rule, "warning", message, suggestion)


def _texts(concepts: Sequence[Concept]) -> list[PlacedText]:
    return [PlacedText(c.name, i, text) for c in concepts for i, text in enumerate(c.descriptions)]


def _about_library(library: Library) -> Iterator[Finding]:
    for problem in library.problems:
        fix = "Correct or move the file."
        yield Finding(problem.file, None, "unusable", "error", problem.message, fix)
    if not library.neutral_texts():
        message = "There are no neutral texts, so scores cannot be compared between concepts."
        fix = "Add plain first-person texts without feeling to _baseline.txt."
        yield Finding("", None, "no-neutral", "warning", message, fix)


def _about_concept(name: str, descriptions: Sequence[str]) -> Iterator[Finding]:
    """What concerns a concept's descriptions together: how many, their openings and lengths."""
    written = [text for text in descriptions if words_of(text)]
    n, neutral = len(written), is_neutral_name(name)
    if not written:
        severity: Severity = "warning" if neutral else "error"
        message = "There are no descriptions."
        yield Finding(name, None, "empty", severity, message, "Write one or delete it.")
    elif n < FEWEST_DESCRIPTIONS and not neutral:
        message = f"With {counted(n, 'description')} the direction is noisy."
        fix = f"Write at least {FEWEST_DESCRIPTIONS - n} more; eight are better."
        yield Finding(name, None, "few", "warning", message, fix)
    words, count = common_opening(written)
    if not neutral and n >= FEWEST_DESCRIPTIONS and 2 * count > n:
        message = (
            f"{count} of {n} descriptions begin with '{words}', so the direction may learn the"
            " phrase."
        )
        fix = "Begin most of them in different ways."
        yield Finding(name, None, "opening", "warning", message, fix)
    yield from _odd_lengths(name, descriptions)


def _odd_lengths(name: str, descriptions: Sequence[str]) -> Iterator[Finding]:
    lengths = [len(words_of(text)) for text in descriptions]
    usual = median(sorted(n for n in lengths if n)) if any(lengths) else 0
    for index, length in enumerate(lengths):
        if length > LONGEST_WORDS:
            message = f"This has {length} words; the model may not read to the end."
            fix = "Keep what it is like from inside, in two or three sentences."
            yield Finding(name, index, "long", "warning", message, fix)
        elif sum(map(bool, lengths)) > 3 and length and not usual / 2 <= length <= usual * 2:
            message = f"This has {counted(length, 'word')}, the others about {usual:.0f}."
            fix = "Make it as long as the others, so that length marks nothing."
            yield Finding(name, index, "length", "hint", message, fix)


def _about_text(text: PlacedText, words: ConceptWords) -> Iterator[Finding]:
    """What one text shows by itself: its sentences, its speaker, other concepts' words."""
    if not words_of(text.text):
        return
    if not is_neutral_name(text.concept):
        n, (fewest, most) = count_sentences(text.text), SENTENCES
        if not fewest <= n <= most:
            fix = "Write two or three." if n < fewest else "Shorten it to two or three."
            yield text.warning("sentences", f"This has {counted(n, 'sentence')}.", fix)
        if not is_first_person(text.text):
            fix = "Tell it from inside, in the first person."
            yield text.warning("first-person", "Nobody says I, me or my here.", fix)
    for form, names in words.found_in(text.text).items():
        if text.concept not in names:
            message = f"'{' '.join(form)}' is a word of the concept {' and '.join(names)}."
            fix = "Say it in other words, or the two directions run together."
            yield text.warning("other-concept", message, fix)


def _duplicates(texts: Sequence[PlacedText], n_checked: int | None) -> Iterator[Finding]:
    for pair in near_pairs([text.text for text in texts], n_checked):
        text, other = texts[pair.text], texts[pair.other]
        within = text.concept == other.concept
        where = f"description {other.index + 1}" + ("" if within else f" of {other.concept}")
        severity: Severity = "error" if pair.same else "warning"
        message = f"This is nearly the same as {where} ({pair.percent:.0f}% of the words)."
        message = f"This is the same text as {where}." if pair.same else message
        advice = "Delete one of them." if pair.same else "Rewrite or delete one of them."
        yield Finding(text.concept, text.index, "duplicate", severity, message, advice)
