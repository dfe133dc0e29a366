"""What a person said about concepts beside their texts: tags, and what stays out of a training.

It is kept in `tags.json` in the folder of descriptions; other keys of the file stay as they are:

    {"tags": {"anxious": ["fear", "to rewrite"]}, "left_out": ["bored"]}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from readout_ui.errors import UserError, printable
from readout_ui.files import read_bytes, write_file
from readout_ui.texts.reading import decode_text, parse_json
from readout_ui.texts.versions import changing

TAGS_FILE = "tags.json"
MOST_TAGS = 12
"""Tags of one concept."""
LONGEST_TAG = 40
"""Characters of a tag."""
_SHAPE = 'write {"tags": {"anxious": ["fear"]}, "left_out": ["bored"]}'


@dataclass(frozen=True)
class Tags:
    """Tags by concept, and the concepts that the next training leaves out."""

    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of concepts that are there, in the trash or gone: a tag outlives its file."""
    left_out: frozenset[str] = frozenset()
    rest: Mapping[str, Any] = field(default_factory=dict)
    """What else the file holds."""
    problem: str = ""
    """Why the file cannot be used, as a sentence; it is then neither read nor replaced."""

    def of(self, concept: str) -> tuple[str, ...]:
        """A concept's tags, in its own order."""
        return self.tags.get(concept, ())

    def with_tags(self, concept: str, tags: Iterable[str]) -> Tags:
        """With exactly these tags for a concept.

        Raises:
            UserError: one is empty, too long or holds a comma, or there are too many.
        """
        checked = tuple(dict.fromkeys(check_tag(tag) for tag in tags))
        if len(checked) > MOST_TAGS:
            raise UserError(f"a concept has at most {MOST_TAGS} tags", where=printable(concept))
        others = {name: some for name, some in self.tags.items() if name != concept}
        return replace(self, tags={**others, concept: checked} if checked else others)

    def with_members(self, tag: str, concepts: Iterable[str]) -> Tags:
        """With this tag on exactly these concepts; UserError as `with_tags`."""
        tag, members, changed = check_tag(tag), list(dict.fromkeys(concepts)), self
        for name in dict.fromkeys([*self.tags, *members]):
            kept = [each for each in self.of(name) if each != tag]
            changed = changed.with_tags(name, [*kept, tag] if name in members else kept)
        return changed

    def with_tag(self, tag: str, concepts: Iterable[str]) -> Tags:
        """With this tag on these concepts too."""
        return self.with_members(tag, [*concepts, *(n for n in self.tags if tag in self.of(n))])

    def with_ticks(self, concepts: Iterable[str], *, ticked: bool) -> Tags:
        """With these concepts in the next training, or out of it."""
        names = frozenset(concepts)
        return replace(self, left_out=self.left_out - names if ticked else self.left_out | names)

    def renamed(self, old: str, new: str) -> Tags:
        """With what was said about one name said about another."""
        tags = {new if name == old else name: some for name, some in self.tags.items()}
        out = frozenset(new if name == old else name for name in self.left_out)
        return replace(self, tags=tags, left_out=out)

    def as_json(self) -> bytes:
        """The file's bytes: sorted, one concept in a line, to be read and compared by people."""
        write = partial(json.dumps, ensure_ascii=False)
        lines = [f"  {write(name)}: {write(some)}" for name, some in sorted(self.tags.items())]
        said = {**{key: write(value) for key, value in self.rest.items()}, "tags": "{}"}
        if lines:
            said["tags"] = "{{\n{}\n }}".format(",\n".join(lines))
        said["left_out"] = write(sorted(self.left_out))
        body = ",\n".join(f" {write(key)}: {value}" for key, value in said.items())
        return f"{{\n{body}\n}}\n".encode()


def check_tag(typed: str) -> str:
    """A tag as it is kept: one line, without commas and bars, which separate tags.

    Raises:
        UserError: it is empty, too long, or holds one of them.
    """
    tag = " ".join(typed.split())
    if not tag or len(tag) > LONGEST_TAG or set(tag) & set(",|;") or not tag.isprintable():
        raise UserError(
            f"'{printable(typed[:60])}' cannot be a tag",
            fix=f"use a word or two, up to {LONGEST_TAG} characters, without commas and bars",
        )
    return tag


def read_tags(folder: Path) -> Tags:
    """What is said about the concepts of a folder; a file that cannot be used is the `problem`."""
    path = folder / TAGS_FILE
    if not path.exists():
        return Tags()
    try:
        return parse_tags(read_bytes(path), TAGS_FILE)
    except UserError as error:
        return Tags(problem=str(error))


def parse_tags(raw: bytes, file: str) -> Tags:
    """The bytes of such a file.

    Raises:
        UserError: it is not UTF-8, no JSON, or of another shape.
    """
    value = parse_json(decode_text(raw, file), file, _SHAPE)
    if not isinstance(value, dict):
        raise UserError("this is no JSON object", where=file, fix=_SHAPE)
    tags, left_out = value.pop("tags", {}), value.pop("left_out", [])
    if not isinstance(tags, dict) or not all(map(_are_words, [left_out, *tags.values()])):
        raise UserError("tags and concepts are lists of words", where=file, fix=_SHAPE)
    return Tags({name: tuple(some) for name, some in tags.items()}, frozenset(left_out), value)


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def change_tags(folder: Path, change: Callable[[Tags], Tags]) -> Tags:
    """Change what is said; nothing is written where nothing changes.

    Raises:
        UserError: the file there cannot be used, or the system refuses.
    """
    with changing(folder):
        before = read_tags(folder)
        if before.problem:
            raise UserError(before.problem.rstrip("."), fix=f"correct or remove {TAGS_FILE}")
        after = change(before)
        if after != before:
            write_file(folder / TAGS_FILE, after.as_json())
    return after
