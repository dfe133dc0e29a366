"""Geometry of planted directions: components, ratings, layers and families are those planted."""

from pathlib import Path

import numpy as np
import pytest
import torch

from readout_ui.errors import UserError
from readout_ui.evaluation.geometry import (
    Ratings,
    families,
    fit_ratings,
    judge_geometry,
    read_ratings,
    rsa,
)
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.texts.shipped import shipped_ratings
from tests.support.planted_corpus import make_corpus


def test_a_component_that_follows_a_scale_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    xy = rng.normal(size=(20, 2))
    values = np.stack([-xy[:, 0] + 0.3 * rng.normal(size=20), rng.normal(size=20)], axis=1)
    values[3] = np.nan
    fits = {(fit.component, fit.scale): fit for fit in fit_ratings(xy, Ratings(("v", "a"), values))}
    assert fits[1, "v"].r < -0.9
    assert fits[1, "v"].p < 0.01
    assert fits[1, "v"].n == 19
    assert min(fits[k].p for k in [(1, "a"), (2, "v"), (2, "a")]) > 0.05


def test_correlations_of_noise_are_called_real_at_the_stated_rate() -> None:
    rng = np.random.default_rng(1)
    alarms = [
        min(
            fit.p
            for fit in fit_ratings(
                rng.normal(size=(12, 2)), Ratings(("v", "a"), rng.normal(size=(12, 2)))
            )
        )
        <= 0.05
        for _ in range(60)
    ]
    assert sum(alarms) <= 8  # 3 expected, 2.96 standard errors


def test_layers_of_one_geometry_agree_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(12, 30))
    turned = directions @ np.linalg.qr(rng.normal(size=(30, 30)))[0]
    other = rng.normal(size=(12, 30))

    def cosines(rows: np.ndarray) -> np.ndarray:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(unit @ unit.T)

    found = rsa([cosines(directions), cosines(turned), cosines(other)])
    assert found[0, 1] == pytest.approx(1)
    assert abs(found[0, 2]) < 0.3
    assert np.diag(found).tolist() == [1, 1, 1]


def test_planted_families_are_cut_out_and_texts_stay_in_them() -> None:
    rng = np.random.default_rng(0)
    centres = 2 * np.repeat(rng.normal(size=(3, 40)), 3, axis=0)
    rows = centres + rng.normal(size=(9, 40))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    counts = np.eye(9) * 4
    for first in (0, 3, 6):
        counts[first, first + 1] = 4  # taken for a neighbour, never for another family
    (level,) = families(unit @ unit.T, counts, tuple("abcdefghi"))
    assert level.families == (("a", "b", "c"), ("d", "e", "f"), ("g", "h", "i"))
    assert level.top1 == 1
    assert level.chance == pytest.approx(1 / 3)
    assert 0.7 < level.shuffled < 0.95


def test_a_run_has_it_all_in_words() -> None:
    corpus = make_corpus((6,) * 9, strength=1.0, n_layers=3, copies={1: 0, 4: 3})
    values = torch.arange(18, dtype=torch.float64).reshape(9, 2).numpy()
    found = judge_geometry(
        corpus, 1, held_out_matrix(corpus, 1), Ratings(("valence", "arousal"), values)
    )
    assert found.xy.shape == (9, 2)
    assert found.stability.shape == (3, 3)
    assert len(found.ratings) == 4
    said = " ".join(found.sentences())
    assert "Component 2 and arousal" in said
    assert "families" in said
    assert len(repr(found)) < 80


def test_ratings_are_read_by_name_and_faults_are_named(tmp_path: Path) -> None:
    concepts = ("calm", "angry", "sad", "proud", "bored", "unrated")
    ratings = read_ratings(shipped_ratings(), concepts)
    assert ratings.scales == ("valence", "arousal")
    assert ratings.values[0, 0] > 0 > ratings.values[1, 0]
    assert np.isnan(ratings.values[5]).all()
    file = tmp_path / "own.csv"
    file.write_text("concept,valence\ncalm,high\n")
    with pytest.raises(UserError, match="'high' is no number"):
        read_ratings(file, concepts)
    file.write_text("concept,valence\ncalm,0.5\n")
    with pytest.raises(UserError, match="1 of the run's concepts are rated"):
        read_ratings(file, concepts)
    for written in ("nan", "inf", ""):
        file.write_text(f"concept,valence\ncalm,{written}\n")
        with pytest.raises(UserError, match=f"line 2.*'{written}' is no number"):
            read_ratings(file, concepts)
    file.write_text("concept,valence\ncalm,0.5\ncalm,0.6\n")
    with pytest.raises(UserError, match=r"line 3.*'calm' is rated twice"):
        read_ratings(file, concepts)
    file.write_text("name,valence\ncalm,0.5\n")
    with pytest.raises(UserError, match=r"no column 'concept'.*name, valence"):
        read_ratings(file, concepts)


def test_names_that_are_no_concepts_are_passed_over_and_said(tmp_path: Path) -> None:
    concepts = tuple("abcde")
    rows = [f"{name};1;{i}" for i, name in enumerate((*concepts, *map(str, range(10))))]
    (tmp_path / "own.csv").write_text("\n".join(["Concept;one;two", *rows]))
    ratings = read_ratings(tmp_path / "own.csv", concepts)
    assert ratings.scales == ("one", "two")
    assert ratings.values[:, 1].tolist() == [0, 1, 2, 3, 4]
    (said,) = ratings.passed_over
    assert said.endswith("no such concept: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more.")
    (tmp_path / "own.csv").write_text("\n".join(["concept,one", *(f"{n},1" for n in concepts)]))
    assert read_ratings(tmp_path / "own.csv", concepts).passed_over == ()
