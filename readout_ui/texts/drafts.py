"""Texts drafted by a language model: what it is asked, what its answers hold, what is wrong there.

A draft enters nothing by itself: `keep_drafts` is what a click calls. Which texts of a library a
model wrote is then noted for good beside the history, `written_by` tells it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from readout_ui.errors import UserError
from readout_ui.files import read_bytes, sha256_of, write_file
from readout_ui.texts.editing import add_texts, find_concept_file
from readout_ui.texts.library import Concept, Library, read_concept
from readout_ui.texts.lint import Finding, check_concept
from readout_ui.texts.names import check_name, is_neutral_name
from readout_ui.texts.reading import normalise_description
from readout_ui.texts.versions import HISTORY, changing
from readout_ui.texts.words import closest, concept_words, words_of

Kind = Literal["descriptions", "neutral", "situations", "contrast"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_DRAFTS = 50
SHORTEST = 5
"""Words from which a line of an answer is taken for a text."""
_EXAMPLES = 4
"""Texts of the library that are shown as its style."""
_NOTES = "model-written.jsonl"
_ITEM = re.compile(r"^\s*(?:\d{1,3}[.):]|[-*•])\s+")
_SIDE = re.compile(r"^\s*(?:\d{1,3}[.):]\s*)?\**([AB])\**\s*[:.)]\s*(.+)$")
_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_QUOTES = "\"'“”‘’*_ "


@dataclass(frozen=True)
class DraftRequest:
    """What is to be drafted."""

    library: Library
    kind: Kind
    """descriptions of the concept, neutral texts without any, situations that show it and never
    name it, or contrast: one setting twice, with the concept and without."""
    concept: str
    """May be new; of neutral texts the file they are for, such as `_baseline`."""
    count: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"nothing of the kind {self.kind!r} is drafted", options=KINDS)
        if not 1 <= self.count <= MOST_DRAFTS:
            raise UserError(f"{self.count} drafts cannot be asked for", fix=f"1 to {MOST_DRAFTS}")
        name = check_name(self.concept, neutral=self.kind == "neutral")
        self.__dict__["concept"] = name

    def present(self) -> tuple[str, ...]:
        """The texts that the concept, or the neutral file, has already."""
        return tuple(self.library.texts().get(self.concept, ()))

    def examples(self) -> tuple[str, ...]:
        """Texts whose style is to be met: its own, else those of the first other concept."""
        if self.kind == "neutral":
            return self.library.neutral_texts()[:_EXAMPLES]
        others = (c.descriptions for c in self.library.concepts if c.descriptions)
        return (self.present() or next(others, ()))[:_EXAMPLES]

    def instruction(self, n: int) -> str:
        """What the model is told, for its next `n` texts."""
        concept, shown = (
            self.concept.replace("_", " "),
            "\n".join(f"- {t}" for t in self.examples()),
        )
        style = f"Texts in the style that is wanted:\n{shown}\n\n" if shown else ""
        never = f'Never use the word "{concept}" or a word of its family.'
        asks = {
            "descriptions": f"{style}Write {n} new texts in the first person: what it is like from "
            f"inside to be {concept}. Two or three sentences and about 30 words each. No place, no "
            "names, no story. Begin each in another way, and say nothing that is said above.",
            "neutral": f"{style}Write {n} new texts in the first person, with no feeling and no "
            "opinion in them: plain facts of an ordinary day. Two or three sentences and about "
            "30 words each, each about something else.",
            "situations": f"Write {n} short everyday scenes. In each a person is {concept}, which "
            f"shows in what happens and what is done. Two sentences and about 25 words each, each "
            f"in another place, some about I, some about she, he or they. {never}",
            "contrast": f"Write {n} pairs of short texts. Both of a pair have the same place, "
            f"people and length. In text A the person is {concept}, in text B not at all; only "
            f'that differs. {never} Write each pair as two lines, "A: ..." and "B: ...".',
        }
        lines = "" if self.kind == "contrast" else " Answer with a numbered list, a text per line."
        return f"{asks[self.kind]}{lines} Write nothing else."


@dataclass(frozen=True)
class Draft:
    """One text a model wrote, beside what speaks against it."""

    text: str
    other: str = ""
    """Of a contrast: the same setting without the concept."""
    findings: tuple[Finding, ...] = ()
    """What lint says about it among the texts there are."""
    nearest: str = ""
    """The text of the library that is most like it."""
    nearest_in: str = ""
    """Whose text that is."""
    percent: float = 0.0
    """Words it has in common with that text, 0..100."""


def parse_answer(answer: str, kind: Kind) -> list[Draft]:
    """The texts in what a model answered; headings, remarks and thinking are passed over."""
    answer = _THINKING.sub("", answer)
    if kind == "contrast":
        return [Draft(a, b) for a, b in _sides(answer) if min(_n_words(a), _n_words(b)) >= SHORTEST]
    texts = (normalise_description(_ITEM.sub("", item)).strip(_QUOTES) for item in _items(answer))
    return [Draft(text) for text in texts if _n_words(text) >= SHORTEST and text[-1] != ":"]


def _items(answer: str) -> Iterator[str]:
    """Entries of a list, or else paragraphs."""
    lines = answer.splitlines()
    if not any(_ITEM.match(line) for line in lines):
        yield from re.split(r"\n\s*\n", answer)
        return
    item: list[str] = []
    for line in [*lines, "- "]:
        if _ITEM.match(f"{line} "):
            yield " ".join(item)
            item = [line]
        elif item and line.strip():
            item.append(line.strip())
        elif item:  # what follows a blank line is a remark, unless it is the next entry
            yield " ".join(item)
            item = []


def _sides(answer: str) -> Iterator[tuple[str, str]]:
    first = ""
    for found in filter(None, map(_SIDE.match, answer.splitlines())):
        text = normalise_description(found[2]).strip(_QUOTES)
        if found[1] == "A":
            first = text
        elif first:
            yield first, text
            first = ""


def _n_words(text: str) -> int:
    return len(words_of(text))


def checked(request: DraftRequest, drafts: Sequence[Draft]) -> tuple[Draft, ...]:
    """The drafts with what lint finds and their nearest neighbour in the library."""
    if not drafts:
        return ()
    places = [(c.name, text) for c in request.library.files for text in c.descriptions]
    near = closest([draft.text for draft in drafts], [text for _, text in places])
    found = _findings(request, drafts)
    judged = []
    for index, (draft, hit) in enumerate(zip(drafts, near, strict=True)):
        made = replace(draft, findings=tuple(f for f in found if f.index == index))
        if hit is not None:
            name, text = places[hit[0]]
            made = replace(made, nearest=text, nearest_in=name, percent=round(hit[1], 1))
        judged.append(made)
    return tuple(judged)


def _findings(request: DraftRequest, drafts: Sequence[Draft]) -> list[Finding]:
    """What is wrong with each; `index` counts the drafts."""
    if request.kind in ("descriptions", "neutral"):
        present = request.present()
        texts = [*present, *(draft.text for draft in drafts)]
        found = check_concept(request.library, request.concept, texts)
        return [
            replace(f, index=f.index - len(present))
            for f in found
            if f.index is not None and f.index >= len(present)
        ]
    return [f for index, draft in enumerate(drafts) for f in _named(request, index, draft)]


def _named(request: DraftRequest, index: int, draft: Draft) -> Iterator[Finding]:
    """A held-out text that names a concept tells it by the word."""
    words = concept_words({*request.library.names(), request.concept})
    for form in words.found_in(f"{draft.text} {draft.other}"):
        message = f"'{' '.join(form)}' is a word of a concept, so the word alone tells it."
        yield Finding(request.concept, index, "named", "error", message, "Say it in other words.")
    lengths = sorted((_n_words(draft.text), _n_words(draft.other)))
    if draft.other and lengths[1] > 1.5 * lengths[0]:
        message = f"One side has {lengths[1]} words, the other {lengths[0]}."
        fix = "Make them alike, so that length marks nothing."
        yield Finding(request.concept, index, "length", "warning", message, fix)


def keep_drafts(folder: Path | str, name: str, texts: Iterable[str], model: str) -> Concept:
    """Add drafts that a person chose to a concept's file, and note who wrote them.

    Args:
        folder: the library's folder.
        name: concept or neutral file; made where there is none.
        texts: as the person left them.
        model: who wrote them.

    Raises:
        UserError: the file cannot be used or written; nothing was added then.
    """
    folder, chosen = Path(folder), [normalise_description(text) for text in texts]
    with changing(folder):
        path = find_concept_file(folder, name)
        there = None if path is None else read_concept(path)
        before = there.descriptions if there else ()
        new = [text for text in chosen if text and text not in before]
        _note(folder, name, new, model)
        return add_texts(folder, name, new)


def written_by(folder: Path | str, texts: Iterable[str]) -> tuple[str, ...]:
    """The model that wrote each text; empty for those a person wrote or changed since."""
    notes = _notes(Path(folder))
    return tuple(notes.get(_mark(text), "") for text in texts)


def _note(folder: Path, name: str, texts: Sequence[str], model: str) -> None:
    path = folder / HISTORY / _NOTES
    before = read_bytes(path) if path.exists() else b""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [
        json.dumps({"text": _mark(text), "concept": name, "model": model, "when": when})
        for text in texts
    ]
    write_file(path, before + "".join(f"{line}\n" for line in lines).encode())


def _notes(folder: Path) -> Mapping[str, str]:
    path = folder / HISTORY / _NOTES
    if not path.exists():
        return {}
    notes: dict[str, str] = {}
    for line in read_bytes(path).decode("utf-8", "replace").splitlines():
        with suppress(ValueError, KeyError, TypeError):  # a damaged line costs its own mark only
            row = json.loads(line)
            notes[str(row["text"])] = str(row["model"])
    return notes


def _mark(text: str) -> str:
    return sha256_of(normalise_description(text).encode("utf-8", "surrogatepass"))


def draft_lines(request: DraftRequest, drafts: Iterable[Draft], model: str) -> str:
    """Drafts as JSON lines that `evaluate` and `train-pairs` read, each with its writer."""
    rows = (
        {"positive": draft.text, "negative": draft.other}
        if request.kind == "contrast"
        else {"text": draft.text, "label": _label(request)}
        for draft in drafts
    )
    return "".join(json.dumps({**row, "writer": model}, ensure_ascii=False) + "\n" for row in rows)


def _label(request: DraftRequest) -> str:
    return "neutral" if is_neutral_name(request.concept) else request.concept
