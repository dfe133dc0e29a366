"""A heatmap that the page paints, moves and zooms by itself, for texts of any length."""

from pathlib import Path

import gradio as gr

SCRIPTS = ("map_data.js", "map_paint.js", "map_view.js")
_HERE = Path(__file__).parent


def build_score_map(elem_id: str, group: str = "") -> gr.HTML:
    """An empty map; its value is what `views.score_map.pack_map` gives, "" hides it.

    It triggers `select` with `concept` (a row label was clicked) or `middle` (a token outside the
    stretch that was sent).

    Args:
        elem_id: its id on the page.
        group: maps of one group move and zoom together.
    """
    return gr.HTML(
        "",
        # Without the value in it, the page never parses megabytes as HTML.
        html_template=f'<div class="score-map" data-group="{group}"></div>',
        js_on_load="\n".join((_HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
        elem_id=elem_id,
    )
