"""Figures under the names a notebook calls."""

from __future__ import annotations

import subprocess
import sys

import pytest

from readout_ui import plots
from readout_ui.errors import UserError
from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.layers import sweep_means
from readout_ui.evaluation.redundancy import concept_map, redundancy
from readout_ui.evaluation.results import Crosstalk
from tests.support.planted_corpus import make_corpus


def test_results_have_figures_of_their_name() -> None:
    corpus = make_corpus((6,) * 4, strength=1.0, n_layers=2)
    found = Crosstalk(
        cosine_matrix(corpus, 1, 20),
        held_out_matrix(corpus, 1, 20),
        redundancy(corpus, 1, 20),
        concept_map(corpus, 1),
    )
    assert "cosine" in plots.crosstalk(found).data[0].hovertemplate
    assert "texts of" in plots.crosstalk(found, "score").data[0].hovertemplate
    assert "component 1" in plots.crosstalk(found, "map").layout.xaxis.title.text
    sweep = sweep_means([corpus])
    assert plots.layers(sweep, "c1").data[0].z.shape == (len(sweep.columns), 2)
    with pytest.raises(UserError, match="is no figure"):
        plots.crosstalk(found, "sine")


def test_the_names_load_neither_torch_nor_scipy() -> None:
    code = (
        "import sys, readout_ui.plots.directions, readout_ui.plots.directions\n"
        "import readout_ui.plots.new_texts, readout_ui.evaluation.results\n"
        "heavy = ('torch', 'transformers', 'scipy.stats', 'sklearn')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
