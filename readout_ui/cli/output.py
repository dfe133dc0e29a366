"""What commands share: progress on a terminal, tables, JSON, a loaded model with its cache."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from readout_ui.files import json_values
from readout_ui.progress import Bars, Report, silent

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.inference.readout import Readout
    from readout_ui.models.loading import LoadedModel, ModelSpec
    from readout_ui.models.workers import Cluster
    from readout_ui.runs.run import Run


@contextmanager
def progress_report(stream: TextIO | None = None) -> Iterator[Report]:
    """A report that draws one bar per stage on a terminal and nothing in a pipe."""
    shown = stream or sys.stderr
    if not shown.isatty():
        # huggingface_hub is not imported yet; its bars stay out of a pipe
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield silent
        return
    with Bars(shown) as report:
        yield report


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Rows as aligned text.

    Args:
        header: names of the columns.
        rows: cells, as many as the header has.
        left: how many of the first columns are text and start at the left; the rest are numbers.
    """
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def as_json(value: Any) -> str:
    """One JSON object on one line; what is no finite number is null."""
    return json.dumps(json_values(value), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, eq=False)
class Work:
    """What a command that needs a model works with."""

    model: LoadedModel
    cache: ActivationCache
    report: Report


@contextmanager
def work_with(
    spec: ModelSpec, no_progress: bool = False, cluster: Cluster | None = None
) -> Iterator[Work]:
    """The model, loaded once it is needed, and the activation cache, which is closed afterwards.

    Args:
        spec: the model.
        no_progress: draw no bars.
        cluster: whose workers read texts; None for this process.

    Raises:
        UserError: the model cannot be loaded.
    """
    with ExitStack() as stack:
        shown = nullcontext(silent) if no_progress else progress_report()
        report = stack.enter_context(shown)
        from readout_ui.activations.cache import ActivationCache
        from readout_ui.files import cache_folder

        model: LoadedModel
        if cluster is None:
            from readout_ui.models.remembered import open_model

            model = open_model(spec, report)
        else:
            from readout_ui.models.workers import spread_model

            model = stack.enter_context(spread_model(spec, cluster, report))
        cache = stack.enter_context(closing(ActivationCache(cache_folder() / "activations")))
        yield Work(model, cache, report)


@contextmanager
def open_readout(run: Run, spec: ModelSpec, cluster: Cluster | None = None) -> Iterator[Readout]:
    """A run with its model, loaded; the cache is closed afterwards.

    Raises:
        UserError: the model cannot be loaded, or is not the one the run was trained on.
    """
    with work_with(spec, cluster=cluster) as work:
        from readout_ui.inference.readout import Readout

        run.refuse_other_model(work.model)
        yield Readout(work.model, run, work.cache, work.report)
