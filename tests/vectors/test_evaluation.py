"""Scores of labelled texts."""

import numpy as np
import pytest
import torch

from readout_ui.vectors.metrics import centred_cosine, one_vs_rest

SCORES = np.array(
    [
        # calm, sad, tired
        [0.9, 0.1, 0.0],
        [0.2, 0.8, 0.9],
        [0.1, 0.7, 0.2],
        [0.6, 0.5, 0.0],
    ]
)
CONCEPTS = ("calm", "sad", "tired")


def test_concepts_without_texts_are_neither_scored_nor_chosen_from() -> None:
    scores = one_vs_rest(SCORES, ["calm", "sad", "sad", "calm"], CONCEPTS)
    assert scores.per_concept == {"calm": 1.0, "sad": 1.0}
    assert scores.candidates == ("calm", "sad")
    assert scores.top1 == 1.0


def test_candidates_without_texts_can_win_when_they_are_asked_for() -> None:
    scores = one_vs_rest(SCORES, ["calm", "sad", "sad", "calm"], CONCEPTS, candidates=CONCEPTS)
    assert scores.top1 == 0.75


def test_texts_with_other_labels_are_negatives_and_not_counted_in_top1() -> None:
    scores = one_vs_rest(SCORES, ["calm", "sad", "neutral", "neutral"], CONCEPTS)
    assert scores.per_concept == {"calm": 1.0, "sad": 1.0}
    assert scores.top1 == 1.0
    swapped = one_vs_rest(SCORES, ["neutral", "neutral", "sad", "calm"], CONCEPTS)
    assert swapped.per_concept["calm"] == pytest.approx(2 / 3)
    assert swapped.macro_auroc == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_labels_that_allow_no_score_are_refused() -> None:
    with pytest.raises(ValueError, match="no concept"):
        one_vs_rest(SCORES, ["calm"] * 4, CONCEPTS)


def test_the_cosine_is_taken_after_the_center_and_ignores_length() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(4, 3, 16, generator=generator), dim=2)
    center = 100 * torch.randn(3, 16, generator=generator)
    activations = center + 7 * directions[2] + torch.zeros(5, 1, 1)
    cosine = centred_cosine(directions, center, activations)
    assert cosine.shape == (5, 3, 4)
    torch.testing.assert_close(cosine[:, :, 2], torch.ones(5, 3), atol=1e-4, rtol=0)
    expected = (directions[0] * directions[2]).sum(dim=1).expand(5, 3)
    torch.testing.assert_close(cosine[:, :, 0], expected, atol=1e-4, rtol=0)


def test_a_text_exactly_at_the_center_scores_zero() -> None:
    cosine = centred_cosine(torch.eye(4)[None, :2], torch.ones(2, 4), torch.ones(1, 2, 4))
    assert torch.equal(cosine, torch.zeros(1, 2, 1))
