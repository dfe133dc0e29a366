"""What `readout-ui report` does: every judgement of some vectors on one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.cli_evaluate import SHIPPED, open_scorer
from readout_ui.errors import UserError
from readout_ui.files import write_file
from readout_ui.progress import Progress
from readout_ui.terminal import size_text
from readout_ui.vector_sources import VectorSource, find_source
from readout_ui.views.report import Section, Table, draw_report

if TYPE_CHECKING:
    from readout_ui.corpus import Corpus
    from readout_ui.layer_sets import LayerSets
    from readout_ui.models import ModelSpec
    from readout_ui.text_scores import Scorer

__all__ = ["find_source", "write_report"]
STAGE = "Writing the report"
Chapter = Callable[["Scorer", "Corpus", int], Section]


def write_report(source: VectorSource, spec: ModelSpec, layer: int | None, output: Path) -> Path:
    """Judge the vectors in every way and write the page; returns its path.

    Raises:
        UserError: the texts of an export are missing, or it belongs to another model.
    """
    if not source.descriptions:
        raise UserError(
            "a report needs the texts of the training",
            where=str(source.path),
            fix="name their folder with --descriptions, or the folder of a kept run",
        )
    if output.is_dir():
        raise UserError("is a folder", where=str(output), fix="name a file, such as report.html")
    chosen = source.layer(layer)
    with open_scorer(source, spec) as scorer:
        from readout_ui.corpus import read_corpus

        corpus = read_corpus(
            scorer.model, source.descriptions, source.settings, scorer.cache, scorer.report
        )
        sections = []
        for done, chapter in enumerate(CHAPTERS):
            scorer.report(Progress(STAGE, done, len(CHAPTERS), "chapters"))
            sections.append(chapter(scorer, corpus, chosen))
    page = draw_report("Readout Studio report", _about(source, corpus, chosen), sections)
    write_file(output, page.encode())
    return output


def _about(source: VectorSource, corpus: Corpus, layer: int) -> tuple[str, ...]:
    manifest = source.manifest
    n_own = sum(len(rows) for rows in corpus.groups.rows)
    return (
        f"{len(manifest.concepts)} concepts, {n_own} descriptions, "
        f"{len(corpus.groups.neutral)} neutral texts.",
        f"Model {manifest.model.id} ({manifest.model.dtype}), {manifest.frame.description}.",
        f"Directions by {manifest.method}, read rule {manifest.read.rule}, judged at layer "
        f"{layer}. Intervals are 95 %, by bootstrap over texts.",
    )


def _layers(scorer: Scorer, corpus: Corpus, _layer: int) -> Section:
    from readout_ui.layer_sets import best_layer_sets
    from readout_ui.layer_sweep import corpora_by_rule, fill_layers, sweep_means
    from readout_ui.views.layers import draw_sweep

    def corpora() -> Iterator[Corpus]:
        return corpora_by_rule(corpus, scorer.model, scorer.descriptions, scorer.cache)

    sweep, sets = sweep_means(corpora(), report=scorer.report), best_layer_sets(corpus)
    if sets.sets:
        sweep = fill_layers(sweep, corpora(), [sets.recommended], scorer.report)
    best = sweep.best()
    if best is None:
        return Section("Layers", ("Two descriptions of a concept are needed to compare layers.",))
    marked = (sweep.columns.index(best[0]), best[1])
    columns = [column.label for column in sweep.columns]
    per_concept = sweep.columns[[c.method == "mean" for c in sweep.columns].index(True)]
    return Section(
        "Layers",
        (
            f"Held-out descriptions, {sweep.folds} folds. Highest: layer {best[1]} with "
            f"{best[0].label}. auto takes layer {sets.recommended}: within one standard error of "
            "the best, nearest to 0.6 of the depth. Empty cells were not computed: PCA and "
            "logistic regression fit anew for every fold.",
            draw_sweep(sweep.scores(), columns, marked, "Macro AUROC"),
            draw_sweep(
                per_concept.auroc.T, sweep.concepts, None, f"AUROC of each, {per_concept.label}"
            ),
            _sets_table(sets),
        ),
    )


def _sets_table(sets: LayerSets) -> Table:
    header = (
        *("layers", "AUROC", "chosen on half, scored on the other", "over one layer"),
        *("export", "multiply-adds per token"),
    )
    rows = tuple(
        (
            ", ".join(map(str, one.layers)),
            f"{one.auroc:.3f}",
            f"{one.elsewhere:.3f}",
            f"{one.gain:+.3f} ± {one.gain_error:.3f}",
            size_text(one.n_bytes),
            f"{one.multiply_adds:,}",
        )
        for one in sets.sets
    )
    return Table(header, rows)


def _cosines(scorer: Scorer, corpus: Corpus, layer: int) -> Section:
    from readout_ui.crosstalk import cosine_matrix
    from readout_ui.views.crosstalk import draw_cosines

    one = cosine_matrix(corpus, layer)
    mean = cosine_matrix(corpus, None, report=scorer.report)
    return Section(
        "Cosines between directions",
        (f"Layer {layer}", draw_cosines(one), "Mean over all layers", draw_cosines(mean)),
    )


def _responses(_scorer: Scorer, corpus: Corpus, layer: int) -> Section:
    from readout_ui.responses import response_matrix
    from readout_ui.views.crosstalk import draw_responses

    found = response_matrix(corpus, layer)
    top1 = found.top1
    confusions = tuple(
        (one.concept, one.taken_for, f"{one.count} of {one.of}", "yes" if one.differs else "no")
        for one in found.confusions
    )
    return Section(
        "Responses of held-out descriptions",
        (
            "Each description is scored on directions fitted without it. "
            f"{top1.value:.0%} ({top1.low:.0%} to {top1.high:.0%}) score highest on their own "
            f"concept; chance is {found.chance:.1%}.",
            draw_responses(found),
            Table(("descriptions of", "score highest on", "how many", "beyond chance"), confusions),
        ),
    )


def _redundancy(_scorer: Scorer, corpus: Corpus, layer: int) -> Section:
    from readout_ui.concept_map import concept_map
    from readout_ui.redundancy import redundancy
    from readout_ui.views.concept_map import draw_map

    rows = tuple(
        (
            one.concept,
            ", ".join(f"{near.concept} {near.cosine:.2f}" for near in one.nearest),
            f"{one.r2:.2f} [{one.r2_low:.2f}, {one.r2_high:.2f}]",
            f"{one.r2_chance:.2f}",
            f"{one.first_component_share:.2f}",
        )
        for one in sorted(redundancy(corpus, layer), key=lambda one: -one.r2)
    )
    header = ("concept", "nearest", "R2 from the others", "R2 of random groups", "first component")
    return Section(
        "Redundancy and map", (Table(header, rows), draw_map(concept_map(corpus, layer)))
    )


def _generalization(scorer: Scorer, _corpus: Corpus, layer: int) -> Section:
    from readout_ui.cli_evaluate import table_rows
    from readout_ui.generalization import judge_texts
    from readout_ui.label_mapping import mapping_of, suggest_mapping
    from readout_ui.labelled_texts import labels_of, read_shipped
    from readout_ui.views.generalization import draw_forest, draw_violins

    title, texts = "Generalization", read_shipped()
    mapping = mapping_of(suggest_mapping(labels_of(texts), scorer.concepts))
    try:
        found = judge_texts(scorer, texts, mapping, layer)
    except UserError as error:
        return Section(title, (f"Not judged on {SHIPPED}: {error}",))
    misses = tuple(
        (miss.text, ", ".join(miss.concepts), miss.rival, f"{miss.margin:.3f}")
        for miss in found.misses
    )
    return Section(
        title,
        (
            f"On {SHIPPED}, which was never trained on: {len(found.texts)} texts.",
            draw_forest(found),
            Table(*table_rows(found)),
            *(f"Top-{top.k}: {top.hits}, chance {top.chance:.3f}." for top in found.top),
            draw_violins(found),
            Table(("worst misses", "labelled", "taken for", "by"), misses),
            *found.notes,
        ),
    )


def _words(scorer: Scorer, _corpus: Corpus, layer: int) -> Section:
    from readout_ui.label_mapping import mapping_of, suggest_mapping
    from readout_ui.labelled_texts import labels_of, read_shipped
    from readout_ui.lexical import control_words

    texts = read_shipped()
    mapping = mapping_of(suggest_mapping(labels_of(texts), scorer.concepts))
    try:
        found = control_words(scorer, texts, mapping, layer)
    except UserError as error:
        return Section("Lexical control", (f"Not judged: {error}",))
    before, after = found.macro
    lines = [
        f"With each concept's own word masked, macro AUROC goes from {before:.3f} to {after:.3f}; "
        f"{found.n_named} texts hold such a word."
    ]
    other = found.other_sense
    if other is not None:
        lines.append(
            "On sentences that use the word in another sense, judged as if they meant the "
            f"concept: {other.macro.auroc} (0.5 says that the word alone moves nothing)."
        )
    return Section("Lexical control", tuple(lines))


def _advice(_scorer: Scorer, corpus: Corpus, layer: int) -> Section:
    from readout_ui.advice import judge_descriptions

    found = judge_descriptions(corpus, layer).advice
    rows = tuple((one.title, one.evidence, one.concept) for one in found)
    none = "Nothing stands out beyond chance."
    return Section("Advice", (Table(("what to do", "why", "concept"), rows) if rows else none,))


CHAPTERS: tuple[Chapter, ...] = (
    _generalization,
    _words,
    _layers,
    _cosines,
    _responses,
    _redundancy,
    _advice,
)
