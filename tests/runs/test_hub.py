"""Pushing an export: the requests, what is refused, and that nothing leaves unasked.

Against a stand-in on this machine only; the hub itself was not reached.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, utils

from readout_ui.cli import program as cli
from readout_ui.errors import UserError
from readout_ui.runs.hub import check_repository, push
from readout_ui.runs.store import RunStore
from tests.support.hub_stand_in import COMMIT, TOKEN, StandIn, hub_stand_in
from tests.support.trained_example import make_run

ROOT = Path(__file__).resolve().parents[2]
FILES = make_run().files("readout")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with hub_stand_in() as served:
        reach(served.url, monkeypatch)
        yield served
    forget_sessions()


def reach(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: TOKEN)
    forget_sessions()


def forget_sessions() -> None:
    """Version 0.x of the hub's client keeps connections that know whether it was offline."""
    getattr(utils, "reset_sessions", lambda: None)()


def test_a_new_repository_is_private_and_gets_every_file_in_one_commit(hub: StandIn) -> None:
    pushed = push(FILES, "me/calm-vectors")
    assert (pushed.url, pushed.private, pushed.commit) == (
        f"{hub.url}/me/calm-vectors",
        True,
        COMMIT,
    )
    assert hub.private == {"me/calm-vectors": True}
    assert len(hub.commits) == 1
    held = hub.files["me/calm-vectors"]
    assert {name: held[name] for name in FILES} == dict(FILES)
    header = hub.commits[0]["lines"][0]
    assert header["key"] == "header"
    assert header["value"]["summary"] == "Export of Readout Studio"
    assert hub.cards == [FILES["README.md"].decode()]
    assert "private" in pushed.sentence()


def test_a_repository_is_public_only_when_that_is_said(hub: StandIn) -> None:
    assert not push(FILES, "me/open", public=True).private
    assert hub.private["me/open"] is False
    with pytest.raises(
        UserError, match=r"me/open: the repository exists and is public; .*--public"
    ):
        push(FILES, "me/open")
    assert len(hub.commits) == 1


def test_an_earlier_export_is_replaced_and_anything_else_left_alone(hub: StandIn) -> None:
    hub.private["me/mine"] = True
    hub.files["me/mine"] = {".gitattributes": b"", "README.md": b"old"}
    push(FILES, "me/mine")
    assert hub.files["me/mine"]["README.md"] == FILES["README.md"]
    hub.files["me/mine"]["model.safetensors"] = b"weights"
    with pytest.raises(UserError, match=r"holds model\.safetensors"):
        push(FILES, "me/mine")
    assert len(hub.commits) == 1


@pytest.mark.parametrize(
    "name", ["", "calm", "me/", "/calm", "me/a/b", "me/a b", "me/a--b", "me/../b", "m€/a", "-/a"]
)
def test_a_bad_name_is_refused_before_anybody_is_asked(name: str, hub: StandIn) -> None:
    with pytest.raises(UserError, match="OWNER/NAME"):
        push(FILES, name)
    assert hub.requests == []


def test_a_name_is_taken_without_spaces_round_it_and_never_with_git() -> None:
    assert check_repository(" me/calm.v1 ") == "me/calm.v1"
    with pytest.raises(UserError, match="write me/calm"):
        check_repository("me/calm.git")


def test_without_a_token_nothing_is_asked(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UserError, match="no hub token on this machine; run `hf auth login`"):
        push(FILES, "me/calm")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/", 401, "the hub refused the token; run `hf auth login`"),
        ("/api/", 403, "me/calm: the token may not write there"),
        ("/api/repos/create", 500, "me/calm: the hub answered 500"),
        ("/commit/main", 403, "me/calm: the token may not write there"),
        ("/upload/", 403, "me/calm: the upload failed"),
        ("/api/validate-yaml", 400, "me/calm: "),
    ],
)
def test_every_refusal_is_one_sentence(path: str, status: int, said: str, hub: StandIn) -> None:
    hub.refusals[path] = (status, "No.")
    with pytest.raises(UserError) as refused:
        push(FILES, "me/calm")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert hub.commits == []


def test_a_token_for_one_repository_alone_is_enough(hub: StandIn) -> None:
    hub.private["me/mine"], hub.files["me/mine"] = True, {}
    hub.refusals["/api/repos/create"] = (403, "You may not create")
    assert push(FILES, "me/mine").private


def test_no_network_and_an_offline_client_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach("http://127.0.0.1:1", monkeypatch)
    with pytest.raises(UserError, match="me/calm: the hub does not answer; check the network"):
        push(FILES, "me/calm")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    forget_sessions()
    with pytest.raises(UserError, match="unset HF_HUB_OFFLINE"):
        push(FILES, "me/calm")
    forget_sessions()


def test_the_command_pushes_what_it_would_write_and_only_when_asked(
    hub: StandIn, tmp_path: Path
) -> None:
    store = RunStore(tmp_path / "runs")
    store.set_current(store.save(make_run()).id)
    export = ["export", "--runs", str(store.folder)]
    assert cli.run([*export, "--output", str(tmp_path / "out")]) == 0
    assert hub.requests == []
    addressed = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
    pushed = subprocess.run(
        [sys.executable, "-m", "readout_ui", *export, "--push-to-hub", "me/calm"],
        cwd=ROOT,
        env={**os.environ, **addressed, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert pushed.returncode == 0, pushed.stderr
    assert f"Pushed to {hub.url}/me/calm (private)" in pushed.stdout
    held = hub.files["me/calm"]
    for file in (tmp_path / "out").iterdir():
        assert held[file.name] == file.read_bytes()
