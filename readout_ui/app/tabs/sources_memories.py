"""Scored memories on the Sources tab: a dump, thresholds, concepts by count, their examples."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import HIDDEN, PRIVATE, QUIET, guarded
from readout_ui.app.tabs.sources_html import draw_memories, draw_sentence
from readout_ui.errors import UserError
from readout_ui.files import shown, write_file, zip_bytes
from readout_ui.texts.examples import (
    ConceptExamples,
    Extraction,
    ExtractionSettings,
    chosen_concepts,
    prepare,
    write_examples,
)
from readout_ui.texts.lint import FEWEST_EXAMPLES
from readout_ui.texts.lint_sources import lint_examples
from readout_ui.texts.memory import (
    Fields,
    MemoryNode,
    StoredNode,
    parse_node,
    read_jsonl,
    read_sqlite,
)

if TYPE_CHECKING:
    from readout_ui.vectors.sources import TextSource

DATABASES = (".db", ".sqlite", ".sqlite3")
MAX_NODES = 100_000
CHOSEN = 12
"""Concepts that are chosen at first, those with most examples."""
TO_BEGIN = (
    "Drop a dump with one JSON object per line, or a SQLite database. The last line of a memory "
    "may hold its tags (warmth:9 clarity:10); the model never reads that line."
)
SERVER = (
    "A memory server is read on the command line, which goes on where it stopped: "
    "`readout-ui extract --memory-mcp-url URL --output-dir DIR`, then "
    "`readout-ui train-examples --training-data-dir DIR --output OUT --runs RUNS`, where RUNS is "
    "this app's folder of runs."
)


@dataclass(frozen=True, eq=False)
class Memories:
    """The nodes of a dump."""

    file: str = ""
    nodes: tuple[MemoryNode, ...] = ()
    problem: str = ""
    """Why they cannot be read, as a sentence."""


@dataclass(frozen=True)
class MemoryInputs:
    """Nodes, what makes one an example, and the concepts."""

    memories: gr.State
    lowest: gr.Number
    mentions: gr.Number
    characters: gr.Number
    most: gr.Number
    concepts: gr.Dropdown

    def all(self) -> list[Any]:
        """In the order `memory_wish` takes them."""
        return [self.memories, *self.thresholds(), self.concepts]

    def thresholds(self) -> list[Any]:
        """In the order `extraction_settings` takes them."""
        return [self.lowest, self.mentions, self.characters, self.most]


def build_memory_inputs() -> MemoryInputs:
    """Lay out the memories' part and wire what follows from a file or another threshold."""
    memories = gr.State(Memories())
    with gr.Row():
        file = gr.File(
            label="Memories: JSONL or SQLite",
            file_types=[".jsonl", *DATABASES],
            height=130,
            scale=2,
            min_width=280,
            elem_id="src-memory-file",
        )
        with gr.Column(scale=1, min_width=200):
            text = gr.Textbox(
                label="Text column", info="Only where its name is not a usual one.", max_lines=1
            )
            table = gr.Textbox(label="Table of a database", max_lines=1)
    inputs = MemoryInputs(memories, *_build_thresholds(), _build_concepts())
    about = gr.HTML(draw_sentence(TO_BEGIN), elem_id="src-memory-about", padding=False)
    with gr.Row(elem_id="src-memory-files"):
        pack = gr.Button(
            "Make zip of the examples", elem_id="src-memory-zip", scale=0, min_width=270
        )
        packed = gr.File(
            label="Examples", interactive=False, elem_id="src-memory-packed", visible=HIDDEN
        )
    gr.Markdown(SERVER, elem_id="src-memory-server")
    thresholds = inputs.thresholds()
    gr.on(
        [file.upload, file.clear, text.submit, table.submit],
        guarded(show_memories),
        [file, text, table, *thresholds],
        [memories, inputs.concepts, about],
        **QUIET,
    )
    gr.on(
        [threshold.input for threshold in thresholds],
        guarded(show_counts),
        [memories, *thresholds],
        [inputs.concepts, about],
        trigger_mode="always_last",
        **QUIET,
    )
    pack.click(guarded(pack_examples), inputs.all(), packed, **PRIVATE)
    return inputs


def show_memories(
    path: str | None, text: str, table: str, *thresholds: float | None
) -> tuple[Any, ...]:
    """State, concepts and about, of what was dropped."""
    memories = read_memories(path, text.strip(), table.strip())
    return memories, *show_counts(memories, *thresholds)


def show_counts(memories: Memories, *thresholds: float | None) -> tuple[Any, ...]:
    """Concepts to choose from and the table of them, under these thresholds."""
    nothing = gr.update(choices=[], value=[])
    if memories.problem or not memories.file:
        problem = draw_sentence(memories.problem, "failed")
        return nothing, problem if memories.problem else draw_sentence(TO_BEGIN)
    try:
        extraction = prepare(memories.nodes, extraction_settings(*thresholds))
        ready = chosen_concepts(extraction)
    except UserError as error:
        return nothing, draw_sentence(str(error), "failed")
    counts = {count.concept: count for count in extraction.counts()}
    labels = [(f"{c} ({counts[c].n_positive} for)", c) for c in ready]
    enough = [
        c for c in ready if min(counts[c].n_positive, counts[c].n_negative) >= FEWEST_EXAMPLES
    ]
    chosen = (enough or list(ready))[:CHOSEN]
    problems = [f"{n.key}: {problem}" for n in memories.nodes for problem in n.problems]
    return gr.update(choices=labels, value=chosen), draw_memories(extraction, problems)


def read_memories(path: str | None, text: str = "", table: str = "") -> Memories:
    """The nodes of a dump or database, tags apart from texts; nothing where there is no file."""
    if not path:
        return Memories()
    file = Path(path)
    try:
        nodes = tuple(parse_node(n.key, n.content) for n in _stored(file, text, table))
        if not nodes:
            raise UserError("there are no memories", where=shown(file), fix="write one per line")
        return Memories(shown(file), nodes)
    except UserError as error:
        return Memories(problem=str(error))


def extraction_settings(
    lowest: float | None, mentions: float | None, characters: float | None, most: float | None
) -> ExtractionSettings:
    """The thresholds on screen.

    Raises:
        UserError: one is empty or makes no sense.
    """
    if lowest is None or mentions is None or characters is None or most is None:
        raise UserError("a threshold is empty", fix="type a number")
    return ExtractionSettings(lowest, int(mentions), int(characters), int(most))


def chosen_examples(memories: Memories, *values: Any) -> tuple[ConceptExamples, ...]:
    """The examples of the chosen concepts: memories, thresholds and concepts as on screen.

    Raises:
        UserError: there are no memories, no concept is chosen, or one has no examples.
    """
    *thresholds, concepts = values
    if memories.problem:
        raise UserError(memories.problem)
    if not memories.file:
        raise UserError("there are no memories yet", fix="drop a JSONL dump or a database")
    if not concepts:
        raise UserError("no concept is chosen", fix="choose at least one")
    extraction = prepare(memories.nodes, extraction_settings(*thresholds))
    return _examples(extraction, concepts)


def memory_wish(*values: Any) -> TextSource:
    """The training that is on screen.

    Raises:
        UserError: what `chosen_examples` refuses.
    """
    from readout_ui.vectors.sources import example_source

    examples = chosen_examples(*values)
    return example_source(examples, tuple(lint_examples(examples)))


def pack_examples(*values: Any) -> Any:
    """The examples as `readout-ui extract` writes them, in a zip to download."""
    examples = chosen_examples(*values)
    settings = extraction_settings(*values[1:5])
    with tempfile.TemporaryDirectory(prefix="examples-") as place:
        folder = Path(place)
        write_examples(folder, examples, asdict(settings))
        files = {
            str(path.relative_to(folder).as_posix()): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    target = Path(tempfile.mkdtemp(prefix="readout-")) / "examples.zip"
    write_file(target, zip_bytes(files))
    return gr.File(value=str(target), visible=True)


def _examples(extraction: Extraction, concepts: Sequence[str]) -> tuple[ConceptExamples, ...]:
    return tuple(extraction.examples(name) for name in chosen_concepts(extraction, concepts))


def _stored(file: Path, text: str, table: str) -> Iterator[StoredNode]:
    fields = Fields(text)
    is_database = file.suffix.lower() in DATABASES
    nodes = read_sqlite(file, table, fields) if is_database else read_jsonl(file, fields)
    yield from islice(nodes, MAX_NODES)
    if next(nodes, None) is not None:
        raise UserError(
            f"there are more than {MAX_NODES:,} memories",
            where=shown(file),
            fix="extract them on the command line",
        )


def _build_thresholds() -> tuple[gr.Number, gr.Number, gr.Number, gr.Number]:
    with gr.Row():
        return (
            gr.Number(8, label="Lowest score for", minimum=0, maximum=10, min_width=150),
            gr.Number(0, label="Most mentions against", precision=0, minimum=0, min_width=150),
            gr.Number(40, label="Shortest text", precision=0, minimum=1, min_width=150),
            gr.Number(500, label="Most examples a side", precision=0, minimum=1, min_width=150),
        )


def _build_concepts() -> gr.Dropdown:
    return gr.Dropdown(
        [],
        value=[],
        multiselect=True,
        label="Concepts to train",
        info="Each gets a direction from its examples for and against it.",
        elem_id="src-memory-concepts",
    )
