"""Runs from stories, examples and contrast pairs are judged like runs from descriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
import torch

from readout_ui.app.api import Programs
from readout_ui.app.jobs import Question
from readout_ui.app.judge.crosstalk import CrosstalkTab, crosstalk_calls
from readout_ui.app.judge.layers import MACRO, LayersTab
from readout_ui.app.session import Studio
from readout_ui.cli.evaluate import write_report
from readout_ui.errors import UserError
from readout_ui.inference.readout import Readout
from readout_ui.models.loading import ModelSpec
from readout_ui.texts.examples import ConceptExamples, Example
from readout_ui.texts.pairs import shipped_pairs
from readout_ui.texts.stories import Story, StoryLibrary
from readout_ui.vectors.pairs import pair_source
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.sources import (
    TextSource,
    example_source,
    neutral_texts_of,
    story_source,
)

SETTINGS = TrainSettings()
SCENES = ("kitchen", "garden", "station", "attic")
DEEDS = {
    "calm": "She let the kettle sing and did not hurry in the {}.",
    "angry": "He kicked the door and swore through the whole {}.",
    "happy": "They laughed until the {} rang with it.",
}


def stories(_: Studio) -> TextSource:
    told = [
        Story(concept, deed.format(scene), scene)
        for concept, deed in DEEDS.items()
        for scene in SCENES
    ]
    return story_source(StoryLibrary("stories", tuple(told)))


def examples(_: Studio) -> TextSource:
    shown = {name: [Example(deed.format(s)) for s in SCENES] for name, deed in DEEDS.items()}
    others = [Example(f"The timetable of the {scene} hangs on the wall.") for scene in SCENES]
    sides = [ConceptExamples(name, tuple(some), tuple(others)) for name, some in shown.items()]
    return example_source(sides)


def pairs(studio: Studio) -> TextSource:
    return pair_source(shipped_pairs("irony"), neutral_texts_of(studio.library()))


def prompted_pairs(studio: Studio) -> TextSource:
    return pair_source(shipped_pairs("tom"), neutral_texts_of(studio.library()))


@pytest.mark.parametrize("source", [stories, examples, pairs, prompted_pairs])
def test_every_judgement_takes_a_run_from_this_source(
    studio: Studio, source: Callable[[Studio], TextSource]
) -> None:
    studio.load_model()
    run = studio.start_training_from(source(studio), SETTINGS).result()
    with gr.Blocks():
        crosstalk, layers = CrosstalkTab(studio), LayersTab(studio)
    page = str(crosstalk.page.value)
    assert "data-run" in page if len(run.concepts) > 1 else "one concept" in page
    for call in crosstalk_calls(studio):
        if call.__name__ == "crosstalk_pairs" and len(run.concepts) > 1:
            assert call({"layer": 1})["ok"] is True
        if call.__name__ == "crosstalk_part":
            assert "cluster" in call({"part": "map", "layer": 1, "plane": "pca"})["html"]
    swept = layers.compare(MACRO)
    assert "Highest: <b>layer" in swept[layers.about]
    n_texts = sum(len(run.texts[concept]) for concept in run.concepts)
    assert len(studio.advise(1).result().influences) == n_texts
    assert len(evaluated(studio, run.concepts[0])) == 1


def evaluated(studio: Studio, concept: str) -> list[str]:
    """Concepts that the endpoint judged on four texts of one concept and four others."""
    rows = [{"text": f"It was {i} times {concept}.", "label": concept} for i in range(4)]
    others = [{"text": f"Table {i} is free.", "label": "rest"} for i in range(4)]
    found = Programs(studio).evaluate([*rows, *others], {"rest": "other"})  # type: ignore[list-item]
    return [each["concept"] for each in found["concepts"]]


def test_sides_of_pairs_are_read_after_their_prompts(studio: Studio) -> None:
    studio.load_model()
    run = studio.start_training_from(prompted_pairs(studio), SETTINGS).result()

    def read(readout: Readout) -> torch.Tensor:
        groups, pooled = readout.corpus().groups, readout.corpus().pooled
        sides = [name for name in sorted(run.texts) if name.startswith("_")]
        before = sum(len(run.texts[n]) for n in sides[: sides.index("_tom_negative")])
        negative = list(groups.neutral[before : before + len(groups.rows[0])])
        return pooled[list(groups.rows[0])].mean(dim=0) - pooled[negative].mean(dim=0)

    difference = studio.judge(Question("Reading", 0), read)  # (n_layers, d_model)
    own = studio.run().vectors.directions[0]
    cosine = torch.nn.functional.cosine_similarity(difference, own, dim=1)
    assert cosine.min() > 0.9999


@pytest.mark.parametrize("source", [stories, prompted_pairs])
def test_a_report_is_written_of_such_a_run(
    studio: Studio, source: Callable[[Studio], TextSource], tmp_path: Path
) -> None:
    studio.load_model()
    run = studio.start_training_from(source(studio), SETTINGS).result()
    spec = ModelSpec(str(studio.options.model), device="cpu")
    page = write_report(run, spec, None, tmp_path / "report.html")
    html = page.read_text(encoding="utf-8")
    for chapter in ("Layers", "Cosines", "Responses", "Redundancy", "Advice"):
        assert f"{chapter}" in html


def test_a_run_without_texts_is_refused_only_where_they_are_judged(studio: Studio) -> None:
    studio.load_model()
    run = studio.start_training().result()
    bare = replace(run, texts={})
    with pytest.raises(UserError, match="Cross-talk judges the texts of a training"):
        Question("Cross-talk: cosines", 1).refuse(bare)
    Question("Evaluation", 1, needs_descriptions=False).refuse(bare)
    assert evaluated(studio, "calm") == ["calm"]
