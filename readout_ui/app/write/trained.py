"""What a training on texts from elsewhere reached."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from readout_ui.app.follow import draw_failure
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.widgets import sentence, table
from readout_ui.runs.run import Run


def draw_outcome(view: JobView) -> str:
    """How the training ended."""
    if view.state is JobState.FAILED:
        return draw_failure(view.error)
    if view.state is JobState.CANCELLED:
        return "<p class='src-note'><b>Cancelled.</b> The vectors in use are as before.</p>"
    return f"<p class='src-note'><b>Trained in {view.seconds:.1f} s.</b></p>"


def draw_trained(run: Run | None) -> str:
    """What the run in use reached on held-out texts; empty for a run of descriptions."""
    if run is None or not run.source:
        return ""
    scores = _pair_scores(run) if run.manifest.contrast else _auroc(run)
    warnings = "".join(sentence(each, "warning") for each in run.warnings)
    return f"<section class='src-trained'>{_about(run)}{scores}{warnings}{_NEXT}</section>"


_NEXT = (
    "<p class='src-note'>These vectors are in use now: <a href='#/read'>Read</a> and "
    "<a href='#/ship'>Ship</a> work with them. The header's Train goes back to the "
    "descriptions, and every run stays in the list of <a href='#/ship'>Ship</a>.</p>"
)


def _about(run: Run) -> str:
    contrast = run.manifest.contrast
    names = ", ".join(run.concepts[:8]) + (" …" if len(run.concepts) > 8 else "")
    words = f"{run.n_texts} texts"
    if contrast:
        words = f"{contrast.get('polarity', '')}; {contrast.get('n_pairs', '?')} pairs of "
        words += str(contrast.get("source", "a file"))
    layers = len(run.layers)
    kept = f"{layers} layers kept" if layers > 1 else "one layer kept"
    return (
        f"<h3>In use: {escape(names)}</h3><p class='src-note'>From {escape(run.source)}: "
        f"{escape(words)}. {escape(run.settings.method)}, {escape(run.settings.read)}, {kept}, "
        f"best layer {run.best_layer}.</p>"
    )


def _pair_scores(run: Run) -> str:
    """The table that train-pairs prints, for the best layer."""
    from readout_ui.vectors.pair_scores import baseline_rows, embedding_sentence

    held_out = (run.manifest.contrast or {}).get("held_out")
    if not isinstance(held_out, Mapping):
        return sentence("Too few pairs to hold some out, so nothing is known.", "warning")
    try:
        words, said = held_out["words_accuracy"], embedding_sentence(held_out)
        accuracy, area = held_out["accuracy"][run.best_layer], held_out["auroc"][run.best_layer]
        rows = [
            (f"Layer {run.best_layer}, the best", f"{accuracy:.2f}", f"{area:.2f}"),
            *((name.capitalize(), *values) for name, *values in baseline_rows(held_out)),
            ("Random direction, 95 % below", f"{held_out['random']['most']:.2f}", "–"),
            ("Permuted polarity, 95 % below", f"{held_out['permuted']['most']:.2f}", "–"),
        ]
        n_pairs, folds = held_out["n_pairs"], held_out["folds"]
    except (KeyError, IndexError, TypeError, ValueError):
        return sentence("The scores kept with this run cannot be read.", "warning")
    chance = max(held_out["random"]["most"], held_out["permuted"]["most"])
    return (
        f"{table(('Held-out pairs', 'Accuracy', 'AUROC'), rows, kind='judged')}"
        f"<p class='src-note'>{_verdict(accuracy, words, chance)} Accuracy: the part of "
        f"{n_pairs} pairs, held out in {folds} folds, whose positive side scores higher. {said}</p>"
    )


def _verdict(accuracy: float, words: float, chance: float) -> str:
    if accuracy <= chance:
        return (
            "<b>No better than chance</b>: what random directions or permuted sides reach as well."
        )
    if accuracy <= words:
        return "<b>Word counts do as well</b>: the direction may be about words, not the contrast."
    return "<b>Above chance and above word counts.</b>"


def _auroc(run: Run) -> str:
    score = run.layer_scores[run.best_layer] if run.layer_scores else None
    if score is None:
        return sentence("Too few texts to hold some out, so nothing is known.", "warning")
    rows = [(f"Layer {run.best_layer}, the best", f"{score:.2f}"), ("Chance", "0.50")]
    title = "Held-out texts, one concept against the rest"
    return table((title, "AUROC, mean over concepts"), rows, kind="judged")
