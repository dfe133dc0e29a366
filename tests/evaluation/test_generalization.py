"""Vectors judged on labelled texts, where it is known what they ought to reach."""

from pathlib import Path

import pytest

from readout_ui.activations.cache import ActivationCache
from readout_ui.errors import UserError
from readout_ui.evaluation.generalization import judge_texts, sort_texts
from readout_ui.evaluation.judgements import JudgeSettings
from readout_ui.inference.readout import Readout
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.progress import Progress
from readout_ui.runs.training import train
from readout_ui.texts.labelled import IGNORE, NEUTRAL, OTHER, LabelledText
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings
from tests.support.planted_scorer import CONCEPTS, planted_scorer
from tests.support.tiny_model import save_tiny_model

QUICK = JudgeSettings(200, 200, 50)
SAME = {concept: concept for concept in CONCEPTS} | {"plain": NEUTRAL}
TEXTS = [
    LabelledText(f"A scene {i} that is {concept}.", (concept,))
    for concept in CONCEPTS
    for i in range(8)
] + [LabelledText(f"A plain scene {i}.", ("plain",)) for i in range(10)]


def named(text: str) -> list[str]:
    """The concepts whose names stand in a text: a direction that reads the meaning, in effect."""
    return [concept for concept in CONCEPTS if concept in text]


def test_vectors_that_read_the_meaning_are_found_to_do_so() -> None:
    found = judge_texts(planted_scorer(named), TEXTS, SAME, 5, QUICK)
    assert found.concepts == CONCEPTS
    assert found.scores.shape == found.own.shape == (32, 4)
    assert found.neutral_scores.shape == (10, 4)
    assert found.macro.auroc.value == 1
    assert found.macro.p == pytest.approx(1 / 201)
    assert found.top[0].hits.value == 1
    assert found.misses == ()
    assert all(
        each.false_positives and each.false_positives.value < 0.3 for each in found.per_concept
    )
    assert found.macro.random.low < 0.5 < found.macro.random.high


def test_vectors_that_read_nothing_are_found_to_read_nothing() -> None:
    found = judge_texts(planted_scorer(lambda text: []), TEXTS, SAME, 5, QUICK)
    assert found.macro.auroc.low < 0.5 < found.macro.auroc.high
    assert found.macro.p > 0.01
    assert found.misses[0].margin >= found.misses[-1].margin > 0


def test_a_bag_of_words_reaches_as_much_where_words_give_the_label_away() -> None:
    descriptions = {concept: (f"I am {concept}.", f"So {concept}!") for concept in CONCEPTS}
    scorer = planted_scorer(named, descriptions)
    found = judge_texts(scorer, TEXTS, SAME, 5, QUICK)
    assert found.macro.words is not None
    assert found.macro.words.value == 1
    assert found.macro.gain is not None
    assert found.macro.gain.value == 0


def test_without_descriptions_there_is_no_bag_of_words() -> None:
    assert judge_texts(planted_scorer(named), TEXTS, SAME, 5, QUICK).macro.words is None


def test_texts_that_were_trained_on_do_not_count() -> None:
    descriptions = {"calm": (TEXTS[0].text, "I rest.")}
    kept = sort_texts(TEXTS, SAME, CONCEPTS, descriptions)
    assert TEXTS[0].text not in kept.counted
    assert any("1 texts are descriptions" in note for note in kept.notes)


def test_labels_decide_what_a_text_is_good_for() -> None:
    texts = [
        LabelledText("both", ("calm", "odd")),
        LabelledText("left out", ("odd",)),
        LabelledText("unknown", ("never mapped",)),
        LabelledText("another", ("else",)),
        LabelledText("plain", ("plain",)),
        LabelledText("twice", ("calm",)),
        LabelledText("twice", ("sad",)),
    ]
    mapping = {**SAME, "odd": IGNORE, "else": OTHER}
    kept = sort_texts(texts, mapping, CONCEPTS, {})
    assert kept.concepts == ("calm", "sad")
    assert kept.counted == ("both", "another", "twice")
    assert kept.own.tolist() == [[True, False], [False, False], [True, True]]
    assert kept.neutral == ("plain",)


def test_the_shipped_neutral_texts_stand_in_for_missing_ones() -> None:
    kept = sort_texts(TEXTS[:32], SAME, CONCEPTS, {})
    assert len(kept.neutral) == 48
    assert any("shipped neutral texts" in note for note in kept.notes)


def test_one_concept_alone_cannot_be_judged() -> None:
    with pytest.raises(UserError, match="at least two concepts"):
        judge_texts(planted_scorer(named), TEXTS[:8], SAME, 5, QUICK)


def test_a_layer_that_was_not_trained_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UserError, match="layer 4 was not trained"):
        judge_texts(planted_scorer(named), TEXTS, SAME, 4, QUICK)


def test_texts_go_through_a_model_once(tmp_path: Path, descriptions: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    model = load_model(ModelSpec(model=str(folder), device="cpu", dtype="fp32"))
    trained = train(Library(descriptions), model, TrainSettings())
    reports: list[Progress] = []
    scorer = Readout(
        model,
        trained,
        ActivationCache(tmp_path / "cache"),
        reports.append,
    )
    texts = [
        LabelledText(f"{word} {i} times", (name,))
        for word, name in (("Rest", "calm"), ("Joy", "happy"))
        for i in range(3)
    ]
    mapping = {"calm": "calm", "happy": "happy"}
    first = judge_texts(scorer, texts, mapping, 0, QUICK)
    assert any(report.done for report in reports)
    reports.clear()
    again = judge_texts(scorer, texts, mapping, 0, QUICK)
    assert not reports
    assert (first.scores == again.scores).all()
    assert first.macro == again.macro
    assert first.macro.words is not None
