"""Advice: what was planted is named with its evidence, and clean libraries get none."""

from dataclasses import replace

import numpy as np
import pytest

from readout_ui.evaluation.advice import Action, Advice, judge_descriptions, strongest
from readout_ui.evaluation.cohesion import alignments
from readout_ui.evaluation.left_out import layer_texts
from tests.support.synthetic_corpus import Floats, Shape, make_corpus


def advice_for(kind: str, **planted: object) -> list[Advice]:
    corpus = make_corpus(1, **planted)  # type: ignore[arg-type]
    return [a for a in judge_descriptions(corpus, 0).advice if a.kind == kind]


def test_two_concepts_of_one_meaning_are_to_be_merged() -> None:
    def plant(texts: Floats, means: Floats) -> None:
        texts[16:24] += means[1] - means[2]

    (advice,) = advice_for("merge", plant=plant)
    assert "Merge bconcept and cconcept" in advice.title
    assert advice.action == Action("open", "cconcept", None)


def test_a_mislabelled_description_is_to_be_removed() -> None:
    def plant(texts: Floats, means: Floats) -> None:
        texts[3] += means[5] - means[0]

    (advice,) = advice_for("remove", plant=plant)
    assert (advice.concept, advice.index) == ("aconcept", 3)
    assert "it reads like one of fconcept" in advice.title
    assert advice.action.kind == "delete"
    assert advice.action.text == make_corpus(1).texts[3]


def test_descriptions_of_two_sorts_are_to_be_split() -> None:
    def plant(texts: Floats, means: Floats) -> None:
        apart = np.zeros(texts.shape[1])
        apart[7] = 6.0
        texts[32:36] += apart
        texts[36:40] -= apart

    (advice,) = advice_for("split", plant=plant)
    assert advice.concept == "econcept"
    assert "1, 2, 3 and 4" in advice.evidence
    assert "5, 6, 7 and 8" in advice.evidence


def test_a_word_most_descriptions_share_asks_for_a_contrast_in_the_nearest_concept() -> None:
    corpus = make_corpus(1)
    texts = tuple(t + " kitchen" * (48 <= i < 54) for i, t in enumerate(corpus.texts))
    judged = judge_descriptions(replace(corpus, texts=texts), 0)
    (advice,) = judged.advice
    assert (advice.kind, advice.concept) == ("contrast", "gconcept")
    assert "6 of 8 descriptions contain “kitchen”, 0 of the 64" in advice.evidence
    assert "held out, those with it score" in advice.evidence
    assert advice.action.kind == "draft"
    assert advice.action.concept != "gconcept"
    assert "kitchen" in advice.action.hint


def test_concepts_with_too_few_or_too_noisy_descriptions_want_more() -> None:
    few = advice_for("add", shape=Shape(n_each=2))
    assert len(few) == 2  # two of a kind at most
    assert "too few" in few[0].evidence
    noisy = advice_for("add", shape=Shape(signal=0.0, d_model=256))
    assert "16 would give about" in noisy[0].evidence


def test_the_estimated_alignment_is_the_true_one() -> None:
    shape = Shape(n_concepts=20, d_model=128, signal=6.0)
    estimates = []
    for seed in range(20):
        found = alignments(layer_texts(make_corpus(seed, shape), 0, "mean"))
        estimates.append(np.mean([one.cosine for one in found]))
    truth = np.sqrt(36 / (36 + 128 / 8))
    assert np.mean(estimates) == pytest.approx(truth, abs=0.03)


@pytest.mark.parametrize("shape", [Shape(), Shape(uneven=True, d_model=128), Shape(n_each=5)])
def test_a_library_with_nothing_planted_gets_no_advice(shape: Shape) -> None:
    n_seeds = 40
    given = sum(bool(judge_descriptions(make_corpus(s, shape), 0).advice) for s in range(n_seeds))
    # One in twenty is stated; six of forty would be three standard errors more.
    assert given <= 6


def test_at_most_five_and_two_of_a_kind_are_given_strongest_first() -> None:
    def made(kind: str, strength: float) -> Advice:
        return Advice(
            kind,  # type: ignore[arg-type]
            "t",
            "e",
            "c",
            None,
            strength,
            Action("open", "c", None),
        )

    kinds = ["merge", "merge", "merge", "split", "add", "look", "remove"]
    kept = strongest(made(kind, float(i)) for i, kind in enumerate(kinds))
    assert [a.kind for a in kept] == ["remove", "look", "add", "split", "merge"]
    kept = strongest(made("merge", float(i)) for i in range(4))
    assert [a.strength for a in kept] == [3.0, 2.0]
