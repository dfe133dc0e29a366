"""The Live tab: a chat whose every token is read out while the model speaks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from readout_ui.sampling import Sampling
from readout_ui.tabs.live_calls import live_calls
from readout_ui.views.colours import ABOVE, BELOW, ROBUST_QUANTILE, STRIP_STRENGTH
from readout_ui.views.grids import UNITS

if TYPE_CHECKING:
    from readout_ui.studio import Studio

SCRIPTS = (
    "dom.js",
    "live_order.js",
    "live_scores.js",
    "live_store.js",
    "live_settings.js",
    "live_chat.js",
    "live_bars.js",
    "live_map.js",
    "live_start.js",
)


@dataclass(frozen=True, eq=False)
class LiveTab:
    """What other tabs may listen to."""

    page: gr.HTML
    """The whole tab in one component; it asks the server by itself what is new."""


def build_live_tab(studio: Studio) -> LiveTab:
    """Lay out the tab inside the Blocks that are being built."""
    return LiveTab(
        gr.HTML(
            html_template=f'<div class="rs-live" data-look="{escape(page_constants())}"></div>',
            js_on_load=live_script(),
            apply_default_css=False,
            container=False,
            padding=False,
            elem_id="live-page",
            server_functions=live_calls(studio),
        )
    )


def page_constants() -> str:
    """Colours, units and default settings for the page's script, as JSON."""
    return json.dumps(
        {
            "above": ABOVE,
            "below": BELOW,
            "quantile": ROBUST_QUANTILE,
            "strength": STRIP_STRENGTH,
            "units": {kind: UNITS[kind] for kind in ("z", "cosine")},
            "sampling": asdict(Sampling()),
        }
    )


def live_script() -> str:
    """The page's script: the files beside this one, in order, in one scope."""
    here = Path(__file__).parent
    parts = [(here / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return "'use strict';\n" + "\n".join(parts)
