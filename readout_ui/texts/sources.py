"""Texts to train on besides descriptions: pairs, stories and examples, from files or from Python.

`pairs`, `stories` and `examples` each give a `Source`, which holds the texts and the neutral texts
that are the zero of scores; `train` takes it as it takes a `Library`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from readout_ui.errors import UserError
from readout_ui.files import read_bytes, shown
from readout_ui.texts.examples import ConceptExamples, Example, read_examples
from readout_ui.texts.labelled import read_shipped
from readout_ui.texts.library import concept_files, read_concept
from readout_ui.texts.lint_sources import check_pairs, lint_examples
from readout_ui.texts.names import check_name, holds_neutral_texts
from readout_ui.texts.pairs import (
    PRESETS,
    PairColumns,
    PairSet,
    pairs_of,
    read_pairs,
    shipped_pairs,
)
from readout_ui.texts.stories import StoryLibrary, read_stories, read_story_zip, story_of
from readout_ui.texts.table_files import read_table, table_of_records
from readout_ui.texts.tables import MAX_BYTES, TextTable
from readout_ui.texts.words import counted

if TYPE_CHECKING:
    import pandas as pd

Texts = Mapping[str, tuple[str, ...]]
"""Texts by name."""
GIVEN = "texts from Python"
"""What messages call texts that come from no file."""


@dataclass(frozen=True)
class Source:
    """Texts to train on. Made by `pairs`, `stories` or `examples`; `train` takes it."""

    content: PairSet | StoryLibrary | tuple[ConceptExamples, ...]
    neutral: Texts = field(default_factory=dict)
    """Texts without any of the concepts, by a name that begins with an underscore."""

    @property
    def concepts(self) -> tuple[str, ...]:
        """What the directions will be called."""
        if isinstance(self.content, PairSet):
            return (self.content.name,)
        if isinstance(self.content, StoryLibrary):
            return self.content.concepts()
        return tuple(each.concept for each in self.content)

    def warnings(self) -> tuple[str, ...]:
        """What may make a direction be about something else than its concept, in sentences."""
        if isinstance(self.content, PairSet):
            return tuple(finding.sentence() for finding in check_pairs(self.content))
        if isinstance(self.content, StoryLibrary):
            return self.content.warnings()
        return tuple(lint_examples(self.content))

    def __repr__(self) -> str:
        if isinstance(self.content, PairSet):
            what = f"{counted(len(self.content.pairs), 'pair')}, {self.content.columns.polarity}"
        elif isinstance(self.content, StoryLibrary):
            what = counted(len(self.content.stories), "story", "stories")
        else:
            n = sum(len(each.positive) + len(each.negative) for each in self.content)
            what = counted(n, "example")
        neutral = counted(sum(map(len, self.neutral.values())), "neutral text")
        return f"Source({', '.join(self.concepts)}: {what}, {neutral})"


def pairs(
    data: str | Path | Iterable[Sequence[str] | Mapping[str, Any]] | pd.DataFrame,
    *,
    positive: str = "",
    negative: str = "",
    prompt: str = "",
    name: str = "",
    neutral: str | Path | Iterable[str] | Mapping[str, Iterable[str]] | None = None,
) -> Source:
    """Contrast pairs: one direction, from the negative to the positive text of each pair.

    Args:
        data: a file (.jsonl, .json, .csv, .tsv); the name of a shipped contrast type (tom, irony,
            self_other, harmfulness); a data frame or dicts with a column for each side; or tuples
            (positive, negative) or (positive, negative, prompt).
        positive: column the direction points to; by default that of a known contrast type, or
            "positive".
        negative: column it points away from.
        prompt: column of what the user says before either; may be empty.
        name: what the direction is called; by default the contrast type or the file's name.
        neutral: texts for the zero of scores, see `neutral_texts`; by default the shipped ones.

    Raises:
        UserError: the data cannot be read, a column is missing or unclear, or a text is empty.

    >>> pairs([("Great, rain again.", "It rains again.")], name="irony")
    Source(irony: 1 pair, positive = positive, negative = negative, 48 neutral texts)
    """
    zero = neutral_texts(neutral) if neutral is not None else shipped_neutral()
    columns = None
    if positive or negative or prompt:
        if not (positive and negative):
            raise UserError("both sides have to be named", fix="give positive and negative")
        columns = PairColumns(positive, negative, prompt)
    if isinstance(data, str) and data in PRESETS and columns is None and not Path(data).exists():
        return Source(shipped_pairs(data), zero)
    if isinstance(data, str | Path):
        return Source(read_pairs(Path(data), columns, name), zero)
    table = _table(data, ("positive", "negative", "prompt"))
    return Source(pairs_of(table, columns, name, "direction"), zero)


def stories(
    data: str | Path | Mapping[str, Iterable[str]] | Iterable[Mapping[str, Any]] | pd.DataFrame,
    *,
    pair_by_name: bool = False,
    neutral: str | Path | Iterable[str] | Mapping[str, Iterable[str]] | None = None,
) -> Source:
    """Stories: longer texts that show a concept; what stories of one scene share cancels.

    Args:
        data: a folder of `{concept}/*.txt`, a zip of one, or a file of JSON lines; texts by
            concept; or a data frame or dicts with concept, text and, where known, scene and
            writer. Concepts whose name begins with an underscore are neutral.
        pair_by_name: files of the same name share their scene.
        neutral: more neutral texts, see `neutral_texts`; those of `_*.txt` in the folder are read
            anyway.

    Raises:
        UserError: the data cannot be read, a story is empty, or there is nothing to contrast.

    >>> stories({"calm": ["She let the kettle sing."], "angry": ["He slammed the door."]})
    Source(angry, calm: 2 stories, 0 neutral texts)
    """
    zero = neutral_texts(neutral) if neutral is not None else {}
    if isinstance(data, str | Path):
        path = Path(data)
        read = read_story_zip if path.suffix.lower() == ".zip" else read_stories
        return Source(read(path, pair_by_name), {**folder_neutral(path), **zero})
    if isinstance(data, Mapping):
        data = [{"concept": c, "text": text} for c, some in data.items() for text in some]
    told = (story_of(row, f"story {n}") for n, row in enumerate(_records(data), start=1))
    return Source(StoryLibrary(GIVEN, tuple(told)), zero)


def examples(
    data: str
    | Path
    | Mapping[str, tuple[Iterable[str], Iterable[str]]]
    | Iterable[Mapping[str, Any]]
    | pd.DataFrame,
    *,
    neutral: str | Path | Iterable[str] | Mapping[str, Iterable[str]] | None = None,
) -> Source:
    """Examples: texts for and texts against each concept, such as `readout-ui extract` makes.

    Args:
        data: a folder of `{concept}/positive.jsonl` and `negative.jsonl`; (texts for, texts
            against) by concept; or a data frame or dicts with concept, polarity ("positive" or
            "negative") and text.
        neutral: texts for the zero of scores, see `neutral_texts`; those of `_*.txt` in the folder
            are read anyway. Without any, the negatives are the zero.

    Raises:
        UserError: the data cannot be read, or a polarity is neither of the two.

    >>> examples({"calm": (["I rest by the river."], ["They lied to me."])})
    Source(calm: 2 examples, 0 neutral texts)
    """
    zero = neutral_texts(neutral) if neutral is not None else {}
    if isinstance(data, str | Path):
        folder = Path(data)
        return Source(read_examples(folder), {**folder_neutral(folder), **zero})
    sides: dict[str, tuple[list[Example], list[Example]]] = {}
    if isinstance(data, Mapping):
        for concept, given in data.items():
            sides[concept] = ([*map(Example, given[0])], [*map(Example, given[1])])
    else:
        for number, row in enumerate(_records(data), start=1):
            concept, polarity, text = (str(row.get(key, "")) for key in _EXAMPLE_COLUMNS)
            if polarity not in ("positive", "negative") or not concept or not text.strip():
                fix = "each needs a concept, a text and the polarity positive or negative"
                raise UserError("this is no example", where=f"example {number}", fix=fix)
            sides.setdefault(concept, ([], []))[polarity == "negative"].append(Example(text))
    made = [ConceptExamples(check_name(c), tuple(a), tuple(b)) for c, (a, b) in sides.items()]
    if not made:
        raise UserError("there are no examples", where=GIVEN)
    return Source(tuple(made), zero)


def neutral_texts(
    data: str | Path | Iterable[str] | Mapping[str, Iterable[str]],
) -> dict[str, tuple[str, ...]]:
    """Texts without any concept, by a name that begins with an underscore.

    Args:
        data: a folder, whose `_*.txt` files are read; a file: .txt with blank lines between texts
            (or one text a line), .csv, .tsv, .json or .jsonl with a column of texts; texts; or
            texts by name.

    Raises:
        UserError: the folder has no such file, or there is no text in the data.

    >>> neutral_texts(["There are four shelves."])
    {'_neutral': ('There are four shelves.',)}
    """
    if isinstance(data, str | Path):
        path = Path(data)
        is_file = bool(path.suffix) and not path.is_dir()
        found = _file_neutral(path) if is_file else _neutral_files(concept_files(path))
    else:
        named = data if isinstance(data, Mapping) else {"_neutral": data}
        found = {check_name(name, neutral=True): tuple(some) for name, some in named.items()}
    if not any(text.strip() for some in found.values() for text in some):
        where = str(data) if isinstance(data, str | Path) else GIVEN
        raise UserError("there are no neutral texts", where=where, fix="write _baseline.txt")
    return found


def folder_neutral(folder: Path) -> dict[str, tuple[str, ...]]:
    """The texts of the folder's `_*.txt` files that are not empty; none where it is no folder.

    Raises:
        UserError: a file cannot be read.
    """
    return _neutral_files(concept_files(folder)) if folder.is_dir() else {}


def shipped_neutral() -> dict[str, tuple[str, ...]]:
    """The neutral texts that ship with the project."""
    return {"_neutral": tuple(each.text for each in read_shipped("neutral"))}


def _neutral_files(files: Iterable[Path]) -> dict[str, tuple[str, ...]]:
    read = [read_concept(file) for file in files if holds_neutral_texts(file.name)]
    return {concept.name: concept.descriptions for concept in read if concept.descriptions}


_EXAMPLE_COLUMNS = ("concept", "polarity", "text")


def _file_neutral(path: Path) -> dict[str, tuple[str, ...]]:
    table = read_table(read_bytes(path, MAX_BYTES), shown(path))
    texts = (" ".join(cell).strip() for cell in table.column(table.guess_text()))
    return {check_name(path.stem, neutral=True): tuple(filter(None, texts))}


def _table(data: Iterable[Any] | pd.DataFrame, titles: Sequence[str]) -> TextTable:
    """The table of a data frame, of dicts, or of tuples under these titles."""
    named = (
        row if isinstance(row, Mapping) else dict(zip(titles, row, strict=False))
        for row in _records(data)
    )
    return table_of_records(enumerate(named, start=1), GIVEN, "entry")


def _records(data: Iterable[Any] | pd.DataFrame) -> list[Any]:
    """The rows; of a frame, each as a dict, in which a cell without a value is left out."""
    if _is_frame(data):
        rows = data.astype(object).where(data.notna(), None).to_dict("records")
        return [{str(key): v for key, v in row.items() if v is not None} for row in rows]
    return list(data)


def _is_frame(data: object) -> TypeGuard[pd.DataFrame]:
    return hasattr(data, "to_dict") and hasattr(data, "notna")
