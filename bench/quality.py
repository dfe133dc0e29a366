"""Quality: how well directions trained on the shipped descriptions read other writers' texts.

All shipped concepts are trained. Two sets are read: the RepE situations (six concepts), on which
methods were chosen, and the shipped test set (36 concepts), on which nothing was; its situations
are judged alone too. Scores are centred cosines; for the default, z and raw stand beside them, on
descriptions held out of training as well. Layers are compared on the sets only to state the best
one: `auto` is chosen without them.

    python -m bench.quality --read content_mean --method whitened --model FILE.gguf
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench.results import Row, publish
from bench.situations import read_situations
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.activations.pooling import READ_RULES
from readout_ui.evaluation.resampling import Estimate, bootstrap_weights, estimate, weighted_auroc
from readout_ui.evaluation.scored_texts import mean_of_known
from readout_ui.files import cache_folder
from readout_ui.inference.reading import SCORE_KINDS
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.packed import BUNDLED
from readout_ui.texts.labelled import read_shipped
from readout_ui.texts.library import Library
from readout_ui.vectors.auroc import Floats, auroc
from readout_ui.vectors.cross_validation import FOLDS, assign_folds, cross_validated_layers
from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.methods import METHODS, neutral_center
from readout_ui.vectors.metrics import (
    Scores,
    bag_of_words_scores,
    centred_cosine,
    one_vs_rest,
    permuted,
    random_directions,
)
from readout_ui.vectors.sentence_embedding import INSTALL, embedding_scores
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus, Extracted, extract, fit
from readout_ui.vectors.vectors import calibrate

DESCRIPTIONS = Path(__file__).resolve().parents[1] / "descriptions"
DEFAULT = ("content_mean", "whitened")
DRAWS = 20
RESAMPLES = 1000
RECALL = 0.8
"""At which false positives on neutral texts are counted."""
NEUTRAL = "neutral"
GOALS = {
    "situations: AUROC": ">= 0.88",
    "test set: AUROC": ">= 0.93",
    "test set: top-1": ">= 0.43",
    "test set: false positives": "<= 0.04",
    "test set: above the sentence embedding, low end": ">= 0",
    "situations: lost by auto": "<= 0.005",
    "test set: lost by auto": "<= 0.005",
}
"""Of the default at the layer that `auto` takes, on the bundled model."""
OTHER_GOALS = {"shipped situations: AUROC": ">= 0.93"}
"""The same on any other model."""


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

    @property
    def kept(self) -> list[int]:
        """Rows of the texts that are not neutral."""
        return [row for row, label in enumerate(self.labels) if label != NEUTRAL]

    def judged(self, scores: Floats, concepts: tuple[str, ...]) -> Scores:
        """AUROC and top-1 among the concepts that occur, neutral texts left out."""
        return one_vs_rest(scores[self.kept], [self.labels[row] for row in self.kept], concepts)

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
    situations = read_situations()
    told = {"situations": (situations.texts, situations.labels)}
    for name, files in {"test set": (), "shipped situations": ("situations",)}.items():
        shipped = read_shipped(*files)
        told[name] = tuple(t.text for t in shipped), tuple(t.labels[0] for t in shipped)
    sets = []
    for name, (texts, labels) in told.items():
        found = read_activations(model, texts, CaptureSettings(read=read), cache)
        sets.append(Labelled(name, texts, labels, found.pooled.numpy()))
    return Material(extracted, tuple(sets))


def auto_layer(corpus: Corpus) -> int:
    """The layer that a training takes."""
    return cross_validated_layers(
        corpus.pooled, corpus.groups, method=corpus.mapped_method, tokens=corpus.tokens
    ).best


def method_rows(material: Material, name: str, goals: Mapping[str, str]) -> list[Row]:
    """What one read rule and method reach on the sets, at the layer of `auto` and at the best."""
    corpus = material.corpus
    directions, concepts = fit(corpus), corpus.groups.concepts
    center = neutral_center(corpus.pooled, corpus.groups)
    auto, rows = auto_layer(corpus), []
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
            goal = goals.get(f"{some.name}: {what}", "")
            note = f"layer {auto}" + (f", best is {best}" if what == "lost by auto" else "")
            rows.append(Row(f"{name}, {some.name}: {what}", value, "", goal, note))
    at = directions[:, auto].double()
    pairs = (at @ at.T).abs().numpy()[np.triu_indices(len(concepts), k=1)]
    rows.append(Row(f"{name}: mean absolute cosine of pairs", float(pairs.mean())))
    return rows


def _cosines(directions: object, center: object, some: Labelled) -> Floats:
    pooled = torch.from_numpy(some.pooled)
    found: Floats = centred_cosine(directions, center, pooled).numpy()  # type: ignore[arg-type]
    return found


def kinds_of(corpus: Corpus, groups: TextGroups, texts: Floats) -> dict[str, Floats]:
    """Scores of texts (n_texts, d_model) by vectors of some rows of a corpus of one layer."""
    some = replace(corpus, groups=groups)
    directions, center = fit(some), neutral_center(corpus.pooled, groups)
    assert corpus.tokens is not None, "the shipped library has neutral texts"
    neutral = calibrate(directions, corpus.tokens)
    raw = texts @ directions[:, 0].numpy().T  # (n_texts, n_concepts)
    cosine = centred_cosine(directions, center, torch.from_numpy(texts[:, None]))[:, 0].numpy()
    z = (raw - neutral.mean[:, 0].numpy()) / neutral.std[:, 0].numpy()
    return {"z": z, "cosine": cosine, "raw": raw}


def kind_rows(material: Material) -> list[Row]:
    """Each kind of score, on held-out descriptions and on the sets."""
    corpus = material.corpus.at(auto_layer(material.corpus))
    layer, held_out = auto_layer(material.corpus), held_out_kinds(corpus)
    names = (*corpus.groups.concepts, NEUTRAL)
    assignment = assign_folds(corpus.groups, FOLDS, corpus.settings.seed)
    told = tuple(names[group] for group in assignment.group)
    texts = tuple(corpus.texts[row] for row in assignment.rows)
    pooled = corpus.pooled[assignment.rows].numpy()
    descriptions = Labelled("held-out descriptions", texts, told, pooled)
    rows = []
    for some in (descriptions, *material.sets):
        whole = some is not descriptions
        found = kinds_of(corpus, corpus.groups, some.pooled[:, layer]) if whole else held_out
        for kind in SCORE_KINDS:
            judged = some.judged(found[kind], corpus.groups.concepts)
            rows.append(Row(f"{kind}, {some.name}: AUROC", judged.macro_auroc))
            rows.append(Row(f"{kind}, {some.name}: top-1", judged.top1))
    return rows


def held_out_kinds(corpus: Corpus) -> dict[str, Floats]:
    """Scores of each fold's texts by vectors of the others, in the order of the assignment.

    Args:
        corpus: of one layer.
    """
    assignment = assign_folds(corpus.groups, FOLDS, corpus.settings.seed)
    scores: dict[str, Floats] = {
        kind: np.zeros((len(assignment.rows), len(corpus.groups.rows))) for kind in SCORE_KINDS
    }
    for fold in range(FOLDS):
        out = assignment.fold == fold
        away = set(assignment.rows[out].tolist())
        rest = replace(
            corpus.groups,
            rows=tuple(tuple(row for row in own if row not in away) for own in corpus.groups.rows),
            neutral=tuple(row for row in corpus.groups.neutral if row not in away),
        )
        texts = corpus.pooled[assignment.rows[out], 0].numpy()
        for kind, found in kinds_of(corpus, rest, texts).items():
            scores[kind][out] = found
    return scores


def embedding_rows(material: Material) -> list[Row]:
    """The sentence embedding on the same descriptions, and how far the vectors are above it."""
    corpus, auto = material.corpus, auto_layer(material.corpus)
    names = {
        row: c
        for c, own in zip(corpus.groups.concepts, corpus.groups.rows, strict=True)
        for row in own
    }
    labels = [names.get(row, "") for row in range(len(corpus.texts))]
    directions, center = fit(corpus), neutral_center(corpus.pooled, corpus.groups)
    rows = []
    for some in material.sets:
        theirs = embedding_scores(corpus.texts, labels, some.texts, some.candidates)
        if theirs is None:
            return [Row("sentence embedding", float("nan"), note=INSTALL)]
        judged = some.judged(theirs, some.candidates)
        columns = [corpus.groups.concepts.index(name) for name in some.candidates]
        ours = _cosines(directions, center, some)[:, auto][:, columns]
        gain = above(
            ours[some.kept], theirs[some.kept], [some.labels[i] for i in some.kept], some.candidates
        )
        goal = GOALS.get(f"{some.name}: above the sentence embedding, low end", "")
        rows += [
            Row(f"sentence embedding, {some.name}: AUROC", judged.macro_auroc),
            Row(f"sentence embedding, {some.name}: top-1", judged.top1),
            Row(f"{some.name}: above the sentence embedding", gain.value, note=str(gain)),
            Row(f"{some.name}: above the sentence embedding, low end", gain.low, "", goal),
        ]
    return rows


def above(ours: Floats, theirs: Floats, labels: list[str], concepts: tuple[str, ...]) -> Estimate:
    """Macro AUROC minus that of another scoring of the same texts, on the same resamples."""
    own = np.array(labels)[:, None] == np.array(concepts)  # (n_texts, n_concepts)
    weights = bootstrap_weights(own, RESAMPLES, 0)
    drawn = [mean_of_known(weighted_auroc(scores, own, weights)) for scores in (ours, theirs)]
    found = [float(auroc(scores, own).mean()) for scores in (ours, theirs)]
    return estimate(found[0] - found[1], drawn[0] - drawn[1])


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
    parser.add_argument("--model", default=BUNDLED, help="hub id, folder or GGUF file")
    chosen = parser.parse_args()
    model = load_model(ModelSpec(chosen.model, device="cpu", dtype="fp32"))
    own_goals = GOALS if chosen.model == BUNDLED else OTHER_GOALS
    cache = ActivationCache(cache_folder() / "bench")
    rows: list[Row] = []
    for read in chosen.read:
        material = read_material(model, read, cache)
        for method in chosen.method:
            fitted, default = material.by(method), (read, method) == DEFAULT
            rows += method_rows(fitted, f"{read}, {method}", own_goals if default else {})
            if default:
                rows += kind_rows(fitted) + embedding_rows(fitted) + baseline_rows(fitted)
            print(f"{read}, {method}: done", flush=True)
    name = "quality" if chosen.model == BUNDLED else f"quality-{model.name.replace('/', '--')}"
    publish(name, f"{model.name}: shipped descriptions -> texts by other writers", rows)


if __name__ == "__main__":
    main()
