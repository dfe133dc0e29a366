"""One training, from texts of any kind to a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from readout_ui.progress import Progress, Report, silent
from readout_ui.runs.manifest import FramePart, MetricsPart, ModelPart, describe, finite_or_none
from readout_ui.runs.run import Run
from readout_ui.texts.library import Library
from readout_ui.texts.sources import Source
from readout_ui.vectors.methods import OwnMethod
from readout_ui.vectors.pairs import text_source
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.sources import TextSource
from readout_ui.vectors.training import assemble, best_of, chosen_layers
from readout_ui.vectors.vectors import calibrate
from readout_ui.vectors.whitening import fit_parameters

if TYPE_CHECKING:
    from torch import Tensor

    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel


def train(
    texts: Library | Source | TextSource,
    model: LoadedModel,
    settings: TrainSettings,
    cache: ActivationCache | None = None,
    report: Report = silent,
    *,
    method: Callable[..., Tensor] | None = None,
) -> Run:
    """Fit one direction per concept and layer; every text goes through the model at most once.

    Args:
        texts: a library of descriptions, or what `pairs`, `stories` or `examples` (in
            `texts.sources`) gives.
        model: the loaded model.
        settings: method, read rule, layers, layer type and seed.
        cache: activations read earlier; None reads everything anew.
        report: told after every batch; may raise Cancelled.
        method: a function that fits in place of the settings' method: (activations, groups,
            pairing) -> directions, as those of `METHODS`; or an aggregator of steering-vectors,
            (positive, negative) -> direction, for pairs of rows (n_pairs, d_model). The run notes
            its name alone.

    Returns:
        The run, in memory; `Run.save` keeps it.

    Raises:
        UserError: a concept without texts, an unreadable file, or a layer that does not exist.
    """
    source = text_source(texts)
    model = model.framed(settings.frame)
    blocks = model.blocks(settings.layer_type, dict(settings.layer_config))
    own = OwnMethod(method) if method else None
    if own:
        settings = replace(settings, method=own.name)
    extracted = source.extract(model, settings, cache, report)
    corpus, seconds = replace(extracted.corpus, own_method=own), dict(extracted.seconds)
    n_concepts = len(corpus.groups.concepts)
    # How far a fit is cannot be told: a count would stay at 0 until it is done.
    report(Progress("Fitting", 0, 0, "concepts", note=extracted.note))
    with _timed(seconds, "fit"):
        fitted = source.fitted(corpus)
        scores = fitted.scores
    with _timed(seconds, "calibrate"):
        tokens = extracted.calibration
        calibration = fitted.calibration or calibrate(fitted.directions, tokens)
        probes = source.probes(corpus)
        whole = assemble(fitted.directions, extracted, probes, fitted.steering, calibration)
    instead = source.stand_in(corpus)
    layers = chosen_layers(settings.layers, scores, model.n_layers)
    vectors = whole.select(layers=layers)
    report(Progress("Fitting", n_concepts, n_concepts, "concepts"))
    manifest = describe(
        vectors,
        settings,
        model=_model_part(model),
        frame=FramePart(
            fingerprint=model.frame.fingerprint, description=source.frame_description(model)
        ),
        module_path=blocks.template,
        metrics=MetricsPart(
            best_layer=best_of(layers, scores),
            layer_scores=finite_or_none(scores.auroc),
            n_texts=extracted.n_texts,
        ),
        calibrated_on=source.calibrated_on(corpus),
        fingerprints=source.fingerprints,
        source=source.kind,
        contrast=source.contrast(scores),
        fit=fit_parameters(settings.method, instead, corpus.groups),
        norms=list(calibration.lengths),
    )
    return Run(
        manifest,
        lambda: vectors,
        dict(source.texts),
        timings=seconds,
        warnings=(*source.warnings, *extracted.warnings, *([instead] if instead else [])),
        distances=source.distances(corpus, vectors),
    )


def _model_part(model: LoadedModel) -> ModelPart:
    return ModelPart(
        id=model.name,
        revision=model.revision,
        fingerprint=model.fingerprint,
        dtype=str(model.dtype).removeprefix("torch."),
    )


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - started
