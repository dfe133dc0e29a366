"""Labels of a heatmap as HTML: rows that stay in sight while it scrolls, tokens above it."""

from html import escape

from readout_ui.views.colours import ROLE_LETTERS, ROLE_NAMES
from readout_ui.views.grids import BAND_HEIGHT, Grid, cut_label


def draw_row_labels(grid: Grid, *, clickable: bool) -> str:
    """One line per row at exactly its height; buttons with `data-concept` where `clickable`."""
    geometry = grid.geometry
    lines = "".join(_line(row, geometry.row_height, clickable) for row in grid.rows)
    style = f"width:{geometry.left}px;height:{geometry.height}px;padding-top:{geometry.first_row}px"
    return f'<div class="row-labels" style="{style}">{lines}</div>'


def draw_token_labels(grid: Grid) -> str:
    """One column per token at exactly its width: the token upright, its role's letter below."""
    geometry = grid.geometry
    columns = "".join(
        _column(token, role) for token, role in zip(grid.tokens, grid.roles, strict=True)
    )
    style = (
        f"left:{geometry.left}px;grid-auto-columns:{geometry.cell_width}px;"
        f"grid-template-rows:{geometry.top}px {BAND_HEIGHT}px"
    )
    return f'<div class="token-labels" style="{style}">{columns}</div>'


def _column(token: str, role: str) -> str:
    return (
        f'<span title="{escape(token)}">{escape(cut_label(token))}</span>'
        f'<i title="{ROLE_NAMES[role]}">{ROLE_LETTERS[role]}</i>'
    )


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
