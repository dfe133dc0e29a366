"""What could be better in the descriptions: findings beside the text, each with what to do.

The rules for good descriptions: what one text or one concept should be like.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from readout_ui.texts.library import Concept, Library
from readout_ui.texts.names import is_neutral_name
from readout_ui.texts.words import (
    ConceptWords,
    concept_words,
    count_sentences,
    is_first_person,
    near_pairs,
    opening,
    words_of,
)

Severity = Literal["error", "warning", "hint"]

FEWEST_DESCRIPTIONS = 3
SENTENCES = (2, 3)
LONGEST_WORDS = 180


@dataclass(frozen=True)
class Finding:
    """One thing to mend in one text, one concept or the whole library."""

    concept: str
    """Name of the concept or neutral file, the file's name if unreadable; empty: the library."""
    index: int | None
    """Which description, from 0; None: the concept as a whole."""
    rule: str
    """Short name of the rule, e.g. `sentences`."""
    severity: Severity
    """error: training fails or is spoilt; warning: the direction suffers; hint: look at it."""
    message: str
    """What is the case, one sentence."""
    suggestion: str
    """What to do about it, one sentence."""


@dataclass(frozen=True)
class PlacedText:
    """One description and where it stands."""

    concept: str
    index: int
    text: str


def rules_for_concept(name: str, descriptions: Sequence[str]) -> Iterator[Finding]:
    """What concerns a concept's descriptions together: how many, their openings and lengths."""
    written = [text for text in descriptions if words_of(text)]
    if not written:
        severity: Severity = "warning" if is_neutral_name(name) else "error"
        yield Finding(
            name, None, "empty", severity, "There are no descriptions.", "Write one or delete it."
        )
    elif len(written) < FEWEST_DESCRIPTIONS and not is_neutral_name(name):
        missing = FEWEST_DESCRIPTIONS - len(written)
        yield Finding(
            name,
            None,
            "few",
            "warning",
            f"With {_number(len(written), 'description')} the direction is noisy.",
            f"Write at least {missing} more; eight are better.",
        )
    if not is_neutral_name(name):
        yield from _shared_opening(name, written)
    yield from _odd_lengths(name, descriptions)


def _shared_opening(name: str, written: Sequence[str]) -> Iterator[Finding]:
    openings = Counter(opening(text) for text in written)
    openings.pop("", None)
    words, count = max(openings.items(), key=lambda item: item[1], default=("", 0))
    if len(written) >= FEWEST_DESCRIPTIONS and 2 * count > len(written):
        yield Finding(
            name,
            None,
            "opening",
            "warning",
            f"{count} of {len(written)} descriptions begin with '{words}', so the direction may"
            " learn the phrase.",
            "Begin most of them in different ways.",
        )


def _odd_lengths(name: str, descriptions: Sequence[str]) -> Iterator[Finding]:
    lengths = [len(words_of(text)) for text in descriptions]
    usual = median(sorted(n for n in lengths if n)) if any(lengths) else 0
    for index, length in enumerate(lengths):
        if length > LONGEST_WORDS:
            yield Finding(
                name,
                index,
                "long",
                "warning",
                f"This has {length} words; the model may not read to the end.",
                "Keep what it is like from inside, in two or three sentences.",
            )
        elif sum(map(bool, lengths)) > 3 and length and not usual / 2 <= length <= usual * 2:
            yield Finding(
                name,
                index,
                "length",
                "hint",
                f"This has {_number(length, 'word')}, the others about {usual:.0f}.",
                "Make it as long as the others, so that length marks nothing.",
            )


def rules_for_text(text: PlacedText, words: ConceptWords) -> Iterator[Finding]:
    """What one text shows by itself: its sentences, its speaker, other concepts' words."""
    if not words_of(text.text):
        return
    if not is_neutral_name(text.concept):
        yield from _sentences(text)
        yield from _speaker(text)
    yield from _other_concepts(text, words)


def _sentences(text: PlacedText) -> Iterator[Finding]:
    count = count_sentences(text.text)
    if not SENTENCES[0] <= count <= SENTENCES[1]:
        yield Finding(
            text.concept,
            text.index,
            "sentences",
            "warning",
            f"This has {_number(count, 'sentence')}.",
            "Write two or three." if count < SENTENCES[0] else "Shorten it to two or three.",
        )


def _speaker(text: PlacedText) -> Iterator[Finding]:
    if not is_first_person(text.text):
        yield Finding(
            text.concept,
            text.index,
            "first-person",
            "warning",
            "Nobody says I, me or my here.",
            "Tell it from inside, in the first person.",
        )


def _other_concepts(text: PlacedText, words: ConceptWords) -> Iterator[Finding]:
    for form, names in words.found_in(text.text).items():
        if text.concept not in names:
            yield Finding(
                text.concept,
                text.index,
                "other-concept",
                "warning",
                f"'{' '.join(form)}' is a word of the concept {' and '.join(names)}.",
                "Say it in other words, or the two directions run together.",
            )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def check_library(library: Library) -> tuple[Finding, ...]:
    """Every finding: files that cannot be used, the library as a whole, then each concept.

    Two texts that are nearly the same are reported once, at the later one.
    """
    concepts = library.files
    words = concept_words(library.names())
    texts = _texts(concepts)
    findings = [
        *(found for c in concepts for found in rules_for_concept(c.name, c.descriptions)),
        *(found for text in texts for found in rules_for_text(text, words)),
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
        *rules_for_concept(name, descriptions),
        *(found for text in own for found in rules_for_text(text, words)),
        *_duplicates([*own, *_texts(others)], len(own)),
    ]
    findings.sort(key=lambda f: -1 if f.index is None else f.index)
    return tuple(findings)


def _about_library(library: Library) -> Iterator[Finding]:
    for problem in library.problems:
        yield Finding(
            problem.file, None, "unusable", "error", problem.message, "Mend or move the file."
        )
    if not library.neutral_texts():
        yield Finding(
            "",
            None,
            "no-neutral",
            "warning",
            "There are no neutral texts, so scores cannot be compared between concepts.",
            "Add plain first-person texts without feeling to _baseline.txt.",
        )


def _duplicates(texts: Sequence[PlacedText], n_checked: int | None) -> Iterator[Finding]:
    for pair in near_pairs([text.text for text in texts], n_checked):
        text, other = texts[pair.text], texts[pair.other]
        within = text.concept == other.concept
        where = f"description {other.index + 1}" + ("" if within else f" of {other.concept}")
        if pair.same:
            severity: Severity = "error"
            message = f"This is the same text as {where}."
        else:
            severity = "warning"
            message = f"This is nearly the same as {where} ({pair.percent:.0f}% of the words)."
        advice = "Delete one of them." if pair.same else "Rewrite or delete one of them."
        yield Finding(text.concept, text.index, "duplicate", severity, message, advice)


def _texts(concepts: Sequence[Concept]) -> list[PlacedText]:
    return [PlacedText(c.name, i, text) for c in concepts for i, text in enumerate(c.descriptions)]
