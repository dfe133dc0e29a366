"""What `readout-ui models` and `readout-ui cache` print.

The models that are on this machine: the bundled one and those in the hub's local cache.

What `readout-ui check` does: every finding about a folder of descriptions.

What `readout-ui serve` does: load a model and vectors, then answer OpenAI-style requests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from readout_ui.cli.output import (
    as_json,
    progress_report,
    table,
)
from readout_ui.files import cache_folder, size_text
from readout_ui.models.bundled import (
    BUNDLED,
    INSTALL_BUNDLED,
    bundled_gguf,
    converted_folder,
    is_converted,
)
from readout_ui.texts.library import Library, read_library
from readout_ui.texts.lint import Finding, check_library

if TYPE_CHECKING:
    from readout_ui.activations.cache import CacheSummary
    from readout_ui.models.loading import ModelSpec


def models_report(json: bool) -> str:
    """The models on this machine."""

    models = known_models()
    if json:
        return as_json({"models": [asdict(model) for model in models]})
    cells = [(m.name, m.source, m.note, size_text(m.bytes)) for m in models]
    return table(("model", "source", "state", "size"), cells, left=3)


def cache_report(clear: bool, json: bool) -> str:
    """What the activation cache holds, after it was emptied where that was asked for."""
    from readout_ui.activations.cache import ActivationCache

    cache = ActivationCache(cache_folder() / "activations")
    try:
        before = cache.summary()
        if clear:
            cache.clear()
        summary = cache.summary()
    finally:
        cache.close()
    if json:
        return as_json({**asdict(summary), "path": str(summary.path)})
    freed = f"Forgot {before.entries} texts ({size_text(before.bytes)}).\n" if clear else ""
    return freed + cache_text(summary)


def cache_text(summary: CacheSummary) -> str:
    """What the cache holds, per model."""
    total = (
        f"{summary.entries} texts, {size_text(summary.bytes)} of at most "
        f"{size_text(summary.max_bytes)}, in {summary.path}"
    )
    rows = [(share.model, str(share.entries), size_text(share.bytes)) for share in summary.models]
    return f"{table(('model', 'texts', 'size'), rows)}\n{total}" if rows else total


_NOT_TEXT = ("ForMaskedLM", "Classification", "ForQuestionAnswering", "Processor", "Vision")


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
        config = json.loads((snapshot / "config.json").read_text("utf-8"))
        kinds = [str(kind) for kind in config.get("architectures") or ()]
    except (OSError, ValueError, AttributeError):
        return ""
    if any(part in kind for kind in kinds for part in _NOT_TEXT):
        return ""
    return ", ".join(kinds)


@dataclass(frozen=True)
class CheckReport:
    """A folder of descriptions and what could be better in it."""

    library: Library
    findings: tuple[Finding, ...]

    @property
    def n_errors(self) -> int:
        """How many findings keep the texts from being trained, or spoil it."""
        return self.count("error")

    def count(self, severity: str) -> int:
        """How many findings have this severity."""
        return sum(finding.severity == severity for finding in self.findings)


def check_folder(folder: Path) -> CheckReport:
    """Read the folder and check every text; files that cannot be read are findings too."""
    library = read_library(folder)
    return CheckReport(library, check_library(library))


def report_text(report: CheckReport) -> str:
    """One line per finding and one for the whole."""
    n_texts = sum(len(concept.descriptions) for concept in report.library.concepts)
    counts = ", ".join(
        f"{report.count(severity)} {severity}s" for severity in ("error", "warning", "hint")
    )
    total = f"{len(report.library.concepts)} concepts, {n_texts} descriptions: {counts}"
    return "\n".join([*(finding_line(finding) for finding in report.findings), total])


def finding_line(finding: Finding) -> str:
    """Where, how bad, what, and what to do."""
    where = finding.concept or "library"
    place = where if finding.index is None else f"{where} {finding.index + 1}"
    return f"{place}: {finding.severity}: {finding.message} {finding.suggestion} [{finding.rule}]"


def report_json(report: CheckReport) -> str:
    """Everything as one JSON object; `description` counts from 1 as the text does."""
    findings = [
        {
            "concept": finding.concept,
            "description": None if finding.index is None else finding.index + 1,
            "rule": finding.rule,
            "severity": finding.severity,
            "message": finding.message,
            "suggestion": finding.suggestion,
        }
        for finding in report.findings
    ]
    return as_json({"concepts": len(report.library.concepts), "findings": findings})


LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def serve(source: Path | None, spec: ModelSpec, host: str, port: int) -> None:
    """Serve until Ctrl+C.

    Raises:
        UserError: the model cannot be loaded, or the vectors do not belong to it.
    """
    with progress_report() as report:
        import uvicorn

        from readout_ui.inference.server import Service, build_server
        from readout_ui.models.loading import load_model
        from readout_ui.runs.formats.readout import refuse_unfit_model
        from readout_ui.runs.importing import read_readout

        model = load_model(spec, report)
        readout = read_readout(source) if source else None
        if readout is not None:
            refuse_unfit_model(readout.manifest, model, str(source))
    if host not in LOCAL_HOSTS:
        print(f"Warning: everybody who reaches {host} can use the model.", file=sys.stderr)
    what = f"{len(readout.manifest.concepts)} concepts" if readout else "no vectors"
    print(f"Serving {model.name} with {what} on http://{host}:{port}/v1", file=sys.stderr)
    uvicorn.run(build_server(Service(model, readout)), host=host, port=port, log_level="warning")
