"""Training from stories and examples on a tiny model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from readout_ui.activations import pooling
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.errors import UserError
from readout_ui.models.loading import LoadedModel
from readout_ui.runs.store import RunStore
from readout_ui.runs.training import train
from readout_ui.texts import sources
from readout_ui.texts.examples import ConceptExamples, Example
from readout_ui.texts.library import Library
from readout_ui.texts.stories import Story, StoryLibrary
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.sources import NEGATIVES, example_source, story_source
from tests.conftest import SMALL_LIBRARY
from tests.support.loaded_tiny import load_tiny

SCENES = ("In the kitchen", "On the train", "At the lake")
STORIES = tuple(
    Story(concept, f"{scene}, it was morning. {text}", scene)
    for concept in ("calm", "angry", "happy")
    for scene, text in zip(SCENES, SMALL_LIBRARY[concept], strict=True)
)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_tiny()


def examples(concept: str, against: list[str]) -> ConceptExamples:
    made = [tuple(Example(text) for text in texts) for texts in (SMALL_LIBRARY[concept], against)]
    return ConceptExamples(concept, made[0], made[1])


EXAMPLES = [
    examples("calm", [*SMALL_LIBRARY["angry"], *SMALL_LIBRARY["_baseline"]]),
    examples("angry", [*SMALL_LIBRARY["calm"], *SMALL_LIBRARY["_baseline"]]),
]


@pytest.mark.parametrize("method", ["mean", "pca", "logistic"])
def test_stories_without_scenes_train_like_descriptions(
    model: LoadedModel, descriptions: Path, method: str
) -> None:
    settings = TrainSettings(method=method)
    stories = [Story(name, text) for name, texts in SMALL_LIBRARY.items() for text in texts]
    made = train(story_source(StoryLibrary("s", tuple(stories))), model, settings)
    usual = train(Library(descriptions), model, settings)
    cosines = (made.vectors.directions * usual.vectors.directions).sum(dim=2)
    assert float(cosines.min()) > 0.999
    assert made.best_layer == usual.best_layer
    assert made.manifest.calibration.on == usual.manifest.calibration.on


def test_scenes_change_directions_and_every_text_is_read_once(
    model: LoadedModel, tmp_path: Path
) -> None:
    plain = StoryLibrary("s", tuple(replace(story, scene="") for story in STORIES[1:]))
    cache = ActivationCache(tmp_path)
    unpaired = train(story_source(plain), model, TrainSettings(), cache)
    source = story_source(StoryLibrary("s", STORIES[1:]))
    paired = train(source, model, TrainSettings(), cache)
    cache.close()
    assert paired.n_texts == 8
    assert not torch.allclose(paired.vectors.directions, unpaired.vectors.directions, atol=1e-3)
    assert set(paired.fingerprints) == {"calm", "angry", "happy"}


def test_warnings_of_the_stories_are_the_runs(model: LoadedModel) -> None:
    library = StoryLibrary("s", (*STORIES[:4], STORIES[6]))
    assert "single story" in train(story_source(library), model, TrainSettings()).warnings[0]


def test_a_concept_is_contrasted_with_its_own_negatives_only(model: LoadedModel) -> None:
    before = train(example_source(EXAMPLES), model, TrainSettings(method="mean"))
    more = replace(EXAMPLES[0], negative=(*EXAMPLES[0].negative, Example("A door stood open.")))
    after = train(example_source([more, EXAMPLES[1]]), model, TrainSettings(method="mean"))
    same = torch.isclose(before.vectors.directions, after.vectors.directions, atol=1e-5)
    assert before.vectors.concepts == ("angry", "calm")
    assert same[0].all()
    assert not same[1].all()
    assert len(after.texts[NEGATIVES]) == 5


def test_the_mean_of_examples_is_positives_minus_negatives(model: LoadedModel) -> None:
    examples = [replace(each, negative=each.negative[:3]) for each in EXAMPLES]
    trained = train(example_source(examples), model, TrainSettings())
    assert NEGATIVES not in trained.texts
    assert torch.allclose(trained.vectors.directions[0], -trained.vectors.directions[1], atol=1e-4)


def test_a_text_that_shows_two_concepts_is_against_neither(model: LoadedModel) -> None:
    both = Example("I am calm and angry at once.")
    shared = [replace(each, positive=(*each.positive, both)) for each in EXAMPLES]
    trained = train(example_source(shared), model, TrainSettings(layers="auto"))
    assert trained.n_texts == 3 + 3 + 4 + 1
    assert both.text not in trained.texts[NEGATIVES]


def test_a_run_from_a_source_is_kept_and_read_again(model: LoadedModel, tmp_path: Path) -> None:
    trained = train(example_source(EXAMPLES), model, TrainSettings())
    store = RunStore(tmp_path)
    record = store.save(trained)
    again = store.open(record.id)
    assert again.vectors.concepts == ("angry", "calm")
    assert again.texts == trained.texts


def test_a_concept_without_negatives_is_refused() -> None:
    with pytest.raises(UserError, match="calm: there is no negative example"):
        example_source([replace(EXAMPLES[0], negative=())])


def test_a_story_longer_than_the_limit_is_read_from_its_beginning_and_said(
    model: LoadedModel,
) -> None:
    stories = [Story("calm", "still water " * 400), Story("joy", "I could dance.")]
    trained = train(
        story_source(StoryLibrary("s", tuple(stories))), model, TrainSettings(max_length=64)
    )
    assert any("only its beginning was read" in warning for warning in trained.warnings)


NEUTRAL = ["The table has four legs.", "A bus stops at the corner."]


def test_neutral_texts_of_stories_and_examples_are_the_zero_of_scores(model: LoadedModel) -> None:
    told = {name: SMALL_LIBRARY[name] for name in ("calm", "angry")}
    sides = {"calm": (SMALL_LIBRARY["calm"], SMALL_LIBRARY["angry"])}
    expected = read_activations(model, NEUTRAL, CaptureSettings()).pooled.mean(dim=0)
    for texts in (sources.stories(told, neutral=NEUTRAL), sources.examples(sides, neutral=NEUTRAL)):
        run = train(texts, model, TrainSettings(method="mean"))
        assert run.manifest.calibration.on == "neutral tokens"
        assert run.texts["_neutral"] == tuple(NEUTRAL)
        torch.testing.assert_close(run.vectors.center, expected, atol=1e-4, rtol=1e-4)
    without = train(sources.examples(sides), model, TrainSettings(method="mean"))
    torch.testing.assert_close(without.vectors.directions, run.vectors.directions)
    assert not torch.allclose(without.vectors.center, run.vectors.center, atol=1e-3)


def test_activations_that_lie_in_a_file_give_the_same_vectors(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vectors() -> torch.Tensor:
        source = story_source(StoryLibrary("s", STORIES))
        return train(source, model, TrainSettings(layers="all")).vectors.directions

    usual = vectors()
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pooling, "IN_MEMORY", 0)
    block = pooling.text_block(5, 3, 4)
    assert (block.shape, block[:, 1].is_contiguous()) == ((5, 3, 4), True)
    torch.testing.assert_close(vectors(), usual, atol=1e-6, rtol=0)
    assert list((tmp_path / "cache").iterdir()) == []  # it has no name, so nothing is left

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(UserError, match="need 240 B of disk"):
        pooling.text_block(5, 3, 4)
