"""Training on contrast pairs: one direction per type and layer, from the pairs as given.

The frame of texts that each answer a prompt of their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from readout_ui.activations.extract import Activations, read_activations
from readout_ui.errors import UserError
from readout_ui.models.prompt import FramedText, PromptFrame, frame_for
from readout_ui.progress import Progress, Report, silent
from readout_ui.texts.reading import format_descriptions
from readout_ui.vectors.methods import fit_given_pairs
from readout_ui.vectors.pair_scores import PairScores, score_pairs
from readout_ui.vectors.settings import Trained, TrainSettings
from readout_ui.vectors.training import CALIBRATION_TOKENS, capture_settings
from readout_ui.vectors.vectors import (
    N_PROBES,
    ConceptVectors,
    Probes,
    calibrate,
    pooled_scores,
    resolve_layers,
)

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel
    from readout_ui.texts.pairs import PairSet


@dataclass(frozen=True, eq=False)
class PromptedFrame(PromptFrame):
    """A frame for texts that `prompted` made: each has its own prompt as the user's turn."""

    def frame(self, text: str, max_length: int) -> FramedText:
        """Put the answer after its prompt; only the answer counts as content.

        Raises:
            UserError: the answer is empty or has no tokens.
        """
        prompt, answer = unprompted(text)
        return frame_for(self.tokenizer, prompt).frame(answer, max_length)


def prompted(prompt: str, answer: str) -> str:
    """Prompt and answer as one text, by which its activations are cached."""
    return json.dumps([prompt, answer], ensure_ascii=False)


def unprompted(text: str) -> tuple[str, str]:
    """Prompt and answer of a text that `prompted` made."""
    prompt, answer = json.loads(text)
    return str(prompt), str(answer)


def with_prompts(model: LoadedModel) -> LoadedModel:
    """The same model, reading texts that `prompted` made."""
    frame = model.frame
    parts = {field.name: getattr(frame, field.name) for field in fields(PromptFrame)}
    identity = f"a prompt for each text\0{frame.fingerprint}"
    parts["fingerprint"] = hashlib.sha256(identity.encode()).hexdigest()
    return replace(model, frame=PromptedFrame(**parts))


_USUAL_DEPTH = 0.6


@dataclass(frozen=True, eq=False)
class PairReading:
    """The sides of all pairs, and the neutral texts, read."""

    sides: Tensor
    """(2 * n_pairs, n_layers, d_model): the positive side of each pair, then its negative one."""
    neutral: Tensor
    """(n_neutral, n_layers, d_model), in the default frame."""
    tokens: Tensor
    """(n_tokens, n_layers, d_model): neutral tokens to calibrate on."""
    truncated: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: dict[str, float]
    n_texts: int
    """Unique texts, a side after another prompt counted anew."""


def train_pairs(
    found: PairSet,
    model: LoadedModel,
    settings: TrainSettings,
    neutral: Mapping[str, Sequence[str]],
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> tuple[Trained, PairScores | None]:
    """Fit the direction from the negative to the positive side at every layer, and judge it.

    Every unique text goes through the model at most once: a pair's prompt as the user's turn of
    the frame, pairs without a prompt and neutral texts in the default frame. In the result the
    positive sides are the concept's texts, the negative ones a neutral file of its run, so
    that runs, exports and every readout treat it like any other training.

    Args:
        found: the pairs.
        model: the loaded model.
        settings: method, read rule, layers and seed; "auto" is the best layer on held-out pairs.
        neutral: texts by neutral file name, for centre and calibration.
        cache: activations read earlier.
        report: told after every batch; may raise Cancelled.

    Returns:
        The training, and its scores on held-out pairs; None where one group of pairs is all.

    Raises:
        UserError: no neutral texts, an empty text, or a layer that does not exist.
    """
    texts = tuple(text for name in sorted(neutral) for text in neutral[name])
    if not texts:
        raise UserError("there are no neutral texts to calibrate on", fix="name a folder of them")
    blocks = model.blocks(settings.layer_type, dict(settings.layer_config))
    reading = _read(found, texts, model, settings, cache, report)
    report(Progress("Fitting", 0, 1, "concepts"))
    rows = [(2 * i, 2 * i + 1) for i in range(len(found.pairs))]
    directions = fit_given_pairs(reading.sides, rows, settings.method)[None]
    vectors = replace(
        _vectors(found, texts, reading, directions),
        layer_type=settings.layer_type,
        layer_config=settings.layer_config,
    )
    scores = score_pairs(reading.sides, found.pairs, settings.method, settings.seed)
    best = scores.best if scores else round(_USUAL_DEPTH * (model.n_layers - 1))
    layers = resolve_layers(settings.layers, model.n_layers, auto=(best,))
    report(Progress("Fitting", 1, 1, "concepts"))
    descriptions = _descriptions(found, neutral)
    trained = Trained(
        vectors=vectors.select(layers=layers),
        settings=settings,
        model_name=model.name,
        model_revision=model.revision,
        model_fingerprint=model.fingerprint,
        model_dtype=str(model.dtype).removeprefix("torch."),
        frame_fingerprint=model.frame.fingerprint,
        frame_description=_frame_description(found, model),
        module_path=blocks.template,
        fingerprints={name: _fingerprint(some) for name, some in descriptions.items()},
        n_texts=reading.n_texts,
        layer_scores=scores.auroc if scores else None,
        best_layer=_best_of(layers, best, scores),
        warnings=_warnings(reading),
        timings=reading.seconds,
        calibrated_on="neutral tokens",
        descriptions=descriptions,
        contrast=_contrast(found, scores),
        source="contrast pairs",
    )
    return trained, scores


def _read(
    found: PairSet,
    neutral: Sequence[str],
    model: LoadedModel,
    settings: TrainSettings,
    cache: ActivationCache | None,
    report: Report,
) -> PairReading:
    capture = capture_settings(settings)
    each = max(1, CALIBRATION_TOKENS // len(neutral))
    plain = [t for p in found.pairs if not p.prompt for t in (p.positive, p.negative)]
    answers = [
        prompted(p.prompt, t) for p in found.pairs if p.prompt for t in (p.positive, p.negative)
    ]
    kept = dict.fromkeys(neutral, each)
    default = read_activations(model, [*neutral, *plain], capture, cache, kept, report)
    parts: list[Activations] = [default]
    if answers:
        parts.append(read_activations(with_prompts(model), answers, capture, cache, None, report))
    by_text = {("", text): default.pooled[i] for i, text in enumerate(default.texts)}
    for part in parts[1:]:
        by_text |= {unprompted(text): part.pooled[i] for i, text in enumerate(part.texts)}
    sides = [by_text[p.prompt, t] for p in found.pairs for t in (p.positive, p.negative)]
    cut = [*default.truncated, *(unprompted(t)[1] for part in parts[1:] for t in part.truncated)]
    return PairReading(
        sides=torch.stack(sides),
        neutral=default.pooled[: len(neutral)],
        tokens=default.kept,
        truncated=tuple(cut),
        notes=tuple(note for part in parts for note in part.notes),
        seconds={k: sum(p.seconds.get(k, 0.0) for p in parts) for p in parts for k in p.seconds},
        n_texts=len(by_text),
    )


def _vectors(
    found: PairSet, neutral: Sequence[str], reading: PairReading, directions: Tensor
) -> ConceptVectors:
    """The directions, calibrated, with probe texts that were read in the default frame."""
    calibration = calibrate(directions, reading.tokens)
    vectors = ConceptVectors(
        concepts=(found.name,),
        layers=tuple(range(directions.shape[1])),
        directions=directions,
        center=reading.neutral.mean(dim=0, dtype=torch.float64).float(),  # (n_layers, d_model)
        neutral_mean=calibration.mean,
        neutral_std=calibration.std,
    )
    first = found.pairs[0]
    own = [] if first.prompt else [(first.positive, 0), (first.negative, 1)]
    others = list(enumerate(neutral))[: N_PROBES - len(own)]
    pooled = torch.cat([reading.sides[[row for _, row in own]], reading.neutral[: len(others)]])
    texts = (*(text for text, _ in own), *(text for _, text in others))
    return replace(vectors, probes=Probes(texts, pooled_scores(vectors, pooled)))


def _descriptions(
    found: PairSet, neutral: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """The run's texts: positive sides by the concept's name, all others by neutral names."""
    sides = {
        found.name: tuple(pair.positive for pair in found.pairs),
        f"_{found.name}_negative": tuple(pair.negative for pair in found.pairs),
    }
    return {**{name: tuple(some) for name, some in neutral.items()}, **sides}


def _contrast(found: PairSet, scores: PairScores | None) -> dict[str, Any]:
    prompts = [pair.prompt for pair in found.pairs]
    return {
        "positive": found.columns.positive,
        "negative": found.columns.negative,
        "polarity": found.columns.polarity,
        "n_pairs": len(found.pairs),
        "source": found.source,
        "prompts": prompts if any(prompts) else None,
        "held_out": scores.as_json() if scores else None,
    }


def _frame_description(found: PairSet, model: LoadedModel) -> str:
    if not any(pair.prompt for pair in found.pairs):
        return model.frame.describe()
    return f"{model.frame.kind}: user = the pair's {found.columns.prompt}, assistant = the text"


def _best_of(layers: Sequence[int], best: int, scores: PairScores | None) -> int:
    if best in layers or scores is None:
        return best if best in layers else layers[-1]
    accuracy = scores.accuracy
    return max(layers, key=lambda layer: accuracy[layer])


def _warnings(reading: PairReading) -> tuple[str, ...]:
    cut = (
        f"Longer than the limit, only its beginning was read: “{t[:60]}”" for t in reading.truncated
    )
    return (*cut, *reading.notes)


def _fingerprint(texts: Sequence[str]) -> str:
    return hashlib.sha256(format_descriptions(texts).encode("utf-8", "replace")).hexdigest()
