"""Memory nodes: what a node says, and the scores in the line of tags at its end."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HIGHEST_SCORE = 10.0

_SPACED_COLON = re.compile(r"[ \t]*:[ \t]*")
_BETWEEN = re.compile(r"\s*;\s*|\s*,(?!\d)\s*|\s+")
_TAG = re.compile(r"([^\W\d_][\w'’-]*):(.*)")
_NUMBER = re.compile(r"([+-]?\d{1,6}(?:[.,]\d{1,6})?)(?:/10)?")
_INSIDE = re.compile(r"(?<![\w/])[^\W\d_][\w'’-]*[ \t]?:[ \t]?\d{1,2}(?:[.,]\d)?(?![\w:./])")


@dataclass(frozen=True)
class MemoryNode:
    """One node of a memory graph, its tags apart from its text."""

    key: str
    """What its source calls it."""
    text: str
    """What it says; the trailing lines of tags are not part of it."""
    scores: Mapping[str, float]
    """Score from 0 to 10 by concept."""
    problems: tuple[str, ...] = ()
    """What could not be read or looks wrong, one sentence each."""

    def score(self, concept: str) -> float:
        """The concept's score, 0 where the node does not name it."""
        return self.scores.get(concept, 0.0)


def parse_node(key: str, content: str) -> MemoryNode:
    """A node from what its source stores.

    The last lines that hold nothing but tags (`warmth:9 clarity:10`) are taken off, with blank
    lines between them; a concept that several of them name has its last score. Names are NFC and
    lower case. A tag whose value is no number from 0 to 10 gives no score and is reported, as is
    what looks like a tag inside the text, where it is left.

    Args:
        key: what the source calls the node.
        content: its text with any line ends.
    """
    lines = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tags: list[list[tuple[str, str]]] = []
    while lines and (found := _tags_of(lines[-1])) is not None:
        tags.insert(0, found)
        lines.pop()
    text = "\n".join(line.rstrip() for line in lines).strip()
    scores, problems = _scores(tag for line in tags for tag in line)
    return MemoryNode(key, text, scores, (*problems, *_inside(text)))


def concept_of_tag(name: str) -> str:
    """The concept that a tag's name stands for: NFC, lower case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())


def _tags_of(line: str) -> list[tuple[str, str]] | None:
    """(name, value) of every tag, [] for a blank line; None for a line that is text."""
    parts = [part for part in _BETWEEN.split(_SPACED_COLON.sub(":", line.strip())) if part]
    found = [match.groups() for part in parts if (match := _TAG.fullmatch(part))]
    if len(found) < len(parts) or (line.strip() and not parts):
        return None
    if parts and not any(_NUMBER.fullmatch(value) for _, value in found):
        return None
    return [(concept_of_tag(name), value) for name, value in found]


def _scores(tags: Iterator[tuple[str, str]]) -> tuple[dict[str, float], list[str]]:
    scores: dict[str, float] = {}
    problems = []
    for name, value in tags:
        number = _NUMBER.fullmatch(value)
        score = float(number[1].replace(",", ".")) if number else None
        if score is None:
            problems.append(f"The tag {name}:{value} has no number, so it was left out.")
        elif not 0 <= score <= HIGHEST_SCORE:
            problems.append(f"The tag {name}:{value} is not from 0 to 10, so it was left out.")
        else:
            if scores.get(name, score) != score:
                problems.append(f"The tag {name} is given twice; the last, {value}, counts.")
            scores[name] = score
    return scores, problems


def tags_inside(text: str) -> list[str]:
    """What looks like tags within a text."""
    return [match[0] for match in _INSIDE.finditer(text)]


def _inside(text: str) -> Iterator[str]:
    for tag in tags_inside(text):
        yield f"“{tag}” looks like a tag but stands inside the text, so the model reads it."
