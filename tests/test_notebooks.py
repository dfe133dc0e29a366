"""The notebooks of docs/ run from their first cell to their last."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
MOST_CELLS = 25


def cells_of(notebook: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return cells


def test_there_are_two() -> None:
    assert [notebook.name for notebook in NOTEBOOKS] == ["notebook.ipynb", "pairs.ipynb"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_short_and_stored_without_outputs(notebook: Path) -> None:
    cells = cells_of(notebook)
    assert len(cells) <= MOST_CELLS
    assert cells[0]["cell_type"] == "markdown"
    assert all(not cell.get("outputs") for cell in cells)
    assert all(cell.get("execution_count") is None for cell in cells)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_and_what_it_ends_with_can_be_shown(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells_of(notebook), start=1):
        if cell["cell_type"] == "code":
            shown = run_cell("".join(cell["source"]), f"{notebook.name}, cell {number}", names)
            assert show(shown)


def run_cell(code: str, where: str, names: dict[str, Any]) -> Any:
    """Run the statements, and give the value of the last expression as a notebook does."""
    tree = ast.parse(code, where)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(tree, where, "exec"), names)
        return ""
    exec(compile(ast.Module(tree.body[:-1], []), where, "exec"), names)
    return eval(compile(ast.Expression(last.value), where, "eval"), names)


def show(value: Any) -> str:
    """What a notebook would paint: HTML where the value has it, else its repr."""
    paint = getattr(value, "_repr_html_", None)
    return str(paint() if paint else repr(value))
