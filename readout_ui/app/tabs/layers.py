"""The Layers tab: where the concepts are read best, and what moved between two runs.

Sentences and tables of the Layers tab as HTML: layers and their cost, and what moved.

Two runs side by side, on screen: texts, directions, and scores beyond noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.plot import PlotData

from readout_ui.app.events import DEVICE, HIDDEN, guarded
from readout_ui.app.evidence import Evidence, Question
from readout_ui.app.session import Studio
from readout_ui.app.widgets import build_plot, local_time, plot_data
from readout_ui.errors import UserError
from readout_ui.files import size_text
from readout_ui.plots.aurocs import ScoreBar, draw_moves, draw_score_changes, draw_sweep
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.evaluation.layer_sets import LayerSet, LayerSets
    from readout_ui.evaluation.layers import LayerSweep
    from readout_ui.evaluation.run_diff import RunDiff, TextChange
    from readout_ui.evaluation.score_changes import ScoreChanges
    from readout_ui.vectors.training import Corpus

SHOWN_TEXTS = 50
"""Changed texts that are listed; the rest is counted."""


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
        f"<td>{one.elsewhere:.3f}</td><td>{_gain(one)}</td>"
        f"<td>{size_text(one.n_bytes)}</td><td>{one.multiply_adds:,}</td></tr>"
        for one in sets.sets
    )
    return (
        "<div class='scroll'><table class='judged'><thead><tr><th>Best layers</th>"
        "<th>AUROC</th><th>Chosen on half, scored on the other</th><th>Over one layer</th>"
        f"<th>Export</th><th>Multiply-adds per token</th></tr></thead>{rows}</table></div>"
        "<p class='about'>Mean of standardized scores, mean-difference directions; layers are "
        "added one by one. The layers were chosen on the texts of the AUROC column; the column "
        "beside it is free of that.</p>"
    )


def _gain(one: LayerSet) -> str:
    """What more layers give over the best single one, which gains nothing over itself."""
    return "–" if len(one.layers) == 1 else f"{one.gain:+.3f} ± {one.gain_error:.3f}"


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
        f"<details><summary>{len(texts)} of the texts changed</summary><div class='scroll'>"
        "<table class='judged'><tr><th>Concept</th><th>Change</th><th>Before</th><th>After</th>"
        f"</tr>{rows}</table></div>{more}</details>"
    )


TOO_FEW = "<p class='empty'>One run so far. After the next training, two can be compared here.</p>"


def build_comparison(studio: Studio) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Lay out and wire the choice of two runs and what moved between them."""
    gr.Markdown("### What moved\nAny two runs side by side; the texts both have are scored.")
    choices, before, now = run_choices(studio)
    with gr.Row():
        old, new = (
            gr.Dropdown(choices, value=run, label=label, elem_id=name, min_width=280)
            for run, label, name in (
                (before, "From run", "diff-old"),
                (now, "To run", "diff-new"),
            )
        )
    button = gr.Button("Compare these runs", elem_id="diff-compare")
    about = gr.HTML(TOO_FEW if len(choices) == 1 else "", elem_id="diff-about", padding=False)
    moved = [about, build_plot("diff-scores"), build_plot("diff-moves")]

    def diff(first: str | None, second: str | None) -> tuple[object, ...]:
        return draw_comparison(studio, first, second)

    button.click(guarded(diff), [old, new], moved, **DEVICE, show_progress_on=about)
    return old, new


def draw_comparison(studio: Studio, old_id: str | None, new_id: str | None) -> tuple[object, ...]:
    """What moved: words and tables, changes of scores, and cosines.

    Raises:
        UserError: fewer than two runs are chosen.
    """
    if not old_id or not new_id:
        raise UserError("two runs are needed", fix="train twice, then choose both")
    from readout_ui.evaluation.run_diff import compare_runs

    diff = compare_runs(studio.runs.open(old_id), studio.runs.open(new_id))
    changes, reason = _score_changes(studio, diff)
    return (
        draw_diff(diff, changes, reason),
        _draw_changes(changes),
        _draw_moves(diff),
    )


def _score_changes(studio: Studio, diff: RunDiff) -> tuple[ScoreChanges | None, str]:
    """Changed scores, or why there are none: another model in use, too few common texts."""
    if not diff.same_space:
        return None, ""
    old, new = studio.runs.open(diff.old), studio.runs.open(diff.new)

    def work(evidence: Evidence) -> ScoreChanges:
        from readout_ui.evaluation.score_changes import compare_scores

        model = evidence.readout.model
        old.refuse_other_model(model)
        layer = new.best_layer

        def at_layer(run: Run) -> Corpus:
            readout, own = evidence.readout, evidence
            if run.id != readout.run.id:
                by = replace(readout, run=run, settings=run.settings, texts=run.texts)
                own = replace(evidence, readout=by, known=None)
            return replace(own.corpus, pooled=own.corpus.pooled[:, [layer]])

        return replace(compare_scores(at_layer(old), at_layer(new), 0), layer=layer)

    try:
        return studio.judge(Question("Comparing runs", (diff.old, diff.new)), work), ""
    except UserError as error:
        return None, f"Scores were not compared: {error}"


def _draw_changes(changes: ScoreChanges | None) -> PlotData | None:
    if changes is None:
        return None
    bars = [ScoreBar(c.concept, c.change, c.low, c.high, c.beyond_noise) for c in changes.concepts]
    return plot_data(draw_score_changes(bars))


def _draw_moves(diff: RunDiff) -> PlotData | None:
    if diff.moves is None:
        return None
    return plot_data(draw_moves(diff.moves.concepts, diff.moves.layers, diff.moves.cosine))


def run_choices(studio: Studio) -> tuple[list[tuple[str, str]], str | None, str | None]:
    """All runs, the one before the run in use, and the run in use."""
    runs, used = studio.runs.list(), studio.runs.current()
    choices = [(_run_label(run), run.id) for run in runs]
    ids = [run.id for run in runs]
    now = used.id if used else None
    rest = ids[ids.index(now) + 1 :] if now in ids else []
    return choices, rest[0] if rest else None, now


def _run_label(run: Run) -> str:
    method = f"{run.settings.method}, {run.settings.read}"
    return f"{local_time(run)} · {len(run.concepts)} concepts · {method}"


MACRO = "All concepts (macro)"
JUDGEMENT = "Layers"
INTRO = (
    "Every description is scored by directions that never saw it (cross-validation), at every "
    "layer, from the cached activations. Nothing here reads the model again."
)
EMPTY = "<p class='empty'>Press <b>Compare layers</b> to see where the concepts are read best.</p>"
NO_RUN = "<p class='empty'>There are no vectors yet. Press <b>Train</b> first.</p>"


@dataclass(frozen=True)
class LayersTab:
    """Components of the Layers tab that others listen to."""

    about: gr.HTML
    """Which layer is best, or what to do first."""
    results: gr.Column
    """Everything that was found; hidden until there is something."""
    sweep: gr.Plot
    """Layer x (method, read rule)."""
    concept: gr.Dropdown
    """Whose AUROC is shown; macro at first."""
    chosen: gr.Radio
    """The best set of each size."""
    use: gr.Button
    """Sends `chosen` to the Train tab's Layers box."""
    old: gr.Dropdown
    """The run that is compared with."""
    new: gr.Dropdown
    """The run that is looked at."""
    shown: gr.State
    """Id of the run that all this belongs to."""

    @property
    def outputs(self) -> list[Any]:
        """What `refresh_layers` gives new values for, in its order."""
        return [self.about, self.results, self.concept, self.old, self.new, self.shown]


def build_layers_tab(studio: Studio) -> LayersTab:
    """Lay out the tab and wire its buttons, but for `use`."""
    run = studio.runs.current()
    gr.Markdown(INTRO)
    with gr.Row():
        compare = gr.Button("Compare layers", variant="primary", elem_id="layers-compare")
        more = gr.Button("Fit PCA and logistic at one more layer", elem_id="layers-more")
    about = gr.HTML(_first_words(studio), elem_id="layers-about", padding=False)
    with gr.Column(visible=HIDDEN, elem_id="layers-results") as results:
        concept = gr.Dropdown([MACRO], value=MACRO, label="AUROC of", elem_id="layers-concept")
        sweep = build_plot("layers-sweep")
        chosen = gr.Radio([], label="Layers", elem_id="layers-chosen")
        use = gr.Button("Use these layers", elem_id="layers-use")
    old, new = build_comparison(studio)
    shown = gr.State(run.id if run else "")
    tab = LayersTab(about, results, sweep, concept, chosen, use, old, new, shown)
    _wire(studio, tab, compare, more)
    return tab


def _wire(studio: Studio, tab: LayersTab, compare: gr.Button, more: gr.Button) -> None:
    n_fitted = gr.State(1)

    def show(name: str, fitted: int) -> tuple[object, ...]:
        return draw_layers(studio, name, fitted)

    def add(name: str, fitted: int) -> tuple[object, ...]:
        return *draw_layers(studio, name, fitted + 1), fitted + 1

    outputs = [tab.about, tab.results, tab.sweep, tab.concept, tab.chosen]
    inputs = [tab.concept, n_fitted]
    compare.click(guarded(show), inputs, outputs, **DEVICE, show_progress_on=tab.about)
    tab.concept.input(guarded(show), inputs, outputs, **DEVICE, show_progress_on=tab.about)
    more.click(guarded(add), inputs, [*outputs, n_fitted], **DEVICE, show_progress_on=tab.about)


def refresh_layers(studio: Studio, shown: str = "") -> tuple[object, ...]:
    """New values for `LayersTab.outputs` after a run was made or chosen.

    Args:
        studio: the studio.
        shown: id of the run that the tab shows; where it is the run in use, nothing changes.
    """
    run = studio.runs.current()
    if run is not None and run.id == shown:
        return (gr.skip(),) * 6
    choices, before, now = run_choices(studio)
    return (
        _first_words(studio),
        gr.Column(visible=HIDDEN),
        gr.Dropdown(choices=[MACRO], value=MACRO),
        gr.Dropdown(choices=choices, value=before),
        gr.Dropdown(choices=choices, value=now),
        run.id if run else "",
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
    """Sweep and sets of the run in use, for about, results, sweep, concept and chosen.

    Args:
        studio: the studio.
        concept: whose AUROC is drawn, or `MACRO`.
        fitted: at how many layers PCA and logistic regression are fitted, the best one first.
    """
    sets = studio.judge(Question(JUDGEMENT, "sets"), _choose_sets)
    sweep = _swept(studio, sets, fitted)
    name = concept if concept in sweep.concepts else None
    best = sweep.best(name)
    marked = None if best is None else (sweep.columns.index(best[0]), best[1])
    title = f"Held-out AUROC, {name or 'macro'}, {sweep.folds} folds"
    figure = draw_sweep(sweep.scores(name), [c.label for c in sweep.columns], marked, title)
    options = [(_set_label(one.layers, one.auroc), one.spec) for one in sets.sets]
    return (
        draw_about(sets, sweep, name),
        gr.Column(visible=True),
        plot_data(figure),
        gr.Dropdown(choices=[MACRO, *sweep.concepts], value=name or MACRO),
        gr.Radio(
            choices=[(f"auto: layer {sets.recommended}", str(sets.recommended)), *options],
            value=str(sets.recommended),
        ),
    )


def _set_label(layers: Sequence[int], auroc: float) -> str:
    return f"{len(layers)}: {', '.join(map(str, layers))} ({auroc:.3f})"


def _choose_sets(evidence: Evidence) -> LayerSets:
    from readout_ui.evaluation.layer_sets import best_layer_sets

    return best_layer_sets(evidence.corpus, report=evidence.readout.report)


def _swept(studio: Studio, sets: LayerSets, fitted: int) -> LayerSweep:
    """The sweep with the methods that fit anew at so many layers; each layer is fitted once."""
    from readout_ui.evaluation.layers import corpora_by_rule, fill_layers, refit_order, sweep_means

    def means(evidence: Evidence) -> LayerSweep:
        return sweep_means(_corpora(evidence), report=evidence.readout.report)

    def fill(known: LayerSweep, layer: int) -> Callable[[Evidence], LayerSweep]:
        return lambda evidence: fill_layers(
            known, _corpora(evidence), [layer], evidence.readout.report
        )

    def _corpora(evidence: Evidence) -> Any:
        return corpora_by_rule(evidence.corpus, evidence.read)

    sweep = studio.judge(Question(JUDGEMENT, "means"), means)
    order = refit_order(sweep.n_layers, sets.recommended)
    for layer in order[: fitted if sets.sets else 0]:
        sweep = studio.judge(Question(JUDGEMENT, ("fitted", layer)), fill(sweep, layer))
    return sweep


def _first_words(studio: Studio) -> str:
    return EMPTY if studio.runs.current() else NO_RUN
