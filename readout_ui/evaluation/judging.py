"""Everything that can be asked about a readout, one function each; `.to_frame()` of every answer.

The texts of the training are read again from the cache of activations, whatever they were:
descriptions, stories, examples or contrast pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.errors import UserError
from readout_ui.evaluation.advice import Judged, judge_descriptions
from readout_ui.evaluation.concept_map import concept_map
from readout_ui.evaluation.corpus import corpus_of, own_directions
from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.generalization import judge_texts
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.layers import LayerSweep, corpora_by_rule, sweep_means
from readout_ui.evaluation.redundancy import redundancy
from readout_ui.evaluation.results import Crosstalk
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

if TYPE_CHECKING:
    from readout_ui.evaluation.judgements import Generalization, JudgeSettings
    from readout_ui.inference.readout import Readout

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
