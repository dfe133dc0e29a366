"""The Layers tab: where the concepts are read best, and what moved between two runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.evidence import Evidence
from readout_ui.runs import RunRecord
from readout_ui.studio import Studio
from readout_ui.tabs.events import DEVICE, guarded
from readout_ui.tabs.train_tab import local_time
from readout_ui.terminal import size_text
from readout_ui.views.layers import draw_sweep
from readout_ui.views.run_diff import ScoreBar, draw_moves, draw_score_changes

if TYPE_CHECKING:
    from readout_ui.layer_sets import LayerSets
    from readout_ui.layer_sweep import LayerSweep
    from readout_ui.run_diff import RunDiff, TextChange
    from readout_ui.score_changes import ScoreChanges

MACRO = "All concepts (macro)"
JUDGEMENT = "Layers"
INTRO = (
    "Every description is scored by directions that never saw it (cross-validation), at every "
    "layer, from the cached activations. Nothing here reads the model again."
)
EMPTY = "<p class='empty'>Press <b>Compare layers</b> to see where the concepts are read best.</p>"
NO_RUN = "<p class='empty'>There are no vectors yet. Press <b>Train</b> first.</p>"
SHOWN_TEXTS = 50
"""Changed texts that are listed; the rest is counted."""


@dataclass(frozen=True)
class LayersTab:
    """Components of the Layers tab that others listen to."""

    about: gr.HTML
    """Which layer is best, or what to do first."""
    sweep: gr.Plot
    """Layer x (method, read rule)."""
    concept: gr.Dropdown
    """Whose AUROC is shown; macro at first."""
    chosen: gr.Radio
    """The best set of each size."""
    use: gr.Button
    """"Use these layers"; the lead sends `chosen` to the Train tab's Layers box."""
    old: gr.Dropdown
    """The run that is compared with."""
    new: gr.Dropdown
    """The run that is looked at."""

    @property
    def outputs(self) -> list[Any]:
        """What `refresh_layers` gives new values for, in its order."""
        return [self.about, self.sweep, self.concept, self.chosen, self.use, self.old, self.new]


def build_layers_tab(studio: Studio) -> LayersTab:
    """Lay out the tab and wire its buttons; `use` is wired by the lead."""
    gr.Markdown(INTRO)
    with gr.Row():
        compare = gr.Button("Compare layers", variant="primary", elem_id="layers-compare")
        more = gr.Button("Fit PCA and logistic at one more layer", elem_id="layers-more")
    about = gr.HTML(_first_words(studio), elem_id="layers-about", padding=False)
    concept = gr.Dropdown([MACRO], value=MACRO, label="AUROC of", elem_id="layers-concept")
    sweep = gr.Plot(visible=False, show_label=False, elem_id="layers-sweep")
    chosen = gr.Radio([], label="Layers", visible=False, elem_id="layers-chosen")
    use = gr.Button("Use these layers", visible=False, elem_id="layers-use")
    old, new, moved = _build_comparison(studio)
    tab = LayersTab(about, sweep, concept, chosen, use, old, new)
    n_fitted = gr.State(1)

    def show(name: str, fitted: int) -> tuple[object, ...]:
        return draw_layers(studio, name, fitted)

    def add(name: str, fitted: int) -> tuple[object, ...]:
        return *draw_layers(studio, name, fitted + 1), fitted + 1

    shown = [about, sweep, concept, chosen, use]
    compare.click(guarded(show), [concept, n_fitted], shown, **DEVICE)
    concept.input(guarded(show), [concept, n_fitted], shown, **DEVICE)
    more.click(guarded(add), [concept, n_fitted], [*shown, n_fitted], **DEVICE)
    compare_runs, *results = moved

    def diff(first: str | None, second: str | None) -> tuple[object, ...]:
        return draw_comparison(studio, first, second)

    compare_runs.click(guarded(diff), [old, new], results, **DEVICE)
    return tab


def _build_comparison(studio: Studio) -> tuple[gr.Dropdown, gr.Dropdown, tuple[Any, ...]]:
    gr.Markdown("### What moved\nAny two runs side by side; the texts both have are scored.")
    choices, before, now = _run_choices(studio)
    with gr.Row():
        old = gr.Dropdown(choices, value=before, label="From run", elem_id="diff-old")
        new = gr.Dropdown(choices, value=now, label="To run", elem_id="diff-new")
    button = gr.Button("Compare these runs", elem_id="diff-compare")
    about = gr.HTML(elem_id="diff-about", padding=False)
    scores = gr.Plot(visible=False, show_label=False, elem_id="diff-scores")
    moves = gr.Plot(visible=False, show_label=False, elem_id="diff-moves")
    return old, new, (button, about, scores, moves)


def refresh_layers(studio: Studio) -> tuple[object, ...]:
    """New values for `LayersTab.outputs` after a run was made or chosen."""
    choices, before, now = _run_choices(studio)
    return (
        _first_words(studio),
        gr.Plot(visible=False),
        gr.Dropdown(choices=[MACRO], value=MACRO),
        gr.Radio(choices=[], value=None, visible=False),
        gr.Button(visible=False),
        gr.Dropdown(choices=choices, value=before),
        gr.Dropdown(choices=choices, value=now),
    )


def use_layers(chosen: str | None) -> str:
    """The chosen layers as the Train tab's Layers box takes them, such as "14,22".

    Raises:
        UserError: none is chosen.
    """
    if not chosen:
        raise UserError("no layers are chosen", fix="press Compare layers and choose a set")
    return chosen


def draw_layers(studio: Studio, concept: str, fitted: int) -> tuple[object, ...]:
    """Sweep and sets of the run in use, for about, sweep, concept, chosen and use.

    Args:
        studio: the studio.
        concept: whose AUROC is drawn, or `MACRO`.
        fitted: at how many layers PCA and logistic regression are fitted, the best one first.
    """
    sets = studio.judge(JUDGEMENT, "sets", _choose_sets)
    sweep = _swept(studio, sets, fitted)
    name = concept if concept in sweep.concepts else None
    best = sweep.best(name)
    marked = None if best is None else (sweep.columns.index(best[0]), best[1])
    title = f"Held-out AUROC, {name or 'macro'}, {sweep.folds} folds"
    figure = draw_sweep(sweep.scores(name), [c.label for c in sweep.columns], marked, title)
    options = [(_set_label(one.layers, one.auroc), one.spec) for one in sets.sets]
    return (
        draw_about(sets, sweep, name),
        gr.Plot(figure, visible=True),
        gr.Dropdown(choices=[MACRO, *sweep.concepts], value=name or MACRO),
        gr.Radio(
            choices=[(f"auto: layer {sets.recommended}", str(sets.recommended)), *options],
            value=str(sets.recommended),
            visible=True,
        ),
        gr.Button(visible=True),
    )


def _set_label(layers: Sequence[int], auroc: float) -> str:
    return f"{len(layers)}: {', '.join(map(str, layers))} ({auroc:.3f})"


def draw_about(sets: LayerSets, sweep: LayerSweep, concept: str | None = None) -> str:
    """The best cell, what was not computed, and the table of sets with their cost."""
    best = sweep.best(concept)
    if best is None:
        return "<p class='warning'>Write two descriptions of a concept to compare layers.</p>"
    column, layer = best
    auroc = sweep.scores(concept)[sweep.columns.index(column), layer]
    text = (
        f"<p>Highest: <b>layer {layer}</b> with {escape(column.label)}, AUROC {auroc:.3f}. "
        f"<code>auto</code> takes <b>layer {sets.recommended}</b>: among the layers within one "
        "standard error of the best, the one nearest to 0.6 of the depth.</p>"
    )
    if sweep.n_missing:
        text += (
            f"<p>{sweep.n_missing} empty cells were not computed: PCA and logistic regression fit "
            "anew for every fold, seconds per layer.</p>"
        )
    return text + _sets_table(sets)


def _sets_table(sets: LayerSets) -> str:
    rows = "".join(
        f"<tr><td>{', '.join(map(str, one.layers))}</td><td>{one.auroc:.3f}</td>"
        f"<td>{one.elsewhere:.3f}</td><td>{one.gain:+.3f} ± {one.gain_error:.3f}</td>"
        f"<td>{size_text(one.n_bytes)}</td><td>{one.multiply_adds:,}</td></tr>"
        for one in sets.sets
    )
    return (
        "<div class='scroll'><table><tr><th>Best layers</th><th>AUROC</th>"
        "<th>chosen on half, scored on the other</th><th>over one layer</th><th>Export</th>"
        f"<th>Multiply-adds per token</th></tr>{rows}</table></div>"
        "<p class='hint'>Mean of standardized scores, mean-difference directions; layers are added "
        "one by one. The layers were chosen on the texts of the AUROC column; the column beside it "
        "is free of that.</p>"
    )


def _choose_sets(evidence: Evidence) -> LayerSets:
    from readout_ui.layer_sets import best_layer_sets

    return best_layer_sets(evidence.corpus)


def _swept(studio: Studio, sets: LayerSets, fitted: int) -> LayerSweep:
    """The sweep with the methods that fit anew at so many layers; each layer is fitted once."""
    from readout_ui.layer_sweep import corpora_by_rule, fill_layers, refit_order, sweep_means

    def means(evidence: Evidence) -> LayerSweep:
        return sweep_means(_corpora(evidence))

    def fill(known: LayerSweep, layer: int) -> Callable[[Evidence], LayerSweep]:
        return lambda evidence: fill_layers(known, _corpora(evidence), [layer], evidence.report)

    def _corpora(evidence: Evidence) -> Any:
        run = evidence.run
        return corpora_by_rule(
            evidence.corpus, evidence.model, run.descriptions, evidence.cache, evidence.report
        )

    sweep = studio.judge(JUDGEMENT, "means", means)
    order = refit_order(sweep.n_layers, sets.recommended)
    for layer in order[: fitted if sets.sets else 0]:
        sweep = studio.judge(JUDGEMENT, ("fitted", layer), fill(sweep, layer))
    return sweep


# Two runs


def draw_comparison(studio: Studio, old_id: str | None, new_id: str | None) -> tuple[object, ...]:
    """What moved: words and tables, changes of scores, and cosines."""
    if not old_id or not new_id:
        raise UserError("two runs are needed", fix="train twice, then choose both")
    from readout_ui.run_diff import compare_runs

    diff = compare_runs(*studio.runs.load(old_id), *studio.runs.load(new_id))
    changes, reason = _score_changes(studio, diff)
    return (
        draw_diff(diff, changes, reason),
        gr.Plot(_draw_changes(changes), visible=changes is not None),
        gr.Plot(_draw_moves(diff), visible=diff.moves is not None),
    )


def _score_changes(studio: Studio, diff: RunDiff) -> tuple[ScoreChanges | None, str]:
    """Changed scores, or why there are none: another model in use, too few common texts."""
    if not diff.same_space:
        return None, ""
    old, new = studio.runs.record(diff.old), studio.runs.record(diff.new)

    def work(evidence: Evidence) -> ScoreChanges:
        from readout_ui.corpus import read_corpus
        from readout_ui.score_changes import compare_scores

        model, cache = evidence.model, evidence.cache
        old.refuse_other_model(model.name, model.fingerprint)
        first, second = (
            read_corpus(model, run.descriptions, run.settings, cache, evidence.report)
            for run in (old, new)
        )
        return compare_scores(first, second, new.best_layer)

    try:
        return studio.judge("Comparing runs", ("scores", diff.old, diff.new), work), ""
    except UserError as error:
        return None, f"Scores were not compared: {error}"


def draw_diff(diff: RunDiff, changes: ScoreChanges | None, reason: str) -> str:
    """What changed in words: settings, concepts, scores and texts."""
    lines = [f"Settings: {escape('; '.join(diff.settings))}." if diff.settings else ""]
    for noun, names in (("New", diff.concepts_added), ("Gone", diff.concepts_removed)):
        lines.append(f"{noun} concepts: {escape(', '.join(names))}." if names else "")
    lines.append(escape(diff.why_no_moves))
    lines.append(draw_verdict(changes) if changes else escape(reason))
    body = "".join(f"<p>{line}</p>" for line in lines if line)
    return body + _texts_table(diff.texts)


def draw_verdict(changes: ScoreChanges) -> str:
    """Which scores changed beyond noise, in one or two sentences."""
    macro = changes.macro
    noise = "beyond noise" if macro.beyond_noise else "within noise"
    found = [c for c in changes.concepts if c.beyond_noise]
    named = ", ".join(f"{escape(c.concept)} {c.change:+.3f}" for c in found)
    return (
        f"On the {changes.n_texts} texts both runs have, held out, at layer {changes.layer}: macro "
        f"AUROC {macro.before:.3f} → {macro.after:.3f} ({macro.change:+.3f}, 95 % from "
        f"{macro.low:+.3f} to {macro.high:+.3f}, {noise}). "
        + (f"Beyond noise: <b>{named}</b>." if found else "No concept changed beyond noise.")
    )


def _texts_table(texts: Sequence[TextChange]) -> str:
    if not texts:
        return "<p>The texts are the same.</p>"
    rows = "".join(
        f"<tr><td>{escape(c.concept)}</td><td>{c.kind}</td>"
        f"<td>{escape(c.before)}</td><td>{escape(c.after)}</td></tr>"
        for c in texts[:SHOWN_TEXTS]
    )
    rest = len(texts) - SHOWN_TEXTS
    more = f"<p>and {rest} more</p>" if rest > 0 else ""
    return (
        f"<details><summary>{len(texts)} of the texts changed</summary><div class='scroll'><table>"
        "<tr><th>Concept</th><th></th><th>Before</th><th>After</th></tr>"
        f"{rows}</table></div>{more}</details>"
    )


def _draw_changes(changes: ScoreChanges | None) -> Any:
    if changes is None:
        return None
    return draw_score_changes(
        [ScoreBar(c.concept, c.change, c.low, c.high, c.beyond_noise) for c in changes.concepts]
    )


def _draw_moves(diff: RunDiff) -> Any:
    if diff.moves is None:
        return None
    return draw_moves(diff.moves.concepts, diff.moves.layers, diff.moves.cosine)


def _run_choices(studio: Studio) -> tuple[list[tuple[str, str]], str | None, str | None]:
    """All runs, the one before the run in use, and the run in use."""
    runs, used = studio.runs.list(), studio.runs.current()
    choices = [(_run_label(run), run.id) for run in runs]
    ids = [run.id for run in runs]
    now = used.id if used else None
    rest = ids[ids.index(now) + 1 :] if now in ids else []
    return choices, rest[0] if rest else None, now


def _run_label(run: RunRecord) -> str:
    method = f"{run.settings.method}, {run.settings.read}"
    return f"{local_time(run)} · {len(run.concepts)} concepts · {method}"


def _first_words(studio: Studio) -> str:
    return EMPTY if studio.runs.current() else NO_RUN
