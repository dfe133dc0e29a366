"""The steps of a training, each of which can be called alone: extract, fit, calibrate, choose.

    extracted = extract(texts, model, TrainSettings())      # texts by concept -> activations
    directions = fit(extracted.corpus)                      # (n_concepts, n_layers, d_model)
    vectors = assemble(directions, extracted)               # with center, calibration and probes
    scores = cross_validated_layers(extracted.corpus.pooled, extracted.corpus.groups)
    vectors.select(layers=chosen_layers("auto", scores, model.n_layers))

`runs.training.train` does all of them and says in a manifest what was done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from readout_ui.activations.extract import Activations, read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.pooling import Layered, at_layer, in_one, some_rows
from readout_ui.progress import Report, silent
from readout_ui.texts.words import cut
from readout_ui.vectors.cross_validation import LayerScores
from readout_ui.vectors.groups import PairSettings, TextGroups, group_texts
from readout_ui.vectors.methods import Method, OwnMethod, method_named, neutral_center
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.vectors import (
    Calibration,
    ConceptVectors,
    Probes,
    calibrate,
    pooled_scores,
    probe_rows,
    resolve_layers,
)
from readout_ui.vectors.whitening import MAPPED

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel

CPU = torch.device("cpu")
CALIBRATION_TOKENS = 256
"""Tokens kept for calibration over all neutral texts: enough for a stable mean and spread of a
projection, small enough (256 x 80 x 8192 floats = 0.7 GB) for the largest models."""
NO_NEUTRAL = (
    "There are no neutral texts, so z-scores compare with the descriptions themselves. "
    "Add a file whose name starts with _ (for example _baseline.txt) for a true zero."
)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts, which concept each belongs to, and their activations at every layer."""

    texts: tuple[str, ...]
    """Every text, neutral ones included; a text may occur twice."""
    groups: TextGroups
    """Which rows belong to which concept."""
    activations: Layered
    """(n_texts, n_layers, d_model), float32, by the run's read rule, maybe where they were read."""
    settings: TrainSettings
    """How the texts were read and the vectors fitted."""
    own_method: OwnMethod | None = None
    """Fits in place of the method that the settings name."""
    neutral_tokens: Layered | None = None
    """(n_tokens, n_layers, d_model), float32: single tokens of neutral texts, by which some methods
    know what differs in any text; None where there are none."""
    keys: tuple[str, ...] = ()
    """Of every row, what is the same exactly where its numbers are; empty where nobody knows."""
    cache: ActivationCache | None = None
    """Beside which a fit keeps dot products for the next one."""
    device: torch.device = CPU
    """Where the model is; a GPU fits linear methods as well."""

    def __post_init__(self) -> None:
        shape = tuple(self.activations.shape)
        if len(shape) != 3 or shape[0] != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts but activations {shape}")

    @property
    def pooled(self) -> Tensor:
        """The activations as one tensor; where they lie apart, they are copied once."""
        return in_one(self.activations)

    @property
    def tokens(self) -> Tensor | None:
        """The neutral tokens as one tensor, if there are any."""
        return None if self.neutral_tokens is None else in_one(self.neutral_tokens)

    @property
    def n_layers(self) -> int:
        """All layers of the model, whichever the run kept."""
        return self.activations.shape[1]

    @property
    def method(self) -> Method:
        """What fits the directions; UserError where it was a function and is gone."""
        return self.own_method or method_named(self.settings.method)

    @property
    def linear(self) -> bool:
        """Whether the method is a linear map of mean differences."""
        return self.own_method is None and self.settings.method in MAPPED

    @property
    def mapped_method(self) -> str:
        """The method where it is linear, else "mean", which held-out scores then stand on.

        Fitting the others anew for every fold and layer would take too long.
        """
        return self.settings.method if self.linear else "mean"

    def at(self, layer: int) -> Corpus:
        """The same corpus at one layer alone, which is then layer 0."""
        here, tokens = (
            None if some is None else torch.from_numpy(at_layer(some, layer).copy())[:, None]
            for some in (self.activations, self.neutral_tokens)
        )
        assert here is not None
        return replace(self, activations=here, neutral_tokens=tokens, cache=None)

    @property
    def pairing(self) -> PairSettings:
        """How the methods that pair texts do it."""
        return PairSettings(self.settings.seed, self.settings.max_negatives_per_positive)

    def place(self, row: int) -> tuple[str, int] | None:
        """Concept and index within it of a row, None for a neutral text."""
        for concept, rows in zip(self.groups.concepts, self.groups.rows, strict=True):
            if row in rows:
                return concept, rows.index(row)
        return None


@dataclass(frozen=True, eq=False)
class Extracted:
    """What the model gave for the texts of a training."""

    corpus: Corpus
    calibration: Layered
    """(n_tokens, n_layers, d_model): single tokens to calibrate on, of neutral texts if any."""
    neutral: tuple[int, ...]
    """Rows of the texts that are the zero of scores; empty where there are none."""
    n_texts: int
    """Unique texts."""
    seconds: dict[str, float]
    """Time per step."""
    warnings: tuple[str, ...]
    note: str
    """How much was read and how much was known."""

    @property
    def tokens(self) -> Tensor:
        """The tokens as one tensor."""
        return in_one(self.calibration)


def extract(
    texts: Mapping[str, Sequence[str]],
    model: LoadedModel,
    settings: TrainSettings,
    cache: ActivationCache | None = None,
    report: Report = silent,
    zero: Collection[str] | None = None,
) -> Extracted:
    """Read every text once, at every layer, pooled by the read rule.

    Args:
        texts: by concept; names with a leading underscore are neutral, but for `_against calm`,
            which `calm` is contrasted with.
        model: the loaded model.
        settings: read rule, layer type and limits.
        cache: activations read earlier; None reads everything anew.
        report: told after every batch; may raise Cancelled.
        zero: the neutral files that scores are calibrated on; None for all of them.

    Raises:
        UserError: a concept without texts, an empty text, or a text that does not fit into memory.

    >>> texts = {"calm": ["Nothing pulls at me."], "angry": ["How dare they!"]}
    >>> ro.extract(texts, model, ro.TrainSettings()).corpus.pooled.shape
    torch.Size([2, 30, 576])
    """
    rows, groups = group_texts(texts)
    shown = {text for name in texts.keys() & set(zero or ()) for text in texts[name]}
    neutral = tuple(i for i in groups.neutral if zero is None or rows[i] in shown)
    kept = tokens_to_keep(rows, neutral or groups.all_rows())
    found = read_activations(model, rows, capture_settings(settings), cache, kept, report)
    return Extracted(
        corpus=Corpus(
            rows,
            groups,
            found.rows,
            settings,
            neutral_tokens=found.tokens if neutral else None,
            keys=found.keys,
            cache=cache,
            device=model.works_on,
        ),
        calibration=found.tokens,
        neutral=neutral,
        n_texts=len(set(rows)),
        seconds=dict(found.seconds),
        warnings=(*warnings_of([found]), *(() if neutral else (NO_NEUTRAL,))),
        note=f"{found.n_computed} texts read, {found.n_cached} from the cache",
    )


def read_corpus(
    model: LoadedModel,
    texts: Mapping[str, Sequence[str]],
    settings: TrainSettings,
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> Corpus:
    """Activations of a run's texts; nothing goes through the model that the cache still has."""
    return extract(texts, model, settings, cache, report).corpus


def fit(corpus: Corpus) -> Tensor:
    """Directions of all concepts at all layers, each against all other texts.

    Returns:
        (n_concepts, n_layers, d_model), float32, unit length, or zero where nothing differs.

    >>> texts = {"calm": ["Nothing pulls at me."], "angry": ["How dare they!"]}
    >>> ro.fit(ro.extract(texts, model, ro.TrainSettings()).corpus).shape
    torch.Size([2, 30, 576])
    """
    return corpus.method(corpus.pooled, corpus.groups, corpus.pairing, corpus.tokens)


def assemble(
    directions: Tensor,
    extracted: Extracted,
    probes: Sequence[int] | None = None,
    steering: Tensor | None = None,
    calibration: Calibration | None = None,
) -> ConceptVectors:
    """Directions with center, calibration and probe texts.

    Args:
        directions: (n_concepts, n_layers, d_model).
        extracted: what they were fitted on.
        probes: rows of the texts kept to check a server by; None for some of every concept.
        steering: what a model is pushed along, where that is something else.
        calibration: of these directions, where it is known.
    """
    corpus = extracted.corpus
    calibration = calibration or calibrate(directions, extracted.calibration)
    mean, std = calibration.mean, calibration.std
    rows = list(probe_rows(corpus.groups) if probes is None else probes)
    scores = pooled_scores(some_rows(corpus.activations, rows), directions, mean, std)
    return ConceptVectors(
        concepts=corpus.groups.concepts,
        layers=tuple(range(directions.shape[1])),
        directions=directions,
        center=neutral_center(
            corpus.activations, replace(corpus.groups, neutral=extracted.neutral)
        ),
        neutral_mean=mean,
        neutral_std=std,
        probes=Probes(tuple(corpus.texts[row] for row in rows), scores),
        layer_type=corpus.settings.layer_type,
        layer_config=corpus.settings.layer_config,
        steering=steering,
    )


def chosen_layers(spec: str, scores: LayerScores, n_layers: int) -> tuple[int, ...]:
    """The layers that are kept; "auto" is the best one by cross-validation."""
    return resolve_layers(spec, n_layers, auto=(scores.best,))


def best_of(layers: Sequence[int], scores: LayerScores) -> int:
    """The best layer among those kept: the cross-validated one where it was kept."""
    ratings = scores.ratings
    if scores.best in layers or ratings is None:
        return scores.best if scores.best in layers else layers[-1]
    return max(layers, key=lambda layer: ratings[layer])


def capture_settings(settings: TrainSettings) -> CaptureSettings:
    """The part of the settings that decides what is read from the model."""
    return CaptureSettings(
        read=settings.read,
        layer_type=settings.layer_type,
        layer_config=settings.layer_config,
        max_length=settings.max_length,
        batch_size=settings.batch_size,
        frame=settings.frame,
    )


def tokens_to_keep(texts: Sequence[str], rows: Sequence[int]) -> Mapping[str, int]:
    """How many tokens of which text are kept to calibrate on."""
    each = max(1, CALIBRATION_TOKENS // len(rows))
    return {texts[row]: each for row in rows}


def warnings_of(parts: Sequence[Activations]) -> tuple[str, ...]:
    """What a person should know about how texts were read, one sentence each."""
    shortened = (
        f"Longer than the limit, only its beginning was read: “{cut(text, 60)}”"
        for part in parts
        for text in part.truncated
    )
    return (*shortened, *(note for part in parts for note in part.notes))
