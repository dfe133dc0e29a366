"""The app's functions for programs: named API endpoints, which are the MCP tools as well."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import gradio as gr
from gradio.events import api
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from pydantic import Field

from readout_ui.app.api_answers import (
    MOST_AT_ONCE,
    NAMES,
    ConceptFile,
    ConceptList,
    DirectionGeometry,
    DirectionTokens,
    DraftedTexts,
    Evaluation,
    LabelledRow,
    TextReading,
    TrainingResult,
    checked,
    describe_evaluation,
    describe_reading,
    describe_run,
    describe_status,
)
from readout_ui.app.jobs import Question
from readout_ui.app.judge.generalization_run import Asked
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.evaluation.judgements import Generalization
from readout_ui.inference.reading import Reading
from readout_ui.runs.run import Run
from readout_ui.texts.drafts import MOST_DRAFTS, DraftRequest
from readout_ui.texts.labelled import (
    LabelledText,
    check_mapping,
    labels_of,
    mapping_of,
    pick_columns,
    read_shipped,
    suggest_mapping,
)
from readout_ui.texts.library import Concept, Library
from readout_ui.texts.shipped import fitting_library, shipped_descriptions
from readout_ui.texts.tables import MAX_ROWS, TableRow, TextTable
from readout_ui.vectors.settings import TrainSettings

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout

# No `from __future__ import annotations`: gradio turns the annotations into JSON schemas.


PUBLIC: dict[str, Any] = {"concurrency_id": "programs", "concurrency_limit": MOST_AT_ONCE}
Top = Annotated[int, Field(ge=0)]
TokenCount = Annotated[int, Field(ge=1, le=100)]
DraftCount = Annotated[int, Field(ge=1, le=MOST_DRAFTS)]


def publish_programs(studio: Studio) -> None:
    """Publish everything of `NAMES`; to be called inside `gr.Blocks`."""
    programs = Programs(studio)
    for name in NAMES:
        api(checked(getattr(programs, name)), api_name=name, **PUBLIC)


class Programs:
    """One method per endpoint.

    Their docstrings are what a program's author, or a model that calls tools, gets to read; gradio
    takes one line per argument and drops what follows.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def list_concepts(self) -> ConceptList:
        """List the concepts in the description folder and the run whose vectors are in use.

        A concept's state is "new", "edited", "trained" or "empty" against that run.

        Returns:
            the files with their number of texts; the run with its layers and AUROC per layer.
        """
        library, states = self._studio.library(), self._studio.concept_states()

        def files(some: Sequence[Concept]) -> list[ConceptFile]:
            return [
                ConceptFile(name=c.name, descriptions=len(c.descriptions), state=states[c.name])
                for c in some
            ]

        model, changed, run = describe_status(self._studio.status())
        return ConceptList(
            concepts=files(library.concepts),
            neutral=files(library.neutral),
            problems=[problem.message for problem in library.problems],
            model=model,
            changed_descriptions=changed,
            run=run,
        )

    def read_text(
        self,
        text: str,
        mode: Literal["assistant", "user", "raw"] = "assistant",
        score: Literal["z", "cosine", "raw"] = "z",
        layer: int | None = None,
        concepts: list[str] | None = None,
        top: Top = 10,
    ) -> TextReading:
        """Read a text with the vectors in use: how much of each concept every token shows.

        Args:
            text: the text to read.
            mode: who says it: "assistant" as in training, "user", or "raw" for no template.
            score: "z" in standard deviations over neutral tokens, "cosine", or "raw" products.
            layer: one of the run's layers; its best one by default.
            concepts: only these; all by default.
            top: how many concepts with the highest mean come back; 0 for all.

        Returns:
            tokens of the text, concepts by descending mean, means, scores[token][concept].
        """

        def work(used: "Readout") -> tuple[Run, Reading]:
            return used.run, used.read(text, mode)

        run, readout = self._studio.on_device("read", "Reading a prompt", work).result()
        speaker = "user" if mode == "user" else "assistant"
        return describe_reading(
            readout, run, speaker=speaker, layer=layer, score=score, concepts=concepts, top=top
        )

    def train(
        self,
        method: Literal["whitened", "mean", "neutral_pcs", "pca", "logistic"] | None = None,
        read: Literal["content_mean", "content_last", "content_tail", "template_last"]
        | None = None,
        layers: str | None = None,
        seed: int | None = None,
        library: Literal["emotions", "stances"] | None = None,
    ) -> TrainingResult:
        """Train the directions of all concepts in the description folder; returns when it is done.

        The new run is in use from then on. Settings left out stay as in the last training.

        Args:
            method: how a direction is fitted.
            read: which positions of a text are pooled.
            layers: "all", "auto" for the best layer only, or numbers such as "14,22".
            seed: of the pair sampling.
            library: train on this shipped library instead of the folder.

        Returns:
            the run, its best layer, the cross-validated AUROC of every layer, and the seconds.
        """
        self._studio.refuse_if_read_only("train")
        self._wait_for_training()
        asked = {"method": method, "read": read, "layers": layers, "seed": seed}
        given = {name: value for name, value in asked.items() if value is not None}
        settings = TrainSettings.from_json({**self._studio.settings.as_json(), **given})
        texts = Library(shipped_descriptions(library)) if library else None
        job = self._studio.start_training(settings, texts)
        run = job.result()
        if run.settings != settings:
            raise UserError("another training with other settings ran", fix="train again")
        return TrainingResult(**describe_run(run), seconds=round(job.view().seconds, 3))

    def evaluate(
        self,
        texts: list[LabelledRow] | None = None,
        mapping: dict[str, str] | None = None,
        layer: int | None = None,
        test_set: Literal["emotions", "stances"] | None = None,
    ) -> Evaluation:
        """Judge the vectors in use on labelled texts that they were not trained on.

        A label is a concept's name or "neutral". AUROC comes with its 95 % interval, per concept
        and as macro mean, beside bag of words, random directions and permuted labels.

        Args:
            texts: objects with "text" and "label" (one or a list); by default the test set.
            mapping: which concept a label stands for, where its name does not say so.
            layer: one of the run's layers; its best one by default.
            test_set: of which shipped library; by default the one that fits the run.

        Returns:
            macro, per concept, top-k with chance, the worst misses, and notes on what was left out.
        """
        run = self._studio.run()
        library = test_set or fitting_library(run.concepts)
        labelled = read_shipped(library=library) if texts is None else labelled_rows(texts)
        targets = settle_mapping(labelled, mapping or {}, run)
        asked = Asked(labelled, targets, run.best_layer if layer is None else layer)

        def work(readout: "Readout") -> tuple[Run, Generalization]:
            return readout.run, asked.judge(readout)

        used, found = self._studio.judge(asked.question("Evaluation"), work)
        return describe_evaluation(found, used, targets)

    def geometry(
        self, ratings: dict[str, dict[str, float]] | None = None, layer: int | None = None
    ) -> DirectionGeometry:
        """Compare the directions in use with ratings and across layers; find families of concepts.

        Args:
            ratings: numbers by scale for each concept; by default the shipped emotions' table.
            layer: one of the run's layers; its best one by default.

        Returns:
            components and their correlations, RSA between layers, families with their accuracy.
        """
        at = self._studio.run().layer(layer)

        def work(readout: "Readout") -> DirectionGeometry:
            from readout_ui.evaluation.geometry import geometry_of, rate, ratings_or_shipped

            names = readout.concepts
            if ratings is None:
                rated = ratings_or_shipped(None, names)
            else:
                rated = rate(ratings, names, "ratings")
            found = geometry_of(readout, at, rated).as_json()
            return {"run": readout.run.id, **found}  # type: ignore[typeddict-item]

        about = Question("Geometry", (at, json.dumps(ratings, sort_keys=True)))
        return self._studio.judge(about, work)

    def logit_lens(self, layer: int | None = None, tokens: TokenCount = 10) -> DirectionTokens:
        """List the tokens that each direction in use raises and lowers most.

        Args:
            layer: one of the run's layers; its best one by default.
            tokens: how many on each side.

        Returns:
            one entry for each concept, and last a random direction to compare with.
        """
        at = self._studio.run().layer(layer)

        def work(readout: "Readout") -> DirectionTokens:
            from readout_ui.evaluation.logit_lens import logit_lens

            found = logit_lens(readout.model, readout.vectors, at, tokens)
            rows = [asdict(one) for one in found]
            return DirectionTokens(run=readout.run.id, layer=at, directions=rows)

        return self._studio.judge(
            Question("Logit lens", (at, tokens), needs_descriptions=False), work
        )

    def draft_texts(
        self,
        concept: str,
        kind: Literal["descriptions", "neutral", "situations", "contrast"] = "descriptions",
        count: DraftCount = 5,
        at_endpoint: bool = False,
    ) -> DraftedTexts:
        """Let a model draft texts of a concept; they are returned, and nothing is changed.

        Args:
            concept: whose texts; for neutral ones a file such as _baseline.
            kind: descriptions, neutral texts, situations that never name it, or contrast texts.
            count: how many.
            at_endpoint: written by the endpoint that the app was started with.

        Returns:
            the texts with what lint says and the nearest text of the library, and their writer.
        """
        request = DraftRequest(self._studio.library(), kind, concept, count)
        made = self._studio.start_drafts(request, at_endpoint=at_endpoint).result()
        drafts = [asdict(each) for each in made.drafts]
        return DraftedTexts(
            writer=made.writer, asked=made.asked, drafts=drafts, summary=made.summary()
        )

    def export(
        self,
        concepts: list[str] | None = None,
        layers: list[int] | None = None,
        allow_changed: bool = False,
    ) -> gr.FileData:
        """Export the vectors in use as a zip that an inference server loads.

        Args:
            concepts: only these; all by default.
            layers: only these; all of the run's by default.
            allow_changed: export although descriptions changed since the training.

        Returns:
            readout.zip with readout.safetensors, calibration.safetensors and readout.json.
        """
        path = self._studio.export(concepts or (), layers or (), allow_changed=allow_changed)
        try:
            served = save_file_to_cache(path, get_upload_folder())
        finally:
            shutil.rmtree(path.parent)
        file = gr.FileData(path=served, orig_name=path.name, mime_type="application/zip")
        return file.model_dump()  # type: ignore[return-value]

    def _wait_for_training(self) -> None:
        """A training that runs already may have read other texts and settings than these."""
        job = self._studio.worker.latest("train")
        while job is not None and not job.view().state.finished:
            time.sleep(0.05)


def labelled_rows(rows: Sequence[LabelledRow]) -> tuple[LabelledText, ...]:
    """What a program sent as labelled texts; a file's rules and messages hold.

    Raises:
        UserError: no row, too many, or one without text or label.
    """
    if not rows:
        raise UserError("there are no texts", fix="send objects with text and label")
    if len(rows) > MAX_ROWS:
        raise UserError(f"there are more than {MAX_ROWS:,} texts", fix="send fewer")
    table = tuple(
        TableRow(number, ((row["text"],), _labels(row["label"])))
        for number, row in enumerate(rows, start=1)
    )
    return pick_columns(TextTable("texts", ("text", "label"), table), "text", ("label",))


def settle_mapping(
    labelled: Sequence[LabelledText], chosen: dict[str, str], run: Run
) -> dict[str, str]:
    """The concept of every label: as chosen, else as its name suggests.

    Raises:
        UserError: a label that does not occur, or an unknown concept.
    """
    labels = labels_of(labelled)
    for label in chosen:
        if label not in labels:
            raise UserError(f"no text is labelled '{label}'", where="mapping", options=labels[:50])
    return check_mapping(mapping_of(suggest_mapping(labels, run.concepts)) | chosen, run.concepts)


def _labels(label: str | list[str]) -> tuple[str, ...]:
    return (label,) if isinstance(label, str) else tuple(label)
