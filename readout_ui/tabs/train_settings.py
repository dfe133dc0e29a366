"""The settings of a training on screen, and what they mean."""

from __future__ import annotations

import gradio as gr

from readout_ui.trained import LAYER_TYPE_NAMES, METHOD_NAMES, READ_RULE_NAMES, TrainSettings

METHOD_CHOICES = {
    "mean": "Mean difference (default)",
    "pca": "PCA of seeded pairs",
    "logistic": "Logistic regression on seeded pairs",
}
READ_CHOICES = {
    "content_mean": "Mean over the text (default)",
    "content_tail": "Mean over its last two thirds",
    "content_last": "Its last token",
    "template_last": "Last template token (the seed trainer's; for comparison)",
}


def build_settings(settings: TrainSettings) -> tuple[gr.components.Component, ...]:
    """Inputs in the order `settings_from` takes them."""
    method = gr.Radio(
        [(METHOD_CHOICES[m], m) for m in METHOD_NAMES],
        value=settings.method,
        label="Method",
        info="How a direction is fitted from the activations of a concept's texts and the others'.",
    )
    read = gr.Radio(
        [(READ_CHOICES[r], r) for r in READ_RULE_NAMES],
        value=settings.read,
        label="Read rule",
        info="Which tokens of a text become its activation.",
    )
    with gr.Accordion("More settings", open=False):
        layers = gr.Textbox(
            settings.layers,
            label="Layers",
            info="all, auto (the best by cross-validation), or numbers such as 14,22 or -1",
        )
        layer_type = gr.Dropdown(
            list(LAYER_TYPE_NAMES), value=settings.layer_type, label="Layer type"
        )
        seed = gr.Number(settings.seed, label="Seed", precision=0, info="Fixes the sampled pairs.")
        negatives = gr.Number(
            settings.max_negatives_per_positive,
            label="Negatives per positive",
            precision=0,
            minimum=1,
            info="For PCA and logistic.",
        )
        max_length = gr.Number(
            settings.max_length,
            label="Longest text",
            precision=0,
            minimum=1,
            info="Tokens of a text that are read; longer ones are cut and named.",
        )
        batch = gr.Number(
            settings.batch_size or 0,
            label="Batch size",
            precision=0,
            minimum=0,
            info="Texts per batch at most; 0 leaves it to the token budget.",
        )
    return method, read, layers, layer_type, seed, negatives, max_length, batch


def settings_from(
    method: str,
    read: str,
    layers: str,
    layer_type: str,
    seed: float,
    negatives: float,
    max_length: float,
    batch: float,
) -> TrainSettings:
    """The settings on screen as TrainSettings; UserError on values that make no sense."""
    return TrainSettings(
        method=method,
        read=read,
        layers=layers,
        layer_type=layer_type,
        seed=int(seed),
        max_negatives_per_positive=int(negatives),
        max_length=int(max_length),
        batch_size=int(batch) or None,
    )


def settings_values(settings: TrainSettings) -> tuple[object, ...]:
    """The values of the inputs for given settings, in `settings_from`'s order."""
    return (
        settings.method,
        settings.read,
        settings.layers,
        settings.layer_type,
        settings.seed,
        settings.max_negatives_per_positive,
        settings.max_length,
        settings.batch_size or 0,
    )
