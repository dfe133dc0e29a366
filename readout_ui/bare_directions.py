"""Directions without calibration, as control vectors and steering vectors hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from readout_ui.errors import UserError

if TYPE_CHECKING:
    from readout_ui.vectors import ConceptVectors


class Directions(Protocol):
    """What every format can hold of vectors."""

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names, in the order of the tensor's first axis."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers, in the order of its second."""

    @property
    def directions(self) -> Tensor:
        """(n_concepts, n_layers, d_model)."""


@dataclass(frozen=True, eq=False)
class BareDirections:
    """Directions without the calibration that turns projections into scores."""

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    directions: Tensor
    """(n_concepts, n_layers, d_model), float32, of any length."""
    layer_type: str = "decoder_block"
    model: Mapping[str, str] = field(default_factory=dict)
    """What the file says of its model: `id`, `revision`, `fingerprint`, as far as it does."""

    def __post_init__(self) -> None:
        shape = (len(self.concepts), len(self.layers))
        if not all(shape) or tuple(self.directions.shape[:2]) != shape:
            raise ValueError(f"{shape} concepts and layers, tensor {tuple(self.directions.shape)}")

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.directions.shape[2]

    def select(
        self, concepts: Sequence[str] | None = None, layers: Sequence[int] | None = None
    ) -> BareDirections:
        """Only these concepts and layers, in this order; None keeps all.

        Raises:
            UserError: one of them is not in the file; those that are are listed.
        """
        rows = _places(concepts, self.concepts, "concept")
        columns = _places(layers, self.layers, "layer")
        return replace(
            self,
            concepts=tuple(self.concepts[row] for row in rows),
            layers=tuple(self.layers[column] for column in columns),
            directions=self.directions[rows][:, columns],
        )

    def uncalibrated(self) -> ConceptVectors:
        """As vectors of unit length whose only score that means anything is the raw one."""
        from readout_ui.vectors import ConceptVectors

        lengths = self.directions.double().norm(dim=2, keepdim=True)  # (n_concepts, n_layers, 1)
        unit = torch.where(lengths > 0, self.directions.double() / lengths.clamp_min(1e-300), 0.0)
        shape = (len(self.concepts), len(self.layers))
        return ConceptVectors(
            concepts=self.concepts,
            layers=self.layers,
            directions=unit.float(),
            center=torch.zeros(len(self.layers), self.d_model),
            neutral_mean=torch.zeros(shape),
            neutral_std=torch.ones(shape),
        )


def _places(wanted: Sequence[object] | None, known: Sequence[object], noun: str) -> list[int]:
    if wanted is None:
        return list(range(len(known)))
    if unknown := [item for item in wanted if item not in known]:
        raise UserError(f"there is no {noun} {unknown[0]}", options=[str(item) for item in known])
    return [known.index(item) for item in wanted]
