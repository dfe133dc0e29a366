"""Readout Studio: write descriptions, fit concept directions, read them out token by token.

    import readout_ui as ro

    readout = ro.train(ro.Library("descriptions"), ro.load_model())
    readout.read("I did not expect to see you here!").to_frame(layer=readout.best_layer)

Importing this loads none of its rooms: each name comes with its first use, so torch does too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from readout_ui import plots
    from readout_ui.activations.extract import extract_activations
    from readout_ui.activations.pooling import READ_RULES
    from readout_ui.errors import UserError
    from readout_ui.evaluation.public import Readout, load, load_model, train
    from readout_ui.inference.reading import Reading
    from readout_ui.inference.steering_setup import Steer, SteeringSetup
    from readout_ui.models.loading import ModelSpec
    from readout_ui.progress import Cancelled
    from readout_ui.runs.run import Run
    from readout_ui.texts.library import Concept, Library
    from readout_ui.texts.sources import examples, pairs, stories
    from readout_ui.vectors.methods import METHODS
    from readout_ui.vectors.settings import TrainSettings
    from readout_ui.vectors.training import extract, fit
    from readout_ui.vectors.vectors import ConceptVectors, calibrate

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "READ_RULES",
    "Cancelled",
    "Concept",
    "ConceptVectors",
    "Library",
    "ModelSpec",
    "Reading",
    "Readout",
    "Run",
    "Steer",
    "SteeringSetup",
    "TrainSettings",
    "UserError",
    "__version__",
    "calibrate",
    "examples",
    "extract",
    "extract_activations",
    "fit",
    "load",
    "load_model",
    "pairs",
    "plots",
    "stories",
    "train",
]

_MODULES = {
    "activations.extract": ("extract_activations",),
    "activations.pooling": ("READ_RULES",),
    "errors": ("UserError",),
    "evaluation.public": ("Readout", "load", "load_model", "train"),
    "inference.reading": ("Reading",),
    "inference.steering_setup": ("Steer", "SteeringSetup"),
    "models.loading": ("ModelSpec",),
    "progress": ("Cancelled",),
    "runs.run": ("Run",),
    "texts.library": ("Concept", "Library"),
    "texts.sources": ("examples", "pairs", "stories"),
    "vectors.methods": ("METHODS",),
    "vectors.settings": ("TrainSettings",),
    "vectors.training": ("extract", "fit"),
    "vectors.vectors": ("ConceptVectors", "calibrate"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """The public name, from the room it lives in."""
    if name == "plots":
        return import_module("readout_ui.plots")
    if name not in _HOME:
        raise AttributeError(f"module 'readout_ui' has no attribute {name!r}")
    value = getattr(import_module(f"readout_ui.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
