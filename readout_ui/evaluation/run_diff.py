"""What moved from one run to another: texts, settings and directions, without the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from readout_ui.evaluation.frames import matrix_frame
from readout_ui.vectors.auroc import Floats

if TYPE_CHECKING:
    import pandas as pd

    from readout_ui.runs.run import Run
    from readout_ui.vectors.vectors import ConceptVectors

ADDED, REMOVED, EDITED = "added", "removed", "edited"
_SAME_TEXT = 50
"""Likeness in percent from which a removed and an added text are one that was edited."""


@dataclass(frozen=True)
class TextChange:
    """One description that is not the same in both runs."""

    concept: str
    kind: str
    """"added", "removed" or "edited"."""
    before: str
    """Empty for an added text."""
    after: str
    """Empty for a removed one."""


@dataclass(frozen=True, eq=False)
class Moves:
    """How far the directions turned that both runs have."""

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    cosine: Floats
    """(n_concepts, n_layers), old to new, -1..1; NaN where either direction is zero."""

    def mean(self) -> Floats:
        """Mean over layers, (n_concepts,)."""
        known = ~np.isnan(self.cosine)
        total = np.where(known, self.cosine, 0).sum(axis=1)
        means: Floats = total / np.maximum(known.sum(axis=1), 1)
        return means


@dataclass(frozen=True, eq=False, repr=False)
class RunDiff:
    """Everything that differs between two kept runs."""

    old: str
    """Id of the run that is compared with."""
    new: str
    """Id of the run that is looked at."""
    texts: tuple[TextChange, ...]
    """By concept; neutral files included."""
    settings: tuple[str, ...]
    """One "name: before -> after" for every setting that differs, model included."""
    concepts_added: tuple[str, ...]
    concepts_removed: tuple[str, ...]
    moves: Moves | None
    """None where the directions cannot be compared."""
    why_no_moves: str
    """The reason in one sentence, else empty."""
    same_space: bool
    """Whether both belong to one model and module, so that scores can be compared."""
    macro: tuple[tuple[int, float, float], ...]
    """(layer, old, new): macro AUROC as each training found it, on its own texts."""

    def to_frame(self) -> pd.DataFrame:
        """Concept x layer: cosine of the old direction with the new one; empty without any."""
        found = self.moves or Moves((), (), np.empty((0, 0)))
        return matrix_frame(found.cosine, found.concepts, found.layers, ("concept", "layer"))

    def __repr__(self) -> str:
        texts, settings = len(self.texts), len(self.settings)
        return f"<{self.old} to {self.new}: {texts} texts and {settings} settings changed>"


def compare_runs(old: Run, new: Run) -> RunDiff:
    """Compare what two runs hold.

    Directions are compared at the layers and concepts that both have; those of another model, or
    of another module of its blocks, live in another space.
    """
    why = _why_no_moves(old, new)
    same_space = not why
    moves = None if why else compare_directions(old.vectors, new.vectors)
    if moves is not None and moves.cosine.size == 0:
        moves, why = None, "The runs have no concept and layer in common."
    return RunDiff(
        old=old.id,
        new=new.id,
        texts=text_changes(old.texts, new.texts),
        settings=_setting_changes(old, new),
        concepts_added=tuple(name for name in new.concepts if name not in old.concepts),
        concepts_removed=tuple(name for name in old.concepts if name not in new.concepts),
        moves=moves,
        why_no_moves=why,
        same_space=same_space,
        macro=_macro(old, new) if same_space else (),
    )


def compare_directions(old: ConceptVectors, new: ConceptVectors) -> Moves:
    """Cosine of each direction with the one of the same concept and layer."""
    concepts = tuple(name for name in new.concepts if name in old.concepts)
    layers = tuple(layer for layer in new.layers if layer in old.layers)
    rows = [[vectors.concepts.index(name) for name in concepts] for vectors in (old, new)]
    cells = np.full((len(concepts), len(layers)), np.nan)  # (n_concepts, n_layers)
    for column, layer in enumerate(layers):
        before, after = (
            vectors.directions[own, vectors.layers.index(layer)]  # (n_concepts, d_model)
            for vectors, own in zip((old, new), rows, strict=True)
        )
        known = before.any(dim=1) & after.any(dim=1)
        cosine = (before * after).sum(dim=1).clamp(-1, 1)
        cells[:, column] = np.where(known.numpy(), cosine.numpy(), np.nan)
    return Moves(concepts, layers, cells)


def text_changes(
    old: dict[str, tuple[str, ...]], new: dict[str, tuple[str, ...]]
) -> tuple[TextChange, ...]:
    """Texts added, removed and edited; order within a file means nothing."""
    return tuple(
        change
        for name in sorted(old.keys() | new.keys())
        for change in _changes_of(name, old.get(name, ()), new.get(name, ()))
    )


def _changes_of(concept: str, old: Sequence[str], new: Sequence[str]) -> list[TextChange]:
    from rapidfuzz import fuzz

    removed = list((Counter(old) - Counter(new)).elements())
    added = list((Counter(new) - Counter(old)).elements())
    changes = []
    for before in removed:
        likeness = [fuzz.ratio(before, after) for after in added]
        if likeness and max(likeness) >= _SAME_TEXT:
            after = added.pop(int(np.argmax(likeness)))
            changes.append(TextChange(concept, EDITED, before, after))
        else:
            changes.append(TextChange(concept, REMOVED, before, ""))
    return changes + [TextChange(concept, ADDED, "", after) for after in added]


def _why_no_moves(old: Run, new: Run) -> str:
    if old.model_fingerprint != new.model_fingerprint:
        return "The runs belong to different models, so their directions cannot be compared."
    if old.manifest.read.module_path != new.manifest.read.module_path:
        return "The runs read different modules, so their directions cannot be compared."
    return ""


def _setting_changes(old: Run, new: Run) -> tuple[str, ...]:
    before, after = old.settings.as_json(), new.settings.as_json()
    before["model"], after["model"] = old.model_name, new.model_name
    return tuple(
        f"{name.replace('_', ' ')}: {_word(before[name])} → {_word(after[name])}"
        for name in after
        if before.get(name) != after[name]
    )


def _word(value: Any) -> str:
    return "automatic" if value is None else str(value)


def _macro(old: Run, new: Run) -> tuple[tuple[int, float, float], ...]:
    before, after = old.layer_scores or (), new.layer_scores or ()
    return tuple(
        (layer, a, b)
        for layer, (a, b) in enumerate(zip(before, after, strict=False))
        if a is not None and b is not None
    )


def diff_json(diff: RunDiff) -> dict[str, Any]:
    """The comparison as values that JSON can hold."""
    moves = None
    if diff.moves is not None:
        rows = zip(diff.moves.concepts, diff.moves.cosine.tolist(), strict=True)
        moves = {
            "layers": list(diff.moves.layers),
            "cosine": {name: [None if np.isnan(c) else c for c in cells] for name, cells in rows},
        }
    return {
        "old": diff.old,
        "new": diff.new,
        "texts": [vars(change) for change in diff.texts],
        "settings": list(diff.settings),
        "concepts_added": list(diff.concepts_added),
        "concepts_removed": list(diff.concepts_removed),
        "moves": moves,
        "why_no_moves": diff.why_no_moves,
        "macro_auroc": [list(row) for row in diff.macro],
    }
