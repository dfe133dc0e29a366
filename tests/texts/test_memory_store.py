"""Fetched nodes survive whatever ends the program."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.texts.memory import StoredNode
from readout_ui.texts.memory_pages import NODES_FILE, NodeStore, open_store

SOURCE = {"url": "http://localhost:7777", "tool": ""}
NODES = [StoredNode(f"n{i}", f"Zeile {i} é\r\n\u2028 end\ncalm:{i}") for i in range(6)]


def fill(path: Path, start: int = 0) -> NodeStore:
    store = NodeStore(path, SOURCE)
    for i in range(start, 6, 2):
        store.add(NODES[i : i + 2], cursor=str(i + 2), is_last=i == 4)
    return store


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    fill(tmp_path / NODES_FILE)
    again = NodeStore(tmp_path / NODES_FILE, SOURCE)
    assert list(again.nodes.values()) == NODES
    assert (again.cursor, again.is_complete) == (None, True)


@settings(max_examples=40)  # every append waits for the disk
@given(st.data())
def test_cut_anywhere_the_fetch_goes_on_and_ends_with_all_nodes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("store") / NODES_FILE
    fill(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    store = NodeStore(path, SOURCE)
    assert list(store.nodes.values()) == NODES[: len(store.nodes)]
    assert len(store.nodes) >= int(store.cursor or 0)
    if not store.is_complete:
        fill(path, int(store.cursor or 0))
    again = NodeStore(path, SOURCE)
    assert list(again.nodes.values()) == NODES
    assert again.is_complete


def test_a_program_that_is_killed_loses_no_node_it_had_stored(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from readout_ui.texts.memory import StoredNode\n"
        "from readout_ui.texts.memory_pages import open_store\n"
        "with open_store(Path(sys.argv[1]), {}) as store:\n"
        "    for i in range(1_000_000):\n"
        "        store.add([StoredNode(str(i), 'text ' * 500)], cursor=str(i))\n"
        "        print(i, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for _ in range(20):
            stored = int(child.stdout.readline())
        child.kill()
    with open_store(tmp_path, {}) as store:
        assert len(store.nodes) > stored
        assert set(store.nodes) == {str(i) for i in range(len(store.nodes))}
        assert store.cursor in (str(len(store.nodes) - 1), str(len(store.nodes) - 2))


def test_nodes_of_another_source_are_not_mixed_in(tmp_path: Path) -> None:
    fill(tmp_path / NODES_FILE)
    with pytest.raises(UserError, match="holds nodes of url http://localhost:7777, tool as found"):
        NodeStore(tmp_path / NODES_FILE, {**SOURCE, "tool": "other"})


def test_two_programs_do_not_fetch_into_one_folder(tmp_path: Path) -> None:
    with (
        open_store(tmp_path, SOURCE),
        pytest.raises(UserError, match="another program is writing here"),
        open_store(tmp_path, SOURCE),
    ):
        pass


@pytest.mark.parametrize("line", ["{}", "nonsense", '{"key": "a", "content": "b"}', "\udcff"])
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, line: str) -> None:
    path = tmp_path / NODES_FILE
    path.write_bytes(f"{line}\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match="no file of fetched nodes"):
        NodeStore(path, SOURCE)
    assert path.read_bytes().decode("utf-8", "surrogateescape") == f"{line}\n"
