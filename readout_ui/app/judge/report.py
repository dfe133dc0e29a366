"""The report that Judge opens with: how it is drawn, kept up to date, saved and asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from html import escape

import gradio as gr
from pydantic import Field

from readout_ui.app.assets import STATIC, on_load
from readout_ui.app.events import (
    QUIET,
    Answer,
    Call,
    Changes,
    Nothing,
    Part,
    Request,
    answering,
    bound,
    on_threads,
)
from readout_ui.app.jobs import JobView
from readout_ui.app.judge.pairs import MATRIX, pair_call, pair_rows
from readout_ui.app.session import Studio
from readout_ui.app.widgets import count, minute, short
from readout_ui.errors import UserError
from readout_ui.runs.report import ConceptReport, Finding, PairReport, RunReport

TICK_SECONDS = 1.5
FIRST_PAIRS = 12
"""Pairs that are shown before "All pairs" is pressed."""
FIRST_CONCEPTS = 12
KINDS = {"clear": "ok", "readable": "ok", "weak": "warn", "at chance": "bad", "confused": "bad"}


def interval(low: float | None, high: float | None) -> str:
    """ "[.868, .896]", empty where there is none."""
    return "" if low is None or high is None else f"[{short(low)}, {short(high)}]"


def cosine(value: float) -> str:
    """With a real minus."""
    return f"{value:z.2f}".replace("-", "−")


def draw_report(report: RunReport, title: str) -> str:
    """The whole page of one report.

    Args:
        report: what was found.
        title: what the run is called.
    """
    made = ""
    if report.made:
        made = minute(datetime.fromisoformat(report.made))
    about = " · ".join(
        each for each in (f"layer {report.layer}", report.held_out, made and f"made {made}") if each
    )
    return (
        f"<article class='report' data-report='{escape(_data(report))}'>"
        f"<div class='rtop'><div><h1>{escape(report.headline)}</h1>"
        f"<p class='dim'>Report of run <b>{escape(title)}</b> · {escape(about)}</p></div>"
        "<span class='sp'></span><button type='button' class='btn' data-do='again'>Judge again"
        "</button><button type='button' class='btn' data-do='save'>Save as HTML</button></div>"
        f"{_moved(report)}{_figures(report)}{_beside(report)}"
        "<div class='judge2'><div>"
        f"{_next(report.findings)}{_pairs(report)}</div>{_matrix(report)}</div>"
        f"{_concepts(report)}</article>"
    )


def draw_missing(words: str, job: JobView | None, *, may_judge: bool) -> str:
    """What stands in the place of a report that is not there.

    Args:
        words: why not.
        job: the work on it, where it waits or runs.
        may_judge: whether a button may start it.
    """
    bar = ""
    if job is not None:
        part = "" if job.fraction is None else f" value='{job.fraction:.2f}'"
        note = job.log[-1].strip().split("  ")[-1] if job.log else ""
        bar = f"<progress max='1'{part} aria-label='Judging'></progress> {escape(note)}"
    button = "<button type='button' class='btn' data-do='again'>Judge this run</button>"
    return (
        f"<article class='report'><h1>{escape(words)}</h1>"
        f"<p class='dim' role='status'>{bar}</p>{button if may_judge else ''}</article>"
    )


def _data(report: RunReport) -> str:
    """What the page's script needs, as JSON."""
    pairs = pair_rows(report.pairs)
    return json.dumps({"order": report.order, "cosines": report.cosines, "pairs": pairs})


def _moved(report: RunReport) -> str:
    if not report.moved:
        return ""
    address = f"#/ship?diff={report.before}~{report.run_id}"
    return (
        f"<div class='moved' role='status'><span>{escape(report.moved)}</span>"
        f"<span class='sp'></span><a class='btn quiet' href='{escape(address)}'>"
        "Compare the two runs</a></div>"
    )


def _beside(report: RunReport) -> str:
    said = " ".join(report.beside)
    return f"<p class='dim small beside'>{escape(said)}</p>" if said else ""


def _figures(report: RunReport) -> str:
    judged = [each for each in report.concepts if each.auroc is not None]
    read = [each for each in judged if each.verdict != "at chance"]
    worst = min(judged, key=lambda each: each.low or 0, default=None)
    confused = sum(each.verdict == "confused" for each in report.pairs)
    n, note = len(report.concepts), report.layer_note
    beside = [f"words {short(report.words)}", f"random {short(report.random)}"]
    if report.embedding is not None:
        beside.insert(1, f"embedding {short(report.embedding)}")
    lowest = "" if worst is None else _worst(worst)
    return (
        "<div class='verd'>"
        + _figure("judge", "Readable", f"{len(read)} <small>of {n}</small>", lowest, "concepts")
        + _figure(
            "judge/new-texts",
            "AUROC on unseen texts",
            short(report.auroc),
            escape(" · ".join([interval(report.low, report.high), *beside])),
        )
        + _figure(
            "judge/cross-talk",
            "Pairs beyond chance",
            f"{len(report.pairs):,} <small>of {n * (n - 1) // 2:,}</small>",
            f"<span class='v {'bad' if confused else 'ok'}'>{confused} confused</span>",
        )
        + _figure(
            "judge/layers", "Layer", str(report.layer), escape(note.partition(" is ")[2] or note)
        )
        + "</div>"
    )


def _worst(concept: ConceptReport) -> str:
    kind, name = KINDS[concept.verdict], escape(concept.name)
    how = "not above chance" if kind == "bad" else f"the lowest, {concept.verdict}"
    ends = interval(concept.low, concept.high)
    return f"<span class='v {kind}'>{name}</span> {short(concept.auroc)} {ends}, {how}"


def _figure(address: str, title: str, value: str, detail: str, jump: str = "") -> str:
    more = f" data-jump='{jump}'" if jump else ""
    return (
        f"<a href='#/{address}'{more}><span class='k'>{title}</span><span class='big'>{value}"
        f"</span><span class='d'>{detail}</span></a>"
    )


def _next(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<section><h2>Next</h2><p class='dim'>Nothing stands out.</p></section>"
    items = "".join(
        f"<li><span class='i'>{i}</span><span>{escape(each.sentence)}</span>"
        f"<a class='btn sm' href='{escape(each.address)}'>{_verb(each.address)}</a></li>"
        for i, each in enumerate(findings, start=1)
    )
    return f"<section><h2>Next</h2><ol class='next'>{items}</ol></section>"


def _verb(address: str) -> str:
    if "pair=" in address:
        return "Side by side"
    return "Open texts" if address.startswith("#/write") else "Open"


def _pairs(report: RunReport) -> str:
    head = (
        f"<section class='sect' id='pairs'><header><h2>Cross-talk</h2><span class='dim small'>"
        f"{count(len(report.pairs), 'pair')} beyond chance, 5 % false discoveries</span>"
        "<span class='sp'></span>"
    )
    if not report.pairs:
        why = "No pair of directions is nearer or further than chance."
        if not report.order:
            why = "The texts of the training are not there, so chance is not known."
        return f"{head}</header><p class='dim'>{why}</p></section>"
    rest = len(report.pairs) - FIRST_PAIRS
    more = f"<button type='button' class='btn quiet sm' data-do='all'>All {len(report.pairs)} pairs"
    return (
        f"{head}<button type='button' class='btn sm' data-do='csv-pairs'>CSV</button></header>"
        "<table class='t1 pairs'><thead><tr><th>Pair</th><th class='num'>Cosine</th>"
        "<th class='num h'>95 %</th><th>Held-out texts</th></tr></thead>"
        f"<tbody>{''.join(map(_pair, report.pairs[:FIRST_PAIRS]))}</tbody></table>"
        f"{f'{more}</button>' if rest > 0 else ''}</section>"
    )


def _pair(pair: PairReport) -> str:
    between = "–" if pair.cosine > 0 else "vs"
    told = pair.verdict if pair.auroc is None else f"{pair.verdict}, {short(pair.auroc)}"
    kind = KINDS.get(pair.verdict, "plain")
    below = " below" if pair.cosine < 0 else ""
    bar = f"<span class='pbar h{below}' style='--part: {abs(pair.cosine)}'></span>"
    address = f"#/judge?pair={pair.a}~{pair.b}"
    return (
        f"<tr><td><a href='{escape(address)}'>{escape(pair.a)} <span class='dim'>{between}</span> "
        f"{escape(pair.b)}</a></td><td class='num'>{bar}{cosine(pair.cosine)}</td>"
        f"<td class='num dim h'>±{pair.margin:.2f}</td>"
        f"<td><span class='v {kind}'>{told}</span></td></tr>"
    )


def _matrix(report: RunReport) -> str:
    if len(report.order) < 2:
        return ""
    return MATRIX


def _concepts(report: RunReport) -> str:
    ranked = sorted(report.concepts, key=lambda each: (each.low is not None, each.low or 0))
    rows = "".join(
        f"<tr{'' if i < FIRST_CONCEPTS else ' hidden'}>{_concept(each)}</tr>"
        for i, each in enumerate(ranked)
    )
    titles = ("Concept", "Verdict", "AUROC", "95 %", "Words", "Embedding", "Random")
    last = ("Held-out texts", "Texts", "Nearest")
    head = "".join(
        f"<th class='{'num' if i > 1 and title != 'Nearest' else ''}"
        f"{' h' if i > 3 else ''}'>{title}</th>"
        for i, title in enumerate((*titles, *last))
    )
    more = "<button type='button' class='btn quiet sm' data-do='concepts'>All "
    more += f"{len(ranked)} concepts</button>"
    return (
        "<section class='sect' id='concepts'><header><h2>Concepts</h2><span class='dim small'>"
        "lowest first; the verdict follows the lower end of the interval</span>"
        "<span class='sp'></span><button type='button' class='btn sm' data-do='csv-concepts'>CSV"
        "</button></header>"
        f"<table class='t1 concepts'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"{more if len(ranked) > FIRST_CONCEPTS else ''}</section>"
    )


def _concept(each: ConceptReport) -> str:
    near = ", ".join(f"{escape(name)} {cosine(value)}" for name, value in each.nearest)
    numbers = (each.words, each.embedding, each.random)
    cells = "".join(f"<td class='num h'>{short(value)}</td>" for value in numbers)
    return (
        f"<td><a href='#/write/{escape(each.name)}'>{escape(each.name)}</a></td>"
        f"<td><span class='v {KINDS.get(each.verdict, 'plain')}'>{each.verdict}</span></td>"
        f"<td class='num'>{short(each.auroc)}</td>"
        f"<td class='num'>{interval(each.low, each.high)}</td>{cells}"
        f"<td class='num h'>{each.n_held_out}</td><td class='num h'>{each.n_texts}</td>"
        f"<td class='h'>{near}</td>"
    )


def standalone(report: RunReport, title: str, picture: str) -> str:
    """The report as one HTML file that needs nothing else.

    Args:
        report: what was found.
        title: what the run is called.
        picture: the matrix as a data address, or empty.
    """
    whole = draw_report(report, title).replace(" hidden>", ">")
    rows = "".join(map(_pair, report.pairs))
    first = "".join(map(_pair, report.pairs[:FIRST_PAIRS]))
    if report.pairs:
        whole = whole.replace(first, rows, 1)
    safe = picture if picture.startswith("data:image/png;base64,") else ""
    image = f"<img alt='Cosines' src='{escape(safe)}'>" if safe else ""
    start, end = whole.find("<canvas"), whole.find("</canvas>")
    if start >= 0:
        whole = whole[:start] + image + whole[end + len("</canvas>") :]
    sheets = ("base.css", "judge.css")
    styles = "".join((STATIC / "styles" / name).read_text("utf-8") for name in sheets)
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>{escape(report.headline)}</title><style>{styles} body {{ font: 14px system-ui, "
        "sans-serif; margin: 24px; color: var(--ink) } button { display: none !important }"
        f"</style><body class='saved'>{whole}</body></html>"
    )


class ReportPart(Part):
    """The report of the run in use, or what is missing for one."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.page = gr.HTML(
            self.draw(),
            elem_id="judge-report",
            padding=False,
            apply_default_css=False,
            js_on_load=on_load("judge/report.js"),
            server_functions=on_threads(report_calls(studio)),
        )
        self.seen = gr.State(self.key())
        timer = gr.Timer(TICK_SECONDS)
        timer.tick(bound(self.tick), self.seen, [self.page, self.seen], **QUIET)

    def key(self) -> str:
        """What the page shows depends on nothing else."""
        run, report, job = self.studio.runs.current(), self.studio.report(), self.studio.judging()
        done = job.progress.done if job and job.progress else ""
        name = self.studio.runs.title(run) if run else ""
        return f"{run and run.id} {name} {report and report.made} {job and job.state} {done}"

    def tick(self, seen: str) -> Changes:
        """The page anew where something changed."""
        key = self.key()
        return {} if key == seen else {self.page: self.draw(), self.seen: key}

    def draw(self) -> str:
        """The page as it stands."""
        studio, run = self.studio, self.studio.runs.current()
        if run is None:
            words = "Nothing to judge yet: press Train first"
            return draw_missing(words, None, may_judge=False)
        report, job = studio.report(), studio.judging()
        if report is not None:
            return draw_report(report, studio.runs.title(run))
        words = "This run is being judged" if job else "This run was not judged yet"
        return draw_missing(words, job, may_judge=job is None and not studio.read_only)


class Picture(Request):
    """The matrix as the page painted it, as a `data:` address; empty where there is none."""

    picture: str = Field(max_length=30_000_000)


def report_calls(studio: Studio) -> list[Call]:
    """What the page's script asks: both texts of a pair, the report as a file, to judge again."""
    return [
        pair_call(studio),
        answering("save_report", Picture, lambda r: save_report(studio, r)),
        answering("judge_again", Nothing, lambda _r: judge_again(studio)),
    ]


def save_report(studio: Studio, asked: Picture) -> Answer:
    """The report as one HTML page."""
    run, report = studio.run(), studio.report()
    if report is None:
        raise UserError("this run was not judged yet")
    return {"html": standalone(report, studio.runs.title(run), asked.picture)}


def judge_again(studio: Studio) -> Answer:
    """Judge the run in use anew, against the same run as before."""
    report = studio.report()
    before = report.before if report else ""
    known = {run.id: run for run in studio.runs.list()}
    studio.start_report(studio.run().id, known.get(before))
    return {}
