"""A model with the vectors of one run: read a text, answer, steer, score whole texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from steering_vectors import SteeringVector
from torch import Tensor

from readout_ui.activations.extract import read_activations
from readout_ui.errors import UserError
from readout_ui.inference.decoding import Live
from readout_ui.inference.forward import frame_content, next_tokens, read_chat
from readout_ui.inference.generation import Generated, frame_for_answer, generate, never
from readout_ui.inference.recipe import parse_recipe
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering import (
    Patch,
    residual_norms,
    setup_of_vector,
    steered,
)
from readout_ui.inference.steering_setup import Operator, SteeringSetup, Unit, Where, setup_of
from readout_ui.models.chat_template import Role, Turn
from readout_ui.progress import Report, silent
from readout_ui.vectors.metrics import centred_cosine, random_directions
from readout_ui.vectors.pairs import read_run_texts
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import capture_settings

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.inference.reading import Reading
    from readout_ui.models.loading import LoadedModel
    from readout_ui.models.prompt import FramedChat
    from readout_ui.runs.run import Run
    from readout_ui.vectors.training import Corpus
    from readout_ui.vectors.vectors import ConceptVectors

Scores = npt.NDArray[np.float32]
Message = Turn | Mapping[str, str]
"""One turn of a chat, also as transformers writes it: {"role": "user", "content": "Hello"}."""
Steers: TypeAlias = Mapping[str, float] | str | SteeringSetup | SteeringVector
"""Multipliers by concept, a recipe such as "0.4 calm @generated", a whole setup, or a vector of the
steering-vectors library."""


@dataclass(frozen=True, eq=False)
class Begun:
    """A framed prompt that the model is to go on from."""

    prompt: FramedChat
    """What the model is given."""
    sampling: Sampling
    """How tokens are chosen, and how many."""
    layers: Sequence[int] | None = None
    """Which are read; None for all there are."""
    recipe: str = ""
    """What steers the model meanwhile, empty for nothing."""
    on_text: Callable[[Live], None] | None = None
    """Called after every token."""
    stop: Callable[[], bool] = never
    """Asked after every token; True ends the answer."""


@dataclass(eq=False)
class Measured:
    """What is measured once for all copies of a readout."""

    norms: Mapping[int, float] | None = None
    corpus: Corpus | None = None
    """The texts of the training as it read them."""


@dataclass(frozen=True, eq=False)
class Readout:
    """A model and the run that was trained on it."""

    model: LoadedModel
    run: Run
    cache: ActivationCache | None = None
    """Activations read earlier."""
    report: Report = silent
    """Told after every step of what takes long; it may raise Cancelled."""
    _others: ConceptVectors | None = None
    """Instead of all the run's vectors."""
    measured: Measured = field(default_factory=Measured)

    def __repr__(self) -> str:
        layers = ", ".join(map(str, self.layers[:6])) + (", …" if len(self.layers) > 6 else "")
        return f"<Readout of {len(self.concepts)} concepts at layers {layers} of {self.model.name}>"

    @property
    def vectors(self) -> ConceptVectors:
        """What is read out: the run's vectors, or those of them that were selected."""
        return self.run.vectors if self._others is None else self._others

    @property
    def settings(self) -> TrainSettings:
        """How the training read its texts; new texts are read alike."""
        return self.run.settings

    @property
    def texts(self) -> Mapping[str, Sequence[str]]:
        """The texts of the training by file name; empty where they are not there."""
        return self.run.texts

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the columns of every score."""
        return self.vectors.concepts

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that are read."""
        return self.vectors.layers

    @property
    def best_layer(self) -> int:
        """The layer that is read and nearest to the run's best one."""
        best = self.run.best_layer
        return min(self.layers, key=lambda layer: (abs(layer - best), layer))

    def select(
        self, concepts: Sequence[str] | None = None, layers: Sequence[int] | None = None
    ) -> Self:
        """The same with fewer concepts or layers; None keeps all.

        Raises:
            UserError: one of them was not trained.
        """
        return self.with_vectors(self.vectors.select(concepts, layers))

    def with_vectors(self, vectors: ConceptVectors) -> Self:
        """The same with other vectors, e.g. random ones to compare with."""
        return replace(self, _others=vectors)

    def reporting_to(self, report: Report) -> Self:
        """The same with another listener to its progress; what was measured stays known."""
        return replace(self, report=report)

    # Reading

    def read(self, content: str | Sequence[Message], mode: str = "") -> Reading:
        """The scores of every token at every layer.

        Args:
            content: a text, or the turns of a chat.
            mode: of a text "assistant" (where a training text stands; the default), "user" (as a
                question) or "raw" (no template); of turns "chat".

        Raises:
            UserError: nothing to read, more tokens than the model takes, or an unknown mode.
        """
        reading = read_chat(self.model, self.vectors, self._framed(content, mode))
        return replace(reading, best_layer=self.best_layer)

    def next_tokens(
        self, content: str | Sequence[Message], position: int, mode: str = "", n: int = 10
    ) -> tuple[tuple[str, float], ...]:
        """What the model takes to come after one token: tokens and probabilities, likeliest first.

        Args:
            content: as for `read`.
            position: of the token, from 0; those after it are not shown to the model.
            mode: as for `read`.
            n: how many tokens.

        Raises:
            UserError: the text has no such token.
        """
        ids = self._framed(content, mode).token_ids
        if not 0 <= position < len(ids):
            raise UserError(f"the text has {len(ids)} tokens, none at position {position}")
        return next_tokens(self.model, ids[: position + 1], n)

    def _framed(self, content: str | Sequence[Message], mode: str) -> FramedChat:
        whole = content if isinstance(content, str) else turns_of(content)
        chosen = mode or ("assistant" if isinstance(whole, str) else "chat")
        return frame_content(self.model.framed(self.settings.frame).frame, whole, chosen)

    def activations(self, texts: Sequence[str], layer: int) -> Tensor:
        """Activations of whole texts at one layer, (n_texts, d_model), pooled as in training."""
        settings = capture_settings(self.settings)
        read = read_activations(self.model, texts, settings, self.cache, None, self.report)
        return read.pooled[:, layer]

    def corpus(self, settings: TrainSettings | None = None) -> Corpus:
        """Activations of the texts of the training, at every layer of the model; read once.

        Args:
            settings: how the texts are read; by default as in the training.

        Raises:
            UserError: the texts are not there.
        """
        if not self.texts:
            raise UserError(
                "the texts of the training are not there",
                fix="judge the readout of a run, or one that was just trained",
            )
        known = self.measured.corpus
        if known is not None and settings in (None, known.settings):
            return known
        prompts = (self.run.manifest.contrast or {}).get("prompts")
        asked = settings or self.settings
        found = read_run_texts(self.model, self.texts, prompts, asked, self.cache, self.report)
        if asked == self.settings:
            self.measured.corpus = found
        return found

    def score(self, activations: Tensor, layer: int) -> Scores:
        """Centred cosine of activations (n_texts, d_model) with each concept, -1..1.

        Returns:
            (n_texts, n_concepts).

        Raises:
            UserError: the vectors have no such layer.
        """
        kept = self.vectors.select(layers=[layer])
        return _cosine(kept.directions, kept.center, activations)

    def score_texts(self, texts: Sequence[str], layer: int) -> Scores:
        """Read whole texts and score them in one step, (n_texts, n_concepts)."""
        return self.score(self.activations(texts, layer), layer)

    def score_randomly(self, activations: Tensor, layer: int, n: int, seed: int) -> Scores:
        """Centred cosine with n random directions, (n_texts, n)."""
        center = self.vectors.select(layers=[layer]).center
        return _cosine(random_directions(n, 1, activations.shape[1], seed), center, activations)

    # Answering and steering

    def generate(
        self,
        prompt: str | Sequence[Message],
        steer: Steers | None = None,
        *,
        system: str = "",
        sampling: Sampling | None = None,
        max_new_tokens: int | None = None,
        on_text: Callable[[Live], None] | None = None,
        stop: Callable[[], bool] = never,
        **how: Any,
    ) -> Generated:
        """The model's answer to a chat, with the scores of every token of prompt and answer.

        Args:
            prompt: what the user says, or the turns so far.
            steer: what steers the model meanwhile, e.g. {"calm": 0.5}.
            system: system prompt; empty for none.
            sampling: how tokens are chosen, and how many.
            max_new_tokens: how many at most; None leaves it to `sampling`.
            on_text: called after every token.
            stop: asked after every token; True ends the answer.
            how: what `steer` takes: layers, where, operator, unit, value, multiplier.

        Raises:
            UserError: the prompt fills the context window, or a steer names what was not trained.
        """
        turns = [Turn("user", prompt)] if isinstance(prompt, str) else turns_of(prompt)
        framed = frame_for_answer(self.model, turns, system)
        length = len(framed.token_ids)
        chosen = sampling or Sampling()
        if max_new_tokens is not None:
            chosen = replace(chosen, max_new_tokens=max_new_tokens)

        def steering(_framed: FramedChat) -> Patch:
            return self.steer(steer, prompt_length=length, **how)

        made = generate(
            self.model,
            framed,
            chosen,
            vectors=self.vectors,
            steering=steering if steer else None,
            on_text=on_text,
            stop=stop,
        )
        assert made.reading is not None
        return replace(made, reading=replace(made.reading, best_layer=self.best_layer))

    def grow(self, begun: Begun) -> Generated:
        """Continue a framed prompt.

        Raises:
            UserError: the prompt fills the context window, or the recipe names what is not there.
        """
        recipe = begun.recipe
        setup = parse_recipe(recipe, (self.best_layer,), self.run) if recipe else None
        return generate(
            self.model,
            begun.prompt,
            begun.sampling,
            vectors=self.vectors.select(layers=begun.layers),
            steering=None
            if setup is None
            else lambda framed: self.steer(setup, prompt_length=len(framed.token_ids)),
            on_text=begun.on_text,
            stop=begun.stop,
        )

    def steer(
        self,
        what: Steers | None = None,
        /,
        *,
        layers: Sequence[int] | None = None,
        where: Where | str = "all",
        operator: Operator = "add",
        unit: Unit = "norm",
        value: float | None = None,
        multiplier: float = 1.0,
        prompt_length: int | Sequence[int] | None = None,
        **concepts: float,
    ) -> Patch:
        """Steer every forward of the model: inside a `with` block, or until `remove()` is called.

        `with readout.steer(calm=0.5): ...` or `patch = readout.steer(calm=0.5)` and later
        `patch.remove()`.

        Args:
            what: multipliers by concept, a recipe, a setup, or a vector of steering-vectors.
            layers: whose output is changed; by default that of the best layer.
            where: which tokens, e.g. "all", "prompt", "generated", "from:12", "spans:3-7".
            operator: a name, or a function of activation (..., d_model) and multiplied vector
                (1, 1, d_model) that gives what is added to the activation.
            unit: "norm" (the mean length of the residual stream) or "raw".
            value: the projection that the operator "clamp" sets.
            multiplier: of a steering vector, which has none of its own.
            prompt_length: tokens of the prompt, for "prompt" and "generated"; of a batch, each
                prompt's.
            concepts: multipliers by concept, as keywords.

        Raises:
            UserError: nothing to steer with, or a concept or layer that was not trained.
        """
        best = (self.best_layer,)
        if isinstance(what, SteeringVector):
            setup, vectors = setup_of_vector(what, multiplier, operator, where)
        elif isinstance(what, SteeringSetup | str):
            setup = parse_recipe(what, best, self.run) if isinstance(what, str) else what
            vectors = self.vectors.to_steer()
        else:
            chosen = tuple(layers) if layers is not None else best
            every = {**(what or {}), **concepts}
            setup = setup_of(every, chosen, where, operator=operator, unit=unit, value=value)
            vectors = self.vectors.to_steer()
        if prompt_length is None and setup.where.kind in ("prompt", "generated"):
            raise UserError(
                "it is not known where the prompt ends", fix="say prompt_length=, in tokens"
            )
        norms = self.norms() if any(one.unit == "norm" for one in setup.steers) else {}
        lengths = [prompt_length or 0] if isinstance(prompt_length, int | None) else prompt_length
        return steered(self.model, setup, vectors, norms, lengths)

    def norms(self) -> Mapping[int, float]:
        """Mean length of the residual stream by layer, over neutral tokens; measured once."""
        if self.measured.norms is None:
            self.measured.norms = residual_norms(
                self.model, self.settings, self.texts, self.cache, self.report
            )
        return self.measured.norms


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """The turns of a chat; UserError for a message without role or content."""
    return [one if isinstance(one, Turn) else _turn(one) for one in messages]


def _turn(message: Mapping[str, str]) -> Turn:
    role: Any = message.get("role")
    content = message.get("content")
    if role not in get_args(Role) or not isinstance(content, str):
        raise UserError(
            "a message has no role or no content",
            fix='write {"role": "user", "content": "Hello"}',
            options=get_args(Role),
        )
    return Turn(role, content)


def _cosine(directions: Tensor, center: Tensor, activations: Tensor) -> Scores:
    scores: Scores = centred_cosine(directions, center, activations[:, None])[:, 0].numpy()
    return scores
