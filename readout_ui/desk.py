"""What the concept editor needs of the running app."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from readout_ui.errors import UserError
from readout_ui.library import Library

if TYPE_CHECKING:
    from readout_ui.blame import Blame


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


@runtime_checkable
class JudgingDesk(Protocol):
    """A desk that also knows what each text did to the vectors in use; not every desk does."""

    def blame(self, name: str) -> tuple["Blame", ...] | None:
        """Of a concept's texts as they were trained on; None while it is being worked out."""
        ...


def blame_notes(desk: Desk, name: str, boxes: Sequence[str]) -> list[str] | None:
    """One line per box, mostly empty; a text that was edited since the training has none.

    None while the desk is still working it out.
    """
    blames = desk.blame(name) if isinstance(desk, JudgingDesk) else ()
    if blames is None:
        return None
    notes = {one.text.strip(): one.note() for one in blames}
    return [notes.get(text.strip(), "") for text in boxes]


def refuse_if_read_only(desk: Desk, wish: str) -> None:
    """Raise a UserError when nothing may be written."""
    if desk.read_only:
        raise UserError(
            f"cannot {wish}: the app runs read-only", fix="start it without --read-only"
        )
