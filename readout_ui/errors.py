"""The one error a person can fix: what is wrong, where, what to do and which options exist."""

from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend; every front end prints its text and nothing else.

    Args:
        what: what is wrong, as a clause without a final full stop.
        where: file, concept or line it concerns.
        fix: what to do about it.
        options: the values that would have been accepted.
    """

    def __init__(
        self, what: str, *, where: str = "", fix: str = "", options: Iterable[str] = ()
    ) -> None:
        self.what = what
        self.where = where
        self.fix = fix
        self.options = tuple(options)
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """All parts as one line of plain text."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.fix:
            text += f"; {self.fix}"
        if self.options:
            text += f" (options: {', '.join(self.options)})"
        return text.rstrip(".") + "."
