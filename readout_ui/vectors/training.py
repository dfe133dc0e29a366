"""One training: the library's texts through the model once, directions, calibration, best layer.

A run's descriptions with their activations: what every judgement of its vectors starts from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from readout_ui.activations.extract import Activations, CaptureSettings, read_activations
from readout_ui.progress import Progress, Report, silent
from readout_ui.texts.library import Library, require_trainable
from readout_ui.texts.names import is_neutral_name
from readout_ui.vectors.cross_validation import LayerScores, cross_validated_layers
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import METHODS, neutral_center
from readout_ui.vectors.settings import Trained, TrainSettings
from readout_ui.vectors.vectors import ConceptVectors, add_probes, calibrate, resolve_layers

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel

CALIBRATION_TOKENS = 256
"""Tokens kept for calibration over all neutral texts: enough for a stable mean and spread of a
projection, small enough (256 x 80 x 8192 floats = 0.7 GB) for the largest models."""
NO_NEUTRAL = (
    "There are no neutral texts, so z-scores compare with the descriptions themselves. "
    "Add a file whose name starts with _ (for example _baseline.txt) for a true zero."
)


def train(
    library: Library,
    model: LoadedModel,
    settings: TrainSettings,
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> Trained:
    """Fit one direction per concept and layer from the library's descriptions.

    Args:
        library: what is on disk; every text goes through the model at most once.
        model: the loaded model.
        settings: method, read rule, layers and seed.
        cache: activations read earlier; None reads everything anew.
        report: told after every batch; may raise Cancelled.

    Raises:
        UserError: an empty concept, an unreadable file, a layer that does not exist.
    """
    require_trainable(library)
    blocks = model.blocks(settings.layer_type, dict(settings.layer_config))
    descriptions = library.texts()
    texts, groups = group_texts(descriptions)
    activations = read_activations(
        model, texts, capture_settings(settings), cache, tokens_to_keep(texts, groups), report
    )
    seconds = dict(activations.seconds)
    report(Progress("Fitting", 0, len(groups.concepts), "concepts", note=_counts(activations)))
    with _timed(seconds, "fit"):
        fitted = fit(activations, groups, settings)
        vectors = add_probes(fitted, texts, groups, activations.pooled)
    with _timed(seconds, "choose layer"):
        scores = cross_validated_layers(activations.pooled, groups, seed=settings.seed)
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
        fingerprints=library.fingerprints(),
        n_texts=len(set(texts)),
        layer_scores=scores.auroc,
        best_layer=best_of(layers, scores),
        warnings=warnings_of(activations, groups),
        timings=seconds,
        calibrated_on="neutral tokens" if groups.neutral else "tokens of the descriptions",
        descriptions=descriptions,
    )


def group_texts(
    descriptions: Mapping[str, Sequence[str]],
) -> tuple[tuple[str, ...], TextGroups]:
    """All texts in one row, concepts by name and neutral files last, and which is whose."""
    texts: list[str] = []

    def place(added: Sequence[str]) -> tuple[int, ...]:
        texts.extend(added)
        return tuple(range(len(texts) - len(added), len(texts)))

    concepts = sorted(name for name in descriptions if not is_neutral_name(name))
    rows = tuple(place(descriptions[name]) for name in concepts)
    neutral = [place(descriptions[name]) for name in sorted(descriptions.keys() - set(concepts))]
    flat = tuple(row for some in neutral for row in some)
    return tuple(texts), TextGroups(tuple(concepts), rows, flat)


def capture_settings(settings: TrainSettings) -> CaptureSettings:
    """The part of the settings that decides what is read from the model."""
    return CaptureSettings(
        read=settings.read,
        layer_type=settings.layer_type,
        layer_config=settings.layer_config,
        max_length=settings.max_length,
        batch_size=settings.batch_size,
    )


def tokens_to_keep(texts: Sequence[str], groups: TextGroups) -> Mapping[str, int]:
    """How many tokens of which text are kept to calibrate on; neutral texts where there are any."""
    rows = groups.neutral or groups.all_rows()
    each = max(1, CALIBRATION_TOKENS // len(rows))
    return {texts[row]: each for row in rows}


def fit(activations: Activations, groups: TextGroups, settings: TrainSettings) -> ConceptVectors:
    """Directions of all concepts at all layers, with center and calibration."""
    pairs = PairSettings(settings.seed, settings.max_negatives_per_positive)
    directions = METHODS[settings.method](activations.pooled, groups, pairs)
    calibration = calibrate(directions, activations.kept)
    return ConceptVectors(
        concepts=groups.concepts,
        layers=tuple(range(directions.shape[1])),
        directions=directions,
        center=neutral_center(activations.pooled, groups),
        neutral_mean=calibration.mean,
        neutral_std=calibration.std,
        layer_type=settings.layer_type,
        layer_config=settings.layer_config,
    )


def chosen_layers(spec: str, scores: LayerScores, n_layers: int) -> tuple[int, ...]:
    """The layers that are kept; "auto" is the best one by cross-validation."""
    return resolve_layers(spec, n_layers, auto=(scores.best,))


def best_of(layers: Sequence[int], scores: LayerScores) -> int:
    """The best layer among those kept: the cross-validated one where it was kept."""
    if scores.best in layers or scores.auroc is None:
        return scores.best if scores.best in layers else layers[-1]
    auroc = scores.auroc
    return max(layers, key=lambda layer: auroc[layer])


def warnings_of(activations: Activations, groups: TextGroups) -> tuple[str, ...]:
    """What the person should know about this training, one sentence each."""
    cut = tuple(
        f"Longer than the limit, only its beginning was read: “{_shortened(text)}”"
        for text in activations.truncated
    )
    return (*cut, *activations.notes, *(() if groups.neutral else (NO_NEUTRAL,)))


def _counts(activations: Activations) -> str:
    return f"{activations.n_computed} texts read, {activations.n_cached} from the cache"


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts, which concept each belongs to, and their activations at every layer."""

    texts: tuple[str, ...]
    """Every description, neutral ones included; a text may occur twice."""
    groups: TextGroups
    """Which rows belong to which concept."""
    pooled: Tensor
    """(n_texts, n_layers, d_model), float32, by the run's read rule."""
    settings: TrainSettings
    """How the texts were read and the vectors fitted."""

    def __post_init__(self) -> None:
        if self.pooled.ndim != 3 or self.pooled.shape[0] != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts but activations {tuple(self.pooled.shape)}")

    @property
    def n_layers(self) -> int:
        """All layers of the model, whichever the run kept."""
        return self.pooled.shape[1]

    def place(self, row: int) -> tuple[str, int] | None:
        """Concept and index within it of a row, None for a neutral text."""
        for concept, rows in zip(self.groups.concepts, self.groups.rows, strict=True):
            if row in rows:
                return concept, rows.index(row)
        return None


def read_corpus(
    model: LoadedModel,
    descriptions: Mapping[str, Sequence[str]],
    settings: TrainSettings,
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> Corpus:
    """Activations of a run's texts; nothing goes through the model that the cache still has.

    Args:
        model: the model the run was trained on.
        descriptions: texts per file name; names with a leading underscore are neutral.
        settings: the run's.
        cache: activations read earlier.
        report: told after every batch.
    """
    texts, groups = group_texts(descriptions)
    activations = read_activations(
        model, texts, capture_settings(settings), cache, tokens_to_keep(texts, groups), report
    )
    return Corpus(texts, groups, activations.pooled, settings)
