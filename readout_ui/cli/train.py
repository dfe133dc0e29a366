"""What `readout-ui train` does between its options and its answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from readout_ui.cli.output import as_json, progress_report, table
from readout_ui.files import require_replaceable
from readout_ui.runs.export import READOUT_FILES, is_zip, write_export
from readout_ui.texts.library import Library, read_library, require_trainable
from readout_ui.vectors.settings import Trained, TrainSettings

if TYPE_CHECKING:
    from readout_ui.models.loading import ModelSpec


def prepare(descriptions: Path, output: Path) -> Library:
    """The texts, after every check that needs no model: nobody trains to learn of a typo.

    Raises:
        UserError: no trainable texts, or nothing can be written to `output`.
    """
    library = read_library(descriptions)
    require_trainable(library)
    if not is_zip(output):
        require_replaceable(output, READOUT_FILES)
    return library


def train_and_write(
    library: Library, spec: ModelSpec, settings: TrainSettings, output: Path, runs: Path | None
) -> Trained:
    """Train, write the export, and keep the run where a folder for runs is named."""
    with progress_report() as report:
        from readout_ui.activations.cache import ActivationCache
        from readout_ui.files import cache_folder
        from readout_ui.models.loading import load_model
        from readout_ui.vectors.training import train

        model = load_model(spec, report)
        cache = ActivationCache(cache_folder() / "activations")
        try:
            trained = train(library, model, settings, cache, report)
        finally:
            cache.close()
    if runs is not None:
        keep(trained, runs)
    write_export(trained, output)
    return trained


def keep(trained: Trained, runs: Path) -> None:
    """Keep the run and use it from now on, as the app does."""
    from readout_ui.runs.store import RunStore

    store = RunStore(runs)
    store.set_current(store.save(trained).id)


def summary(trained: Trained, output: Path) -> str:
    """What was trained, as text."""
    vectors = trained.vectors
    counts = table(
        ("concept", "texts"),
        [(name, str(len(trained.descriptions[name]))) for name in vectors.concepts],
    )
    facts = table(
        ("", ""),
        [
            ("model", f"{trained.model_name}, {trained.model_dtype}, {trained.module_path}"),
            ("settings", f"{trained.settings.method}, {trained.settings.read}"),
            ("concepts", str(len(vectors.concepts))),
            ("texts", f"{trained.n_texts} different"),
            ("layers", ", ".join(map(str, vectors.layers))),
            ("best layer", best_layer(trained)),
            ("seconds", ", ".join(f"{k} {v:.1f}" for k, v in trained.timings.items())),
            ("written to", str(output)),
        ],
        left=2,
    )
    warnings = "".join(f"\nWarning: {warning}" for warning in trained.warnings)
    return f"{counts}\n{facts}{warnings}"


def best_layer(trained: Trained) -> str:
    """The best layer and how good it is."""
    if trained.layer_scores is None:
        return f"{trained.best_layer} (too few texts to compare layers)"
    return f"{trained.best_layer} (held-out AUROC {trained.layer_scores[trained.best_layer]:.3f})"


def summary_json(trained: Trained, output: Path) -> str:
    """What was trained, as one JSON object."""
    vectors = trained.vectors
    values: dict[str, Any] = {
        "output": str(output),
        "model": {
            "id": trained.model_name,
            "revision": trained.model_revision,
            "fingerprint": trained.model_fingerprint,
            "dtype": trained.model_dtype,
            "module_path": trained.module_path,
        },
        "settings": trained.settings.as_json(),
        "concepts": {name: len(trained.descriptions[name]) for name in vectors.concepts},
        "n_texts": trained.n_texts,
        "layers": list(vectors.layers),
        "best_layer": trained.best_layer,
        "layer_scores": None if trained.layer_scores is None else list(trained.layer_scores),
        "seconds": trained.timings,
        "warnings": list(trained.warnings),
    }
    return as_json(values)
