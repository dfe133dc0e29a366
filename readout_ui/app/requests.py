"""What a page may ask the server, checked, and answered with JSON and never a traceback."""

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from readout_ui.errors import UserError

Answer = dict[str, Any]
Call = Callable[..., Answer]
R = TypeVar("R", bound="Request")


class Request(BaseModel):
    """What a page may send: nothing it was not asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Nothing(Request):
    """A question without details."""


class Named(Request):
    """A question about one concept."""

    name: str = Field(max_length=1000)


class SentFile(Request):
    """A file of at most 20 MB as a page sends it."""

    file_name: str = Field(max_length=1_000)
    content: str = Field(max_length=28_000_000)
    """Base64."""


def answering(name: str, request: type[R], handle: Callable[[R], Answer]) -> Call:
    """A server function of that name that checks what it is sent and answers with JSON.

    A page of another site can make a browser send a request to this app (it cannot read the
    answer); browsers mark such requests, and they are refused.
    """

    def call(data: object, sender: gr.Request | None = None) -> Answer:
        if sender is not None and sender.headers.get("sec-fetch-site") == "cross-site":
            return {"ok": False, "message": "Only the app's own page may ask this."}
        try:
            return {"ok": True, **handle(request.model_validate(data))}
        except ValidationError:
            return {"ok": False, "message": "The page and the app disagree; reload the page."}
        except UserError as error:
            return {"ok": False, "message": str(error)}

    call.__name__ = name
    return call


def decoded(content: str) -> bytes:
    """A file that a page sent in base64.

    Raises:
        UserError: it is cut off or no base64.
    """
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        raise UserError("the file did not arrive whole", fix="choose it again") from None
