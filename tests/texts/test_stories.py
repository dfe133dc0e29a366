"""Reading a library of stories."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.texts.stories import Story, StoryLibrary, read_stories, scene_of_rows
from tests.support.stories import story_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, texts in {
        "calm": {"kitchen": "The kettle sang.\r\n\r\nShe waited.", "train": "Fields went by."},
        "anger": {"kitchen": "The kettle screamed. He slammed the door."},
        "_neutral": {"list": "There are four shelves."},
    }.items():
        (tmp_path / name).mkdir()
        for scene, text in texts.items():
            (tmp_path / name / f"{scene}.txt").write_text(text, newline="")
    return tmp_path


def test_each_file_of_a_concepts_folder_is_one_story(folder: Path) -> None:
    library = read_stories(folder)
    assert library.concepts() == ("anger", "calm")
    assert library.texts()["calm"] == ("The kettle sang.\nShe waited.", "Fields went by.")
    assert set(library.scenes()["calm"]) == {""}
    assert [story.text for story in library.neutral()] == ["There are four shelves."]


def test_files_of_the_same_name_share_a_scene_when_paired(folder: Path) -> None:
    library = read_stories(folder, pair_by_name=True)
    assert library.scenes() == {
        "_neutral": ("list",),
        "anger": ("kitchen",),
        "calm": ("kitchen", "train"),
    }
    assert scene_of_rows(library.concepts(), library.scenes()) == (
        *("kitchen", "kitchen", "train"),
        "list",
    )


def test_a_single_story_and_a_scene_of_one_concept_are_warned_of(folder: Path) -> None:
    warnings = read_stories(folder, pair_by_name=True).warnings()
    assert [w.split(" has ")[0] for w in warnings if "single story" in w] == ["anger"]
    assert [w.split(",")[0] for w in warnings if "scene" in w and "only" in w] == [
        "The scene list occurs in _neutral only",
        "The scene train occurs in calm only",
    ]


def test_names_that_coincide_without_pairing_are_mentioned(folder: Path) -> None:
    assert "same names" not in " ".join(read_stories(folder).warnings())
    (folder / "anger" / "train.txt").write_text("The train was late again.")
    assert "same names" in " ".join(read_stories(folder).warnings())
    assert "same names" not in " ".join(read_stories(folder, pair_by_name=True).warnings())


def test_a_changed_story_or_scene_changes_its_concepts_fingerprint_alone(folder: Path) -> None:
    before = read_stories(folder).fingerprints()
    (folder / "calm" / "train.txt").write_text("Fields went by, slowly.")
    after = read_stories(folder).fingerprints()
    assert {name for name in before if before[name] != after[name]} == {"calm"}
    assert read_stories(folder, pair_by_name=True).fingerprints()["calm"] != after["calm"]


LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff")
STORIES = st.lists(
    st.builds(
        Story,
        st.sampled_from(["calm", "joy", "_plain"]),
        st.text(LETTERS, min_size=1).map(str.strip).filter(bool),
        st.text(LETTERS, max_size=5).map(str.strip),
        st.text(LETTERS, max_size=3).map(str.strip),
    ),
    max_size=5,
)


@settings(max_examples=30)
@given(STORIES)
def test_json_lines_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, stories: list[Story]
) -> None:
    stories = [Story("calm", "a"), Story("joy", "b", "kitchen"), *stories]
    file = tmp_path_factory.mktemp("stories") / "stories.jsonl"
    file.write_text(story_lines(stories), encoding="utf-8")
    assert read_stories(file) == StoryLibrary("stories.jsonl", tuple(stories))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there are no stories"),
        ('{"concept": "calm", "text": "a"}', "calm: one concept alone"),
        ('{"concept": "calm"}', "stories.jsonl line 1: there is no concept or no text"),
        ("nonsense", "stories.jsonl line 1: this is not JSON"),
        ('{"concept": "../x", "text": "a"}', "a name cannot contain /"),
        ('{"concept": "calm", "text": " \\n "}', "line 1: the story is empty"),
    ],
)
def test_what_is_no_story_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "stories.jsonl").write_text(text)
    with pytest.raises(UserError) as raised:
        read_stories(tmp_path / "stories.jsonl")
    assert said in str(raised.value)
