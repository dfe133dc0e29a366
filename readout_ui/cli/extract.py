"""The command that makes training examples of a memory graph: extract."""

from __future__ import annotations

import json as json_module
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import AsJson
from readout_ui.cli.output import as_json, progress_report, table
from readout_ui.errors import UserError, visible
from readout_ui.vectors.settings import split_names

if TYPE_CHECKING:
    from readout_ui.texts.examples import ConceptExamples, Extraction, ExtractionSettings
    from readout_ui.texts.memory import MemoryNode, StoredNode
    from readout_ui.texts.memory_server import MemoryRequest

SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Nodes:
    """Where memory nodes are."""

    memory_mcp_url: Annotated[
        str, typer.Option(metavar="URL", help="An MCP server, such as http://localhost:7777.")
    ] = ""
    memory_mcp_command: Annotated[
        str,
        typer.Option(metavar="COMMAND", help='Or one that is started here, such as "npx ...".'),
    ] = ""
    jsonl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Or a dump with one JSON object per line.")
    ] = None
    sqlite: Annotated[Path | None, typer.Option(metavar="FILE", help="Or a database.")] = None
    tool: Annotated[
        str, typer.Option(metavar="NAME", help="The server's tool that gives nodes or their keys.")
    ] = ""
    node_tool: Annotated[
        str, typer.Option(metavar="NAME", help="Its tool that gives one node, by key.")
    ] = ""
    tool_arguments: Annotated[
        str, typer.Option(metavar="JSON", help='Further arguments, such as {"limit": 100}.')
    ] = ""
    sql_table: Annotated[
        str, typer.Option("--table", metavar="NAME", help="The database's table; else found.")
    ] = ""
    text_column: Annotated[
        str, typer.Option(metavar="NAME", help="Column or field of the texts; else found.")
    ] = ""
    key_column: Annotated[
        str, typer.Option(metavar="NAME", help="Column or field of the keys; else found.")
    ] = ""

    def __post_init__(self) -> None:
        sources = (self.memory_mcp_url, self.memory_mcp_command, self.jsonl, self.sqlite)
        if sum(map(bool, sources)) != 1:
            raise UserError(
                "name one source of nodes",
                options=("--memory-mcp-url", "--memory-mcp-command", "--jsonl", "--sqlite"),
            )

    @property
    def on_server(self) -> bool:
        """Whether a server gives them."""
        return bool(self.memory_mcp_url or self.memory_mcp_command)

    def read(self, folder: Path | None, stored: bool, refresh: bool) -> Iterable[StoredNode]:
        """The nodes; those of a server are kept in a folder, and not fetched again."""
        from readout_ui.texts.memory import Fields, read_jsonl, read_sqlite

        named = Fields(self.text_column, self.key_column)
        if self.jsonl is not None:
            return read_jsonl(self.jsonl, named)
        if self.sqlite is not None:
            return read_sqlite(self.sqlite, self.sql_table, named)
        from readout_ui.texts.memory_server import MemoryRequest

        assert folder is not None
        arguments = _arguments(self.tool_arguments)
        request = MemoryRequest(
            self.memory_mcp_url,
            self.tool,
            self.node_tool,
            arguments,
            named,
            command=_words(self.memory_mcp_command),
        )
        return _fetched(folder, request, stored, refresh)


@dataclass(frozen=True)
class Wanted:
    """What makes a node an example, and of which concepts."""

    min_positive_score: Annotated[
        float, typer.Option(help="A node is for a concept that it scores at least this.")
    ] = 8
    max_negative_mentions: Annotated[
        int, typer.Option(help="A node is against a concept that it mentions at most this often.")
    ] = 0
    min_content_chars: Annotated[
        int, typer.Option(help="Shorter texts are left out; tags do not count.")
    ] = 40
    max_examples_per_emotion: Annotated[
        int, typer.Option(help="Most examples on each side of a concept.")
    ] = 500
    concepts: Annotated[
        str, typer.Option(metavar="a,b", help="Which concepts; else all with both sides.")
    ] = ""
    top: Annotated[
        int | None,
        typer.Option(metavar="N", help="Only the N concepts with most positive examples."),
    ] = None
    seed: Annotated[int, typer.Option(help="Chooses among equal examples.")] = 0

    def settings(self) -> ExtractionSettings:
        """The thresholds."""
        from readout_ui.texts.examples import ExtractionSettings

        names = [each.name for each in fields(ExtractionSettings)]
        return ExtractionSettings(**{name: getattr(self, name) for name in names})


def extract(
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output-dir", "--output", metavar="DIR", help="Folder of the examples."),
    ] = None,
    nodes: Nodes,
    wanted: Wanted,
    show_list: Annotated[
        bool, typer.Option("--list", help="Only list the concepts by count.")
    ] = False,
    stored: Annotated[
        bool, typer.Option("--stored", help="Use the nodes already fetched; ask no server.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the server from the beginning again.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Make examples for and against each concept from scored memory nodes."""
    settings = wanted.settings()
    if output is None and (nodes.on_server or not show_list):
        raise UserError("there is no folder to write to", fix="name one with --output-dir")
    found = nodes.read(output, stored, refresh)
    choice = (split_names(wanted.concepts) or [], wanted.top)
    _write(found, settings, None if show_list else output, choice, json)


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command, posix=os.name == "posix"))
    except ValueError as error:
        raise UserError(f"is no command ({error})", where="--memory-mcp-command") from None


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = json_module.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise UserError(f"--tool-arguments is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError("--tool-arguments is not a JSON object", options=('{"limit": 100}',))
    return value


def _fetched(folder: Path, request: MemoryRequest, stored: bool, refresh: bool) -> list[StoredNode]:
    """The server's nodes; those that an earlier command stored are not fetched again."""
    from readout_ui.texts.memory_pages import open_store
    from readout_ui.texts.memory_server import fetch_nodes

    source = {"url": request.where, "tool": request.tool, "node tool": request.node_tool}
    source |= {"arguments": json_module.dumps(request.arguments, sort_keys=True)}
    source |= {"text column": request.fields.text, "key column": request.fields.key}
    with open_store(folder, source) as store, progress_report() as report:
        if refresh or not (store.is_complete or stored):
            fetch_nodes(
                request,
                lambda page: store.add(page.nodes, page.cursor, page.is_last),
                cursor=None if refresh else store.cursor,
                known=store.nodes.keys(),
                report=report,
            )
        return list(store.nodes.values())


def _write(
    stored: Iterable[StoredNode],
    settings: ExtractionSettings,
    output: Path | None,
    choice: tuple[Sequence[str], int | None],
    json: bool,
) -> None:
    from readout_ui.texts.examples import chosen_concepts, prepare, write_examples
    from readout_ui.texts.lint_sources import lint_examples
    from readout_ui.texts.memory import parse_node

    nodes = [parse_node(node.key, node.content) for node in stored]
    extraction = prepare(nodes, settings)
    chosen: list[ConceptExamples] = []
    if output is not None:
        chosen = [extraction.examples(name) for name in chosen_concepts(extraction, *choice)]
        write_examples(output, chosen, asdict(settings))
    warnings = [*_problems(nodes), *lint_examples(chosen)]
    for warning in warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    show = _as_json if json else _as_text
    print(show(extraction, len(nodes), chosen, output))


def _problems(nodes: Sequence[MemoryNode]) -> Iterator[str]:
    found = [visible(f"{node.key}: {problem}") for node in nodes for problem in node.problems]
    yield from islice(found, SHOWN_PROBLEMS)
    if len(found) > SHOWN_PROBLEMS:
        yield f"and {len(found) - SHOWN_PROBLEMS} more such tags."


def _as_text(
    extraction: Extraction, n_nodes: int, chosen: Sequence[ConceptExamples], output: Path | None
) -> str:
    facts = f"{n_nodes} nodes, {extraction.n_short} too short, {extraction.n_repeated} repeated"
    if output is None:
        score = f"{extraction.settings.min_positive_score:g}"
        rows = [
            (c.concept, str(c.n_positive), str(c.n_tagged), str(c.n_negative))
            for c in extraction.counts()
        ]
        shown = table(("concept", f"scored {score}+", "tagged", "without"), rows)
    else:
        counts = [(c.concept, str(len(c.positive)), str(len(c.negative))) for c in chosen]
        shown = table(("concept", "positive", "negative"), counts)
        facts += f"; {len(chosen)} concepts written to {output}"
    return f"{shown}\n{facts}"


def _as_json(
    extraction: Extraction, n_nodes: int, chosen: Sequence[ConceptExamples], output: Path | None
) -> str:
    return as_json(
        {
            "nodes": n_nodes,
            "short": extraction.n_short,
            "repeated": extraction.n_repeated,
            "concepts": [asdict(count) for count in extraction.counts()],
            "written": {
                c.concept: {"positive": len(c.positive), "negative": len(c.negative)}
                for c in chosen
            },
            "output": None if output is None else str(output),
        }
    )
