"""Influence: left-out texts by refitting give the same numbers, planted misfits are found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from readout_ui.evaluation.influence import FALSE_ALARM, influence
from readout_ui.evaluation.left_out import layer_texts, leave_out
from readout_ui.evaluation.misfits import _Groups, _Products, find_misfits, misfit_pieces
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import fit
from readout_ui.vectors.whitening import LinearMap, Members, base_map, map_of
from tests.support.synthetic_corpus import Floats, Shape, make_corpus


@pytest.mark.parametrize("method", ["mean", "whitened"])
def test_the_closed_form_equals_fitting_again_without_the_text(method: str) -> None:
    shape = Shape(n_concepts=3, n_each=4, n_neutral=3, d_model=16, signal=3.0)
    corpus = replace(
        make_corpus(0, shape),
        settings=TrainSettings(method=method),
        neutral_tokens=torch.randn(20, 1, 16, generator=torch.Generator().manual_seed(0)),
    )
    texts = layer_texts(corpus, 0)
    left_out = leave_out(texts)
    pooled = corpus.pooled[:, 0].double().numpy()
    tokens = corpus.tokens[:, 0].double().numpy() if corpus.tokens is not None else None
    held = map_of(method, pooled - pooled.mean(axis=0), corpus.groups, tokens)

    def without_text(row: int) -> LinearMap:
        """The map that never saw a text; scales and weights are those of all."""
        members = Members.of(corpus.groups)
        kept = members.rows != row
        base = base_map(method, members.centred(pooled), members, tokens)
        return base.plus(members.some(kept).centred(pooled[kept]), base.weight)

    def fitted(row: int | None, held: LinearMap = held) -> torch.Tensor:
        kept = [[r for r in own if r != row] for own in corpus.groups.rows]
        rest = {r for own in kept for r in own} | (set(corpus.groups.neutral) - {row})
        pooled = corpus.pooled[:, 0].double()
        apart = [
            pooled[own].mean(dim=0) - pooled[sorted(rest - set(own))].mean(dim=0) for own in kept
        ]
        images = torch.from_numpy(held.images(torch.stack(apart).numpy()))
        return torch.nn.functional.normalize(images, dim=1)

    whole = fitted(None)
    torch.testing.assert_close(whole, fit(corpus)[:, 0].double(), atol=1e-5, rtol=1e-5)
    for row in (0, 5, 13):
        without = fitted(row)
        text = torch.nn.functional.normalize(torch.from_numpy(texts.texts[row]), dim=0)
        unseen = fitted(row, held if method == "mean" else without_text(row))
        np.testing.assert_allclose(left_out.scores[row], unseen @ text, rtol=1e-4, atol=1e-5)
        if row < 12:
            own = row // 4
            influence = 1 - float(whole[own] @ without[own])
            assert left_out.influence[row] == pytest.approx(influence, abs=1e-5)
            shift = (whole[own] - without[own]) @ whole.T
            others = np.arange(3) != own
            np.testing.assert_allclose(left_out.shift[row][others], shift[others], atol=1e-5)


@pytest.mark.parametrize("shape", [Shape(), Shape(uneven=True), Shape(n_each=6, n_concepts=6)])
def test_a_description_of_another_concept_is_found_and_named(shape: Shape) -> None:
    n_other = shape.n_concepts - 1

    def plant(texts: Floats, means: Floats) -> None:
        texts[3] += 2 * (means[n_other] - means[0])

    marked = [b for b in influence(make_corpus(1, shape, plant), 0) if b.outlier]
    assert [(b.concept, b.index) for b in marked] == [("aconcept", 3)]
    other = "abcdefgh"[n_other] + "concept"
    assert marked[0].pull == marked[0].like == other
    assert marked[0].pull_score > marked[0].own
    assert marked[0].note().startswith(f"Reads more like a text of {other}")


@pytest.mark.parametrize(
    "shape",
    [Shape(), Shape(signal=0.0), Shape(uneven=True), Shape(3, 3, 0), Shape(16, 6, 4, 32, 3.0)],
)
def test_false_alarms_stay_at_the_stated_rate(shape: Shape) -> None:
    n_seeds = 100
    alarms, heavy = 0, 0
    for seed in range(n_seeds):
        influences = influence(make_corpus(seed, shape), 0)
        alarms += any(b.outlier for b in influences)
        heavy += any(b.heavy for b in influences)
    # Three standard errors of a hundred libraries above the stated rate.
    limit = n_seeds * FALSE_ALARM + 3 * np.sqrt(n_seeds * FALSE_ALARM * (1 - FALSE_ALARM))
    assert alarms <= limit
    assert heavy <= limit


def test_a_description_that_decides_the_direction_is_marked_heavy() -> None:
    def plant(texts: Floats, means: Floats) -> None:
        texts[10] += 60 * means[1] / np.linalg.norm(means[1]) + 20

    plain = replace(make_corpus(0, plant=plant), settings=TrainSettings(method="mean"))
    marked = [(b.concept, b.index) for b in influence(plain, 0) if b.heavy]
    assert marked == [("bconcept", 2)]


def test_an_only_description_has_no_influence_and_no_mark() -> None:
    first = influence(make_corpus(0, Shape(4, 1, 4)), 0)[0]
    assert np.isnan(first.influence)
    assert np.isnan(first.own)
    assert not first.outlier
    assert first.note() == ""


def test_two_concepts_without_neutral_texts_are_judged() -> None:
    judged = influence(make_corpus(0, Shape(2, 3, 0)), 0)
    assert len(judged) == 6
    assert {b.pull for b in judged} == {"aconcept", "bconcept"}


def test_a_neutral_text_among_descriptions_is_found_and_no_other() -> None:
    def plant(texts: Floats, _means: Floats) -> None:
        texts[12] = texts[-1] + 0.1

    marked = [b for b in influence(make_corpus(2, plant=plant), 0) if b.outlier]
    assert [(b.concept, b.index, b.like) for b in marked] == [("bconcept", 4, "")]
    assert "nothing in particular" in marked[0].note()


def test_misfits_of_many_texts_come_in_short_pieces() -> None:
    corpus = make_corpus(0, Shape(n_concepts=26, n_each=20, d_model=32))
    pieces, n_pieces = misfit_pieces(corpus), 0
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            found = end.value
            break
        n_pieces += 1
    assert n_pieces >= 3  # one for its layer, and more for the libraries it is compared with
    np.testing.assert_array_equal(found.p, find_misfits(corpus).p)


def test_libraries_with_nothing_wrong_are_the_means_with_others_deviations() -> None:
    draws = np.random.default_rng(0)
    counts = np.array([4.0, 3.0, 5.0])
    group = np.repeat(np.arange(3), counts.astype(int))
    x = draws.standard_normal((12, 6)) + 3 * draws.standard_normal((3, 6))[group]
    means = np.stack([x[group == g].mean(axis=0) for g in range(3)])
    stretch = np.sqrt(counts / (counts - 1))[group, None]
    order = draws.permutation(12)
    moved = means[group] + (stretch * (x - means[group]))[order]
    groups = _Groups(group, counts)
    found = _Products(x @ x.T, groups).deviations().margins(order[None])[0]
    expected = _Products(moved @ moved.T, groups).margins()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
