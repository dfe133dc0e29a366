"""Other people's vectors beside a run's own, on the same held-out texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.errors import UserError
from readout_ui.evaluation.evidence import FEWEST, N_DRAWS
from readout_ui.evaluation.judgements import Beside
from readout_ui.evaluation.resampling import (
    auroc_estimate,
    bootstrap_weights,
    estimate,
    weighted_auroc,
)
from readout_ui.evaluation.scored_texts import mean_of_known
from readout_ui.texts.labelled import (
    LabelledText,
    labels_of,
    mapping_of,
    read_shipped,
    suggest_mapping,
)
from readout_ui.texts.shipped import fitting_library
from readout_ui.vectors.auroc import Bools, Floats, auroc
from readout_ui.vectors.metrics import centred_cosine

if TYPE_CHECKING:
    from torch import Tensor

    from readout_ui.inference.readout import Readout
    from readout_ui.runs.run import Run
    from readout_ui.vectors.vectors import ConceptVectors


def judge_beside(readout: Readout, brought: Run, name: str) -> Beside:
    """Judge vectors on the shipped texts of all labels that they and the run have a concept for.

    Vectors without calibration are made unit length, and texts are centred on the mean of the
    shipped neutral texts, as a training does.

    Args:
        readout: the run in use with its model.
        brought: vectors in any format that can be opened.
        name: what they are called.

    Raises:
        UserError: they belong to another model, or too few labels are common.
    """
    brought.refuse_other_model(readout.model)
    library = fitting_library(readout.concepts)
    labelled = read_shipped("situations", "dialogue", library=library)
    columns = _common(labelled, readout.concepts, brought.concepts)
    texts = [each for each in labelled if each.labels[0] in columns]
    own: Bools = np.array([[each.labels[0] == label for label in columns] for each in texts])
    other = readout.with_vectors(brought.vectors)
    places = [readout.best_layer, other.best_layer]
    ours, theirs = (
        _scores(one, [each.text for each in texts], layer, library)[:, chosen]
        for one, layer, chosen in zip(
            (readout, other), places, zip(*columns.values(), strict=True), strict=True
        )
    )
    weights = bootstrap_weights(own, N_DRAWS, 0)
    drawn = [mean_of_known(weighted_auroc(each, own, weights)) for each in (theirs, ours)]
    values = [float(auroc(each, own).mean()) for each in (theirs, ours)]
    found = [auroc_estimate(v, d, len(texts)) for v, d in zip(values, drawn, strict=True)]
    return Beside(
        name=name,
        layer=other.best_layer,
        calibrated=brought.vectors.calibrated,
        labels=tuple(columns),
        n_texts=len(texts),
        theirs=found[0],
        ours=found[1],
        difference=estimate(values[0] - values[1], drawn[0] - drawn[1]),
    )


def _common(
    labelled: Sequence[LabelledText], ours: Sequence[str], theirs: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Label -> place of its concept among ours and among theirs."""
    labels = labels_of(labelled)
    mine, other = (mapping_of(suggest_mapping(labels, names)) for names in (ours, theirs))
    found = {
        label: (ours.index(mine[label]), theirs.index(other[label]))
        for label in labels
        if mine[label] in ours and other[label] in theirs
    }
    if len(found) < FEWEST:
        raise UserError(
            f"the shipped texts and the run in use have {len(found)} concepts in common with "
            "these vectors, and two are needed",
            fix="name their concepts as the shipped ones are, or train those",
            options=list(theirs[:20]),
        )
    return found


def _scores(readout: Readout, texts: Sequence[str], layer: int, library: str) -> Floats:
    """Centred cosines, (n_texts, n_concepts)."""
    read = readout.activations(texts, layer)
    if readout.vectors.calibrated:
        return readout.score(read, layer)
    vectors: ConceptVectors = readout.vectors.select(layers=[layer]).unit()
    neutral = [each.text for each in read_shipped("neutral", library=library)]
    center: Tensor = readout.activations(neutral, layer).float().mean(dim=0, keepdim=True)
    scores: Floats = centred_cosine(vectors.directions, center, read[:, None])[:, 0].numpy()
    return scores
