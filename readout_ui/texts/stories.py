"""A library of stories: longer texts that show a concept, perhaps several in one setting.

    {folder}/{concept}/*.txt     one story a file; with pairing by name, a file's name is its scene
    or JSON lines: {"concept": "calm", "text": "...", "scene": "kitchen", "writer": "Ann"}; the
    last two may be left out

Concepts whose name starts with an underscore (`_neutral`) hold neutral stories. A zip of such
folders is read as well.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readout_ui.errors import UserError, printable
from readout_ui.files import read_bytes, shown
from readout_ui.texts.lint import (
    Finding,
    limited,
    repeated_texts,
    single_writer,
    tagged_texts,
    telling_words,
    unequal_lengths,
)
from readout_ui.texts.names import SUFFIX, check_name, is_about_folder, is_neutral_name
from readout_ui.texts.reading import (
    decode_text,
    json_lines,
    normalise_description,
    read_text,
    zip_entries,
)

MAX_STORIES_BYTES = 200_000_000
MAX_ZIP_BYTES = 50_000_000


@dataclass(frozen=True)
class Story:
    """One text, without blank lines."""

    concept: str
    """Its concept; neutral with a leading underscore."""
    text: str
    scene: str = ""
    """The setting it shares with stories of other concepts; empty: of its own."""
    writer: str = ""
    """Who wrote it; empty: not known."""


@dataclass(frozen=True)
class StoryLibrary:
    """Stories by concept and scene."""

    name: str
    """File or folder, for messages."""
    stories: tuple[Story, ...]
    names_coincide: bool = False
    """Files of several concepts have the same names, but these were not taken for scenes."""

    def __post_init__(self) -> None:
        concepts = self.concepts()
        if not concepts:
            raise UserError(
                "there are no stories",
                where=self.name,
                fix="it should hold {concept}/*.txt, or lines with concept and text",
            )
        if len(concepts) == 1 and not self.neutral():
            raise UserError(
                "one concept alone has nothing to be told from",
                where=concepts[0],
                fix="add stories of a second concept, or neutral ones in the concept _neutral",
            )

    def concepts(self) -> tuple[str, ...]:
        """Concepts that are not neutral, by name."""
        names = {story.concept for story in self.stories}
        return tuple(sorted(name for name in names if not is_neutral_name(name)))

    def neutral(self) -> tuple[Story, ...]:
        """Stories of no concept."""
        return tuple(story for story in self.stories if is_neutral_name(story.concept))

    def texts(self) -> dict[str, tuple[str, ...]]:
        """Texts by concept, neutral ones included."""
        return {name: tuple(s.text for s in some) for name, some in self._by_concept().items()}

    def scenes(self) -> dict[str, tuple[str, ...]]:
        """The scene of every text of `texts`."""
        return {name: tuple(s.scene for s in some) for name, some in self._by_concept().items()}

    def fingerprints(self) -> dict[str, str]:
        """sha256 of every concept's stories and their scenes."""
        return {
            name: hashlib.sha256(
                json.dumps([(s.scene, s.text) for s in some]).encode("ascii")
            ).hexdigest()
            for name, some in self._by_concept().items()
        }

    def warnings(self) -> tuple[str, ...]:
        """What may make a direction be about something else than its concept, in sentences."""
        return tuple(finding.sentence() for finding in self._findings())

    def _findings(self) -> Iterator[Finding]:
        texts = self.texts()
        told = {name: own for name, own in texts.items() if not is_neutral_name(name)}
        for concept in self.concepts():
            if len(texts[concept]) == 1:
                message = (
                    f"{concept} has a single story, so its direction is about that story's "
                    "setting and words as much as about the concept."
                )
                yield Finding(concept, None, "few", "warning", message, "Write more of them.")
        members: dict[str, set[str]] = defaultdict(set)
        for story in self.stories:
            members[story.scene].add(story.concept)
        for scene in sorted(members.keys() - {""}):
            if len(members[scene]) == 1:
                name = next(iter(members[scene]))
                message = f"The scene {scene} occurs in {name} only, so it cannot cancel."
                fix = "Write it for another concept as well."
                yield Finding("", None, "scene", "warning", message, fix)
        if self.names_coincide:
            message = "Files of several concepts have the same names."
            yield Finding("", None, "scene", "hint", message, "Pair them if these are scenes.")
        yield from limited(tagged_texts(texts), "stories")
        yield from limited(repeated_texts(texts, self.scenes()), "stories")
        yield from limited(unequal_lengths(told), "concepts")
        yield from limited(telling_words(told), "words")
        yield from single_writer([story.writer for story in self.stories])

    def _by_concept(self) -> dict[str, list[Story]]:
        found: dict[str, list[Story]] = defaultdict(list)
        for story in self.stories:
            found[story.concept].append(story)
        return {name: found[name] for name in sorted(found)}


def read_stories(path: Path, pair_by_name: bool = False) -> StoryLibrary:
    """The stories in a folder of `{concept}/*.txt` or in a file of JSON lines.

    Args:
        path: folder or file.
        pair_by_name: in a folder, stories of the same file name share a scene.

    Raises:
        UserError: neither, an unusable name or file, an empty story, or nothing to contrast.
    """
    if not path.is_dir():
        return StoryLibrary(path.name, tuple(_read_lines(path)))
    found = sorted(path.glob("*/*.txt"))
    files = [f for f in found if not f.name.startswith(".") and not is_about_folder(f.stem)]
    texts = {(_checked(file.parent.name), file.stem): read_bytes(file) for file in files}
    return _from_files(path.name, texts, pair_by_name)


def scene_of_rows(concepts: Sequence[str], scenes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The scene of every row of `groups.group_texts`: concepts in order, neutral ones last."""
    neutral = sorted(scenes.keys() - set(concepts))
    return tuple(scene for name in (*concepts, *neutral) for scene in scenes[name])


def read_story_zip(path: Path, pair_by_name: bool = False) -> StoryLibrary:
    """The stories in a zip, whose folders may themselves be in a folder.

    Args:
        path: the zip.
        pair_by_name: stories of the same file name share a scene.

    Raises:
        UserError: no zip, an entry that cannot be trusted, or what `read_stories` refuses.
    """
    file = shown(path)
    texts: dict[tuple[str, str], bytes] = {}
    for entry in zip_entries(read_bytes(path, MAX_ZIP_BYTES), file, SUFFIX):
        if entry.data is None:
            continue
        if isinstance(entry.data, UserError):
            raise entry.data
        where = f"{file} {printable(entry.path.name)}"
        if len(entry.path.parts) < 2:
            fix = "put it into one, as in calm/kitchen.txt"
            raise UserError("the story is in no concept's folder", where=where, fix=fix)
        concept, name = map(_checked, (entry.path.parts[-2], entry.path.name[: -len(SUFFIX)]))
        if (concept, name) in texts:
            where = f"{file} {concept}/{name}{SUFFIX}"
            raise UserError("there are two stories of this name", where=where, fix="rename one")
        texts[concept, name] = entry.data
    return _from_files(file, texts, pair_by_name)


def _from_files(
    name: str, texts: Mapping[tuple[str, str], bytes], pair_by_name: bool
) -> StoryLibrary:
    """Stories by concept and by name of the story."""
    stories = [
        Story(concept, _told(decode_text(raw, where), where), story if pair_by_name else "")
        for (concept, story), raw in sorted(texts.items())
        for where in [f"{concept}/{story}{SUFFIX}"]
    ]
    n_names = len({story for _, story in texts})
    return StoryLibrary(name, tuple(stories), not pair_by_name and len(texts) - n_names > 1)


def _checked(name: str) -> str:
    return check_name(name, neutral=is_neutral_name(name))


def _read_lines(path: Path) -> Iterator[Story]:
    text = read_text(path, MAX_STORIES_BYTES)
    for line in json_lines(text.split("\n"), shown(path)):
        yield story_of(line.value, line.where)


def story_of(value: Any, where: str) -> Story:
    """The story in one record: concept and text, and perhaps scene and writer.

    Raises:
        UserError: no concept, no text, or an empty one.
    """
    match value:
        case {"concept": str(name), "text": str(text), **more}:
            scene, writer = (_word(more.get(key)) for key in ("scene", "writer"))
            told, writer = _told(text, where), writer or _word(more.get("author"))
            return Story(_checked(name), told, scene, writer)
    raise UserError(
        "there is no concept or no text",
        where=where,
        fix='write {"concept": "calm", "text": "...", "scene": "kitchen"}',
    )


def _word(value: object) -> str:
    return "" if value is None else str(value).strip()


def _told(text: str, where: str) -> str:
    told = normalise_description(text)
    if not told:
        raise UserError("the story is empty", where=where, fix="write it or delete it")
    return told
