"""The concept editor without a page: list, open, check, save, earlier texts, the calls."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.app.events import Answer
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.app.write.calls import concept_calls, overview, review
from readout_ui.app.write.concepts import exchange_calls
from readout_ui.errors import UserError


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    """Sessions over a folder, without a model; closed at the end."""
    opened: list[Studio] = []

    def over(folder: Path, *, read_only: bool = False) -> Studio:
        opened.append(Studio(StudioOptions(folder, tmp_path / "runs", read_only=read_only)))
        return opened[-1]

    yield over
    for studio in opened:
        studio.close()


@pytest.fixture
def desk(descriptions: Path, sessions: Callable[..., Studio]) -> Studio:
    return sessions(descriptions)


def ask(desk: Studio, name: str, data: object) -> Answer:
    """Ask as the page does; the answer must be JSON."""
    calls = {call.__name__: call for call in (*concept_calls(desk), *exchange_calls(desk))}
    answer: Answer = json.loads(json.dumps(calls[name](data)))
    return answer


def opened(desk: Studio, name: str) -> Answer:
    concept: Answer = ask(desk, "open_concept", {"name": name})["concept"]
    return concept


def save(desk: Studio, name: str, boxes: Sequence[str], fingerprint: str | None) -> Answer:
    return ask(desk, "save_texts", {"name": name, "boxes": boxes, "opened": fingerprint})


def earlier_texts(desk: Studio, name: str) -> list[list[str]]:
    """The descriptions of every earlier version."""
    versions = ask(desk, "read_versions", {"name": name})["versions"]
    asked = [{"name": name, "version": each["version"]} for each in versions]
    return [ask(desk, "read_version", each)["descriptions"] for each in asked]


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_list_shows_concepts_then_neutral_files_and_problems_as_sentences(
    desk: Studio,
) -> None:
    (desk.folder / "torn.txt").write_bytes(b"caf\xe9")
    view = overview(desk)
    assert [(row["name"], row["n_descriptions"], row["neutral"]) for row in view["rows"]] == [
        ("afraid", 3, False),
        ("angry", 3, False),
        ("calm", 3, False),
        ("happy", 3, False),
        ("_baseline", 4, True),
    ]
    assert [(problem["file"], "UTF-8" in problem["message"]) for problem in view["problems"]] == [
        ("torn.txt", True)
    ]


def test_a_missing_folder_is_an_empty_list_with_the_reason(
    tmp_path: Path, sessions: Callable[..., Studio]
) -> None:
    view = overview(sessions(tmp_path / "nowhere"))
    assert view["rows"] == []
    assert "does not exist" in view["error"]


def test_the_list_is_sent_again_only_when_something_changed(desk: Studio) -> None:
    first = ask(desk, "read_overview", {"revision": ""})["overview"]
    assert ask(desk, "read_overview", {"revision": first["revision"]})["overview"] is None
    (desk.folder / "calm.txt").write_text("I am calm. I rest.\n", encoding="utf-8")
    second = ask(desk, "read_overview", {"revision": first["revision"]})["overview"]
    assert second["revision"] != first["revision"]


def test_saving_gives_the_fingerprint_to_save_with_next(desk: Studio) -> None:
    saved = save(
        desk, "calm", ["I am calm.", "", "  I rest.  "], opened(desk, "calm")["fingerprint"]
    )
    assert saved["concept"]["descriptions"] == ["I am calm.", "I rest."]
    assert "concept" in save(desk, "calm", ["I am calmer."], saved["concept"]["fingerprint"])
    assert opened(desk, "calm")["descriptions"] == ["I am calmer."]


def test_a_file_changed_meanwhile_is_left_alone_and_both_texts_are_given(desk: Studio) -> None:
    fingerprint = opened(desk, "calm")["fingerprint"]
    (desk.folder / "calm.txt").write_text("Theirs.\n", encoding="utf-8")
    conflict = save(desk, "calm", ["Mine."], fingerprint)["conflict"]
    assert (conflict["mine"], conflict["theirs"]) == (["Mine."], ["Theirs."])
    assert (desk.folder / "calm.txt").read_text(encoding="utf-8") == "Theirs.\n"
    assert "concept" in save(desk, "calm", ["Mine."], conflict["theirs_fingerprint"])
    assert ["Theirs."] in earlier_texts(desk, "calm")


def test_a_file_deleted_meanwhile_can_be_brought_back(desk: Studio) -> None:
    fingerprint = opened(desk, "calm")["fingerprint"]
    (desk.folder / "calm.txt").unlink()
    conflict = save(desk, "calm", ["Mine."], fingerprint)["conflict"]
    assert conflict["theirs_fingerprint"] is None
    assert "concept" in save(desk, "calm", ["Mine."], None)


def test_findings_and_token_counts_are_told_per_box_with_empty_ones_counted(
    desk: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "count_tokens", lambda texts: [len(text.split()) for text in texts])
    found = review(desk, "calm", ["", "He walks."])
    assert found["tokens"] == [None, 2]
    told = [one for one in found["findings"] if one["rule"] == "first-person"]
    assert {one["index"] for one in told} == {1}


@pytest.mark.parametrize("boxes", [["x" * 500_001], ["x" * 9_999] * 51])
def test_boxes_that_are_too_long_together_are_refused_before_they_are_looked_at(
    boxes: list[str], desk: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Studio, "count_tokens", lambda *_: pytest.fail("tokenized"))
    with pytest.raises(UserError, match=r"calm: the text has 5\d\d,\d{3} characters, 500,000 are"):
        review(desk, "calm", boxes)


def test_without_a_model_there_are_findings_but_no_token_counts(desk: Studio) -> None:
    found = review(desk, "calm", ["He walks."])
    assert found["tokens"] is None
    assert found["findings"]


def test_an_earlier_version_comes_back_and_the_present_one_stays_in_the_history(
    desk: Studio,
) -> None:
    before = opened(desk, "calm")
    save(desk, "calm", ["Later text."], before["fingerprint"])
    first = ask(desk, "read_versions", {"name": "calm"})["versions"][-1]
    asked = {"name": "calm", "version": first["version"]}
    restored = ask(desk, "restore_version", asked)["concept"]
    assert restored["descriptions"] == before["descriptions"]
    assert ["Later text."] in earlier_texts(desk, "calm")


def test_a_deleted_concept_comes_back_even_when_its_name_is_in_use_again(desk: Studio) -> None:
    before = opened(desk, "calm")["descriptions"]
    entry = ask(desk, "delete_concept", {"name": "calm"})["entry"]["entry"]
    assert [row for row in overview(desk)["rows"] if row["name"] == "calm"] == []
    ask(desk, "create_concept", {"name": "calm", "neutral": False})
    refused = ask(desk, "restore_trashed", {"entry": entry, "to": None})
    assert "again" in refused["message"]
    restored = ask(desk, "restore_trashed", {"entry": entry, "to": "calm_restored"})
    assert restored["concept"]["descriptions"] == before
    assert ask(desk, "read_trash", {})["entries"] == []


def test_a_renamed_concept_keeps_its_history(desk: Studio) -> None:
    before = opened(desk, "calm")
    save(desk, "calm", ["Later text."], before["fingerprint"])
    assert (
        ask(desk, "rename_concept", {"name": "calm", "to": "quiet"})["concept"]["name"] == "quiet"
    )
    stored = [v["version"] for v in ask(desk, "read_versions", {"name": "quiet"})["versions"]]
    assert before["fingerprint"] in stored


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
    call: str, descriptions: Path, sessions: Callable[..., Studio]
) -> None:
    before = everything_in(descriptions)
    answer = ask(sessions(descriptions, read_only=True), call, WRITES[call])
    assert answer["ok"] is False
    assert "read-only" in answer["message"]
    assert everything_in(descriptions) == before


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "CON", "", "x" * 300, "a\0b", ".hidden"])
@pytest.mark.parametrize("call", ["open_concept", "read_versions", "delete_concept"])
def test_an_unsafe_name_is_refused_in_one_sentence(call: str, name: str, desk: Studio) -> None:
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
    folder = tmp_path_factory.getbasetemp()
    desk = Studio(StudioOptions(folder, folder / "no runs"))
    for name in (*WRITES, "open_concept", "review_texts", "plan_import", "export_set"):
        assert ask(desk, name, data)["ok"] is False
    desk.close()


def test_an_import_is_shown_before_it_is_done_and_only_what_was_chosen_is_written(
    desk: Studio,
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
    assert opened(desk, "calm")["descriptions"] == ["I am still."]


def test_an_import_is_refused_whole_when_a_file_changed_since_it_was_shown(
    desk: Studio,
) -> None:
    content = b"concept,description\nafraid,I shake.\ncalm,I am still.\n"
    sent = {"file_name": "set.csv", "content": base64.b64encode(content).decode()}
    plan = ask(desk, "plan_import", sent)
    (desk.folder / "calm.txt").write_text("Changed since.\n", encoding="utf-8")
    shown = {c["name"]: c["opened"] for c in plan["changes"]}
    done = ask(desk, "apply_import", {**sent, "chosen": shown})
    assert done["ok"] is False
    assert opened(desk, "calm")["descriptions"] == ["Changed since."]
    assert "I shake." not in (desk.folder / "afraid.txt").read_text(encoding="utf-8")


def test_a_shipped_library_is_imported_by_its_name(desk: Studio) -> None:
    sent = {"file_name": "shipped:stances", "content": ""}
    plan = ask(desk, "plan_import", sent)
    assert {c["change"] for c in plan["changes"]} == {"added"}
    assert len([c for c in plan["changes"] if not c["name"].startswith("_")]) == 20
    done = ask(desk, "apply_import", {**sent, "chosen": {"certain": None}})
    assert done["imported"] == ["certain"]
    assert len(opened(desk, "certain")["descriptions"]) == 6
    assert ask(desk, "plan_import", {**sent, "file_name": "shipped:moods"})["ok"] is False


@pytest.mark.parametrize("suffix", [".zip", ".csv", ".jsonl"])
def test_an_exported_set_imports_as_the_same(suffix: str, desk: Studio) -> None:
    sent = ask(desk, "export_set", {"format": suffix})
    plan = ask(desk, "plan_import", {key: sent[key] for key in ("file_name", "content")})
    assert {change["change"] for change in plan["changes"]} == {"same"}
    assert len(plan["changes"]) == 5


def test_two_pages_saving_at_once_never_lose_a_text(desk: Studio) -> None:
    fingerprint = opened(desk, "calm")["fingerprint"]
    outcomes: list[Answer] = []

    def keep(text: str) -> None:
        outcomes.append(save(desk, "calm", [text], fingerprint))

    threads = [threading.Thread(target=keep, args=(f"I am number {i}.",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("concept" in outcome for outcome in outcomes) == 1
    assert sum("conflict" in outcome for outcome in outcomes) == 3
