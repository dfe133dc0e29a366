"""Concepts with contrast texts of their own beside concepts without, in one training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from readout_ui.evaluation.layers import held_out_scores
from readout_ui.evaluation.left_out import layer_texts, leave_out
from readout_ui.models.loading import LoadedModel
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.cross_validation import assign_folds
from readout_ui.vectors.groups import group_texts
from readout_ui.vectors.methods import METHODS
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus, extract
from readout_ui.vectors.whitening import (
    MAPPED,
    Floats,
    Indices,
    Members,
    base_map,
    map_of,
    mean_differences,
)
from tests.conftest import SMALL_LIBRARY
from tests.support.loaded_tiny import load_tiny

AGAINST = ["I cannot sit still.", "My hands will not rest.", "Every sound makes me jump."]
WITH = {**SMALL_LIBRARY, "_against calm": AGAINST}


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_tiny()


def test_contrast_texts_are_rows_of_their_own_and_negatives_of_one_concept() -> None:
    rows, groups = group_texts(WITH)
    calm = groups.concepts.index("calm")
    assert [rows[row] for row in groups.against[calm]] == AGAINST
    assert sum(map(bool, groups.against)) == 1
    assert groups.negatives("calm") == groups.against[calm]
    assert not {*groups.against[calm]} & {*groups.all_rows(), *groups.negatives("angry")}
    assert group_texts(SMALL_LIBRARY)[1] == replace(groups, against=())


@pytest.mark.parametrize("method", METHODS)
def test_only_the_concept_with_contrast_texts_gets_another_direction(
    model: LoadedModel, method: str
) -> None:
    settings = TrainSettings(method=method, layers="all")
    usual, made = (train(Library(texts), model, settings) for texts in (SMALL_LIBRARY, WITH))
    cosines = (made.vectors.directions * usual.vectors.directions).sum(dim=2)
    calm = made.concepts.index("calm")
    others = [place for place in range(len(made.concepts)) if place != calm]
    assert float(cosines[others].min()) > 0.9999
    assert float(cosines[calm].max()) < 0.99
    assert made.manifest.fit["contrasts"] == {"calm": 3}
    assert "contrasts" not in usual.manifest.fit
    assert {*made.manifest.descriptions} - {*usual.manifest.descriptions} == {"_against calm"}
    torch.testing.assert_close(made.vectors.center, usual.vectors.center)


@pytest.mark.parametrize("method", ["mean", "whitened"])
def test_the_direction_is_the_mean_minus_that_of_its_contrast_texts(
    model: LoadedModel, method: str
) -> None:
    settings = TrainSettings(method=method, layers="all")
    corpus = extract(WITH, model, settings).corpus
    run, calm = train(Library(WITH), model, settings), corpus.groups.concepts.index("calm")
    for layer in range(corpus.n_layers):
        texts = corpus.pooled[:, layer].double().numpy()
        own, others = (
            texts[list(rows[calm])].mean(axis=0)
            for rows in (corpus.groups.rows, corpus.groups.against)
        )
        tokens = corpus.tokens[:, layer].double().numpy() if corpus.tokens is not None else None
        fitted = map_of(method, texts - texts.mean(axis=0), corpus.groups, tokens)
        wanted = fitted.images((own - others)[None])[0]
        cosine = run.vectors.directions[calm, layer].numpy() @ wanted / np.linalg.norm(wanted)
        assert cosine == pytest.approx(1.0, abs=2e-5)


def fitted_without(corpus: Corpus, method: str, out: Indices) -> Floats:
    """Directions of layer 1 without some texts, (n_concepts, d_model); scales are those of all."""
    groups, layer = corpus.groups, corpus.at(1)
    if method not in MAPPED:
        rows = tuple(tuple(row for row in own if row not in out) for own in groups.rows)
        neutral = tuple(row for row in groups.neutral if row not in out)
        rest = replace(groups, rows=rows, neutral=neutral)
        directions = METHODS[method](layer.pooled, rest, corpus.pairing, layer.tokens)
        return np.asarray(directions[:, 0].numpy())
    members = Members.of(groups)
    every = layer.pooled[:, 0].double().numpy()
    every = every - every[members.rows].mean(axis=0)
    texts = every[members.rows]
    tokens = None if layer.tokens is None else layer.tokens[:, 0].double().numpy()
    base = base_map(method, members.centred(texts), members, tokens)
    kept = ~np.isin(members.rows, out)
    part = members.some(kept)
    whole = base.plus(part.centred(texts[kept]), base.weight) if base.weight else base
    found = whole.images(mean_differences(part, texts[kept], members.contrasts(every)))
    scaled: Floats = found / np.linalg.norm(found, axis=1, keepdims=True)
    return scaled


@pytest.mark.parametrize("method", [*MAPPED, "pca"])
def test_held_out_texts_are_scored_on_directions_from_the_contrast_texts(
    model: LoadedModel, method: str
) -> None:
    """The scores of a fold are those on directions fitted anew without it."""
    corpus = extract(WITH, model, TrainSettings(method=method)).corpus
    assignment = assign_folds(corpus.groups, 3, seed=0)
    scores = np.zeros((len(assignment.rows), len(corpus.groups.concepts)))
    scores[assignment.scored] = held_out_scores(corpus, 1, assignment, method)
    texts = corpus.at(1).pooled[:, 0].numpy()
    for fold in range(3):
        out = assignment.fold == fold
        directions = fitted_without(corpus, method, assignment.rows[out])
        centred = texts[assignment.rows[out]] - texts[assignment.rows[~out]].mean(axis=0)
        wanted = centred @ directions.T / np.linalg.norm(centred, axis=1, keepdims=True)
        assert np.abs(scores[out] - wanted).max() < 1e-4


@pytest.mark.parametrize("method", ["mean", "whitened"])
def test_what_a_text_does_to_its_direction_counts_the_contrast_texts(
    model: LoadedModel, method: str
) -> None:
    corpus = extract(WITH, model, TrainSettings(method=method)).corpus
    texts = layer_texts(corpus, 1)
    found, calm = leave_out(texts), corpus.groups.concepts.index("calm")
    assert texts.contrasts is not None
    own = texts.members(calm)
    whole = texts.images[own].mean(axis=0) - texts.contrasts[calm]
    other = texts.group_sums[0] / np.linalg.norm(texts.group_sums[0])
    for place in own:
        rest = texts.images[own[own != place]].mean(axis=0) - texts.contrasts[calm]
        cosine = whole @ rest / np.linalg.norm(whole) / np.linalg.norm(rest)
        assert found.influence[place] == pytest.approx(1 - cosine, abs=1e-6)
        shift = whole @ other / np.linalg.norm(whole) - rest @ other / np.linalg.norm(rest)
        assert found.shift[place, 0] == pytest.approx(shift, abs=1e-6)
    for place in (*own, int(np.flatnonzero(texts.group != calm)[0])):
        unseen = fitted_without(corpus, method, texts.rows[[place]])[calm]
        score = texts.texts[place] @ unseen / np.linalg.norm(texts.texts[place])
        assert found.scores[place, calm] == pytest.approx(score, abs=1e-5)


def test_layers_are_chosen_by_such_scores(model: LoadedModel) -> None:
    settings = TrainSettings(method="mean")
    usual, made = (train(Library(texts), model, settings) for texts in (SMALL_LIBRARY, WITH))
    assert made.layer_scores != usual.layer_scores
