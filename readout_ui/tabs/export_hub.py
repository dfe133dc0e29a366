"""The part of the Export tab that pushes to the Hugging Face hub, where there is a token."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import gradio as gr

from readout_ui.formats import export_files
from readout_ui.hub import GET_TOKEN, NO_TOKEN, hub_token, push
from readout_ui.studio import Studio
from readout_ui.tabs.events import PRIVATE, QUIET, guarded
from readout_ui.tabs.visibility import seen_if

WITHOUT = f"Nothing can be pushed: {NO_TOKEN}. To push, {GET_TOKEN}, then open this again."
WITH = (
    "Uploads the chosen concepts, layers and format with the token of this machine, when you press "
    "the button and not before. Among the files: the manifest, which quotes up to eight of your "
    "texts as probes, and a model card."
)


def build_hub_section(studio: Studio, chosen: Sequence[gr.components.Component]) -> None:
    """Lay it out and wire it.

    Args:
        studio: the core.
        chosen: inputs of concepts, layers, changed texts allowed, and format.
    """
    ready = hub_token() is not None
    with gr.Accordion("Push to the Hugging Face hub", open=False, elem_id="hub") as section:
        about = gr.Markdown(WITH if ready else WITHOUT, elem_id="hub-about")
        with gr.Group(visible=seen_if(ready)) as form:
            name = gr.Textbox(
                label="Repository",
                placeholder="owner/name",
                info="Made if missing; an earlier export in it is replaced, others are refused.",
                elem_id="hub-name",
            )
            public = gr.Checkbox(
                label="Public: everybody can read it", value=False, elem_id="hub-public"
            )
            button = gr.Button("Push", elem_id="hub-push", interactive=not studio.read_only)
        pushed = gr.HTML(elem_id="hub-pushed", padding=False)

    def look() -> tuple[object, object]:
        found = hub_token() is not None
        return WITH if found else WITHOUT, gr.Group(visible=seen_if(found))

    def send(
        names: list[str], indices: list[int], allow: bool, form: str, where: str, everybody: bool
    ) -> str:
        studio.refuse_if_read_only("push to the hub")
        run, vectors = studio.vectors()
        files = export_files(
            run.trained(vectors),
            names or None,
            indices or None,
            form=form,
            library=None if run.source else studio.library(),
            allow_changed=allow,
        )
        return f"<p class='done'>{escape(push(files, where, public=everybody).sentence())}.</p>"

    section.expand(look, None, [about, form], **QUIET)
    button.click(guarded(send), [*chosen, name, public], pushed, **PRIVATE)
