"""The Layers tab: where the concepts are read best, and what moved between two runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import DEVICE, HIDDEN, Changes, Part, Values, bound, components
from readout_ui.app.jobs import Question
from readout_ui.app.session import Studio
from readout_ui.app.widgets import RunTab, build_plot, local_time, plot_data, sentence, table
from readout_ui.errors import UserError
from readout_ui.plots.aurocs import ScoreBar, draw_moves, draw_score_changes, draw_sweep
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.evaluation.layer_sets import LayerSets
    from readout_ui.evaluation.layers import LayerSweep
    from readout_ui.evaluation.run_diff import RunDiff, ScoreChanges, TextChange
    from readout_ui.inference.readout import Readout
    from readout_ui.vectors.training import Corpus

SHOWN_TEXTS = 50
"""Changed texts that are listed; the rest is counted."""
ABOUT_SETS = (
    "Mean of standardized scores, mean-difference directions; layers are added one by one. The "
    "layers were chosen on the texts of the AUROC column; the column beside it is free of that."
)


def draw_about(sets: LayerSets, sweep: LayerSweep, concept: str | None = None) -> str:
    """The best cell, what was not computed, and the table of sets with their cost."""
    best = sweep.best(concept)
    if best is None:
        return "<p class='warning'>Write two descriptions of a concept to compare layers.</p>"
    column, layer = best
    auroc = sweep.scores(concept)[sweep.columns.index(column), layer]
    text = (
        f"<p>Highest: <b>layer {layer}</b> with {escape(column.label)}, AUROC {auroc:.3f}. "
        f"<code>auto</code> takes <b>layer {sets.recommended}</b>: among the layers within two "
        "standard errors of the best, the one nearest to the middle of the depth.</p>"
    )
    if sweep.n_missing:
        text += (
            f"<p>{sweep.n_missing} empty cells were not computed: PCA and logistic regression fit "
            "anew for every fold, seconds per layer.</p>"
        )
    return text + table(*sets.table(), kind="judged") + sentence(ABOUT_SETS, "about")


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
    rows = [
        (escape(c.concept), c.kind, escape(c.before), escape(c.after)) for c in texts[:SHOWN_TEXTS]
    ]
    rest = len(texts) - SHOWN_TEXTS
    more = f"<p>and {rest} more</p>" if rest > 0 else ""
    listed = table(("Concept", "Change", "Before", "After"), rows, kind="judged")
    return f"<details><summary>{len(texts)} of the texts changed</summary>{listed}{more}</details>"


TOO_FEW = "<p class='empty'>One run so far. After the next training, two can be compared here.</p>"


class Comparison(Part):
    """Two runs side by side, and what moved from one to the other."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        gr.Markdown("### What moved\nAny two runs side by side; the texts both have are scored.")
        choices, before, now = run_choices(studio)
        with gr.Row():
            self.old = gr.Dropdown(
                choices, value=before, label="From run", elem_id="diff-old", min_width=280
            )
            self.new = gr.Dropdown(
                choices, value=now, label="To run", elem_id="diff-new", min_width=280
            )
        button = gr.Button("Compare these runs", elem_id="diff-compare")
        self.about = gr.HTML(
            TOO_FEW if len(choices) == 1 else "", elem_id="diff-about", padding=False
        )
        self.scores, self.moves = build_plot("diff-scores"), build_plot("diff-moves")
        asked: set[Any] = {self.old, self.new}
        manner = {**DEVICE, "show_progress_on": self.about}
        button.click(bound(self.draw), asked, components(self), **manner)

    def draw(self, values: Values) -> Changes:
        """What moved: words and tables, changes of scores, and cosines.

        Raises:
            UserError: fewer than two runs are chosen.
        """
        old, new = values[self.old], values[self.new]
        if not old or not new:
            raise UserError("two runs are needed", fix="train twice, then choose both")
        from readout_ui.evaluation.run_diff import compare_runs

        diff = compare_runs(self.studio.runs.open(old), self.studio.runs.open(new))
        changes, reason = _score_changes(self.studio, diff)
        moves = diff.moves and (diff.moves.concepts, diff.moves.layers, diff.moves.cosine)
        return {
            self.about: draw_diff(diff, changes, reason),
            self.scores: plot_data(draw_score_changes(_bars(changes))) if changes else None,
            self.moves: plot_data(draw_moves(*moves)) if moves else None,
        }


def _score_changes(studio: Studio, diff: RunDiff) -> tuple[ScoreChanges | None, str]:
    """Changed scores, or why there are none: another model in use, too few common texts."""
    if not diff.same_space:
        return None, ""
    old, new = studio.runs.open(diff.old), studio.runs.open(diff.new)

    def work(readout: Readout) -> ScoreChanges:
        from readout_ui.evaluation.run_diff import compare_scores

        old.refuse_other_model(readout.model)
        layer = new.best_layer

        def at_layer(run: Run) -> Corpus:
            whole = studio.readout_of(run, readout.report).corpus()
            return replace(whole, pooled=whole.pooled[:, [layer]])

        return replace(compare_scores(at_layer(old), at_layer(new), 0), layer=layer)

    try:
        return studio.judge(Question("Comparing runs", (diff.old, diff.new)), work), ""
    except UserError as error:
        return None, f"Scores were not compared: {error}"


def _bars(changes: ScoreChanges) -> list[ScoreBar]:
    return [ScoreBar(c.concept, c.change, c.low, c.high, c.beyond_noise) for c in changes.concepts]


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


class LayersTab(RunTab):
    """The tab; `use` is wired by the page."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        gr.Markdown(INTRO)
        with gr.Row():
            compare = gr.Button("Compare layers", variant="primary", elem_id="layers-compare")
            more = gr.Button("Fit PCA and logistic at one more layer", elem_id="layers-more")
        words = _first_words(studio.runs.current())
        self.about = gr.HTML(words, elem_id="layers-about", padding=False)
        with gr.Column(visible=HIDDEN, elem_id="layers-results") as self.results:
            self.concept = gr.Dropdown(
                [MACRO], value=MACRO, label="AUROC of", elem_id="layers-concept"
            )
            self.sweep = build_plot("layers-sweep")
            self.chosen = gr.Radio([], label="Layers", elem_id="layers-chosen")
            self.use = gr.Button("Use these layers", elem_id="layers-use")
        self.fitted = gr.State(1)  # at how many layers PCA and logistic are fitted
        self.runs = Comparison(studio)
        inputs: set[Any] = {self.concept, self.fitted}
        outputs, manner = components(self), {**DEVICE, "show_progress_on": self.about}
        gr.on([compare.click, self.concept.input], bound(self.draw), inputs, outputs, **manner)
        more.click(bound(self.add_layer), inputs, outputs, **manner)

    def take_down(self, run: Run | None) -> Changes:
        """What was judged of another run is gone."""
        choices, before, now = run_choices(self.studio)
        return {
            self.about: _first_words(run),
            self.results: gr.Column(visible=HIDDEN),
            self.concept: gr.Dropdown(choices=[MACRO], value=MACRO),
            self.runs.old: gr.Dropdown(choices=choices, value=before),
            self.runs.new: gr.Dropdown(choices=choices, value=now),
        }

    def add_layer(self, values: Values) -> Changes:
        """The same with PCA and logistic regression at one more layer."""
        fitted = values[self.fitted] + 1
        return {self.fitted: fitted, **self.draw(values | {self.fitted: fitted})}

    def draw(self, values: Values) -> Changes:
        """Sweep and sets of the run in use.

        Raises:
            UserError: there is no run or no model.
        """
        sets = self.studio.judge(Question(JUDGEMENT, "sets"), _choose_sets)
        sweep = _swept(self.studio, sets, values[self.fitted])
        name = values[self.concept] if values[self.concept] in sweep.concepts else None
        best = sweep.best(name)
        marked = None if best is None else (sweep.columns.index(best[0]), best[1])
        title = f"Held-out AUROC, {name or 'macro'}, {sweep.folds} folds"
        figure = draw_sweep(sweep.scores(name), [c.label for c in sweep.columns], marked, title)
        options = [(_set_label(one.layers, one.auroc), one.spec) for one in sets.sets]
        auto = (f"auto: layer {sets.recommended}", str(sets.recommended))
        return {
            self.about: draw_about(sets, sweep, name),
            self.results: gr.Column(visible=True),
            self.sweep: plot_data(figure),
            self.concept: gr.Dropdown(choices=[MACRO, *sweep.concepts], value=name or MACRO),
            self.chosen: gr.Radio(choices=[auto, *options], value=auto[1]),
        }


def use_layers(chosen: str | None) -> str:
    """The chosen layers as the Layers box of the training's settings takes them, such as "14,22".

    Raises:
        UserError: none is chosen.
    """
    if not chosen:
        raise UserError("no layers are chosen", fix="press Compare layers and choose a set")
    return chosen


def _set_label(layers: Sequence[int], auroc: float) -> str:
    return f"{len(layers)}: {', '.join(map(str, layers))} ({auroc:.3f})"


def _choose_sets(readout: Readout) -> LayerSets:
    from readout_ui.evaluation.layer_sets import best_layer_sets

    return best_layer_sets(readout.corpus(), report=readout.report)


def _swept(studio: Studio, sets: LayerSets, fitted: int) -> LayerSweep:
    """The sweep with the methods that fit anew at so many layers; each layer is fitted once."""
    from readout_ui.evaluation.layers import fill_layers, refit_order, sweep_means
    from readout_ui.evaluation.public import corpora_of

    def means(readout: Readout) -> LayerSweep:
        return sweep_means(corpora_of(readout), report=readout.report)

    def fill(known: LayerSweep, layer: int) -> Callable[[Readout], LayerSweep]:
        return lambda readout: fill_layers(known, corpora_of(readout), [layer], readout.report)

    sweep = studio.judge(Question(JUDGEMENT, "means"), means)
    order = refit_order(sweep.n_layers, sets.recommended)
    for layer in order[: fitted if sets.sets else 0]:
        sweep = studio.judge(Question(JUDGEMENT, ("fitted", layer)), fill(sweep, layer))
    return sweep


def _first_words(run: Run | None) -> str:
    return EMPTY if run else NO_RUN
