"""The concept editor without a page: list, open, check, save, earlier texts, the calls."""

import base64
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.app import editor as editing
from readout_ui.app.editor import Conflict, Opened, overview
from readout_ui.app.tabs.concepts_calls import Answer, concept_calls
from readout_ui.app.tabs.concepts_exchange import exchange_calls
from readout_ui.errors import UserError
from readout_ui.texts.editing import record_library
from readout_ui.texts.library import Library, read_library


@dataclass
class FolderDesk:
    """A desk without a model or runs."""

    folder: Path
    read_only: bool = False

    def library(self) -> Library:
        library = read_library(self.folder)
        if not self.read_only:
            record_library(library)
        return library

    def concept_states(self) -> dict[str, str]:
        return {concept.name: "new" for concept in self.library().concepts}

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        return [len(text.split()) for text in texts]


class LoadingDesk(FolderDesk):
    """A desk whose model is still loading."""

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        return None


@pytest.fixture
def desk(descriptions: Path) -> FolderDesk:
    return FolderDesk(descriptions)


def ask(desk: FolderDesk, name: str, data: object) -> Answer:
    """Ask as the page does; the answer must be JSON."""
    calls = {call.__name__: call for call in (*concept_calls(desk), *exchange_calls(desk))}
    answer: Answer = json.loads(json.dumps(calls[name](data)))
    return answer


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_list_shows_concepts_then_neutral_files_and_problems_as_sentences(
    desk: FolderDesk,
) -> None:
    (desk.folder / "torn.txt").write_bytes(b"caf\xe9")
    view = overview(desk)
    assert [(row.name, row.n_descriptions, row.neutral) for row in view.rows] == [
        ("afraid", 3, False),
        ("angry", 3, False),
        ("calm", 3, False),
        ("happy", 3, False),
        ("_baseline", 4, True),
    ]
    assert [(problem.file, "UTF-8" in problem.message) for problem in view.problems] == [
        ("torn.txt", True)
    ]


def test_a_missing_folder_is_an_empty_list_with_the_reason(tmp_path: Path) -> None:
    view = overview(FolderDesk(tmp_path / "nowhere"))
    assert view.rows == ()
    assert "does not exist" in view.error


def test_the_list_is_sent_again_only_when_something_changed(desk: FolderDesk) -> None:
    first = ask(desk, "read_overview", {"revision": ""})["overview"]
    assert ask(desk, "read_overview", {"revision": first["revision"]})["overview"] is None
    (desk.folder / "calm.txt").write_text("I am calm. I rest.\n", encoding="utf-8")
    second = ask(desk, "read_overview", {"revision": first["revision"]})["overview"]
    assert second["revision"] != first["revision"]


def test_saving_gives_the_fingerprint_to_save_with_next(desk: FolderDesk) -> None:
    opened = editing.open_concept(desk, "calm")
    saved = editing.save(desk, "calm", ["I am calm.", "", "  I rest.  "], opened.fingerprint)
    assert isinstance(saved, Opened)
    assert saved.descriptions == ("I am calm.", "I rest.")
    again = editing.save(desk, "calm", ["I am calmer."], saved.fingerprint)
    assert isinstance(again, Opened)
    assert editing.open_concept(desk, "calm").descriptions == ("I am calmer.",)


def test_a_file_changed_meanwhile_is_left_alone_and_both_texts_are_given(desk: FolderDesk) -> None:
    opened = editing.open_concept(desk, "calm")
    (desk.folder / "calm.txt").write_text("Theirs.\n", encoding="utf-8")
    outcome = editing.save(desk, "calm", ["Mine."], opened.fingerprint)
    assert isinstance(outcome, Conflict)
    assert (outcome.mine, outcome.theirs) == (("Mine.",), ("Theirs.",))
    assert (desk.folder / "calm.txt").read_text(encoding="utf-8") == "Theirs.\n"
    kept = editing.save(desk, "calm", ["Mine."], outcome.theirs_fingerprint)
    assert isinstance(kept, Opened)
    assert ("Theirs.",) in [
        editing.version_texts(desk, "calm", version.fingerprint)
        for version in editing.versions(desk, "calm")
    ]


def test_a_file_deleted_meanwhile_can_be_brought_back(desk: FolderDesk) -> None:
    opened = editing.open_concept(desk, "calm")
    (desk.folder / "calm.txt").unlink()
    outcome = editing.save(desk, "calm", ["Mine."], opened.fingerprint)
    assert isinstance(outcome, Conflict)
    assert outcome.theirs_fingerprint is None
    assert isinstance(editing.save(desk, "calm", ["Mine."], None), Opened)


def test_findings_and_token_counts_are_told_per_box_with_empty_ones_counted(
    desk: FolderDesk,
) -> None:
    found = editing.review(desk, "calm", ["", "He walks."])
    assert found.tokens == (None, 2)
    assert {finding.index for finding in found.findings if finding.rule == "first-person"} == {1}


def test_without_a_model_there_are_findings_but_no_token_counts(descriptions: Path) -> None:
    found = editing.review(LoadingDesk(descriptions), "calm", ["He walks."])
    assert found.tokens is None
    assert found.findings


def test_an_earlier_version_comes_back_and_the_present_one_stays_in_the_history(
    desk: FolderDesk,
) -> None:
    opened = editing.open_concept(desk, "calm")
    editing.save(desk, "calm", ["Later text."], opened.fingerprint)
    first = editing.versions(desk, "calm")[-1]
    restored = editing.put_back(desk, "calm", first.fingerprint)
    assert restored.descriptions == opened.descriptions
    texts = [
        editing.version_texts(desk, "calm", v.fingerprint) for v in editing.versions(desk, "calm")
    ]
    assert ("Later text.",) in texts


def test_a_deleted_concept_comes_back_even_when_its_name_is_in_use_again(desk: FolderDesk) -> None:
    before = editing.open_concept(desk, "calm").descriptions
    entry = editing.delete(desk, "calm")
    assert [row.name for row in overview(desk).rows if row.name == "calm"] == []
    editing.create(desk, "calm", neutral=False)
    with pytest.raises(UserError, match="again"):
        editing.undelete(desk, entry.path.name)
    assert editing.undelete(desk, entry.path.name, "calm_restored").descriptions == before
    assert editing.trash(desk) == []


def test_a_renamed_concept_keeps_its_history(desk: FolderDesk) -> None:
    opened = editing.open_concept(desk, "calm")
    editing.save(desk, "calm", ["Later text."], opened.fingerprint)
    renamed = editing.rename(desk, "calm", "quiet")
    assert renamed.name == "quiet"
    stored = [v.fingerprint for v in editing.versions(desk, "quiet")]
    assert opened.fingerprint in stored


WRITES: dict[str, dict[str, object]] = {
    "save_texts": {"name": "calm", "boxes": ["x"], "opened": None},
    "create_concept": {"name": "fresh", "neutral": False},
    "rename_concept": {"name": "calm", "to": "quiet"},
    "delete_concept": {"name": "calm"},
    "restore_trashed": {"entry": "x", "to": None},
    "restore_version": {"name": "calm", "version": "0"},
    "apply_import": {
        "file_name": "x.csv",
        "content": base64.b64encode(b"concept,description\nfresh,I am new.\n").decode(),
        "chosen": {"fresh": None},
    },
}


@pytest.mark.parametrize("call", sorted(WRITES))
def test_a_read_only_desk_refuses_to_write_and_leaves_no_trace(
    call: str, descriptions: Path
) -> None:
    before = everything_in(descriptions)
    answer = ask(FolderDesk(descriptions, read_only=True), call, WRITES[call])
    assert answer["ok"] is False
    assert "read-only" in answer["message"]
    assert everything_in(descriptions) == before


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "CON", "", "x" * 300, "a\0b", ".hidden"])
@pytest.mark.parametrize("call", ["open_concept", "read_versions", "delete_concept"])
def test_an_unsafe_name_is_refused_in_one_sentence(call: str, name: str, desk: FolderDesk) -> None:
    outside = desk.folder.parent / "x.txt"
    outside.write_text("Not a concept.", encoding="utf-8")
    answer = ask(desk, call, {"name": name})
    assert answer["ok"] is False
    assert "\n" not in answer["message"]
    assert outside.read_text(encoding="utf-8") == "Not a concept."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(data=JSON)
def test_whatever_a_page_sends_is_answered_without_a_traceback(
    data: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = FolderDesk(tmp_path_factory.getbasetemp())
    for name in (*WRITES, "open_concept", "review_texts", "plan_import", "export_set"):
        assert ask(desk, name, data)["ok"] is False


def test_an_import_is_shown_before_it_is_done_and_only_what_was_chosen_is_written(
    desk: FolderDesk,
) -> None:
    content = b"concept,description\ncalm,I am still.\nzesty,I spark.\nkeen,I lean in.\n../x,no\n"
    sent = {"file_name": "C:\\sets\\set.csv", "content": base64.b64encode(content).decode()}
    before = everything_in(desk.folder)
    plan = ask(desk, "plan_import", sent)
    assert {c["name"]: c["change"] for c in plan["changes"]} == {
        "calm": "changed",
        "zesty": "added",
        "keen": "added",
    }
    assert [refusal["name"] for refusal in plan["refused"]] == ["../x"]
    assert {k: v for k, v in everything_in(desk.folder).items() if ".history" not in k} == before
    shown = {c["name"]: c["opened"] for c in plan["changes"] if c["name"] != "keen"}
    done = ask(desk, "apply_import", {**sent, "chosen": shown})
    assert sorted(done["imported"]) == ["calm", "zesty"]
    assert not (desk.folder / "keen.txt").exists()
    assert editing.open_concept(desk, "calm").descriptions == ("I am still.",)


def test_an_import_is_refused_whole_when_a_file_changed_since_it_was_shown(
    desk: FolderDesk,
) -> None:
    content = b"concept,description\nafraid,I shake.\ncalm,I am still.\n"
    sent = {"file_name": "set.csv", "content": base64.b64encode(content).decode()}
    plan = ask(desk, "plan_import", sent)
    (desk.folder / "calm.txt").write_text("Changed since.\n", encoding="utf-8")
    shown = {c["name"]: c["opened"] for c in plan["changes"]}
    done = ask(desk, "apply_import", {**sent, "chosen": shown})
    assert done["ok"] is False
    assert editing.open_concept(desk, "calm").descriptions == ("Changed since.",)
    assert "I shake." not in (desk.folder / "afraid.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", [".zip", ".csv", ".jsonl"])
def test_an_exported_set_imports_as_the_same(suffix: str, desk: FolderDesk) -> None:
    sent = ask(desk, "export_set", {"format": suffix})
    plan = ask(desk, "plan_import", {key: sent[key] for key in ("file_name", "content")})
    assert {change["change"] for change in plan["changes"]} == {"same"}
    assert len(plan["changes"]) == 5


def test_two_pages_saving_at_once_never_lose_a_text(desk: FolderDesk) -> None:
    opened = editing.open_concept(desk, "calm")
    outcomes: list[Opened | Conflict] = []

    def save(text: str) -> None:
        outcomes.append(editing.save(desk, "calm", [text], opened.fingerprint))

    threads = [threading.Thread(target=save, args=(f"I am number {i}.",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, Opened) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
