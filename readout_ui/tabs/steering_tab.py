"""The Steering tab: push the model along concept directions, see what it says and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.in_use import InUse
from readout_ui.jobs import Job, JobState
from readout_ui.runs import RunRecord
from readout_ui.sampling import Sampling
from readout_ui.steering_setups import SteeringSetup, parse_factors, parse_setup, setup_json
from readout_ui.studio import Studio
from readout_ui.tabs.events import PRIVATE, QUIET, guarded
from readout_ui.tabs.layer_choices import layer_slider
from readout_ui.tabs.notices import draw_notice
from readout_ui.tabs.plots import build_plot
from readout_ui.tabs.steering_inputs import (
    SetupInputs,
    add_row,
    build_setup,
    operator_fields,
    set_outputs,
    setup_from,
    show_setup,
)
from readout_ui.tabs.steering_jobs import SessionJobs, draw_end, draw_failure, draw_job, follow
from readout_ui.tabs.steering_results import (
    Found,
    Side,
    build_side,
    draw_answer,
    draw_pair,
    draw_sweep,
    first_concept,
)

if TYPE_CHECKING:
    from readout_ui.generation import Live
    from readout_ui.trials import Trial

NO_RUN = UserError("there are no vectors to steer with yet", fix="press Train first")
PLACEHOLDER = "What the user says, for example: How was your day?"
KINDS = {"z-score": "z", "Cosine": "cosine", "Raw": "raw"}
READS = {"While steered": "during", "Its words alone": "alone"}
SAVE = """(text) => {
  if (!text) return [];
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  link.download = 'steering.json';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  return [];
}"""
PICK = """element.addEventListener('click', (event) => {
  const token = event.target.closest('[data-token]');
  if (token) trigger('select', { token: Number(token.dataset.token) });
});"""
FOLLOWING: dict[str, Any] = {
    **PRIVATE,
    "show_progress": "hidden",
    "concurrency_id": "steering",
    "concurrency_limit": 16,
}
"""For events that only look at a job; the device itself runs one at a time."""


@dataclass(frozen=True)
class SteeringTab:
    """Components of the Steering tab that others listen to."""

    setup: SetupInputs
    prompt: gr.Textbox
    notice: gr.HTML
    """What to do first; empty when there is something to steer with."""
    layer: gr.Slider
    """Whose scores are shown."""

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_steering`."""
        concepts = [row.inputs[0] for row in self.setup.rows]
        return [self.notice, self.layer, self.setup.rows[0].inputs[5], *concepts]


@dataclass(frozen=True)
class _Ask:
    """Everything that is sent to the model."""

    prompt: Any
    system: Any
    sampling: tuple[Any, ...]
    """Temperature, longest answer, seed."""
    factors: Any

    @property
    def inputs(self) -> list[Any]:
        return [self.prompt, self.system, *self.sampling, self.factors]


@dataclass(frozen=True)
class _Buttons:
    steer: Any
    sweep: Any
    cancel: Any
    save: Any
    load: Any


@dataclass(frozen=True)
class _Results:
    """Everything below the buttons."""

    progress: Any
    found: gr.State
    """The pair that is shown."""
    swept: gr.State
    """The sweep that is shown."""
    pair: Any
    look: tuple[Any, ...]
    """Inputs of `PairLook`."""
    summary: Any
    sides: tuple[Side, Side]
    sweep: Any
    sweep_look: tuple[Any, Any]
    curves: Any
    table: Any

    @property
    def pair_drawn(self) -> list[Any]:
        return [self.summary, *self.sides[0].outputs, *self.sides[1].outputs]

    @property
    def sweep_drawn(self) -> list[Any]:
        return [self.curves, self.table]


def build_steering_tab(studio: Studio) -> SteeringTab:
    """Lay out the tab and wire its own events."""
    run = studio.runs.current()
    notice = gr.HTML(draw_notice(None if run else NO_RUN), elem_id="steer-notice")
    with gr.Group(elem_id="steer-setup"):
        setup = build_setup(run)
    picker = gr.HTML(visible=False, elem_id="steer-picker", js_on_load=PICK)
    ask = _build_ask()
    buttons = _build_buttons()
    results = _build_results(run)
    tab = SteeringTab(setup, ask.prompt, notice, results.look[0])
    _wire_setup(studio, setup, buttons, results)
    _wire_picker(studio, setup, ask, picker)
    _wire_work(studio, setup, ask, buttons, results)
    _wire_looks(results)
    return tab


def refresh_steering(studio: Studio) -> tuple[Any, ...]:
    """New values for `SteeringTab.refreshed` after a run was made or chosen; results stay."""
    run = studio.runs.current()
    names = list(run.concepts) if run else []
    slider = layer_slider(run)
    layers = gr.Textbox(placeholder=f"best: {run.best_layer}" if run else "10,14")
    return (
        draw_notice(None if run else NO_RUN),
        gr.Slider(**slider),
        layers,
        *(gr.Dropdown(choices=names) for _ in range(6)),
    )


def _build_ask() -> _Ask:
    prompt = gr.Textbox(
        label="Prompt", lines=2, max_lines=8, placeholder=PLACEHOLDER, elem_id="steer-prompt"
    )
    with gr.Accordion("System prompt, sampling and sweep", open=False, elem_id="steer-more"):
        system = gr.Textbox("", label="System prompt", lines=1, max_lines=6)
        with gr.Row():
            temperature = gr.Slider(0, 2, value=0.7, step=0.05, label="Temperature", min_width=180)
            longest = gr.Slider(
                4, 384, value=48, step=4, label="Longest answer, tokens", min_width=180
            )
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=100)
            factors = gr.Textbox(
                "-2..2:9",
                label="Sweep over",
                info="From..to:steps, or a list. Every multiplier is taken times each factor.",
                min_width=200,
                elem_id="steer-factors",
            )
    return _Ask(prompt, system, (temperature, longest, seed), factors)


def _build_buttons() -> _Buttons:
    with gr.Row(elem_id="steer-go"):
        steer = gr.Button("Steer", variant="primary", elem_id="steer-run", min_width=120, scale=0)
        sweep = gr.Button("Sweep", elem_id="steer-sweep", min_width=110, scale=0)
        cancel = gr.Button("Cancel", elem_id="steer-cancel", visible=False, min_width=100, scale=0)
        save = gr.Button("Save setup", elem_id="steer-save", min_width=120, scale=0)
        load = gr.UploadButton(
            "Load setup",
            file_types=[".json"],
            type="binary",
            elem_id="steer-load",
            min_width=120,
            scale=0,
        )
    return _Buttons(steer, sweep, cancel, save, load)


def _build_results(run: RunRecord | None) -> _Results:
    progress = gr.HTML(elem_id="steer-progress")
    with gr.Column(visible=False, elem_id="steer-pair") as pair:
        summary = gr.HTML(elem_id="steer-summary")
        look = _build_look(run)
        with gr.Row(elem_id="steer-sides"):
            sides = build_side("plain"), build_side("steered")
    with gr.Column(visible=False, elem_id="steer-swept") as swept:
        with gr.Row():
            layer = gr.Slider(**layer_slider(run), step=1, label="Scores at layer", min_width=200)
            read = gr.Radio(list(READS.items()), value="during", label="Answers read")
        curves = build_plot("steer-curves")
        table = gr.HTML(elem_id="steer-table")
    return _Results(
        progress=progress,
        found=gr.State(None),
        swept=gr.State(None),
        pair=pair,
        look=look,
        summary=summary,
        sides=sides,
        sweep=swept,
        sweep_look=(layer, read),
        curves=curves,
        table=table,
    )


def _build_look(run: RunRecord | None) -> tuple[Any, ...]:
    """Inputs in the order of PairLook's fields."""
    with gr.Accordion("Look", open=False, elem_id="steer-look"):
        with gr.Row():
            layer = gr.Slider(**layer_slider(run), step=1, label="Layer", min_width=200)
            concept = gr.Dropdown([], label="Text coloured by", min_width=180)
            chosen = gr.Dropdown(
                [], label="Concepts (empty: moved most)", multiselect=True, value=[], min_width=220
            )
        with gr.Row():
            kind = gr.Radio(list(KINDS.items()), value="z", label="Score")
            read = gr.Radio(
                list(READS.items()),
                value="during",
                label="Steered answer read",
                elem_id="steer-read",
            )
            prompt = gr.Checkbox(False, label="Show the prompt's tokens", elem_id="steer-whole")
    return layer, concept, kind, read, prompt, chosen


def _wire_setup(studio: Studio, setup: SetupInputs, buttons: _Buttons, results: _Results) -> None:
    layers = [row.inputs[5] for row in setup.rows]
    setup.add.click(
        guarded(add_row), [setup.open, layers[0]], [setup.open, *setup.boxes, *layers], **QUIET
    )
    for number, row in enumerate(setup.rows):
        row.inputs[1].input(operator_fields, row.inputs[1], [row.inputs[2], row.inputs[4]], **QUIET)
        row.remove.click(
            partial(_remove_row, number), setup.open, [setup.open, row.box, row.inputs[0]], **QUIET
        )
    setup.place.input(
        lambda place: gr.Textbox(visible=place in ("from", "spans")),
        setup.place,
        setup.tokens,
        **QUIET,
    )
    text = gr.Textbox(visible=False)

    def save(*values: Any) -> str:
        run = _run(studio)
        return setup_json(setup_from(run, *values), run.model_name, run.model_fingerprint)

    def load(raw: bytes) -> tuple[Any, ...]:
        run = _run(studio)
        found = parse_setup(raw, "the setup file", run.model_name, run.model_fingerprint)
        note = f"<p class='steer-note'><b>Loaded.</b> {escape(found.describe())}</p>"
        return note, *show_setup(found)

    buttons.save.click(guarded(save), setup.values, text, **PRIVATE).success(
        None, text, js=SAVE, **PRIVATE
    )
    outputs = [results.progress, *set_outputs(setup)]
    buttons.load.upload(guarded(load), buttons.load, outputs, **QUIET)


def _remove_row(number: int, shown: tuple[bool, ...]) -> tuple[Any, ...]:
    now = tuple(there and i != number for i, there in enumerate(shown))
    return now, gr.Row(visible=False), None


def _wire_picker(studio: Studio, setup: SetupInputs, ask: _Ask, picker: Any) -> None:
    """For chosen tokens: the prompt's tokens with their positions, to be clicked."""

    def show(place: str, prompt: str, system: str, chosen: str) -> Any:
        if place not in ("from", "spans"):
            return gr.HTML("", visible=False)
        try:
            job = studio.on_device("read", "Splitting a prompt", partial(_tokens, prompt, system))
            tokens = job.result() if prompt.strip() else ()
        except UserError as error:
            return gr.HTML(draw_failure(str(error)), visible=True)
        return gr.HTML(_draw_picker(tokens, place, chosen), visible=True)

    def pick(place: str, chosen: str, event: gr.EventData) -> str:
        return pick_token(place, chosen, int(event.token))

    inputs = [setup.place, ask.prompt, ask.system, setup.tokens]
    gr.on(
        [setup.place.change, ask.prompt.blur, setup.tokens.change],
        guarded(show),
        inputs,
        picker,
        trigger_mode="always_last",
        **QUIET,
    )
    picker.select(guarded(pick), [setup.place, setup.tokens], setup.tokens, **QUIET)


def pick_token(place: str, chosen: str, token: int) -> str:
    """The positions after a click: the first one for "from", else one more or one less."""
    if place == "from":
        return str(token)
    positions = _positions(chosen)
    kept = sorted(positions ^ {token})
    spans: list[list[int]] = []
    for position in kept:
        if spans and spans[-1][1] == position - 1:
            spans[-1][1] = position
        else:
            spans.append([position, position])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _positions(chosen: str) -> set[int]:
    from readout_ui.steering_setups import parse_where

    if not chosen.strip():
        return set()
    spans = parse_where(f"spans:{chosen}").spans
    return {position for first, stop in spans for position in range(first, min(stop, 100_000))}


def _draw_picker(tokens: tuple[str, ...], place: str, chosen: str) -> str:
    if not tokens:
        return "<p class='steer-note'>Write a prompt to see its tokens here.</p>"
    try:
        marked = _positions(chosen)
    except UserError:
        marked = set()
    if place == "from" and marked:
        marked = set(range(min(marked), len(tokens)))
    buttons = "".join(
        f"<button type='button' data-token='{i}' aria-pressed='{str(i in marked).lower()}'>"
        f"<i>{i}</i>{escape(token)}</button>"
        for i, token in enumerate(tokens)
    )
    after = f"Answer tokens follow from {len(tokens)} on."
    return f"<div class='steer-tokens'>{buttons}</div><p class='steer-about'>{after}</p>"


def _tokens(prompt: str, system: str, used: InUse) -> tuple[str, ...]:
    from readout_ui.frames import visible_tokens

    framed = _framed(used, prompt, system or "")
    return visible_tokens(used.model.tokenizer, framed.token_ids)


def _wire_work(
    studio: Studio, setup: SetupInputs, ask: _Ask, buttons: _Buttons, results: _Results
) -> None:
    jobs = SessionJobs()
    inputs = [*ask.inputs, *setup.values]
    n_ask = len(ask.inputs)
    live = [results.sides[0].text, results.sides[1].text]
    busy = [results.progress, buttons.cancel, buttons.steer, buttons.sweep]

    def steer(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        texts = {"baseline": "", "steered": ""}

        def on_text(side: str, answer: Live) -> None:
            texts[side] = answer.text

        def begin() -> Job[Any]:
            wish = _wish(studio, values[:n_ask], values[n_ask:])
            return studio.on_device("steer", "Steering", partial(_compare, wish, on_text))

        n_rest = 1 + 1 + 3 + len(results.pair_drawn) - 2
        for shown, job in _working(studio, jobs, str(request.session_hash), begin):
            if job is None:
                words = [draw_answer(texts[side], "") for side in texts]
                visible = gr.Column(visible=True) if texts["baseline"] else gr.skip()
                sides = words if texts["baseline"] else [gr.skip(), gr.skip()]
                yield *shown, visible, *sides, *(gr.skip() for _ in range(n_rest - 1))
            else:
                yield *shown, *_shown_pair(studio, job.result())

    rest = [output for output in results.pair_drawn if output not in live]
    outputs = [*busy, results.pair, *live, results.found, *results.look[:2], results.look[5], *rest]

    def sweep(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        def begin() -> Job[Any]:
            factors = parse_factors(str(values[n_ask - 1]))
            wish = _wish(studio, values[:n_ask], values[n_ask:])
            return studio.on_device("sweep", "Sweeping", partial(_sweep, wish, factors))

        for shown, job in _working(studio, jobs, str(request.session_hash), begin):
            if job is None:
                yield *shown, *(gr.skip() for _ in range(5))
            else:
                yield *shown, *_shown_sweep(studio, job.result())

    def cancel(request: gr.Request) -> None:
        jobs.cancel(str(request.session_hash))

    swept = [results.sweep, results.swept, results.sweep_look[0], *results.sweep_drawn]
    buttons.steer.click(steer, inputs, outputs, **FOLLOWING)
    buttons.sweep.click(sweep, inputs, [*busy, *swept], **FOLLOWING)
    buttons.cancel.click(cancel, **QUIET)


@dataclass(frozen=True, eq=False)
class _Wish:
    """One press of a button, checked."""

    setup: SteeringSetup
    prompt: str
    system: str
    sampling: Sampling


def _wish(studio: Studio, asked: tuple[Any, ...], fields: tuple[Any, ...]) -> _Wish:
    prompt, system, temperature, longest, seed, _factors = asked
    if not str(prompt).strip():
        raise UserError("there is no prompt", fix="write what the user says")
    sampling = Sampling(
        temperature=float(temperature), max_new_tokens=int(longest), seed=int(seed or 0)
    )
    return _Wish(setup_from(_run(studio), *fields), prompt, system or "", sampling)


def _run(studio: Studio) -> RunRecord:
    run = studio.runs.current()
    if run is None:
        raise NO_RUN
    return run


def _working(
    studio: Studio, jobs: SessionJobs, session: str, begin: Callable[[], Job[Any]]
) -> Iterator[tuple[tuple[Any, ...], Job[Any] | None]]:
    """Progress and buttons while a job runs; the job itself at the end, if it has a result."""
    try:
        job = begin()
    except UserError as error:
        yield (draw_failure(str(error)), gr.skip(), gr.skip(), gr.skip()), None
        return
    before = ""
    for view in follow(jobs, session, job):
        if view.state.finished:
            done = job if view.state is JobState.DONE else None
            yield (draw_end(view), *_busy(False)), done
            return
        now = draw_job(view, studio.worker)
        yield (gr.skip() if now == before else now, *_busy(True)), None
        before = now


def _busy(busy: bool) -> tuple[Any, ...]:
    """Cancel, Steer, Sweep."""
    return gr.Button(visible=busy), gr.Button(interactive=not busy), gr.Button(interactive=not busy)


def _shown_pair(studio: Studio, found: Found) -> tuple[Any, ...]:
    """Column, texts, state, choices, and the rest of what is drawn."""
    pair = found.pair
    assert pair is not None
    names, concept = list(pair.alone.concepts), first_concept(pair)
    run = studio.runs.current()
    layer = pair.alone.nearest_layer(run.best_layer if run else max(pair.alone.layers))
    summary, *drawn = draw_pair(found, layer, concept, "z", "during", False, [])
    plain, steered = drawn[:5], drawn[5:]
    slider = gr.Slider(value=layer)
    choices = gr.Dropdown(choices=names, value=concept)
    chosen = gr.Dropdown(choices=names, value=[])
    return (
        gr.Column(visible=True),
        *(plain[0], steered[0]),
        found,
        *(slider, choices, chosen),
        *(summary, *plain[1:], *steered[1:]),
    )


def _shown_sweep(studio: Studio, found: Found) -> tuple[Any, ...]:
    swept, run = found.sweep, studio.runs.current()
    assert swept is not None
    best = run.best_layer if run else max(swept.layers)
    layer = min(swept.layers, key=lambda other: abs(other - best))
    return (
        gr.Column(visible=True),
        found,
        gr.Slider(value=layer),
        *draw_sweep(found, layer, "during"),
    )


def _wire_looks(results: _Results) -> None:
    gr.on(
        [each.input for each in results.look],
        guarded(draw_pair),
        [results.found, *results.look],
        results.pair_drawn,
        trigger_mode="always_last",
        **QUIET,
    )
    gr.on(
        [each.input for each in results.sweep_look],
        guarded(draw_sweep),
        [results.swept, *results.sweep_look],
        results.sweep_drawn,
        trigger_mode="always_last",
        **QUIET,
    )


def _compare(wish: _Wish, on_text: Callable[[str, Live], None], used: InUse) -> Found:
    from readout_ui.trials import compare

    return Found(pair=compare(_trial(wish, used), wish.setup, used.report, on_text))


def _sweep(wish: _Wish, factors: tuple[float, ...], used: InUse) -> Found:
    from readout_ui.sweeps import sweep

    return Found(sweep=sweep(_trial(wish, used), wish.setup, factors, used.report))


def _trial(wish: _Wish, used: InUse) -> Trial:
    from readout_ui.steering import residual_norms
    from readout_ui.trials import Trial

    run = used.run
    return Trial(
        model=used.model,
        vectors=used.vectors,
        prompt=_framed(used, wish.prompt, wish.system),
        sampling=wish.sampling,
        norms=residual_norms(used.model, run.settings, run.descriptions, used.cache, used.report),
        layer_type=used.layer_type,
        layer_config=used.layer_config,
    )


def _framed(used: InUse, prompt: str, system: str) -> Any:
    from readout_ui.frames import Turn
    from readout_ui.generation import frame_for_answer

    return frame_for_answer(used.model, [Turn("user", prompt)], system)
