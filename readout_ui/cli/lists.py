"""The commands that list and serve: models, runs, cache, check and serve."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from readout_ui.cli.options import AsJson, KnownWeights, Model
from readout_ui.cli.output import as_json, progress_report, table
from readout_ui.texts.words import cut

if TYPE_CHECKING:
    from readout_ui.activations.cache import CacheSummary
    from readout_ui.runs.store import RunStore
    from readout_ui.texts.library import Library
    from readout_ui.texts.lint import Finding

_NOT_TEXT = ("ForMaskedLM", "Classification", "ForQuestionAnswering", "Processor", "Vision")


def models(json: AsJson = False) -> None:
    """List the models on this machine."""
    from readout_ui.files import size_text

    known = known_models()
    cells = [(m.name, m.source, m.note, size_text(m.bytes)) for m in known]
    text = table(("model", "source", "state", "size"), cells, left=3)
    print(as_json({"models": [asdict(model) for model in known]}) if json else text)


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Forget all activations and known trainings.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Say what is remembered: activations of texts, and trainings that need not be done again."""
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.files import cache_folder, size_text
    from readout_ui.runs.known import forget_trainings, kept_trainings

    held = ActivationCache(cache_folder() / "activations")
    forgot = ""
    try:
        if clear:
            before, known = held.summary(), _trainings_text(*kept_trainings())
            forgot = f"Forgot {before.entries} texts ({size_text(before.bytes)}) and {known}.\n"
            held.clear()
            forget_trainings()
        summary = held.summary()
    finally:
        held.close()
    n, n_bytes = kept_trainings()
    if json:
        trainings = {"trainings": n, "training_bytes": n_bytes}
        print(as_json({**asdict(summary), "path": str(summary.path), **trainings}))
        return
    print(f"{forgot}{cache_text(summary)}\n{_trainings_text(n, n_bytes)}")


def _trainings_text(n: int, n_bytes: int) -> str:
    from readout_ui.files import size_text

    return f"{n} known training{'' if n == 1 else 's'} ({size_text(n_bytes)})"


def runs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="One run; by default all.")] = "",
    *,
    folder: Annotated[
        Path, typer.Option("--runs", metavar="DIR", help="Folder of kept runs.")
    ] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Call it so; empty takes the name away.")] = None,
    note: Annotated[str | None, typer.Option(help="Say this of it.")] = None,
    tags: Annotated[str | None, typer.Option(help="Such as draft,diary.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it for good.")] = False,
    json: AsJson = False,
) -> None:
    """List the kept runs, newest first; name, note, tag, use or delete one."""
    from readout_ui.errors import UserError
    from readout_ui.runs.store import RunStore
    from readout_ui.vectors.settings import split_names

    store = RunStore(folder)
    words = {"tags": tuple(split_names(tags) or ()) if tags is not None else None}
    said = {
        key: value
        for key, value in {"name": name, "note": note, **words}.items()
        if value is not None
    }
    if (said or use or delete) and not run:
        raise UserError("nothing says which run", fix="give its id, as `readout-ui runs` lists it")
    if said:
        store.describe(run, **said)
    if use:
        store.set_current(run)
    if delete:
        store.delete(run)
    rows = [row for row in listed_runs(store) if delete or run in ("", row["id"])]
    print(as_json({"runs": rows}) if json else runs_text(rows))


def listed_runs(store: RunStore) -> list[dict[str, Any]]:
    """The kept runs, newest first, with what people say of them."""
    current = store.current()
    return [
        {
            "id": run.id,
            **store.about(run.id).model_dump(mode="json"),
            "origin": store.origin(run),
            "created": run.created.isoformat(),
            "model": run.model_name,
            "concepts": len(run.concepts),
            "in_use": current is not None and run.id == current.id,
        }
        for run in store.list()
    ]


def runs_text(rows: list[dict[str, Any]]) -> str:
    """One line per run; a star marks the one in use."""
    cells = [
        (
            row["id"] + (" *" if row["in_use"] else ""),
            row["name"],
            cut(row["note"].replace("\n", " "), 40),
            ", ".join(row["tags"]),
            row["origin"],
            row["model"],
            str(row["concepts"]),
        )
        for row in rows
    ]
    header = ("run", "name", "note", "tags", "origin", "model", "concepts")
    return table(header, cells, left=6) if cells else "There is no run here."


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of {concept}.txt files.")],
    json: AsJson = False,
) -> None:
    """List what is wrong with the descriptions; exit status 1 when something is an error."""
    from readout_ui.texts.library import Library
    from readout_ui.texts.lint import check_library

    library = Library(folder)
    findings = check_library(library)
    print(findings_json(library, findings) if json else findings_text(library, findings))
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


def serve(
    *,
    vectors: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An export: folder, zip or .npz.")
    ] = None,
    model: Model = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:PORT]", help="A name this machine is reached under; may be given again."
        ),
    ] = None,
    api_key: Annotated[
        str,
        typer.Option(
            envvar="READOUT_API_KEY",
            help="What clients have to send; in the environment no other user sees it.",
        ),
    ] = "",
    open: Annotated[
        bool, typer.Option("--open", help="Let every machine in that reaches --host, without key.")
    ] = False,
    max_waiting: Annotated[
        int, typer.Option(min=0, help="Requests that wait behind the one that is answered.")
    ] = 16,
    weights: KnownWeights,
) -> None:
    """Answer OpenAI-style chat requests; every streamed chunk carries the concept scores."""
    from readout_ui.cli.read import open_run
    from readout_ui.inference.gate import (
        Hosts,
        allowed_hosts,
        listening,
        refuse_open,
        serve_until_stopped,
    )

    hosts = Hosts(host.lower(), allowed_hosts(allowed_host or ()))
    refuse_open(host, bool(api_key), open, "set READOUT_API_KEY")
    run = open_run(vectors) if vectors is not None else None
    spec = weights.spec_of(run.manifest, model) if run is not None else weights.spec(model)
    with listening(host, port) as listener:
        with progress_report() as report:
            from readout_ui.inference.answers import Service
            from readout_ui.inference.server import build_server
            from readout_ui.models.loading import load_model

            loaded = load_model(spec, report)
            if run is not None:
                run.refuse_other_model(loaded)
        what = f"{len(run.concepts)} concepts" if run else "no vectors"
        print(f"Serving {loaded.name} with {what} on http://{host}:{port}/v1", file=sys.stderr)
        server = build_server(Service(loaded, run), hosts, api_key, max_waiting)
        serve_until_stopped(server, listener)


def cache_text(summary: CacheSummary) -> str:
    """What the cache holds, per model."""
    from readout_ui.files import size_text

    total = (
        f"{summary.entries} texts, {size_text(summary.bytes)} of at most "
        f"{size_text(summary.max_bytes)}, in {summary.path}"
    )
    rows = [(share.model, str(share.entries), size_text(share.bytes)) for share in summary.models]
    return f"{table(('model', 'texts', 'size'), rows)}\n{total}" if rows else total


@dataclass(frozen=True)
class KnownModel:
    """One model that can be loaded without a network."""

    name: str
    """What to give to `--model`."""
    source: Literal["bundled", "hub cache"]
    """Where it comes from."""
    bytes: int
    """Size on disk; 0 where there is nothing yet."""
    note: str
    """Its state in a few words, e.g. "not unpacked yet"."""


def known_models() -> tuple[KnownModel, ...]:
    """The bundled model first, then the causal language models of the hub's cache by name."""
    return (_bundled(), *sorted(_cached(), key=lambda model: model.name.lower()))


def _bundled() -> KnownModel:
    from readout_ui.models.packed import (
        BUNDLED,
        INSTALL_BUNDLED,
        bundled_gguf,
        converted_folder,
        is_converted,
    )

    gguf = bundled_gguf()
    if is_converted():
        size = sum(file.stat().st_size for file in converted_folder().iterdir())
        return KnownModel(BUNDLED, "bundled", size, "unpacked, loads at once")
    if gguf is not None:
        size = gguf.stat().st_size
        return KnownModel(BUNDLED, "bundled", size, "unpacked on first use (about a minute)")
    return KnownModel(BUNDLED, "bundled", 0, f"not installed: {INSTALL_BUNDLED}")


def _cached() -> Iterator[KnownModel]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repository in repositories:
        if repository.repo_type != "model":
            continue
        newest = max(repository.revisions, key=lambda revision: revision.last_modified)
        kind = _kind(Path(newest.snapshot_path))
        if kind:
            yield KnownModel(repository.repo_id, "hub cache", repository.size_on_disk, kind)


def _kind(snapshot: Path) -> str:
    """The architecture of a snapshot that has weights for a language model, else ""."""
    if not any((*snapshot.glob("*.safetensors"), *snapshot.glob("*.bin"))):
        return ""
    try:
        config = json_module.loads((snapshot / "config.json").read_text("utf-8"))
        kinds = [str(kind) for kind in config.get("architectures") or ()]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return ""
    if any(part in kind for kind in kinds for part in _NOT_TEXT):
        return ""
    return ", ".join(kinds)


def findings_text(library: Library, findings: tuple[Finding, ...]) -> str:
    """One line per finding and one for the whole."""
    n_texts = sum(len(concept.descriptions) for concept in library.concepts)
    severities = [finding.severity for finding in findings]
    counts = ", ".join(
        f"{severities.count(severity)} {severity}s" for severity in ("error", "warning", "hint")
    )
    total = f"{len(library.concepts)} concepts, {n_texts} descriptions: {counts}"
    return "\n".join([*(finding_line(finding) for finding in findings), total])


def finding_line(finding: Finding) -> str:
    """Where, how bad, what, and what to do."""
    where = finding.concept or "library"
    place = where if finding.index is None else f"{where} {finding.index + 1}"
    return f"{place}: {finding.severity}: {finding.message} {finding.suggestion} [{finding.rule}]"


def findings_json(library: Library, findings: tuple[Finding, ...]) -> str:
    """Everything as one JSON object; `description` counts from 1 as the text does."""
    values = [
        {
            "concept": finding.concept,
            "description": None if finding.index is None else finding.index + 1,
            "rule": finding.rule,
            "severity": finding.severity,
            "message": finding.message,
            "suggestion": finding.suggestion,
        }
        for finding in findings
    ]
    return as_json({"concepts": len(library.concepts), "findings": values})
