"""Baselines that a score has to beat."""

import numpy as np
import torch

from readout_ui.vectors.metrics import bag_of_words_scores, permuted, random_directions


def test_bag_of_words_knows_the_words_of_a_concept_and_nothing_else() -> None:
    train = [
        "warm sun and rest",
        "rest in the warm shade",
        "cold rain and fear",
        "fear of the cold",
    ]
    labels = ["calm", "calm", "afraid", "afraid"]
    test = ["the warm rest", "a cold fear", "zebra"]
    scores = bag_of_words_scores(train, labels, test, ["afraid", "calm"])
    assert scores.shape == (3, 2)
    assert scores[0].argmax() == 1
    assert scores[1].argmax() == 0
    assert np.ptp(scores[2]) < np.ptp(scores[1])


def test_random_directions_are_unit_length_and_follow_the_seed() -> None:
    first = random_directions(5, 3, 64, seed=1)
    torch.testing.assert_close(first.norm(dim=2), torch.ones(5, 3))
    assert torch.equal(first, random_directions(5, 3, 64, seed=1))
    assert not torch.equal(first, random_directions(5, 3, 64, seed=2))


def test_permuted_labels_are_the_same_ones_in_another_order() -> None:
    labels = [str(i % 7) for i in range(50)]
    shuffled = permuted(labels, seed=0)
    assert sorted(shuffled) == sorted(labels)
    assert list(shuffled) != labels
    assert shuffled == permuted(labels, seed=0)
