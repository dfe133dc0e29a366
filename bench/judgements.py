"""Judgements: what every one of them says of the shipped library, each beside its baseline.

Everything is judged at the layer that `auto` chooses, on the bundled model. Texts that the user's
cache holds are not read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from bench.quality import DESCRIPTIONS
from bench.results import Row, publish
from bench.situations import CONCEPT_OF, read_situations
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.direction_samples import sample_directions, text_gram
from readout_ui.evaluation.dose import parse_values, read_dose
from readout_ui.evaluation.generalization import judge_texts
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.influence import FALSE_ALARM, influence
from readout_ui.evaluation.layer_sets import best_layer_sets
from readout_ui.evaluation.lexical import control_words
from readout_ui.evaluation.misfits import find_misfits
from readout_ui.evaluation.redundancy import redundancy, ridge_r2
from readout_ui.evaluation.shortcuts import find_shortcuts
from readout_ui.files import cache_folder
from readout_ui.inference.readout import Readout
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.runs.run import Run
from readout_ui.runs.training import train
from readout_ui.texts.labelled import LabelledText, read_shipped
from readout_ui.texts.library import Library
from readout_ui.vectors.auroc import Bools, Floats, auroc
from readout_ui.vectors.blas import single_thread
from readout_ui.vectors.metrics import random_directions
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus, capture_settings, read_corpus

NULL_LIBRARIES = 300
PLANTED = 60
"""Libraries with one pair of texts that changed places."""
DOSED = "tired"
DOSES = {
    "I have been awake for {x} hours.": "1, 4, 8, 12, 16, 20, 24, 30, 36, 48, 60, 72, 96",
    "I am {x} tired today.": "not at all, barely, a little, somewhat, quite, very, extremely",
}
"""Written before either was looked at."""


@dataclass(frozen=True, eq=False)
class Shipped:
    """The shipped library as trained on the bundled model."""

    trained: Run
    corpus: Corpus
    scorer: Readout
    """Vectors of every layer."""
    other_cache: ActivationCache
    """The benchmarks' own: where the situations are."""

    @cached_property
    def layer(self) -> int:
        """What `auto` chooses."""
        return self.trained.best_layer

    @cached_property
    def names(self) -> dict[str, str]:
        """Every concept as the label of itself."""
        return {concept: concept for concept in self.corpus.groups.concepts}


def train_shipped(cache: ActivationCache) -> Shipped:
    """Train the shipped library with the default settings, keeping all layers."""
    model, library = load_model(ModelSpec(device="cpu", dtype="fp32")), Library(DESCRIPTIONS)
    settings = TrainSettings(layers="all")
    trained = train(library, model, settings, cache)
    corpus = read_corpus(model, library.texts(), settings, cache)
    scorer = Readout(model, trained, cache)
    return Shipped(trained, corpus, scorer, ActivationCache(cache_folder() / "bench"))


def crosstalk_rows(shipped: Shipped) -> list[Row]:
    """How alike directions are, and how alike those of random groups of the same texts are."""
    found = cosine_matrix(shipped.corpus, shipped.layer)
    pairs = np.triu_indices(len(found.concepts), k=1)
    texts = text_gram(shipped.corpus, shipped.layer)
    chance = sample_directions(texts, 0, 0).cosines().shuffled[:, pairs[0], pairs[1]]
    differs = found.differs[pairs]
    return [
        Row("cross-talk: mean |cosine| of pairs", float(np.abs(found.cosine[pairs]).mean())),
        Row("cross-talk: the same of random groups", float(np.abs(chance).mean())),
        Row("cross-talk: pairs that differ from chance", float(differs.mean()), note=_of(differs)),
    ]


def response_rows(shipped: Shipped) -> list[Row]:
    """Held-out descriptions on all directions."""
    found = held_out_matrix(shipped.corpus, shipped.layer)
    interval = f"[{found.top1.low:.3f}, {found.top1.high:.3f}]"
    own = np.diag(found.differs)
    return [
        Row("responses: top-1 of held-out descriptions", found.top1.value, note=interval),
        Row("responses: top-1 by chance", found.chance),
        Row("responses: concepts that answer to themselves", float(own.mean()), note=_of(own)),
    ]


def redundancy_rows(shipped: Shipped) -> list[Row]:
    """Ridge R2 of each direction from the others, of random groups and of random directions."""
    found = redundancy(shipped.corpus, shipped.layer)
    width = shipped.corpus.pooled.shape[2]
    random = random_directions(len(found), 1, width, 0)[:, 0].double().numpy()
    of_random = ridge_r2(random @ random.T, np.zeros(len(found)))
    above = np.array([one.r2_differs for one in found])
    return [
        Row("redundancy: median R2 from the others", float(np.median([one.r2 for one in found]))),
        Row("redundancy: random groups", float(np.median([one.r2_chance for one in found]))),
        Row("redundancy: random directions", float(np.median(of_random))),
        Row("redundancy: concepts above random groups", float(above.mean()), note=_of(above)),
    ]


def generalization_rows(shipped: Shipped) -> list[Row]:
    """The shipped test set, which nothing is trained on."""
    texts = read_shipped("situations", "dialogue")
    found = judge_texts(shipped.scorer, texts, shipped.names, shipped.layer)
    macro, top = found.macro, found.top[0]
    rows = [
        Row("test set: macro AUROC", macro.auroc.value, note=f"{macro.auroc}, p {macro.p:.3f}"),
        Row("test set: random directions", macro.random.value, note=str(macro.random)),
        Row("test set: permuted labels", macro.permuted.value, note=str(macro.permuted)),
        Row("test set: top-1", top.hits.value, note=f"{top.hits}, chance {top.chance:.3f}"),
    ]
    if macro.words is not None:
        rows.insert(1, Row("test set: bag of words", macro.words.value, note=str(macro.words)))
    if macro.embedding is not None and macro.embedding_gain is not None:
        gain = macro.embedding_gain
        rows += [
            Row("test set: sentence embedding", macro.embedding.value, note=str(macro.embedding)),
            Row("test set: above the sentence embedding", gain.value, "", ">= 0", str(gain)),
        ]
    return rows


def lexical_rows(shipped: Shipped) -> list[Row]:
    """Situations with the concept's word masked, and sentences that mean the word otherwise."""
    situations = read_situations()
    labelled = [
        LabelledText(text, (label,))
        for text, label in zip(situations.texts, situations.labels, strict=True)
    ]
    mapping = {concept: concept for concept in CONCEPT_OF.values()}
    scorer = replace(shipped.scorer, cache=shipped.other_cache)
    control = control_words(scorer, labelled, mapping, shipped.layer)
    before, after = control.macro
    note = f"{control.n_named} of {len(labelled)} situations hold it"
    rows = [
        Row("lexical: AUROC on situations", before),
        Row("lexical: the same with the concept's word masked", after, note=note),
    ]
    if control.other_sense is not None:
        macro = control.other_sense.macro
        n_texts = f"{len(control.other_sense.texts)} sentences"
        rows.append(
            Row("lexical: AUROC, word in another sense", macro.auroc.value, "", "", n_texts)
        )
        if macro.words is not None:
            rows.append(Row("lexical: the same by bag of words", macro.words.value))
    return rows


def dose_rows(shipped: Shipped) -> list[Row]:
    """Whether scores follow a number, and a word, in the text."""
    rows = []
    for template, written in DOSES.items():
        values = parse_values(written)
        curves = read_dose(shipped.scorer, template, values, shipped.layer)
        own = curves.concepts.index(DOSED)
        others = np.median(np.abs(np.delete(curves.rho, own)))
        note = f"{template!r}, {len(values)} values, p {curves.p[own]:.3f} over all concepts"
        rows += [
            Row(f"dose: Spearman rho of {DOSED}", float(curves.rho[own]), note=note),
            Row("dose: median |rho| of the other concepts", float(others)),
        ]
    return rows


def layer_rows(shipped: Shipped) -> list[Row]:
    """Best layer and sets on held-out descriptions; what `auto` loses on other people's texts."""
    sets = best_layer_sets(shipped.corpus)
    rows = [
        Row(
            f"layers: {len(one.layers)} best, held-out AUROC",
            one.elsewhere,
            note=f"layers {one.spec}; {one.n_bytes / 2**20:.2f} MiB, "
            f"{one.multiply_adds:,} multiply-adds per token; gain {one.gain:+.4f} "
            f"± {one.gain_error:.4f}",
        )
        for one in sets.sets
    ]
    aurocs = situation_aurocs(shipped)
    best = int(aurocs.argmax())
    behind = float(aurocs[best] - aurocs[shipped.layer])
    return [
        *rows,
        Row("layers: AUROC on situations, best", float(aurocs[best]), note=f"layer {best}"),
        Row("layers: on situations, lost by auto", behind, "", "<= 0.01", f"layer {shipped.layer}"),
    ]


def situation_aurocs(shipped: Shipped) -> Floats:
    """Macro AUROC of the situations at every layer, (n_layers,)."""
    situations, scorer = read_situations(), shipped.scorer
    own = np.array(situations.labels)[:, None] == np.array(situations.candidates)
    columns = [scorer.concepts.index(concept) for concept in situations.candidates]
    read = capture_settings(scorer.settings)
    pooled = read_activations(scorer.model, situations.texts, read, shipped.other_cache).pooled
    scores = [scorer.score(pooled[:, i], i)[:, columns] for i in range(pooled.shape[1])]
    return np.array([auroc(some, own).mean() for some in scores])


def influence_rows(shipped: Shipped) -> list[Row]:
    """Descriptions that are marked, and how many are where none is worse than another."""
    found = influence(shipped.corpus, shipped.layer)
    marked = np.array([one.outlier for one in found])
    heavy = np.array([one.heavy for one in found])
    null = np.array([_marks(null_library(shipped, seed)) for seed in range(NULL_LIBRARIES)])
    note = f"{null.any(axis=1).sum()} of {NULL_LIBRARIES} libraries"
    return [
        Row("influence: descriptions marked as outliers", float(marked.mean()), note=_of(marked)),
        Row("influence: descriptions marked as heavy", float(heavy.mean()), note=_of(heavy)),
        Row("influence: marked in libraries without outliers", float(null.mean())),
        Row(
            "influence: such libraries with any mark",
            float(null.any(axis=1).mean()),
            "",
            "<= 0.05",
            note,
        ),
    ]


def planted_rows(shipped: Shipped) -> list[Row]:
    """Descriptions that stand in a wrong concept, and neutral texts among descriptions."""
    groups = shipped.corpus.groups
    draws = np.random.default_rng(0)
    swaps, strays = [], []
    for _ in range(PLANTED):
        first, second = draws.choice(len(groups.rows), 2, replace=False)
        pair = [int(draws.choice(groups.rows[c])) for c in (first, second)]
        swaps.append(_found(shipped, pair))
        stray = [int(draws.choice(groups.rows[first])), int(draws.choice(groups.neutral))]
        strays.append(_found(shipped, stray))
    rows = []
    for name, goal, found in (("swapped", 0.6, swaps), ("neutral", 0.9, strays)):
        planted = np.concatenate([marked for marked, _ in found])
        others = np.array([others for _, others in found])
        rows += [
            Row(
                f"influence: planted {name} texts that are marked",
                float(planted.mean()),
                "",
                f">= {goal}",
                _of(planted),
            ),
            Row(
                f"influence: other texts marked there, {name}", float(others.mean()), "per library"
            ),
        ]
    return rows


def _found(shipped: Shipped, swapped: list[int]) -> tuple[Bools, int]:
    """Which of two rows that change places are marked as descriptions, and how many others are."""
    pooled = shipped.corpus.pooled.clone()
    pooled[swapped] = pooled[swapped[::-1]]
    marks = _marks(replace(shipped.corpus, activations=pooled))
    rows = [row for own in shipped.corpus.groups.rows for row in own]
    planted = np.array([marks[place] for place, row in enumerate(rows) if row in swapped])
    return planted, int(marks.sum() - planted.sum())


def _marks(corpus: Corpus) -> Bools:
    """(n_descriptions,): which are marked as outliers, at five layers."""
    with single_thread():
        misfits = find_misfits(corpus)
    n_own = sum(map(len, corpus.groups.rows))
    marks: Bools = misfits.p[:n_own] <= FALSE_ALARM
    return marks


def null_library(shipped: Shipped, seed: int) -> Corpus:
    """Every concept's mean with the deviations of texts drawn from all concepts, at every layer."""
    groups = shipped.corpus.groups
    pooled = shipped.corpus.pooled.clone()  # (n_texts, n_layers, d_model)
    means = torch.stack([pooled[list(rows)].mean(dim=0) for rows in groups.rows])
    concept = torch.repeat_interleave(
        torch.arange(len(groups.rows)), torch.tensor([len(rows) for rows in groups.rows])
    )
    own = torch.tensor([row for rows in groups.rows for row in rows])
    apart = pooled[own] - means[concept]
    shuffled = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))
    pooled[own] = means[concept] + apart[shuffled]
    return replace(shipped.corpus, activations=pooled)


def shortcut_rows(shipped: Shipped) -> list[Row]:
    """Words, openings, lengths and punctuation that give concepts away."""
    found = find_shortcuts(shipped.corpus.texts, shipped.corpus.groups)
    return [Row("shortcuts: found in the library", len(found.found))]


def _of(marked: Bools) -> str:
    return f"{int(marked.sum())} of {marked.size}"


PARTS: tuple[Callable[[Shipped], list[Row]], ...] = (
    crosstalk_rows,
    response_rows,
    redundancy_rows,
    generalization_rows,
    lexical_rows,
    dose_rows,
    layer_rows,
    influence_rows,
    planted_rows,
    shortcut_rows,
)


def main() -> None:
    cache = ActivationCache(cache_folder() / "activations")
    shipped = train_shipped(cache)
    rows = [row for part in PARTS for row in part(shipped)]
    cache.close()
    shipped.other_cache.close()
    groups = shipped.corpus.groups
    title = (
        f"{len(groups.concepts)} shipped concepts, {sum(map(len, groups.rows))} descriptions, "
        f"layer {shipped.layer}"
    )
    publish("judgements", title, rows)


if __name__ == "__main__":
    main()
