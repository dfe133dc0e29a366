"""What Judge keeps with a run beside its report: judged texts, compared layers, a leaderboard.

Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Field as Constrained

from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.evaluation.judgements import (
    Beside,
    ConceptJudgement,
    Generalization,
    Macro,
    Miss,
    TopK,
)
from readout_ui.runs.store import JUDGED_FILE

if TYPE_CHECKING:
    from readout_ui.evaluation.layer_sets import LayerSets
    from readout_ui.evaluation.layers import LayerSweep
    from readout_ui.evaluation.results import Floats

MOST_TEXTS, MOST_BESIDE = 8, 40
"""Judgements of texts, and vectors on the leaderboard, that are kept: the newest."""


class _Part(BaseModel):
    """Frozen, and NaN comes back as it went."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class KeptTexts(_Part):
    """A judgement on texts, without the scores of single texts."""

    what: str
    """Which texts, such as "said.csv"."""
    made: datetime = Constrained(default_factory=_now)
    layer: int
    n_texts: int
    n_neutral: int
    macro: Macro
    top: tuple[TopK, ...]
    per_concept: tuple[ConceptJudgement, ...]
    misses: tuple[Miss, ...]
    said: tuple[str, ...]
    """What the numbers say, and what to know about the texts, in sentences."""

    @classmethod
    def of(cls, found: Generalization, what: str) -> KeptTexts:
        """What is kept of a judgement of these texts."""
        return cls(
            what=what,
            layer=found.layer,
            n_texts=len(found.texts),
            n_neutral=len(found.neutral_scores),
            macro=found.macro,
            top=found.top,
            per_concept=found.per_concept,
            misses=found.misses,
            said=(*found.sentences(), *found.notes),
        )

    def name(self) -> str:
        """What a list calls it; no two of a run are called the same."""
        return f"{self.what}, layer {self.layer}, AUROC {self.macro.auroc.value:.3f}"


class KeptColumn(_Part):
    """AUROC by layer of one method and read rule."""

    label: str
    auroc: tuple[tuple[float | None, ...], ...]
    """By layer, then by concept; None where not computed."""

    def scores(self) -> Floats:
        """(n_layers, n_concepts), NaN where not computed."""
        return np.array(self.auroc, dtype=float)


class KeptLayers(_Part):
    """A comparison of layers, and the sets of them that read best."""

    made: datetime = Constrained(default_factory=_now)
    folds: int
    fitted: int
    """At how many layers PCA and logistic regression were fitted."""
    concepts: tuple[str, ...]
    columns: tuple[KeptColumn, ...]
    recommended: int
    titles: tuple[str, ...]
    """Of the table of sets."""
    rows: tuple[tuple[str, ...], ...]
    sets: tuple[tuple[str, str], ...]
    """Label, and what the Layers box takes, of each."""

    @classmethod
    def of(cls, sweep: LayerSweep, sets: LayerSets, fitted: int) -> KeptLayers:
        """What is kept of a sweep and the sets that were chosen."""
        titles, rows = sets.table()
        columns = [KeptColumn(label=c.label, auroc=_rounded(c.auroc)) for c in sweep.columns]
        named = [
            (f"{len(s.layers)}: {', '.join(map(str, s.layers))} ({s.auroc:.3f})", s.spec)
            for s in sets.sets
        ]
        return cls(
            folds=sweep.folds,
            fitted=fitted,
            concepts=sweep.concepts,
            columns=tuple(columns),
            recommended=sets.recommended,
            titles=titles,
            rows=rows,
            sets=tuple(named),
        )

    def scores(self, concept: str | None) -> Floats:
        """AUROC of a concept, or the mean over all, (n_columns, n_layers)."""
        every = np.stack([column.scores() for column in self.columns])
        if concept is None:
            means: Floats = every.mean(axis=2)
            return means
        one: Floats = every[:, :, self.concepts.index(concept)]
        return one


class KeptBeside(_Part):
    """Vectors of other people beside the run's."""

    made: datetime = Constrained(default_factory=_now)
    found: Beside


class Kept(_Part):
    """Everything of one run, the newest first."""

    texts: tuple[KeptTexts, ...] = ()
    layers: KeptLayers | None = None
    board: tuple[KeptBeside, ...] = ()

    def with_texts(self, judged: KeptTexts) -> Kept:
        """One judgement more; the same texts at the same layer are kept once."""
        rest = [t for t in self.texts if (t.what, t.layer) != (judged.what, judged.layer)]
        return self.model_copy(update={"texts": (judged, *rest)[:MOST_TEXTS]})

    def with_beside(self, judged: Beside) -> Kept:
        """One row more on the leaderboard; those of one name are kept once."""
        rest = [each for each in self.board if each.found.name != judged.name]
        return self.model_copy(update={"board": (KeptBeside(found=judged), *rest)[:MOST_BESIDE]})


def _rounded(auroc: Floats) -> tuple[tuple[float | None, ...], ...]:
    return tuple(
        tuple(None if np.isnan(one) else round(float(one), 4) for one in row) for row in auroc
    )


def read_kept(studio: Studio) -> Kept:
    """What is kept of the run in use; nothing where there is no run.

    Raises:
        UserError: its file is damaged or of another version.
    """
    run = studio.runs.current()
    raw = studio.runs.judged(run.id) if run else None
    if raw is None:
        return Kept()
    try:
        return Kept.model_validate_json(raw)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UserError(
            f"what was judged before cannot be read ({JUDGED_FILE}: {reason})",
            fix="judge again; that replaces it",
        ) from None


def keep_texts(studio: Studio, run_id: str, judged: KeptTexts) -> None:
    """Keep a judgement with the run that made it."""
    _keep(studio, run_id, lambda kept: kept.with_texts(judged))


def keep_layers(studio: Studio, run_id: str, compared: KeptLayers) -> None:
    """Keep a comparison of layers instead of an earlier one."""
    _keep(studio, run_id, lambda kept: kept.model_copy(update={"layers": compared}))


def keep_beside(studio: Studio, run_id: str, judged: Beside) -> None:
    """Keep a row of the leaderboard."""
    _keep(studio, run_id, lambda kept: kept.with_beside(judged))


def _keep(studio: Studio, run_id: str, change: Callable[[Kept], Kept]) -> None:
    if studio.read_only:
        return

    def changed(raw: bytes | None) -> bytes:
        try:
            before = Kept.model_validate_json(raw) if raw else Kept()
        except ValidationError:  # it is replaced
            before = Kept()
        return change(before).model_dump_json().encode()

    studio.runs.keep_judged(run_id, changed)
