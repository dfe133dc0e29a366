"""Quality: how well directions trained on the shipped descriptions read other writers' texts.

All shipped concepts are trained; the six that the situations are about are scored. Layers are
compared on the situations only to state the best one: `auto` is chosen without them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.results import Row, publish
from bench.situations import Situations, read_situations
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import Activations, CaptureSettings, read_activations
from readout_ui.activations.pooling import READ_RULES
from readout_ui.files import cache_folder
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.texts.library import Library
from readout_ui.vectors.cross_validation import cross_validated_layers
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import METHODS, neutral_center
from readout_ui.vectors.metrics import (
    Scores,
    bag_of_words_scores,
    centred_cosine,
    one_vs_rest,
    permuted,
    random_directions,
)
from readout_ui.vectors.training import group_texts

DESCRIPTIONS = Path(__file__).resolve().parents[1] / "descriptions"
DEFAULT = ("content_mean", "mean")
DRAWS = 20


@dataclass(frozen=True, eq=False)
class Material:
    """One read rule's activations of descriptions and situations."""

    read: str
    trained: Activations
    tested: Activations
    groups: TextGroups
    situations: Situations

    def layer_scores(self, method: str) -> list[Scores]:
        """Scores of the situations at every layer."""
        directions = METHODS[method](self.trained.pooled, self.groups, PairSettings())
        center = neutral_center(self.trained.pooled, self.groups)
        cosine = centred_cosine(directions, center, self.tested.pooled).numpy()
        labels, concepts = self.situations.labels, self.groups.concepts
        return [one_vs_rest(cosine[:, i], labels, concepts) for i in range(cosine.shape[1])]


def read_material(model: LoadedModel, read: str, cache: ActivationCache) -> Material:
    """Descriptions and situations through the model, or from the benchmark's own cache."""
    texts, groups = group_texts(Library(DESCRIPTIONS).texts())
    situations = read_situations()
    settings = CaptureSettings(read=read)
    trained = read_activations(model, texts, settings, cache)
    tested = read_activations(model, situations.texts, settings, cache)
    return Material(read, trained, tested, groups, situations)


def best_layer(scores: list[Scores]) -> int:
    """The layer with the highest macro AUROC on the situations."""
    return max(range(len(scores)), key=lambda layer: scores[layer].macro_auroc)


def method_rows(material: Material, method: str) -> list[Row]:
    """Best layer of one read rule and method, and what `auto` reaches with it."""
    scores = material.layer_scores(method)
    best = best_layer(scores)
    auto = cross_validated_layers(material.trained.pooled, material.groups).best
    default = (material.read, method) == DEFAULT
    name = f"{material.read}, {method}"
    rows = [
        Row(f"{name}: AUROC", scores[best].macro_auroc, "", ">= 0.86" * default, f"layer {best}"),
        Row(f"{name}: top-1", scores[best].top1, "", ">= 0.62" * default, f"layer {best}"),
    ]
    if default:
        behind = scores[best].macro_auroc - scores[auto].macro_auroc
        rows.append(Row(f"{name}: AUROC lost by auto", behind, "", "<= 0.01", f"layer {auto}"))
        rows += [
            Row(f"  {concept}: AUROC", area, note=f"layer {best}")
            for concept, area in scores[best].per_concept.items()
        ]
        rows += baseline_rows(material, best)
    return rows


def baseline_rows(material: Material, layer: int) -> list[Row]:
    """Words alone, random directions, shuffled labels and chance."""
    situations, groups = material.situations, material.groups
    names = {row: c for c, rows in zip(groups.concepts, groups.rows, strict=True) for row in rows}
    labels = [names.get(row, "neutral") for row in range(len(material.trained.texts))]
    words = bag_of_words_scores(
        material.trained.texts, labels, situations.texts, situations.candidates
    )
    bag = one_vs_rest(words, situations.labels, situations.candidates)
    return [
        Row("bag of words: AUROC", bag.macro_auroc),
        Row("bag of words: top-1", bag.top1),
        *spread_rows(
            "random directions", [random_scores(material, layer, s) for s in range(DRAWS)]
        ),
        *spread_rows(
            "shuffled labels", [shuffled_scores(material, layer, s) for s in range(DRAWS)]
        ),
        Row("chance: AUROC", 0.5),
        Row("chance: top-1", 1 / len(situations.candidates)),
    ]


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


def random_scores(material: Material, layer: int, seed: int) -> Scores:
    """Scores on directions that mean nothing."""
    candidates = material.situations.candidates
    tested = material.tested.pooled[:, [layer]]
    directions = random_directions(len(candidates), 1, tested.shape[2], seed)
    center = neutral_center(material.trained.pooled[:, [layer]], material.groups)
    cosine = centred_cosine(directions, center, tested).numpy()[:, 0]
    return one_vs_rest(cosine, material.situations.labels, candidates)


def shuffled_scores(material: Material, layer: int, seed: int) -> Scores:
    """Scores of the default directions against labels in a random order."""
    trained = material.trained.pooled[:, [layer]]
    directions = METHODS["mean"](trained, material.groups, PairSettings())
    center = neutral_center(trained, material.groups)
    cosine = centred_cosine(directions, center, material.tested.pooled[:, [layer]]).numpy()[:, 0]
    labels = permuted(material.situations.labels, seed)
    return one_vs_rest(cosine, labels, material.groups.concepts)


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
            rows += method_rows(material, method)
    title = "Shipped descriptions -> RepE situations, 6 x 200; top-1 among the six mapped concepts"
    publish("quality", title, rows)


if __name__ == "__main__":
    main()
