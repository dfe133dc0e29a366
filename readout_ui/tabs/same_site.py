"""Refuse what other websites make a visitor's browser send to the app.

Gradio parses JSON bodies of any content type, so a page elsewhere could post to a local app without
the browser asking first. Browsers mark such requests with `Sec-Fetch-Site: cross-site`.
"""

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class RefuseCrossSite:
    """ASGI middleware that answers 403 to requests of other sites that could change something."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = dict(scope["headers"])
            if headers.get(b"sec-fetch-site") == b"cross-site":
                await PlainTextResponse("Refused: sent by another site.", 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


SAME_SITE = Middleware(RefuseCrossSite)
