"""Row labels of a heatmap as HTML, which stay in sight while the heatmap scrolls sideways."""

from html import escape

from readout_ui.views.heatmap import Grid


def draw_row_labels(grid: Grid, *, clickable: bool) -> str:
    """One line per row at exactly its height; buttons with `data-concept` where `clickable`."""
    geometry = grid.geometry
    lines = "".join(_line(row, geometry.row_height, clickable) for row in grid.rows)
    style = f"width:{geometry.left}px;height:{geometry.height}px;padding-top:{geometry.first_row}px"
    return f'<div class="row-labels" style="{style}">{lines}</div>'


def _line(row: str, height: int, clickable: bool) -> str:
    name = escape(row)
    style = f"height:{height}px;line-height:{height}px"
    if not clickable:
        return f'<span style="{style}" title="{name}">{name}</span>'
    title = f"Colour the text by {name}"
    return (
        f'<button type="button" style="{style}" data-concept="{name}" title="{title}">'
        f"{name}</button>"
    )
