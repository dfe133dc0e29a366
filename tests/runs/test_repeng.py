"""Our control vectors in repeng itself, installed from PyPI into a folder of its own.

repeng 0.4.0 does not run on NumPy 2, so an older NumPy goes beside it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.trained_example import CONCEPTS, LAYERS, make_run

pytestmark = pytest.mark.once
READ = """
import json, sys
from repeng import ControlVector
vector = ControlVector.import_gguf(sys.argv[1])
print(json.dumps({layer: d.tolist() for layer, d in vector.directions.items()}))
"""


@pytest.fixture
def repeng(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "repeng"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run(
        [*command, "--target", str(folder), "repeng==0.4.0", "numpy==1.26.4"], check=True
    )
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_repeng_reads_the_directions_that_were_exported(
    tmp_path: Path, repeng: dict[str, str]
) -> None:
    trained = make_run()
    folder = trained.export(tmp_path / "out", format="gguf")
    read = subprocess.run(
        [sys.executable, "-c", READ, str(folder / "sad.gguf")],
        capture_output=True,
        text=True,
        check=True,
        env=repeng,
    )
    found = json.loads(read.stdout)
    row = CONCEPTS.index("sad")
    for column, layer in enumerate(LAYERS):
        expected = trained.vectors.directions[row, column].numpy()
        assert np.array_equal(np.array(found[str(layer)], np.float32), expected)
