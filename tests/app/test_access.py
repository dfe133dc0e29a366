"""Who gets into the app, and what of it: hosts, pages elsewhere, the login, gradio's own routes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from starlette.exceptions import HTTPException

from readout_ui.app.jobs import JobState
from readout_ui.app.login import WatchPages, read_login
from readout_ui.app.page import build_site
from readout_ui.app.session import Studio
from readout_ui.app.start import own_address, parse_flags, read_access
from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError
from readout_ui.inference.gate import Guesses, Hosts
from tests.conftest import SMALL_LIBRARY
from tests.support.running_app import serving
from tests.support.studios import device_taken

HOSTS = Hosts("127.0.0.1", ("studio.example:8443", "other.example"))
LOGIN = ("anna", "pass:wörd")


@dataclass(frozen=True)
class Site:
    """A live page and what is behind it."""

    url: str
    studio: Studio
    folder: Path

    @property
    def host(self) -> str:
        return httpx.URL(self.url).netloc.decode()

    def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(method, f"{self.url}{path}", headers=given, json={})


def small_studio(folder: Path, **options: Any) -> Studio:
    descriptions = folder / "descriptions"
    descriptions.mkdir()
    for name, texts in SMALL_LIBRARY.items():
        (descriptions / f"{name}.txt").write_text("\n\n".join(texts), encoding="utf-8")
    return Studio(StudioOptions(descriptions, folder / "runs", **options))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    studio = small_studio(folder)
    with serving(build_site(studio, HOSTS)) as url:
        yield Site(url, studio, folder)
    studio.close()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("locked")
    studio = small_studio(folder)
    with serving(build_site(studio, HOSTS, LOGIN)) as url:
        yield Site(url, studio, folder)
    studio.close()


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("127.0.0.1", True),
        ("LOCALHOST:{port}", True),
        ("localhost.:{port}", True),
        ("[::1]:{port}", True),
        ("other.example", True),
        ("other.example:9000", True),
        ("studio.example:8443", True),
        ("studio.example", False),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example:{port}", False),
        ("localhost@evil.example", False),
        ("evil.example#localhost", False),
        ("192.168.1.5", False),
        ("", False),
        ("localhost:x", False),
    ],
)
def test_only_names_that_are_served_here_are_answered(site: Site, host: str, served: bool) -> None:
    port = site.host.rpartition(":")[2]
    for method, path in (("GET", ""), ("POST", "gradio_api/queue/join"), ("GET", "config")):
        status = site.ask(method, path, host=host.format(port=port)).status_code
        assert (status != 421) is served, (method, path)


def test_where_all_addresses_are_listened_on_the_one_connected_to_is_a_name() -> None:
    everywhere = Hosts("0.0.0.0")
    assert everywhere.serve("192.168.1.5:7860", "192.168.1.5")
    assert not everywhere.serve("192.168.1.6:7860", "192.168.1.5")
    assert not everywhere.serve("evil.example", "192.168.1.5")
    assert Hosts("box.lan").serve("box.lan:7860", "192.168.1.5")


@pytest.mark.parametrize(
    ("origin", "site_of", "taken"),
    [
        (None, None, True),
        ("http://{host}", "same-origin", True),
        ("http://{host}", None, True),
        ("http://127.0.0.1:9", "same-site", False),
        ("http://127.0.0.1:9", None, False),
        ("http://localhost:{port}", None, False),
        ("https://evil.example", "cross-site", False),
        ("null", None, False),
        ("file://", None, False),
        ("", None, False),
        ("http://{host}.evil.example", None, False),
        ("https://studio.example:8443", "same-origin", True),
        (None, "cross-site", False),
        (None, "same-site", False),
        (None, "none", True),
    ],
)
def test_what_changes_something_comes_from_our_page_or_from_a_program(
    site: Site, origin: str | None, site_of: str | None, taken: bool
) -> None:
    port = site.host.rpartition(":")[2]
    headers = {"sec_fetch_site": site_of} if site_of else {}
    if origin is not None:
        headers["origin"] = origin.format(host=site.host, port=port)
    paths = ("gradio_api/queue/join", "gradio_api/component_server", "gradio_api/upload", "login")
    for path in paths:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            answer = site.ask(method, path, **headers)
            assert (answer.status_code != 403) is taken, (method, path, answer.text)


def test_no_answer_lets_another_site_read_or_frame_it(site: Site) -> None:
    wanted = {"access_control_request_method": "POST", "access_control_request_headers": "x"}
    for method, path in (("GET", ""), ("GET", "config"), ("OPTIONS", "config"), ("POST", "x")):
        for origin in ("http://127.0.0.1:9", "https://evil.example", "null", f"http://{site.host}"):
            answer = site.ask(method, path, origin=origin, **wanted)
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"


@pytest.mark.parametrize(
    ("mode", "status"), [("navigate", 200), ("no-cors", 403), ("cors", 403), ("websocket", 403)]
)
def test_other_sites_may_link_to_the_page_and_embed_nothing(
    site: Site, mode: str, status: int
) -> None:
    for site_of in ("cross-site", "same-site"):
        answer = site.ask("GET", "", sec_fetch_site=site_of, sec_fetch_mode=mode)
        assert answer.status_code == status


def test_a_body_that_is_too_long_is_refused_before_it_is_read(site: Site) -> None:
    connection = http.client.HTTPConnection(site.host, timeout=20)
    connection.putrequest("POST", "/gradio_api/queue/join")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    refused = connection.getresponse()
    assert refused.status == 413
    assert b"80,000,000 bytes" in refused.read()


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=http://127.0.0.1:9/x",
        "gradio_api/file=HTTPS://example.org/x",
        "gradio_api/file={folder}/secret.txt",
        "gradio_api/file={folder}/descriptions/calm.txt",
        "gradio_api/file={folder}/runs/../secret.txt",
        "gradio_api/file=pyproject.toml",
        "gradio_api/file/etc/passwd",
        "gradio_api/proxy=https://x.hf.space/",
        "gradio_api/runs",
        "gradio_api/token",
        "gradio_api/deep_link?session_hash=a",
        "gradio_api/dev/reload",
        "gradio_api/stream/a/b/1/playlist-file",
        "gradio_api/custom_component/textbox/server/a/b.js",
        "gradio_api/vibe-code",
        "monitoring",
        "monitoring/summary",
        "docs",
        "openapi.json",
        "static/../../routes.py",
        "static/%2e%2e/%2e%2e/routes.py",
        "assets/%2e%2e/%2e%2e/%2e%2e/routes.py",
        "svelte/..%2f..%2froutes.py",
        "%2fetc/passwd",
        "gradio_api/queue/../runs",
    ],
)
def test_nothing_else_of_the_disk_or_of_gradio_is_reached(site: Site, path: str) -> None:
    (site.folder / "secret.txt").write_text("a secret")
    answer = httpx.get(site.url + path.format(folder=site.folder))
    assert answer.status_code in (403, 404), answer.text[:200]
    assert "a secret" not in answer.text


def test_the_parts_of_the_page_are_reached(site: Site) -> None:
    from readout_ui.app.assets import STATIC

    page = httpx.get(site.url).text
    for path in (
        "config",
        "theme.css",
        f"gradio_api/file={STATIC}/read/chat.js",
        "gradio_api/info",
    ):
        assert httpx.get(site.url + path).status_code == 200, path
    assert "Readout Studio" in page


def test_an_upload_stays_in_its_folder_and_no_other_path_passes_for_one(site: Site) -> None:
    sent = {"files": ("../../../secret.sh", b"text,label\n", "text/csv")}
    [uploaded] = httpx.post(f"{site.url}gradio_api/upload", files=sent).json()
    assert "readout" in uploaded or "gradio" in uploaded
    assert ".." not in uploaded
    secret = site.folder / "secret.txt"
    secret.write_text("a secret")
    config = httpx.get(f"{site.url}config").json()
    files = {one["id"] for one in config["components"] if one["type"] in ("file", "uploadbutton")}
    events = [one for one in config["dependencies"] if files & set(one["inputs"])]
    assert events
    for path in (str(secret), f"{site.url}theme.css"):  # an address of this machine is none either
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        for event in events if path == str(secret) else events[:1]:
            given = [file if each in files else None for each in event["inputs"]]
            for data in (given, [[one] if one else None for one in given]):
                said = called(site, event["id"], data)
                assert "a secret" not in said
                assert '"success":false' in said.replace(" ", "")


def called(site: Site, event: int, data: list[Any]) -> str:
    """What an event of the page's config answers, called as a program would."""
    body = {"data": data, "fn_index": event, "session_hash": f"s{event}-{time.monotonic_ns()}"}
    httpx.post(f"{site.url}gradio_api/queue/join", json=body).raise_for_status()
    address = f"{site.url}gradio_api/queue/data?session_hash={body['session_hash']}"
    with httpx.stream("GET", address, timeout=60) as stream:
        return next(line for line in stream.iter_lines() if "process_completed" in line)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "config"),
        ("GET", "theme.css"),
        ("GET", "assets/index.js"),
        ("GET", "gradio_api/info"),
        ("POST", "gradio_api/cancel"),
        ("POST", "gradio_api/reset"),
        ("POST", "gradio_api/queue/join"),
        ("POST", "gradio_api/upload"),
        ("GET", "gradio_api/heartbeat/a"),
        ("GET", "gradio_api/queue/data?session_hash=a"),
        ("GET", "gradio_api/startup-events"),
        ("POST", "gradio_api/call/read_text"),
    ],
)
def test_nothing_is_answered_before_the_login(locked: Site, method: str, path: str) -> None:
    assert locked.ask(method, path).status_code == 401
    assert locked.ask(method, path, cookie="readout-1=a; access-token-1=b").status_code == 401


def test_programs_log_in_with_the_form_or_with_every_request(locked: Site) -> None:
    client = Client(locked.url, auth=LOGIN, verbose=False)
    assert client.predict(api_name="/list_concepts")["concepts"]
    pair = base64.b64encode(":".join(LOGIN).encode()).decode()
    assert locked.ask("GET", "config", authorization=f"Basic {pair}").status_code == 200


def test_a_browser_gets_a_page_to_log_in_and_leaves_with_log_out(locked: Site) -> None:
    accept = {"accept": "text/html"}
    with httpx.Client(base_url=locked.url, headers=accept, follow_redirects=True) as browser:
        assert '<form method="post" action="login">' in browser.get("/").text
        form = {"username": LOGIN[0], "password": LOGIN[1]}
        assert "window.gradio_config" in browser.post("/login", data=form).text
        assert browser.get("/config").status_code == 200
        assert browser.get("/logout").status_code == 401


@pytest.mark.parametrize("content", [b"a=&" * 5000, iter([b"a=&" * 2500] * 2)])
def test_a_long_form_is_refused_whether_it_says_its_length_or_not(
    locked: Site, content: bytes | Iterator[bytes]
) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = httpx.post(f"{locked.url}login", content=content, headers=form)
    assert answer.status_code == 413
    assert "10,000 bytes" in answer.text


def test_wrong_guesses_take_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("readout_ui.inference.gate.time.monotonic", lambda: now[0])
    guesses, waits = Guesses(), []
    for _ in range(12):
        guesses.wrong("a")
        start = now[0]
        while True:
            try:
                guesses.refuse_early("a")
                break
            except HTTPException as refusal:
                now[0] += 0.5
                said = refusal.detail
        assert "try again in" in said
        waits.append(now[0] - start)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    guesses.wrong("a")
    guesses.refuse_early("b")  # others do not wait
    now[0] += 4000
    guesses.wrong("a")
    now[0] += 1
    guesses.refuse_early("a")  # what is an hour ago counts no more


def test_while_one_has_to_wait_even_the_right_password_is_refused(
    tmp_path: Path, studio: Studio
) -> None:
    with serving(build_site(studio, HOSTS, LOGIN)) as url:
        wrong = {"username": "anna", "password": "guess"}
        assert httpx.post(f"{url}login", data=wrong).status_code == 401
        right = {"username": LOGIN[0], "password": LOGIN[1]}
        elsewhere = {"x-forwarded-for": "203.0.113.7", "forwarded": "for=203.0.113.7"}
        early = httpx.post(f"{url}login", data=right, headers=elsewhere)
        assert early.status_code == 429
        assert early.headers["retry-after"] == "1"
        time.sleep(1.05)
        assert httpx.post(f"{url}login", data=right).json() == {"success": True}


def test_the_login_comes_from_the_flag_the_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text("anna:pass:word\n")
    known = {"READOUT_AUTH": "eva:x"}
    assert read_login("a:b", file, known) == ("a", "b")
    assert read_login(None, file, known) == ("anna", "pass:word")
    assert read_login(None, None, known) == ("eva", "x")
    assert read_login(None, None, {}) is None
    file.write_text("")
    for flag, path in (("secret", None), (None, file)):
        with pytest.raises(UserError, match="write user:password") as refused:
            read_login(flag, path, known)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ([], ""),
        (["--host", "127.0.0.9"], ""),
        (["--host", "0.0.0.0"], "--open"),
        (["--host", "::"], "READOUT_AUTH"),
        (["--host", "box.lan"], "--open"),
        (["--host", "0.0.0.0", "--open"], ""),
        (["--host", "0.0.0.0", "--auth", "a:b"], ""),
        (["--mcp", "--auth", "a:b"], "MCP tools know no login"),
        (["--allowed-host", "a/b"], "--allowed-host"),
    ],
)
def test_nobody_is_let_in_by_mistake(
    arguments: list[str], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("READOUT_AUTH", raising=False)
    if not refused:
        read_access(parse_flags(arguments))
        return
    with pytest.raises(UserError, match=refused):
        read_access(parse_flags(arguments))


def test_the_address_of_its_own_is_one_that_can_be_asked() -> None:
    assert own_address("0.0.0.0", 7860) == "http://localhost:7860/"
    assert own_address("::1", 7860) == "http://[::1]:7860/"
    assert json.dumps(own_address("box.lan", 1)) == '"http://box.lan:1/"'


def test_a_reading_whose_caller_has_gone_is_cancelled(studio: Studio) -> None:
    studio.load_model().result()
    studio.start_training().result()
    with device_taken(studio), serving(build_site(studio, HOSTS)) as url:
        call, asked = f"{url}gradio_api/call/read_text", ["Hi.", "assistant", "z", None, None, 3]
        event = httpx.post(call, json={"data": asked}).json()["event_id"]
        with httpx.stream("GET", f"{call}/{event}", timeout=30):
            reading = until(lambda: studio.worker.latest("read"))
            until(lambda: reading._waiting)
        until(lambda: reading.view().state is JobState.CANCELLED)
        assert [job.kind for job in studio.worker.unfinished()] == ["other"]


@pytest.mark.parametrize(
    ("path", "does", "left"),
    [
        ("/gradio_api/queue/data?session_hash=s1", "ends", []),
        ("/gradio_api/queue/data?session_hash=s1", "hears", ["s1"]),
        ("/gradio_api/queue/data?session_hash=s1", "breaks", ["s1"]),
        ("/gradio_api/heartbeat/s2", "breaks", ["s2"]),
        ("/gradio_api/call/read_text/e3", "hears", ["e3"]),
        ("/gradio_api/call/v2/read_text/e3", "breaks", ["e3"]),
        ("/config", "breaks", []),
    ],
)
def test_a_page_has_gone_when_its_stream_did_not_come_to_its_end(
    path: str, does: str, left: list[str]
) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if does == "breaks":
            raise asyncio.CancelledError
        if does == "hears":  # gradio looks by itself and then ends its answer
            await receive()
        await send({"type": "http.response.body", "body": b""})
        await receive()

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        return None

    told: list[str] = []
    place, _, query = path.partition("?")
    scope = {"type": "http", "method": "GET", "path": place, "query_string": query.encode()}
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(WatchPages(app, told.append)({**scope, "headers": []}, receive, send))
    assert told == left


def until(found: Callable[[], Any]) -> Any:
    """What is found within 20 seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen")
