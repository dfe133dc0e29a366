"""An exported training taken back as a run, where all of its texts are on this machine.

An export names its texts by hash and does not hold them. A run without its texts would be judged
as if it had none, so it is made only when every text is found again: in the description folder, or
in a run that was kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.concept_names import is_neutral_name
from readout_ui.errors import UserError
from readout_ui.run_records import RunRecord
from readout_ui.trained import Trained, TrainSettings
from readout_ui.training import group_texts

if TYPE_CHECKING:
    from readout_ui.artifacts import LoadedReadout
    from readout_ui.library import Library
    from readout_ui.manifest import Manifest

ROUNDED = "Brought from an export, whose directions are rounded to float16."
BROUGHT = "Brought from an export."
_SHOWN = 5
Texts = tuple[str, ...]


def adopted(
    loaded: LoadedReadout, where: str, library: Library, runs: Sequence[RunRecord]
) -> Trained:
    """The training that an export was made of, ready to be kept as a run.

    Args:
        loaded: the export, after every check of its files.
        where: its name, for messages.
        library: the description folder as it is now.
        runs: what was kept, whose texts count as well.

    Raises:
        UserError: it holds only some of the concepts, was trained on something else than
            descriptions, or some of its texts are not on this machine.
    """
    manifest = loaded.manifest
    _require_whole(manifest, where)
    texts = _texts(manifest, where, library, runs)
    _, groups = group_texts(texts)
    vectors = loaded.vectors.select(groups.concepts)
    metrics = manifest.metrics.model_copy(update={"best_layer": _best(manifest)})
    record = RunRecord(
        id="",
        folder=Path(),
        created=datetime.now(UTC),
        n_bytes=0,
        manifest=manifest.model_copy(update={"concepts": vectors.concepts, "metrics": metrics}),
        settings=TrainSettings.from_json(manifest.settings),
        descriptions=texts,
        timings={},
        warnings=(ROUNDED if manifest.dtype == "float16" else BROUGHT,),
        log=(),
    )
    return record.trained(vectors)


def _require_whole(manifest: Manifest, where: str) -> None:
    if source := manifest.source:
        raise UserError(
            f"these vectors were trained on {source}, which an export does not hold",
            where=where,
            fix="train them again, or use the file with `readout-ui read --vectors`",
        )
    trained = {name for name in manifest.descriptions if not is_neutral_name(name)}
    if missing := sorted(trained - set(manifest.concepts)):
        raise UserError(
            f"it holds {len(manifest.concepts)} of the {len(trained)} concepts of its training "
            f"(not {', '.join(missing[:_SHOWN])}), so it cannot be judged as a run",
            where=where,
            fix="export all concepts, or use the file with `readout-ui read --vectors`",
        )


def _texts(
    manifest: Manifest, where: str, library: Library, runs: Sequence[RunRecord]
) -> dict[str, Texts]:
    known = {(each.name, each.fingerprint): each.descriptions for each in library.files}
    for run in runs:
        for name, mark in run.fingerprints.items():
            known[name, mark] = run.descriptions[name]
    wanted = manifest.descriptions.items()
    found = {name: known[name, mark] for name, mark in wanted if (name, mark) in known}
    if missing := sorted(manifest.descriptions.keys() - found.keys()):
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UserError(
            f"the texts it was trained on are not here: {', '.join(missing[:_SHOWN])}{more}",
            where=where,
            fix="import the descriptions it was trained on (Concepts, Import), or use the file "
            "with `readout-ui read --vectors`",
        )
    return {name: found[name] for name in sorted(found)}


def _best(manifest: Manifest) -> int:
    """The best of the layers that were exported."""
    best, scores = manifest.metrics.best_layer, manifest.metrics.layer_scores
    if best in manifest.layers:
        return best

    def score(layer: int) -> float:
        found = scores[layer] if scores and layer < len(scores) else None
        return -math.inf if found is None else found

    return max(manifest.layers, key=score)
