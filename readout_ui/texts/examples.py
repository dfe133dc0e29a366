"""Examples for and against each concept: chosen from scored memory nodes, kept as JSON lines.

    {folder}/{concept}/positive.jsonl, negative.jsonl
        one object per line: concept, polarity ("positive" or "negative"), text; and where they
        are known node (what the source calls it) and score (0-10)
    {folder}/extraction.json
        which concepts count (others are left from an earlier choice) and how they were chosen

Unlike a library of descriptions, each concept has negatives of its own: a text that shows two
concepts is never a negative of either.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from readout_ui.errors import UserError
from readout_ui.files import json_values, write_file
from readout_ui.texts.memory import HIGHEST_SCORE, MemoryNode, concept_of_tag
from readout_ui.texts.names import check_name
from readout_ui.texts.reading import json_lines, parse_json, read_text
from readout_ui.texts.words import concept_words, words_of

Polarity = Literal["positive", "negative"]
POLARITIES: tuple[Polarity, Polarity] = ("positive", "negative")
SETTINGS_FILE = "extraction.json"
MAX_EXAMPLES_BYTES = 200_000_000


@dataclass(frozen=True)
class Example:
    """One text and where it is from."""

    text: str
    node: str = ""
    score: float | None = None


@dataclass(frozen=True)
class ConceptExamples:
    """Texts that show a concept and texts that do not."""

    concept: str
    positive: tuple[Example, ...]
    negative: tuple[Example, ...]

    def of(self, polarity: Polarity) -> tuple[Example, ...]:
        """Those for, or those against."""
        return self.positive if polarity == "positive" else self.negative


def write_examples(
    folder: Path, concepts: Sequence[ConceptExamples], settings: Mapping[str, Any]
) -> None:
    """Write every concept's files, each at once, and then which concepts count.

    Raises:
        UserError: a concept's name is no safe file name, or the system refuses.
    """
    for each in concepts:
        name = check_name(each.concept)
        for polarity in POLARITIES:
            lines = [_as_json(name, polarity, example) for example in each.of(polarity)]
            data = "".join(f"{line}\n" for line in lines).encode("utf-8")
            write_file(folder / name / f"{polarity}.jsonl", data)
    about = {
        "concepts": {
            each.concept: {"positive": len(each.positive), "negative": len(each.negative)}
            for each in concepts
        },
        "settings": json_values(settings),
    }
    text = json.dumps(about, ensure_ascii=False, indent=2)
    write_file(folder / SETTINGS_FILE, f"{text}\n".encode())


def read_examples(folder: Path) -> tuple[ConceptExamples, ...]:
    """The concepts of a folder, by name, whether `write_examples` or another program wrote it.

    Raises:
        UserError: no folder, no concept in it, or a line that is no example; it is named.
    """
    if not folder.is_dir():
        raise UserError("the folder does not exist", where=str(folder), fix="run extract first")
    names = _chosen(folder) or sorted(
        path.name for path in folder.iterdir() if (path / "positive.jsonl").is_file()
    )
    if not names:
        raise UserError(
            "there is no concept with examples",
            where=str(folder),
            fix="it should hold {concept}/positive.jsonl and negative.jsonl",
        )
    return tuple(
        ConceptExamples(name, *(tuple(_read(folder / name, polarity)) for polarity in POLARITIES))
        for name in map(check_name, names)
    )


def _chosen(folder: Path) -> list[str]:
    path = folder / SETTINGS_FILE
    if not path.exists():
        return []
    try:
        return sorted(parse_json(read_text(path), str(path))["concepts"])
    except (UserError, KeyError, TypeError):
        raise UserError(
            "does not say which concepts count", where=str(path), fix="run extract again"
        ) from None


def _as_json(concept: str, polarity: Polarity, example: Example) -> str:
    value: dict[str, Any] = {"concept": concept, "polarity": polarity, "text": example.text}
    if example.node:
        value["node"] = example.node
    if example.score is not None:
        value["score"] = example.score
    return json.dumps(value, ensure_ascii=False)


def _read(folder: Path, polarity: Polarity) -> Iterator[Example]:
    path = folder / f"{polarity}.jsonl"
    lines = read_text(path, MAX_EXAMPLES_BYTES).split("\n")
    for line in json_lines(lines, f"{folder.name}/{path.name}"):
        yield _example(line.value, polarity, line.where)


def _example(value: Any, polarity: Polarity, where: str) -> Example:
    match value:
        case {"text": str(text), **more} if text.strip():
            found = more.get("polarity", polarity)
            if found != polarity:
                raise UserError(f"the polarity is {found!r}, not {polarity!r}", where=where)
            score = more.get("score")
            known = score if isinstance(score, int | float) else None
            return Example(text, str(more.get("node", "")), known)
    raise UserError("there is no text", where=where, fix='write {"text": "..."}')


_Ranked = tuple[float, int, MemoryNode]
"""A node behind its rank: what comes first has the smallest numbers."""


@dataclass(frozen=True)
class ExtractionSettings:
    """What makes a node an example; the defaults are those of `extract_training_pairs.py`."""

    min_positive_score: float = 8
    """A node is for a concept that it scores at least this."""
    max_negative_mentions: int = 0
    """A node is against a concept that it mentions at most this often: by a tag above 0, which
    counts once, or by a form of its name in the text, each time."""
    min_content_chars: int = 40
    """A shorter text, its tags not counted, is no example."""
    max_examples_per_emotion: int = 500
    """Most examples on each side of a concept."""
    seed: int = 0
    """Chooses among equals; the same seed chooses the same ones in every process."""

    def __post_init__(self) -> None:
        if not 0 < self.min_positive_score <= HIGHEST_SCORE:
            raise UserError(
                f"a lowest positive score of {self.min_positive_score:g} is not above 0 and "
                f"up to {HIGHEST_SCORE:g}"
            )
        for name, lowest in (
            ("max_negative_mentions", 0),
            ("min_content_chars", 1),
            ("max_examples_per_emotion", 1),
        ):
            if getattr(self, name) < lowest:
                shown = f"--{name.replace('_', '-')}"
                raise UserError(f"{shown} must be {lowest} or more, not {getattr(self, name)}")


@dataclass(frozen=True)
class ConceptCount:
    """How often a concept occurs among the nodes."""

    concept: str
    n_positive: int
    """Nodes that score it high enough."""
    n_tagged: int
    """Nodes that score it above 0."""
    n_negative: int
    """Nodes that do not mention it."""


@dataclass(frozen=True)
class Extraction:
    """Nodes long enough to be examples, and how often each mentions each concept."""

    nodes: tuple[MemoryNode, ...]
    """In the source's order; of equal texts the first."""
    mentions: tuple[Counter[str], ...]
    """For each node, the concepts it mentions and how often."""
    settings: ExtractionSettings
    n_short: int
    """Nodes that were left out for their length."""
    n_repeated: int
    """Nodes that were left out because an earlier one says the same."""

    def counts(self) -> tuple[ConceptCount, ...]:
        """Every concept that a node scores above 0, those with most positives first."""
        most = self.settings.max_negative_mentions
        scored = [(concept, score) for node in self.nodes for concept, score in node.scores.items()]
        tagged = Counter(concept for concept, score in scored if score > 0)
        lowest = self.settings.min_positive_score
        positive = Counter(concept for concept, score in scored if score >= lowest)
        mentioned = Counter(c for found in self.mentions for c, n in found.items() if n > most)
        n_nodes = len(self.nodes)
        counts = [
            ConceptCount(concept, positive[concept], n_tagged, n_nodes - mentioned[concept])
            for concept, n_tagged in tagged.items()
        ]
        return tuple(sorted(counts, key=lambda c: (-c.n_positive, -c.n_tagged, c.concept)))

    def examples(self, concept: str) -> ConceptExamples:
        """The concept's examples: highest scores first, fewest mentions first, else by hash."""
        own = _number(f"{self.settings.seed}:{concept}")
        positive: list[_Ranked] = []
        negative: list[_Ranked] = []
        for node, found, number in zip(self.nodes, self.mentions, self._numbers, strict=True):
            score, n_mentions = node.scores.get(concept, 0.0), found.get(concept, 0)
            if score >= self.settings.min_positive_score:
                positive.append((-score, own ^ number, node))
            elif n_mentions <= self.settings.max_negative_mentions:
                negative.append((n_mentions, own ^ number, node))
        sides = (self._first(side, concept) for side in (positive, negative))
        return ConceptExamples(concept, *sides)

    @cached_property
    def _numbers(self) -> tuple[int, ...]:
        """An order of the nodes that depends on their texts alone."""
        return tuple(_number(node.text) for node in self.nodes)

    def _first(self, side: Sequence[_Ranked], concept: str) -> tuple[Example, ...]:
        limit = self.settings.max_examples_per_emotion
        first = heapq.nsmallest(limit, side, key=lambda ranked: ranked[:2])
        return tuple(Example(node.text, node.key, node.score(concept)) for _, _, node in first)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


def prepare(nodes: Iterable[MemoryNode], settings: ExtractionSettings) -> Extraction:
    """Leave out what is too short or said before, and count who mentions what.

    Equal texts are one example; it has the highest score that any of them gives a concept.
    """
    by_text: dict[str, MemoryNode] = {}
    n_short = n_repeated = 0
    for node in nodes:
        if len(node.text) < settings.min_content_chars:
            n_short += 1
        elif (first := by_text.get(node.text)) is not None:
            n_repeated += 1
            by_text[node.text] = _merged(first, node)
        else:
            by_text[node.text] = node
    kept = tuple(by_text.values())
    return Extraction(kept, tuple(_mentions(kept)), settings, n_short, n_repeated)


def chosen_concepts(
    extraction: Extraction, named: Sequence[str] = (), top: int | None = None
) -> tuple[str, ...]:
    """The concepts to write: the named ones, or all with an example on both sides.

    Args:
        extraction: the nodes.
        named: only these concepts.
        top: only so many, those with most positive examples.

    Raises:
        UserError: a named one has none on a side, there is no concept at all, or `top` is below 1.
    """
    if top is not None and (top < 1 or named):
        what = f"{top} concepts are too few" if top < 1 else "concepts are named already"
        raise UserError(what, where="--top", fix="use 1 up, or name them with --concepts")
    counts = {count.concept: count for count in extraction.counts()}
    ready = [c.concept for c in counts.values() if c.n_positive and c.n_negative]
    ready = [concept for concept in ready if _is_safe(concept)]
    for name in map(concept_of_tag, named):
        check_name(name)
        if name not in ready:
            side = "against it" if counts.get(name) and counts[name].n_positive else "for it"
            raise UserError(f"no node is an example {side}", where=name, options=ready[:12])
    if not ready:
        raise UserError(
            f"no concept has examples on both sides among {len(extraction.nodes)} nodes",
            fix="lower --min-positive-score or --min-content-chars, or see --list",
        )
    return tuple(dict.fromkeys(map(concept_of_tag, named))) or tuple(ready[:top])


def _is_safe(concept: str) -> bool:
    try:
        return check_name(concept) == concept
    except UserError:
        return False


def _merged(first: MemoryNode, other: MemoryNode) -> MemoryNode:
    names = {**first.scores, **other.scores}
    scores = {name: max(first.score(name), other.score(name)) for name in names}
    return MemoryNode(first.key, first.text, scores, first.problems)


def _mentions(nodes: Sequence[MemoryNode]) -> Iterator[Counter[str]]:
    forms = concept_words(sorted({concept for node in nodes for concept in node.scores}))
    for node in nodes:
        words = words_of(node.text)
        found = Counter(concept for concept, score in node.scores.items() if score > 0)
        for length in forms.lengths:
            for start in range(len(words) - length + 1):
                found.update(forms.names.get(words[start : start + length], ()))
        yield found
