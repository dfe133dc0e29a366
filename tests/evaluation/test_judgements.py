"""Statistics of scored texts: what is planted is found, what is not is not."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import kstest

from readout_ui.errors import UserError
from readout_ui.evaluation.generalization import judge
from readout_ui.evaluation.judgements import JudgeSettings
from readout_ui.evaluation.resampling import (
    auroc_estimate,
    bootstrap_weights,
    corrected_p,
    group_weights,
    p_values,
    perfect_bound,
    permuted_auroc,
    weighted_auroc,
    wilson,
)
from readout_ui.evaluation.scored_texts import ScoredTexts
from readout_ui.vectors.auroc import auroc
from tests.support.scored_texts import CONCEPTS, QUICK, labels, scored


def test_a_planted_difference_is_found_in_every_number() -> None:
    found = judge(scored(0, 3.0), QUICK)
    assert found.macro.auroc.low > 0.95
    assert found.macro.p == pytest.approx(1 / 301)
    assert all(each.p < 0.02 for each in found.per_concept)
    assert found.macro.gain is not None
    assert found.macro.gain.low > 0.3
    assert found.top[0].hits.low > found.top[0].chance == pytest.approx(1 / 6)
    assert found.macro.average_precision > 0.8


def test_nothing_planted_gives_chance_and_intervals_that_hold_it() -> None:
    found = judge(scored(1, 0.0), QUICK)
    assert found.macro.auroc.low < 0.5 < found.macro.auroc.high
    assert found.macro.p > 0.05
    assert found.macro.permuted.value == pytest.approx(0.5, abs=0.02)
    assert found.macro.random.value == pytest.approx(0.5, abs=0.03)


def test_with_nothing_planted_false_alarms_come_at_the_stated_rate() -> None:
    rng = np.random.default_rng(7)
    own, alarms, macro = labels(8), [], []
    for seed in range(200):
        scores = rng.normal(size=own.shape)
        aurocs, permuted = auroc(scores, own), permuted_auroc(scores, own, 200, seed)
        alarms.append(corrected_p(aurocs, permuted).min() <= 0.05)
        macro.append(p_values(np.array([aurocs.mean()]), permuted.mean(axis=1))[0])
    # 200 trials at 5 %: 99.9 % of the time below 21.
    assert np.sum(alarms) <= 20
    assert kstest(macro, "uniform").pvalue > 0.001


def test_correlated_concepts_do_not_raise_more_false_alarms() -> None:
    rng = np.random.default_rng(8)
    own = labels(8)
    alarms = 0
    for seed in range(150):
        scores = rng.normal(size=(len(own), 1)) + 0.2 * rng.normal(size=own.shape)
        p = corrected_p(auroc(scores, own), permuted_auroc(scores, own, 200, seed))
        alarms += p.min() <= 0.05
    assert alarms <= 17


def test_one_concept_among_many_that_mean_nothing_is_found_alone() -> None:
    planted = scored(3, 0.0)
    planted.scores[planted.own[:, 2], 2] += 3
    found = judge(planted, QUICK)
    assert [each.concept for each in found.per_concept if each.p < 0.05] == ["tired"]


def test_a_weighted_auroc_is_that_of_the_repeated_texts() -> None:
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 5, size=(30, 3)).astype(float)  # many ties
    own = rng.random((30, 3)) < 0.4
    weights = rng.integers(0, 4, size=(30, 5)).astype(np.float32)
    drawn = weighted_auroc(scores, own, weights)
    for draw in range(5):
        rows = np.repeat(np.arange(30), weights[:, draw].astype(int))
        np.testing.assert_allclose(drawn[draw], auroc(scores[rows], own[rows]), rtol=1e-6)


def test_large_collections_are_resampled_alike() -> None:
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 40, size=(700, 2)).astype(float)
    own = rng.random((700, 2)) < 0.5  # more than 200 each: by sorting
    weights = rng.integers(0, 4, size=(700, 3)).astype(np.float32)
    drawn = weighted_auroc(scores, own, weights)
    rows = np.repeat(np.arange(700), weights[:, 1].astype(int))
    np.testing.assert_allclose(drawn[1], auroc(scores[rows], own[rows]), rtol=1e-6)


def test_resamples_keep_the_number_of_texts_of_every_concept() -> None:
    own = labels(7)
    weights = bootstrap_weights(own, 50, 0)
    assert (own.T.astype(float) @ weights == 7).all()
    mixed = np.array(list(product((False, True), repeat=4)))
    assert (bootstrap_weights(mixed, 50, 0).sum(axis=0) == 16).all()
    assert (bootstrap_weights(mixed, 50, 0) != 1).any()


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    own, truth, held = labels(12, 2), 0.7602, 0  # Phi(1 / sqrt 2)
    for seed in range(200):
        scores = rng.normal(size=own.shape) + own
        drawn = weighted_auroc(scores, own, bootstrap_weights(own, 200, seed))
        interval = auroc_estimate(auroc(scores, own)[0], drawn[:, 0], 12)
        held += interval.low <= truth <= interval.high
    assert 175 <= held <= 199


def test_perfect_separation_of_few_texts_keeps_its_doubt() -> None:
    found = judge(scored(6, 50.0, n_each=6), QUICK)
    calm = found.of("calm").auroc
    assert calm.value == calm.high == 1
    assert calm.low == pytest.approx(perfect_bound(6)) == pytest.approx(0.025 ** (1 / 6))


def test_chance_of_top_k_counts_all_labels_of_a_text() -> None:
    both = scored(9, 5.0)
    own = both.own.copy()
    own[:, 0] |= own[:, 1]
    mixed = ScoredTexts(
        3, CONCEPTS, both.texts, own, both.scores, both.neutral_scores, both.random_scores, None
    )
    top1 = judge(mixed, QUICK).top[0]
    assert top1.chance == pytest.approx((5 * 1 / 6 + 2 / 6) / 6)


def test_the_threshold_lets_through_the_chosen_share_of_own_texts() -> None:
    texts = scored(10, 2.0)
    for each in judge(texts, QUICK).per_concept:
        assert each.recall >= 0.8
        assert each.false_positives is not None
        column = texts.neutral_scores[:, CONCEPTS.index(each.concept)]
        assert each.false_positives.value == pytest.approx((column >= each.threshold).mean())


def test_a_fixed_threshold_is_the_same_for_all_concepts() -> None:
    fixed = judge(scored(10, 2.0), JudgeSettings(200, 200, 50, threshold=0.5))
    assert {each.threshold for each in fixed.per_concept} == {0.5}


@pytest.mark.parametrize("wrong", [{"recall": 0.0}, {"recall": 1.5}, {"threshold": 2.0}])
def test_thresholds_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        JudgeSettings(**wrong)  # type: ignore[arg-type]


def test_misses_are_the_texts_another_concept_wins_by_most() -> None:
    planted = scored(11, 20.0)
    planted.scores[4, 3] += 100
    planted.scores[9, 5] += 50
    misses = judge(planted, QUICK).misses
    assert [(m.text, m.concepts, m.rival) for m in misses] == [
        ("text 4", ("calm",), "proud"),
        ("text 9", ("calm",), "bored"),
    ]
    assert misses[0].margin > misses[1].margin > 0


def test_an_interval_of_no_hits_is_not_nothing() -> None:
    none = wilson(0, 48)
    assert none.value == 0
    assert none.low == 0
    assert 0.05 < none.high < 0.09


def test_the_result_can_be_written_as_json() -> None:
    import json

    found = judge(scored(0, 1.0), QUICK, ["a note"])
    read = json.loads(json.dumps(found.as_json()))
    assert read["macro"]["auroc"]["value"] == pytest.approx(found.macro.auroc.value)
    assert len(read["concepts"]) == 6
    assert read["notes"] == ["a note"]


@pytest.mark.filterwarnings("error")
def test_one_text_per_concept_is_judged_with_an_interval_that_knows_how_little_that_is() -> None:
    found = judge(scored(0, 8.0, n_each=1), QUICK)
    assert found.macro.auroc.value == 1
    assert found.macro.auroc.low < 0.6
    assert found.macro.gain is not None
    assert np.isfinite([found.macro.gain.low, found.macro.gain.high]).all()


def test_a_sentence_says_whether_the_vectors_win_against_each_baseline() -> None:
    won = judge(scored(0, 3.0), QUICK)
    assert won.macro.embedding_gain is not None
    assert won.macro.embedding_gain.low > 0
    assert "A sentence embedding on the same descriptions reaches" in " ".join(won.sentences())
    even = judge(scored(1, 1.0), QUICK)
    assert even.macro.embedding_gain is not None
    assert even.macro.embedding_gain.low < 0 < even.macro.embedding_gain.high
    assert "reads these texts as well" in " ".join(even.sentences())
    lost = judge(scored(2, 0.0), QUICK)
    assert lost.macro.embedding_gain is not None
    assert lost.macro.embedding_gain.high < 0
    assert "A sentence embedding on the same descriptions reads these texts better" in " ".join(
        lost.sentences()
    )


def test_kinds_of_score_are_judged_side_by_side() -> None:
    texts = scored(0, 2.0)
    shifted = texts.scores + 10 * np.arange(texts.scores.shape[1])  # an offset of each concept
    found = judge(replace(texts, kinds={"raw": shifted}), QUICK)
    cosine, raw = found.kinds
    assert cosine.auroc == found.macro.auroc
    assert raw.auroc.value == pytest.approx(cosine.auroc.value)
    assert raw.top1 == pytest.approx(1 / 6)
    assert cosine.top1 == pytest.approx(found.top[0].hits.value)
    assert cosine.top1 > 0.5
    assert "raw" in found.sentences()[-1]


def test_texts_of_one_writer_are_no_independent_evidence() -> None:
    texts = scored(0, 1.0)
    rng = np.random.default_rng(0)
    writers = np.tile(np.arange(6), 12)  # each writes of every concept, and writes alike
    habits = rng.normal(size=(6, 6))
    alike = replace(texts, scores=texts.scores / 3 + texts.own + habits[writers])
    alone = judge(alike, QUICK).macro
    assert alone.grouped is None
    grouped = judge(replace(alike, groups=tuple(map(str, writers))), QUICK).macro.grouped
    assert grouped is not None
    assert grouped.value == alone.auroc.value
    refits = np.array([0.8, 0.82, 0.84])
    spread = judge(replace(texts, refits=refits), QUICK).macro
    assert spread.refits is not None
    assert spread.refits.high - spread.refits.low == pytest.approx(4 * 0.98 * 0.02, abs=1e-6)
    assert spread.refits.value == spread.auroc.value


def test_resamples_of_groups_take_whole_groups() -> None:
    weights = group_weights(("a", "b", "a", "c"), 200, 0)
    assert (weights[0] == weights[2]).all()
    assert (weights[[0, 1, 3]].sum(axis=0) == 3).all()
