"""Requests that other websites make a browser send."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from readout_ui.app.events import SAME_SITE


async def answer(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("done")


@pytest.fixture
def client() -> TestClient:
    route = Route("/", answer, methods=["GET", "POST"])
    return TestClient(Starlette(routes=[route], middleware=[SAME_SITE]))


@pytest.mark.parametrize(
    ("method", "site", "status"),
    [
        ("POST", "cross-site", 403),
        ("POST", "same-origin", 200),
        ("POST", None, 200),
        ("GET", "cross-site", 200),
    ],
)
def test_only_writes_from_another_site_are_refused(
    client: TestClient, method: str, site: str | None, status: int
) -> None:
    headers = {"sec-fetch-site": site} if site else {}
    assert client.request(method, "/", headers=headers).status_code == status
