"""What `import readout_ui` gives that needs every room below: load_model, train, load, Readout.

Long work shows a tqdm bar, and what went through the model is remembered on disk, as on the command
line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from readout_ui.activations.cache import ActivationCache
from readout_ui.errors import UserError
from readout_ui.evaluation.advice import Judged, judge_descriptions
from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.generalization import judge_texts
from readout_ui.evaluation.geometry import Geometry, judge_geometry, read_ratings
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.layers import LayerSweep, corpora_by_rule, sweep_means
from readout_ui.evaluation.logit_lens import N_TOKENS, LensTokens, logit_lens
from readout_ui.evaluation.redundancy import concept_map, redundancy
from readout_ui.evaluation.results import Crosstalk, Rows
from readout_ui.files import cache_folder
from readout_ui.inference.readout import Readout as ModelWithRun
from readout_ui.models import loading
from readout_ui.models.loading import LoadedModel, ModelSpec
from readout_ui.progress import Bars
from readout_ui.runs.run import Run
from readout_ui.runs.training import train as train_run
from readout_ui.texts.labelled import (
    SHIPPED_SETS,
    LabelledText,
    check_mapping,
    labels_of,
    mapping_of,
    read_labelled,
    read_shipped,
    suggest_mapping,
)
from readout_ui.texts.library import Library
from readout_ui.texts.shipped import fitting_library, library_named, shipped_ratings
from readout_ui.texts.sources import Source
from readout_ui.vectors.settings import TrainSettings, layer_paths
from readout_ui.vectors.sources import TextSource
from readout_ui.vectors.training import Corpus

if TYPE_CHECKING:
    from torch import Tensor

    from readout_ui.evaluation.judgements import Generalization, JudgeSettings
    from readout_ui.vectors.vectors import ConceptVectors

LabelledTexts = str | Path | Iterable[tuple[str, str | Sequence[str]]]
"""The name of a shipped set, a file or folder, or pairs of a text and its label or labels."""


@dataclass(frozen=True, eq=False, repr=False)
class Readout(ModelWithRun):
    """A model with the vectors of one run: read, generate, steer, judge, save and export.

    Made by `train` or `load`.

    >>> readout
    <Readout of 4 concepts at layers 0, 1, 2, 3, 4, 5, … of SmolLM2-135M-Instruct>
    >>> readout.read("I feel calm.").raw.shape  # (n_tokens, n_layers, n_concepts)
    (43, 30, 4)
    """

    def _repr_html_(self) -> str:
        """In a notebook: a table of what this is."""
        scores, best = self.run.layer_scores, self.best_layer
        auroc = None if scores is None else scores[best]
        rows = {
            "model": self.model.name,
            "texts": f"{self.run.n_texts} ({self.run.source or 'descriptions'})",
            "concepts": ", ".join(self.concepts),
            "layers": ", ".join(map(str, self.layers)),
            "best layer": f"{best}" if auroc is None else f"{best} (held-out AUROC {auroc:.3f})",
        }
        cells = (f"<tr><th>{name}</th><td>{escape(row)}</td></tr>" for name, row in rows.items())
        return f"<table>{''.join(cells)}</table>"

    def evaluate(
        self,
        texts: LabelledTexts = "situations",
        mapping: Mapping[str, str] | None = None,
        layer: int | None = None,
        settings: JudgeSettings | None = None,
    ) -> Generalization:
        """Do the vectors work on texts by other writers? Beside bag of words and random directions.

        Args:
            texts: "situations" or "dialogue" (shipped, never trained on), a file or folder of
                labelled texts, or pairs of a text and its label (or labels).
            mapping: concept of a label whose name does not say it; also "neutral", "other" and
                "ignore".
            layer: one of the run's layers; None for the best.
            settings: draws, threshold and seed.

        Returns:
            AUROC, average precision and top-k with 95 % intervals; `to_frame()` has one row per
            concept.

        Raises:
            UserError: no such texts, no label stands for a concept, or the layer was not trained.

        >>> texts = [("Nothing pulls at me.", "calm"), ("How dare they!", "angry")]
        >>> readout.evaluate(texts).to_frame().index.tolist()
        ['angry', 'calm']
        """
        labelled = _labelled(texts, self.concepts)
        suggested = mapping_of(suggest_mapping(labels_of(labelled), self.concepts))
        targets = check_mapping(suggested | dict(mapping or {}), self.concepts)
        with Bars() as report:
            return judge_texts(
                self.reporting_to(report), labelled, targets, self._layer(layer), settings
            )

    def crosstalk(self, layer: int | None = None) -> Crosstalk:
        """Which directions point the same way, and which held-out texts score on another concept.

        Args:
            layer: a layer of the model; None for the best.

        Returns:
            Cosines (n_concepts, n_concepts), held-out scores, redundancy and a map; `to_frame()`
            has one row per pair of concepts, and so has each part.

        Raises:
            UserError: the texts of the training are not there.

        >>> readout.crosstalk(layer=16).cosines.to_frame().shape
        (4, 4)
        """
        corpus, own, at = self._corpus(), own_directions(self), self._layer(layer)
        return Crosstalk(
            cosines=cosine_matrix(corpus, at, own=own),
            held_out=held_out_matrix(corpus, at),
            redundancy=redundancy(corpus, at),
            map=concept_map(corpus, at, own=own),
        )

    def geometry(self, layer: int | None = None, ratings: str | Path = "") -> Geometry:
        """Two components of the directions, layers compared, families of concepts.

        Args:
            layer: a layer of the model; None for the best.
            ratings: a CSV with a column `concept` and one of numbers for each scale, which the
                components are correlated with; empty for none. "shipped" has valence and arousal
                of the shipped emotions.

        Raises:
            UserError: the texts of the training are not there, or too few concepts are rated.

        >>> round(sum(readout.geometry(layer=16).explained), 1)
        0.7
        """
        corpus, own, at = self._corpus(), own_directions(self), self._layer(layer)
        path = shipped_ratings() if ratings == "shipped" else Path(ratings)
        rated = read_ratings(path, self.concepts) if ratings else None
        return judge_geometry(corpus, at, held_out_matrix(corpus, at), rated, own)

    def logit_lens(self, layer: int | None = None, n: int = N_TOKENS) -> Rows[LensTokens]:
        """The tokens that each direction raises and lowers most; last comes a random direction.

        Args:
            layer: one of the run's layers; None for the best.
            n: tokens on each side.

        Raises:
            UserError: the layer was not trained, or the model has no final norm or unembedding.

        >>> readout.logit_lens(layer=16, n=3).to_frame().index.tolist()
        ['afraid', 'angry', 'calm', 'happy', 'random direction']
        """
        return logit_lens(self.model, self.vectors, self._layer(layer), n)

    def compare_layers(self) -> LayerSweep:
        """Held-out AUROC of every layer of the model by every read rule, with mean differences.

        Raises:
            UserError: the texts of the training are not there.
        """
        with Bars() as report:
            return sweep_means(corpora_of(self.reporting_to(report)), report=report)

    def advise(self, layer: int | None = None) -> Judged:
        """Influence of every text on its direction, shortcuts, and what to change in the texts.

        Args:
            layer: a layer of the model; None for the best.

        Raises:
            UserError: the texts of the training are not there.
        """
        corpus, at = self._corpus(), self._layer(layer)
        return judge_descriptions(corpus, at, redundancy(corpus, at))

    def _corpus(self) -> Corpus:
        with Bars() as report:
            return self.reporting_to(report).corpus()

    def _layer(self, layer: int | None) -> int:
        return self.best_layer if layer is None else layer

    def save(self, runs: str | Path) -> Run:
        """Keep the run as a new folder in `runs`, where the app and the command line find it.

        Raises:
            UserError: the disk refuses.

        >>> readout.save("runs").folder.parent.name
        'runs'
        """
        return self.run.save(runs)

    def export(self, path: str | Path, format: str = "readout") -> Path:
        """Write the vectors for other programs; returns where to.

        Args:
            path: a folder, or a zip where the name ends in .zip.
            format: "readout" (vLLM), "npz", "gguf", "steering", "sglang" or "steering-pkl".

        Raises:
            UserError: an unknown format, or something else lies there.

        >>> readout.export("my-vectors", format="npz").name
        'my-vectors'
        """
        return self.run.export(path, format, self.concepts, self.layers)


def corpora_of(readout: ModelWithRun) -> Iterator[Corpus]:
    """The texts of the training by every read rule that their capture gave, one at a time."""
    return corpora_by_rule(readout.corpus(), readout.corpus)


def own_directions(readout: ModelWithRun) -> ConceptVectors | None:
    """The vectors where they do not follow from the texts by the method alone, else None."""
    return readout.vectors if readout.run.source else None


def load_model(model: str | ModelSpec = "", **spec: Any) -> LoadedModel:
    """Find, check and load a causal language model with its tokenizer.

    Args:
        model: hub id or local folder; empty for the bundled SmolLM2-135M-Instruct. Or a ModelSpec.
        spec: revision, device, dtype, quantization or trust_remote_code, as in `ModelSpec`.

    Returns:
        The model in eval mode: `n_layers` blocks, residual stream of width `d_model`.

    Raises:
        UserError: every way in which this can fail for a reason that the user can fix.

    >>> model = ro.load_model(device="cpu")
    >>> model.n_layers, model.d_model
    (30, 576)
    """
    asked = ModelSpec(model) if isinstance(model, str) and model else model or ModelSpec()
    assert isinstance(asked, ModelSpec)
    with Bars() as report:
        return loading.load_model(replace(asked, **spec), report)


def train(
    texts: Library | Source | TextSource,
    model: LoadedModel,
    settings: TrainSettings | None = None,
    *,
    method: str | Callable[..., Tensor] = "",
    **changes: Any,
) -> Readout:
    """Fit one direction per concept and layer.

    Args:
        texts: a `Library`, or what `pairs`, `stories` or `examples` gave.
        model: from `load_model`.
        settings: read rule, layers, seed and more; None for the defaults.
        method: one of `METHODS`, or a function of the positive and the negative activations of
            one layer, (n_pairs, d_model) each, that gives a direction (d_model,); an aggregator of
            steering-vectors is one. Empty for that of the settings.
        changes: single settings, e.g. layers="all", layer_type="mlp". `layer_config` takes a dict
            of module paths, "model.layers.{num}.mlp" or a function of the layer number.

    Returns:
        The model with its vectors, (n_concepts, n_layers, d_model) at unit length.

    Raises:
        UserError: texts that cannot be trained on, an unknown setting, or a layer that the model
            does not have.

    >>> readout = ro.train(ro.Library("descriptions"), model, layers="14,16")
    >>> readout.run.vectors.directions.shape
    torch.Size([4, 2, 576])
    >>> def median(positive, negative):
    ...     return (positive - negative).median(dim=0).values
    >>> ro.train(ro.Library("descriptions"), model, method=median, layers="16").layers
    (16,)
    """
    named = {"method": method} if isinstance(method, str) and method else {}
    own = None if isinstance(method, str) else method
    asked = _settings(settings, {**changes, **named})
    with Bars() as report:
        run = train_run(texts, model, asked, _cache(cache_folder()), report, method=own)
    return _readout(model, run)


def load(
    path: str | Path, model: LoadedModel | None = None, texts: str | Path | None = None
) -> Readout:
    """Open a kept run or an export and put it on its model.

    Args:
        path: run folder, export folder or zip, .npz, .gguf or steering-vectors files.
        model: the model it was trained on; None loads the one its manifest names.
        texts: folder of the texts that an export was trained on, for `crosstalk`.

    Raises:
        UserError: nothing there that can be read, or it belongs to another model.

    >>> _ = readout.export("again")
    >>> ro.load("again", model).concepts
    ('afraid', 'angry', 'calm', 'happy')
    """
    run = Run.open(path, None if texts is None else Path(texts))
    on = model or load_model(run.model_name)
    run.refuse_other_model(on)
    return _readout(on, run)


def _labelled(texts: LabelledTexts, concepts: Sequence[str]) -> tuple[LabelledText, ...]:
    if isinstance(texts, str) and texts in SHIPPED_SETS:
        return read_shipped(texts, "neutral", library=fitting_library(concepts))
    if isinstance(texts, str | Path):
        if not (library_named(texts) or Path(texts).exists()):
            raise UserError("there are no such texts", where=str(texts), options=SHIPPED_SETS[:2])
        return read_labelled(Path(texts))
    return tuple(
        LabelledText(text, (label,) if isinstance(label, str) else tuple(label))
        for text, label in texts
    )


def _settings(settings: TrainSettings | None, changes: dict[str, Any]) -> TrainSettings:
    if isinstance(changes.get("layer_config"), Mapping):
        changes = {**changes, "layer_config": layer_paths(changes["layer_config"])}
    return replace(settings or TrainSettings(), **changes)


def _readout(model: LoadedModel, run: Run) -> Readout:
    return Readout(model, run, _cache(cache_folder()))


@cache
def _cache(folder: Path) -> ActivationCache:
    """One per process: a notebook does not open the file again with every training."""
    return ActivationCache(folder / "activations")
