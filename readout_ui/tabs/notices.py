"""What stands in the way of a tab that judges, as HTML."""

from __future__ import annotations

from html import escape

from readout_ui.errors import UserError

NO_RUN = UserError("there are no vectors to judge yet", fix="press Train first")


def draw_notice(error: UserError | None) -> str:
    """What stands in the way and what to do about it; empty without an error."""
    if error is None:
        return ""
    sentence = str(error)
    return f"<p class='empty'>{escape(sentence[:1].upper() + sentence[1:])}</p>"
