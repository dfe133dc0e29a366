"""Work that a page waits for and asks about: one piece for each page, given up when it is gone."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from readout_ui.app.follow import jobs_before
from readout_ui.app.jobs import Job, JobState
from readout_ui.progress import Cancelled, Progress

if TYPE_CHECKING:
    from readout_ui.app.session import Studio
    from readout_ui.inference.readout import Readout

ABANDONED_SECONDS = 90.0
"""A page that has not asked for so long is closed (hidden pages ask at least once a minute)."""
KEPT_PAGES = 8
Result = TypeVar("Result")
Work = Callable[["Readout"], Result]


@dataclass(eq=False)
class Watched:
    """When a page last asked."""

    at: float = field(default_factory=time.monotonic)

    def ask(self) -> None:
        """The page is still there."""
        self.at = time.monotonic()

    def gone(self) -> bool:
        """Whether it has not asked for long."""
        return time.monotonic() - self.at > ABANDONED_SECONDS


@dataclass(eq=False)
class Asked(Generic[Result]):
    """What a page asked for, and when it last looked."""

    job: Job[Result]
    watched: Watched

    def stop(self) -> None:
        """End it."""
        self.job.cancel()


Kept = TypeVar("Kept", bound=Asked[Any])


class Newest(Generic[Kept]):
    """What each page asked for last, by the page's own secret. Safe from any thread."""

    most = KEPT_PAGES
    """Pages whose last request is kept; what falls out is stopped."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, Kept] = OrderedDict()

    def keep(self, page: str, asked: Kept) -> None:
        """From now on a page's newest."""
        with self._lock:
            self._asked[page] = asked
            self._asked.move_to_end(page)
            while len(self._asked) > self.most:
                self._asked.popitem(last=False)[1].stop()

    def newest(self, page: str) -> Kept | None:
        """What a page asked for last, finished or not."""
        with self._lock:
            return self._asked.get(page)

    def stop(self, page: str) -> Kept | None:
        """End what a page waits for or gets, and give it back."""
        asked = self.newest(page)
        if asked is not None:
            asked.stop()
        return asked


class PageJobs(Newest[Asked[Result]]):
    """Work that a page waits for as a whole."""

    def start(
        self, page: str, kind: str, title: str, work: Work[Result], run_id: str | None = None
    ) -> None:
        """Queue work; what the page waited for before is cancelled.

        Raises:
            UserError: as `Studio.on_device`.
        """
        self.stop(page)
        watched = Watched()

        def watching(used: Readout) -> Result:
            def report(progress: Progress) -> None:
                if watched.gone():
                    raise Cancelled
                used.report(progress)

            return work(used.reporting_to(report))

        job = self._studio.on_device(kind, title, watching, run_id)
        self.keep(page, Asked(job, watched))

    def poll(self, page: str, show: Callable[[Result], dict[str, Any]]) -> dict[str, Any]:
        """Where a page's job stands; of a finished one what `show` makes of its result."""
        asked = self.newest(page)
        if asked is None:
            return {"state": "none"}
        asked.watched.ask()
        view = asked.job.view()
        progress = view.progress
        return {
            "state": str(view.state),
            "before": jobs_before(self._studio.worker, view),
            "stage": progress.stage if progress else view.title,
            "done": progress.done if progress else 0,
            "total": progress.total if progress else 0,
            "unit": progress.unit if progress else "",
            "error": view.error if view.state is JobState.FAILED else "",
            "result": show(asked.job.result()) if view.state is JobState.DONE else None,
        }
