"""A pretend OpenAI-compatible endpoint on the loopback, which answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class PretendEndpoint:
    """What it answers, and what it was asked."""

    answers: Sequence[str]
    """One per call; the last one again and again."""
    streams: bool = True
    status: int = 200
    pause: threading.Event | None = None
    """Waited for after the first piece of an answer."""
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def next_answer(self) -> str:
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@contextmanager
def pretend_endpoint(*answers: str, **how: Any) -> Iterator[PretendEndpoint]:
    """An endpoint that runs as long as the block."""
    endpoint = PretendEndpoint(answers, **how)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send("application/json", json.dumps({"data": [{"id": "org/pretend-1"}]}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            endpoint.asked.append(json.loads(body))
            endpoint.keys.append(self.headers.get("authorization", ""))
            if endpoint.status != 200:
                self._send("application/json", '{"error": "no such key"}', endpoint.status)
            elif endpoint.streams:
                self._stream(endpoint.next_answer())
            else:
                message = {"message": {"content": endpoint.next_answer()}}
                self._send("application/json", json.dumps({"choices": [message]}, indent=1))

        def _send(self, kind: str, text: str, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def _stream(self, text: str) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for piece in text.splitlines(keepends=True):
                delta = {"choices": [{"delta": {"content": piece}}]}
                self.wfile.write(f"data: {json.dumps(delta)}\n\n".encode())
                self.wfile.flush()
                if endpoint.pause is not None:
                    endpoint.pause.wait(20)
            self.wfile.write(b"data: [DONE]\n\n")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield endpoint
    finally:
        if endpoint.pause is not None:
            endpoint.pause.set()
        server.shutdown()
        server.server_close()
