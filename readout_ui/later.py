"""An answer that is worked out in the background while callers go on without it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError
from typing import Generic, TypeVar

from readout_ui.errors import UserError
from readout_ui.progress import Cancelled

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class Later(Generic[Result]):
    """The newest answer to one question; asked anew when what it depends on changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: Hashable = None
        self._answers: dict[Hashable, Result | None] = {}

    def answer(self, key: Hashable, work: Callable[[], Result]) -> tuple[bool, Result | None]:
        """Whether the answer is there, and the answer, None where it could not be found.

        The first call with a key starts the work; none of them waits for it.

        Args:
            key: everything the answer depends on.
            work: finds it; a UserError or a cancelled job means that there is none.
        """
        with self._lock:
            if key != self._key:
                self._key, self._answers = key, {}
                threading.Thread(target=self._find, args=(key, work), daemon=True).start()
            return key in self._answers, self._answers.get(key)

    def _find(self, key: Hashable, work: Callable[[], Result]) -> None:
        found = None
        try:
            found = work()
        except (UserError, Cancelled, CancelledError) as error:
            _log.info("No answer: %s", error)
        finally:
            with self._lock:
                if key == self._key:
                    self._answers = {key: found}
