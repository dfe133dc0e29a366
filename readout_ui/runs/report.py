"""What is kept with every run: which concepts can be read, which pairs are confused, what is next.

Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError

from readout_ui.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Verdict = Literal["clear", "readable", "weak", "at chance", "not judged"]
PairVerdict = Literal["confused", "told apart", "opposed", "not judged"]
Part = Annotated[float, Ge(0), Le(1)]
"""An AUROC or a probability."""
Cosine = Annotated[float, Ge(-1), Le(1)]
Number = Annotated[float, Ge(-1e9), Le(1e9)]
"""No infinity and no NaN, which JSON does not have."""


@dataclass(frozen=True)
class TextReport:
    """What one text of the training does."""

    text: str
    own: Number | None
    """Left out, its score on its concept in standard deviations above the other concepts' texts;
    None where it is the concept's only one."""
    pulls_to: str
    """The concept whose direction it brings its own closest to; empty without another."""
    pull: Number | None
    """Its score there, in the unit of `own`."""
    influence: Number | None
    """1 - cosine of the direction with and without it; None for an only one."""
    advice: str
    """What to do about it in one sentence; mostly empty."""


@dataclass(frozen=True)
class ConceptReport:
    """How well one concept is read, and where its direction lies."""

    name: str
    n_texts: int
    """It was trained on."""
    auroc: Part | None
    """On held-out texts; None where none judges it."""
    low: Part | None
    """Lower end of the 95 % interval."""
    high: Part | None
    n_held_out: int
    """Texts of its own that judge it."""
    words: Part | None
    """AUROC of a bag of words of the same descriptions on the same texts."""
    embedding: Part | None
    """That of a sentence embedding; None where none is installed."""
    random: Part | None
    """Mean of random directions."""
    nearest: tuple[tuple[str, Cosine], ...]
    """The three concepts of the highest cosine."""
    raises: tuple[str, ...]
    """Ten tokens that the direction makes likelier (logit lens)."""
    lowers: tuple[str, ...]
    verdict: Verdict
    """By `verdict_of`."""
    texts: tuple[TextReport, ...]
    """Its texts in the order of the training; empty where they are not there."""


@dataclass(frozen=True)
class PairReport:
    """Two concepts whose directions are nearer, or further, than chance."""

    a: str
    b: str
    cosine: Cosine
    margin: Number
    """Half the width of the cosine's 95 % interval."""
    auroc: Part | None
    """How well held-out texts of the two are told apart by the difference of the two scores; None
    where none judges both."""
    verdict: PairVerdict


@dataclass(frozen=True)
class Finding:
    """Something to do next."""

    sentence: str
    address: str
    """Where on the page, such as "#/write/anxious"."""


@dataclass(frozen=True)
class RunReport:
    """A run, judged; see docs/judging.md for every rule."""

    run_id: str
    layer: int
    held_out: str
    """Which texts judged it: "432 shipped situations", "cross-validated descriptions"."""
    headline: str
    """The whole in one line."""
    auroc: Part | None
    """Mean over the concepts that were judged."""
    low: Part | None
    high: Part | None
    words: Part | None
    embedding: Part | None
    random: Part | None
    concepts: tuple[ConceptReport, ...]
    """All of the run, by name."""
    pairs: tuple[PairReport, ...]
    """All that differ from chance, the most confused first."""
    findings: tuple[Finding, ...]
    """What to do next, the most urgent first."""
    layer_note: str
    """The recommended layer and why, in one sentence."""
    missing: tuple[str, ...]
    """Concepts that no held-out text judges."""
    moved: str
    """Against the run used before; empty for the first."""
    before: str = ""
    """That run's id."""
    made: str = ""
    """When, in ISO 8601 with time zone."""
    order: tuple[str, ...] = ()
    """Concepts so that alike ones are neighbours, for the matrix."""
    cosines: str = ""
    """Base64 of int16, little-endian: ten-thousandths of the cosines of all pairs in `order`, row
    by row above the diagonal."""
    lens_layer: int | None = None
    """The layer whose directions raise and lower the tokens of the concepts."""
    beside: tuple[str, ...] = ()
    """What each baseline reaches on the same texts and how far the vectors are above it, with the
    95 % interval of the difference, in sentences."""

    def concept(self, name: str) -> ConceptReport | None:
        """That of one concept; None where the run has none of this name."""
        return next((each for each in self.concepts if each.name == name), None)

    def to_json(self) -> bytes:
        """UTF-8 JSON that `from_json` reads."""
        return _REPORT.dump_json(self, indent=1) + b"\n"

    @staticmethod
    def from_json(raw: bytes, where: str = "report.json") -> RunReport:
        """Read a report with every check of its values.

        Args:
            raw: what `to_json` gave.
            where: its file, for messages.

        Raises:
            UserError: it is no report, or one of another version.
        """
        try:
            return _REPORT.validate_json(raw)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(
                f"this is no report of a run ({place}: {first['msg']})".replace("(: ", "("),
                where=where,
                fix="delete it; it is made again",
            ) from error


_REPORT = TypeAdapter(RunReport)

CHANCE, SURE, CLEAR = 0.5, 0.7, 0.85
"""What the lower end of a concept's interval has to reach: more than chance, readable, clear."""


def verdict_of(auroc: float | None, low: float | None) -> Verdict:
    """A concept's verdict: by the lower end of its AUROC's 95 % interval alone.

    Args:
        auroc: on held-out texts, None where no text judges the concept.
        low: lower end of its interval.
    """
    if auroc is None or low is None:
        return "not judged"
    if low <= CHANCE:
        return "at chance"
    if low < SURE:
        return "weak"
    return "readable" if low < CLEAR else "clear"


def layer_note(layer_scores: Sequence[float | None] | None, layer: int) -> str:
    """Why this layer, in one sentence.

    Args:
        layer_scores: AUROC of every layer of the model on texts that were left out, where known.
        layer: the one that is recommended.
    """
    scores = [-1.0 if s is None else s for s in layer_scores or ()]
    if layer >= len(scores) or max(scores) < 0:
        return f"Layer {layer}: no score of the training says which is best."
    best, own = scores.index(max(scores)), scores[layer]
    if best == layer:
        return f"Layer {layer} is the best of {len(scores)}: AUROC {own:.3f} on left-out texts."
    return (
        f"Layer {layer} ({own:.3f} on left-out texts) is within noise of the best, {best} "
        f"({scores[best]:.3f}), and nearer to the middle."
    )


def pack_cosines(matrix: npt.NDArray[np.floating[Any]]) -> str:
    """Cosines above the diagonal as `RunReport.cosines` has them: 16 bit, in ten thousandths.

    Args:
        matrix: (..., n_concepts, n_concepts), in the order of `RunReport.order`; of several, one
            follows the other.
    """
    import numpy as np

    above = matrix[(..., *np.triu_indices(matrix.shape[-1], k=1))]
    return b64encode(np.rint(above * 10_000).astype("<i2").tobytes()).decode()
