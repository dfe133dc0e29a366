"""An app whose model is served elsewhere: texts, chats and tables are read through that server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from readout_ui.app.jobs import Job
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError
from readout_ui.inference.served import ServedModel, ServedReadout, ServedRuns, not_here
from readout_ui.progress import Progress, Report

if TYPE_CHECKING:
    from readout_ui.inference.client import Server
    from readout_ui.inference.readout import Readout
    from readout_ui.models.loading import ModelSpec
    from readout_ui.runs.run import Run

Result = TypeVar("Result")


class ServedStudio(Studio):
    """The core of such an app. What needs the weights or the vectors says where they are.

    Args:
        options: how the app was started; nothing is written.
        server: where the model is.

    Raises:
        UserError: the server does not answer, wants another key or has no vectors.
    """

    def __init__(self, options: StudioOptions, server: Server) -> None:
        self.served = ServedRuns(server, options.runs)
        super().__init__(replace(options, read_only=True), self.served)

    def refuse_if_read_only(self, what: str) -> None:
        """Raise a UserError: all that writes starts from the model or its vectors."""
        raise UserError(
            f"cannot {what}: the model and its vectors are at {self.served.server.url}",
            fix="start without --server",
        )

    def export(self, *_what: Any, **_how: Any) -> NoReturn:
        """Refused: the vectors are there."""
        raise not_here(self.served.server)

    def readout_of(self, run: Run, report: Report) -> Readout:
        """The vectors there with the model there."""
        model = self._loaded()
        assert isinstance(model, ServedModel)
        run.refuse_other_model(model)
        return ServedReadout(model, run, None, report, server=self.served.server)

    def _queue(
        self, kind: str, title: str, work: Callable[[Readout], Result], run: Run
    ) -> Job[Result]:
        return self.worker.submit(kind, title, lambda report: work(self.readout_of(run, report)))

    def _changed_since(self, run: Run | None) -> int:  # noqa: ARG002  whichever run
        """0: the texts of the training are not here."""
        return 0

    def _load(self, spec: ModelSpec | None, report: Report) -> None:
        """The tokenizer alone."""
        report(Progress("Loading the tokenizer", 0, 0, "files"))
        chosen, named = self.options.model_spec(), bool(self.options.model)
        model = self.served.model(spec or chosen, named or spec is not None, report)
        self._model, self._described = (
            model,
            {
                "model_description": model.describe(),
                "model_notes": (model.frame.describe(),),
                "model_name": model.name.rsplit("/", maxsplit=1)[-1],
                "model_place": model.place,
            },
        )
