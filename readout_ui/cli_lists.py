"""What `readout-ui models` and `readout-ui cache` print."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from readout_ui.places import cache_folder
from readout_ui.terminal import as_json, size_text, table

if TYPE_CHECKING:
    from readout_ui.cache import CacheSummary


def models_report(json: bool) -> str:
    """The models on this machine."""
    from readout_ui.known_models import known_models

    models = known_models()
    if json:
        return as_json({"models": [asdict(model) for model in models]})
    cells = [(m.name, m.source, m.note, size_text(m.bytes)) for m in models]
    return table(("model", "source", "state", "size"), cells, left=3)


def cache_report(clear: bool, json: bool) -> str:
    """What the activation cache holds, after it was emptied where that was asked for."""
    from readout_ui.cache import ActivationCache

    cache = ActivationCache(cache_folder() / "activations")
    try:
        before = cache.summary()
        if clear:
            cache.clear()
        summary = cache.summary()
    finally:
        cache.close()
    if json:
        return as_json({**asdict(summary), "path": str(summary.path)})
    freed = f"Forgot {before.entries} texts ({size_text(before.bytes)}).\n" if clear else ""
    return freed + cache_text(summary)


def cache_text(summary: CacheSummary) -> str:
    """What the cache holds, per model."""
    total = (
        f"{summary.entries} texts, {size_text(summary.bytes)} of at most "
        f"{size_text(summary.max_bytes)}, in {summary.path}"
    )
    rows = [(share.model, str(share.entries), size_text(share.bytes)) for share in summary.models]
    return f"{table(('model', 'texts', 'size'), rows)}\n{total}" if rows else total
