"""Training from other texts than descriptions: examples with their own negatives, and stories."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from readout_ui.activations.extract import read_activations
from readout_ui.errors import UserError
from readout_ui.progress import Progress, Report, silent
from readout_ui.texts.stories import scene_of_rows
from readout_ui.vectors.contrasts import contrast, paired_directions, without_scenes
from readout_ui.vectors.cross_validation import cross_validated_layers
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import neutral_center
from readout_ui.vectors.settings import Trained, TrainSettings
from readout_ui.vectors.training import (
    best_of,
    capture_settings,
    chosen_layers,
    group_texts,
    tokens_to_keep,
    warnings_of,
)
from readout_ui.vectors.vectors import ConceptVectors, add_probes, calibrate

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel
    from readout_ui.texts.examples import ConceptExamples
    from readout_ui.texts.stories import StoryLibrary

NEGATIVES = "_negatives"
"""The neutral file of a run from examples: texts that are positive for none of its concepts."""


@dataclass(frozen=True)
class SourceActivations:
    """The texts of a training, read."""

    texts: tuple[str, ...]
    groups: TextGroups
    pooled: Tensor
    """(n_texts, n_layers, d_model), float32."""


@dataclass(frozen=True)
class TextSource:
    """Where a training's texts come from and how directions follow from them."""

    kind: str
    """What the texts are, e.g. "stories"."""
    texts: Mapping[str, tuple[str, ...]]
    """By concept; names with a leading underscore are neutral."""
    fingerprints: Mapping[str, str]
    """sha256 by concept."""
    fit: Callable[[SourceActivations, TrainSettings], Tensor]
    """Directions at all layers, (n_concepts, n_layers, d_model)."""
    for_layers: Callable[[SourceActivations], tuple[Tensor, TextGroups]]
    """Activations and groups by which the best layer is chosen."""
    warnings: tuple[str, ...]


def train_source(
    source: TextSource,
    model: LoadedModel,
    settings: TrainSettings,
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> Trained:
    """Fit one direction per concept and layer; every text goes through the model at most once.

    Args:
        source: texts, and what they are contrasted with.
        model: the loaded model.
        settings: method, read rule, layers and seed.
        cache: activations read earlier; None reads everything anew.
        report: told after every batch; may raise Cancelled.

    Raises:
        UserError: a concept without text, or a layer that does not exist.
    """
    blocks = model.blocks(settings.layer_type, dict(settings.layer_config))
    texts, groups = group_texts(source.texts)
    activations = read_activations(
        model, texts, capture_settings(settings), cache, tokens_to_keep(texts, groups), report
    )
    report(Progress("Fitting", 0, len(groups.concepts), "concepts"))
    reading = SourceActivations(texts, groups, activations.pooled)
    directions = source.fit(reading, settings)  # (n_concepts, n_layers, d_model)
    calibration = calibrate(directions, activations.kept)
    center = neutral_center(activations.pooled, groups)
    fitted = ConceptVectors(
        concepts=groups.concepts,
        layers=tuple(range(directions.shape[1])),
        directions=directions,
        center=center,
        neutral_mean=calibration.mean,
        neutral_std=calibration.std,
        layer_type=settings.layer_type,
        layer_config=settings.layer_config,
    )
    vectors = add_probes(fitted, texts, groups, activations.pooled)
    scores = cross_validated_layers(*source.for_layers(reading), seed=settings.seed)
    layers = chosen_layers(settings.layers, scores, model.n_layers)
    report(Progress("Fitting", len(groups.concepts), len(groups.concepts), "concepts"))
    return Trained(
        vectors=vectors.select(layers=layers),
        settings=settings,
        model_name=model.name,
        model_revision=model.revision,
        model_fingerprint=model.fingerprint,
        model_dtype=str(model.dtype).removeprefix("torch."),
        frame_fingerprint=model.frame.fingerprint,
        frame_description=model.frame.describe(),
        module_path=blocks.template,
        fingerprints=dict(source.fingerprints),
        n_texts=len(set(texts)),
        layer_scores=scores.auroc,
        best_layer=best_of(layers, scores),
        warnings=(*source.warnings, *warnings_of(activations, groups)),
        timings=dict(activations.seconds),
        calibrated_on="neutral tokens" if groups.neutral else "tokens of the concepts' texts",
        descriptions=dict(source.texts),
        source=source.kind,
    )


def story_source(library: StoryLibrary) -> TextSource:
    """Stories, whose settings cancel where scenes are shared (`contrasts.paired_directions`)."""
    concepts, by_concept = library.concepts(), library.scenes()
    scenes = scene_of_rows(concepts, by_concept)

    def fit(reading: SourceActivations, settings: TrainSettings) -> Tensor:
        pairs = PairSettings(settings.seed, settings.max_negatives_per_positive)
        return paired_directions(reading.pooled, reading.groups, scenes, settings.method, pairs)

    def for_layers(reading: SourceActivations) -> tuple[Tensor, TextGroups]:
        return without_scenes(reading.pooled, reading.groups, scenes), reading.groups

    prints, warnings = library.fingerprints(), library.warnings()
    return TextSource("stories", library.texts(), prints, fit, for_layers, warnings)


def example_source(examples: Sequence[ConceptExamples], warnings: Sequence[str] = ()) -> TextSource:
    """Examples, each concept against its own negatives (contrastive activation addition).

    Raises:
        UserError: a concept without examples on a side.
    """
    for each in examples:
        for side, some in (("positive", each.positive), ("negative", each.negative)):
            if not some:
                raise UserError(f"there is no {side} example", where=each.concept)
    sides = {
        each.concept: tuple(
            _distinct(e.text for e in some) for some in (each.positive, each.negative)
        )
        for each in examples
    }
    texts = {concept: positive for concept, (positive, _) in sides.items()}
    shown = {text for positive in texts.values() for text in positive}
    others = _distinct(t for _, negative in sides.values() for t in negative if t not in shown)
    if others:
        texts[NEGATIVES] = others

    def fit(reading: SourceActivations, settings: TrainSettings) -> Tensor:
        pairs = PairSettings(settings.seed, settings.max_negatives_per_positive)
        row = {text: place for place, text in enumerate(reading.texts)}
        return torch.stack(
            [
                contrast(
                    settings.method,
                    concept,
                    reading.pooled[[row[text] for text in sides[concept][0]]],
                    reading.pooled[[row[text] for text in sides[concept][1]]],
                    pairs,
                )
                for concept in reading.groups.concepts
            ]
        )  # (n_concepts, n_layers, d_model)

    def for_layers(reading: SourceActivations) -> tuple[Tensor, TextGroups]:
        return reading.pooled, _each_once(reading)

    prints = {
        name: _fingerprint((*some, *sides.get(name, ((), ()))[1])) for name, some in texts.items()
    }
    return TextSource("examples", texts, prints, fit, for_layers, tuple(warnings))


def _each_once(reading: SourceActivations) -> TextGroups:
    """The groups with a text that shows several concepts counted for the rarest one only.

    Otherwise a text that is held out for one concept would be trained on for another.
    """
    groups, taken = reading.groups, set[str]()
    rows: dict[str, tuple[int, ...]] = {}
    for concept, some in sorted(zip(groups.concepts, groups.rows, strict=True), key=_size):
        own = tuple(row for row in some if reading.texts[row] not in taken)
        rows[concept] = own
        taken |= {reading.texts[row] for row in own}
    kept = tuple(concept for concept in groups.concepts if rows[concept])
    if len(kept) == 1 and not groups.neutral:
        return groups
    return TextGroups(kept, tuple(rows[concept] for concept in kept), groups.neutral)


def _size(concept: tuple[str, tuple[int, ...]]) -> int:
    return len(concept[1])


def _distinct(texts: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _fingerprint(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text.encode())}:{text}".encode())
    return digest.hexdigest()
