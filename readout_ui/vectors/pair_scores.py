"""How well directions tell the sides of pairs apart that they were not fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from readout_ui.texts.words import apart
from readout_ui.vectors import sentence_embedding
from readout_ui.vectors.auroc import Floats, Indices, auroc
from readout_ui.vectors.blas import single_thread
from readout_ui.vectors.cross_validation import recommended_layer
from readout_ui.vectors.methods import PAIR_SOLVERS, OwnMethod
from readout_ui.vectors.metrics import bag_of_words_scores, random_directions

if TYPE_CHECKING:
    from torch import Tensor

    from readout_ui.texts.pairs import ContrastPair

FOLDS = 8
N_DRAWS = 20
"""Random directions, and permutations of the polarity, at the best layer."""
N_RESAMPLES = 1000
_NOISE = 1e-6


@dataclass(frozen=True)
class Chance:
    """What many draws without meaning reach."""

    mean: float
    most: float
    """95 % of the draws stay below it."""


@dataclass(frozen=True)
class PairScores:
    """Scores on held-out pairs, layer by layer, beside what needs no direction."""

    n_pairs: int
    folds: int
    accuracy: tuple[float, ...]
    """Per layer the part of held-out pairs whose positive side scores higher; a tie is a half."""
    auroc: tuple[float, ...]
    """Per layer the chance that any held-out positive side scores above any negative one."""
    best: int
    """The recommended layer: of those within two standard errors of the best accuracy, the one
    nearest to the middle of the depth."""
    words_accuracy: float
    """The same by a logistic regression on word counts."""
    words_auroc: float
    random: Chance
    """Accuracy of random directions at the best layer."""
    permuted: Chance
    """Accuracy at the best layer where the polarity of every pair is drawn, for training and test
    alike: what the same texts reach without a contrast."""
    embedding_accuracy: float | None = None
    """Accuracy by a sentence embedding on the same pairs; None where it is not installed."""
    embedding_auroc: float | None = None
    above_embedding: tuple[float, float] | None = None
    """Accuracy at the best layer minus that of the embedding: 95 % over resampled pairs."""

    def as_json(self) -> dict[str, Any]:
        """The scores as values that JSON can hold, without those that are not known."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return {**values, "accuracy": list(self.accuracy), "auroc": list(self.auroc)}


def score_pairs(
    pooled: Tensor, pairs: Sequence[ContrastPair], method: str | OwnMethod, seed: int = 0
) -> PairScores | None:
    """Cross-validate the directions of pairs at every layer; None for fewer than two groups.

    Pairs that share a prompt or a side are held out together. Everything follows from one Gram
    matrix of the texts per layer.

    Args:
        pooled: (2 * n_pairs, n_layers, d_model), the positive side of each pair and then its
            negative one.
        pairs: their texts.
        method: one of `METHODS`.
        seed: of folds and draws.
    """
    folds = assign_folds(pairs, seed)
    n_folds = int(folds.max()) + 1
    if n_folds < 2:
        return None
    ones = np.ones(len(pairs))

    def scored(layer: int) -> Callable[[Floats], Floats]:
        if isinstance(method, OwnMethod):
            return partial(_held_out_by, pooled[:, layer], folds, method)
        return partial(_held_out, _gram(pooled[:, layer]), folds, method)

    with single_thread():
        held_out = [scored(layer)(ones) for layer in range(pooled.shape[1])]
        hits = np.stack([_hits(scores) for scores in held_out])  # (n_layers, n_pairs)
        best = recommended_layer(hits)
        draws = np.random.default_rng(seed)
        signs = draws.choice([-1.0, 1.0], size=(N_DRAWS, len(pairs)))
        at_best = scored(best)
        permuted = [_permuted_accuracy(at_best(sign), sign) for sign in signs]
    words, embedding = _by_words(pairs, folds), _by_embedding(pairs, folds)
    known = {} if embedding is None else _beside(hits[best], embedding, seed)
    return PairScores(
        n_pairs=len(pairs),
        folds=n_folds,
        accuracy=tuple(hits.mean(axis=1).tolist()),
        auroc=tuple(_area(scores) for scores in held_out),
        best=best,
        words_accuracy=float(_hits(words).mean()),
        words_auroc=_area(words),
        random=_chance(_random_accuracies(pooled[:, best], seed)),
        permuted=_chance(np.array(permuted)),
        **known,
    )


def baseline_rows(held_out: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, accuracy and AUROC of what reads no language model, from `PairScores.as_json`."""
    words = f"{held_out['words_accuracy']:.2f}", f"{held_out['words_auroc']:.2f}"
    embedding = "–", f"not installed: {sentence_embedding.INSTALL}"
    if "embedding_accuracy" in held_out:
        known = held_out["embedding_accuracy"], held_out["embedding_auroc"]
        embedding = f"{known[0]:.2f}", f"{known[1]:.2f}"
    return [("bag of words", *words), ("sentence embedding", *embedding)]


def embedding_sentence(held_out: Mapping[str, Any]) -> str:
    """How far the direction is from the sentence embedding; empty where that is not known."""
    if "above_embedding" not in held_out:
        return ""
    low, high = held_out["above_embedding"]
    found = held_out["accuracy"][held_out["best"]] - held_out["embedding_accuracy"]
    said = partial(apart, found, low, high, digits=2)
    if low > 0:
        return f"Accuracy is {said('that of a sentence embedding on the same pairs')}."
    better = "better" if high < 0 else "as well"
    return f"A sentence embedding tells these pairs apart {better}: accuracy is {said('its')}."


def _beside(hits: Floats, embedding: Floats, seed: int) -> dict[str, Any]:
    """What the embedding's scores (n_pairs, 2) reach beside hits (n_pairs,) of the direction."""
    ahead = hits - _hits(embedding)
    drawn = np.random.default_rng(seed).integers(len(ahead), size=(N_RESAMPLES, len(ahead)))
    low, high = np.quantile(ahead[drawn].mean(axis=1), [0.025, 0.975]).tolist()
    return {
        "embedding_accuracy": float(_hits(embedding).mean()),
        "embedding_auroc": _area(embedding),
        "above_embedding": (low, high),
    }


def assign_folds(pairs: Sequence[ContrastPair], seed: int, folds: int = FOLDS) -> Indices:
    """The fold of every pair, (n_pairs,); what shares a prompt or a side shares its fold."""
    group = list(range(len(pairs)))
    first: dict[tuple[str, str], int] = {}
    for index, pair in enumerate(pairs):
        keys = [("side", pair.positive), ("side", pair.negative)]
        keys += [("prompt", pair.prompt)] if pair.prompt else []
        for key in keys:
            old, new = group[index], group[first.setdefault(key, index)]
            group = [new if each == old else each for each in group]
    names = sorted(set(group))
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[place]: number % folds for number, place in enumerate(order)}
    return np.array([fold_of[each] for each in group], dtype=np.intp)


def _gram(activations: Tensor) -> Floats:
    texts = activations.double().numpy()  # (2 * n_pairs, d_model)
    texts = texts - texts.mean(axis=0)
    gram: Floats = texts @ texts.T
    return gram


def _held_out(gram: Floats, folds: Indices, method: str, signs: Floats) -> Floats:
    """Scores of held-out sides on unit directions of the other folds' pairs, (n_pairs, 2).

    Args:
        gram: dot products of the texts, (2 * n_pairs, 2 * n_pairs).
        folds: (n_pairs,).
        method: one of `METHODS`.
        signs: (n_pairs,), -1 where training takes a pair the other way round.
    """
    n_pairs = len(folds)
    grid = gram.reshape(n_pairs, 2, n_pairs, 2)
    half = grid[:, :, :, 0] - grid[:, :, :, 1]  # (n_pairs, 2, n_pairs): sides with differences
    scores = np.zeros((n_pairs, 2))
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        sides = half[:, :, train] * signs[train]  # (n_pairs, 2, n_train)
        differences = (sides[train, 0] - sides[train, 1]) * signs[train][:, None]
        if np.trace(differences) <= _NOISE**2 * np.trace(gram):
            continue
        factors = PAIR_SOLVERS[method](differences)  # (n_train,)
        length = np.sqrt(max(factors @ differences @ factors, np.finfo(np.float64).tiny))
        projected = sides @ factors / length  # (n_pairs, 2)
        scores[test] = projected[test] - projected[train].mean()
    return scores


def _held_out_by(texts: Tensor, folds: Indices, method: OwnMethod, signs: Floats) -> Floats:
    """As `_held_out`, by a method that is a function, from activations (2 * n_pairs, d_model)."""
    centred = texts.double() - texts.double().mean(dim=0)
    rows = np.arange(len(texts)).reshape(-1, 2)  # (n_pairs, 2)
    turned = np.where(signs[:, None] > 0, rows, rows[:, ::-1])
    scores = np.zeros((len(folds), 2))
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        pairs = [(int(a), int(b)) for a, b in turned[train]]
        direction = method.fit(texts[:, None], pairs)[0].double()  # (d_model,)
        projected = (centred @ direction).numpy()[rows]  # (n_pairs, 2)
        scores[test] = projected[test] - projected[train].mean()
    return scores


def _permuted_accuracy(scores: Floats, signs: Floats) -> float:
    turned = np.where(signs[:, None] > 0, scores, scores[:, ::-1])  # (n_pairs, 2)
    return float(_hits(turned).mean())


def _hits(scores: Floats) -> Floats:
    """1 where the positive side scores higher, a half where both are equal, (n_pairs,)."""
    hits: Floats = (scores[:, 0] > scores[:, 1]) + (scores[:, 0] == scores[:, 1]) / 2
    return hits


def _area(scores: Floats) -> float:
    return float(auroc(scores.ravel(), np.tile([True, False], len(scores))))


def _random_accuracies(activations: Tensor, seed: int) -> Floats:
    directions = random_directions(N_DRAWS * 5, 1, activations.shape[1], seed)[:, 0]
    texts = activations.float() - activations.float().mean(dim=0)
    scores = (texts @ directions.T).reshape(-1, 2, len(directions))  # (n_pairs, 2, n_draws)
    found: Floats = (scores[:, 0] > scores[:, 1]).to(torch.float64).mean(dim=0).numpy()
    return found


def _by_words(pairs: Sequence[ContrastPair], folds: Indices) -> Floats:
    """Held-out log odds of both sides by word counts, (n_pairs, 2)."""
    texts = np.array([(pair.positive, pair.negative) for pair in pairs], dtype=object)
    scores = np.zeros((len(pairs), 2))
    for fold in np.unique(folds):
        train, test = texts[folds != fold], texts[folds == fold]
        labels = ["positive", "negative"] * len(train)
        try:
            found = bag_of_words_scores(
                train.ravel().tolist(), labels, test.ravel().tolist(), ["positive"]
            )
        except ValueError:  # no text has a word of two letters: nothing to go by
            continue
        scores[folds == fold] = found.reshape(-1, 2)
    return scores


def _by_embedding(pairs: Sequence[ContrastPair], folds: Indices) -> Floats | None:
    """Held-out scores of both sides by a sentence embedding, (n_pairs, 2), None without one."""
    folder = sentence_embedding.model_folder()
    if folder is None:
        return None
    texts = [side for pair in pairs for side in (pair.positive, pair.negative)]
    gram = _gram(torch.from_numpy(sentence_embedding.embed(texts, folder)))
    return _held_out(gram, folds, "mean", np.ones(len(pairs)))


def _chance(values: Floats) -> Chance:
    return Chance(float(values.mean()), float(np.quantile(values, 0.95)))
