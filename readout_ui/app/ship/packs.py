"""Packs: those that are here, one to install, and one to make of a run."""

from __future__ import annotations

import tempfile
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from readout_ui.app.assets import calling, on_load
from readout_ui.app.events import DEVICE, EACH, QUIET, Changes, Part, bound, components
from readout_ui.app.session import Studio
from readout_ui.app.ship.bring import certify
from readout_ui.app.widgets import count
from readout_ui.errors import UserError
from readout_ui.files import scratch_folder
from readout_ui.runs.model_card import model_card
from readout_ui.runs.packs import (
    Conflict,
    Pack,
    PackAbout,
    is_trained_on,
    keep_pack,
    keep_run,
    kept_packs,
    pack_files,
    pack_path,
    plan_texts,
    read_pack,
    slug,
)
from readout_ui.runs.run import Run
from readout_ui.runs.run_files import write_zip
from readout_ui.texts.exchange import ImportPlan, apply_import, plan_import
from readout_ui.texts.library import Library
from readout_ui.texts.set_files import ImportedSet
from readout_ui.texts.shipped import LIBRARIES, SHIPPED

_HEAD = (
    "<header><h2>Packs</h2><span class='dim small'>texts, run and card in one zip</span></header>"
)


class PacksBox(Part):
    """The packs that ship or were installed; `changed` is the event after which runs differ."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Row(elem_id="packs-head"):
            gr.HTML(_HEAD, padding=False)
            take = gr.UploadButton(
                "Install a pack",
                file_types=[".zip"],
                size="sm",
                elem_id="pack-install",
                interactive=not studio.read_only,
            )
        self.told = gr.HTML(elem_id="pack-told", padding=False, js_on_load=on_load("ship/acts.js"))
        self.list = gr.HTML(
            draw_packs(studio), elem_id="packs", padding=False, js_on_load=on_load("ship/acts.js")
        )
        outputs, each = components(self), {**DEVICE, **EACH}
        self.changed: tuple[Any, ...] = (
            take.upload(bound(self.install), take, outputs, **each),
            self.told.select(bound(self.act), None, outputs, **each),
            self.list.select(bound(self.act), None, outputs, **each),
        )

    def install(self, path: str | None) -> Changes:
        """Check a pack that was brought, keep it, and install it."""
        self.studio.refuse_if_read_only("install a pack")
        if not path:
            raise UserError("there is no file", fix="choose a pack")
        file = Path(path)
        pack = read_pack(file, file.name)
        kept = keep_pack(self.studio.options.runs, file.read_bytes(), pack.about)
        return self._installed(kept.name, pack, "ask")

    def act(self, event: gr.EventData) -> Changes:
        """Install, use, train or forget a pack of the list."""
        self.studio.refuse_if_read_only("change packs")
        act, file = str(event.act), str(event.pack)
        if act == "shipped":
            return self._added(file)
        path = pack_path(self.studio.options.runs, file)
        if act == "forget":
            path.unlink(missing_ok=True)
            return {self.told: "", **self.refresh()}
        pack = read_pack(path)
        if act == "train":
            self.studio.start_training(texts=Library(pack.run.texts))
            return {self.told: _done(f"Training the texts of {pack.about.name} on this model.")}
        return self._installed(file, pack, str(event.way))

    def _installed(self, file: str, pack: Pack, way: str) -> Changes:
        """Texts into the library, vectors among the runs; or the question that is open."""
        studio = self.studio
        try:
            plan = plan_texts(pack, studio.library(), way)
        except Conflict as conflict:
            return {self.told: _question(file, pack.about, conflict), **self.refresh()}
        fits = studio.status().model_fingerprint in ("", pack.about.fingerprint)
        verdict = ""
        if fits:
            known = {run.id for run in studio.runs.list()}
            run = keep_run(studio.runs, pack)
            verdict = "" if run.id in known else f" {certify(studio, run, pack.about.name)}."
            studio.use_run(run.id)
        apply_import(studio.folder, plan)
        next_step = (
            f" It is in use now.{verdict}"
            if fits
            else f" Its vectors are of {pack.about.model}: it needs training on this model."
        )
        added = count(len(plan.of("added")) + len(plan.of("changed")), "file")
        done = f"{pack.about.name} is installed: {added} of texts joined your library.{next_step}"
        return {self.told: _done(done), **self.refresh()}

    def _added(self, library: str) -> Changes:
        """The concepts of a shipped library that are not here; those that are stay as they are."""
        texts = Library(f"{SHIPPED}{library}").texts()
        plan = plan_import(self.studio.library(), ImportedSet(texts, (), ()))
        new = plan.of("added")
        apply_import(self.studio.folder, ImportPlan(new, (), ()))
        done = f"{count(len(new), 'file')} of texts joined your library. Press Train."
        return {self.told: _done(done), **self.refresh()}

    def refresh(self) -> Changes:
        """The packs as they stand to the library, the runs and the model now."""
        return {self.list: draw_packs(self.studio)}


def _done(words: str) -> str:
    return f"<p class='done' role='status'>{escape(words)}</p>"


def _question(file: str, about: PackAbout, conflict: Conflict) -> str:
    named = ", ".join(map(escape, conflict.concepts[:5])) + (
        "…" if len(conflict.concepts) > 5 else ""
    )
    ways = (
        ("mine", "Keep mine", "Only what is new of the pack is added"),
        ("both", "Keep both", "The pack's get names of their own"),
        ("pack", "Take the pack's", "Mine go to the history"),
    )
    buttons = "".join(
        f"<button type='button' class='btn sm' data-act='install' data-pack='{escape(file)}' "
        f"data-way='{way}' title='{title}'>{label}</button>"
        for way, label, title in ways
    )
    return (
        f"<div class='warning' role='status'><p><b>{escape(about.name)}</b>: "
        f"{count(len(conflict.concepts), 'concept')} here "
        f"{'has' if len(conflict.concepts) == 1 else 'have'} other texts ({named}). Nothing was "
        f"changed yet.</p><div class='act'>{buttons}</div></div>"
    )


def draw_packs(studio: Studio) -> str:
    """One row for each pack: what it is, and what can be done with it here."""
    here = set(studio.library().texts())
    rows = [_shipped_row(name, title, here) for name, title in LIBRARIES.items()]
    runs, mark = studio.runs.list(), studio.status().model_fingerprint
    current = studio.runs.current()
    for file, about in kept_packs(studio.options.runs).items():
        own = [run for run in runs if is_trained_on(run, about)]
        own = [run for run in own if mark in ("", run.model_fingerprint)]
        used = current is not None and current.id in {run.id for run in own}
        rows.append(_row(file, about, _state(file, about, bool(own), used, mark)))
    return f"<table class='t1 packs'><tbody>{''.join(rows)}</tbody></table>"


def _state(file: str, about: PackAbout, is_here: bool, used: bool, mark: str) -> tuple[str, str]:
    """What stands beside the number of concepts, and the cell at the right."""
    if used:
        return "", "<span class='v ok'>in use</span>"
    if is_here:
        return "", _button("Use", "install", file, about.name, way="mine")
    if mark not in ("", about.fingerprint):
        return "needs training on this model", _button("Train here", "train", file, about.name)
    return "", _button("Install", "install", file, about.name, way="ask")


def _button(label: str, act: str, pack: str, name: str, way: str = "") -> str:
    return (
        f"<button type='button' class='btn sm' data-act='{act}' data-pack='{escape(pack)}' "
        f"data-way='{way}' aria-label='{label}: {escape(name)}'>{label}</button>"
    )


def _row(file: str, about: PackAbout, state: tuple[str, str]) -> str:
    by = f"from {about.by}" if about.by else "installed"
    words, cell = state
    what = [count(about.concepts, "concept"), words or about.model]
    forget = (
        f"<button type='button' class='btn quiet sm' data-act='forget' data-pack='{escape(file)}' "
        f"data-confirm='Forget it?' aria-label='Forget the pack {escape(about.name)}'>Forget"
        "</button>"
    )
    return (
        f"<tr><td><b class='title'>{escape(about.name)}</b> <span class='tag'>{escape(by)}</span>"
        f"</td><td class='dim'>{escape(' · '.join(what))}</td>"
        f"<td><div class='act'>{cell}{forget}</div></td></tr>"
    )


def _shipped_row(name: str, title: str, here: set[str]) -> str:
    missing = Library(f"{SHIPPED}{name}").texts().keys() - here
    cell = (
        _button("Add", "shipped", name, name) if missing else "<span class='v ok'>installed</span>"
    )
    return (
        f"<tr><td><b class='title'>{escape(name)}</b> <span class='tag'>shipped</span></td>"
        f"<td class='dim'>{escape(title)}</td><td><div class='act'>{cell}</div></td></tr>"
    )


def pack_to_download(studio: Studio, run: Run, by: str = "") -> Path:
    """A pack of a run in a folder of its own, for the browser to fetch.

    Raises:
        UserError: it was not trained on descriptions.
    """
    files, about = pack_files(studio.runs, run, by=by)
    path = Path(tempfile.mkdtemp(dir=scratch_folder())) / f"{slug(about.name)}.zip"
    write_zip(path, files)
    return path


class PackCard(Part):
    """The run in use as a pack, and its model card."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        gr.HTML(
            "<h2>Share as a pack</h2><p class='small dim'>Texts, run and card in one zip; a "
            "colleague installs it with one click.</p>",
            padding=False,
        )
        with gr.Row(elem_classes="ship-line"):
            self.by = gr.Textbox(
                placeholder="Your name, if it should be in it",
                show_label=False,
                container=False,
                max_lines=1,
                elem_id="pack-by",
                label="Made by",
            )
            make = gr.Button("Make pack", size="sm", elem_id="pack-make")
        self.card = gr.HTML(draw_card(studio), elem_id="pack-card", padding=False)
        self.file = gr.File(visible=False, elem_id="pack-file")
        made = make.click(bound(self.make), self.by, self.file, **QUIET)
        made.success(None, self.file, js=calling("ship/acts.js", "download"), **QUIET)

    def make(self, by: str) -> Changes:
        """The pack, for the browser to save."""
        return {self.file: str(pack_to_download(self.studio, self.studio.run(), by))}

    def refresh(self) -> Changes:
        """The card of the run in use."""
        return {self.card: draw_card(self.studio)}


def draw_card(studio: Studio) -> str:
    """The model card of the run in use, folded."""
    run = studio.runs.current()
    if run is None:
        return ""
    card = escape(model_card(run.manifest))
    return f"<details><summary>See the card</summary><pre class='card-text'>{card}</pre></details>"
