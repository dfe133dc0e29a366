"""Concept vectors: one unit direction per concept and layer, with what is needed to read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.methods import METHODS, Method, neutral_center
from readout_ui.pairs import PairSettings, TextGroups, sample_pairs
from readout_ui.probes import Probes

__all__ = [
    "METHODS",
    "ConceptVectors",
    "Method",
    "PairSettings",
    "TextGroups",
    "neutral_center",
    "resolve_layers",
    "sample_pairs",
]

_LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class ConceptVectors:
    """Directions of concepts at layers, and the constants that turn projections into scores."""

    concepts: tuple[str, ...]
    """Concept names, in the order of every tensor's concept axis."""
    layers: tuple[int, ...]
    """Layer indices of the model, never negative, in the order of every tensor's layer axis."""
    directions: Tensor
    """(n_concepts, n_layers, d_model), float32; unit length, or zero where a layer cannot tell
    the concept's texts from the others."""
    center: Tensor
    """(n_layers, d_model), float32: mean neutral activation, taken off for the cosine score."""
    neutral_mean: Tensor
    """(n_concepts, n_layers): mean raw dot product over neutral tokens."""
    neutral_std: Tensor
    """(n_concepts, n_layers): its standard deviation, above zero."""
    probes: Probes | None = None
    """Texts with their scores, by which a server can be checked; None in older files."""

    def __post_init__(self) -> None:
        self._check_names()
        self._check_shapes()
        self._check_values()

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.directions.shape[2]

    def select(
        self, concepts: Sequence[str] | None = None, layers: Sequence[int] | None = None
    ) -> "ConceptVectors":
        """Only these concepts and layers, in this order; None keeps all.

        Raises:
            UserError: one of them is not among the trained ones, which are listed.
        """
        kept_concepts = self.concepts if concepts is None else tuple(concepts)
        kept_layers = self.layers if layers is None else tuple(layers)
        rows = _positions(kept_concepts, self.concepts, "concept")
        columns = _positions(kept_layers, self.layers, "layer")
        return ConceptVectors(
            concepts=kept_concepts,
            layers=kept_layers,
            directions=self.directions[rows][:, columns],
            center=self.center[columns],
            neutral_mean=self.neutral_mean[rows][:, columns],
            neutral_std=self.neutral_std[rows][:, columns],
            probes=self.probes and self.probes.select(rows, columns),
        )

    def _check_names(self) -> None:
        if not self.concepts or len(set(self.concepts)) != len(self.concepts):
            raise ValueError(f"concepts must be some and different: {self.concepts}")
        if not self.layers or len(set(self.layers)) != len(self.layers) or min(self.layers) < 0:
            raise ValueError(f"layers must be some, different and not negative: {self.layers}")

    def _check_shapes(self) -> None:
        if self.directions.ndim != 3:
            raise ValueError(f"directions has shape {tuple(self.directions.shape)}, not 3 axes")
        n_concepts, n_layers, d_model = len(self.concepts), len(self.layers), self.d_model
        expected = {
            "directions": (n_concepts, n_layers, d_model),
            "center": (n_layers, d_model),
            "neutral_mean": (n_concepts, n_layers),
            "neutral_std": (n_concepts, n_layers),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, expected {shape}")
        if self.probes and tuple(self.probes.scores.shape[1:]) != (n_concepts, n_layers):
            raise ValueError(f"probes are scored as {tuple(self.probes.scores.shape[1:])}")

    def _check_values(self) -> None:
        for name in ("directions", "center", "neutral_mean", "neutral_std"):
            if not torch.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} holds values that are not finite")
        lengths = self.directions.float().norm(dim=2)  # (n_concepts, n_layers)
        if ((lengths != 0) & ((lengths - 1).abs() > _LENGTH_TOLERANCE)).any():
            raise ValueError(f"directions have lengths from {lengths.min()} to {lengths.max()}")
        if (self.neutral_std <= 0).any():
            raise ValueError("neutral_std must be above zero")


def resolve_layers(spec: str, n_layers: int, auto: Sequence[int] = ()) -> tuple[int, ...]:
    """Layer indices that `spec` names, ascending, each once.

    Args:
        spec: "all", "auto" (the layers in `auto`) or numbers such as "14,22" or "-1", where
            negative ones count from the last layer.
        n_layers: how many layers the model has.
        auto: what "auto" stands for.

    Raises:
        UserError: a part of it is no layer of this model; the valid range is named.
    """
    word = spec.strip().lower()
    if word == "all":
        return tuple(range(n_layers))
    if word == "auto":
        return tuple(sorted(set(auto)))
    return tuple(sorted({_resolve_layer(part, n_layers) for part in word.split(",")}))


def _resolve_layer(part: str, n_layers: int) -> int:
    number = part.strip()
    digits = number.removeprefix("-")
    # Longer numbers are no layers, and int() refuses to read absurdly long ones.
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise _no_such_layer(f"{number[:20]!r} is not a layer", n_layers)
    layer = int(number)
    if not -n_layers <= layer < n_layers:
        raise _no_such_layer(f"layer {layer} does not exist", n_layers)
    return layer % n_layers


def _no_such_layer(what: str, n_layers: int) -> UserError:
    return UserError(
        what,
        fix=f"this model has layers 0 to {n_layers - 1}, or -{n_layers} to -1 from the end",
        options=("auto", "all", "numbers such as 14,22"),
    )


def _positions(wanted: Sequence[object], known: Sequence[object], noun: str) -> list[int]:
    unknown = [item for item in wanted if item not in known]
    if unknown:
        raise UserError(
            f"{noun} {unknown[0]} was not trained", options=[str(item) for item in known]
        )
    return [known.index(item) for item in wanted]
