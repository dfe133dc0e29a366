"""Where vectors to be judged come from: a kept run's folder, or an export with its texts beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.errors import UserError
from readout_ui.runs.manifest import MANIFEST_FILE as EXPORT_MANIFEST
from readout_ui.runs.manifest import Manifest
from readout_ui.runs.run import MANIFEST_FILE as RUN_MANIFEST
from readout_ui.runs.store import RunStore
from readout_ui.texts.library import read_library
from readout_ui.vectors.settings import TrainSettings

if TYPE_CHECKING:
    from readout_ui.models.loading import LoadedModel
    from readout_ui.vectors.vectors import ConceptVectors


@dataclass(frozen=True, eq=False)
class VectorSource:
    """Vectors on disk, before anything heavy is loaded."""

    path: Path
    """The run's folder, or the export's folder or zip."""
    manifest: Manifest
    descriptions: dict[str, tuple[str, ...]]
    """The texts of the training by file name; empty where they are not at hand."""
    is_run: bool

    @property
    def settings(self) -> TrainSettings:
        """What the training was asked for."""
        return TrainSettings.from_json(self.manifest.settings)

    def layer(self, wished: int | None) -> int:
        """The layer to judge: the one wished for, else the best, else the last one there is.

        Raises:
            UserError: the vectors have no such layer.
        """
        layers, best = self.manifest.layers, self.manifest.metrics.best_layer
        if wished is None:
            return best if best in layers else layers[-1]
        layer = layers[wished] if -len(layers) <= wished < 0 else wished
        if layer not in layers:
            raise UserError(
                f"layer {wished} was not trained",
                where=str(self.path),
                options=[str(one) for one in layers],
            )
        return layer

    def load(self, model: LoadedModel) -> ConceptVectors:
        """The vectors, after every check that they belong to this model.

        Raises:
            UserError: files are damaged, or the model or its prompt frame is another one.
        """
        from readout_ui.runs.formats.readout import refuse_unfit_model
        from readout_ui.runs.importing import read_readout

        refuse_unfit_model(self.manifest, model, str(self.path))
        if self.is_run:
            return RunStore(self.path.parent).load(self.path.name)[1]
        return read_readout(self.path).vectors


def find_source(path: Path, descriptions: Path | None = None) -> VectorSource:
    """The vectors at a path, and the texts they were trained on.

    Args:
        path: a run's folder, or an export's folder or zip.
        descriptions: folder of the texts, for an export; a run has them.

    Raises:
        UserError: neither of both, or texts that are not those of the training.
    """
    if (path / RUN_MANIFEST).is_file() and not (path / EXPORT_MANIFEST).exists():
        resolved = path.resolve()
        record = RunStore(resolved.parent).record(resolved.name)
        return VectorSource(resolved, record.manifest, record.descriptions, is_run=True)
    from readout_ui.runs.importing import read_manifest

    manifest = read_manifest(path)
    texts = {} if descriptions is None else _texts_of(descriptions, manifest)
    return VectorSource(path, manifest, texts, is_run=False)


def _texts_of(folder: Path, manifest: Manifest) -> dict[str, tuple[str, ...]]:
    library = read_library(folder)
    now = library.fingerprints()
    names = now.keys() | manifest.descriptions.keys()
    changed = sorted(n for n in names if now.get(n) != manifest.descriptions.get(n))
    if changed:
        raise UserError(
            f"these are not the texts of the training: {', '.join(changed[:5])} differ",
            where=str(folder),
            fix="train again, or name the folder of the kept run with --vectors",
        )
    return library.texts()
