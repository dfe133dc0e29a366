"""The export that this process serves, read once."""

from __future__ import annotations

from functools import cache

from readout_vllm.export import Export, load_export
from readout_vllm.settings import Settings


@cache
def export_of(settings: Settings) -> Export:
    """The export that the settings name.

    Raises:
        ReadoutError: it does not load.
    """
    return load_export(settings.vectors, settings.manifest)
