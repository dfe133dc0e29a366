"""Texts to train on, straight from Python or from files, with their neutral texts."""

import doctest
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from readout_ui.errors import UserError
from readout_ui.texts import library as library_module
from readout_ui.texts import sources as sources_module
from readout_ui.texts.examples import ConceptExamples, Example
from readout_ui.texts.library import Concept, Library, require_trainable
from readout_ui.texts.pairs import ContrastPair, PairSet
from readout_ui.texts.sources import examples, neutral_texts, pairs, stories
from readout_ui.texts.stories import StoryLibrary

PAIR_ROWS = [{"ironic": "Great, rain.", "literal": "It rains."}]
STORY_ROWS = [
    {"concept": "calm", "text": "She let the kettle sing.", "scene": "kitchen"},
    {"concept": "angry", "text": "He slammed the door.", "scene": "kitchen"},
]
EXAMPLE_ROWS = [
    {"concept": "calm", "polarity": "positive", "text": "I rest."},
    {"concept": "calm", "polarity": "negative", "text": "They lied."},
]


@pytest.mark.parametrize("module", [sources_module, library_module])
def test_the_examples_of_the_documentation_run(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_pairs_are_the_same_from_a_file_rows_tuples_and_a_frame(tmp_path: Path) -> None:
    file = tmp_path / "irony.jsonl"
    file.write_text(json.dumps(PAIR_ROWS[0]))
    expected = (ContrastPair("Great, rain.", "It rains."),)
    for given in (file, str(file), PAIR_ROWS, pd.DataFrame(PAIR_ROWS)):
        content = pairs(given).content
        assert isinstance(content, PairSet)
        assert (content.name, content.pairs) == ("irony", expected)
    content = pairs([("Great, rain.", "It rains.")], name="irony").content
    assert isinstance(content, PairSet)
    assert content.pairs == expected


def test_pairs_with_prompts_and_named_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"say": ["How was it?", None], "up": ["Good.", "Fine."], "down": ["a", "b"]}
    )
    content = pairs(frame, positive="up", negative="down", name="mood").content
    assert isinstance(content, PairSet)
    assert [pair.positive for pair in content.pairs] == ["Good.", "Fine."]
    asked = pairs([("Good.", "Bad.", "How was it?")]).content
    assert isinstance(asked, PairSet)
    assert asked.pairs[0].prompt == "How was it?"
    with pytest.raises(UserError, match="both sides have to be named"):
        pairs(frame, positive="up")
    with pytest.raises(UserError, match="nothing says which column is positive"):
        pairs(frame)


def test_shipped_pairs_have_the_shipped_neutral_texts() -> None:
    source = pairs("irony")
    assert source.concepts == ("irony",)
    assert isinstance(source.content, PairSet)
    assert len(source.content.pairs) == 40
    assert len(source.neutral["_neutral"]) == 48


def test_stories_are_the_same_from_a_file_rows_and_a_frame(tmp_path: Path) -> None:
    file = tmp_path / "stories.jsonl"
    file.write_text("\n".join(map(json.dumps, STORY_ROWS)))
    told = [stories(given).content for given in (file, STORY_ROWS, pd.DataFrame(STORY_ROWS))]
    assert all(isinstance(each, StoryLibrary) for each in told)
    assert len({each.stories for each in told if isinstance(each, StoryLibrary)}) == 1
    plain = stories({"calm": ["She waited."], "angry": ["He shouted."]})
    assert plain.concepts == ("angry", "calm")
    assert "calm has a single story" in " ".join(plain.warnings())


def test_examples_are_the_same_from_a_mapping_rows_and_a_frame() -> None:
    expected = (ConceptExamples("calm", (Example("I rest."),), (Example("They lied."),)),)
    for given in (
        EXAMPLE_ROWS,
        pd.DataFrame(EXAMPLE_ROWS),
        {"calm": (["I rest."], ["They lied."])},
    ):
        assert examples(given).content == expected
    with pytest.raises(UserError, match="example 1: this is no example"):
        examples([{"concept": "calm", "polarity": "for", "text": "I rest."}])


def test_underscored_files_in_a_folder_of_stories_or_examples_are_neutral(tmp_path: Path) -> None:
    for polarity, text in (("positive", "I rest."), ("negative", "They lied.")):
        file = tmp_path / "calm" / f"{polarity}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"text": text}))
    (tmp_path / "calm" / "one.txt").write_text("The kettle sang.")
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "one.txt").write_text("It rained.")
    (tmp_path / "_baseline.txt").write_text("A shelf.\n\nA list.\n")
    (tmp_path / "_empty.txt").write_text("\n")
    expected = {"_baseline": ("A shelf.", "A list.")}
    assert examples(tmp_path).neutral == stories(tmp_path).neutral == expected
    more = examples(tmp_path, neutral=["A door."])
    assert more.neutral == {**expected, "_neutral": ("A door.",)}


def test_neutral_texts_come_from_folders_files_and_lists(tmp_path: Path) -> None:
    (tmp_path / "_baseline.txt").write_text("A shelf.\n\nA list.\n")
    (tmp_path / "calm.txt").write_text("I rest.")
    assert neutral_texts(tmp_path) == {"_baseline": ("A shelf.", "A list.")}
    assert neutral_texts(tmp_path / "_baseline.txt") == {"_baseline": ("A shelf.", "A list.")}
    rows = tmp_path / "plain.csv"
    rows.write_text("id,text\n1,A shelf stands there.\n2,A list lies there.\n")
    assert neutral_texts(str(rows)) == {"_plain": ("A shelf stands there.", "A list lies there.")}
    assert neutral_texts({"plain": ["A door."]}) == {"_plain": ("A door.",)}
    (tmp_path / "_baseline.txt").unlink()
    for nothing in (tmp_path, [], [" "]):
        with pytest.raises(UserError, match="there are no neutral texts"):
            neutral_texts(nothing)


def test_a_library_is_made_of_a_folder_or_of_texts(tmp_path: Path) -> None:
    texts = {"sad": ["I ache."], "calm": ["I rest.", "I wait."], "_plain": ["A shelf."]}
    for name, some in texts.items():
        (tmp_path / f"{name}.txt").write_text("\n\n".join(some) + "\n")
    read, made = Library(str(tmp_path)), Library(texts)
    assert read == Library(tmp_path)
    assert made.texts() == read.texts()
    assert made.fingerprints() == read.fingerprints()
    assert made.names() == ("calm", "sad")
    require_trainable(made)
    assert repr(made) == "Library(2 concepts, 3 descriptions, 1 neutral text)"
    with pytest.raises(UserError, match="cannot contain"):
        Library({"a/b": ["x"]})
    with pytest.raises(UserError, match="does not exist"):
        Library(tmp_path / "none")


def test_a_concept_made_in_python_is_what_its_file_would_be(tmp_path: Path) -> None:
    concept = Concept("calm", ("I rest.\r\n\r\nI wait.", " "))
    assert concept.descriptions == ("I rest.\nI wait.",)
    (tmp_path / "calm.txt").write_text("I rest.\nI wait.\n")
    assert concept.fingerprint == Library(tmp_path).concept("calm").fingerprint


def test_stories_come_from_a_zip_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "told.zip", "w") as archive:
        archive.writestr("calm/one.txt", "The kettle sang.")
        archive.writestr("sad/one.txt", "It rained.")
    paired = stories(tmp_path / "told.zip", pair_by_name=True).content
    assert isinstance(paired, StoryLibrary)
    assert {story.scene for story in paired.stories} == {"one"}


def test_no_module_of_texts_loads_what_takes_seconds() -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        "import readout_ui.texts as texts\n"
        "for module in pkgutil.iter_modules(texts.__path__):\n"
        "    importlib.import_module(f'readout_ui.texts.{module.name}')\n"
        "slow = {'torch', 'transformers', 'scipy', 'sklearn', 'pandas', 'gradio', 'plotly'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
