"""What the Compare tab can compare: ways and runs, what to do when one is missing, two readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from readout_ui.app.jobs import Job
from readout_ui.app.read.chat_text import parse_chat
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.app.tabs.compare_view import Compared
from readout_ui.app.widgets import headline, local_time
from readout_ui.errors import UserError
from readout_ui.models.chat_template import Turn
from readout_ui.progress import Progress, Report
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.reading import Reading
    from readout_ui.inference.readout import Readout
    from readout_ui.models.chat_template import Turn
    from readout_ui.models.loading import ModelSpec

_DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_GIB = 2**30


def model_of(run: Run, location: str, options: StudioOptions) -> ModelSpec:
    """How to load the model a run was trained on, in the number format of its training.

    Args:
        run: the run.
        location: hub id or folder; empty for what the run's manifest says.
        options: how the app was started; its device and trust count for this model too.

    Raises:
        UserError: the model was a local folder, of which the run knows only the name.
    """
    from readout_ui.models.checkpoints import is_bundled
    from readout_ui.models.loading import ModelSpec

    trained = run.manifest.model
    if not (location or trained.revision or is_bundled(trained.id)):
        raise UserError(
            f"run {run.id} was trained on {trained.id}, a local folder",
            fix="write the folder's path under Model of B",
        )
    return ModelSpec(
        model=location or trained.id,
        revision=None if location else trained.revision or None,
        device=options.device,
        dtype=_DTYPES.get(trained.dtype, "auto"),
        quantization=options.quantization,
        trust_remote_code=options.trust_remote_code,
    )


def read_with_other_model(
    spec: ModelSpec, run: Run, content: str | Sequence[Turn], mode: str, report: Report
) -> Reading:
    """Load a model beside the one in use, read once, and let it go.

    Raises:
        UserError: it does not fit (with needed and free bytes), is not to be had, or is not the
            model of the run.
    """
    from readout_ui.inference.readout import Readout
    from readout_ui.models.devices import release_memory
    from readout_ui.models.loading import load_model

    note = room_words(spec)

    def told(progress: Progress) -> None:
        loading = progress.stage.startswith("Loading")
        report(replace(progress, stage=f"{progress.stage}{note}") if loading else progress)

    model = None
    try:
        model = load_model(spec, told)
        run.refuse_other_model(model)
        return Readout(model, run).read(content, mode)
    finally:
        del model
        release_memory()


def room_words(spec: ModelSpec) -> str:
    """What a model on this disk takes and what is free, in words; empty if unknown."""
    from readout_ui.models.checkpoints import find_checkpoint, is_bundled, read_config
    from readout_ui.models.devices import choose_device, choose_dtype, free_bytes
    from readout_ui.models.weights import bytes_per_float, weight_bytes
    from readout_ui.progress import silent

    if not (is_bundled(spec.model) or spec.model.startswith(("/", ".", "~"))):
        return ""  # on the hub: its size is known once it is here
    device = choose_device(spec.device)
    checkpoint = find_checkpoint(spec.model, spec.revision, spec.trust_remote_code, silent)
    dtype = choose_dtype(spec.dtype, device)
    scale = bytes_per_float(spec.quantization, dtype, read_config(checkpoint))
    needed, free = weight_bytes(checkpoint.folder, scale, dtype.itemsize), free_bytes(device)
    return f" for this comparison: {needed / _GIB:.2f} of {free / _GIB:.1f} GiB that are free"


RUNS, PROMPTS, MODELS = "runs", "prompts", "models"
WAYS = {"Two runs": RUNS, "Two prompts": PROMPTS, "Two models": MODELS}


@dataclass(frozen=True)
class Asked:
    """What is to be compared."""

    way: str
    """One of WAYS' values."""
    texts: tuple[str, str]
    """Prompts of A and B; B's counts only for two prompts."""
    mode: str
    """How prompts are read."""
    run_ids: tuple[str, str]
    """Runs of A and B; B's does not count for two prompts."""
    location: str = ""
    """Hub id or folder of B's model, where its run does not say."""

    def __post_init__(self) -> None:
        n = 2 if self.way == PROMPTS else 1
        for letter, text in zip("AB"[:n], self.texts, strict=False):
            if not text.strip():
                raise UserError(
                    f"there is nothing to read in prompt {letter}", fix="type or paste a text"
                )
        if not all(self.run_ids[: 1 if self.way == PROMPTS else 2]):
            raise UserError("two runs are needed", fix="train twice, then choose both")
        if self.way == RUNS and self.run_ids[0] == self.run_ids[1]:
            raise UserError("A and B are the same run", fix="choose another one for B")

    @property
    def contents(self) -> tuple[str | Sequence[Turn], str | Sequence[Turn]]:
        """What each side reads."""
        texts = self.texts if self.way == PROMPTS else (self.texts[0], self.texts[0])
        if self.mode != "chat":
            return texts
        return parse_chat(texts[0]), parse_chat(texts[1])

    @property
    def runs(self) -> tuple[str, str]:
        """Whose vectors each side is read with."""
        return (self.run_ids[0],) * 2 if self.way == PROMPTS else self.run_ids


@dataclass(frozen=True)
class Choices:
    """Runs that can be chosen, and what stands in the way."""

    first: tuple[tuple[str, str], ...]
    """(label, id) for A."""
    second: tuple[tuple[str, str], ...]
    """The same for B."""
    values: tuple[str | None, str | None]
    """What is chosen."""
    notice: str
    """What to do first, as HTML; empty when there is something to compare."""


def run_choices(studio: Studio, way: str, chosen: tuple[str | None, str | None]) -> Choices:
    """The runs for A and B; a choice that still fits stays.

    A belongs to the model of the run in use, B to the same one or, for two models, to another.
    """
    runs = studio.runs.list()
    used = studio.runs.current() or (runs[0] if runs else None)
    if used is None:
        return Choices((), (), (None, None), _notice(NO_RUNS, ""))
    here = [run for run in runs if run.model_fingerprint == used.model_fingerprint]
    others = [run for run in runs if run not in here] if way == MODELS else here
    first = _kept(chosen[0], here, used)
    rest = [run for run in others if way != RUNS or run.id != first]
    second = _kept(chosen[1], rest, rest[0] if rest else None)
    labelled = [tuple((_label(run, way), run.id) for run in some) for some in (here, others)]
    return Choices(labelled[0], labelled[1], (first, second), _missing(way, second, used))


NO_RUNS = "There are no vectors to compare yet."


def _missing(way: str, second: str | None, used: Run) -> str:
    if way == PROMPTS or second is not None:
        return ""
    if way == RUNS:
        return _notice(
            f"There is only one run of {used.model_name}.",
            "Change a description and press Retrain, then compare the two; or compare two prompts.",
        )
    return _notice(
        f"All runs belong to {used.model_name}.",
        "Start the app with another --model and the same --runs folder, train there, come back.",
    )


def _notice(what: str, fix: str) -> str:
    return headline(what, fix or "Press Train in the header first.")


def _kept(chosen: str | None, runs: Sequence[Run], default: Run | None) -> str | None:
    if chosen in [run.id for run in runs]:
        return chosen
    return default.id if default else None


def _label(run: Run, way: str) -> str:
    settings = f"{run.settings.method}, {run.settings.read}"
    words = (f"{local_time(run)} · {len(run.concepts)} concepts, {run.n_texts} texts, {settings}",)
    return " · ".join((run.model_name, *words) if way == MODELS else words)


def side_names(asked: Asked, runs: tuple[Run, Run]) -> tuple[str, str]:
    """What A and B are called above their maps."""
    if asked.way == PROMPTS:
        return quote_apart(*asked.texts)
    models = [f"{run.model_name} · " if asked.way == MODELS else "" for run in runs]
    return (f"{models[0]}run {local_time(runs[0])}", f"{models[1]}run {local_time(runs[1])}")


def quote_apart(first: str, second: str, length: int = 60) -> tuple[str, str]:
    """Both texts in few words, from shortly before the place where they part."""
    words = [text.split() for text in (first, second)]
    same = 0
    while same < min(map(len, words)) and words[0][same] == words[1][same]:
        same += 1
    long = any(len(" ".join(some)) > length for some in words)
    start = max(0, same - 3) if long else 0
    quoted = [_quoted(" ".join(some[start:]), start > 0, length) for some in words]
    return quoted[0], quoted[1]


def _quoted(words: str, cut: bool, length: int) -> str:
    end = words if len(words) <= length else words[: length - 1] + "…"
    return f"“{'… ' if cut else ''}{end}”"


def read_both(studio: Studio, asked: Asked) -> Job[Compared]:
    """Queue the two readings, one after the other; the job can be stopped between them.

    Raises:
        UserError: there is no such run. The job fails with one when a side cannot be read.
    """
    contents = asked.contents
    first, second = (studio.runs.open(run_id) for run_id in asked.runs)

    def work(readout: Readout) -> Compared:
        report = readout.report
        one = readout.read(contents[0], asked.mode)
        report(Progress("Reading B", 0, 0, "tokens"))
        if asked.way == MODELS:
            spec = model_of(second, asked.location.strip(), studio.options)
            other = read_with_other_model(spec, second, contents[1], asked.mode, report)
        else:
            other = studio.readout_of(second, report).read(contents[1], asked.mode)
        return Compared(
            one,
            other,
            names=side_names(asked, (first, second)),
            best_layers=(first.best_layer, second.best_layer),
            same_model=first.model_fingerprint == second.model_fingerprint,
        )

    return studio.on_device("compare", "Comparing", work, asked.runs[0])
