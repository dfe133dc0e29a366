"""Nearest concepts, R2 from the others and the first component, each against chance."""

from dataclasses import replace

import numpy as np
import pytest

from readout_ui.evaluation.redundancy import RIDGE, redundancy, ridge_r2
from tests.support.planted_corpus import make_corpus


def test_r2_is_that_of_a_ridge_fit_by_the_other_concepts() -> None:
    draws = np.random.default_rng(0)
    sizes = np.array([3, 5, 4, 6, 2])  # the last group is neutral
    means = draws.normal(size=(5, 7))
    means -= sizes @ means / sizes.sum()
    ratio = sizes[:4] / (sizes.sum() - sizes[:4])
    directions = (1 + ratio[:, None]) * means[:4]
    found = ridge_r2(directions @ directions.T, ratio)
    for i in range(4):
        others = [j for j in range(4) if j != i]
        center = -ratio[i] * means[i]
        known = (means[others] - center) / np.linalg.norm(means[others], axis=1)[:, None]
        target = directions[i] / np.linalg.norm(directions[i])
        weights = np.linalg.solve(known @ known.T + RIDGE * np.eye(3), known @ target)
        assert found[i] == pytest.approx(1 - np.sum((target - weights @ known) ** 2))


def test_r2_of_a_concept_with_contrast_texts_is_that_of_a_fit_on_the_directions() -> None:
    corpus = make_corpus((4, 5, 3, 6), strength=0.5, contrasts={1: 5})
    found = redundancy(corpus, 0, 20)[1]
    texts, groups = corpus.pooled[:, 0].double().numpy(), corpus.groups
    texts -= texts[list(groups.all_rows())].mean(axis=0)
    means = np.stack([texts[list(rows)].mean(axis=0) for rows in groups.rows])
    apart = texts[list(groups.rows[1])] - texts[list(groups.against[1])].mean(axis=0)
    target = apart.mean(axis=0) / np.linalg.norm(apart.mean(axis=0))
    known = means[[0, 2, 3]] / np.linalg.norm(means[[0, 2, 3]], axis=1)[:, None]
    weights = np.linalg.solve(known @ known.T + RIDGE * np.eye(3), known @ target)
    assert found.r2 == pytest.approx(1 - np.sum((target - weights @ known) ** 2), abs=1e-4)
    values = np.linalg.eigvalsh(apart @ apart.T)
    assert found.first_component_share == pytest.approx(values[-1] / values.sum(), abs=1e-4)


def test_concepts_planted_apart_are_not_called_redundant() -> None:
    for n_neutral in (0, 8):
        rows = redundancy(make_corpus(strength=1.0, n_neutral=n_neutral), 0, 60)
        assert not any(row.r2_differs for row in rows)


def test_with_nothing_planted_few_libraries_show_any_redundancy() -> None:
    alarms = [
        any(row.r2_differs for row in redundancy(make_corpus(seed=s), 0, 60)) for s in range(20)
    ]
    assert sum(alarms) <= 3


def test_a_planted_copy_is_redundant_and_nearest_to_its_original() -> None:
    rows = redundancy(make_corpus(strength=1.0, copies={6: 2}), 0)
    assert {row.concept for row in rows if row.r2_differs} == {"c2", "c6"}
    assert [row.nearest[0].concept for row in (rows[2], rows[6])] == ["c6", "c2"]
    assert rows[2].nearest[0].differs
    assert rows[2].r2_low < rows[2].r2 < rows[2].r2_high
    assert rows[2].r2_low > rows[2].r2_chance


def test_a_mixture_of_two_concepts_is_redundant_though_neither_is_a_copy() -> None:
    corpus = make_corpus((12,) * 8, strength=1.0)
    planted = corpus.pooled - make_corpus((12,) * 8).pooled
    pooled = corpus.pooled.clone()
    pooled[:12] += (planted[12] + planted[24]) * 0.75 - planted[0]
    row = redundancy(replace(corpus, activations=pooled), 0)[0]
    assert row.r2_differs
    assert {near.concept for near in row.nearest[:2]} == {"c1", "c2"}


def test_a_concept_whose_texts_differ_alike_has_a_large_first_component() -> None:
    one_thing = redundancy(make_corpus((8,) * 6, strength=1.5), 0, 20)
    assert all(row.first_component_share > row.share_chance for row in one_thing)
    nothing = redundancy(make_corpus((8,) * 6), 0, 20)
    assert sum(row.first_component_share > row.share_chance for row in nothing) <= 2


def test_a_concept_of_two_halves_has_a_smaller_first_component() -> None:
    sizes = (8,) * 6
    corpus = make_corpus(sizes, strength=1.5)
    planted = corpus.pooled[0] - make_corpus(sizes).pooled[0]
    other = (
        make_corpus(sizes, strength=1.5, seed=5).pooled[0] - make_corpus(sizes, seed=5).pooled[0]
    )
    pooled = corpus.pooled.clone()
    pooled[:4] += other - planted
    whole = redundancy(corpus, 0, 20)[0].first_component_share
    assert (
        redundancy(replace(corpus, activations=pooled), 0, 20)[0].first_component_share
        < 0.8 * whole
    )


def test_lone_descriptions_and_two_concepts_are_no_obstacle() -> None:
    rows = redundancy(make_corpus((1, 5)), 0, 20)
    assert [near.concept for near in rows[0].nearest] == ["c1"]
    assert (rows[0].r2_low, rows[0].r2_high, rows[0].r2_differs) == (0, 1, False)
    assert rows[0].first_component_share == pytest.approx(1)
    assert np.isnan(rows[0].share_chance)
