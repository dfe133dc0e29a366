"""The commands that write vectors, to disk or to the hub, and certify what was written."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from readout_ui.cli.options import AsJson, Form, KnownWeights, Model
from readout_ui.cli.output import progress_report, work_with
from readout_ui.errors import UserError
from readout_ui.vectors.settings import split_layers, split_names

if TYPE_CHECKING:
    from readout_ui.runs.run import Run


def export(
    runs: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of kept runs.")] = None,
    run_id: Annotated[
        str, typer.Option("--run", metavar="ID", help="Which run; by default the one in use.")
    ] = "",
    vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Or vectors to convert: folder, zip, .npz, .gguf or steering-vectors pair.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "--output-dir",
            metavar="DIR",
            help="Folder to write, or a file ending in .zip.",
        ),
    ] = None,
    concepts: Annotated[str, typer.Option(help="Such as calm,sad; by default all.")] = "",
    layers: Annotated[
        str, typer.Option("--layers", "--target-layers", help="Such as 14,22; by default all.")
    ] = "",
    descriptions: Annotated[
        Path | None,
        typer.Option(
            "--descriptions",
            "--direct-dir",
            metavar="DIR",
            help="The texts as they are now; refuse if they changed since the training.",
        ),
    ] = None,
    allow_changed: Annotated[
        bool, typer.Option("--allow-changed", help="Export although texts changed.")
    ] = False,
    form: Form = "readout",
    scale: Annotated[
        str,
        typer.Option(
            help="Of gguf and steering: norm (1.0 is one dose, the default) or unit.",
        ),
    ] = "",
    push_to_hub: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="Upload to this repository, made if missing.")
    ] = "",
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody read it; private otherwise.")
    ] = False,
) -> None:
    """Write vectors of a kept run, or of another file, in any format; push them if asked."""
    from readout_ui.runs.export import format_named

    _require_places(runs, vectors, output, push_to_hub, public)
    if push_to_hub:
        from readout_ui.runs.hub import check_repository

        check_repository(push_to_hub)
    if warning := format_named(form).warning:
        print(f"Warning: {warning}", file=sys.stderr)
    chosen = split_names(concepts)
    if vectors is not None:
        what, files = str(vectors), convert(vectors, chosen, layers, form, scale)
    else:
        assert runs is not None
        record = find_run(runs, run_id)
        what = f"run {record.id}"
        only = split_layers(layers, record.layers)
        files = files_of_run(record, chosen, only, descriptions, allow_changed, form, scale)
    if output is not None:
        from readout_ui.runs.export import write_files

        print(f"Wrote {what} to {write_files(output, files)}")
    if push_to_hub:
        print(push_files(files, push_to_hub, public))


def pack(
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of kept runs.")] = Path("runs"),
    run_id: Annotated[
        str, typer.Option("--run", metavar="ID", help="Which run; by default the one in use.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The zip to write.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the pack; by default the run's.")] = "",
    by: Annotated[str, typer.Option(help="Who made it.")] = "",
) -> None:
    """Write descriptions, vectors and card of a run as one zip for others to install."""
    from readout_ui.runs.packs import pack_files, slug
    from readout_ui.runs.run_files import write_zip
    from readout_ui.runs.store import RunStore

    run = find_run(runs, run_id)
    files, about = pack_files(RunStore(runs), run, name, by)
    path = output or Path(f"{slug(about.name)}.zip")
    write_zip(path, files)
    print(f"Wrote the pack {about.name} ({about.concepts} concepts) to {path}")


def install(
    file: Annotated[Path, typer.Argument(metavar="PACK.zip", help="A pack.")],
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of kept runs.")] = Path("runs"),
    descriptions: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of {concept}.txt files.")
    ] = Path("descriptions"),
    on_conflict: Annotated[
        str,
        typer.Option(
            help="Of a concept that is there with other texts: ask (stop and say which), mine, "
            "both or pack."
        ),
    ] = "ask",
) -> None:
    """Add a pack's texts to the library and its vectors to the runs; nothing is overwritten."""
    from readout_ui.runs.packs import install_pack, read_pack
    from readout_ui.runs.store import RunStore

    found = read_pack(file)
    plan, run = install_pack(found, RunStore(runs), descriptions, on_conflict)
    print(f"Installed the pack {found.about.name}: {plan.summary()}; run {run.id}")
    print(f"It is of {found.about.model}. Use it: readout-ui runs {run.id} --use --runs {runs}")


def verify(
    *,
    vectors: Annotated[Path, typer.Argument(metavar="DIR", help="An export: folder, zip or .npz.")],
    model: Model = "",
    weights: KnownWeights,
    json: AsJson = False,
) -> None:
    """Read an export's probe texts on its model again; exit status 1 when the scores differ."""
    from readout_ui.cli.read import open_run

    loaded = open_run(vectors)
    spec = weights.spec_of(loaded.manifest, model)
    with work_with(spec) as work:
        from readout_ui.runs.verify import verify as verify_readout

        certificate = verify_readout(loaded, work.model, work.report)
    values = {**asdict(certificate), "certified": certificate.certified}
    print(json_module.dumps(values, indent=2) if json else certificate.sentence())
    if not certificate.certified:
        raise typer.Exit(1)


def _require_places(
    runs: Path | None, vectors: Path | None, output: Path | None, push: str, public: bool
) -> None:
    if (runs is None) == (vectors is None):
        raise UserError("name one source of vectors", options=("--runs", "--vectors"))
    if output is None and not push:
        raise UserError("nothing says where to", options=("--output", "--push-to-hub"))
    if public and not push:
        raise UserError("--public is for --push-to-hub only")


def find_run(runs: Path, run_id: str) -> Run:
    """The run that is named, or the one in use.

    Raises:
        UserError: there is none; the newest ones are listed.
    """
    from readout_ui.runs.store import RunStore

    store = RunStore(runs)
    if run_id:
        return store.open(run_id)
    current = store.current()
    if current is None:
        raise UserError(
            "no run is in use",
            where=str(runs),
            fix="name one with --run",
            options=[run.id for run in store.list()[:5]],
        )
    return current


def files_of_run(
    run: Run,
    concepts: list[str] | None,
    layers: list[int] | None,
    descriptions: Path | None,
    allow_changed: bool,
    form: str,
    scale: str = "",
) -> Mapping[str, bytes]:
    """An export's files; texts that changed since are refused where `descriptions` is given."""
    from readout_ui.texts.library import Library

    library = Library(descriptions) if descriptions is not None else None
    if library is not None and not (run.source or allow_changed):
        run.refuse_changed(library)
    return run.files(form, concepts, layers, scale)


def convert(
    source: Path, concepts: list[str] | None, layers: str, form: str, scale: str = ""
) -> Mapping[str, bytes]:
    """The files of another format, from vectors in a file."""
    from readout_ui.runs.run import Run

    run = Run.open(source)
    return run.files(form, concepts, split_layers(layers, run.layers), scale)


def push_files(files: Mapping[str, bytes], repository: str, public: bool) -> str:
    """Where they are now, in one sentence."""
    from readout_ui.runs.hub import push

    with progress_report():
        return push(files, repository, public=public).sentence()
