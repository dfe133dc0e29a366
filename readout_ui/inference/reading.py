"""What every concept direction says about every token of one prompt, at every layer."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from readout_ui.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

SCORE_KINDS = ("z", "cosine", "raw")
TEMPLATE_ROLE = "template"
UNITS = {
    "z": "standard deviations from neutral tokens",
    "cosine": "cosine with the direction, activation centred",
    "raw": "raw dot product",
}
"""What each kind of score is measured in."""
MORE = (217, 95, 2)
"""Orange, RGB: more of a concept than usual."""
LESS = (31, 119, 200)
"""Blue, RGB: less of a concept than usual."""
N_STRIPS = 3
"""Concepts that colour the text in a notebook."""


@dataclass(frozen=True, eq=False)
class Reading:
    """The scores of one prompt: tokens x layers x concepts, in three units.

    >>> reading.select(concepts=["calm"], layers=[16]).z.shape
    (48, 1, 1)
    >>> reading.to_frame(layer=16).query("scored").columns.tolist()
    ['afraid', 'angry', 'calm', 'happy']
    """

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
    best_layer: int | None = None
    """The layer to look at first; None for the middle one."""
    kinds: tuple[str, ...] = SCORE_KINDS
    """The units there are; what a server does not say is not a number."""

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
        if kind not in self.kinds:
            served = kind in SCORE_KINDS
            what = (
                f"a server does not say the {kind}" if served else f"'{kind}' is no kind of score"
            )
            raise UserError(what, options=self.kinds)
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
    ) -> Reading:
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
            best_layer=self.best_layer,
            kinds=self.kinds,
        )

    def layer_to_show(self, layer: int | None = None) -> int:
        """The layer asked for; None for the one nearest to the best one.

        Raises:
            UserError: these vectors have no such layer.
        """
        if layer is not None:
            return self.layers[self.layer_index(layer)]
        ascending = sorted(self.layers)
        best = ascending[len(ascending) // 2] if self.best_layer is None else self.best_layer
        return self.nearest_layer(best)

    def to_frame(self, layer: int | None = None, kind: str = "z") -> pd.DataFrame:
        """The scores of one layer as a table, a row for each token, a column for each concept.

        Args:
            layer: one of `layers`; None for the best one.
            kind: "z" (standard deviations from neutral tokens), "cosine" (-1..1) or "raw".

        Returns:
            (n_tokens, n_concepts) float32. The index has the levels position, token, role and
            scored, so `.query("scored")` leaves out what says little; `.attrs` has layer and unit.

        Raises:
            UserError: these vectors have no such layer, or there is no such kind of score.
        """
        import pandas as pd

        shown = self.layer_to_show(layer)
        levels: list[Any] = [
            range(len(self.tokens)),
            list(self.tokens),
            list(self.roles),
            self.scored,
        ]
        index = pd.MultiIndex.from_arrays(levels, names=["position", "token", "role", "scored"])
        scores = self.scores(kind)[:, self.layer_index(shown)]  # (n_tokens, n_concepts)
        frame = pd.DataFrame(scores, index=index, columns=list(self.concepts))
        frame.attrs.update(layer=shown, unit=UNITS[kind])
        return frame

    def __repr__(self) -> str:
        layers = (
            f"layer {self.layers[0]}" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        )
        return f"<Reading of {len(self.tokens)} tokens: {len(self.concepts)} concepts at {layers}>"

    def _repr_html_(self) -> str:
        """In a notebook: the text coloured by z of its strongest concepts at the best layer."""
        layer = self.layer_to_show()
        z = self.z[:, self.layer_index(layer)]  # (n_tokens, n_concepts)
        counted = z[self.scored] if self.scored.any() else z
        reach = float(np.quantile(np.abs(counted), 0.99)) if counted.size else 1.0
        strongest = (
            np.argsort(-counted.max(axis=0), kind="stable")[:N_STRIPS] if len(counted) else ()
        )
        strips = "".join(self._strip(int(i), z[:, i], reach or 1.0) for i in strongest)
        return f"<div>{strips}<small>layer {layer}, z: {UNITS['z']}</small></div>"

    def _strip(self, concept: int, scores: FloatArray, reach: float) -> str:
        """The text coloured by one concept."""
        tokens = "".join(
            _coloured(token, float(score), reach if counts else np.inf)
            for token, score, counts in zip(self.tokens, scores, self.scored, strict=True)
        )
        return f"<p><b>{_escape(self.concepts[concept])}</b> {tokens}</p>"


def _coloured(token: str, score: float, reach: float) -> str:
    """A token behind which the colour of its score lies; none where the reach is infinite."""
    red, green, blue = MORE if score >= 0 else LESS
    style = f"background:rgba({red},{green},{blue},{0.75 * min(1.0, abs(score) / reach):.3f})"
    space = "<wbr>" if token.startswith("·") else ""
    line = "<br>" * token.count("⏎")
    return f'{space}<span style="{style}" title="{score:+.2f}">{_escape(token)}</span>{line}'


def _escape(text: str) -> str:
    """HTML text that a notebook does not take for a formula."""
    return escape(text).replace("$", "&#36;").replace("`", "&#96;").replace("\\", "&#92;")


def scored_tokens(roles: Sequence[str], start: int = 0) -> BoolArray:
    """(n_tokens,), False for the first token of a text and for template tokens.

    The first token carries massive activations (Sun et al. 2024, arXiv:2402.17762), so its scores
    dwarf all others.

    Args:
        roles: of tokens that follow each other.
        start: the position of the first of them in its text.
    """
    scored = np.array([role != TEMPLATE_ROLE for role in roles], dtype=np.bool_)
    scored[: max(0, 1 - start)] = False
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
    cosines = (raw - center_raw) / length
    return np.maximum(np.minimum(cosines, 1), -1).astype(np.float32)  # np.clip takes longer


def scores_csv(reading: Reading, kinds: Sequence[str] = ()) -> str:
    """One line per token, layer and concept, with all scores there are or those of `kinds`."""
    kinds = kinds or reading.kinds
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["position", "token", "role", "scored", "layer", "concept", *kinds])
    writer.writerows(_csv_rows(reading, kinds))
    return file.getvalue()


def _csv_rows(reading: Reading, kinds: Sequence[str]) -> list[list[Any]]:
    numbers = np.stack([reading.scores(kind) for kind in kinds], axis=-1).tolist()
    scored = reading.scored.tolist()
    return [
        [position, token, role, int(scored[position]), layer, concept, *map(_short, cell)]
        for position, (token, role) in enumerate(zip(reading.tokens, reading.roles, strict=True))
        for layer, by_concept in zip(reading.layers, numbers[position], strict=True)
        for concept, cell in zip(reading.concepts, by_concept, strict=True)
    ]


def _short(number: float) -> str:
    return f"{number:.6g}"
