"""`import readout_ui as ro`: instant, typed, documented, and every example in it runs."""

import ast
import doctest
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import readout_ui as ro
from tests.conftest import SMALL_LIBRARY
from tests.support.readme_code import PAGES, code_blocks

if TYPE_CHECKING:
    from readout_ui.models.loading import LoadedModel

FACE = Path(ro.__file__)
EXAMPLES = [
    name for name in ro.__all__ if name not in ("__version__", "METHODS", "READ_RULES", "plots")
]
"""Names that have a docstring; that of a tuple or a dict is on the page of its room."""


def test_importing_it_loads_none_of_its_rooms() -> None:
    code = (
        "import sys, readout_ui as ro; dir(ro);"
        "heavy = ('torch', 'transformers', 'gradio', 'pandas', 'plotly', 'numpy', 'scipy');"
        "print([m for m in sys.modules if m in heavy or m.startswith('readout_ui.')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_texts_and_figures_need_no_torch() -> None:
    code = "import sys, readout_ui as ro; ro.Library; ro.plots; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_what_a_type_checker_sees_is_what_there_is() -> None:
    tree = ast.parse(FACE.read_text())
    typed = {
        alias.name: f"{node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("readout_ui")
        for alias in node.names
    }
    found = {name: f"readout_ui.{module}" for name, module in ro._HOME.items()}
    assert typed == {**found, "plots": "readout_ui"}
    assert sorted(ro.__all__) == sorted([*typed, "__version__"])
    assert dir(ro) == sorted(ro.__all__)
    assert (FACE.parent / "py.typed").is_file()


@pytest.mark.parametrize("name", ro.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(ro, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'readout_ui' has no attribute 'nope'"):
        ro.nope  # noqa: B018


@pytest.fixture(scope="module")
def names(
    bundled_model: "LoadedModel", tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What the examples use, in a folder of their own."""
    place = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        folder = Path("descriptions")
        folder.mkdir()
        for name, texts in SMALL_LIBRARY.items():
            (folder / f"{name}.txt").write_text("\n\n".join(texts) + "\n")
        readout = ro.train(ro.Library("descriptions"), bundled_model, layers="all")
        reading = readout.read("I did not expect to see you here!")
        public = {name: getattr(ro, name) for name in ro.__all__}
        own = {"ro": ro, "model": bundled_model, "readout": readout, "reading": reading}
        yield {**public, **own}


def examples_of(name: str) -> list[doctest.DocTest]:
    """The examples of a public name and of its methods."""
    value = getattr(ro, name)
    found = doctest.DocTestFinder(exclude_empty=True).find(value, name, module=False)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_run(name: str, names: dict[str, Any]) -> None:
    tests = examples_of(name)
    assert tests, f"{name} has no example"
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        test.globs.update(names)
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_what_a_notebook_shows_of_an_object_is_short(names: dict[str, Any]) -> None:
    readout = names["readout"]
    shown = [
        ro.Library("descriptions"),
        ro.Library("descriptions").concepts[0],
        names["model"],
        readout,
        readout.run,
        readout.run.vectors,
        readout.run.settings,
        names["reading"],
        ro.pairs("irony"),
    ]
    assert [repr(each) for each in shown if len(repr(each)) > 300] == []


def test_the_example_in_the_readme_runs(names: dict[str, Any]) -> None:
    example = next(code for code in code_blocks("python", PAGES[:1]) if "ro.train" in code)
    assert len(example.splitlines()) <= 10
    exec(compile(example, "README.md", "exec"), {})
    assert Path("control-vectors.zip").is_file()
