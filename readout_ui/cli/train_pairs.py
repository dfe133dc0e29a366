"""The command that trains on contrast pairs: train-pairs, spelled as the seed guide spells it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import Form, Training
from readout_ui.cli.output import as_json, table, work_with
from readout_ui.cli.train import Neutral, keep, show_preview, summary
from readout_ui.errors import UserError
from readout_ui.files import write_file
from readout_ui.texts.lint_sources import check_pairs, refuse_errors
from readout_ui.texts.pairs import (
    PairColumns,
    PairSet,
    find_pairs,
    read_pairs,
    require_contrast,
    shipped_pairs,
)
from readout_ui.vectors.settings import TrainSettings

if TYPE_CHECKING:
    from readout_ui.runs.run import Run

NEUTRAL_FOLDER = Path("descriptions")
_SUFFIXES_OF_MODELS = ("-it", "-hf")


@dataclass(frozen=True)
class PairTraining(Training):
    """A training on pairs: all layers, and a seed of the folds."""

    layers: Annotated[
        str,
        typer.Option(
            "--layers",
            "--target-layers",
            help="all, auto (the best on held-out pairs), middle (3 to 5 layers at 40 to 60 % of "
            "the depth), or such as 22,24,26 or -1,-2.",
        ),
    ] = "all"
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = TrainSettings.seed


@dataclass(frozen=True)
class NamedPairs:
    """Which pairs are trained on."""

    contrast_type: Annotated[
        str, typer.Option(help="tom, irony, self_other or harmfulness; a new name with --pairs.")
    ] = ""
    num_samples: Annotated[
        int | None, typer.Option(help="Only the first pairs; by default all.")
    ] = None
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of pair files; by default the shipped pairs."),
    ] = None
    pairs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One file of pairs: JSON, JSONL, CSV, TSV.")
    ] = None
    positive: Annotated[
        str, typer.Option(metavar="COL", help="Column the direction points to.")
    ] = ""
    negative: Annotated[str, typer.Option(metavar="COL", help="Column it points away from.")] = ""
    prompt: Annotated[
        str, typer.Option(metavar="COL", help="Column of what the user says before either.")
    ] = ""

    def find(self) -> PairSet:
        """The pairs.

        Raises:
            UserError: the options name none, or what they name cannot be used.
        """
        columns, name = self._columns(), self.contrast_type
        if self.pairs is not None and self.data_dir is not None:
            raise UserError("choose one of --pairs and --data-dir")
        if self.pairs is not None:
            return read_pairs(self.pairs, columns, name).first(self.num_samples)
        if not name:
            raise UserError("no pairs are named", fix="give --contrast-type or --pairs")
        require_contrast(name)
        if self.data_dir is not None:
            file = find_pairs(self.data_dir, name)
            return read_pairs(file, columns, name).first(self.num_samples)
        if columns is not None:
            raise UserError("the shipped pairs have columns of their own", fix="name --pairs FILE")
        return shipped_pairs(name).first(self.num_samples)

    def _columns(self) -> PairColumns | None:
        if not (self.positive or self.negative or self.prompt):
            return None
        if not (self.positive and self.negative):
            raise UserError("both sides have to be named", fix="give --positive and --negative")
        return PairColumns(self.positive, self.negative, self.prompt)

    def data_name(self, found: PairSet) -> str:
        """The contrast's name, with that of the file where the pairs come from --pairs."""
        from readout_ui.texts.names import check_name

        stem = check_name(self.pairs.stem) if self.pairs else found.name
        return found.name if stem == found.name else f"{found.name}_{stem}"


def train_pairs(
    *,
    named: NamedPairs,
    output_dir: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Folder for the export's folder and, beside it, the guide's files."
        ),
    ] = Path("trained_vectors"),
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Draw no bars.")] = False,
    form: Form = "readout",
    pickled: Annotated[
        bool,
        typer.Option(
            "--pickle", help="Write {name}.pkl as well; opening a pickle can run any program."
        ),
    ] = False,
    descriptions: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder whose _*.txt files calibrate the scores.")
    ] = NEUTRAL_FOLDER,
    neutral: Neutral = None,
    training: PairTraining,
) -> None:
    """Fit one direction from contrast pairs, judge it on held-out pairs and write an export."""
    from readout_ui.runs.export import format_named, require_target

    settings = training.settings()
    warning = format_named(form).warning
    found = named.find()
    if training.preview:
        return show_preview(training, found.pairs[0].positive, found.pairs[0].prompt)
    texts = _neutral_texts(neutral, descriptions)
    for line in [f"Polarity: {found.columns.polarity}", *_lint_lines(found)]:
        print(line, file=sys.stderr)
    with work_with(training.spec(), no_progress, training.spread.cluster()) as work:
        from readout_ui.runs.formats.guide import guide_files
        from readout_ui.runs.training import train
        from readout_ui.texts.sources import Source

        name = output_name(named.data_name(found), work.model.name, settings.layers)
        written = output_dir / name
        require_target(written, form, (found.name,))
        _refuse_other_pairs(written, found)
        run = train(Source(found, texts), work.model, settings, work.cache, work.report)
    keep(run, training.runs)
    run.export(written, form)
    for file, raw in guide_files(name, run, pickled).items():
        write_file(output_dir / file, raw)
    if warning:
        print(f"Warning: {warning}", file=sys.stderr)
    if training.json:
        print(as_json(_pair_values(found, run, written)))
    else:
        print(summary(_scores_table(run), _pair_facts(found, run), run, written))


def _neutral_texts(neutral: Path | None, descriptions: Path) -> dict[str, tuple[str, ...]]:
    """The neutral texts that the options name; the shipped ones where there are no descriptions."""
    from readout_ui.texts.sources import neutral_texts, shipped_neutral

    if neutral is None and descriptions == NEUTRAL_FOLDER and not descriptions.is_dir():
        return shipped_neutral()
    return neutral_texts(neutral or descriptions)


def output_name(contrast_type: str, model: str, layers: str) -> str:
    """`{contrast_type}_{model_short}_{layers}_{date}`, as the seed guide names its files."""
    short = model.rstrip("/").split("/")[-1].lower()
    for suffix in _SUFFIXES_OF_MODELS:
        short = short.removesuffix(suffix)
    numbers = "-".join(part.strip() for part in layers.split(","))
    named = f"{layers}-layers" if layers in {"all", "auto", "middle"} else f"layers-{numbers}"
    return f"{contrast_type}_{short}_{named}_{date.today():%Y%m%d}"


def _refuse_other_pairs(folder: Path, found: PairSet) -> None:
    """Raise a UserError where the folder holds vectors of other pairs."""
    from readout_ui.runs.manifest import MANIFEST_FILE
    from readout_ui.runs.run import Run
    from readout_ui.vectors.pairs import pair_fingerprints

    if not (folder / MANIFEST_FILE).is_file():
        return
    there = Run.open(folder).fingerprints
    if any(there.get(name) != mark for name, mark in pair_fingerprints(found).items()):
        raise UserError(
            "the folder holds vectors of other pairs",
            where=str(folder),
            fix="name another --output-dir, or remove the folder",
        )


def _lint_lines(found: PairSet) -> list[str]:
    """Findings for the terminal; a pair's sides being equal stops the training."""
    findings = check_pairs(found)
    places = {f: "" if f.index is None else f"pair {f.index + 1}: " for f in findings}
    refuse_errors(found, findings)
    return [f"{f.severity.capitalize()}: {places[f]}{f.message} {f.suggestion}" for f in findings]


def _pair_facts(found: PairSet, run: Run) -> dict[str, str]:
    return {
        "contrast": f"{found.name}: {found.columns.polarity}",
        "pairs": f"{len(found.pairs)} of {found.source}",
        "model": run.model_name,
        "settings": f"{run.settings.method}, {run.settings.read}",
        "layers": ", ".join(map(str, run.layers)),
        "best layer": str(run.best_layer),
    }


def _pair_values(found: PairSet, run: Run, written: Path) -> dict[str, Any]:
    return {
        "output": str(written),
        "contrast_type": found.name,
        "polarity": found.columns.polarity,
        "pairs": len(found.pairs),
        "source": found.source,
        "model": run.model_name,
        "method": run.settings.method,
        "read": run.settings.read,
        "layers": list(run.layers),
        "best_layer": run.best_layer,
        "held_out": (run.manifest.contrast or {}).get("held_out"),
        "warnings": list(run.warnings),
    }


def _scores_table(run: Run) -> str:
    from readout_ui.vectors.pair_scores import baseline_rows, embedding_sentence

    scores: Any = (run.manifest.contrast or {}).get("held_out")
    if scores is None:
        return "Too few pairs to hold some out."
    layers = dict.fromkeys([*run.layers, scores["best"]])
    rows = [
        (f"layer {layer}", f"{scores['accuracy'][layer]:.2f}", f"{scores['auroc'][layer]:.2f}")
        for layer in sorted(layers)
    ]
    rows += [
        *baseline_rows(scores),
        ("random direction (95 % below)", f"{scores['random']['most']:.2f}", ""),
        ("permuted polarity (95 % below)", f"{scores['permuted']['most']:.2f}", ""),
    ]
    shown = table(("held-out pairs", "accuracy", "AUROC"), rows)
    return "\n".join(filter(None, (shown, embedding_sentence(scores))))
