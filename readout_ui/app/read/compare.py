"""Two readings side by side: one text with two runs or two models, or two texts or branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from readout_ui.app.events import Answer, Call, Request, answering
from readout_ui.app.read.calls import Asked as Text
from readout_ui.app.read.calls import pack_cells
from readout_ui.app.read.chats import Chat
from readout_ui.app.read.waiting import PageJobs
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError
from readout_ui.inference.compare import (
    Alignment,
    Comparison,
    Side,
    align,
    alignment_words,
    compare,
)
from readout_ui.inference.reading import BoolArray, FloatArray, Reading
from readout_ui.progress import Progress, Report
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore, local_time

if TYPE_CHECKING:
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


Way = Literal["runs", "texts", "models"]
Unit = Literal["z", "cosine"]


class Choose(Request):
    """Which runs may be compared, and which were chosen."""

    way: Way
    chosen: list[str | None] = Field(min_length=2, max_length=2)


class Compare(Chat):
    """What is to be compared; B's text counts for two texts only, B's run for the other ways."""

    way: Way
    first: Text
    second: Text
    runs: list[str] = Field(min_length=2, max_length=2)
    location: str = Field(default="", max_length=10_000)

    def texts(self) -> tuple[Text, Text]:
        """What each side reads.

        Raises:
            UserError: one of them is empty.
        """
        texts = self.first, self.second if self.way == "texts" else self.first
        for letter, text in zip("AB", texts, strict=True):
            if not (text.text.strip() or text.turns):
                raise UserError(
                    f"there is nothing to read in text {letter}", fix="type or paste a text"
                )
        return texts

    def run_ids(self) -> tuple[str, str]:
        """Whose vectors each side is read with.

        Raises:
            UserError: two are needed.
        """
        first, second = (self.runs[0],) * 2 if self.way == "texts" else self.runs
        if not (first and second):
            raise UserError("two runs are needed", fix="train twice, then choose both")
        if self.way == "runs" and first == second:
            raise UserError("A and B are the same run", fix="choose another one for B")
        return first, second


class Look(Chat):
    """The unit, and the layer of A and of B; only A's counts where one model read both."""

    layers: list[int] = Field(min_length=2, max_length=2)
    kind: Unit = "z"


@dataclass(frozen=True, eq=False)
class Compared:
    """What a page read last; another layer comes from here."""

    first: Reading
    second: Reading
    names: tuple[str, str]
    """What each side is, in words."""
    best_layers: tuple[int, int]
    """The best layer of each side's run."""
    same_model: bool
    """Whether one model read both."""

    @cached_property
    def alignment(self) -> Alignment:
        """How the tokens of the two belong together."""
        return align(self.first, self.second, same_tokenizer=self.same_model)


def compare_calls(studio: Studio) -> list[Call]:
    """The server functions of a comparison."""
    compared: PageJobs[Compared] = PageJobs(studio)

    def choose(asked: Choose) -> Answer:
        return asdict(run_choices(studio, asked.way, (asked.chosen[0], asked.chosen[1])))

    def ask(asked: Compare) -> Answer:
        first = asked.run_ids()[0]
        work = partial(read_both, studio, asked)
        compared.start(asked.chat, "compare", "Comparing", work, first)
        return {}

    def stop(asked: Chat) -> Answer:
        compared.stop(asked.chat)
        return {}

    def poll(asked: Look) -> Answer:
        return compared.poll(asked.chat, lambda found: shown(found, asked.layers, asked.kind))

    return [
        answering("compare_runs", Choose, choose),
        answering("compare_ask", Compare, ask),
        answering("compare_poll", Look, poll),
        answering("compare_stop", Chat, stop),
    ]


def shown(found: Compared, layers: Sequence[int], kind: Unit = "z") -> Answer:
    """Both sides and their difference, column by column; a layer below 0 is the best one."""
    a, b = (
        best if layer < 0 else layer for layer, best in zip(layers, found.best_layers, strict=True)
    )
    both = compare(
        found.first,
        found.second,
        kind,
        (a, a if found.same_model else b),
        same_tokenizer=found.same_model,
        alignment=found.alignment,
    )
    sides = [
        _column_reading(one, one.scores, one.scored, both) for one in (both.first, both.second)
    ]
    difference = None
    if both.difference is not None and both.n_paired:
        first, second = both.first.tokens, both.second.tokens
        tokens = tuple(
            a if a == b else f"{a}|{b}" if a and b else a or b
            for a, b in zip(first, second, strict=True)
        )
        side = replace(both.first, tokens=tokens, layer=both.second.layer)
        difference = _column_reading(side, both.difference, both.both_scored, both)
    return {
        "names": found.names,
        "about": alignment_words(both, found.same_model),
        "alignment": both.alignment,
        "left_out": both.left_out,
        "same_model": found.same_model,
        "layers": [found.first.layers, found.second.layers],
        "sides": sides,
        "difference": difference,
    }


def _column_reading(side: Side, scores: FloatArray, scored: BoolArray, both: Comparison) -> Answer:
    """One side as the page keeps a reading: a column is a token, with one layer."""
    return {
        "run": "",
        "tokens": side.tokens,
        "roles": side.roles,
        "scored": scored.astype(int).tolist(),
        "concepts": both.concepts,
        "layers": [side.layer],
        "best": side.layer,
        "kind": both.kind,
        "held": [side.layer],
        "scores": pack_cells(scores[:, None]),
        "turns": [],
    }


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
    """What to do first; empty when there is something to compare."""


def run_choices(studio: Studio, way: Way, chosen: tuple[str | None, str | None]) -> Choices:
    """The runs for A and B; a choice that still fits stays.

    A belongs to the model of the run in use, B to the same one or, for two models, to another.
    """
    runs = studio.runs.list()
    used = studio.runs.current() or (runs[0] if runs else None)
    if used is None:
        return Choices((), (), (None, None), "There are no vectors to compare yet. Press Train.")
    here = [run for run in runs if run.model_fingerprint == used.model_fingerprint]
    others = [run for run in runs if run not in here] if way == "models" else here
    first = _kept(chosen[0], here, used)
    rest = [run for run in others if way != "runs" or run.id != first]
    second = _kept(chosen[1], rest, rest[0] if rest else None)
    label = partial(_label, way, studio.runs)
    labelled = [tuple((label(run), run.id) for run in some) for some in (here, others)]
    return Choices(labelled[0], labelled[1], (first, second), _missing(way, second, used))


def _missing(way: Way, second: str | None, used: Run) -> str:
    if way == "texts" or second is not None:
        return ""
    if way == "runs":
        return (
            f"There is only one run of {used.model_name}. "
            "Change a description and press Train, then compare the two; or compare two texts."
        )
    return (
        f"All runs belong to {used.model_name}. "
        "Choose another model in the header, train there with the same runs folder, and come back."
    )


def _kept(chosen: str | None, runs: Sequence[Run], default: Run | None) -> str | None:
    if chosen in [run.id for run in runs]:
        return chosen
    return default.id if default else None


def _label(way: Way, store: RunStore, run: Run) -> str:
    """Its name where it has one, when it was made, and what it was made of."""
    settings = f"{run.settings.method}, {run.settings.read}"
    about = f"{len(run.concepts)} concepts, {run.n_texts} texts, {settings}"
    words = dict.fromkeys((store.title(run), local_time(run), about))
    return " · ".join((run.model_name, *words) if way == "models" else words)


def side_names(asked: Compare, runs: tuple[Run, Run], store: RunStore) -> tuple[str, str]:
    """What A and B are called above their maps."""
    if asked.way == "texts":
        first, second = (
            text.text or " ".join(turn.text for turn in text.turns or ()) for text in asked.texts()
        )
        return quote_apart(first, second)
    models = [f"{run.model_name} · " if asked.way == "models" else "" for run in runs]
    titles = [store.about(run.id).name or f"run {local_time(run)}" for run in runs]
    return models[0] + titles[0], models[1] + titles[1]


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


def read_both(studio: Studio, asked: Compare, readout: Readout) -> Compared:
    """Read both sides, one after the other; it can be stopped between them.

    Raises:
        UserError: there is no such run, or a side cannot be read.
    """
    report, texts = readout.report, asked.texts()
    first, second = (studio.runs.open(run_id) for run_id in asked.run_ids())
    one = readout.read(texts[0].content(), texts[0].way)
    report(Progress("Reading B", 0, 0, "tokens"))
    content, mode = texts[1].content(), texts[1].way
    if asked.way == "models":
        spec = model_of(second, asked.location.strip(), studio.options)
        other = read_with_other_model(spec, second, content, mode, report)
    else:
        other = studio.readout_of(second, report).read(content, mode)
    return Compared(
        one,
        other,
        names=side_names(asked, (first, second), studio.runs),
        best_layers=(first.best_layer, second.best_layer),
        same_model=first.model_fingerprint == second.model_fingerprint,
    )
