"""Whitened mean differences and their relatives, against the formulas written out."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from readout_ui.activations.cache import ActivationCache
from readout_ui.vectors import products
from readout_ui.vectors.cross_validation import (
    assign_folds,
    cross_validated_layers,
)
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.layer_fits import Fitted, fit_and_rate
from readout_ui.vectors.mapped import MappedLayer
from readout_ui.vectors.methods import METHODS
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus
from readout_ui.vectors.whitening import SHRINKAGE, Floats, Indices, map_of, stand_in

N_CONCEPTS, EACH, N_NEUTRAL, D_MODEL = 6, 5, 7, 20
N_TEXTS = N_CONCEPTS * EACH + N_NEUTRAL
ROWS = tuple(tuple(range(i, i + EACH)) for i in range(0, N_CONCEPTS * EACH, EACH))
NEUTRAL = tuple(range(N_CONCEPTS * EACH, N_TEXTS))
GROUPS = TextGroups(tuple(f"concept{i}" for i in range(N_CONCEPTS)), ROWS, NEUTRAL)


def drawn(seed: int = 0, massive: float = 1.0, n_narrow: int = 0) -> tuple[Tensor, Tensor]:
    """Texts and neutral tokens at two layers that spread along a few lines; dimension 3 is wide,
    the last ones are narrow."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(D_MODEL, D_MODEL, generator=generator) / 4 + torch.eye(D_MODEL)
    texts = torch.randn(N_TEXTS, 2, D_MODEL, generator=generator) @ mix
    tokens = torch.randn(40, 2, D_MODEL, generator=generator) @ mix + 3
    for rows in ROWS:
        texts[list(rows)] += torch.randn(D_MODEL, generator=generator)
    wide = torch.ones(D_MODEL)
    wide[3] = massive
    wide[D_MODEL - n_narrow :] = 0.1
    return texts * wide, tokens * wide


def written_out(texts: Floats, tokens: Floats | None, left_out: int | None = None) -> Floats:
    """M as a whole matrix; the scale is that of all texts, and so is what the parts count."""
    apart = np.concatenate([texts[list(r)] - texts[list(r)].mean(axis=0) for r in (*ROWS, NEUTRAL)])
    deviation = np.sqrt((apart**2).mean(axis=0))
    narrow = (deviation < np.median(deviation) / 2).mean()
    scale = np.maximum(deviation, 2 * np.median(deviation) * max(0, 1 - narrow / 0.1))
    parts = [apart, *([tokens - tokens.mean(axis=0)] if tokens is not None else [])]
    sizes = [((part / scale) ** 2).sum() / D_MODEL for part in parts]
    if left_out is not None:
        kept = [[row for row in rows if row != left_out] for rows in (*ROWS, NEUTRAL)]
        parts[0] = np.concatenate([texts[rows] - texts[rows].mean(axis=0) for rows in kept])
    covariance = sum(
        (part / scale).T @ (part / scale) / s for part, s in zip(parts, sizes, strict=True)
    )
    shrunk = (1 - SHRINKAGE) * covariance / len(parts) + SHRINKAGE * np.eye(D_MODEL)
    whole: Floats = SHRINKAGE * np.linalg.inv(shrunk) / np.outer(scale, scale)
    return whole


@pytest.mark.parametrize(("massive", "n_narrow"), [(1.0, 0), (300.0, 0), (1.0, 1), (1.0, 5)])
@pytest.mark.parametrize("with_tokens", [True, False])
def test_directions_are_those_of_the_formula(
    massive: float, n_narrow: int, with_tokens: bool
) -> None:
    texts, tokens = drawn(massive=massive, n_narrow=n_narrow)
    found = METHODS["whitened"](texts, GROUPS, PairSettings(), tokens if with_tokens else None)
    x = texts[:, 1].double().numpy()
    others = [row for row in range(N_TEXTS) if row not in ROWS[2]]
    difference = x[list(ROWS[2])].mean(axis=0) - x[others].mean(axis=0)
    expected = written_out(x, tokens[:, 1].double().numpy() if with_tokens else None) @ difference
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(found[2, 1].numpy(), expected, atol=2e-5)


def test_a_text_can_be_taken_out_of_the_map_by_its_residual() -> None:
    """What judging a text held out relies on (`LinearMap.texts`, `.weight`)."""
    texts, tokens = drawn()
    corpus = Corpus(("",) * N_TEXTS, GROUPS, texts, TrainSettings(), neutral_tokens=tokens)
    x = texts[:, 1].double().numpy()
    settings, own = corpus.settings, tokens[:, 1].double().numpy()
    found = map_of(settings.method, x - x.mean(axis=0), GROUPS, own)
    assert set(found.texts.tolist()) == set(range(N_TEXTS))
    residual = x[ROWS[2][0]] - x[list(ROWS[2])].mean(axis=0)
    image = found.images(residual[None])[0]
    share = found.weight * EACH / (EACH - 1)
    whole = found.images(np.eye(D_MODEL))
    without = whole + share * np.outer(image, image) / (1 - share * residual @ image)
    expected = written_out(x, tokens[:, 1].double().numpy(), left_out=ROWS[2][0])
    np.testing.assert_allclose(without, expected, atol=1e-4 * np.abs(expected).max())


def test_what_texts_differ_by_anyway_counts_less_than_by_the_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    axes = torch.linalg.qr(torch.randn(D_MODEL, D_MODEL, generator=generator)).Q
    texts = 0.1 * torch.randn(N_TEXTS, 1, D_MODEL, generator=generator)
    for concept, rows in enumerate(ROWS):
        texts[list(rows)] += axes[concept]
    noise = 4 * torch.randn(N_TEXTS, 1, 1, generator=generator)
    texts += noise * axes[10]
    found = {m: METHODS[m](texts, GROUPS, PairSettings(), None)[:, 0] for m in ("mean", "whitened")}
    along = {method: float((some @ axes[10]).abs().mean()) for method, some in found.items()}
    assert along["mean"] > 0.5
    assert along["whitened"] < along["mean"] / 3


def test_neutral_components_are_gone_from_directions_and_hold_half_of_the_variance() -> None:
    texts, tokens = drawn(massive=3.0)
    found = METHODS["neutral_pcs"](texts, GROUPS, PairSettings(), tokens)[:, 1].double().numpy()
    apart = tokens[:, 1].double().numpy() - tokens[:, 1].double().numpy().mean(axis=0)
    _, sizes, lines = np.linalg.svd(apart, full_matrices=False)
    held = np.cumsum(sizes**2) / (sizes**2).sum()
    n = int((held < 0.5).sum()) + 1
    assert np.abs(found @ lines[:n].T).max() < 1e-5
    assert np.abs(found @ lines[n]).max() > 0.01


def test_held_out_scores_of_noise_are_chance_so_nothing_leaks() -> None:
    generator = torch.Generator().manual_seed(2)
    each = 30
    rows = tuple(tuple(range(i, i + each)) for i in range(0, 6 * each, each))
    groups = TextGroups(GROUPS.concepts, rows, ())
    noise = torch.randn(6 * each, 3, D_MODEL, generator=generator)
    scores = cross_validated_layers(noise, groups, method="whitened")
    assert scores.auroc is not None
    assert np.mean(scores.auroc) == pytest.approx(0.5, abs=0.04)


def test_held_out_scores_are_those_of_a_training_without_the_fold() -> None:
    texts, tokens = drawn()
    assignment = assign_folds(GROUPS, EACH, seed=0)
    x = texts[:, 1].double().numpy()
    layer = MappedLayer.of(texts, 1, assignment.members, "whitened", tokens)
    scores = layer.held_out(assignment.fold, EACH)  # (n_texts, n_concepts)
    held_out = assignment.fold == 0
    rest = [tuple(r for r in rows if not held_out[r]) for rows in (*ROWS, NEUTRAL)]
    groups = TextGroups(GROUPS.concepts, tuple(rest[:-1]), rest[-1])
    fitted = METHODS["whitened"](texts[:, [1]], groups, PairSettings(), tokens[:, [1]])[:, 0]
    apart = x[held_out] - x[~held_out].mean(axis=0)
    expected = apart / np.linalg.norm(apart, axis=1, keepdims=True) @ fitted.T.double().numpy()
    np.testing.assert_allclose(scores[held_out], expected, atol=0.03)  # the scale is that of all


@pytest.mark.parametrize("n_rows", [1, 80, 81, 331])
def test_the_inverse_by_halves_is_the_inverse(n_rows: int) -> None:
    rows = np.random.default_rng(0).normal(size=(n_rows, 400)).astype(np.float32)
    matrix = np.eye(n_rows, dtype=np.float32) + rows @ rows.T / 40
    expected = np.linalg.inv(matrix.astype(np.float64))
    np.testing.assert_allclose(products.inverse_of(matrix), expected, atol=1e-5)


@pytest.mark.parametrize("n_narrow", [0, 1, 5])
@pytest.mark.parametrize("method", ["whitened", "neutral_pcs"])
def test_a_fold_is_taken_out_of_the_whole_map_as_if_it_had_never_been_in_it(
    method: str, n_narrow: int
) -> None:
    """With one scale for all dimensions but a wide one, for most of them, and for none."""
    texts, tokens = drawn(massive=30.0, n_narrow=n_narrow)
    assignment = assign_folds(GROUPS, 3, seed=1)  # some folds hold two texts of a concept
    layer = MappedLayer.of(texts, 1, assignment.members, method, tokens)
    for fold in range(3):
        held_out = np.flatnonzero(assignment.fold == fold)
        expected = layer._refitted(held_out)
        np.testing.assert_allclose(layer._judged(held_out), expected, atol=1e-5)


def test_after_an_edit_a_fit_multiplies_the_new_rows_alone_and_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[bool] = []
    usual = products._usual

    def counted(rows: Floats, far: Indices, some: Indices | None = None) -> tuple[Floats, Floats]:
        whole.append(some is None)
        return usual(rows, far, some)

    monkeypatch.setattr(products, "_usual", counted)
    texts, tokens = drawn(massive=30.0)
    settings, cache = TrainSettings(), ActivationCache(tmp_path)
    keys = [f"text {row}" for row in range(N_TEXTS)]

    def fitted(cache: ActivationCache | None) -> Fitted:
        whole.clear()
        corpus = Corpus(
            ("",) * N_TEXTS,
            GROUPS,
            texts,
            settings,
            neutral_tokens=tokens,
            keys=tuple(keys),
            cache=cache,
        )
        return fit_and_rate(corpus, corpus.pooled, GROUPS, None)

    fitted(cache)
    assert all(whole)
    for row in (ROWS[1][0], ROWS[1][1], ROWS[4][2], NEUTRAL[0]):
        texts[row] += texts[ROWS[3][0]] - texts[ROWS[2][0]]
        keys[row] += " edited"
        found = fitted(cache)
        assert any(whole) == (row in NEUTRAL)
        alone = fitted(None)
        torch.testing.assert_close(found.directions, alone.directions, rtol=0, atol=2e-6)
        assert found.scores == alone.scores
    cache.close()


@pytest.mark.parametrize("method", ["whitened", "neutral_pcs"])
def test_memory_grows_with_the_texts_and_not_with_their_square(method: str) -> None:
    n, groups = 6000, 20
    generator = torch.Generator().manual_seed(2)
    texts = torch.randn(n, 1, D_MODEL, generator=generator)
    rows = tuple(tuple(range(i, n, groups)) for i in range(groups))
    named = TextGroups(tuple(f"c{i:02d}" for i in range(groups)), rows, ())
    assignment = assign_folds(named, 4, seed=0)
    tracemalloc.start()
    layer = MappedLayer.of(texts, 0, assignment.members, method, None)
    layer.directions()
    layer.held_out(assignment.fold, 4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n * n  # a quarter of what float32 numbers for all pairs of texts take


def test_many_texts_are_thinned_and_the_map_stays_nearly_the_same() -> None:
    generator = torch.Generator().manual_seed(3)
    n = 1500
    texts = torch.randn(n, D_MODEL, generator=generator).double().numpy()
    rows = tuple(tuple(range(i, i + 100)) for i in range(0, n, 100))
    groups = TextGroups(tuple(f"c{i:02d}" for i in range(15)), rows, ())
    found = map_of("whitened", texts, groups, None)
    assert 300 < len(found.texts) <= 384
    whole = found.images(np.eye(D_MODEL))
    assert np.abs(np.linalg.eigvalsh(whole) / np.diag(whole).mean() - 1).max() < 0.2


@pytest.mark.parametrize(
    ("method", "n_concepts", "n_tokens", "said"),
    [
        ("whitened", 6, 40, ""),
        ("whitened", 3, 40, "rests on neutral tokens"),
        ("whitened", 6, 0, "the spread of the texts alone"),
        ("whitened", 3, 0, "plain mean differences"),
        ("neutral_pcs", 6, 0, "plain mean differences"),
        ("mean", 1, 0, ""),
    ],
)
def test_what_is_done_instead_is_said(
    method: str, n_concepts: int, n_tokens: int, said: str
) -> None:
    sentence = stand_in(method, n_concepts, n_tokens)
    assert said in sentence
    assert bool(sentence) == bool(said)


def test_three_concepts_without_neutral_texts_are_fitted_by_the_mean() -> None:
    texts, _ = drawn()
    groups = TextGroups(("a", "b", "c"), ROWS[:3], ())
    found = [METHODS[m](texts, groups, PairSettings(), None) for m in ("whitened", "mean")]
    torch.testing.assert_close(found[0], found[1])
