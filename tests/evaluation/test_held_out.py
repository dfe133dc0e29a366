"""Held-out descriptions on every direction: nothing leaks, confusions are named."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from readout_ui.evaluation.held_out import held_out_matrix, own_of_random_groups
from readout_ui.evaluation.left_out import layer_texts, left_out_scores
from readout_ui.evaluation.resampling import wilson
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import mean_difference
from tests.support.planted_corpus import make_corpus


@pytest.mark.parametrize("n_neutral", [0, 4])
def test_scores_are_those_of_training_anew_without_each_text(n_neutral: int) -> None:
    corpus = make_corpus((3, 5, 2), strength=0.5, n_neutral=n_neutral)
    found = left_out_scores(layer_texts(corpus, 0))
    for text in range(10):
        others = [i for i in range(len(corpus.texts)) if i != text]
        rows = tuple(tuple(others.index(i) for i in own if i != text) for own in corpus.groups.rows)
        neutral = tuple(others.index(i) for i in corpus.groups.neutral)
        rest = corpus.pooled[others]
        groups = TextGroups(corpus.groups.concepts, rows, neutral)
        directions = mean_difference(rest, groups, PairSettings())[:, 0]
        centred = corpus.pooled[text, 0] - rest[:, 0].mean(dim=0)
        expected = directions @ torch.nn.functional.normalize(centred, dim=0)
        np.testing.assert_allclose(found[text], expected.numpy(), atol=1e-4)


def test_planted_concepts_answer_to_their_own_direction() -> None:
    found = held_out_matrix(make_corpus(strength=1.0), 0)
    assert found.top1.value > 0.95
    assert np.diag(found.differs).all()
    assert (np.diag(found.mean) == found.mean.max(axis=1)).all()
    assert all(share.value > 0.7 for share in found.per_concept)


def test_with_nothing_planted_top1_is_chance_and_few_libraries_show_any_cell() -> None:
    found = [held_out_matrix(make_corpus(seed=seed), 0, 100) for seed in range(25)]
    assert np.mean([one.top1.value for one in found]) == pytest.approx(0.1, abs=0.02)
    assert sum(one.differs.any() for one in found) <= 4
    assert sum(any(c.differs for c in one.confusions) for one in found) <= 4
    inside = [(one.low <= 0) & (one.high >= 0) for one in found]
    assert np.mean(inside) >= 0.93


def test_marks_keep_their_rate_where_few_dimensions_hold_most_of_the_variance() -> None:
    falling = 1 / torch.arange(1, 65)
    marked = []
    for seed in range(60):
        corpus = make_corpus(seed=seed)
        found = held_out_matrix(
            replace(corpus, activations=(corpus.pooled - 20) * falling + 20), 0, 50
        )
        marked.append(found.differs.any())
    assert sum(marked) <= 7  # 3 expected at 5 %; by Student's t on the diagonal it were 10


@pytest.mark.parametrize("contrasts", [None, {1: 6}])
def test_random_groups_score_like_training_anew_on_them(contrasts: dict[int, int] | None) -> None:
    corpus = make_corpus((4, 5, 3), strength=1.0, contrasts=contrasts)
    drawn = own_of_random_groups(layer_texts(corpus, 0), seed=3)[0]
    order = np.random.default_rng((3, 1)).permutation(12)
    shuffled = torch.cat([corpus.pooled[order], corpus.pooled[12:]])
    scores = left_out_scores(layer_texts(replace(corpus, activations=shuffled), 0))
    own = scores[np.arange(12), np.repeat([0, 1, 2], [4, 5, 3])]
    assert drawn == pytest.approx([own[:4].mean(), own[4:9].mean(), own[9:].mean()], abs=1e-4)


def test_with_whitening_texts_without_concepts_score_by_chance_alone() -> None:
    """A map that had seen the left-out text would hide what is its own, and tell its concept."""
    corpora = [make_corpus((6,) * 8, seed=seed, method="whitened") for seed in range(12)]
    found = [held_out_matrix(corpus, 0, 50) for corpus in corpora]
    assert np.mean([one.top1.value for one in found]) == pytest.approx(1 / 8, abs=0.05)
    assert sum(np.diag(one.differs).any() for one in found) <= 2


def test_concepts_that_share_a_direction_are_confused_by_name() -> None:
    corpus = make_corpus((12,) * 12, strength=1.0, copies={3: 1})
    confusions = held_out_matrix(corpus, 0).confusions
    assert {confusions[0].concept, confusions[0].taken_for} == {"c1", "c3"}
    assert confusions[0].differs
    assert confusions[0].of == 12
    assert not any(c.differs for c in confusions if {c.concept, c.taken_for} != {"c1", "c3"})


def test_a_description_filed_under_the_wrong_concept_is_one_confusion() -> None:
    corpus = make_corpus(strength=1.5)
    pooled = corpus.pooled.clone()
    pooled[0] = pooled[15] + 0.1  # the first text of c0 says what those of c1 say
    confusions = held_out_matrix(replace(corpus, activations=pooled), 0).confusions
    assert [(c.concept, c.taken_for, c.count) for c in confusions] == [("c0", "c1", 1)]


def test_a_lone_description_is_never_its_own_judge() -> None:
    found = held_out_matrix(make_corpus((1, 6, 6), strength=1.0), 0)
    assert np.isnan(found.mean[0, 0])
    assert not found.differs[0].any()
    assert np.isinf(found.low[0]).all()
    assert np.isnan(found.per_concept[0].value)
    assert np.isfinite(found.mean[1:]).all()
    assert "c0" not in {c.concept for c in found.confusions}


def test_where_every_concept_has_one_description_nothing_is_claimed() -> None:
    found = held_out_matrix(make_corpus((1, 1, 1)), 0)
    assert np.isnan(found.top1.value)
    assert not found.differs.any()
    assert found.confusions == ()


def test_equal_texts_score_nothing() -> None:
    corpus = make_corpus((4, 4))
    same = replace(corpus, activations=corpus.pooled[:1].expand(len(corpus.texts), -1, -1))
    assert (held_out_matrix(same, 0).mean == 0).all()


def test_an_interval_of_all_or_none_still_has_a_width() -> None:
    assert wilson(8, 8).low == pytest.approx(0.676, abs=0.001)
    assert wilson(0, 8).high == pytest.approx(0.324, abs=0.001)
