"""The export that this process serves, read once, and what requests ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from readout_vllm.asks import Ask, ask_of
from readout_vllm.export import Export, load_export
from readout_vllm.settings import Settings


@cache
def export_of(settings: Settings) -> Export:
    """The export that the settings name.

    Raises:
        ReadoutError: it does not load.
    """
    return load_export(settings.vectors, settings.manifest)


def asked(extra: Mapping[str, Any] | None, settings: Settings) -> Ask | None:
    """What a request's `extra_args` ask of the served export, None for nothing.

    Raises:
        ReadoutError: an unknown key or a value that does not fit.
    """
    export = export_of(settings)
    return ask_of(extra, export.concepts, export.neutral_mean is not None, settings.always)
