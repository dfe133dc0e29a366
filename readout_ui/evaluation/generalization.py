"""How well vectors read texts by other writers, beside chance and two baselines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.errors import UserError
from readout_ui.evaluation.judgements import (
    ConceptJudgement,
    Generalization,
    JudgeSettings,
    KindScore,
    TopK,
    coverage,
)
from readout_ui.evaluation.resampling import (
    Estimate,
    auroc_estimate,
    corrected_p,
    estimate,
    weighted_auroc,
    wilson,
)
from readout_ui.evaluation.scored_texts import Aurocs, ScoredTexts, judge_macro, mean_of_known
from readout_ui.texts.labelled import IGNORE, OTHER, LabelledText, check_mapping, read_shipped
from readout_ui.texts.names import contrasted, is_neutral_name
from readout_ui.texts.shipped import fitting_library
from readout_ui.vectors import sentence_embedding
from readout_ui.vectors.auroc import Bools, Floats, auroc, average_precision
from readout_ui.vectors.methods import METHODS, neutral_center
from readout_ui.vectors.metrics import bag_of_words_scores, centred_cosine
from readout_ui.vectors.training import fit

if TYPE_CHECKING:
    from torch import Tensor

    from readout_ui.inference.readout import Readout
    from readout_ui.vectors.vectors import ConceptVectors


def judge(
    scored: ScoredTexts, settings: JudgeSettings, notes: Sequence[str] = ()
) -> Generalization:
    """All statistics of one collection of texts at one layer.

    Args:
        scored: texts, labels and scores.
        settings: draws, threshold and seed.
        notes: what a reader has to know about the texts.
    """
    aurocs = Aurocs.of(scored, settings)
    per_concept = _per_concept(scored, aurocs, settings)
    return Generalization(
        layer=scored.layer,
        concepts=scored.concepts,
        texts=scored.texts,
        own=scored.own,
        scores=scored.scores,
        neutral_scores=scored.neutral_scores,
        per_concept=per_concept,
        macro=judge_macro(aurocs, [each.average_precision for each in per_concept], scored.refits),
        top=_top(scored, aurocs.weights, settings),
        kinds=_kinds(scored, aurocs),
        misses=scored.worst_misses(),
        notes=tuple(notes),
    )


def _per_concept(
    scored: ScoredTexts, aurocs: Aurocs, settings: JudgeSettings
) -> tuple[ConceptJudgement, ...]:
    p = corrected_p(aurocs.found, aurocs.permuted)
    first = scored.scores > scored.rivals.max(axis=1)[:, None]  # (n_texts, n_concepts)
    precision = average_precision(scored.scores, scored.own)  # (n_concepts,)
    judged = []
    for c, concept in enumerate(scored.concepts):
        own = scored.own[:, c]
        n_own = int(own.sum())
        threshold = _threshold(scored.scores[own, c], settings)
        judged.append(
            ConceptJudgement(
                concept=concept,
                n_texts=n_own,
                auroc=auroc_estimate(float(aurocs.found[c]), aurocs.drawn[:, c], n_own),
                average_precision=float(precision[c]),
                base_rate=n_own / len(own),
                top1=float(first[own, c].mean()),
                words=_estimate_of(aurocs.words, aurocs.words_drawn, c, n_own),
                embedding=_estimate_of(aurocs.embedding, aurocs.embedding_drawn, c, n_own),
                random=estimate(aurocs.random[:, c].mean(), aurocs.random[:, c]),
                p=float(p[c]),
                threshold=threshold,
                recall=float((scored.scores[own, c] >= threshold).mean()),
                false_positives=_false_positives(scored.neutral_scores[:, c], threshold),
            )
        )
    return tuple(judged)


def _estimate_of(
    found: Floats | None, drawn: Floats | None, concept: int, n_own: int
) -> Estimate | None:
    if found is None or drawn is None:
        return None
    return auroc_estimate(float(found[concept]), drawn[:, concept], n_own)


def _kinds(scored: ScoredTexts, aurocs: Aurocs) -> tuple[KindScore, ...]:
    labelled = scored.own.any(axis=1)
    found = []
    for kind, scores in {"cosine": scored.scores, **scored.kinds}.items():
        drawn = mean_of_known(weighted_auroc(scores, scored.own, aurocs.weights))
        macro = auroc_estimate(float(auroc(scores, scored.own).mean()), drawn, len(scores))
        best = np.where(scored.own, scores, -np.inf).max(axis=1)
        first = best > np.where(scored.own, -np.inf, scores).max(axis=1)
        found.append(KindScore(kind, macro, float(first[labelled].mean())))
    return tuple(found)


def _threshold(own: Floats, settings: JudgeSettings) -> float:
    if settings.threshold is not None:
        return settings.threshold
    return float(np.quantile(own, 1 - settings.recall, method="lower"))


def _false_positives(neutral: Floats, threshold: float) -> Estimate | None:
    if len(neutral) == 0:
        return None
    return wilson(int((neutral >= threshold).sum()), len(neutral))


def _top(scored: ScoredTexts, weights: Floats, settings: JudgeSettings) -> tuple[TopK, ...]:
    labelled = scored.own.any(axis=1)
    n_concepts, n_own = len(scored.concepts), scored.own[labelled].sum(axis=1)
    rivals = scored.rivals[labelled]
    # A rival that scores the same counts as above: a tie is no recognition.
    rank = 1 + (rivals >= scored.best_own[labelled, None]).sum(axis=1)  # (n_labelled,)
    weight = weights[labelled]  # (n_labelled, n_draws)
    tops = []
    for k in settings.ks:
        if k < n_concepts:
            hits = (rank <= k).astype(float)
            drawn = hits @ weight / np.maximum(weight.sum(axis=0), 1)
            chance = np.mean([_chance(n_concepts, int(m), k) for m in n_own])
            tops.append(TopK(k, estimate(hits.mean(), drawn), float(chance)))
    return tuple(tops)


def _chance(n_concepts: int, n_own: int, k: int) -> float:
    """That one of n_own concepts is among the first k of an order drawn at random."""
    return 1 - comb(n_concepts - n_own, k) / comb(n_concepts, k)


_WORD = re.compile(r"\w\w")


def judge_texts(
    scorer: Readout,
    labelled: Sequence[LabelledText],
    mapping: Mapping[str, str],
    layer: int,
    settings: JudgeSettings | None = None,
) -> Generalization:
    """Read texts once and judge the vectors on them.

    Texts that the model under test wrote are easy for it, so they are judged apart.

    Args:
        scorer: vectors, model and cache.
        labelled: the texts. Those that map to nothing but `IGNORE` are left out; those that map to
            `NEUTRAL` serve for false positives only. Where there are none, the shipped ones do.
        mapping: label -> concept, `NEUTRAL`, `OTHER` or `IGNORE`; a label not in it is ignored.
        layer: one of the vectors' layers.
        settings: draws, threshold and seed.

    Raises:
        UserError: a target or layer that does not exist, or no concept that has both texts of its
            own and texts of others.
    """
    model = scorer.model.name
    apart = [each for each in labelled if _is_model(each.writer, model)]
    rest = [each for each in labelled if not _is_model(each.writer, model)]
    if not apart:
        return _judge_all(scorer, labelled, mapping, layer, settings)
    if not any(mapping.get(label) in scorer.concepts for each in rest for label in each.labels):
        found = _judge_all(scorer, labelled, mapping, layer, settings)
        note = f"{model}, the model under test, wrote these texts: how others' fare is not known."
        return replace(found, notes=(*found.notes, note))
    found = _judge_all(scorer, rest, mapping, layer, settings)
    note = f"{len(apart)} texts by {model}, the model under test, are not in these figures."
    try:
        own = _judge_all(scorer, apart, mapping, layer, settings).macro
    except UserError:  # too few of them to be judged
        return replace(found, notes=(*found.notes, note))
    note = f"{note.rstrip('.')}; on them alone macro AUROC is {own.auroc}."
    return replace(found, notes=(*found.notes, note), written_by_model=own)


def _is_model(writer: str, model: str) -> bool:
    """Whether a text's writer is this model, with or without its owner's name."""
    return writer.casefold().rpartition("/")[2] == model.casefold().rpartition("/")[2]


def _judge_all(
    scorer: Readout,
    labelled: Sequence[LabelledText],
    mapping: Mapping[str, str],
    layer: int,
    settings: JudgeSettings | None,
) -> Generalization:
    settings = settings or JudgeSettings()
    checked = check_mapping(mapping, scorer.concepts)
    texts = sort_texts(labelled, checked, scorer.concepts, scorer.texts)
    scorer.vectors.select(layers=[layer])  # refuses an unknown layer before anything is read
    activations = scorer.activations([*texts.counted, *texts.neutral], layer)
    n_texts = len(texts.counted)
    columns = [scorer.concepts.index(concept) for concept in texts.concepts]
    scores = scorer.score(activations, layer)[:, columns]  # (n_counted + n_neutral, n_concepts)
    words, embedding, missing = baselines(scorer, texts)
    scored = ScoredTexts(
        layer=layer,
        concepts=texts.concepts,
        texts=texts.counted,
        own=texts.own,
        scores=scores[:n_texts],
        neutral_scores=scores[n_texts:],
        random_scores=scorer.score_randomly(
            activations[:n_texts], layer, settings.n_random, settings.seed
        ),
        word_scores=words,
        embedding_scores=embedding,
        kinds=_other_kinds(scorer.vectors.select(layers=[layer]), activations[:n_texts], columns),
        groups=texts.groups,
        refits=_refits(scorer, activations[:n_texts], texts, layer, settings),
    )
    return judge(scored, settings, (*texts.notes, *missing))


def _other_kinds(
    vectors: ConceptVectors, activations: Tensor, columns: Sequence[int]
) -> dict[str, Floats]:
    """z and raw scores of whole texts, (n_texts, n_columns) each, as servers give them."""
    raw = (activations.float() @ vectors.directions[:, 0].float().T).numpy()[:, columns]
    mean, std = (each[columns, 0].numpy() for each in (vectors.neutral_mean, vectors.neutral_std))
    return {"z": (raw - mean) / std, "raw": raw}


def _refits(
    scorer: Readout, activations: Tensor, texts: SortedTexts, layer: int, settings: JudgeSettings
) -> Floats | None:
    """Macro AUROC of vectors fitted anew on resampled descriptions, (n_refits,).

    None where the directions do not follow from descriptions that are there.
    """
    own_texts = scorer.texts.keys() >= set(texts.concepts) and not scorer.run.source
    if not own_texts or settings.n_refits < 2 or scorer.settings.method not in METHODS:
        return None
    corpus = scorer.corpus().at(layer)
    draws, found = np.random.default_rng(settings.seed), []
    for _ in range(settings.n_refits):
        rows = tuple(tuple(draws.choice(own, len(own)).tolist()) for own in corpus.groups.rows)
        drawn = replace(corpus, groups=replace(corpus.groups, rows=rows))
        center = neutral_center(drawn.pooled, drawn.groups)
        scores = centred_cosine(fit(drawn), center, activations[:, None])[:, 0].numpy()
        columns = [corpus.groups.concepts.index(concept) for concept in texts.concepts]
        found.append(float(auroc(scores[:, columns], texts.own).mean()))
    return np.array(found)


@dataclass(frozen=True, eq=False)
class SortedTexts:
    """Labelled texts by what they are good for."""

    concepts: tuple[str, ...]
    """The concepts that can be judged."""
    counted: tuple[str, ...]
    """The texts they are judged on."""
    own: Bools
    """(n_counted, n_concepts)."""
    neutral: tuple[str, ...]
    """Texts for false positives."""
    groups: tuple[str, ...]
    """(n_counted,): whose each text is; empty where the source does not say."""
    notes: tuple[str, ...]


def sort_texts(
    labelled: Sequence[LabelledText],
    mapping: Mapping[str, str],
    concepts: Sequence[str],
    descriptions: Mapping[str, Sequence[str]],
) -> SortedTexts:
    """Which texts count, for which concepts; texts that were trained on do not.

    A text that occurs twice counts once, with all its labels.

    Raises:
        UserError: no concept has both texts of its own and texts of others.
    """
    targets: dict[str, set[str]] = {}
    for each in labelled:
        meant = {mapping.get(label, IGNORE) for label in each.labels} - {IGNORE}
        targets.setdefault(each.text, set()).update(meant)
    trained = {text for texts in descriptions.values() for text in texts}
    kept = {text: meant for text, meant in targets.items() if meant and text not in trained}
    known = set(concepts)
    counted = {text: meant for text, meant in kept.items() if meant & known or OTHER in meant}
    neutral = tuple(text for text in kept if text not in counted)
    own = np.array(
        [[concept in meant for concept in concepts] for meant in counted.values()], bool
    ).reshape(len(counted), len(concepts))
    judged: Bools = np.asarray(own.any(axis=0) & ~own.all(axis=0))  # (n_concepts,)
    if not judged.any():
        raise UserError(
            "no concept has both texts of its own and texts of others",
            fix="bring texts of at least two concepts, or map a label to something else",
        )
    whose = {each.text: each.group for each in labelled}
    groups = tuple(whose[text] for text in counted)
    counts = own.sum(axis=0).tolist()
    notes = (*_notes(targets, trained, bool(neutral), own), *coverage(concepts, counts))
    return SortedTexts(
        concepts=tuple(c for c, is_judged in zip(concepts, judged, strict=True) if is_judged),
        counted=tuple(counted),
        own=own[:, judged],
        neutral=neutral or _shipped_neutral(concepts),
        groups=groups if all(groups) else (),
        notes=notes,
    )


def _shipped_neutral(concepts: Sequence[str]) -> tuple[str, ...]:
    return tuple(t.text for t in read_shipped("neutral", library=fitting_library(concepts)))


def _notes(
    targets: Mapping[str, set[str]], trained: set[str], has_neutral: bool, own: Bools
) -> tuple[str, ...]:
    n_trained = sum(1 for text in targets if text in trained)
    n_ignored = sum(1 for text, meant in targets.items() if not meant and text not in trained)
    n_fewest = int(min(own.sum(axis=0)[own.any(axis=0)], default=0))
    notes = (
        (n_trained, f"{n_trained} texts are descriptions of the training and were left out."),
        (n_ignored, f"{n_ignored} texts were left out because their labels are ignored."),
        (not has_neutral, "No text is mapped to neutral, so the shipped neutral texts stand in."),
        (n_fewest < 5, f"A concept has {n_fewest} texts: too few for more than a rough interval."),
    )
    return tuple(note for applies, note in notes if applies)


NO_DESCRIPTIONS = (
    "No bag of words and no sentence embedding to compare with: the descriptions are not there. "
    "Name their folder with --descriptions."
)
NO_EMBEDDING = f"No sentence embedding to compare with. For {sentence_embedding.NAME}: "
NO_EMBEDDING += f"{sentence_embedding.INSTALL}."


def baselines(
    scorer: Readout, texts: SortedTexts
) -> tuple[Floats | None, Floats | None, tuple[str, ...]]:
    """Scores of what reads no language model, trained on the same descriptions.

    Returns:
        Bag of words and sentence embedding, (n_texts, n_concepts) each or None, and why.
    """
    pairs = [
        ("" if is_neutral_name(name) else name, text)
        for name, some in scorer.texts.items()
        if not contrasted(name)
        for text in some
    ]
    labels, trained = [label for label, _ in pairs], [text for _, text in pairs]
    if not set(texts.concepts) <= set(labels) or len(set(labels)) < 2:
        return None, None, (NO_DESCRIPTIONS,)
    words = None
    if any(_WORD.search(text) for text in trained):
        words = bag_of_words_scores(trained, labels, texts.counted, texts.concepts)
    embedding = sentence_embedding.embedding_scores(
        trained, labels, texts.counted, texts.concepts, scorer.report
    )
    return words, embedding, () if embedding is not None else (NO_EMBEDDING,)
