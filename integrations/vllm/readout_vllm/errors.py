"""The one error of this package: a sentence for the operator or the client."""

from __future__ import annotations


class ReadoutError(ValueError):
    """What is wrong and what to do.

    A ValueError, so that vLLM answers a request with status 400.
    """
