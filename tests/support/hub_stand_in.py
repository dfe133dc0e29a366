"""A stand-in for the hub, which has the shape of its answers and keeps what it is asked."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_standin"
COMMIT = "c" * 40


@dataclass
class StandIn:
    """What it holds and what it was asked; `refusals` answers a path with a status instead."""

    url: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    cards: list[str] = field(default_factory=list)


@contextmanager
def hub_stand_in() -> Iterator[StandIn]:
    """Serve one on a free port of this machine."""
    hub = StandIn()

    class Handler(_Handler):
        held = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    held: StandIn

    def do_POST(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def log_message(self, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        path = self.path.split("?")[0]
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.held.requests.append(f"{self.command} {path}")
        for part, (status, message) in self.held.refusals.items():
            if part in path:
                self._answer({"error": message}, status)
                return
        signed = path.startswith("/upload/")  # a storage address has its own signature
        if not signed and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid credentials in Authorization header"}, 401)
            return
        if path == "/api/repos/create":
            self._create(json.loads(raw))
        elif path == "/api/validate-yaml":
            self.held.cards.append(json.loads(raw)["content"])
            self._answer({"errors": [], "warnings": []})
        elif signed:
            self.held.uploaded[path.removeprefix("/upload/")] = raw
            self._answer({})
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(raw))
        elif path.startswith("/api/models/"):
            self._model(path.removeprefix("/api/models/"), raw)
        else:
            self._answer({"error": f"no {path}"}, 404)

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.held.private:
            self._answer({"error": "You already created this model repo"}, 409)
            return
        private = asked.get("private", asked.get("visibility") == "private")
        self.held.private[name] = bool(private)
        self.held.files[name] = {".gitattributes": b""}
        self._answer({"url": f"{self.held.url}/{name}", "name": name})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.held.url}/upload/{one['oid']}"}}}
            for one in asked["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _model(self, path: str, raw: bytes) -> None:
        name, _, rest = "/".join(path.split("/")[:2]), None, "/".join(path.split("/")[2:])
        if name not in self.held.private:
            self._answer({"error": "Repository not found"}, 404)
        elif rest == "preupload/main":
            self._answer({"files": [_mode(one) for one in json.loads(raw)["files"]]})
        elif rest == "commit/main":
            self._commit(name, [json.loads(line) for line in raw.decode().splitlines()])
        else:
            siblings = [{"rfilename": file} for file in self.held.files[name]]
            known = {"id": name, "sha": COMMIT, "private": self.held.private[name]}
            self._answer({**known, "siblings": siblings})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        files = self.held.files[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.held.uploaded[value["oid"]]
        self.held.commits.append({"name": name, "lines": lines})
        url = f"{self.held.url}/{name}/commit/{COMMIT}"
        self._answer({"success": True, "commitOid": COMMIT, "commitUrl": url})

    def _answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", hashlib.md5(data).hexdigest())
        self.end_headers()
        self.wfile.write(data)


def _mode(asked: dict[str, Any]) -> dict[str, Any]:
    large = asked["path"].endswith((".safetensors", ".npz", ".gguf"))
    mode = {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}
    return {"path": asked["path"], **mode}
