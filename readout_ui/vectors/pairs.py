"""Contrast pairs as the source of a training: one direction per layer, from the pairs as given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from readout_ui.activations.extract import Activations, read_activations
from readout_ui.errors import UserError
from readout_ui.models.prompt import prompted, unprompted
from readout_ui.progress import Report, silent
from readout_ui.texts.library import Library
from readout_ui.texts.names import is_neutral_name
from readout_ui.texts.pairs import PairSet
from readout_ui.texts.reading import format_descriptions
from readout_ui.texts.sources import Source
from readout_ui.texts.stories import StoryLibrary
from readout_ui.vectors.cross_validation import LayerScores, usual_layer
from readout_ui.vectors.groups import TextGroups, group_texts
from readout_ui.vectors.layer_fits import Fitted
from readout_ui.vectors.methods import fit_given_pairs
from readout_ui.vectors.pair_scores import score_pairs
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.sources import (
    TextSource,
    description_source,
    example_source,
    story_source,
)
from readout_ui.vectors.training import (
    Corpus,
    Extracted,
    capture_settings,
    read_corpus,
    tokens_to_keep,
    warnings_of,
)
from readout_ui.vectors.vectors import N_PROBES, ConceptVectors

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel

PLAIN_PAIRS = "Contrast pairs are fitted by the mean of their differences."


@dataclass(frozen=True, eq=False, kw_only=True)
class PairSource(TextSource):
    """Contrast pairs: the direction from the negative to the positive side.

    A pair's prompt is the user's turn of the chat template; pairs without a prompt, and neutral
    texts, are read in the default one. In the run the positive sides are the concept's texts and
    the negative ones a neutral file, so that everything treats it like any other training.

    The rows of its corpus: the neutral texts, then the positive and the negative side of each pair.
    """

    pairs: PairSet
    neutral: tuple[str, ...]
    """Texts that are the zero of scores."""

    def extract(
        self,
        model: LoadedModel,
        settings: TrainSettings,
        cache: ActivationCache | None = None,
        report: Report = silent,
    ) -> Extracted:
        """Read every unique text after every prompt that it answers once."""
        kept = tokens_to_keep(self.neutral, range(len(self.neutral)))
        sides = [*(("", text) for text in self.neutral), *self._sides()]
        pooled, parts = _read_sides(model, sides, settings, kept, cache, report)
        return Extracted(
            corpus=Corpus(tuple(text for _, text in sides), self._groups(), pooled, settings),
            calibration=parts[0].tokens,
            neutral=tuple(range(len(self.neutral))),
            n_texts=len(set(sides)),
            seconds={k: sum(p.seconds.get(k, 0.0) for p in parts) for k in parts[0].seconds},
            warnings=warnings_of(parts),
            note=f"{sum(p.n_computed for p in parts)} texts read, "
            f"{sum(p.n_cached for p in parts)} from the cache",
        )

    def fitted(self, corpus: Corpus) -> Fitted:
        """The direction, which is pushed along as well, and how well each layer tells apart."""
        return Fitted(self.directions(corpus), None, self.layer_scores(corpus))

    def directions(self, corpus: Corpus) -> Tensor:
        """The direction at all layers, (1, n_layers, d_model)."""
        rows = [(2 * i, 2 * i + 1) for i in range(len(self.pairs.pairs))]
        pooled = corpus.pooled[len(self.neutral) :]
        return fit_given_pairs(pooled, rows, corpus.own_method or corpus.settings.method)[None]

    def probes(self, corpus: Corpus) -> Sequence[int]:
        """The first pair, unless its prompt is another than a server's, and neutral texts."""
        del corpus
        n_neutral = len(self.neutral)
        own = [] if self.pairs.pairs[0].prompt else [n_neutral, n_neutral + 1]
        return [*own, *range(n_neutral)][:N_PROBES]

    def layer_scores(self, corpus: Corpus) -> LayerScores:
        """How well each layer tells the sides of held-out pairs apart."""
        settings, pooled = corpus.settings, corpus.pooled[len(self.neutral) :]
        scores = score_pairs(
            pooled, self.pairs.pairs, corpus.own_method or settings.method, settings.seed
        )
        if scores is None:
            return LayerScores(None, None, usual_layer(corpus.n_layers))
        return LayerScores(scores.auroc, scores.accuracy, scores.best, scores.as_json())

    def distances(self, corpus: Corpus, vectors: ConceptVectors) -> dict[int, float]:
        """By layer, how far the sides of a pair are apart along the direction, on average."""
        sides = corpus.pooled[len(self.neutral) :]  # (2 * n_pairs, n_layers, d_model)
        apart = (sides[0::2] - sides[1::2]).mean(dim=0)  # (n_layers, d_model)
        return {
            layer: float(apart[layer] @ vectors.directions[0, column])
            for column, layer in enumerate(vectors.layers)
        }

    def frame_description(self, model: LoadedModel) -> str:
        """The chat template around the texts, in one line."""
        if not any(pair.prompt for pair in self.pairs.pairs):
            return model.frame.describe()
        column = self.pairs.columns.prompt
        if model.frame.raw:
            return f"no template: the pair's {column}, a line break, and the text"
        return f"{model.frame.kind}: user = the pair's {column}, assistant = the text"

    def calibrated_on(self, corpus: Corpus) -> str:
        """Which tokens z-scores compare with, in one line."""
        del corpus
        return "neutral tokens"

    def stand_in(self, corpus: Corpus) -> str:
        """Pairs cancel by themselves what the other methods take off."""
        unmapped = corpus.linear and corpus.settings.method != "mean"
        return PLAIN_PAIRS if unmapped else ""

    def contrast(self, scores: LayerScores) -> dict[str, Any]:
        """Polarity, prompts and held-out scores, as JSON holds them."""
        prompts = [pair.prompt for pair in self.pairs.pairs]
        return {
            "positive": self.pairs.columns.positive,
            "negative": self.pairs.columns.negative,
            "polarity": self.pairs.columns.polarity,
            "n_pairs": len(self.pairs.pairs),
            "source": self.pairs.source,
            "prompts": prompts if any(prompts) else None,
            "held_out": scores.held_out,
        }

    def _sides(self) -> list[tuple[str, str]]:
        """Prompt and text of both sides of each pair."""
        return [(p.prompt, text) for p in self.pairs.pairs for text in (p.positive, p.negative)]

    def _groups(self) -> TextGroups:
        first = len(self.neutral)
        positive = tuple(range(first, first + 2 * len(self.pairs.pairs), 2))
        return TextGroups((self.pairs.name,), (positive,), tuple(range(first)))


def text_source(texts: Library | Source | TextSource) -> TextSource:
    """What a training needs of texts of any kind.

    Raises:
        UserError: an empty concept, a side without examples, or no neutral texts for pairs.
    """
    if isinstance(texts, TextSource):
        return texts
    if isinstance(texts, Library):
        return description_source(texts)
    content, neutral = texts.content, texts.neutral
    if isinstance(content, PairSet):
        return pair_source(content, neutral)
    if isinstance(content, StoryLibrary):
        return story_source(content, neutral)
    return example_source(content, texts.warnings(), neutral)


def _texts_of(pairs: PairSet) -> dict[str, tuple[str, ...]]:
    """The sides of all pairs: the positive ones by the concept's name."""
    return {
        pairs.name: tuple(pair.positive for pair in pairs.pairs),
        f"_{pairs.name}_negative": tuple(pair.negative for pair in pairs.pairs),
    }


def pair_fingerprints(pairs: PairSet) -> dict[str, str]:
    """sha256 of the sides, as the manifest of their run has them."""
    return {name: _fingerprint(some) for name, some in _texts_of(pairs).items()}


def pair_source(pairs: PairSet, neutral: Mapping[str, Sequence[str]]) -> PairSource:
    """Contrast pairs, calibrated on neutral texts by file name.

    Raises:
        UserError: there are no neutral texts.
    """
    row = tuple(text for name in sorted(neutral) for text in neutral[name])
    if not row:
        raise UserError("there are no neutral texts to calibrate on", fix="name a folder of them")
    texts = {**{name: tuple(some) for name, some in neutral.items()}, **_texts_of(pairs)}
    return PairSource(
        texts=texts,
        fingerprints={name: _fingerprint(some) for name, some in texts.items()},
        kind="contrast pairs",
        title=f"Training {pairs.name} on {len(pairs.pairs)} pairs",
        pairs=pairs,
        neutral=row,
    )


def read_run_texts(
    model: LoadedModel,
    texts: Mapping[str, Sequence[str]],
    prompts: Sequence[str] | None,
    settings: TrainSettings,
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> Corpus:
    """Activations of a run's texts, whatever it was trained on; cached ones are not read again.

    Sides of contrast pairs stand after the prompt of their pair, all other texts in the model's
    default frame.

    Args:
        model: the model the run was trained on.
        texts: the run's, by file name; names with a leading underscore are neutral.
        prompts: of contrast pairs, in their order; None for other texts.
        settings: the run's, or the same with another read rule.
        cache: activations read earlier.
        report: told after every batch.
    """
    if not prompts:
        return read_corpus(model, texts, settings, cache, report)
    every, groups = group_texts(texts)
    sides = {groups.concepts[0], f"_{groups.concepts[0]}_negative"}
    order = sorted(texts, key=lambda name: (is_neutral_name(name), name))
    asked = [
        prompt
        for name in order
        for prompt in (prompts if name in sides else [""] * len(texts[name]))
    ]
    pairs = list(zip(asked, every, strict=True))
    pooled, _ = _read_sides(model, pairs, settings, None, cache, report)
    return Corpus(every, groups, pooled, settings)


def _read_sides(
    model: LoadedModel,
    sides: Sequence[tuple[str, str]],
    settings: TrainSettings,
    kept: Mapping[str, int] | None,
    cache: ActivationCache | None,
    report: Report,
) -> tuple[Tensor, list[Activations]]:
    """Activations of texts after their prompts, empty for none, (n_sides, n_layers, d_model)."""
    model, capture = model.framed(settings.frame), capture_settings(settings)
    plain = [text for prompt, text in sides if not prompt]
    answers = [prompted(prompt, text) for prompt, text in sides if prompt]
    parts = [read_activations(model, plain, capture, cache, kept, report)]
    found = {("", text): parts[0].pooled[i] for i, text in enumerate(plain)}
    if answers:
        part = read_activations(with_prompts(model), answers, capture, cache, None, report)
        found |= {unprompted(text): part.pooled[i] for i, text in enumerate(answers)}
        parts.append(replace(part, truncated=tuple(unprompted(t)[1] for t in part.truncated)))
    return torch.stack([found[side] for side in sides]), parts


def with_prompts(model: LoadedModel) -> LoadedModel:
    """The same model, reading texts that `prompted` made."""
    identity = f"a prompt for each text\0{model.frame.fingerprint}"
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    return model.with_frame(model.frame.changed(prompted=True, fingerprint=fingerprint))


def _fingerprint(texts: Sequence[str]) -> str:
    return hashlib.sha256(format_descriptions(texts).encode("utf-8", "replace")).hexdigest()
