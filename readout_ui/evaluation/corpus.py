"""The texts of a run with their activations, read as its training read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from readout_ui.activations.extract import read_activations
from readout_ui.errors import UserError
from readout_ui.progress import Report, silent
from readout_ui.texts.names import is_neutral_name
from readout_ui.vectors.pairs import prompted, with_prompts
from readout_ui.vectors.training import Corpus, capture_settings, group_texts, read_corpus

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.inference.readout import Readout
    from readout_ui.models.loading import LoadedModel
    from readout_ui.runs.manifest import Manifest
    from readout_ui.vectors.settings import TrainSettings
    from readout_ui.vectors.vectors import ConceptVectors


def corpus_of(readout: Readout, settings: TrainSettings | None = None) -> Corpus:
    """Activations of the texts that a readout was trained on, at every layer of the model.

    Args:
        readout: a model with the vectors of a run.
        settings: how the texts are read; by default as in the training.

    Raises:
        UserError: the texts are not there.
    """
    if not readout.texts:
        raise UserError(
            "the texts of the training are not there",
            fix="judge the readout of a run, or one that was just trained",
        )
    by, chosen = readout, settings or readout.settings
    if by.run is None:
        return read_corpus(by.model, by.texts, chosen, by.cache, by.report)
    return corpus_of_run(by.model, by.run.manifest, by.texts, chosen, by.cache, by.report)


def own_directions(readout: Readout) -> ConceptVectors | None:
    """The vectors where they do not follow from the texts by the method alone, else None."""
    return readout.vectors if readout.run is not None and readout.run.source else None


def corpus_of_run(
    model: LoadedModel,
    manifest: Manifest,
    texts: Mapping[str, Sequence[str]],
    settings: TrainSettings,
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> Corpus:
    """Activations of a run's texts, whatever it was trained on; cached ones are not read again.

    Sides of contrast pairs stand after the prompt of their pair, all other texts in the model's
    default frame.

    Args:
        model: the model the run was trained on.
        manifest: the run's, which holds the prompts of contrast pairs.
        texts: by file name; names with a leading underscore are neutral.
        settings: the run's, or the same with another read rule.
        cache: activations read earlier.
        report: told after every batch.
    """
    prompts = (manifest.contrast or {}).get("prompts")
    if not prompts:
        return read_corpus(model, texts, settings, cache, report)
    model = model.framed(settings.frame)
    every, groups = group_texts(texts)
    asked = _prompts_of(texts, manifest.concepts[0], prompts)
    pooled: list[torch.Tensor] = [torch.empty(0)] * len(every)  # (n_layers, d_model) each
    for reader, has_prompt in ((model, False), (with_prompts(model), True)):
        rows = [row for row, prompt in enumerate(asked) if bool(prompt) == has_prompt]
        framed = [prompted(asked[row], every[row]) if has_prompt else every[row] for row in rows]
        found = read_activations(reader, framed, capture_settings(settings), cache, None, report)
        for row, activation in zip(rows, found.pooled, strict=True):
            pooled[row] = activation
    return Corpus(every, groups, torch.stack(pooled), settings)


def _prompts_of(
    texts: Mapping[str, Sequence[str]], concept: str, prompts: Sequence[str]
) -> list[str]:
    """The prompt of every text in the order of `group_texts`; empty for neutral texts."""
    sides = {concept, f"_{concept}_negative"}
    order = sorted(texts, key=lambda name: (is_neutral_name(name), name))
    return [
        prompt
        for name in order
        for prompt in (prompts if name in sides else [""] * len(texts[name]))
    ]
