"""Trainings on other texts than descriptions: what each is called and how it is fitted.

Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from readout_ui.progress import Report

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel
    from readout_ui.texts.examples import ConceptExamples
    from readout_ui.texts.library import Library
    from readout_ui.texts.pairs import PairSet
    from readout_ui.texts.stories import StoryLibrary
    from readout_ui.vectors.settings import Trained, TrainSettings

Fit = Callable[["LoadedModel", "ActivationCache | None", Report], "Trained"]


@dataclass(frozen=True)
class SourceTraining:
    """A training that waits for the device."""

    title: str
    """In words, for whoever waits behind it."""
    fit: Fit
    """Runs on the device's thread."""


def pair_training(
    found: PairSet, settings: TrainSettings, neutral: dict[str, tuple[str, ...]]
) -> SourceTraining:
    """One direction from contrast pairs, its scores calibrated on neutral texts."""

    def fit(model: LoadedModel, cache: ActivationCache | None, report: Report) -> Trained:
        from readout_ui.vectors.pair_training import train_pairs

        return train_pairs(found, model, settings, neutral, cache, report)[0]

    return SourceTraining(f"Training {found.name} on {len(found.pairs)} pairs", fit)


def story_training(library: StoryLibrary, settings: TrainSettings) -> SourceTraining:
    """Directions from stories."""

    def fit(model: LoadedModel, cache: ActivationCache | None, report: Report) -> Trained:
        from readout_ui.vectors.sources import story_source, train_source

        return train_source(story_source(library), model, settings, cache, report)

    return SourceTraining(f"Training on {len(library.stories)} stories", fit)


def example_training(
    examples: Sequence[ConceptExamples], settings: TrainSettings, warnings: Sequence[str] = ()
) -> SourceTraining:
    """Directions from examples for and against each concept."""

    def fit(model: LoadedModel, cache: ActivationCache | None, report: Report) -> Trained:
        from readout_ui.vectors.sources import example_source, train_source

        return train_source(example_source(examples, warnings), model, settings, cache, report)

    noun = "concept" if len(examples) == 1 else "concepts"
    return SourceTraining(f"Training on examples of {len(examples)} {noun}", fit)


def neutral_texts_of(library: Library) -> dict[str, tuple[str, ...]]:
    """The library's neutral texts by file; those of the shipped test set where it has none."""
    from readout_ui.texts.labelled import read_shipped

    texts = {each.name: each.descriptions for each in library.neutral if each.descriptions}
    return texts or {"_neutral": tuple(each.text for each in read_shipped("neutral"))}
