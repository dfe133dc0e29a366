"""What one running app holds: the description folder, the kept runs, the model and the worker.

Importing this module loads neither torch nor transformers; the worker's thread does that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.app.jobs import Job
from readout_ui.app.run_in_use import RunInUse
from readout_ui.app.status import Status, StudioOptions
from readout_ui.errors import UserError
from readout_ui.files import scratch_folder
from readout_ui.progress import Progress, Report
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore
from readout_ui.texts.editing import record_library
from readout_ui.texts.library import Library, Texts, count_changes, state_of
from readout_ui.texts.names import against_name
from readout_ui.texts.tags import read_tags
from readout_ui.texts.versions import tidy_texts
from readout_ui.vectors.settings import TrainSettings

if TYPE_CHECKING:
    from readout_ui.inference.drafting import Drafts
    from readout_ui.models.loading import LoadedModel
    from readout_ui.texts.drafts import DraftRequest
    from readout_ui.vectors.sources import TextSource


class Studio(RunInUse):
    """The core behind the rooms. All public methods may be called from any thread."""

    def __init__(self, options: StudioOptions, runs: RunStore | None = None) -> None:
        super().__init__(options, runs)
        self._misfit: tuple[str, LoadedModel | None, str] = ("", None, "")
        self._seen: dict[str, str] = {}
        current = self.runs.current()
        described = current if current and not current.source else None
        self.settings = described.settings if described else TrainSettings()
        self._described_run: tuple[str, Run | None] = ("", None)
        self._tidy()

    @property
    def folder(self) -> Path:
        """The description folder."""
        return self.options.descriptions

    def home(self) -> str:
        """The room a page opens in: where texts are read once a run exists, else written."""
        return "write" if self.runs.current() is None else "read"

    def library(self) -> Library:
        """What is on disk now; versions written by other programs go to the history."""
        library = Library(self.folder)
        if not self.read_only:
            self._seen = record_library(library, self._seen)
        return library

    def training_library(self) -> Library:
        """What the next training is of: the concepts that are ticked, and all neutral texts."""
        return self.library().without(read_tags(self.folder).left_out)

    def concept_states(self) -> dict[str, str]:
        """For each file: "new", "edited", "trained", or "empty", against the run in use.

        While a run from another source is in use, against the newest one from descriptions.
        """
        run = self._run_of_descriptions()
        trained = run.texts if run else {}
        now = {each.name: each.descriptions for each in self.library().files}

        def joined(some: Texts, name: str) -> Sequence[str] | None:
            own = some.get(name)
            return own and (*own, *some.get(against_name(name), ()))

        return {name: state_of(joined(now, name) or (), joined(trained, name)) for name in now}

    def changed_descriptions(self) -> int:
        """How many descriptions were added, edited or removed since the run in use."""
        return self._changed_since(self.runs.current())

    def _changed_since(self, run: Run | None) -> int:
        if run is not None and run.source:
            return 0
        return count_changes(self.training_library().texts(), run.texts if run else {})

    def _run_of_descriptions(self) -> Run | None:
        current = self.runs.current()
        if current is None or not current.source:
            return current
        if self._described_run[0] != current.id:
            found = next((run for run in self.runs.list() if not run.source), None)
            self._described_run = (current.id, found)
        return self._described_run[1]

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """Content tokens of each text, None while no model is loaded."""
        if self._model is None:
            return None
        encoded = self._model.tokenizer(list(texts), add_special_tokens=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def choose_settings(self, settings: TrainSettings) -> None:
        """What the next training uses, on every page and by every program.

        Raises:
            UserError: the app runs read-only: everybody would get them.
        """
        self.refuse_if_read_only("change the settings")
        self.settings = settings

    def start_training(
        self, settings: TrainSettings | None = None, texts: Library | None = None
    ) -> Job[Run]:
        """Train in the background; a second click joins the training that runs.

        Args:
            settings: from now on; None leaves them.
            texts: instead of those on disk that are ticked.
        """
        self.refuse_if_read_only("train")
        if settings is not None:
            self.settings = settings
        chosen = self.settings
        return self.worker.submit(
            "train",
            "Training",
            lambda report: self._train(texts or self.training_library(), chosen, report),
            exclusive=True,
        )

    def start_training_from(self, source: TextSource, settings: TrainSettings) -> Job[Run]:
        """Train on something else than the descriptions, in the background.

        Raises:
            UserError: the app runs read-only, or another training waits or runs.
        """
        self.refuse_if_read_only("train")
        self._refuse_second("train", "a training is")
        return self.worker.submit(
            "train",
            source.title,
            lambda report: self._train(source, settings, report),
            exclusive=True,
        )

    def start_drafts(self, request: DraftRequest, *, at_endpoint: bool = False) -> Job[Drafts]:
        """Let the loaded model, or the endpoint the app was started with, draft texts.

        Raises:
            UserError: the app runs read-only, other drafts are under way, or no endpoint was named.
        """
        from readout_ui.inference.drafting import Endpoint, draft

        self.refuse_if_read_only("draft")
        self._refuse_second("draft", "other drafts are")
        options = self.options
        endpoint = Endpoint(options.draft_endpoint, options.draft_model) if at_endpoint else None
        title = f"Drafting {request.count} texts of {request.concept}"
        return self.worker.submit(
            "draft", title, lambda report: draft(endpoint or self._loaded(), request, report)
        )

    def _under_way(self, kind: str) -> Job[object] | None:
        job = self.worker.latest(kind)
        return None if job is None or job.view().state.finished else job

    def _refuse_second(self, kind: str, what: str) -> None:
        if self._under_way(kind) is not None:
            raise UserError(f"{what} under way", fix="wait or press Cancel")

    def cancel_training(self) -> None:
        """Stop the training that waits or runs; the vectors in use stay as they are."""
        if (job := self._under_way("train")) is not None:
            job.cancel()

    def cancel_shown(self) -> None:
        """Stop what the header shows: the training, or else the judgement that is waited for."""
        job = self._under_way("train") or self.worker.awaited("judge")
        if job is not None:
            job.cancel()

    def status(self) -> Status:
        """What the header shows now."""
        load, train = self.worker.latest("load"), self.worker.latest("train")
        judged = self.worker.awaited("judge")
        run, library = self.runs.current(), self.library()
        return Status(
            model=load.view() if load else None,
            misfit=self._misfit_of(run),
            **self._described,
            run=run,
            training=train.view() if train else None,
            judging=judged.view() if judged else None,
            changed=self._changed_since(run),
            concepts=len(library.concepts),
            chosen=len(library.without(read_tags(self.folder).left_out).concepts),
            model_fingerprint=self._model.fingerprint if self._model else "",
        )

    def close(self) -> None:
        """Stop the worker at its next report."""
        self.worker.close()
        self._save()
        self._tidy()

    def _tidy(self) -> None:
        """Remove and repair what programs that were killed left in the folders."""
        if not self.read_only:
            tidy_texts(self.folder)
            self.runs.tidy()

    def use_run(self, run_id: str) -> Run:
        """Go back (or forward) to another run: its vectors and settings are used from now on.

        Raises:
            UserError: there is no such run, or the app runs read-only: everybody would get it.
        """
        self.refuse_if_read_only("choose another run")
        run = self.runs.open(run_id)
        self.runs.set_current(run_id)
        if not run.source:
            self.settings = run.settings
        return run

    def export(
        self,
        concepts: Sequence[str],
        layers: Sequence[int],
        folder: Path | None = None,
        *,
        form: str = "readout",
        scale: str = "",
        allow_changed: bool = False,
    ) -> Path:
        """Export the run in use to a folder, else as a zip in a temporary one; empty means all."""
        if folder is not None:
            self.refuse_if_read_only("write a folder")
        run = self.run()
        if not (run.source or allow_changed):
            run.refuse_changed(self.training_library())
        if folder is None:
            folder = Path(tempfile.mkdtemp(dir=scratch_folder())) / f"{form}.zip"
        chosen = tuple(concepts) or None, tuple(layers) or None
        return run.export(folder.expanduser(), form, *chosen, scale)

    def _misfit_of(self, run: Run | None) -> str:
        """Why the vectors in use are not for the loaded model; empty where they are."""
        model = self._model
        if run is None or model is None:
            return ""
        if self._misfit[:2] != (run.id, model):
            try:
                run.refuse_other_model(model)
                self._misfit = (run.id, model, "")
            except UserError as error:
                said = f"{error.what[:1].upper()}{error.what[1:]}."
                self._misfit = (run.id, model, said)
        return self._misfit[2]

    def _train(self, source: Library | TextSource, settings: TrainSettings, report: Report) -> Run:
        from readout_ui.runs.training import train

        trained = train(source, self._loaded(), settings, self._cache, report)
        report(Progress("Saving the run", 0, 1, "runs"))
        before = self.runs.current()
        run = self.runs.save(trained)
        self.runs.set_current(run.id)
        if self.options.report:
            self.start_report(run.id, before)
        return run
