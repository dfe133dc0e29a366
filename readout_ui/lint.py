"""What could be better in the descriptions: findings beside the text, each with what to do."""

from collections.abc import Iterator, Sequence

from readout_ui.concept_names import is_neutral_name
from readout_ui.library import Concept, Library
from readout_ui.lint_rules import (
    Finding,
    PlacedText,
    Severity,
    rules_for_concept,
    rules_for_text,
)
from readout_ui.similarity import near_pairs
from readout_ui.word_forms import concept_words

__all__ = ["Finding", "Severity", "check_concept", "check_library"]


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
