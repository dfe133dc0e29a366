"""Quality: how well directions trained on the shipped descriptions read other writers' texts.

All shipped concepts are trained. Two sets are read: the RepE situations (six concepts), on which
methods were chosen, and the shipped test set (36 concepts), on which nothing was. Scores are the
centred cosine, as judged, shown and served. Layers are compared on the sets only to state the best
one: `auto` is chosen without them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.results import Row, publish
from bench.situations import read_situations
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.pooling import READ_RULES
from readout_ui.files import cache_folder
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.texts.labelled import read_shipped
from readout_ui.texts.library import Library
from readout_ui.vectors.auroc import Floats
from readout_ui.vectors.cross_validation import cross_validated_layers
from readout_ui.vectors.methods import METHODS, neutral_center
from readout_ui.vectors.metrics import (
    Scores,
    bag_of_words_scores,
    centred_cosine,
    one_vs_rest,
    permuted,
    random_directions,
)
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus, Extracted, extract, fit

DESCRIPTIONS = Path(__file__).resolve().parents[1] / "descriptions"
DEFAULT = ("content_mean", "whitened")
DRAWS = 20
RECALL = 0.8
"""At which false positives on neutral texts are counted."""
NEUTRAL = "neutral"
GOALS = {
    "situations: AUROC": ">= 0.88",
    "test set: AUROC": ">= 0.93",
    "test set: top-1": ">= 0.43",
    "test set: false positives": "<= 0.04",
    "situations: lost by auto": "<= 0.005",
    "test set: lost by auto": "<= 0.005",
}
"""Of the default at the layer that `auto` takes."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """One set of other writers' texts, read by one rule."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    pooled: Floats
    """(n_texts, n_layers, d_model)."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """The concepts that occur, sorted."""
        return tuple(sorted(set(self.labels) - {NEUTRAL}))

    def judged(self, scores: Floats, concepts: tuple[str, ...]) -> Scores:
        """AUROC and top-1 among the concepts that occur, neutral texts left out."""
        kept = [row for row, label in enumerate(self.labels) if label != NEUTRAL]
        return one_vs_rest(scores[kept], [self.labels[row] for row in kept], concepts)

    def false_positives(self, scores: Floats, concepts: tuple[str, ...]) -> float:
        """Part of neutral texts above the threshold that finds 80 % of a concept's own, mean."""
        labels = np.array(self.labels)
        rates = [
            (column[labels == NEUTRAL] >= np.quantile(column[labels == name], 1 - RECALL)).mean()
            for name, column in zip(concepts, scores.T, strict=True)
            if name in self.candidates
        ]
        return float(np.mean(rates))


@dataclass(frozen=True, eq=False)
class Material:
    """One read rule's activations of descriptions and of the two sets."""

    extracted: Extracted
    sets: tuple[Labelled, ...]

    @property
    def corpus(self) -> Corpus:
        """The descriptions."""
        return self.extracted.corpus

    def by(self, method: str) -> Material:
        """The same, fitted by another method."""
        settings = replace(self.corpus.settings, method=method)
        corpus = replace(self.corpus, settings=settings)
        return replace(self, extracted=replace(self.extracted, corpus=corpus))


def read_material(model: LoadedModel, read: str, cache: ActivationCache) -> Material:
    """Descriptions and sets through the model, or from the benchmark's own cache."""
    extracted = extract(Library(DESCRIPTIONS).texts(), model, TrainSettings(read=read), cache)
    situations, shipped = read_situations(), read_shipped()
    told = {
        "situations": (situations.texts, situations.labels),
        "test set": (tuple(t.text for t in shipped), tuple(t.labels[0] for t in shipped)),
    }
    sets = []
    for name, (texts, labels) in told.items():
        found = read_activations(model, texts, CaptureSettings(read=read), cache)
        sets.append(Labelled(name, texts, labels, found.pooled.numpy()))
    return Material(extracted, tuple(sets))


def method_rows(material: Material, name: str, default: bool) -> list[Row]:
    """What one read rule and method reach on both sets, at the layer of `auto` and at the best."""
    corpus = material.corpus
    directions, concepts = fit(corpus), corpus.groups.concepts
    center = neutral_center(corpus.pooled, corpus.groups)
    auto = cross_validated_layers(
        corpus.pooled, corpus.groups, method=corpus.mapped_method, tokens=corpus.tokens
    ).best
    rows = []
    for some in material.sets:
        cosine = _cosines(directions, center, some)  # (n_texts, n_layers, n_concepts)
        judged = [some.judged(cosine[:, i], concepts) for i in range(cosine.shape[1])]
        best = max(range(len(judged)), key=lambda layer: judged[layer].macro_auroc)
        lost = judged[best].macro_auroc - judged[auto].macro_auroc
        figures = {
            "AUROC": judged[auto].macro_auroc,
            "top-1": judged[auto].top1,
            "lost by auto": lost,
        }
        if NEUTRAL in some.labels:
            figures["false positives"] = some.false_positives(cosine[:, auto], concepts)
        for what, value in figures.items():
            goal = GOALS.get(f"{some.name}: {what}", "") if default else ""
            note = f"layer {auto}" + (f", best is {best}" if what == "lost by auto" else "")
            rows.append(Row(f"{name}, {some.name}: {what}", value, "", goal, note))
    at = directions[:, auto].double()
    pairs = (at @ at.T).abs().numpy()[np.triu_indices(len(concepts), k=1)]
    rows.append(Row(f"{name}: mean absolute cosine of pairs", float(pairs.mean())))
    return rows


def _cosines(directions: object, center: object, some: Labelled) -> Floats:
    import torch

    pooled = torch.from_numpy(some.pooled)
    found: Floats = centred_cosine(directions, center, pooled).numpy()  # type: ignore[arg-type]
    return found


def baseline_rows(material: Material) -> list[Row]:
    """Words alone, random directions, shuffled labels and chance."""
    corpus, rows = material.corpus, []
    groups, center = corpus.groups, neutral_center(corpus.pooled, corpus.groups)
    names = {row: c for c, own in zip(groups.concepts, groups.rows, strict=True) for row in own}
    labels = [names.get(row, NEUTRAL) for row in range(len(corpus.texts))]
    fitted = fit(corpus)
    for some in material.sets:
        words = bag_of_words_scores(corpus.texts, labels, some.texts, some.candidates)
        bag = some.judged(words, some.candidates)
        rows.append(Row(f"bag of words, {some.name}: AUROC", bag.macro_auroc))
        rows.append(Row(f"bag of words, {some.name}: top-1", bag.top1))
        layer = fitted.shape[1] // 2
        n_layers, d_model = fitted.shape[1:]
        random = (
            random_directions(len(groups.concepts), n_layers, d_model, s) for s in range(DRAWS)
        )
        drawn = [
            some.judged(_cosines(each, center, some)[:, layer], groups.concepts) for each in random
        ]
        rows += spread_rows(f"random directions, {some.name}", drawn)
        cosine = _cosines(fitted, center, some)[:, layer]
        shuffled = [
            replace(some, labels=permuted(some.labels, s)).judged(cosine, groups.concepts)
            for s in range(DRAWS)
        ]
        rows += spread_rows(f"shuffled labels, {some.name}", shuffled)
        rows.append(Row(f"chance, {some.name}: top-1", 1 / len(some.candidates)))
    return rows


def spread_rows(name: str, draws: list[Scores]) -> list[Row]:
    """Mean over the draws, with their standard deviation as a note."""
    columns = {
        "AUROC": [scores.macro_auroc for scores in draws],
        "top-1": [scores.top1 for scores in draws],
    }
    return [
        Row(f"{name}: {kind}", float(np.mean(values)), note=f"+- {np.std(values):.3f} over draws")
        for kind, values in columns.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--read", nargs="+", default=READ_RULES, choices=READ_RULES)
    parser.add_argument("--method", nargs="+", default=list(METHODS), choices=list(METHODS))
    chosen = parser.parse_args()
    model = load_model(ModelSpec(device="cpu", dtype="fp32"))
    cache = ActivationCache(cache_folder() / "bench")
    rows: list[Row] = []
    for read in chosen.read:
        material = read_material(model, read, cache)
        for method in chosen.method:
            default = (read, method) == DEFAULT
            rows += method_rows(material.by(method), f"{read}, {method}", default)
            rows += baseline_rows(material.by(method)) if default else []
            print(f"{read}, {method}: done", flush=True)
    publish("quality", "Shipped descriptions -> texts by other writers", rows)


if __name__ == "__main__":
    main()
