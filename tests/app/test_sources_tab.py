"""Texts from elsewhere in Write, without a page: what is brought, said and trained."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from readout_ui.app.events import Changes, Values
from readout_ui.app.header import draw_news, train_label
from readout_ui.app.session import Studio
from readout_ui.app.ship.diff import DiffBox
from readout_ui.app.write.calls import influences_of
from readout_ui.app.write.memories import (
    Memories,
    MemoryInputs,
    read_memories,
)
from readout_ui.app.write.pairs import (
    FILE,
    BroughtPairs,
    PairInputs,
    PairMapping,
    bring_pairs,
    describe_pairs,
    pair_request,
)
from readout_ui.app.write.sources import (
    SourcesTab,
    show_stories,
    story_request,
)
from readout_ui.app.write.trained import draw_trained
from readout_ui.errors import UserError
from readout_ui.runs.run import Run
from readout_ui.texts.examples import read_examples
from readout_ui.texts.pairs import shipped_pairs
from readout_ui.texts.tags import read_tags
from readout_ui.vectors.pairs import pair_source
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.sources import neutral_texts_of
from tests.support.studios import device_taken

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def tab(studio: Studio) -> SourcesTab:
    with gr.Blocks():
        return SourcesTab(studio)


@pytest.fixture
def pairs() -> PairInputs:
    with gr.Blocks():
        return PairInputs()


@pytest.fixture
def memories() -> MemoryInputs:
    with gr.Blocks():
        return MemoryInputs()


def fill(tab: SourcesTab, source: str, layers: str = "all", **filled: Any) -> Values:
    """What is on screen when some inputs of the sources are filled in."""
    fitted = {"method": "mean", "read": "content_mean", "layers": layers}
    fitted["layer_type"] = "mlp"
    values: Values = {getattr(tab.settings, name): value for name, value in fitted.items()}
    values[tab.settings.neutral] = False
    values[tab.source] = source
    place: Any = {"pairs": tab.pairs, "stories": tab.stories, "memories": tab.memories}[source]
    return values | {getattr(place, name): value for name, value in filled.items()}


def irony(tab: SourcesTab) -> Values:
    return fill(
        *(tab, "pairs"),
        brought=bring_pairs("irony", None),
        positive="ironic",
        negative="literal",
        prompt="(none)",
        name="irony",
        leave_out=False,
    )


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


def shown_of(
    pairs: PairInputs, chosen: str, path: str | None, before: BroughtPairs | None = None
) -> Changes:
    before = before or pairs.brought.value
    return pairs.show_file({pairs.chosen: chosen, pairs.file: path, pairs.brought: before})


def test_the_same_file_looked_at_twice_leaves_the_columns_as_they_were_chosen(
    pairs: PairInputs, memories: MemoryInputs, tmp_path: Path
) -> None:
    brought = shown_of(pairs, "tom", None)[pairs.brought]
    assert shown_of(pairs, "tom", None, brought) == {}
    dump = tmp_path / "dump.jsonl"
    dump.write_text(memory_lines(), encoding="utf-8")
    nodes = dropped(memories, dump)[memories.memories]
    assert dropped(memories, dump, nodes) == {}


def test_a_shipped_set_states_its_polarity_and_its_name(pairs: PairInputs) -> None:
    shown = shown_of(pairs, "tom", None)
    assert shown[pairs.box].elem_classes == []
    assert [shown[each].value for each in pairs.columns] == ["high_tom", "low_tom", "scenario"]
    assert shown[pairs.name] == "tom"
    about = shown[pairs.about]
    assert "Positive = <b>high_tom</b>: high scores of <b>tom</b> mean high_tom" in about
    assert "The first 5 of 40 pairs" in about
    assert shown[pairs.leave_out].elem_classes != []
    assert shown[pairs.brought].table is not None


def test_texts_from_elsewhere_stand_beside_the_described_concepts(tab: SourcesTab) -> None:
    before = tab.studio.library()
    shown = tab.add_to_library(irony(tab))[tab.follower.progress]
    library = tab.studio.library()
    positive = [pair.positive for pair in shipped_pairs("irony").pairs]
    assert library.names() == tuple(sorted((*before.names(), "irony")))
    assert list(library.concept("irony").descriptions) == positive
    negative = [pair.negative for pair in shipped_pairs("irony").pairs]
    assert list(library.concept("_against irony").descriptions) == negative
    assert "(40 texts, contrasted with 40)" in shown
    assert read_tags(tab.studio.folder).of("irony") == ("pairs",)
    assert "<a href='#/write/irony'>irony</a>" in shown
    tab.add_to_library(irony(tab))  # the same again adds nothing
    assert list(tab.studio.library().concept("irony").descriptions) == positive


def test_without_known_columns_both_are_asked_for(tmp_path: Path, pairs: PairInputs) -> None:
    shown = shown_of(pairs, FILE, str(pair_file(tmp_path)))
    assert [shown[each].value for each in (pairs.positive, pairs.negative)] == [None, None]
    assert "choose both sides among the question, warm, cold" in shown[pairs.about]
    nothing = shown_of(pairs, FILE, None, shown[pairs.brought])
    assert "JSON" in nothing[pairs.about]
    assert set(nothing) == set(shown)


def test_the_name_follows_the_columns_until_a_person_types_one(
    tmp_path: Path, pairs: PairInputs
) -> None:
    mapping = PairMapping(brought_from(pair_file(tmp_path)), "warm", "cold", "the question")
    about, has_errors = describe_pairs(replace(mapping, name="warm"))
    assert mapping.settled_name() == "warm"
    assert "low scores mean cold" in about
    assert "<b>Pair 4</b> Both sides are the same text." in about
    assert "<img" not in about
    assert has_errors
    swapped = replace(mapping, positive="cold", negative="warm", name="warm")
    on_screen: Values = {
        pairs.positive: "cold",
        pairs.negative: "warm",
        pairs.prompt: "the question",
        pairs.brought: mapping.brought,
        pairs.name: "warm",
    }
    assert pairs.mapping(on_screen) == swapped
    changes = pairs.show_mapping(on_screen)
    assert changes[pairs.name] == "cold"
    assert "Positive = <b>cold</b>" in changes[pairs.about]
    assert changes[pairs.leave_out].elem_classes == []
    assert replace(swapped, name="mine").settled_name() == "mine"
    typed = pairs.show_name(on_screen | {pairs.name: ""})
    assert "the name is empty" in typed[pairs.about]
    assert pairs.name not in typed


def test_a_swapped_contrast_type_is_called_after_what_high_scores_mean() -> None:
    mapping = PairMapping(bring_pairs("irony", None), "literal", "ironic")
    assert mapping.settled_name() == "literal"
    assert "usually positive = ironic" in describe_pairs(replace(mapping, name="irony"))[0]


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
def test_a_bad_file_gives_one_sentence(
    tmp_path: Path, pairs: PairInputs, name: str, text: str, expected: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    about = shown_of(pairs, FILE, str(path))[pairs.about]
    assert "class='failed'" in about
    assert expected in about


def test_what_cannot_be_trained_on_is_refused(studio: Studio, tmp_path: Path) -> None:
    warm = PairMapping(brought_from(pair_file(tmp_path)), "warm", "cold", name="warm")
    for mapping, leave_out, message in (
        (PairMapping(BroughtPairs(), None, None), False, "no pairs yet"),
        (replace(warm, negative=None), False, "which column is positive"),
        (replace(warm, negative="warm"), False, "different columns"),
        (warm, False, r"tea\.csv pair 4: Both sides are the same"),
        (replace(warm, name=" "), True, "the name is empty"),
    ):
        with pytest.raises(UserError, match=message):
            pair_request(studio, mapping, leave_out=leave_out)
    request = pair_request(studio, warm, leave_out=True)
    assert request.title == "Training warm on 11 pairs"


def test_a_read_only_app_trains_on_nothing(studio: Studio, tab: SourcesTab) -> None:
    studio.options = type(studio.options)(
        studio.options.descriptions, studio.options.runs, read_only=True
    )
    with pytest.raises(UserError, match="read-only"):
        tab.request(irony(tab))
    (told,) = followed(studio, tab, irony(tab))
    assert "read-only" in told[tab.follower.progress]


def followed(studio: Studio, tab: SourcesTab, values: Values) -> Iterator[Changes]:
    return tab.follower.follow("me", lambda: tab.train(values))


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
    assert "from contrast pairs" in draw_news(status, None)
    assert (status.changed, train_label(status)) == (0, "Train")
    assert set(studio.concept_states().values()) == {"trained"}
    assert influences_of(studio, "calm") == ()
    assert len(studio.read("Oh, how lovely.", "raw").concepts) == 1
    assert Run.open(studio.export([], [])).manifest.concepts == ("irony",)


def test_descriptions_that_change_do_not_concern_a_run_of_pairs(studio: Studio) -> None:
    trained_on_irony(studio)
    (studio.folder / "calm.txt").write_text("Another text. It is calm.\n")
    assert studio.changed_descriptions() == 0
    assert studio.concept_states()["calm"] == "edited"
    assert studio.export([], []).is_file()


def test_a_training_that_runs_is_not_joined_by_another(studio: Studio) -> None:
    with device_taken(studio):
        studio.start_training()
        source = pair_source(shipped_pairs("irony"), {"_a": ("A text.",)})
        with pytest.raises(UserError, match="under way"):
            studio.start_training_from(source, TrainSettings())


def test_a_page_that_leaves_does_not_stop_the_training(studio: Studio, tab: SourcesTab) -> None:
    studio.load_model()
    watching = followed(studio, tab, irony(tab))
    next(watching)
    watching.close()  # type: ignore[attr-defined]
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
    run = studio.start_training_from(story_request(path, True), TrainSettings()).result()
    shown = draw_trained(run)
    assert (run.source, run.concepts) == ("stories", ("angry", "calm", "happy"))
    assert "AUROC, mean over concepts" in shown
    assert "happy has a single story" in shown
    assert "3 concepts" in draw_news(studio.status(), None)


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


THRESHOLDS = {"lowest": 8, "mentions": 0, "characters": 20, "most": 500}


def dropped(
    memories: MemoryInputs, path: Path, before: Memories | None = None, **changes: Any
) -> Changes:
    """What is shown of a dump under these thresholds."""
    filled = {**THRESHOLDS, "file": str(path), "text": "", "table": "", **changes}
    filled["memories"] = before or memories.memories.value
    return memories.show({getattr(memories, n): value for n, value in filled.items()})


def with_concepts(memories: MemoryInputs, nodes: Memories, *concepts: str) -> Values:
    """What is on screen when memories were read and concepts chosen."""
    filled = {**THRESHOLDS, "memories": nodes, "concepts": list(concepts)}
    return {getattr(memories, name): value for name, value in filled.items()}


def test_memories_are_counted_and_their_tags_reach_no_model(
    tmp_path: Path, memories: MemoryInputs
) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text(memory_lines(), encoding="utf-8")
    shown = dropped(memories, path)
    about = shown[memories.about]
    choices = shown[memories.concepts]["choices"]
    assert choices == [("clarity (12 for)", "clarity"), ("warmth (12 for)", "warmth")]
    assert "24 memories are long enough" in about
    assert "the tag sorrow:x has no number" in about.lower()
    assert "<img" not in about
    values = with_concepts(memories, shown[memories.memories], "warmth")
    examples = memories.examples(values)
    texts = [each.text for side in (examples[0].positive, examples[0].negative) for each in side]
    assert len(texts) == 24
    assert not any("warmth:" in text or "clarity:" in text for text in texts)
    packed = memories.pack_examples(values)[memories.packed]
    with zipfile.ZipFile(packed.value["path"]) as archive:
        archive.extractall(tmp_path / "out")
    assert read_examples(tmp_path / "out") == examples


def test_another_threshold_leaves_the_concepts_that_are_chosen(
    tmp_path: Path, memories: MemoryInputs
) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text(memory_lines(), encoding="utf-8")
    nodes = dropped(memories, path)[memories.memories]
    values = with_concepts(memories, nodes, "warmth")
    fewer = memories.show_counts(values | {memories.lowest: 10})[memories.concepts]
    # No value goes to the page, so that none comes over what is chosen there meanwhile.
    assert fewer["choices"] == [("clarity (12 for)", "clarity"), ("warmth (0 for)", "warmth")]
    assert "value" not in fewer
    with pytest.raises(UserError, match=r"warmth: no node is an example for it"):
        memories.examples(values | {memories.lowest: 10})
    empty = memories.show_counts(values | {memories.lowest: None})
    assert set(empty) == {memories.about}, "while a number is typed"
    none = memories.show_counts(values | {memories.concepts: []})[memories.concepts]
    assert none["value"] == ["clarity", "warmth"]


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


def test_what_memories_cannot_give_is_said(tmp_path: Path, memories: MemoryInputs) -> None:
    with pytest.raises(UserError, match="no memories yet"):
        memories.examples(with_concepts(memories, Memories()))
    path = tmp_path / "dump.jsonl"
    path.write_text(memory_lines(), encoding="utf-8")
    shown = dropped(memories, path, characters=4000)
    assert "no concept has examples on both sides" in shown[memories.about]
    assert "a threshold is empty" in dropped(memories, path, lowest=None)[memories.about]
    with pytest.raises(UserError, match="no concept is chosen"):
        memories.examples(with_concepts(memories, shown[memories.memories]))
    path.write_text("{broken\n")
    assert "dump.jsonl line 1: this is not JSON" in dropped(memories, path)[memories.about]


def test_every_source_is_trained_with_its_own_inputs(
    studio: Studio, tab: SourcesTab, tmp_path: Path
) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text(memory_lines(), encoding="utf-8")
    zipped = str(story_zip(tmp_path, STORIES))
    scored = {**THRESHOLDS, "memories": read_memories(str(path)), "concepts": ["warmth"]}
    asked = {
        "pairs": irony(tab),
        "stories": fill(
            *(tab, "stories", "auto"), file=zipped, pair_by_name=True, recipe="anthropic-2026"
        ),
        "memories": fill(tab, "memories", "auto", **scored),
    }
    studio.load_model()
    found = {}
    for source, values in asked.items():
        request = tab.request(values)
        found[source] = studio.start_training_from(*request).result()
    assert [run.source for run in found.values()] == ["contrast pairs", "stories", "examples"]
    assert found["memories"].concepts == ("warmth",)
    assert [run.settings.max_length for run in found.values()] == [256, 1024, 1024]
    assert {run.settings.layer_type for run in found.values()} == {"mlp"}
    assert [run.settings.method for run in found.values()] == ["mean", "neutral_pcs", "mean"]
    assert "_baseline" in found["stories"].texts


def test_a_run_of_pairs_can_stand_beside_one_of_descriptions(studio: Studio) -> None:
    pairs = trained_on_irony(studio)
    described = next(run for run in studio.runs.list() if not run.source)
    with gr.Blocks():
        place = DiffBox(studio)
    for used in (pairs, described):
        studio.use_run(used.id)
        chosen = gr.EventData(None, {"old": described.id, "new": pairs.id})
        assert ">gone<" in place.compare(chosen)[place.found]


def test_a_cancelled_training_leaves_the_vectors_in_use(studio: Studio, tab: SourcesTab) -> None:
    before = trained_on_irony(studio)
    with device_taken(studio):
        watching = followed(studio, tab, irony(tab))
        waiting = next(watching)
        assert "1 job before this one: Something else" in waiting[tab.follower.progress]
        studio.cancel_training()
    ended = list(watching)[-1]
    assert "Cancelled." in ended[tab.follower.progress]
    assert tab.trained not in ended
    assert studio.runs.current().id == before.id  # type: ignore[union-attr]


def test_neutral_texts_of_the_folder_join_stories_and_memories_where_they_are_wanted(
    studio: Studio, tab: SourcesTab, tmp_path: Path
) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text(memory_lines(), encoding="utf-8")
    zipped = str(story_zip(tmp_path, STORIES))
    scored = {**THRESHOLDS, "memories": read_memories(str(path)), "concepts": ["warmth"]}
    for values in (
        fill(tab, "stories", "all", file=zipped, pair_by_name=True, recipe=""),
        fill(tab, "memories", "all", **scored),
    ):
        plain, _ = tab.request(values)
        joined, _ = tab.request(values | {tab.settings.neutral: True})
        added = set(joined.texts) - set(plain.texts)
        assert added == {"_baseline"}
        assert len(joined.texts["_baseline"]) == 4
