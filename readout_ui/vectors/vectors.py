"""Concept vectors: one direction per concept and layer, with what is needed to read them.

With them go their calibration (the zero and the unit of z-scores, from neutral tokens) and probes:
texts with the scores they had, which `readout-ui verify` reads again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from readout_ui.activations.pooling import Layered, each_layer
from readout_ui.errors import UserError
from readout_ui.vectors.auroc import Floats
from readout_ui.vectors.blas import single_thread
from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.whitening import lengths_of, squares_of

_SMALLEST_SPREAD = 1e-3
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Calibration:
    """Mean and standard deviation of the raw dot product over neutral tokens."""

    mean: Tensor
    """(n_concepts, n_layers), float32."""
    std: Tensor
    """(n_concepts, n_layers), float32, above zero."""
    lengths: tuple[float, ...]
    """Of every layer, the mean length of a token."""

    @classmethod
    def of(cls, layers: Sequence[tuple[Floats, Floats, float]]) -> Calibration:
        """From mean, deviation and length at one layer after the other."""
        mean, std, lengths = zip(*layers, strict=True)
        first, second = (torch.from_numpy(np.stack(some, axis=1)).float() for some in (mean, std))
        return cls(first, second, lengths)


@dataclass(frozen=True, eq=False)
class TokenLayer:
    """Tokens at one layer."""

    mean: Floats
    """(d_model,)."""
    squares: Floats
    """(d_model,): sums of squares of what each differs from it by."""
    lengths: Floats
    """(n_tokens,)."""

    @classmethod
    def centred(cls, tokens: Floats, out: Floats) -> TokenLayer:
        """From tokens (n_tokens, d_model); what each differs from their mean by is put out."""
        lengths, first = lengths_of(tokens), tokens[0].copy()
        np.subtract(tokens, first, out=out)  # most of a token is the same in all of them
        rest = out.mean(axis=0)
        out -= rest
        return cls(first + rest, squares_of(out), lengths)

    def calibrated(self, directions: Floats, apart: Floats) -> tuple[Floats, Floats, float]:
        """Mean and deviation along directions, (n_concepts,) each, and the mean length of a token.

        Args:
            directions: (n_concepts, d_model), unit length.
            apart: how far each token is from the mean along them, (n_tokens, n_concepts).
        """
        spread, length = (
            (float(some.sum()) / len(self.lengths)) ** 0.5
            for some in (self.squares, self.lengths**2)
        )
        spread /= len(self.mean) ** 0.5
        tiny = float(np.finfo(np.float32).tiny)
        least = max(_SMALLEST_SPREAD * spread, _ROUNDING * length, tiny)
        rest = apart.astype(np.float64)
        # What is the same in all tokens is projected once, in float64.
        mean = directions.astype(np.float64) @ self.mean.astype(np.float64) + rest.mean(axis=0)
        return mean, np.maximum(rest.std(axis=0), least), float(self.lengths.mean())


def calibrate(directions: Tensor, token_activations: Layered) -> Calibration:
    """Project neutral tokens on every direction and take mean and standard deviation.

    The deviation is at least a thousandth of the tokens' usual deviation along one dimension, and
    a millionth of their length (the rounding error of a forward pass), so that a handful of alike
    tokens cannot make z-scores explode.

    Args:
        directions: (n_concepts, n_layers, d_model), unit length.
        token_activations: residual stream of neutral tokens, (n_tokens, n_layers, d_model).

    Raises:
        UserError: there is no neutral token.

    >>> extracted = ro.extract(ro.Library("descriptions").texts(), model, ro.TrainSettings())
    >>> ro.calibrate(ro.fit(extracted.corpus), extracted.tokens).std.shape  # (n_concepts, n_layers)
    torch.Size([4, 30])
    """
    if directions.shape[1:] != token_activations.shape[1:]:
        raise ValueError(
            f"directions {tuple(directions.shape)}, tokens {tuple(token_activations.shape)}"
        )
    if token_activations.shape[0] == 0:
        raise UserError("there is no neutral token to calibrate on", fix="add neutral texts")
    with single_thread():
        apart = np.empty((token_activations.shape[0], directions.shape[2]), dtype=np.float32)
        layers = []
        for i, tokens in enumerate(each_layer(token_activations)):
            here = TokenLayer.centred(tokens, out=apart)
            some = directions[:, i].numpy()
            layers.append(here.calibrated(some, apart @ some.T))
    return Calibration.of(layers)


N_PROBES = 8


@dataclass(frozen=True, eq=False)
class Probes:
    """Some of the training's texts and the z-score of their activation, pooled as in training."""

    texts: tuple[str, ...]
    scores: Tensor
    """(n_probes, n_concepts, n_layers), float32."""

    def __post_init__(self) -> None:
        if not self.texts or self.scores.ndim != 3 or len(self.scores) != len(self.texts):
            raise ValueError(f"{len(self.texts)} probes with scores {tuple(self.scores.shape)}")
        if not torch.isfinite(self.scores).all():
            raise ValueError("probe scores hold values that are not finite")

    def select(self, rows: Sequence[int], columns: Sequence[int]) -> Probes:
        """The scores of some concepts and layers, by their positions."""
        return replace(self, scores=self.scores[:, list(rows)][:, :, list(columns)])


def pooled_scores(pooled: Tensor, directions: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """z-scores of whole texts, (n_texts, n_concepts, n_layers) float32.

    Args:
        pooled: activations, (n_texts, n_layers, d_model).
        directions: at the same layers, (n_concepts, n_layers, d_model).
        mean: of their calibration, (n_concepts, n_layers).
        std: likewise.
    """
    # float64: a massive dimension would cost the digits that tell the texts apart.
    layers = zip(pooled.unbind(1), directions.unbind(1), strict=True)
    # Two thirds of the time of texts times directions, which are more.
    raw = torch.stack([some.double() @ texts.double().T for texts, some in layers], dim=2)
    return ((raw.transpose(0, 1) - mean.double()) / std.double()).float()


def probe_rows(groups: TextGroups) -> list[int]:
    """Rows of a few texts to check vectors by, spread over concepts and neutral texts."""
    first = [rows[0] for rows in (*groups.rows, groups.neutral) if rows]
    step = max(1, -(-len(first) // N_PROBES))
    return sorted({*first[::step][: N_PROBES - 1], first[-1]})


_LENGTH_TOLERANCE = 1e-3
BLOCK = "decoder_block"
"""The module that is read unless another is asked for: a whole block of the decoder."""


@dataclass(frozen=True, eq=False, repr=False)
class ConceptVectors:
    """Directions of concepts at layers, and the constants that turn projections into scores.

    >>> readout.run.vectors.select(concepts=["calm"], layers=[16]).directions.shape
    torch.Size([1, 1, 576])
    """

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
    layer_type: str = BLOCK
    """Which module of every block the activations come from."""
    layer_config: tuple[tuple[str, str], ...] = ()
    """Pairs of layer type and module path, for models whose blocks are not found."""
    steering: Tensor | None = None
    """(n_concepts, n_layers, d_model), float32, of unit length or zero: what a model is pushed
    along where that differs from what it is read with; None where it is the same."""
    calibrated: bool = True
    """False for directions alone, as control vectors and steering vectors are: of any length, and
    only their raw score means anything."""

    def __repr__(self) -> str:
        n_concepts, n_layers, d_model = self.directions.shape
        kind = "" if self.calibrated else ", not calibrated"
        return f"<ConceptVectors: {n_concepts} concepts, {n_layers} layers, {d_model} wide{kind}>"

    def __post_init__(self) -> None:
        self._check_names()
        self._check_shapes()
        self._check_values()

    @classmethod
    def bare(
        cls,
        concepts: Sequence[str],
        layers: Sequence[int],
        directions: Tensor,
        layer_type: str = BLOCK,
    ) -> ConceptVectors:
        """Directions (n_concepts, n_layers, d_model) of any length, without calibration."""
        shape = directions.shape[:2]
        return cls(
            concepts=tuple(concepts),
            layers=tuple(layers),
            directions=directions,
            center=torch.zeros(directions.shape[1:]),
            neutral_mean=torch.zeros(shape),
            neutral_std=torch.ones(shape),
            layer_type=layer_type,
            calibrated=False,
        )

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.directions.shape[2]

    def unit(self) -> ConceptVectors:
        """The same with directions of length 1, or 0 where they were 0; calibrated ones are so."""
        if self.calibrated:
            return self
        lengths = self.directions.double().norm(dim=2, keepdim=True)  # (n_concepts, n_layers, 1)
        unit = torch.where(lengths > 0, self.directions.double() / lengths.clamp_min(1e-300), 0.0)
        return replace(self, directions=unit.float())

    def to_steer(self) -> ConceptVectors:
        """The same with the directions to push a model along in place of those to read with."""
        return (
            self
            if self.steering is None
            else replace(self, directions=self.steering, steering=None)
        )

    def scaled(self, lengths: Mapping[int, float]) -> ConceptVectors:
        """Directions alone, times these lengths by layer; 1 where none is given."""
        factors = torch.tensor([lengths.get(layer, 1.0) for layer in self.layers])  # (n_layers,)
        directions = self.directions.float() * factors[:, None]
        return self.bare(self.concepts, self.layers, directions, self.layer_type)

    def select(
        self, concepts: Sequence[str] | None = None, layers: Sequence[int] | None = None
    ) -> ConceptVectors:
        """Only these concepts and layers, in this order; None keeps all.

        Raises:
            UserError: one of them is not among the trained ones, which are listed.
        """
        kept_concepts = self.concepts if concepts is None else tuple(concepts)
        kept_layers = self.layers if layers is None else tuple(layers)
        if (kept_concepts, kept_layers) == (self.concepts, self.layers):
            return self
        rows = _positions(kept_concepts, self.concepts, "concept")
        columns = _positions(kept_layers, self.layers, "layer")
        return replace(
            self,
            concepts=kept_concepts,
            layers=kept_layers,
            directions=self.directions[rows][:, columns],
            center=self.center[columns],
            neutral_mean=self.neutral_mean[rows][:, columns],
            neutral_std=self.neutral_std[rows][:, columns],
            probes=self.probes and self.probes.select(rows, columns),
            steering=None if self.steering is None else self.steering[rows][:, columns],
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
        if self.steering is not None and self.steering.shape != self.directions.shape:
            raise ValueError(f"steering has shape {tuple(self.steering.shape)}")
        if self.probes and tuple(self.probes.scores.shape[1:]) != (n_concepts, n_layers):
            raise ValueError(f"probes are scored as {tuple(self.probes.scores.shape[1:])}")

    def _check_values(self) -> None:
        unit = ("directions", "steering") if self.calibrated else ()
        lengths = {  # (n_concepts, n_layers)
            name: some.float().norm(dim=2)
            for name in unit
            if (some := getattr(self, name)) is not None
        }
        for name in ("directions", "center", "neutral_mean", "neutral_std", "steering"):
            values = getattr(self, name)
            # Lengths and sums are finite where every number is, as a rule, and take less time.
            if values is None or lengths.get(name, values).sum().isfinite():
                continue
            if not torch.isfinite(values).all():
                raise ValueError(f"{name} holds values that are not finite")
        for some in lengths.values():
            if ((some != 0) & ((some - 1).abs() > _LENGTH_TOLERANCE)).any():
                raise ValueError(f"directions have lengths from {some.min()} to {some.max()}")
        if (self.neutral_std <= 0).any():
            raise ValueError("neutral_std must be above zero")


def resolve_layers(spec: str, n_layers: int, auto: Sequence[int] = ()) -> tuple[int, ...]:
    """Layer indices that `spec` names, ascending, each once.

    Args:
        spec: "all", "auto" (the layers in `auto`), "middle" (`middle_layers`) or numbers such as
            "14,22" or "-1", where negative ones count from the last layer.
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
    if word == "middle":
        return middle_layers(n_layers)
    return tuple(sorted({_resolve_layer(part, n_layers) for part in word.split(",")}))


def middle_layers(n_layers: int) -> tuple[int, ...]:
    """Three to five layers, evenly spread over 40 to 60 % of the depth; all of a tiny model.

    >>> middle_layers(30)
    (12, 13, 14, 15, 17)
    """
    last = n_layers - 1
    first, stop = sorted((math.ceil(0.4 * last), math.floor(0.6 * last)))
    while stop - first < min(2, last):
        first, stop = first - (stop == first), stop + 1
    n = min(5, stop - first + 1)
    return tuple(first + (stop - first) * i // (n - 1) for i in range(n)) if n > 1 else (first,)


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
        options=("auto", "all", "middle", "numbers such as 14,22"),
    )


def _positions(wanted: Sequence[object], known: Sequence[object], noun: str) -> list[int]:
    unknown = [item for item in wanted if item not in known]
    if unknown:
        raise UserError(
            f"{noun} {unknown[0]} was not trained", options=[str(item) for item in known]
        )
    return [known.index(item) for item in wanted]
