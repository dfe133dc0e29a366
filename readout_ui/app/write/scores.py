"""What is known about the concepts, for the scoreboard and for a concept's own page."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import Field

from readout_ui.app.events import Answer, Call, Named, Nothing, answering
from readout_ui.app.jobs import JobState
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.texts.library import Library
from readout_ui.texts.names import contrasted, is_neutral_name

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.top_tokens import Snippets
    from readout_ui.runs.report import ConceptReport, RunReport

MOST_PASSAGES = 3
LONGEST_TRY = 40
"""Tokens of an answer that shows what steering does."""


class Try(Named):
    """A concept, how strongly it steers, and what is asked."""

    strength: float = Field(ge=-2, le=2, allow_inf_nan=False)
    prompt: str = Field(min_length=1, max_length=2000)


def score_calls(studio: Studio) -> list[Call]:
    """The server functions of the scoreboard's numbers and of a concept's page."""
    return [
        answering("read_scores", Nothing, lambda _r: scores(studio.report())),
        answering("read_telling", Named, lambda r: telling(studio.library(), r.name)),
        answering("read_passages", Named, lambda r: passages(studio, r.name)),
        answering("try_concept", Try, lambda r: tried(studio, r)),
    ]


def scores(report: RunReport | None) -> Answer:
    """A row of the scoreboard for every concept that was judged; None before."""
    if report is None:
        return {"scores": None}
    return {
        "scores": {
            "run": report.run_id,
            "layer": report.layer,
            "held_out": report.held_out,
            "headline": report.headline,
            "rows": {one.name: _row(one) for one in report.concepts},
        }
    }


def _row(one: ConceptReport) -> Answer:
    name, cosine = one.nearest[0] if one.nearest else ("", None)
    numbers = {key: getattr(one, key) for key in ("auroc", "low", "high", "n_held_out")}
    baselines = {key: getattr(one, key) for key in ("words", "embedding", "random")}
    n_advice = sum(bool(text.advice) for text in one.texts)
    return {
        **numbers,
        **baselines,
        "nearest": name,
        "cosine": cosine,
        "verdict": one.verdict,
        "n_advice": n_advice,
    }


def judged(report: RunReport | None, name: str) -> Answer:
    """Everything the report says about one concept; None where it says nothing."""
    found = report.concept(name) if report else None
    if report is None or found is None:
        return {"judged": None}
    here = f"#/write/{quote(name)}"
    findings = [one.sentence for one in report.findings if one.address.split("?")[0] == here]
    pairs = [asdict(one) for one in report.pairs if name in (one.a, one.b)]
    keys = ("run_id", "layer", "lens_layer", "held_out", "moved")
    about = {key: getattr(report, key) for key in keys}
    return {"judged": {**asdict(found), **about, "findings": findings, "pairs": pairs}}


def telling(library: Library, name: str) -> Answer:
    """What gives a concept's texts away by itself, as they are on disk: words, openings, lengths.

    Those beyond chance come first, then the words that a bag of words relies on most.

    Raises:
        UserError: there is nothing to compare them with.
    """
    from readout_ui.evaluation.shortcuts import shortcuts_of
    from readout_ui.vectors.groups import group_texts

    texts = {each.name: each.descriptions for each in library.files if each.descriptions}
    if name not in texts or is_neutral_name(name):
        return {"telling": None}
    found = shortcuts_of(*group_texts(texts))
    model = next(each for each in found.models if each.concept == name)
    sure = [asdict(each) for each in found.found if each.concept == name]
    told = {each["what"] for each in sure}
    words = [asdict(each) for each in model.top if each.inside > 1 and each.word not in told]
    return {
        "telling": {
            "sure": sure,
            "words": words,
            "of": model.of,
            "others": sum(len(own) for key, own in texts.items() if not contrasted(key)) - model.of,
            "auroc": None if isnan(model.auroc) else model.auroc,
            "named": model.own_word,
        }
    }


def passages(studio: Studio, name: str) -> Answer:
    """The strongest places of the newest search in a large file; None without a search."""
    job = studio.worker.latest("snippets")
    if job is None or job.view().state is not JobState.DONE:
        return {"passages": None}
    found: Any = job.result()
    return {"file": found.file, "passages": _strongest(found, name)}


def _strongest(found: Snippets, name: str) -> list[Answer]:
    return [
        {
            "before": ("… " if one.cut[0] else "") + one.part(0, one.start),
            "strong": one.span,
            "after": one.part(one.stop, len(one.pieces)) + (" …" if one.cut[1] else ""),
            "strength": round(one.strength, 2),
            "line": one.line,
        }
        for one in found.by_concept.get(name, ())[:MOST_PASSAGES]
    ]


def tried(studio: Studio, asked: Try) -> Answer:
    """The same question answered as the model is, and steered by one concept.

    Raises:
        UserError: a training is under way, or the concept has no direction yet.
    """
    training = studio.worker.latest("train")
    if training is not None and not training.view().state.finished:
        raise UserError("a training is under way", fix="try again when it has ended")
    if asked.name not in studio.run().concepts:
        raise UserError("it has no direction yet", where=asked.name, fix="train first")
    work = partial(two_answers, asked.name, asked.strength, asked.prompt)
    plain, steered = studio.on_device("try", f"Trying {asked.name}", work).result()
    return {"plain": plain, "steered": steered}


def two_answers(concept: str, strength: float, prompt: str, used: Readout) -> tuple[str, str]:
    """Both answers, on the device's thread; always the likeliest tokens, so only steering differs.

    Args:
        concept: what steers the second one.
        strength: in mean lengths of the residual stream.
        prompt: what the user says.
        used: model and run.
    """
    from readout_ui.inference.sampling import Sampling

    sampling = Sampling(temperature=0, max_new_tokens=LONGEST_TRY)
    plain = used.generate(prompt, sampling=sampling).text
    return plain, used.generate(prompt, {concept: strength}, sampling=sampling).text
