"""The questions the room Read asks the server, each answered with JSON.

The page sends the text with every question, so nothing is lost when the app restarts; readings of
the last texts are kept, so that another unit or a token's details do not ask the model twice.
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from readout_ui.app.events import (
    Answer,
    Call,
    Nothing,
    Request,
    SentFile,
    answering,
    decoded,
)
from readout_ui.app.read.chat_text import parse_chat
from readout_ui.app.read.kept import Kept, KeptFile, Prompt
from readout_ui.errors import UserError
from readout_ui.inference.reading import FloatArray, Reading, scores_csv
from readout_ui.models.chat_template import Turn
from readout_ui.models.prompt import QUESTION

if TYPE_CHECKING:
    from readout_ui.app.session import Studio
    from readout_ui.evaluation.chance import NeutralScores
    from readout_ui.inference.readout import Readout

STEPS = 32_000
"""Scores are sent as whole numbers up to this, so 2 bytes each."""
MOST_CELLS = 8_000_000
"""Tokens x layers x concepts that are sent at once; of longer texts only the layer shown is."""
MOST_READINGS = 3
"""Texts whose scores are kept."""
PIECE = 4
"""Neutral texts, or rows of a table, that are read before others have their turn."""
MOST_TEXT, MOST_TURNS, MOST_ROWS = 1_000_000, 2_000, 20_000
"""Base64 of 20 MB."""
DOUBTED = ("weak", "at chance")
"""Verdicts of the report that put a question mark on a concept."""

Mode = Literal["assistant", "user", "raw", "chat"]
Kind = Literal["z", "cosine", "raw"]


class Said(Request):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    text: str = Field(max_length=MOST_TEXT)


class Asked(Request):
    """A text, or the turns of a chat, and how it is read."""

    text: str = Field(default="", max_length=MOST_TEXT)
    mode: Mode = "assistant"
    turns: list[Said] | None = Field(default=None, max_length=MOST_TURNS)

    def content(self) -> str | tuple[Turn, ...]:
        """What `Readout.read` takes."""
        if self.turns is not None:
            return tuple(Turn(turn.role, turn.text) for turn in self.turns)
        return parse_chat(self.text) if self.mode == "chat" else self.text

    @property
    def way(self) -> str:
        """The mode that fits the content."""
        return "chat" if self.turns is not None else self.mode


class Scores(Asked):
    """Which scores of it: a unit, and some layers or (None) all that are not too many."""

    kind: Kind = "z"
    layers: list[int] | None = Field(default=None, max_length=1_000)


class OneToken(Asked):
    """One token of it; `token` is what the page shows there."""

    position: int = Field(ge=0)
    token: str = Field(max_length=1_000)


class Length(Request):
    """How many tokens a mean is taken of."""

    length: int = Field(ge=1, le=MOST_TEXT)


class Rows(Request):
    """Some rows of a table of texts."""

    texts: list[str] = Field(max_length=PIECE)
    mode: Literal["assistant", "user", "raw"]
    layer: int


class Threshold(Request):
    """The z above which a concept's tokens are marked; None for the calibration's."""

    concept: str = Field(max_length=1_000)
    z: float | None = Field(allow_inf_nan=False)


class Save(Request):
    """A text to keep."""

    name: str = Field(max_length=200)
    text: str = Field(max_length=MOST_TEXT)
    mode: Mode


class Drop(Request):
    """A kept text to remove."""

    name: str = Field(max_length=200)


def read_calls(studio: Studio) -> list[Call]:
    """The server functions of the room."""
    texts = TextReader(studio)
    return [
        answering("read_look", Nothing, lambda _r: texts.look()),
        answering("read_text", Scores, texts.scores),
        answering("read_token", OneToken, texts.token),
        answering("read_chance", Length, lambda r: texts.chance(r.length)),
        answering("read_rows", Rows, texts.rows),
        answering("read_table", SentFile, table_of),
        answering("read_csv", Scores, texts.csv),
        answering("read_alike", Scores, texts.alike),
        answering("keep_threshold", Threshold, lambda r: texts.keep(threshold=(r.concept, r.z))),
        answering("keep_prompt", Save, lambda r: texts.keep(prompt=Prompt(r.name, r.text, r.mode))),
        answering("drop_prompt", Drop, lambda r: texts.keep(drop=r.name)),
    ]


class TextReader:
    """Answers the page; keeps the last readings and what neutral texts score."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.file = KeptFile(studio.options.runs)
        self._readings: OrderedDict[Any, Reading] = OrderedDict()
        self._neutral: tuple[str, NeutralScores] | None = None
        self._reading_lock, self._neutral_lock = threading.Lock(), threading.Lock()

    def look(self) -> Answer:
        """What there is to read with, and what is kept."""
        status, report = self.studio.status(), self.studio.report()
        run = status.run
        return {
            "ready": run is not None and status.model_ready,
            "missing": "" if status.model_ready else "The model is not loaded yet.",
            "run": run.id if run else "",
            "concepts": list(run.concepts) if run else [],
            "layers": list(run.layers) if run else [],
            "best": run.best_layer if run else None,
            "doubts": {
                one.name: one.verdict
                for one in (report.concepts if report else ())
                if one.verdict in DOUBTED
            },
            "question": QUESTION,
            "read_only": self.studio.read_only,
            **_told(self.file.load()),
        }

    def scores(self, asked: Scores) -> Answer:
        """Tokens and scores of a text."""
        run, reading = self._reading(asked)
        layers = list(reading.layers) if asked.layers is None else asked.layers
        n_cells = len(reading.tokens) * len(layers) * len(reading.concepts)
        if asked.layers is None and n_cells > MOST_CELLS:
            layers = [reading.layer_to_show()]
        places = [reading.layer_index(layer) for layer in layers]
        return {
            "run": run,
            "tokens": reading.tokens,
            "roles": reading.roles,
            "scored": reading.scored.astype(int).tolist(),
            "concepts": reading.concepts,
            "layers": reading.layers,
            "best": reading.layer_to_show(),
            "kind": asked.kind,
            "held": layers,
            "scores": pack_cells(reading.scores(asked.kind)[:, places]),
            "turns": _turns(asked),
        }

    def token(self, asked: OneToken) -> Answer:
        """What the model takes to come next, and the token's z at every layer."""
        _, reading = self._reading(asked)
        shown = reading.tokens[asked.position] if asked.position < len(reading.tokens) else ""
        if shown != asked.token:
            raise UserError("this token is no longer in the text", fix="read the text again")
        content, mode, at = asked.content(), asked.way, asked.position
        found = self._ask("What comes next", lambda readout: readout.next_tokens(content, at, mode))
        return {
            "next": [{"token": token, "share": share} for token, share in found],
            "scores": pack_cells(reading.z[at : at + 1]),
        }

    def chance(self, length: int) -> Answer:
        """The band that neutral texts of so many tokens give; some of them are read first."""
        from readout_ui.evaluation.chance import NeutralScores, neutral_texts

        run = self.studio.run()
        with self._neutral_lock:
            if self._neutral is None or self._neutral[0] != run.id:
                self._neutral = (run.id, NeutralScores(neutral_texts(run.texts)))
            neutral = self._neutral[1]
            if not neutral.complete:
                self._ask("Reading neutral texts", lambda readout: neutral.read(readout, PIECE))
        told = {"run": run.id, "read": len(neutral.sums), "texts": len(neutral.texts)}
        if not neutral.complete:
            return told
        band, word = neutral.band(length), neutral.band(1)
        ends = np.stack([band.low, band.high, word.low, word.high, neutral.thresholds()])
        return {
            **told,
            "asked": length,
            "length": band.length,
            "stretches": band.n_stretches,
            "layers": run.layers,
            "ends": pack_cells(ends),
        }

    def rows(self, asked: Rows) -> Answer:
        """Mean z of each text, (n_texts, n_concepts), or why it could not be read."""
        work = lambda readout: [_mean_of(readout, text, asked) for text in asked.texts]  # noqa: E731
        return {"means": self._ask("Reading a table", work)}

    def csv(self, asked: Scores) -> Answer:
        """One line per token and concept at the layers asked for, in all units."""
        _, reading = self._reading(asked)
        return {"csv": scores_csv(reading.select(layers=asked.layers))}

    def alike(self, asked: Scores) -> Answer:
        """The concepts so that directions that point the same way stand side by side."""
        from readout_ui.plots.colours import cluster_order

        _, reading = self._reading(asked)
        layer = reading.layer_to_show(asked.layers[0] if asked.layers else None)
        similarity = reading.similarity[reading.layer_index(layer)]
        if np.isnan(similarity).any():
            raise UserError("a server does not say which directions are alike")
        order = cluster_order(similarity)
        return {"concepts": [reading.concepts[i] for i in order]}

    def keep(self, **how: Any) -> Answer:
        """Change what is kept."""
        self.studio.refuse_if_read_only("keep it for everybody")
        return _told(self.file.change(**how))

    def _reading(self, asked: Asked) -> tuple[str, Reading]:
        """The run's id and the reading, from memory where it is there."""
        content, mode, run = asked.content(), asked.way, self.studio.run()
        key = (run.id, mode, content)
        with self._reading_lock:
            known = self._readings.get(key)
        if known is None:
            known = self._ask("Reading a text", lambda readout: readout.read(content, mode))
        with self._reading_lock:
            self._readings[key] = known
            self._readings.move_to_end(key)
            while len(self._readings) > MOST_READINGS:
                self._readings.popitem(last=False)
        return run.id, known

    def _ask(self, title: str, work: Callable[[Readout], Any]) -> Any:
        return self.studio.on_device("read", title, work).result()


def pack_cells(scores: FloatArray) -> str:
    """Scores as bytes in base64: for each layer and token the size of a step, then the scores.

    A token far from all others, such as the first, costs the others no digits: each has steps of
    its own, and the error is at most half of one.

    Args:
        scores: (n_tokens, n_layers, n_concepts).

    Returns:
        float32 (n_layers, n_tokens), then int16 (n_layers, n_tokens, n_concepts), little-endian.
    """
    cells = np.nan_to_num(scores.transpose(1, 0, 2))
    largest = np.abs(cells).max(axis=2, initial=0.0)
    steps = np.where(largest > 0, largest / STEPS, 1.0).astype("<f4")
    whole = np.round(cells / steps[:, :, None]).astype("<i2")
    return base64.b64encode(steps.tobytes() + whole.tobytes()).decode("ascii")


def own_tokens(reading: Reading) -> list[int]:
    """Tokens that a text's mean is taken of: the model's, or where it says nothing the others."""
    scored = [i for i, counts in enumerate(reading.scored) if counts]
    own = [i for i in scored if reading.roles[i] == "assistant"]
    return own or scored or list(range(len(reading.tokens)))


def _mean_of(readout: Readout, text: str, asked: Rows) -> Answer:
    try:
        found = readout.read(text, asked.mode)
    except UserError as error:
        return {"error": str(error)}
    cells = found.z[own_tokens(found), found.layer_index(asked.layer)]  # (n_tokens, n_concepts)
    means: FloatArray = cells.mean(axis=0)
    return {"tokens": len(cells), "z": [round(float(z), 4) for z in means]}


def _turns(asked: Asked) -> list[dict[str, str]]:
    """The text as turns a chat goes on from; empty for a raw text."""
    content = asked.content()
    if not isinstance(content, str):
        turns: Sequence[Turn] = content
    elif asked.mode == "raw":
        turns = ()
    elif asked.mode == "user":
        turns = (Turn("user", content.strip()),)
    else:
        turns = (Turn("user", QUESTION), Turn("assistant", content.strip()))
    return [{"role": turn.role, "text": turn.text} for turn in turns]


def _told(kept: Kept) -> Answer:
    return {"thresholds": kept.thresholds, "prompts": [asdict(one) for one in kept.prompts]}


def table_of(sent: SentFile) -> Answer:
    """The texts of a file or of what was pasted, which has no name, and their column."""
    from readout_ui.texts.table_files import pasted_texts, read_table

    if sent.file_name:
        table = read_table(decoded(sent.content), sent.file_name)
    else:
        table = pasted_texts(sent.content)
    column = table.guess_text()
    at = table.columns.index(column)
    cells = [(row.line, " ".join(row.cells[at]).strip()) for row in table.rows]
    return _rows_of(column, [(line, text) for line, text in cells if text])


def _rows_of(column: str, rows: Sequence[tuple[int, str]]) -> Answer:
    if not rows:
        raise UserError("there is no text in it", fix="paste one text per line")
    if len(rows) > MOST_ROWS:
        raise UserError(f"there are {len(rows):,} texts", fix=f"read {MOST_ROWS:,} at once at most")
    return {"column": column, "rows": [{"line": line, "text": text} for line, text in rows]}
