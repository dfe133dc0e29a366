"""Which concept each label of a text collection stands for: suggested, then settled by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process

from readout_ui.concept_names import printable
from readout_ui.errors import UserError
from readout_ui.word_forms import phrase_forms, words_of

NEUTRAL = "(neutral)"
"""Texts without any concept: false positives are counted on them."""
OTHER = "(something else)"
"""Texts of no trained concept, negatives of all of them."""
IGNORE = "(ignore)"
"""Texts that are left out, unless another of their labels counts."""
SPECIAL = (NEUTRAL, OTHER, IGNORE)
"""Targets that are no concepts."""
LIKENESS = 80
"""rapidfuzz ratio (0..100) from which two spellings are taken for the same word."""
_NEUTRAL_WORDS = frozenset({"neutral", "none", "baseline", "no_emotion", "no emotion"})


@dataclass(frozen=True)
class Suggestion:
    """A concept that a label may stand for."""

    label: str
    target: str
    """A concept, or one of `SPECIAL`."""
    reason: str
    """Why, in a few words, for the person who decides."""


def suggest_mapping(labels: Iterable[str], concepts: Sequence[str]) -> tuple[Suggestion, ...]:
    """One suggestion per label: the same name, a form of the same word, a like spelling, or none.

    Nothing is guessed from meaning: "joy" for "happy" is for a person to say.
    """
    return tuple(_suggest(label, concepts) for label in dict.fromkeys(labels))


def _suggest(label: str, concepts: Sequence[str]) -> Suggestion:
    words = words_of(label.replace("_", " "))
    if not words:
        return Suggestion(label, IGNORE, "no word")
    for concept in concepts:
        if words_of(concept.replace("_", " ")) == words:
            return Suggestion(label, concept, "same name")
    if " ".join(words) in _NEUTRAL_WORDS or label.startswith("_"):
        return Suggestion(label, NEUTRAL, "neutral")
    for concept in concepts:
        if words in phrase_forms(concept) or words_of(concept) in phrase_forms(label):
            return Suggestion(label, concept, "same word")
    found = process.extractOne(" ".join(words), concepts, scorer=fuzz.ratio, score_cutoff=LIKENESS)
    if found is not None:
        return Suggestion(label, found[0], f"spelled alike ({found[1]:.0f} %)")
    return Suggestion(label, IGNORE, "no concept of that name")


def mapping_of(suggestions: Iterable[Suggestion]) -> dict[str, str]:
    """Label -> target, as suggested."""
    return {each.label: each.target for each in suggestions}


def parse_mapping(written: str, labels: Iterable[str], concepts: Sequence[str]) -> dict[str, str]:
    """A mapping as typed on the command line, over the suggestions for all other labels.

    Args:
        written: `label=concept,label=concept`; `label=` leaves the label out.
        labels: every label that occurs.
        concepts: what a label may stand for.

    Raises:
        UserError: a part without `=`, a label that does not occur, or an unknown concept.
    """
    labels = tuple(labels)
    mapping = mapping_of(suggest_mapping(labels, concepts))
    for part in filter(str.strip, written.split(",")):
        label, separator, target = (piece.strip() for piece in part.partition("="))
        if not separator:
            raise UserError(
                f"'{printable(part.strip())}' maps nothing",
                where="--map",
                fix="write label=concept",
            )
        if label not in labels:
            raise UserError(
                f"no text is labelled '{printable(label)}'", where="--map", options=labels[:50]
            )
        mapping[label] = target or IGNORE
    return check_mapping(mapping, concepts)


def check_mapping(mapping: Mapping[str, str], concepts: Sequence[str]) -> dict[str, str]:
    """The mapping, with `neutral`, `other` and `ignore` also accepted without brackets.

    Raises:
        UserError: a target that is neither a concept nor special, or no concept at all.
    """
    bare = {"neutral": NEUTRAL, "other": OTHER, "something else": OTHER, "ignore": IGNORE}
    checked = {}
    for label, typed in mapping.items():
        target = typed.strip()
        if target not in concepts and target not in SPECIAL:
            target = bare.get(target.casefold(), target or IGNORE)
        if target not in concepts and target not in SPECIAL:
            near = [name for name, *_ in process.extract(target, concepts, limit=5)]
            raise UserError(
                f"there is no concept '{printable(target)}'",
                where=f"label '{printable(label)}'",
                fix="choose a trained concept or leave it out",
                options=[*near, *SPECIAL],
            )
        checked[label] = target
    if not set(checked.values()) & set(concepts):
        raise UserError(
            "no label stands for a trained concept",
            fix="map at least one label to a concept",
            options=tuple(concepts[:20]),
        )
    return checked
