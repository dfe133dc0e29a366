"""Where the texts of a training come from, and how directions follow from each kind of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from readout_ui.activations.pooling import Layered
from readout_ui.errors import UserError
from readout_ui.progress import Report, silent
from readout_ui.texts.library import Library, require_trainable
from readout_ui.texts.sources import shipped_neutral
from readout_ui.texts.stories import scene_of_rows
from readout_ui.vectors.contrasts import (
    contrast,
    mean_contrast,
    paired_directions,
    scene_differences,
    without_scenes,
)
from readout_ui.vectors.cross_validation import FOLDS, LayerScores, cross_validated_layers
from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.layer_fits import Fitted, fit_and_rate
from readout_ui.vectors.methods import map_differences
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus, Extracted, extract, fit
from readout_ui.vectors.vectors import ConceptVectors
from readout_ui.vectors.whitening import MOST_TEXTS, stand_in

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel
    from readout_ui.texts.examples import ConceptExamples
    from readout_ui.texts.stories import StoryLibrary

NEGATIVES = "_negatives"
"""The neutral file of a run from examples: texts that are positive for none of its concepts."""
Texts = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False, kw_only=True)
class TextSource:
    """Texts by concept, each concept against all other texts; other kinds say what differs."""

    texts: Texts
    """By concept; names with a leading underscore are neutral."""
    fingerprints: Mapping[str, str]
    """sha256 by name."""
    kind: str = ""
    """What the texts are, e.g. "stories"; empty for descriptions."""
    title: str = "Training"
    """The training in words, while it waits for the device."""
    warnings: tuple[str, ...] = ()
    zero: tuple[str, ...] | None = None
    """The neutral files that scores are calibrated on; None for all of them."""

    def extract(
        self,
        model: LoadedModel,
        settings: TrainSettings,
        cache: ActivationCache | None = None,
        report: Report = silent,
    ) -> Extracted:
        """Read the texts, each unique one once."""
        return extract(self.texts, model, settings, cache, report, self.zero)

    def fitted(self, corpus: Corpus) -> Fitted:
        """Directions at all layers, what to push along, and how well each layer tells apart."""
        groups = self.judged_groups(corpus)
        alike, few = groups == corpus.groups, len(groups.all_rows()) <= MOST_TEXTS
        # Dot products of many texts take longer than what their means need.
        if corpus.mapped_method == "mean" and not (corpus.linear and alike and few):
            return Fitted(self.directions(corpus), None, self.layer_scores(corpus))
        if not alike:
            plain = replace(corpus, settings=replace(corpus.settings, method="mean"))
            return Fitted(
                self.directions(corpus), self.directions(plain), self.layer_scores(corpus)
            )
        return fit_and_rate(corpus, self.cleaned(corpus), groups, self.differences(corpus))

    def directions(self, corpus: Corpus) -> Tensor:
        """Directions at all layers, (n_concepts, n_layers, d_model)."""
        if not corpus.linear:
            return self.nonlinear(corpus)
        return map_differences(
            self.differences(corpus),
            self.cleaned(corpus),
            corpus.groups,
            corpus.settings.method,
            corpus.neutral_tokens,
        )

    def layer_scores(self, corpus: Corpus) -> LayerScores:
        """How well each layer tells held-out texts apart."""
        return cross_validated_layers(
            self.cleaned(corpus),
            self.judged_groups(corpus),
            FOLDS,
            corpus.settings.seed,
            corpus.mapped_method,
            corpus.neutral_tokens,
        )

    def cleaned(self, corpus: Corpus) -> Layered:
        """Activations that a map is estimated from, (n_texts, n_layers, d_model)."""
        return corpus.activations

    def differences(self, corpus: Corpus) -> Tensor | None:
        """What a linear method maps, (n_concepts, n_layers, d_model); None where it is the mean of
        each concept minus that of all other texts."""
        del corpus
        return None

    def judged_groups(self, corpus: Corpus) -> TextGroups:
        """The groups of which texts are held out."""
        return corpus.groups

    def nonlinear(self, corpus: Corpus) -> Tensor:
        """Directions by a method that is no linear map, (n_concepts, n_layers, d_model)."""
        return fit(corpus)

    def probes(self, corpus: Corpus) -> Sequence[int] | None:
        """Rows of the texts to check a server by; None for some of every concept."""
        del corpus
        return None

    def distances(self, corpus: Corpus, vectors: ConceptVectors) -> dict[int, float]:
        """Of pairs, by layer: how far the sides are apart along the direction."""
        del corpus, vectors
        return {}

    def frame_description(self, model: LoadedModel) -> str:
        """The chat template around the texts, in one line."""
        return model.frame.describe()

    def calibrated_on(self, corpus: Corpus) -> str:
        """Which tokens z-scores compare with, in one line."""
        texts = "concepts' texts" if self.kind else "descriptions"
        return "neutral tokens" if corpus.groups.neutral else f"tokens of the {texts}"

    def stand_in(self, corpus: Corpus) -> str:
        """What the method does where it lacks something it needs, in a sentence."""
        n_tokens = 0 if corpus.neutral_tokens is None else corpus.neutral_tokens.shape[0]
        method = "" if corpus.own_method else corpus.settings.method
        return stand_in(method, len(corpus.groups.concepts), n_tokens)

    def contrast(self, scores: LayerScores) -> dict[str, Any] | None:
        """What a manifest says of contrast pairs; None for other texts."""
        del scores
        return None


def description_source(library: Library) -> TextSource:
    """The descriptions of a library.

    Raises:
        UserError: an empty concept or an unreadable file.
    """
    require_trainable(library)
    return TextSource(texts=library.texts(), fingerprints=library.fingerprints())


@dataclass(frozen=True, eq=False, kw_only=True)
class StorySource(TextSource):
    """Stories, whose settings cancel where scenes are shared (`contrasts.paired_directions`)."""

    scenes: tuple[str, ...]
    """Of every row, empty where it has none."""

    def cleaned(self, corpus: Corpus) -> Tensor:
        """Every story minus its scene."""
        return without_scenes(corpus.pooled, corpus.groups, self.scenes)

    def differences(self, corpus: Corpus) -> Tensor:
        """Each concept against the others in the same scenes."""
        return scene_differences(corpus.pooled, corpus.groups, self.scenes)

    def nonlinear(self, corpus: Corpus) -> Tensor:
        """From pairs of stories in which the scenes cancel."""
        return paired_directions(
            corpus.pooled, corpus.groups, self.scenes, corpus.method, corpus.pairing
        )


def story_source(library: StoryLibrary, neutral: Texts | None = None) -> StorySource:
    """Stories, with further neutral texts by file name for the zero of scores."""
    texts = library.texts()
    scenes = library.scenes()
    extra = _apart(neutral or {}, texts)
    blank = {name: ("",) * len(some) for name, some in extra.items()}
    return StorySource(
        texts={**texts, **extra},
        fingerprints={**library.fingerprints(), **_fingerprints(extra)},
        kind="stories",
        title=f"Training on {len(library.stories)} stories",
        warnings=library.warnings(),
        scenes=scene_of_rows(library.concepts(), {**scenes, **blank}),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ExampleSource(TextSource):
    """Examples, each concept against its own negatives (contrastive activation addition)."""

    sides: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    """Texts for and against each concept."""

    def differences(self, corpus: Corpus) -> Tensor:
        """Each concept against its own negatives."""
        return torch.stack([mean_contrast(*sides) for _, sides in self._activations(corpus)])

    def nonlinear(self, corpus: Corpus) -> Tensor:
        """From pairs of each concept with its own negatives."""
        fitted = [
            contrast(corpus.method, concept, *sides, corpus.pairing)
            for concept, sides in self._activations(corpus)
        ]
        return torch.stack(fitted)

    def judged_groups(self, corpus: Corpus) -> TextGroups:
        """A text is held out once."""
        return _each_once(corpus)

    def _activations(self, corpus: Corpus) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
        """Of both sides of each concept, (n_texts, n_layers, d_model)."""
        row = {text: place for place, text in enumerate(corpus.texts)}
        for concept in corpus.groups.concepts:
            positive, negative = (
                corpus.pooled[[row[text] for text in side]] for side in self.sides[concept]
            )
            yield concept, (positive, negative)


def example_source(
    examples: Sequence[ConceptExamples], warnings: Sequence[str] = (), neutral: Texts | None = None
) -> ExampleSource:
    """Examples for and against each concept.

    Args:
        examples: by concept.
        warnings: what a person should know about them.
        neutral: texts by file name for the zero of scores; without them the negatives are it.

    Raises:
        UserError: a concept without examples on a side.
    """
    for each in examples:
        for side, some in (("positive", each.positive), ("negative", each.negative)):
            if not some:
                raise UserError(f"there is no {side} example", where=each.concept)
    sides = {
        each.concept: (
            _distinct(e.text for e in each.positive),
            _distinct(e.text for e in each.negative),
        )
        for each in examples
    }
    texts = {concept: positive for concept, (positive, _) in sides.items()}
    shown = {text for positive in texts.values() for text in positive}
    others = _distinct(t for _, negative in sides.values() for t in negative if t not in shown)
    if others:
        texts[NEGATIVES] = others
    prints = {
        name: _fingerprint((*own, *sides.get(name, ((), ()))[1])) for name, own in texts.items()
    }
    extra = _apart(neutral or {}, texts)
    noun = "concept" if len(examples) == 1 else "concepts"
    return ExampleSource(
        texts={**texts, **extra},
        fingerprints={**prints, **_fingerprints(extra)},
        kind="examples",
        title=f"Training on examples of {len(examples)} {noun}",
        warnings=tuple(warnings),
        zero=tuple(extra) or None,
        sides=sides,
    )


def neutral_texts_of(library: Library) -> dict[str, tuple[str, ...]]:
    """The library's neutral texts by file; those of the shipped test set where it has none."""
    texts = {each.name: each.descriptions for each in library.neutral if each.descriptions}
    return texts or shipped_neutral()


def _each_once(corpus: Corpus) -> TextGroups:
    """The groups with a text that shows several concepts counted for the rarest one only.

    Otherwise a text that is held out for one concept would be trained on for another.
    """
    groups, taken = corpus.groups, set[str]()
    rows: dict[str, tuple[int, ...]] = {}
    members = zip(groups.concepts, groups.rows, strict=True)
    for concept, some in sorted(members, key=lambda member: len(member[1])):
        own = tuple(row for row in some if corpus.texts[row] not in taken)
        rows[concept] = own
        taken |= {corpus.texts[row] for row in own}
    kept = tuple(concept for concept in groups.concepts if rows[concept])
    if len(kept) == 1 and not groups.neutral:
        return groups
    return TextGroups(kept, tuple(rows[concept] for concept in kept), groups.neutral)


def _apart(neutral: Texts, texts: Texts) -> dict[str, tuple[str, ...]]:
    """Neutral texts under names that the other texts do not have."""
    return {f"{name}_added" if name in texts else name: some for name, some in neutral.items()}


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _fingerprints(texts: Texts) -> dict[str, str]:
    return {name: _fingerprint(some) for name, some in texts.items()}


def _fingerprint(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text.encode())}:{text}".encode())
    return digest.hexdigest()
