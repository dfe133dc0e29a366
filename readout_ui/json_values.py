"""Values as JSON can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def json_values(value: Any) -> Any:
    """The same dicts, lists and numbers; what is no finite number becomes None, JSON's null.

    Too few texts leave a number open (NaN) or an interval without an end (infinite): JSON has
    neither, and programs in other languages refuse a file with them.
    """
    if isinstance(value, Mapping):
        return {name: json_values(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
