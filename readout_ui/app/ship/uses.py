"""How an export is used and whether it is right: commands to copy, checks, and servers."""

from __future__ import annotations

import re
import shlex
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from readout_ui.app.assets import on_load
from readout_ui.app.events import Changes, Part
from readout_ui.app.session import Studio
from readout_ui.app.widgets import count
from readout_ui.errors import UserError
from readout_ui.runs.export import BARE_FORMATS, FORMATS
from readout_ui.runs.model_card import Push, model_card
from readout_ui.runs.packs import slug
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout
    from readout_ui.runs.verify import Certificate

EXAMPLE = "I did not expect to see you here!"


def draw_use(studio: Studio, form: str, concepts: list[str], layers: list[int]) -> str:
    """The command that uses the export, to copy; a warning where the format has one."""
    run = studio.runs.current()
    if run is None:
        return ""
    warning = FORMATS[form].warning
    told = f"<p class='warning small'>{escape(warning)}</p>" if warning else ""
    return draw_code(_command(studio, run, form, concepts, layers), "Copy the command") + told


def _command(studio: Studio, run: Run, form: str, concepts: list[str], layers: list[int]) -> str:
    stem = stem_of(studio, run)
    if form not in BARE_FORMATS:
        return f'readout-ui read --vectors {stem}.zip "{EXAMPLE}"'
    if form == "steering-pkl":
        name = f"{(concepts or run.concepts)[0]}.pkl"
        loaded = f'pickle.load(open("{name}", "rb"))'
        return f"unzip {stem}.zip\npython -c 'import pickle; print({loaded})'"
    chosen = run.manifest.model_copy(
        update={"concepts": tuple(concepts or run.concepts)}
        | {"layers": tuple(layers or [run.best_layer])}
    )
    first = 1 if form == "gguf" else 0
    push = Push.of(chosen, [layer for layer in chosen.layers if layer >= first], "")
    code = re.search(r"```\w*\n(.*?)```", model_card(chosen, form, push), re.DOTALL)
    return f"unzip {stem}.zip\n{code[1].strip() if code else ''}"


def draw_code(text: str, label: str) -> str:
    """A command with a button that copies it."""
    return (
        f"<div class='code'><pre>{escape(text)}</pre><button type='button' class='btn quiet ico' "
        f"data-copy='{escape(text)}' aria-label='{escape(label)}'>{COPY}</button></div>"
    )


COPY = (
    "<svg class='ic' viewBox='0 0 24 24' aria-hidden='true'><rect x='8' y='8' width='12' "
    "height='12' rx='2'/><path d='M16 4H6a2 2 0 0 0-2 2v10'/></svg>"
)
_MARKS = {
    "ok": "<path d='M5 12.5l4.5 4.5L19 7.5'/>",
    "warn": "<path d='M12 5v9M12 18v1'/>",
    "bad": "<path d='M6 6l12 12M18 6L6 18'/>",
    "dim": "<circle cx='12' cy='12' r='2'/>",
}


def draw_checks(
    studio: Studio, form: str = "readout", read_again: tuple[str, str] = ("", "")
) -> str:
    """Whether the texts are those of the training, and whether the file reads as the run does.

    Args:
        studio: with the run in use.
        form: the format.
        read_again: kind and sentence of the certificate, once the file was made.
    """
    run = studio.runs.current()
    if run is None:
        return ""
    changed = 0 if run.source else studio.changed_descriptions()
    texts = ("ok", "texts unchanged since training")
    if run.source:
        texts = ("dim", f"trained on {run.source}")
    elif changed:
        texts = ("warn", f"{count(changed, 'description')} changed since training: train again")
    before = ("dim", "the file is read again before you get it")
    if form in BARE_FORMATS:
        before = ("dim", "directions alone: there are no scores to check")
    rows = "".join(
        f"<li class='{kind}'><svg class='ic' viewBox='0 0 24 24' aria-hidden='true'>{_MARKS[kind]}"
        f"</svg><span>{escape(words)}</span></li>"
        for kind, words in (read_again if read_again[1] else before, texts)
    )
    return f"<div role='status'><ul class='check'>{rows}</ul></div>"


def certificate(studio: Studio, path: Path, form: str) -> tuple[str, str]:
    """Read an export's probe texts on the loaded model: kind and sentence of what came out."""
    if form in BARE_FORMATS:
        return "", ""
    if not studio.status().model_ready:
        return "warn", "not read again: the model is still loading"
    export = Run.open(path)

    def work(used: Readout) -> Certificate:
        from readout_ui.runs.verify import verify

        return verify(export, used.model, used.report)

    try:
        found = studio.on_device("verify", "Checking the export", work).result()
    except UserError as error:
        return "warn", f"not read again: {error}"
    if not found.certified:
        return "bad", found.sentence()
    texts = count(found.n_texts, "probe text")
    return "ok", f"{texts} read again: the same to {found.largest:.2g} z"


def stem_of(studio: Studio, run: Run) -> str:
    """What files of a run are called."""
    return slug(studio.runs.title(run))


class ServerCard(Part):
    """The commands that serve the run in use."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.shown = gr.HTML(
            draw_servers(studio),
            elem_id="servers",
            padding=False,
            js_on_load=on_load("ship/acts.js"),
        )

    def refresh(self) -> Changes:
        """The commands for the run in use."""
        return {self.shown: draw_servers(self.studio)}


def draw_servers(studio: Studio) -> str:
    """How to serve the run in use: with this program, and inside vLLM."""
    run = studio.runs.current()
    if run is None:
        return "<h2>Server</h2><p class='dim small'>Train first.</p>"
    folder = run.folder or Path(run.id)
    inside = folder.is_relative_to(Path.cwd())
    place = shlex.quote(str(folder.relative_to(Path.cwd()) if inside else folder))
    stem = stem_of(studio, run)
    vllm = (
        f"readout-ui export --vectors {place} --output {stem}\n"
        f"VLLM_READOUT_VECTORS={stem} VLLM_PLUGINS=readout vllm serve {shlex.quote(run.model_name)}"
    )
    return (
        "<h2>Server</h2><p class='dim small'>OpenAI style, on this machine; every streamed piece "
        f"carries its scores.</p>{draw_code(f'readout-ui serve --vectors {place}', 'Copy: serve')}"
        "<p class='dim small below'>Inside vLLM, with the plugin of <code>integrations/vllm</code>:"
        f"</p>{draw_code(vllm, 'Copy: vLLM')}"
    )
