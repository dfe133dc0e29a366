"""The Sources tab, driven without a page: what is brought, what it says, what is trained."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from readout_ui.artifacts import load_readout
from readout_ui.contrast_pairs import shipped_pairs
from readout_ui.errors import UserError
from readout_ui.runs import RunRecord
from readout_ui.source_wishes import neutral_texts_of, pair_training
from readout_ui.studio import Studio
from readout_ui.tabs.crosstalk_tab import show_findings
from readout_ui.tabs.header import draw_status, retrain_label
from readout_ui.tabs.sources_pairs import (
    FILE,
    BroughtPairs,
    bring_pairs,
    pair_wish,
    show_mapping,
    show_name,
    show_pair_file,
    show_swapped,
)
from readout_ui.tabs.sources_tab import follow_training, wish_of
from readout_ui.tabs.sources_tables import draw_trained
from readout_ui.trained import TrainSettings

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
    _, box, positive, negative, prompt, brought, name, about, leave_out = show_pair_file(
        "tom", None
    )
    assert box.visible
    assert (positive.value, negative.value, prompt.value) == ("high_tom", "low_tom", "scenario")
    assert name == "tom"
    assert "Positive = <b>high_tom</b>: high scores of <b>tom</b> mean high_tom" in about
    assert "The first 5 of 40 pairs" in about
    assert not leave_out.visible
    assert brought.table is not None


def test_without_known_columns_both_are_asked_for(tmp_path: Path) -> None:
    shown = show_pair_file(FILE, str(pair_file(tmp_path)))
    assert [shown[2].value, shown[3].value] == [None, None]
    assert "choose both sides among the question, warm, cold" in shown[7]
    assert "JSON" in show_pair_file(FILE, None)[7]


def test_swapping_says_so_and_renames_only_what_nobody_typed(tmp_path: Path) -> None:
    brought, name, about, leave_out = show_mapping(
        brought_from(pair_file(tmp_path)), "warm", "cold", "the question", ""
    )
    assert name == "warm"
    assert "low scores mean cold" in about
    assert "<b>Pair 4</b> Both sides are the same text." in about
    assert "<img" not in about
    assert leave_out.visible
    positive, negative, *_, swapped_name, about, _ = show_swapped(
        brought, "warm", "cold", "the question", name
    )
    assert (positive, negative, swapped_name) == ("cold", "warm", "cold")
    assert "Positive = <b>cold</b>" in about
    assert show_swapped(brought, "warm", "cold", "(none)", "mine")[3] == "mine"


def test_a_swapped_contrast_type_is_called_after_what_high_scores_mean() -> None:
    brought = bring_pairs("irony", None)
    assert show_mapping(brought, "literal", "ironic", "(none)", "")[1] == "literal"
    assert (
        "usually positive = ironic" in show_name(brought, "literal", "ironic", "(none)", "irony")[0]
    )


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
    settings = TrainSettings()
    with pytest.raises(UserError, match="no pairs yet"):
        pair_wish(studio, settings, BroughtPairs(), *NOTHING, "(none)", "", False)
    brought = brought_from(pair_file(tmp_path))
    with pytest.raises(UserError, match="which column is positive"):
        pair_wish(studio, settings, brought, "warm", None, "(none)", "warm", False)
    with pytest.raises(UserError, match="different columns"):
        pair_wish(studio, settings, brought, "warm", "warm", "(none)", "warm", False)
    with pytest.raises(UserError, match=r"tea\.csv pair 4: Both sides are the same"):
        pair_wish(studio, settings, brought, "warm", "cold", "(none)", "warm", False)
    with pytest.raises(UserError, match="the name is empty"):
        pair_wish(studio, settings, brought, "warm", "cold", "(none)", " ", True)
    wish = pair_wish(studio, settings, brought, "warm", "cold", "(none)", "warm", True)
    assert wish.title == "Training warm on 11 pairs"


def test_a_read_only_app_trains_on_nothing(studio: Studio) -> None:
    studio.options = type(studio.options)(
        studio.options.descriptions, studio.options.runs, read_only=True
    )
    with pytest.raises(UserError, match="read-only"):
        wish_of(studio, ("pairs", "mean", "content_mean", "all"))
    first = next(follow_training(studio, ("pairs", "mean", "content_mean", "all")))
    assert "read-only" in first[0]


def trained_on_irony(studio: Studio) -> RunRecord:
    studio.load_model()
    studio.start_training().result()
    neutral = neutral_texts_of(studio.library())
    wish = pair_training(shipped_pairs("irony"), TrainSettings(), neutral)
    return studio.start_training_from(wish).result()


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
    assert studio.blame("calm") == ()
    assert len(studio.read("Oh, how lovely.", "raw").concepts) == 1
    assert "judges descriptions" in show_findings(studio, 1, False)[0]
    assert load_readout(studio.export_zip([], [])).manifest.concepts == ("irony",)


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
    wish = pair_training(shipped_pairs("irony"), TrainSettings(), {"_a": ("A text.",)})
    with pytest.raises(UserError, match="under way"):
        studio.start_training_from(wish)
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
