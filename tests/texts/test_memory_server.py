"""Memory nodes from a real MCP server in another process."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from readout_ui.errors import UserError, visible
from readout_ui.texts import memory_connection, memory_pages
from readout_ui.texts.memory import parse_node
from readout_ui.texts.memory_pages import Page
from readout_ui.texts.memory_server import MemoryRequest, ServerLost, fetch_nodes
from tests.support import memory_server_process
from tests.support.memory_server import NODES, free_port, memory_server


@pytest.fixture(scope="module", params=["streamable-http", "sse"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with memory_server(request.param) as address:
        yield address


def fetched(request: MemoryRequest, **more: object) -> list[Page]:
    pages: list[Page] = []
    fetch_nodes(request, pages.append, **more)  # type: ignore[arg-type]
    return pages


def pairs(pages: list[Page]) -> list[tuple[str, str]]:
    return [(node.key, node.content) for page in pages for node in page.nodes]


@pytest.mark.parametrize("tool", ["", "list_nodes", "all_nodes", "slices"])
def test_every_node_comes_once_whatever_way_the_tool_pages(url: str, tool: str) -> None:
    pages = fetched(MemoryRequest(url, tool=tool))
    assert pairs(pages) == NODES
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]


def test_a_fetch_goes_on_at_a_cursor(url: str) -> None:
    assert pairs(fetched(MemoryRequest(url), cursor="4")) == NODES[4:]


def test_nodes_that_are_known_are_not_fetched_by_key_again(url: str) -> None:
    request = MemoryRequest(url, tool="keys", node_tool="node")
    assert pairs(fetched(request)) == NODES
    assert pairs(fetched(request, known={"n0", "n2"})) == [NODES[1], *NODES[3:]]


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("nope", "no tool 'nope'; name one with --tool (options: list_nodes, all_nodes, slices"),
        ("broken", "the tool says: Error executing tool broken: the graph is locked"),
        ("more_without_cursor", "not complete, but the tool takes no cursor"),
    ],
)
def test_a_tool_that_gives_no_nodes_is_named(url: str, tool: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        fetched(MemoryRequest(url, tool=tool))
    assert said in str(raised.value)
    assert not isinstance(raised.value, ServerLost)


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_connection, "MAX_ANSWER_BYTES", 1_000_000)
    monkeypatch.setattr(memory_pages, "MAX_NODES", 20)


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("endless", "the server gives 4 pages without a new node"),
        ("more_and_more", "the server gives more than 20 nodes"),
        ("huge", "an answer of the server has more than 1 MB; ask for a part"),
        ("escaping", "the tool says: Error executing tool escaping: \\x1b[2Jgone and more"),
    ],
)
def test_a_server_without_end_or_manners_is_left_with_one_sentence(
    url: str, tool: str, said: str
) -> None:
    with pytest.raises(UserError) as raised:
        fetched(MemoryRequest(url, tool=tool, timeout=20))
    assert said in str(raised.value)
    assert str(raised.value).isprintable()


def test_what_would_move_the_cursor_is_shown_by_number(url: str) -> None:
    ((key, content),) = pairs(fetched(MemoryRequest(url, tool="escapes")))
    (problem,) = parse_node(key, content).problems
    assert visible(f"{key}: {problem}") == (
        "\\x1b]0;owned\\x07node: The tag calm:\\x1b[31m9 has no number, so it was left out."
    )


def test_observations_of_entities_are_nodes(url: str) -> None:
    assert pairs(fetched(MemoryRequest(url, tool="graph"))) == [
        ("Ann #1", "I rest by the river.\ncalm:9"),
        ("Ann #2", "He broke the cup.\nanger:8"),
    ]


PROGRAM = (sys.executable, str(Path(memory_server_process.__file__)), "0", "stdio")


def test_a_program_that_speaks_by_lines_is_a_server() -> None:
    assert pairs(fetched(MemoryRequest(command=PROGRAM))) == NODES


@pytest.mark.usefixtures("small_bounds")
def test_a_program_is_bounded_too() -> None:
    with pytest.raises(UserError, match="an answer of the server has more than 1 MB"):
        fetched(MemoryRequest(command=PROGRAM, tool="huge"))


def test_a_program_that_dies_or_is_missing_is_named() -> None:
    pages: list[Page] = []
    with pytest.raises(ServerLost, match="after 4 more nodes"):
        fetch_nodes(MemoryRequest(command=(*PROGRAM, "3")), pages.append)
    assert pairs(pages) == NODES[:4]
    with pytest.raises(UserError, match="no MCP server answers"):
        fetched(MemoryRequest(command=("no-such-program", "x")))
    with pytest.raises(UserError, match="no MCP server answers"):
        fetched(MemoryRequest(command=(sys.executable, "-c", "print('hello')")))


@pytest.mark.parametrize("transport", ["streamable-http", "sse"])
def test_a_server_that_dies_midway_is_noticed_and_what_came_before_was_handed_on(
    transport: str,
) -> None:
    pages: list[Page] = []
    with (
        memory_server(transport, die_at=3) as url,
        pytest.raises(ServerLost, match="after 4 more nodes"),
    ):
        fetch_nodes(MemoryRequest(url, timeout=20), pages.append)
    assert pairs(pages) == NODES[:4]
    assert pages[-1].cursor == "4"


def test_where_no_server_is_every_address_that_was_tried_is_said() -> None:
    with pytest.raises(UserError, match="no MCP server answers") as raised:
        fetched(MemoryRequest(f"http://127.0.0.1:{free_port()}"))
    assert "/mcp: " in str(raised.value)
    assert "/sse: " in str(raised.value)


@pytest.mark.parametrize("url", ["localhost:7777", "ftp://host", "", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="is no address of a server"):
        MemoryRequest(url)
