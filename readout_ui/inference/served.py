"""A model that is served elsewhere: its readouts come over HTTP, its tokenizer is here.

Texts are framed and split here and sent as token ids, so a reading has the same tokens and roles as
one of a model in this process. The rows come in the form that our plugin for vLLM and `readout-ui
serve` have in common: `readout_prompt` for every token of a prompt but the last, whose row is the
first of `readout`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from readout_ui.errors import UserError
from readout_ui.inference.client import Server, rows_named
from readout_ui.inference.decoding import Finish, Live, special_tokens
from readout_ui.inference.generation import Generated
from readout_ui.inference.reading import FloatArray, Reading, scored_tokens
from readout_ui.inference.readout import Begun, Message, Readout
from readout_ui.models.chat_template import TokenRole
from readout_ui.models.loading import LoadedModel, ModelSpec, load_frame
from readout_ui.models.prompt import FramedChat, raw_frame
from readout_ui.models.tokens import visible_tokens
from readout_ui.progress import Report, silent
from readout_ui.runs.manifest import Manifest
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore

if TYPE_CHECKING:
    from readout_ui.inference.sampling import Sampling
    from readout_ui.vectors.vectors import ConceptVectors

_FIELDS = frozenset(each.name for each in fields(LoadedModel))
_FINISH: dict[Any, Finish] = {"stop": "end", "length": "length"}


@dataclass(frozen=True, eq=False, repr=False)
class ServedModel(LoadedModel):
    """The model there: its tokenizer and what its manifest says; its weights are not here."""

    @classmethod
    def of(
        cls, server: Server, manifest: Manifest, spec: ModelSpec, report: Report = silent
    ) -> ServedModel:
        """With the tokenizer that `spec` names; that its frame fits is seen when texts are read.

        Raises:
            UserError: there is no such tokenizer.
        """
        frame, part, name = load_frame(spec, report), manifest.model, server.model[0]
        model = object.__new__(cls)
        vars(model).update(spec=spec, name=name, revision=part.revision, tokenizer=frame.tokenizer)
        vars(model).update(frame=frame, fingerprint=part.fingerprint, notes=(), context_length=None)
        vars(model).update(d_model=manifest.hidden_size, n_layers=max(manifest.layers) + 1)
        vars(model).update(_server=server)
        alone = object.__new__(cls)
        vars(alone).update({**vars(model), "frame": raw_frame(frame)})
        vars(model)["_without_frame"] = alone
        return model

    def __getattr__(self, name: str) -> Any:
        """A field that only a model in this process has."""
        if name not in _FIELDS:
            raise AttributeError(name)
        raise not_here(vars(self)["_server"])

    @property
    def place(self) -> str:
        """Where it runs."""
        return str(vars(self)["_server"].url)

    def describe(self) -> str:
        """One line for people."""
        return f"{self.name} at {self.place}"


def not_here(server: Server) -> UserError:
    """What to say of all that takes the model's weights or the vectors themselves."""
    return UserError(
        f"this needs the model and its vectors, which are at {server.url}",
        fix="start without --server",
    )


class ServedRuns(RunStore):
    """The one run that a server has, for an app that reads through it."""

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(folder)
        self.server = server
        self.run = Run(server.manifest(), self._vectors, id="served")

    def _vectors(self) -> ConceptVectors:
        raise not_here(self.server)

    def model(self, spec: ModelSpec, named: bool, report: Report) -> ServedModel:
        """The model there, with the tokenizer of `spec` where one was named, else its own."""
        manifest = self.run.manifest
        chosen = spec if named else replace(spec, model=manifest.model.id)
        return ServedModel.of(self.server, manifest, chosen, report)

    def current(self) -> Run:
        """The run there is."""
        return self.run

    def list(self) -> tuple[Run, ...]:
        """That run alone."""
        return (self.run,)

    def open(self, run_id: str) -> Run:
        """That run; UserError for any other."""
        if run_id != self.run.id:
            raise not_here(self.server)
        return self.run

    def title(self, run: Run) -> str:
        """Where it is; it has no other name here."""
        return f"vectors at {self.server.url}" if run is self.run else super().title(run)

    def tidy(self) -> None:
        """Leave the folder of kept runs alone."""

    def _folder_of(self, run_id: str) -> Path:
        return self.folder / self.open(run_id).id  # where no report or name was ever kept


@dataclass(frozen=True, eq=False, repr=False)
class ServedReadout(Readout):
    """A served model with the vectors there: texts are read and chats answered through it."""

    server: Server = field(kw_only=True)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the columns of every score."""
        return self.run.concepts

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that are read."""
        return self.run.layers

    def read(self, content: str | Sequence[Message], mode: str = "") -> Reading:
        """The scores of every token at every layer; see `Readout.read`."""
        framed = self._framed(content, mode)
        return self._reading(framed, *self.server.rows(framed.token_ids))

    def grow(self, begun: Begun) -> Generated:
        """Continue a prompt there; see `Readout.grow`."""
        recipe = begun.recipe
        if recipe and ("@" in recipe or not self.server.model[1]):
            what = "it cannot steer some places alone" if "@" in recipe else "it cannot steer"
            fix = "steer through `readout-ui serve` without @, or a model in this process"
            raise self.server.error(what, fix)
        live = ServedLive(self, begun)
        finish: Finish = "stopped"
        for choice in self.server.growing(_body(begun.prompt, begun.sampling, recipe)):
            live.take(choice)
            if begun.on_text is not None and live.n_tokens:
                begun.on_text(live)
            finish = _FINISH.get(choice.get("finish_reason"), finish)
            if begun.stop():
                break
        return live.ended(finish)

    def _reading(
        self, framed: FramedChat, raw: FloatArray, z: FloatArray, start: int = 0
    ) -> Reading:
        """Scores of these tokens, the first of which stands at `start`, one for each row."""
        run = self.run
        shape = (len(raw), len(run.layers), len(run.concepts))
        if raw.shape != shape or z.shape != shape:
            raise self.server.error(f"it sent rows {raw.shape[1:]}, the manifest says {shape[1:]}")
        roles = tuple(str(role) for role in framed.roles[: len(raw)])
        return Reading(
            tokens=tuple(visible_tokens(self.model.tokenizer, framed.token_ids[: len(raw)])),
            roles=roles,
            concepts=run.concepts,
            layers=run.layers,
            raw=raw,
            cosine=np.full(shape, np.nan, np.float32),
            z=z,
            similarity=np.full((*shape[1:], shape[2]), np.nan, np.float32),
            scored=scored_tokens(roles, start),
            best_layer=self.best_layer,
            kinds=("z", "raw"),
        )


def _body(prompt: FramedChat, sampling: Sampling, recipe: str) -> dict[str, Any]:
    """A request for an answer, in the words of OpenAI and of vLLM."""
    names = ("temperature", "top_p", "min_p", "repetition_penalty", "seed")
    body = {name: getattr(sampling, name) for name in names}
    body |= {name: getattr(sampling, name) for name in ("presence_penalty", "frequency_penalty")}
    body |= {"top_k": sampling.top_k or -1, "max_tokens": sampling.max_new_tokens}
    body |= {"prompt": list(prompt.token_ids), **({"steer": recipe} if recipe else {})}
    return body


class GrownRows:
    """Rows that come in parts, (n, n_layers, n_concepts) each; older parts are never copied."""

    def __init__(self) -> None:
        self._parts: list[FloatArray] = []
        self._ends: list[int] = [0]

    def add(self, part: FloatArray) -> None:
        """Take the next rows, at least one."""
        self._parts.append(part)
        self._ends.append(self._ends[-1] + len(part))

    def since(self, start: int) -> FloatArray | None:
        """Those from `start` on; None before the first part."""
        if not self._parts:
            return None
        first = min(bisect_right(self._ends, start), len(self._parts)) - 1
        return np.concatenate(self._parts[first:])[start - self._ends[first] :]


class ServedLive(Live):
    """An answer that grows there."""

    def __init__(self, readout: ServedReadout, begun: Begun) -> None:
        self._readout, self._prompt, self._begun = readout, begun.prompt, begun
        self._ids: list[int] = []
        self._rows = GrownRows(), GrownRows()
        self._special = special_tokens(readout.model)

    @property
    def n_tokens(self) -> int:
        """How many new tokens there are."""
        return len(self._ids)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The new tokens."""
        return tuple(self._ids)

    @property
    def text(self) -> str:
        """The new tokens as text, without special tokens and without half a character."""
        decode = self._readout.model.tokenizer.decode
        return str(decode(self._ids, skip_special_tokens=True)).rstrip("\ufffd")

    def take(self, choice: Mapping[str, Any]) -> None:
        """Take what a chunk brings.

        Raises:
            UserError: it has text and no token ids.
        """
        server, ids = self._readout.server, rows_named(choice, "token_ids")
        if choice.get("text") and not ids and not self._ids:
            raise server.error("it sends no token ids", "use vLLM 0.32 or `readout-ui serve`")
        self._ids += ids
        for rows, name in zip(self._rows, ("", "_z"), strict=True):
            for kind in ("readout_prompt", "readout"):
                found = server.array(choice, f"{kind}{name}")
                if len(found):
                    rows.add(found)

    def reading(self, start: int = 0) -> Reading | None:
        """Scores from position `start` on, the prompt's first token being 0."""
        raw, z = (rows.since(start) for rows in self._rows)
        if raw is None or z is None:
            return None
        found = self._readout._reading(self._since(start), raw, z, start)
        layers = self._begun.layers
        return found if layers is None else found.select(layers=layers)

    def ended(self, finish: Finish) -> Generated:
        """The finished answer; the row of its last token is asked for, as no pass fed it."""
        whole = self._since(0)
        if self._ids:
            fed = self._readout.server.rows(whole.token_ids, self._begun.recipe)
            for rows, found in zip(self._rows, fed, strict=True):
                rows.add(found[-1:])
        n_prompt = len(self._prompt.token_ids)
        return Generated(
            prompt=self._prompt,
            token_ids=self.token_ids,
            roles=whole.roles[n_prompt:],
            text=self.text,
            finish=finish,
            reading=self.reading(),
            seconds=0.0,
        )

    def _since(self, start: int) -> FramedChat:
        """Prompt and answer from position `start` on."""
        prompt, special = self._prompt, self._special
        new = self._ids[max(0, start - len(prompt.token_ids)) :]
        roles = (TokenRole.TEMPLATE if i in special else TokenRole.ASSISTANT for i in new)
        return FramedChat((*prompt.token_ids[start:], *new), (*prompt.roles[start:], *roles))
