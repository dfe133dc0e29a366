"""Whether two runs read their common texts differently, beyond noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from readout_ui.errors import UserError
from readout_ui.evaluation.run_diff import compare_scores
from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus

N_CONCEPTS, N_DESCRIPTIONS, N_NEUTRAL, D_MODEL = 4, 8, 8, 16
N_ROWS = N_CONCEPTS * N_DESCRIPTIONS


def corpus_of(seed: int, strength: tuple[float, ...] = (0.5,) * N_CONCEPTS) -> Corpus:
    """Concepts along fixed axes, as strong as asked, under noise of the seed."""
    rows = tuple(tuple(range(i, i + N_DESCRIPTIONS)) for i in range(0, N_ROWS, N_DESCRIPTIONS))
    names = tuple(f"concept{i}" for i in range(N_CONCEPTS))
    groups = TextGroups(names, rows, tuple(range(N_ROWS, N_ROWS + N_NEUTRAL)))
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(N_ROWS + N_NEUTRAL, 2, D_MODEL, generator=generator)
    for axis, own in enumerate(rows):
        pooled[list(own), :, axis] += strength[axis]
    texts = tuple(f"text {row}" for row in range(len(pooled)))
    return Corpus(texts, groups, pooled, TrainSettings())


def test_a_run_against_itself_changes_nothing() -> None:
    found = compare_scores(corpus_of(0), corpus_of(0), layer=1)
    assert found.macro.change == 0
    assert [c.p for c in found.concepts] == [1.0] * N_CONCEPTS
    assert found.n_texts == N_ROWS + N_NEUTRAL


def test_false_alarms_come_at_most_at_the_stated_rate() -> None:
    pairs = [compare_scores(corpus_of(2 * i), corpus_of(2 * i + 1), 0) for i in range(80)]
    any_concept = np.mean([any(c.beyond_noise for c in found.concepts) for found in pairs])
    macro = np.mean([found.macro.beyond_noise for found in pairs])
    # 5 % of 80 is 4; ten or more would come once in 140 times.
    assert any_concept <= 10 / 80
    assert macro <= 10 / 80


def scrambled(corpus: Corpus) -> Corpus:
    """The same with the descriptions of concept2 about the other concepts, turn by turn."""
    pooled = corpus.pooled.clone()
    for turn, row in enumerate(corpus.groups.rows[2]):
        pooled[row, :, 2] -= 4
        pooled[row, :, (0, 1, 3)[turn % 3]] += 4
    return replace(corpus, activations=pooled)


def test_a_concept_that_lost_its_meaning_is_found_and_comes_first() -> None:
    strong = (4.0,) * N_CONCEPTS
    pairs = [
        compare_scores(corpus_of(i, strong), scrambled(corpus_of(100 + i, strong)), 0)
        for i in range(12)
    ]
    assert {found.concepts[0].concept for found in pairs} == {"concept2"}
    alarms = [[c.concept for c in found.concepts if c.beyond_noise] for found in pairs]
    assert sum(named == ["concept2"] for named in alarms) >= 8
    assert all(found.concepts[0].high < 0 for found in pairs if found.concepts[0].beyond_noise)


def test_texts_that_one_run_lacks_are_not_scored_but_train() -> None:
    old = corpus_of(0)
    rows = tuple(rows[:-1] for rows in old.groups.rows)
    new = replace(old, groups=replace(old.groups, rows=rows))
    found = compare_scores(old, new, layer=0)
    assert found.n_texts == N_ROWS + N_NEUTRAL - N_CONCEPTS
    assert {c.n_texts for c in found.concepts} == {N_DESCRIPTIONS - 1}
    assert found.macro.change != 0


def test_a_concept_only_one_run_has_is_left_out() -> None:
    old = corpus_of(0)
    fewer = TextGroups(old.groups.concepts[:-1], old.groups.rows[:-1], old.groups.neutral)
    found = compare_scores(old, replace(old, groups=fewer), layer=0)
    assert sorted(c.concept for c in found.concepts) == ["concept0", "concept1", "concept2"]


def test_runs_of_other_methods_are_compared_each_by_its_own() -> None:
    old = corpus_of(0)
    found = compare_scores(old, replace(old, settings=TrainSettings(method="pca")), layer=0)
    assert found.macro.change != 0


def test_runs_without_common_texts_are_refused() -> None:
    old = corpus_of(0)
    new = replace(old, texts=tuple(f"other {text}" for text in old.texts))
    with pytest.raises(UserError, match="too few texts in common"):
        compare_scores(old, new, layer=0)
