"""What `readout-ui export` does: the vectors of a kept run, as a folder or zip."""

from __future__ import annotations

from pathlib import Path

from readout_ui.descriptions import read_library
from readout_ui.errors import UserError
from readout_ui.formats import write_export
from readout_ui.runs import RunRecord, RunStore


def find_run(runs: Path, run_id: str) -> RunRecord:
    """The run that is named, or the one in use.

    Raises:
        UserError: there is none; the newest ones are listed.
    """
    store = RunStore(runs)
    if run_id:
        return store.record(run_id)
    current = store.current()
    if current is None:
        raise UserError(
            "no run is in use",
            where=str(runs),
            fix="name one with --run",
            options=[run.id for run in store.list()[:5]],
        )
    return current


def export_run(
    runs: Path,
    record: RunRecord,
    output: Path,
    concepts: list[str] | None,
    layers: list[int] | None,
    descriptions: Path | None,
    allow_changed: bool,
    form: str = "readout",
) -> Path:
    """Write the export; texts that changed since are refused where `descriptions` is given."""
    library = read_library(descriptions) if descriptions is not None else None
    _record, vectors = RunStore(runs).load(record.id)
    return write_export(
        record.trained(vectors),
        output,
        concepts,
        layers,
        form=form,
        library=library,
        allow_changed=allow_changed,
    )
