"""transformers without bars and advice on the terminal while we load something ourselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Only errors, no progress bars; both as before afterwards."""
    from transformers.utils import logging

    control: Any = logging
    level, had_bars = control.get_verbosity(), control.is_progress_bar_enabled()
    control.set_verbosity_error()
    control.disable_progress_bar()
    try:
        yield
    finally:
        control.set_verbosity(level)
        if had_bars:
            control.enable_progress_bar()
