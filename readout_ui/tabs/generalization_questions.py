"""What the Generalization tab asks of the run in use, and who answers: the judgements."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from readout_ui.dose import DoseCurves, parse_values
from readout_ui.errors import UserError
from readout_ui.evidence import Evidence
from readout_ui.judgements import Generalization, JudgeSettings
from readout_ui.labelled_texts import LabelledText
from readout_ui.runs import RunRecord
from readout_ui.studio import Studio
from readout_ui.tabs.generalization_source import Brought, mapping_from, mapping_rows
from readout_ui.tabs.notices import NO_RUN


@dataclass(frozen=True)
class Wish:
    """The inputs on screen."""

    brought: Brought
    text_column: str | None
    label_columns: Sequence[str]
    mapping: Sequence[Sequence[object]]
    layer: int | None
    recall: float
    threshold: str

    def settings(self) -> JudgeSettings:
        """How to judge.

        Raises:
            UserError: the threshold is no number.
        """
        typed = self.threshold.strip().replace(",", ".")
        try:
            threshold = float(typed) if typed else None
        except ValueError:
            raise UserError(
                f"{typed!r} is no number", where="threshold", fix="leave it empty or type 0.2"
            ) from None
        return JudgeSettings(recall=self.recall, threshold=threshold)


def judge_wish(studio: Studio, wish: Wish) -> Generalization:
    """Judge the run in use on the texts on screen; the same question is answered once."""
    asked = _ask(studio, wish)

    def work(evidence: Evidence) -> Generalization:
        from readout_ui.generalization import judge_texts

        return judge_texts(
            scorer_of(evidence), asked.texts, asked.mapping, asked.layer, asked.settings
        )

    return studio.judge("Generalization", asked.key, work)


def judge_words(studio: Studio, wish: Wish) -> Any:
    """The lexical control of the texts on screen."""
    asked = _ask(studio, wish)

    def work(evidence: Evidence) -> Any:
        from readout_ui.lexical import control_words

        return control_words(
            scorer_of(evidence), asked.texts, asked.mapping, asked.layer, asked.settings
        )

    return studio.judge("Generalization: words", asked.key, work)


def judge_dose(studio: Studio, template: str, values: str, layer: int | None) -> DoseCurves:
    """The dose curves of one text."""
    _run_of(studio)
    chosen = _chosen_layer(layer)
    parsed = parse_values(values)

    def work(evidence: Evidence) -> DoseCurves:
        from readout_ui.dose import read_dose

        return read_dose(scorer_of(evidence), template, parsed, chosen)

    return studio.judge("Generalization: dose", (template, parsed, chosen), work)


def scorer_of(evidence: Evidence) -> Any:
    """What scores new texts with the run in use."""
    from readout_ui.text_scores import Scorer

    return Scorer(
        evidence.vectors,
        evidence.run.settings,
        evidence.model,
        evidence.run.descriptions,
        evidence.cache,
        evidence.report,
    )


@dataclass(frozen=True)
class _Asked:
    """One question about the run in use, with a name of its own."""

    texts: tuple[LabelledText, ...]
    mapping: dict[str, str]
    layer: int
    settings: JudgeSettings

    @property
    def key(self) -> str:
        """Digest of everything the answer depends on."""
        asked = [
            [[each.text, *each.labels] for each in self.texts],
            sorted(self.mapping.items()),
            self.layer,
            asdict(self.settings),
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _ask(studio: Studio, wish: Wish) -> _Asked:
    run = _run_of(studio)
    texts = wish.brought.texts(wish.text_column, wish.label_columns)
    # The shipped labels are concept names, so their mapping follows the run, not the table.
    rows = mapping_rows(texts, run.concepts) if wish.brought.source == "shipped" else wish.mapping
    mapping = mapping_from(rows, run.concepts)
    return _Asked(texts, mapping, _chosen_layer(wish.layer), wish.settings())


def _run_of(studio: Studio) -> RunRecord:
    run = studio.runs.current()
    if run is None:
        raise NO_RUN
    return run


def _chosen_layer(layer: int | None) -> int:
    if layer is None:
        raise UserError("no layer is chosen", fix="choose one")
    return int(layer)
