"""Judging vectors: texts by other writers, cross-talk, layers, influence of texts, advice.

Results are numpy with `.to_frame()` for pandas; nothing is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from readout_ui.evaluation.judging import advise, compare_layers, crosstalk, evaluate

__all__ = ["advise", "compare_layers", "crosstalk", "evaluate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module("readout_ui.evaluation.judging"), name)
