"""Examples of concepts with texts of their own for and against: a folder of JSON lines.

    {folder}/{concept}/positive.jsonl, negative.jsonl
        one object per line: concept, polarity ("positive" or "negative"), text; and where they
        are known node (what the source calls it) and score (0-10)
    {folder}/extraction.json
        which concepts count (others are left from an earlier choice) and how they were chosen

Unlike a library of descriptions, each concept has negatives of its own: a text that shows two
concepts is never a negative of either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from readout_ui.errors import UserError
from readout_ui.files import json_values, write_file
from readout_ui.texts.names import check_name
from readout_ui.texts.reading import json_lines, parse_json, read_text

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
    """The concepts of a folder, by name, whether `write_examples` or somebody else wrote it.

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
