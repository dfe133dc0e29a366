"""Whether a component is on the page."""

from typing import Literal

HIDDEN: Literal["hidden"] = "hidden"
"""Taken instead of False: gradio 6.17 does not show what was never on the page (`False`) when the
news that it stays away comes first."""


def seen_if(wanted: bool) -> bool | Literal["hidden"]:
    """What `visible` takes."""
    return wanted or HIDDEN
