"""What the concept editor needs of the running app."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from readout_ui.errors import UserError
from readout_ui.library import Library


class Desk(Protocol):
    """What the editor needs of the running app; `Studio` is one."""

    @property
    def folder(self) -> Path:
        """The description folder."""
        ...

    @property
    def read_only(self) -> bool:
        """True when nothing may be written."""
        ...

    def library(self) -> Library:
        """What is on disk now."""
        ...

    def concept_states(self) -> dict[str, str]:
        """Name to "new", "edited", "trained", "empty" or "problem"."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """Tokens of each text; None while no model is loaded."""
        ...


def refuse_if_read_only(desk: Desk, wish: str) -> None:
    """Raise a UserError when nothing may be written."""
    if desk.read_only:
        raise UserError(
            f"cannot {wish}: the app runs read-only", fix="start it without --read-only"
        )
