"""What a training moved against the run used before, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from readout_ui.evaluation.evidence import Evidence
from readout_ui.evaluation.resampling import estimate, weighted_auroc
from readout_ui.evaluation.run_changes import turned_by
from readout_ui.evaluation.run_diff import RunDiff, compare_runs
from readout_ui.evaluation.scored_texts import mean_of_known
from readout_ui.vectors.auroc import auroc

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout
    from readout_ui.runs.run import Run

TURNED = 0.02
"""1 - cosine from which a direction counts as turned."""
NAMED = 3


def what_moved(before: Run, readout: Readout, layer: int, evidence: Sequence[Evidence] = ()) -> str:
    """New against old: directions that turned, concepts added and removed, the AUROC.

    Args:
        before: the earlier run.
        readout: the later one with its model.
        layer: where the later one is read.
        evidence: texts that judged it, the first of which score the earlier one as well.
    """
    diff = compare_runs(before, readout.run)
    if diff.why_no_moves and not diff.same_space:
        return diff.why_no_moves
    parts = [*_named("added", diff.concepts_added), *_named("removed", diff.concepts_removed)]
    turned = _turned(diff, layer)
    parts += [f"{name} turned {by:.2f}" for name, by in turned[:NAMED]]
    if len(turned) > NAMED:
        parts[-1] += f" and {len(turned) - NAMED} more turned less"
    scores = _scores(before, readout, layer, evidence, turned[0][0] if len(turned) == 1 else "")
    if not parts and not scores:
        return "nothing moved"
    return "; ".join([*parts, *scores, "nothing else moved" if parts else "no direction turned"])


def _named(how: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return [f"{', '.join(names[:NAMED])}{rest} {how}"]


def _turned(diff: RunDiff, layer: int) -> list[tuple[str, float]]:
    moved = [(name, by) for name, by in turned_by(diff.moves, layer).items() if by >= TURNED]
    return sorted(moved, key=lambda each: -each[1])


def _scores(
    before: Run, readout: Readout, layer: int, evidence: Sequence[Evidence], turned: str
) -> list[str]:
    """The AUROC of both on the same texts and resamples; nothing where those were left out.

    That of the one concept that `turned` where it is judged, else the mean over all.
    """
    old = readout.with_vectors(before.vectors)
    if not evidence or "left out" in evidence[0].name or layer not in old.layers:
        return []
    judged = evidence[0]
    names = [name for name in judged.concepts if name in old.concepts]
    if not names:
        return []
    about = "AUROC" if turned in names else "mean AUROC"
    names = [turned] if turned in names else names
    mine = [judged.concepts.index(name) for name in names]
    theirs = [old.concepts.index(name) for name in names]
    own, after = judged.own[:, mine], judged.scores[:, mine]
    earlier = old.score(readout.activations(judged.texts, layer), layer)[:, theirs]
    drawn = mean_of_known(judged.drawn[:, mine])
    drawn = drawn - mean_of_known(weighted_auroc(earlier, own, judged.weights))
    a, b = float(auroc(earlier, own).mean()), float(auroc(after, own).mean())
    change = estimate(b - a, drawn)
    noise = "within noise" if change.low <= 0 <= change.high else "beyond noise"
    said = f"{about} {a:.3f} → {b:.3f}".replace(" 0.", " .")
    return [f"{said}, {noise}"]
