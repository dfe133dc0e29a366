"""An export on the model it was made with is certified; on anything else it is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.runs.run import Run
from readout_ui.runs.verify import verify
from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.vectors import N_PROBES, Probes, pooled_scores, probe_rows
from tests.support.trained_example import make_vectors


@pytest.fixture
def export(studio: Studio, tmp_path: Path) -> Path:
    studio.load_model()
    studio.start_training().result()
    return studio.export(["happy", "calm"], [2, 1], tmp_path / "out")


@pytest.fixture
def model(tiny_folder: Path) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_folder), device="cpu", dtype="fp32"))


def test_the_model_it_was_made_with_certifies_an_export(export: Path, model: LoadedModel) -> None:
    certificate = verify(Run.open(export), model)
    assert certificate.certified
    assert certificate.largest < 0.01
    assert certificate.n_scores == certificate.n_texts * 2 * 2
    assert certificate.sentence().startswith("Certified")


def test_a_wrong_score_is_refused_with_its_place(export: Path, model: LoadedModel) -> None:
    loaded = Run.open(export)
    assert loaded.vectors.probes
    scores = loaded.vectors.probes.scores.clone()
    scores[1, 0, 1] += 2
    probes = Probes(loaded.vectors.probes.texts, scores)
    tampered = replace(loaded, load=lambda: replace(loaded.vectors, probes=probes))
    certificate = verify(tampered, model)
    assert not certificate.certified
    assert certificate.largest == pytest.approx(2, abs=0.01)
    assert (certificate.concept, certificate.layer) == ("happy", 1)
    assert probes.texts[1].startswith(certificate.text[:20])


def test_another_models_weights_are_refused_by_name(export: Path, model: LoadedModel) -> None:
    other = replace(model, fingerprint="0" * 16, name="someone/else")
    with pytest.raises(UserError, match="someone/else"):
        verify(Run.open(export), other)


def test_an_export_without_probe_texts_says_to_export_again(
    export: Path, model: LoadedModel
) -> None:
    loaded = Run.open(export)
    old = replace(loaded, load=lambda: replace(loaded.vectors, probes=None))
    with pytest.raises(UserError, match="export again"):
        verify(old, model)


def test_probes_are_few_and_spread_over_concepts_and_neutral_texts() -> None:
    n_concepts = 40
    rows = tuple((3 * i, 3 * i + 1, 3 * i + 2) for i in range(n_concepts))
    groups = TextGroups(tuple(f"c{i}" for i in range(n_concepts)), rows, (120, 121))
    chosen = probe_rows(groups)
    assert len(chosen) <= N_PROBES
    assert chosen[0] == 0
    assert chosen[-1] == 120


def test_probe_scores_are_z_scores_of_the_pooled_activation() -> None:
    vectors = make_vectors()
    pooled = vectors.center[None] + vectors.directions[1][None] * 3
    raw = (pooled[0] * vectors.directions[2]).sum(-1)  # (n_layers,)
    expected = (raw - vectors.neutral_mean[2]) / vectors.neutral_std[2]
    found = pooled_scores(pooled, vectors.directions, vectors.neutral_mean, vectors.neutral_std)
    assert torch.allclose(found[0, 2], expected, atol=1e-2)
