"""A library of stories: longer texts that show a concept, perhaps several in one setting.

    {folder}/{concept}/*.txt     one story a file; with pairing by name, a file's name is its scene
    or JSON lines: {"concept": "calm", "text": "...", "scene": "kitchen", "writer": "Ann"}; the
    last two may be left out

Concepts whose name starts with an underscore (`_neutral`) hold neutral stories.

A zip of stories, `{concept}/*.txt`, read without trusting a byte of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from readout_ui.errors import UserError
from readout_ui.files import read_bytes, shown
from readout_ui.texts.description_text import decode_text, normalise_description
from readout_ui.texts.names import check_name, is_neutral_name, printable
from readout_ui.texts.set_reading import (
    DAMAGE,
    MAX_UNPACKED_BYTES,
    read_entry,
    refuse_many_entries,
)
from readout_ui.texts.source_lint import (
    limited,
    repeated_texts,
    single_writer,
    tagged_texts,
    telling_words,
    unequal_lengths,
)

MAX_STORIES_BYTES = 200_000_000


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
        return tuple(self._warnings())

    def _warnings(self) -> Iterator[str]:
        by_concept = self._by_concept()
        for concept in self.concepts():
            if len(by_concept[concept]) == 1:
                yield (
                    f"{concept} has a single story, so its direction is about that story's "
                    "setting and words as much as about the concept; write more of them."
                )
        members: dict[str, set[str]] = defaultdict(set)
        for story in self.stories:
            members[story.scene].add(story.concept)
        for scene in sorted(members.keys() - {""}):
            if len(members[scene]) == 1:
                yield (
                    f"The scene {scene} occurs in {next(iter(members[scene]))} only, so it cannot "
                    "cancel; write it for another concept as well."
                )
        if self.names_coincide:
            yield "Files of several concepts have the same names; pair them if these are scenes."
        texts = self.texts()
        told = {name: own for name, own in texts.items() if not is_neutral_name(name)}
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
    files = [file for file in sorted(path.glob("*/*.txt")) if not file.name.startswith(".")]
    stories = tuple(_read_story(file, pair_by_name) for file in files)
    names = [file.stem for file in files]
    coincide = not pair_by_name and len(names) - len(set(names)) > 1
    return StoryLibrary(path.name, stories, coincide)


def write_stories(stories: Iterable[Story]) -> str:
    """JSON lines that `read_stories` reads again."""
    values = (
        {"concept": s.concept, "text": s.text, "scene": s.scene}
        | ({"writer": s.writer} if s.writer else {})
        for s in stories
    )
    return "".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values)


def scene_of_rows(concepts: Sequence[str], scenes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The scene of every row of `training.group_texts`: concepts in order, neutral ones last."""
    neutral = sorted(scenes.keys() - set(concepts))
    return tuple(scene for name in (*concepts, *neutral) for scene in scenes[name])


def _read_story(file: Path, pair_by_name: bool) -> Story:
    name = file.parent.name
    where = f"{name}/{shown(file)}"
    concept = check_name(name, neutral=is_neutral_name(name))
    text = decode_text(read_bytes(file), where)
    return Story(concept, _told(text, where), file.stem if pair_by_name else "")


def _read_lines(path: Path) -> Iterator[Story]:
    lines = decode_text(read_bytes(path, MAX_STORIES_BYTES), shown(path)).split("\n")
    for number, line in enumerate(lines, start=1):
        if line.strip("\ufeff \t\r"):
            yield _story(line.strip("\ufeff"), f"{shown(path)} line {number}")


def _story(line: str, where: str) -> Story:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"this is not JSON ({error})", where=where, fix="mend the line") from None
    match value:
        case {"concept": str(name), "text": str(text), **more}:
            concept = check_name(name, neutral=is_neutral_name(name))
            scene, writer = (_word(more.get(key)) for key in ("scene", "writer"))
            return Story(concept, _told(text, where), scene, writer or _word(more.get("author")))
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


MAX_ZIP_BYTES = 50_000_000
SUFFIX = ".txt"


def read_story_zip(path: Path, pair_by_name: bool = False) -> StoryLibrary:
    """The stories in a zip, whose folders may themselves be in a folder.

    Args:
        path: the zip.
        pair_by_name: stories of the same file name share a scene.

    Raises:
        UserError: no zip, an entry that cannot be trusted, or what `read_stories` refuses.
    """
    file = shown(path)
    raw = read_bytes(path, MAX_ZIP_BYTES)
    refuse_many_entries(raw, file)
    with tempfile.TemporaryDirectory(prefix="stories-") as place:
        folder = Path(place)
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                for target, data in _stories(archive, file):
                    _write(folder / target, data, f"{file} {target}")
        except DAMAGE:
            raise UserError("this is not a zip file, or it is damaged", where=file) from None
        return replace(read_stories(folder, pair_by_name), name=file)


def _stories(archive: zipfile.ZipFile, file: str) -> Iterator[tuple[str, bytes]]:
    """`{concept}/{name}.txt` and its bytes, of every story."""
    unpacked = 0
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        hidden = path.name.startswith(".") or "__MACOSX" in path.parts
        nameless = not entry.filename or entry.is_dir()
        if nameless or hidden or not path.name.lower().endswith(SUFFIX):
            continue
        data = read_entry(archive, entry, path)
        unpacked += len(data)
        if unpacked > MAX_UNPACKED_BYTES:
            most = MAX_UNPACKED_BYTES / 1e6
            raise UserError(f"the zip unpacks to more than {most:g} MB", where=file)
        if len(path.parts) < 2:
            raise UserError(
                "the story is in no concept's folder",
                where=f"{file} {printable(path.name)}",
                fix="put it into one, as in calm/kitchen.txt",
            )
        names = [_checked(name) for name in (path.parts[-2], path.name[: -len(SUFFIX)])]
        yield f"{names[0]}/{names[1]}{SUFFIX}", data


def _checked(name: str) -> str:
    return check_name(name, neutral=is_neutral_name(name))


def _write(path: Path, data: bytes, where: str) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        raise UserError("there are two stories of this name", where=where, fix="rename one")
    path.write_bytes(data)
