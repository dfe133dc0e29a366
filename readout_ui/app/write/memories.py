"""Scored memories from elsewhere: a dump, thresholds, concepts by count, their examples."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import (
    AWAY,
    LATEST,
    PRIVATE,
    Changes,
    Part,
    Values,
    bound,
    components,
    seen_if,
)
from readout_ui.app.widgets import MOST_SHOWN, sentence, table
from readout_ui.errors import UserError
from readout_ui.files import scratch_folder, shown, write_file
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
from readout_ui.texts.reading import zip_bytes
from readout_ui.texts.words import cut

if TYPE_CHECKING:
    from readout_ui.vectors.sources import Texts, TextSource

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


@dataclass(frozen=True)
class Memories:
    """The nodes of a dump."""

    file: str = ""
    nodes: tuple[MemoryNode, ...] = ()
    problem: str = ""
    """Why they cannot be read, as a sentence."""


class MemoryInputs(Part):
    """Nodes, what makes one an example, and the concepts."""

    def __init__(self) -> None:
        self.memories = gr.State(Memories())
        with gr.Row():
            self.file = gr.File(
                label="Memories: JSONL or SQLite",
                file_types=[".jsonl", *DATABASES],
                height=130,
                scale=2,
                min_width=280,
                elem_id="src-memory-file",
            )
            with gr.Column(scale=1, min_width=200):
                self.text = gr.Textbox(
                    label="Text column", info="Only where its name is not a usual one.", max_lines=1
                )
                self.table = gr.Textbox(label="Table of a database", max_lines=1)
        with gr.Row():
            self.lowest, self.mentions, self.characters, self.most = self.thresholds = (
                gr.Number(8, label="Lowest score for", minimum=0, maximum=10, min_width=150),
                gr.Number(0, label="Most mentions against", precision=0, minimum=0, min_width=150),
                gr.Number(40, label="Shortest text", precision=0, minimum=1, min_width=150),
                gr.Number(500, label="Most examples a side", precision=0, minimum=1, min_width=150),
            )
        self.concepts = gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            label="Concepts to train",
            info="Each gets a direction from its examples for and against it.",
            elem_id="src-memory-concepts",
        )
        self.about = gr.HTML(sentence(TO_BEGIN), elem_id="src-memory-about", padding=False)
        with gr.Row(elem_id="src-memory-files"):
            pack = gr.Button(
                "Make zip of the examples", elem_id="src-memory-zip", scale=0, min_width=270
            )
            self.packed = gr.File(
                label="Examples", interactive=False, elem_id="src-memory-packed", elem_classes=AWAY
            )
        gr.Markdown(SERVER, elem_id="src-memory-server")
        self.asked: set[Any] = {self.memories, self.concepts, *self.thresholds}
        pack.click(bound(self.pack_examples), self.asked, self.packed, **PRIVATE)
        self._wire()

    def _wire(self) -> None:
        """What follows from a file or another threshold."""
        file, given, outputs = self.file, {*self.thresholds}, components(self)
        events = [file.upload, file.clear, self.text.submit, self.table.submit]
        asked = {self.memories, file, self.text, self.table, *given}
        gr.on(events, bound(self.show), asked, outputs, **LATEST)
        changed = [threshold.input for threshold in self.thresholds]
        gr.on(changed, bound(self.show_counts), self.asked, outputs, **LATEST)

    def show(self, values: Values) -> Changes:
        """What was dropped, with its concepts by count."""
        text, table = values[self.text].strip(), values[self.table].strip()
        memories = read_memories(values[self.file], text, table)
        if memories == values[self.memories]:  # looked at twice: what was chosen meanwhile counts
            return {}
        counted = self.show_counts(values | {self.memories: memories, self.concepts: []})
        return {self.memories: memories, **counted}

    def show_counts(self, values: Values) -> Changes:
        """Concepts to choose from and the table of them, under these thresholds.

        What is chosen stays: a person may choose while the counts are on their way. Where nothing
        is, concepts with enough examples are.
        """
        memories, chosen = values[self.memories], values[self.concepts]
        if memories.problem or not memories.file:
            problem = (
                sentence(memories.problem, "failed") if memories.problem else sentence(TO_BEGIN)
            )
            return {self.concepts: gr.update(choices=[], value=[]), self.about: problem}
        try:
            extraction = prepare(memories.nodes, self.settings(values))
            ready = chosen_concepts(extraction)
        except UserError as error:
            return {self.about: sentence(str(error), "failed")}
        counts = {count.concept: count for count in extraction.counts()}
        numbers = {c: counts[c].n_positive if c in counts else 0 for c in (*ready, *chosen)}
        choices = [(f"{concept} ({n} for)", concept) for concept, n in numbers.items()]
        enough = [
            c for c in ready if min(counts[c].n_positive, counts[c].n_negative) >= FEWEST_EXAMPLES
        ]
        first: dict[str, Any] = {} if chosen else {"value": (enough or list(ready))[:CHOSEN]}
        problems = [f"{n.key}: {problem}" for n in memories.nodes for problem in n.problems]
        return {
            self.concepts: gr.update(choices=choices, **first),
            self.about: draw_memories(extraction, problems),
        }

    def settings(self, values: Values) -> ExtractionSettings:
        """The thresholds on screen.

        Raises:
            UserError: one is empty or makes no sense.
        """
        lowest, mentions, characters, most = (values[each] for each in self.thresholds)
        if None in (lowest, mentions, characters, most):
            raise UserError("a threshold is empty", fix="type a number")
        return ExtractionSettings(lowest, int(mentions), int(characters), int(most))

    def examples(self, values: Values) -> tuple[ConceptExamples, ...]:
        """The examples of the chosen concepts.

        Raises:
            UserError: there are no memories, no concept is chosen, or one has no examples.
        """
        memories, concepts = values[self.memories], values[self.concepts]
        if memories.problem:
            raise UserError(memories.problem)
        if not memories.file:
            raise UserError("there are no memories yet", fix="drop a JSONL dump or a database")
        if not concepts:
            raise UserError("no concept is chosen", fix="choose at least one")
        extraction = prepare(memories.nodes, self.settings(values))
        return tuple(extraction.examples(name) for name in chosen_concepts(extraction, concepts))

    def pack_examples(self, values: Values) -> Changes:
        """The examples in a zip to download."""
        target = packed(self.examples(values), self.settings(values))
        return {self.packed: gr.File(value=str(target), elem_classes=seen_if(True))}


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


def memory_request(
    inputs: MemoryInputs, values: Values, neutral: Texts | None = None
) -> TextSource:
    """The examples on screen, to be trained on.

    Raises:
        UserError: what `MemoryInputs.examples` refuses.
    """
    from readout_ui.vectors.sources import example_source

    examples = inputs.examples(values)
    return example_source(examples, tuple(lint_examples(examples)), neutral)


def packed(examples: Sequence[ConceptExamples], settings: ExtractionSettings) -> Path:
    """The examples as `readout-ui extract` writes them, in a zip."""
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as place:
        folder = Path(place)
        write_examples(folder, examples, asdict(settings))
        files = {
            str(path.relative_to(folder).as_posix()): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    target = Path(tempfile.mkdtemp(dir=scratch_folder())) / "examples.zip"
    write_file(target, zip_bytes(files))
    return target


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


SHOWN_CONCEPTS, SHOWN_PROBLEMS = 20, 5


def draw_memories(extraction: Extraction, problems: Sequence[str]) -> str:
    """Concepts by count, one memory as the model reads it, and tags that could not be read."""
    counts = extraction.counts()
    score = f"{extraction.settings.min_positive_score:g}"
    heads = ("Concept", f"Scored {score} or more: for", "Tagged at all", "Not mentioned: against")
    rows = [
        (escape(c.concept), f"{c.n_positive:,}", f"{c.n_tagged:,}", f"{c.n_negative:,}")
        for c in counts[:SHOWN_CONCEPTS]
    ]
    more = len(counts) - len(rows)
    rest = f"<p class='src-note'>and {more:,} more concepts</p>" if more > 0 else ""
    facts = (
        f"{len(extraction.nodes):,} memories are long enough; {extraction.n_short:,} are too "
        f"short, {extraction.n_repeated:,} say what another says."
    )
    first = sentence(f"The model reads: “{cut(extraction.nodes[0].text, MOST_SHOWN)}”", "src-note")
    warnings = "".join(sentence(each, "warning") for each in problems[:SHOWN_PROBLEMS])
    if len(problems) > SHOWN_PROBLEMS:
        warnings += sentence(f"and {len(problems) - SHOWN_PROBLEMS:,} more such tags", "src-note")
    about = f"<h3>{len(counts):,} concepts</h3>{sentence(facts, 'src-note')}"
    return f"{about}{table(heads, rows)}{rest}{first}{warnings}"
