"""What every concept direction says about every token of one prompt, at every layer."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from readout_ui.errors import UserError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

SCORE_KINDS = ("z", "cosine", "raw")
TEMPLATE_ROLE = "template"


@dataclass(frozen=True, eq=False)
class Reading:
    """The scores of one prompt: tokens x layers x concepts, in three units."""

    tokens: tuple[str, ...]
    """Tokens as the model sees them, one per position."""
    roles: tuple[str, ...]
    """Who says each token: "template", "system", "user" or "assistant"."""
    concepts: tuple[str, ...]
    """Names of the directions."""
    layers: tuple[int, ...]
    """Layer indices, resolved (none is negative)."""
    raw: FloatArray
    """Dot product of activation and direction, (n_tokens, n_layers, n_concepts)."""
    cosine: FloatArray
    """Cosine of the centred activation with the direction, -1..1, same shape."""
    z: FloatArray
    """Raw score in standard deviations from its mean over neutral tokens, same shape."""
    similarity: FloatArray
    """Cosine between the directions, (n_layers, n_concepts, n_concepts)."""
    scored: BoolArray
    """(n_tokens,), False where the score says little: the first token and template tokens."""

    def __post_init__(self) -> None:
        n_tokens, n_layers, n_concepts = len(self.tokens), len(self.layers), len(self.concepts)
        expected = {
            "raw": (n_tokens, n_layers, n_concepts),
            "cosine": (n_tokens, n_layers, n_concepts),
            "z": (n_tokens, n_layers, n_concepts),
            "similarity": (n_layers, n_concepts, n_concepts),
            "scored": (n_tokens,),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} is {getattr(self, name).shape}, expected {shape}")
        if len(self.roles) != n_tokens:
            raise ValueError(f"{len(self.roles)} roles for {n_tokens} tokens")
        if len(set(self.concepts)) != n_concepts or len(set(self.layers)) != n_layers:
            raise ValueError("concepts and layers must not repeat")

    def scores(self, kind: str) -> FloatArray:
        """(n_tokens, n_layers, n_concepts) in the unit `kind`, one of SCORE_KINDS."""
        if kind not in SCORE_KINDS:
            raise UserError(f"'{kind}' is no kind of score", options=SCORE_KINDS)
        scores: FloatArray = getattr(self, kind)
        return scores

    def layer_index(self, layer: int) -> int:
        """Where `layer` is in the second axis; UserError if these vectors lack it."""
        if layer not in self.layers:
            raise UserError(
                f"these vectors have no layer {layer}", options=[str(i) for i in self.layers]
            )
        return self.layers.index(layer)

    def nearest_layer(self, layer: int) -> int:
        """The layer there is that lies nearest to `layer`."""
        return min(self.layers, key=lambda other: (abs(other - layer), other))

    def concept_index(self, concept: str) -> int:
        """Where `concept` is in the last axis; UserError if these vectors lack it."""
        if concept not in self.concepts:
            raise UserError(f"these vectors have no concept '{concept}'", options=self.concepts)
        return self.concepts.index(concept)

    def select(
        self,
        *,
        tokens: Sequence[int] | None = None,
        layers: Sequence[int] | None = None,
        concepts: Sequence[str] | None = None,
    ) -> "Reading":
        """The same scores for some positions, layers and concepts, in the order asked for."""
        rows = list(range(len(self.tokens)) if tokens is None else tokens)
        kept_layers = [
            self.layer_index(layer) for layer in (self.layers if layers is None else layers)
        ]
        kept = [
            self.concept_index(name) for name in (self.concepts if concepts is None else concepts)
        ]
        cells = np.ix_(rows, kept_layers, kept)
        return Reading(
            tokens=tuple(self.tokens[i] for i in rows),
            roles=tuple(self.roles[i] for i in rows),
            concepts=tuple(self.concepts[i] for i in kept),
            layers=tuple(self.layers[i] for i in kept_layers),
            raw=self.raw[cells],
            cosine=self.cosine[cells],
            z=self.z[cells],
            similarity=self.similarity[np.ix_(kept_layers, kept, kept)],
            scored=self.scored[rows],
        )


def scored_tokens(roles: Sequence[str]) -> BoolArray:
    """(n_tokens,), False for the first token and for template tokens.

    The first token carries massive activations (Sun et al. 2024, arXiv:2402.17762), so its scores
    dwarf all others.
    """
    scored = np.array([role != TEMPLATE_ROLE for role in roles], dtype=np.bool_)
    scored[:1] = False
    return scored


def z_scores(raw: FloatArray, neutral_mean: FloatArray, neutral_std: FloatArray) -> FloatArray:
    """Raw scores in standard deviations over neutral tokens.

    Args:
        raw: (n_tokens, n_layers, n_concepts).
        neutral_mean: mean raw score over neutral tokens, (n_concepts, n_layers).
        neutral_std: its standard deviation, (n_concepts, n_layers), above 0.
    """
    z: FloatArray = ((raw - neutral_mean.T) / neutral_std.T).astype(np.float32)
    return z


def centred_cosines(raw: FloatArray, norms: FloatArray, center_raw: FloatArray) -> FloatArray:
    """Cosine of (activation - center) with each unit direction, 0 where the two are equal.

    Args:
        raw: activation on direction, (n_tokens, n_layers, n_concepts).
        norms: length of (activation - center), (n_tokens, n_layers).
        center_raw: center on direction, (n_layers, n_concepts).
    """
    length = np.where(norms > 0, norms, np.inf)[:, :, None]  # (n_tokens, n_layers, 1)
    return np.clip((raw - center_raw) / length, -1, 1).astype(np.float32)


def scores_csv(readout: Reading, kinds: Sequence[str] = SCORE_KINDS) -> str:
    """One line per token, layer and concept, with all three scores or those of `kinds`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["position", "token", "role", "scored", "layer", "concept", *kinds])
    writer.writerows(_csv_rows(readout, kinds))
    return file.getvalue()


def _csv_rows(readout: Reading, kinds: Sequence[str]) -> list[list[Any]]:
    numbers = np.stack([readout.scores(kind) for kind in kinds], axis=-1).tolist()
    scored = readout.scored.tolist()
    return [
        [position, token, role, int(scored[position]), layer, concept, *map(_short, cell)]
        for position, (token, role) in enumerate(zip(readout.tokens, readout.roles, strict=True))
        for layer, by_concept in zip(readout.layers, numbers[position], strict=True)
        for concept, cell in zip(readout.concepts, by_concept, strict=True)
    ]


def _short(number: float) -> str:
    return f"{number:.6g}"
