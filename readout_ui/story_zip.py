"""A zip of stories, `{concept}/*.txt`, read without trusting a byte of it."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from readout_ui.concept_names import check_name, is_neutral_name, printable
from readout_ui.errors import UserError
from readout_ui.files import read_bytes, shown
from readout_ui.set_zip import (
    DAMAGE,
    MAX_UNPACKED_BYTES,
    read_entry,
    refuse_many_entries,
)
from readout_ui.stories import StoryLibrary, read_stories

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
