"""The Sources tab, driven without a page: what is brought, what it says, what is trained."""

from __future__ import annotations

import json
import sqlite3
import threading
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from readout_ui.app.header import draw_status, retrain_label
from readout_ui.app.session import Studio
from readout_ui.app.tabs.layers import draw_comparison
from readout_ui.app.tabs.sources import follow_training, show_stories, story_wish, wish_of
from readout_ui.app.tabs.sources_html import draw_trained
from readout_ui.app.tabs.sources_memories import (
    Memories,
    chosen_examples,
    pack_examples,
    read_memories,
    show_memories,
)
from readout_ui.app.tabs.sources_pairs import (
    FILE,
    BroughtPairs,
    bring_pairs,
    pair_wish,
    show_mapping,
    show_name,
    show_pair_file,
)
from readout_ui.errors import UserError
from readout_ui.runs.run import Run
from readout_ui.texts.examples import read_examples
from readout_ui.texts.pairs import shipped_pairs
from readout_ui.vectors.pairs import pair_source
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.sources import neutral_texts_of

HOSTILE = "<img src=x onerror=alert(1)>"
NOTHING: tuple[str | None, str | None] = (None, None)


def pair_file(folder: Path, n_pairs: int = 12, name: str = "tea.csv") -> Path:
    """Pairs with columns of their own; of the fourth both sides are the same."""
    rows = [
        f"Is it {i}?,Oh {i} splendid cups of {HOSTILE}.,All {i} cups are cold."
        for i in range(n_pairs)
    ]
    rows[3] = "Is it 3?,The same.,The same."
    path = folder / name
    path.write_text("\n".join(["the question,warm,cold", *rows]), encoding="utf-8")
    return path


def brought_from(path: Path) -> BroughtPairs:
    return bring_pairs(FILE, str(path))


def test_a_shipped_set_states_its_polarity_and_its_name() -> None:
    shown = show_pair_file("tom", None)
    _, box, positive, negative, prompt, brought, name, about, leave_out = shown
    assert box.visible is True
    assert (positive.value, negative.value, prompt.value) == ("high_tom", "low_tom", "scenario")
    assert name == "tom"
    assert "Positive = <b>high_tom</b>: high scores of <b>tom</b> mean high_tom" in about
    assert "The first 5 of 40 pairs" in about
    assert leave_out.visible is not True
    assert brought.table is not None


def test_without_known_columns_both_are_asked_for(tmp_path: Path) -> None:
    shown = show_pair_file(FILE, str(pair_file(tmp_path)))
    assert [shown[2].value, shown[3].value] == [None, None]
    assert "choose both sides among the question, warm, cold" in shown[7]
    assert "JSON" in show_pair_file(FILE, None)[7]


def test_the_name_follows_the_columns_until_somebody_types_one(tmp_path: Path) -> None:
    brought = brought_from(pair_file(tmp_path))
    asked = "the question"
    name, about, leave_out = show_mapping(brought, "warm", "cold", asked, "")
    assert name == "warm"
    assert "low scores mean cold" in about
    assert "<b>Pair 4</b> Both sides are the same text." in about
    assert "<img" not in about
    assert leave_out.visible is True
    swapped, about, _ = show_mapping(brought, "cold", "warm", asked, "warm")
    assert swapped == "cold"
    assert "Positive = <b>cold</b>" in about
    assert show_mapping(brought, "cold", "warm", asked, "mine")[0] == "mine"
    assert "the name is empty" in show_name(brought, "cold", "warm", asked, "")[0]


def test_a_swapped_contrast_type_is_called_after_what_high_scores_mean() -> None:
    brought = bring_pairs("irony", None)
    assert show_mapping(brought, "literal", "ironic", "(none)", "")[0] == "literal"
    about = show_name(brought, "literal", "ironic", "(none)", "irony")[0]
    assert "usually positive = ironic" in about


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", "{broken", "a.json line 1"),
        ("a.csv", "", "there is no row"),
        ("a.jsonl", '{"positive": "a", "negative": ""}\n', "there is no text in the column"),
        ("a.xlsx", "PK", "no suffix"),
        ("a.csv", "positive,negative\nonly one\n", "the row has 1 columns"),
    ],
)
def test_a_bad_file_gives_one_sentence(tmp_path: Path, name: str, text: str, expected: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    about = show_pair_file(FILE, str(path))[7]
    assert "class='failed'" in about
    assert expected in about


def test_what_cannot_be_trained_on_is_refused(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pairs yet"):
        pair_wish(studio, BroughtPairs(), *NOTHING, "(none)", "", False)
    brought = brought_from(pair_file(tmp_path))
    with pytest.raises(UserError, match="which column is positive"):
        pair_wish(studio, brought, "warm", None, "(none)", "warm", False)
    with pytest.raises(UserError, match="different columns"):
        pair_wish(studio, brought, "warm", "warm", "(none)", "warm", False)
    with pytest.raises(UserError, match=r"tea\.csv pair 4: Both sides are the same"):
        pair_wish(studio, brought, "warm", "cold", "(none)", "warm", False)
    with pytest.raises(UserError, match="the name is empty"):
        pair_wish(studio, brought, "warm", "cold", "(none)", " ", True)
    wish = pair_wish(studio, brought, "warm", "cold", "(none)", "warm", True)
    assert wish.title == "Training warm on 11 pairs"


def test_a_read_only_app_trains_on_nothing(studio: Studio) -> None:
    studio.options = type(studio.options)(
        studio.options.descriptions, studio.options.runs, read_only=True
    )
    with pytest.raises(UserError, match="read-only"):
        wish_of(studio, ("pairs", "mean", "content_mean", "all"))
    first = next(follow_training(studio, ("pairs", "mean", "content_mean", "all")))
    assert "read-only" in first[0]


def trained_on_irony(studio: Studio) -> Run:
    studio.load_model()
    studio.start_training().result()
    neutral = neutral_texts_of(studio.library())
    source = pair_source(shipped_pairs("irony"), neutral)
    return studio.start_training_from(source, TrainSettings()).result()


def test_a_run_of_pairs_is_in_use_everywhere(studio: Studio) -> None:
    run = trained_on_irony(studio)
    assert run.source == "contrast pairs"
    shown = draw_trained(studio.runs.current())
    for row in ("Bag of words", "Random direction, 95 % below", "Permuted polarity, 95 % below"):
        assert row in shown
    assert "positive = ironic, negative = literal; 40 pairs of irony.jsonl" in shown
    status = studio.status()
    assert "from contrast pairs" in draw_status(status)
    assert (status.changed, retrain_label(status)) == (0, "Train")
    assert set(studio.concept_states().values()) == {"trained"}
    assert studio.influence("calm") == ()
    assert len(studio.read("Oh, how lovely.", "raw").concepts) == 1
    assert Run.open(studio.export_zip([], [])).manifest.concepts == ("irony",)


def test_descriptions_that_change_do_not_concern_a_run_of_pairs(studio: Studio) -> None:
    trained_on_irony(studio)
    (studio.folder / "calm.txt").write_text("Another text. It is calm.\n")
    assert studio.changed_descriptions() == 0
    assert studio.concept_states()["calm"] == "edited"
    assert studio.export_zip([], []).is_file()


def test_a_training_that_runs_is_not_joined_by_another(studio: Studio) -> None:
    go_on = threading.Event()
    studio.worker.submit("hold", "Holding", lambda report: go_on.wait(20))
    studio.start_training()
    source = pair_source(shipped_pairs("irony"), {"_a": ("A text.",)})
    with pytest.raises(UserError, match="under way"):
        studio.start_training_from(source, TrainSettings())
    go_on.set()


def test_a_page_that_leaves_does_not_stop_the_training(studio: Studio) -> None:
    studio.load_model()
    brought = bring_pairs("irony", None)
    mapping = (brought, "ironic", "literal", "(none)", "irony", False)
    followed = follow_training(studio, ("pairs", "mean", "content_mean", "all", *mapping))
    next(followed)
    followed.close()  # type: ignore[attr-defined]
    job = studio.worker.latest("train")
    assert job is not None
    job.result()
    current = studio.runs.current()
    assert current is not None
    assert current.concepts == ("irony",)


def story_zip(folder: Path, stories: dict[str, str], name: str = "stories.zip") -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in stories.items():
            archive.writestr(place, text)
    return path


STORIES = {
    "set/calm/kitchen.txt": f"The kettle sang and nobody hurried {HOSTILE}.",
    "set/calm/garden.txt": "The leaves lay still and she with them.",
    "set/angry/kitchen.txt": "The kettle flew across the room.",
    "set/angry/garden.txt": "She tore the roses out by the roots.",
    "set/happy/attic.txt": "They danced between the boxes.",
    "set/__MACOSX/calm/x.txt": "no story",
    "set/about.md": "no story either",
}


def test_stories_in_a_zip_are_shown_with_their_scenes(tmp_path: Path) -> None:
    path = str(story_zip(tmp_path, STORIES))
    about = show_stories(path, True)
    assert "5 stories of 3 concepts" in about
    assert "Settings cancel in 2 scenes: <b>garden</b> (angry, calm)" in about
    assert "happy has a single story" in about
    assert "<img" not in about
    assert "No scene is shared" in show_stories(path, False)
    assert "Drop a zip" in show_stories(None, False)


def test_stories_are_trained_on_and_say_what_they_reached(studio: Studio, tmp_path: Path) -> None:
    studio.load_model()
    path = str(story_zip(tmp_path, STORIES))
    run = studio.start_training_from(story_wish(path, True), TrainSettings()).result()
    shown = draw_trained(run)
    assert (run.source, run.concepts) == ("stories", ("angry", "calm", "happy"))
    assert "AUROC, mean over concepts" in shown
    assert "happy has a single story" in shown
    assert "3 concepts" in draw_status(studio.status())


@pytest.mark.parametrize(
    ("stories", "expected"),
    [
        ({"../calm/a.txt": "x"}, "leads out of its folder"),
        ({"/calm/a.txt": "x"}, "absolute path"),
        ({"a.txt": "x"}, "in no concept"),
        ({"calm/a.txt": "x", "other/calm/a.txt": "y"}, "two stories of this name"),
        ({"calm/a.txt": "", "angry/a.txt": "y"}, "empty"),
        ({"calm/a.txt": "only one concept"}, "nothing to be told from"),
        ({"readme.md": "x"}, "there are no stories"),
    ],
)
def test_a_zip_that_is_no_story_library_gives_one_sentence(
    tmp_path: Path, stories: dict[str, str], expected: str
) -> None:
    about = show_stories(str(story_zip(tmp_path, stories)), False)
    assert "class='failed'" in about
    assert expected in about


def test_a_file_that_only_says_zip_and_a_bomb_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stories.zip"
    path.write_bytes(b"PK\x03\x04 and no more")
    assert "not a zip file" in show_stories(str(path), False)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(12):
            archive.writestr(f"calm/{number}.txt", b" " * 4_900_000)
    assert "unpacks to more than 50 MB" in show_stories(str(bomb), False)


def memory_lines() -> str:
    """Twelve memories of warmth and twelve of none, with their tags in the last line."""
    nodes = [
        {"key": f"{i}", "content": f"{text} Number {i} of the notes in the drawer.\n{tags}"}
        for i in range(12)
        for text, tags in (
            ("The fire was lit when I came in.", "warmth:9"),
            (f"Rain on the roof {HOSTILE} all night.", "clarity:10 sorrow:x"),
        )
    ]
    return "\n".join(map(json.dumps, nodes))


THRESHOLDS = (8, 0, 20, 500)


def test_memories_are_counted_and_their_tags_reach_no_model(tmp_path: Path) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text(memory_lines(), encoding="utf-8")
    memories, concepts, about = show_memories(str(path), "", "", *THRESHOLDS)
    assert concepts["choices"] == [("clarity (12 for)", "clarity"), ("warmth (12 for)", "warmth")]
    assert "24 memories are long enough" in about
    assert "the tag sorrow:x has no number" in about.lower()
    assert "<img" not in about
    examples = chosen_examples(memories, *THRESHOLDS, ["warmth"])
    texts = [each.text for side in (examples[0].positive, examples[0].negative) for each in side]
    assert len(texts) == 24
    assert not any("warmth:" in text or "clarity:" in text for text in texts)
    packed = pack_examples(memories, *THRESHOLDS, ["warmth"])
    with zipfile.ZipFile(packed.value["path"]) as archive:
        archive.extractall(tmp_path / "out")
    assert read_examples(tmp_path / "out") == examples


def test_memories_of_a_database_are_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE notes (said TEXT)")
        database.executemany(
            "INSERT INTO notes VALUES (?)", [(json.loads(n)["content"],) for n in lines()]
        )
        database.commit()
    assert "--text-column" in read_memories(str(path)).problem
    assert len(read_memories(str(path), "said", "notes").nodes) == 24


def lines() -> list[str]:
    return memory_lines().splitlines()


def test_what_memories_cannot_give_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no memories yet"):
        chosen_examples(Memories(), *THRESHOLDS, [])
    path = tmp_path / "dump.jsonl"
    path.write_text(memory_lines(), encoding="utf-8")
    memories, _, about = show_memories(str(path), "", "", 8, 0, 4000, 500)
    assert "no concept has examples on both sides" in about
    assert "a threshold is empty" in show_memories(str(path), "", "", None, 0, 4, 5)[2]
    with pytest.raises(UserError, match="no concept is chosen"):
        chosen_examples(memories, *THRESHOLDS, [])
    path.write_text("{broken\n")
    assert "dump.jsonl line 1: this is not JSON" in show_memories(str(path), "", "", *THRESHOLDS)[2]


def test_every_source_is_trained_with_its_own_inputs(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text(memory_lines(), encoding="utf-8")
    pairs = (bring_pairs("irony", None), "ironic", "literal", "(none)", "irony", False)
    stories = (str(story_zip(tmp_path, STORIES)), True)
    memories = (read_memories(str(path)), *THRESHOLDS, ["warmth"])
    fitted = ("mean", "content_mean", "auto")
    studio.load_model()
    found = {}
    for source in ("pairs", "stories", "memories"):
        wish = wish_of(studio, (source, *fitted, *pairs, *stories, *memories))
        found[source] = studio.start_training_from(*wish).result()
    assert [run.source for run in found.values()] == ["contrast pairs", "stories", "examples"]
    assert found["memories"].concepts == ("warmth",)
    assert [run.settings.max_length for run in found.values()] == [256, 1024, 1024]


def test_a_run_of_pairs_can_stand_beside_one_of_descriptions(studio: Studio) -> None:
    pairs = trained_on_irony(studio)
    described = next(run for run in studio.runs.list() if not run.source)
    for used in (pairs, described):
        studio.use_run(used.id)
        assert draw_comparison(studio, described.id, pairs.id)[0]
        assert draw_comparison(studio, pairs.id, described.id)[0]


def test_a_cancelled_training_leaves_the_vectors_in_use(studio: Studio) -> None:
    before = trained_on_irony(studio)
    go_on = threading.Event()
    studio.worker.submit("hold", "Holding", lambda report: go_on.wait(20))
    mapping = (bring_pairs("tom", None), "high_tom", "low_tom", "scenario", "tom", False)
    followed = follow_training(studio, ("pairs", "mean", "content_mean", "all", *mapping))
    waiting = next(followed)
    assert "1 job before this one: Holding" in waiting[0]
    studio.cancel_training()
    go_on.set()
    ended = list(followed)[-1]
    assert "Cancelled." in ended[0]
    assert studio.runs.current().id == before.id  # type: ignore[union-attr]
