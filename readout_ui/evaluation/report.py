"""Makes the report of a run, in pieces: evidence, pairs, texts, tokens, what moved, what is next.

Every step between two yields is short, so that others who share the device never wait long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence, Set
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.errors import UserError
from readout_ui.evaluation.advice import Judged, judge_descriptions
from readout_ui.evaluation.crosstalk import cosine_matrix, cosines_of
from readout_ui.evaluation.evidence import (
    NO_EVIDENCE,
    Estimates,
    Evidence,
    gather,
    pairs_beyond_chance,
)
from readout_ui.evaluation.logit_lens import RANDOM, LensTokens, logit_lens
from readout_ui.evaluation.misfits import misfit_pieces
from readout_ui.evaluation.moved import what_moved
from readout_ui.evaluation.results import CosineMatrix, Floats, cluster
from readout_ui.evaluation.shortcuts import shortcuts_of
from readout_ui.progress import Progress
from readout_ui.runs.report import (
    ConceptReport,
    Finding,
    PairReport,
    RunReport,
    TextReport,
    layer_note,
    pack_cosines,
    verdict_of,
)

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout
    from readout_ui.runs.run import Run
    from readout_ui.vectors.vectors import ConceptVectors

Pieces = Generator[None, None, RunReport]
STAGE = "Judging"
N_STEPS = 6
LENS_DEPTH = 0.9
"""Part of the depth at which raised and lowered tokens are looked at."""
NEAREST, MOST_FINDINGS = 3, 12
HALF = 0.5
"""A concept with at most this part of the usual number of texts is named."""


def judge_run(readout: Readout, before: Run | None = None) -> Pieces:
    """Judge a run at its best layer.

    Args:
        readout: the run with its model; its `report` is told after every piece.
        before: the run used before, to say what moved.

    Yields:
        Nothing, where something else may use the device.

    Raises:
        UserError: the model cannot read the texts.
    """

    def step(done: int, note: str) -> None:
        readout.report(Progress(STAGE, done, N_STEPS, "steps", note))

    layer = readout.best_layer
    step(0, "held-out texts")
    evidence = yield from gather(readout, layer)
    step(1, "cosines")
    cosines = _cosines(readout, layer)
    yield
    step(2, "texts")
    judged = yield from _texts(readout, layer)
    step(3, "tokens")
    lens = _lens(readout)
    yield
    step(4, "what moved")
    moved = "" if before is None else what_moved(before, readout, layer, evidence)
    yield
    step(5, "report")
    return _report(readout, layer, evidence, cosines, judged, lens, moved, before)


def _cosines(readout: Readout, layer: int) -> CosineMatrix | Floats:
    """With intervals where the texts are there."""
    from readout_ui.evaluation.public import own_directions

    if not readout.texts:
        return cosines_of(readout.vectors, layer)
    own: ConceptVectors | None = own_directions(readout)
    return cosine_matrix(readout.corpus(), layer, own=own)


def _texts(readout: Readout, layer: int) -> Generator[None, None, Judged | None]:
    if not readout.texts or readout.run.source:
        return None
    corpus = readout.corpus()
    misfits = yield from misfit_pieces(corpus)
    shortcuts_of(corpus.texts, corpus.groups)  # and is remembered
    yield
    judged = judge_descriptions(corpus, layer, misfits=misfits)
    yield
    return judged


def lens_layer(run: Run) -> int:
    """The layer at nine tenths of the depth, or the nearest one that the run has.

    In the middle of the depth, where texts are read best, what is in the stream is not yet written
    in the directions of the unembedding: even a good concept's direction raises tokens without
    sense there.
    """
    last = len(run.layer_scores) - 1 if run.layer_scores else max(run.layers)
    return min(run.layers, key=lambda layer: abs(layer - LENS_DEPTH * last))


def _lens(readout: Readout) -> dict[str, LensTokens]:
    try:
        rows = logit_lens(readout.model, readout.vectors, lens_layer(readout.run))
    except UserError:  # the model has no unembedding to look through
        return {}
    return {row.concept: row for row in rows if row.concept != RANDOM}


def _report(
    readout: Readout,
    layer: int,
    evidence: Sequence[Evidence],
    cosines: CosineMatrix | Floats,
    judged: Judged | None,
    lens: dict[str, LensTokens],
    moved: str,
    before: Run | None,
) -> RunReport:
    names = readout.concepts
    matrix = cosines.cosine if isinstance(cosines, CosineMatrix) else cosines
    order = cosines.order if isinstance(cosines, CosineMatrix) else cluster(cosines)[0]
    found: dict[str, Estimates] = {}
    for each in evidence:
        found = {**each.per_concept(), **found}
    texts = _text_reports(judged)
    concepts = tuple(
        _concept(
            name,
            len(readout.texts.get(name, ())),
            found.get(name, NO_EVIDENCE),
            lens.get(name),
            _nearest(names, matrix, i),
            texts.get(name, ()),
        )
        for i, name in enumerate(names)
    )
    pairs = pairs_beyond_chance(cosines, evidence) if isinstance(cosines, CosineMatrix) else ()
    macro = evidence[0].macro() if evidence else NO_EVIDENCE
    auroc, low, high = macro.ends()
    return RunReport(
        run_id=readout.run.id,
        layer=layer,
        held_out=_name(evidence),
        headline=headline_of(concepts, pairs),
        auroc=auroc,
        low=low,
        high=high,
        words=macro.words,
        embedding=macro.embedding,
        random=macro.random,
        concepts=concepts,
        pairs=pairs,
        findings=_findings(concepts, pairs, evidence, judged),
        layer_note=layer_note(readout.run.layer_scores, layer),
        missing=tuple(each.name for each in concepts if each.auroc is None),
        moved=moved,
        before=before.id if before else "",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        order=tuple(names[i] for i in order),
        cosines=pack_cosines(matrix[np.ix_(order, order)]),
        lens_layer=lens_layer(readout.run) if lens else None,
        beside=evidence[0].beside() if evidence else (),
    )


def _name(evidence: Sequence[Evidence]) -> str:
    if len(evidence) < 2:
        return evidence[0].name if evidence else "no held-out texts"
    first, rest = evidence
    only = len(set(rest.concepts) - set(first.concepts))
    return f"{first.name}; {rest.name} for {only} concepts they do not name"


def _concept(
    name: str,
    n_texts: int,
    found: Estimates,
    lens: LensTokens | None,
    nearest: tuple[tuple[str, float], ...],
    texts: tuple[TextReport, ...],
) -> ConceptReport:
    auroc, low, high = found.ends()
    return ConceptReport(
        name=name,
        n_texts=n_texts,
        auroc=auroc,
        low=low,
        high=high,
        n_held_out=found.n_texts,
        words=found.words,
        embedding=found.embedding,
        random=found.random,
        nearest=nearest,
        raises=lens.raised if lens else (),
        lowers=lens.lowered if lens else (),
        verdict=verdict_of(auroc, low),
        texts=texts,
    )


def _nearest(names: Sequence[str], matrix: Floats, own: int) -> tuple[tuple[str, float], ...]:
    ranked = [int(i) for i in np.argsort(-matrix[own], kind="stable") if i != own]
    return tuple((names[i], round(float(matrix[own, i]), 4)) for i in ranked[:NEAREST])


def _text_reports(judged: Judged | None) -> dict[str, tuple[TextReport, ...]]:
    if judged is None:
        return {}
    advice = {(a.concept, a.index): f"{a.title}." for a in judged.advice if a.index is not None}
    found: dict[str, list[TextReport]] = {}
    for one in judged.influences:
        found.setdefault(one.concept, []).append(
            TextReport(
                text=one.text,
                own=_known(one.own),
                pulls_to=one.pull or "",
                pull=_known(one.pull_score),
                influence=_known(one.influence),
                advice=advice.get((one.concept, one.index), "") or one.note(),
            )
        )
    return {name: tuple(texts) for name, texts in found.items()}


def _known(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def headline_of(concepts: Sequence[ConceptReport], pairs: Sequence[PairReport]) -> str:
    """The whole report in one line."""
    judged = [each for each in concepts if each.auroc is not None]
    read = [each for each in judged if each.verdict != "at chance"]
    confused = sum(each.verdict == "confused" for each in pairs)
    if not judged:
        return f"None of {len(concepts)} concepts could be judged: each has one text"
    rest = len(concepts) - len(judged)
    parts = [f"{len(read)} of {len(concepts)} concepts can be read"]
    if rest:
        parts.append(f"{rest} could not be judged")
    pair = "no pair is confused"
    if confused:
        pair = f"{confused} pairs are confused" if confused > 1 else "1 pair is confused"
    return "; ".join([*parts, pair])


def _findings(
    concepts: Sequence[ConceptReport],
    pairs: Sequence[PairReport],
    evidence: Sequence[Evidence],
    judged: Judged | None,
) -> tuple[Finding, ...]:
    ranked = sorted(concepts, key=lambda c: (c.low or 0, c.auroc or 0))
    found = [_about_weak(c, evidence) for c in ranked if c.verdict == "at chance"]
    found += [_about_pair(pair) for pair in pairs if pair.verdict == "confused"]
    found += [_about_weak(c, evidence) for c in ranked if c.verdict == "weak"]
    if judged is not None:
        found += [
            Finding(f"{a.title}. {a.evidence}", f"#/write/{a.concept}") for a in judged.advice
        ]
    found = found[:MOST_FINDINGS]
    told = {a.concept for a in judged.advice if a.kind == "add"} if judged else set()
    return (*found, *_about_evidence(concepts, evidence, told))


def _about_weak(concept: ConceptReport, evidence: Sequence[Evidence]) -> Finding:
    how = "is not above chance" if concept.verdict == "at chance" else "is weak"
    found = f"{concept.auroc:.2f} [{concept.low:.2f}, {concept.high:.2f}]"
    rivals: Counter[str] = Counter()
    for each in evidence:
        if concept.name in each.concepts and not rivals:
            rivals = each.read_as(concept.name)
    lost = sum(rivals.values())
    taken = ""
    if lost:
        rival, count = rivals.most_common(1)[0]
        most = f", {count} as {rival}" if count > 1 else ""
        taken = f"; {lost} of its {concept.n_held_out} held-out texts read as others{most}"
    return Finding(f"{concept.name} {how}, {found}{taken}.", f"#/write/{concept.name}")


def _about_pair(pair: PairReport) -> Finding:
    return Finding(
        f"{pair.a} and {pair.b} are confused: cosine {pair.cosine:.2f}, and their held-out texts "
        f"are told apart with AUROC {pair.auroc:.2f}.",
        f"#/judge?pair={pair.a}~{pair.b}",
    )


def _about_evidence(
    concepts: Sequence[ConceptReport], evidence: Sequence[Evidence], told: Set[str]
) -> list[Finding]:
    """Concepts that were judged by less than the others, or by nothing.

    Args:
        concepts: all of them.
        evidence: what judged them.
        told: those of whose few texts another finding says it.
    """
    found = []
    usual = float(np.median([c.n_texts for c in concepts])) if concepts else 0
    few = [c for c in concepts if c.n_texts and c.n_texts <= HALF * usual]
    for each in [c for c in few if c.name not in told][:NEAREST]:
        sentence = f"{each.name} has {each.n_texts} texts, the others mostly {usual:.0f}."
        found.append(Finding(sentence, f"#/write/{each.name}"))
    if len(evidence) > 1:
        only = [name for name in evidence[1].concepts if name not in evidence[0].concepts]
        named = ", ".join(only[:NEAREST]) + (f" and {len(only) - NEAREST} more" * (len(only) > 3))
        sentence = f"No shipped text judges {named}: their own texts do, each left out in turn."
        found.append(Finding(sentence, "#/judge/new-texts"))
    for each in concepts:
        if each.verdict == "not judged":
            sentence = f"No held-out text judges {each.name}: add a second text."
            found.append(Finding(sentence, f"#/write/{each.name}"))
    return found[:MOST_FINDINGS]
