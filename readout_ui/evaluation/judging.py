"""Everything that can be asked about a readout, one function each; `.to_frame()` of every answer.

The texts of the training are read again from the cache of activations, whatever they were:
descriptions, stories, examples or contrast pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from readout_ui.activations.extract import read_activations
from readout_ui.errors import UserError
from readout_ui.evaluation.advice import Judged, judge_descriptions
from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.generalization import judge_texts
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.layers import LayerSweep, corpora_by_rule, sweep_means
from readout_ui.evaluation.redundancy import concept_map, redundancy
from readout_ui.evaluation.results import Crosstalk
from readout_ui.progress import Report, silent
from readout_ui.texts.labelled import (
    SHIPPED_SETS,
    LabelledText,
    check_mapping,
    labels_of,
    mapping_of,
    read_labelled,
    read_shipped,
    suggest_mapping,
)
from readout_ui.texts.names import is_neutral_name
from readout_ui.vectors.pairs import prompted, with_prompts
from readout_ui.vectors.training import Corpus, capture_settings, group_texts, read_corpus

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.evaluation.judgements import Generalization, JudgeSettings
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
    return corpus_of_run(by.model, by.run.manifest, by.texts, chosen, by.cache, by.report)


def own_directions(readout: Readout) -> ConceptVectors | None:
    """The vectors where they do not follow from the texts by the method alone, else None."""
    return readout.vectors if readout.run.source else None


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


Labelled = str | Path | Iterable[tuple[str, str | Sequence[str]]]


def evaluate(
    readout: Readout,
    texts: Labelled = "situations",
    mapping: Mapping[str, str] | None = None,
    layer: int | None = None,
    settings: JudgeSettings | None = None,
) -> Generalization:
    """How well the vectors read labelled texts that they were not trained on.

    Args:
        readout: a model with vectors.
        texts: "situations" or "dialogue" (they ship with the project), a file or folder of
            labelled texts, or pairs of a text and its label (or labels).
        mapping: the concept of a label, where its name does not say so; "neutral", "other" and
            "ignore" are possible too.
        layer: one of the readout's layers; the best one by default.
        settings: draws, threshold and seed.

    Raises:
        UserError: no such texts, an unknown concept, or too few concepts to compare.
    """
    labelled = _labelled(texts)
    suggested = mapping_of(suggest_mapping(labels_of(labelled), readout.concepts))
    targets = check_mapping(suggested | dict(mapping or {}), readout.concepts)
    return judge_texts(readout, labelled, targets, _layer(readout, layer), settings)


def crosstalk(readout: Readout, layer: int | None = None) -> Crosstalk:
    """Which directions are alike, and which held-out texts score on another concept's direction.

    Args:
        readout: a model with vectors and the texts of their training.
        layer: a layer of the model; the best one by default.

    Raises:
        UserError: the texts of the training are not there.
    """
    corpus, own, at = corpus_of(readout), own_directions(readout), _layer(readout, layer)
    return Crosstalk(
        cosines=cosine_matrix(corpus, at, own=own),
        held_out=held_out_matrix(corpus, at),
        redundancy=redundancy(corpus, at),
        map=concept_map(corpus, at, own=own),
    )


def compare_layers(readout: Readout) -> LayerSweep:
    """Held-out AUROC of every layer of the model by every read rule, with mean differences.

    Raises:
        UserError: the texts of the training are not there.
    """
    corpora = corpora_by_rule(corpus_of(readout), lambda settings: corpus_of(readout, settings))
    return sweep_means(corpora, report=readout.report)


def advise(readout: Readout, layer: int | None = None) -> Judged:
    """Influence of every text on its direction, shortcuts, and what to change in the texts.

    Args:
        readout: a model with vectors and the texts of their training.
        layer: a layer of the model; the best one by default.

    Raises:
        UserError: the texts of the training are not there.
    """
    corpus, at = corpus_of(readout), _layer(readout, layer)
    return judge_descriptions(corpus, at, redundancy(corpus, at))


def _labelled(texts: Labelled) -> tuple[LabelledText, ...]:
    if isinstance(texts, str) and texts in SHIPPED_SETS:
        return read_shipped(texts, "neutral")
    if isinstance(texts, str | Path):
        if not Path(texts).exists():
            raise UserError("there are no such texts", where=str(texts), options=SHIPPED_SETS[:2])
        return read_labelled(Path(texts))
    return tuple(
        LabelledText(text, (label,) if isinstance(label, str) else tuple(label))
        for text, label in texts
    )


def _layer(readout: Readout, layer: int | None) -> int:
    return readout.best_layer if layer is None else layer
