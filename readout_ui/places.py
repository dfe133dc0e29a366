"""Where Readout Studio keeps what it can make again: converted weights and cached activations."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """The user's cache folder, or `$READOUT_UI_CACHE` where that is set."""
    chosen = os.environ.get("READOUT_UI_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("readout-ui", appauthor=False)
