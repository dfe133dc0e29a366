"""Whether a component is on the page."""

from typing import Literal

import gradio as gr
from packaging.version import Version

HIDDEN: bool | Literal["hidden"] = "hidden" if Version(gr.__version__) < Version("6.18") else False
"""How a component stays away. gradio 6.17, which the plain lane has, never shows what was not on
the page (`False`) where the first news of it is that it stays away; 6.31 shows "hidden" columns."""


def seen_if(wanted: bool) -> bool | Literal["hidden"]:
    """What `visible` takes."""
    return wanted or HIDDEN
