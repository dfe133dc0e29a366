"""How the app was started, and what its header shows at one moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from readout_ui.app.jobs import JobView
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.models.loading import LoadedModel, ModelSpec


@dataclass(frozen=True)
class StudioOptions:
    """How the app was started."""

    descriptions: Path
    """Folder of `{concept}.txt` files."""
    runs: Path
    """Folder the runs are kept in."""
    model: str = ""
    """Hub id, local folder or GGUF file; empty for the bundled model."""
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    quantization: str = "none"
    trust_remote_code: bool = False
    tokenizer: str = ""
    """Another tokenizer than the model's own."""
    draft_endpoint: str = ""
    """OpenAI-compatible address that may draft texts; empty for the loaded model alone."""
    draft_model: str = ""
    """The model's name there; empty for the first."""
    read_only: bool = False
    """True refuses everything that writes: texts, trainings, exports to a folder."""
    report: bool = True
    """Whether every training is judged by itself."""

    def model_spec(self) -> ModelSpec:
        """Which model to load, and how."""
        from readout_ui.models.loading import ModelSpec

        spec = ModelSpec(
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            quantization=self.quantization,
            trust_remote_code=self.trust_remote_code,
            tokenizer=self.tokenizer,
        )
        return replace(spec, model=self.model) if self.model else spec

    def loading(self, spec: ModelSpec) -> StudioOptions:
        """The same with another model."""
        return replace(
            self,
            model=spec.model,
            revision=spec.revision,
            device=spec.device,
            dtype=spec.dtype,
            quantization=spec.quantization,
            trust_remote_code=spec.trust_remote_code,
            tokenizer=spec.tokenizer,
        )


@dataclass(frozen=True)
class Status:
    """What the header shows at one moment."""

    model: JobView | None
    """The job that loads the model, None before it was asked for."""
    model_description: str
    """The loaded model in one line, empty while there is none."""
    model_notes: tuple[str, ...]
    """How texts are framed and what else is special about this model, one sentence each."""
    run: Run | None
    """The run whose vectors are in use."""
    training: JobView | None
    """The newest training, finished or not."""
    changed: int
    """Descriptions that differ from those the run in use was trained on."""
    concepts: int = 0
    """Concepts in the library."""
    chosen: int = 0
    """Those of them that the next training takes."""
    model_name: str = ""
    """The loaded model's name, without its owner."""
    model_place: str = ""
    """Where it runs and in which number format, such as "cpu · float32"."""
    misfit: str = ""
    """Why the vectors in use are not for the loaded model, one sentence; empty where they are."""
    judging: JobView | None = None
    """A judgement that is waited for; None while there is none."""
    model_fingerprint: str = ""
    """Identity of the loaded model's weights; empty while there is none."""

    @property
    def is_training(self) -> bool:
        """True while a training waits or runs."""
        return self.training is not None and not self.training.state.finished

    @property
    def stoppable(self) -> JobView | None:
        """What Cancel in the header stops: the training, or else a judgement."""
        return self.training if self.is_training else self.judging

    @property
    def model_ready(self) -> bool:
        """True once the model can be used."""
        return bool(self.model_description)


def describe(model: LoadedModel | None) -> dict[str, Any]:
    """What a status says of the model that is loaded."""
    if model is None:
        return {"model_description": "", "model_notes": ()}
    quantized = "" if model.spec.quantization == "none" else f" · {model.spec.quantization}"
    return {
        "model_description": model.describe(),
        "model_notes": (model.frame.describe(), *model.notes),
        "model_name": model.name.rsplit("/", maxsplit=1)[-1],
        "model_place": f"{model.device} · {str(model.dtype).removeprefix('torch.')}{quantized}",
    }
