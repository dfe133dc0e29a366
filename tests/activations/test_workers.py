"""Texts read by the workers of a real Ray cluster of two processors on this machine."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings, by_length
from readout_ui.cli import program as cli
from readout_ui.errors import UserError
from readout_ui.models import workers
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.prompt import prompted
from readout_ui.models.workers import Cluster, SpreadModel, shares, spread_model
from readout_ui.progress import Cancelled, Progress, Report
from readout_ui.runs.run import Run
from readout_ui.texts.stories import Story
from readout_ui.vectors.pairs import with_prompts
from tests.conftest import SMALL_LIBRARY
from tests.support.stories import story_lines
from tests.support.tiny_model import save_tiny_model

ray: Any = pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[ray]"')
pytestmark = pytest.mark.once
SETTINGS = CaptureSettings()
TEXTS = [f"I feel {i}. {'The boats are empty. ' * (i % 7)}" for i in range(60)]


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("READOUT_UI_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def cluster(cache_folder: Path) -> Iterator[str]:
    """The address of a Ray with room for three workers; two of them are `spread`."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    started = ray.init(
        "local",
        num_cpus=3,
        num_gpus=0,
        object_store_memory=100 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield started.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(
        str(save_tiny_model(tmp_path_factory.mktemp("tiny"))), device="cpu", dtype="fp32"
    )


@pytest.fixture(scope="module")
def local(spec: ModelSpec) -> LoadedModel:
    return load_model(spec)


@pytest.fixture(scope="module")
def spread(spec: ModelSpec, cluster: str) -> Iterator[SpreadModel]:
    with spread_model(spec, Cluster(cluster, workers=2)) as model:
        yield model


def furthest(found: Any, expected: Any) -> float:
    """Largest difference of an activation from what it has to be, as a part of its length."""
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def process_of(_model: LoadedModel, *_shard: Any) -> int:
    return os.getpid()


def end(_model: LoadedModel, *_shard: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_read_what_one_process_reads_and_the_driver_loads_no_weights(
    spread: SpreadModel, local: LoadedModel
) -> None:
    keep = {TEXTS[3]: 4, TEXTS[8]: 2}
    told: list[Progress] = []
    found = read_activations(spread, TEXTS, SETTINGS, keep_tokens=keep, report=told.append)
    expected = read_activations(local, TEXTS, SETTINGS, keep_tokens=keep)
    assert furthest(found.pooled, expected.pooled) < 1e-5
    assert furthest(found.kept, expected.kept) < 1e-5
    assert (found.n_computed, found.n_cached) == (len(TEXTS), 0)
    counts = [each.done for each in told]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1], told[-1].total) == (0, len(TEXTS), len(TEXTS))
    assert len({done for done in counts if done}) >= 4  # as shards come, not all at the end
    raw = CaptureSettings("from:2", frame="none")
    again = read_activations(spread, TEXTS[:9], raw)
    assert furthest(again.pooled, read_activations(local, TEXTS[:9], raw).pooled) < 1e-5
    asked = [prompted("Well?", text) for text in TEXTS[:9]]
    answers = [read_activations(with_prompts(m), asked, SETTINGS) for m in (spread, local)]
    assert furthest(answers[0].pooled, answers[1].pooled) < 1e-5
    own = {"mine": "model.layers.{num}.mlp.up_proj"}
    assert spread.blocks("mine", own) == local.blocks("mine", own)
    assert spread.tokenizer.get_vocab() == local.tokenizer.get_vocab()
    assert "model" not in vars(spread)


def test_a_worker_that_dies_is_replaced_and_no_text_is_lost(
    spread: SpreadModel, local: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {pid for found in spread.spread(process_of, [()] * 12) if found for pid in found[1:]}
    victim = max(before)

    def kill(progress: Progress) -> None:
        if progress.done and victim in before:
            os.kill(victim, signal.SIGKILL)
            before.remove(victim)

    found = read_activations(spread, TEXTS, SETTINGS, report=kill)
    assert victim not in before
    assert furthest(found.pooled, read_activations(local, TEXTS, SETTINGS).pooled) < 1e-5
    after = {pid for found in spread.spread(process_of, [()] * 12) if found for pid in found[1:]}
    assert victim not in after
    monkeypatch.setattr(workers, "MOST_DEATHS", 2)
    with pytest.raises(UserError, match="2 workers ended one after the other"):
        list(spread.spread(end, [()]))
    assert read_activations(spread, TEXTS[:2], SETTINGS).n_computed == 2


def test_cancelling_keeps_what_was_read(spread: SpreadModel, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done:
            done.append(progress.done)
            raise Cancelled

    done: list[int] = []
    cache = ActivationCache(tmp_path)
    with pytest.raises(Cancelled):
        read_activations(spread, TEXTS, SETTINGS, cache, report=stop)
    found = read_activations(spread, TEXTS, SETTINGS, cache)
    cache.close()
    assert 0 < done[0] < len(TEXTS)
    assert (found.n_cached, found.n_computed) == (done[0], len(TEXTS) - done[0])


DRIVER = """
import json, os, signal, sys
from pathlib import Path
from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.models.loading import ModelSpec
from readout_ui.models.workers import Cluster, spread_model

folder, address, model, texts = sys.argv[1:]
cache = ActivationCache(Path(folder))

def report(progress):
    if progress.done > 20:
        cache.flush()
        print(progress.done, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

with spread_model(ModelSpec(model, device="cpu"), Cluster(address, workers=3)) as spread:
    read_activations(spread, json.loads(texts), CaptureSettings(), cache, report=report)
"""


def test_a_killed_driver_goes_on_where_it_was(
    cluster: str, spread: SpreadModel, local: LoadedModel, tmp_path: Path
) -> None:
    given = [str(tmp_path), cluster, spread.spec.model, json.dumps(TEXTS)]
    command = [sys.executable, "-c", DRIVER, *given]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    n_kept = int(killed.stdout)
    cache = ActivationCache(tmp_path)
    assert cache.summary().entries == n_kept
    found = read_activations(spread, TEXTS, SETTINGS, cache)
    assert (found.n_cached, found.n_computed) == (n_kept, len(TEXTS) - n_kept)
    assert cache.summary().entries == len(TEXTS)
    cache.close()
    assert furthest(found.pooled, read_activations(local, TEXTS, SETTINGS).pooled) < 1e-5


def ran(*command: Any) -> None:
    assert cli.run([str(each) for each in command]) == 0


def test_every_command_reads_its_texts_on_the_cluster(
    spread: SpreadModel,
    descriptions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Cluster] = []

    @contextmanager
    def ready(spec: ModelSpec, cluster: Cluster, _report: Report) -> Iterator[SpreadModel]:
        """The workers that are there, or this test would wait for others to start."""
        assert spec == spread.spec
        asked.append(cluster)
        yield spread

    monkeypatch.setattr(workers, "spread_model", ready)
    stories, texts = tmp_path / "stories.jsonl", tmp_path / "texts.txt"
    told = [Story(c, t, f"scene {i}") for c, s in SMALL_LIBRARY.items() for i, t in enumerate(s)]
    stories.write_text(story_lines(told))
    texts.write_text("\n\n".join(f"So: {t}" for s in SMALL_LIBRARY.values() for t in s))
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    for concept, some in SMALL_LIBRARY.items():
        (labelled / f"{concept}.txt").write_text("\n\n".join(f"So: {text}" for text in some))
    model = ["--model", spread.spec.model, "--device", "cpu", "--dtype", "fp32"]
    found: dict[str, Any] = {}
    for where in ([], ["--ray", "auto", "--gpus-per-model", "0"]):
        name = "there" if where else "here"
        monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / name))
        out = tmp_path / f"out-{name}"
        more = [*model, *where]
        ran("train", "--descriptions", descriptions, "--output", out / "texts", *more)
        ran("train-stories", stories, "--output", out / "stories", *more)
        pairs = ["--contrast-type", "irony", "--num-samples", "12", "--neutral", descriptions]
        ran("train-pairs", *pairs, "--output-dir", out / "pairs", *more)
        exports = [
            out / "texts",
            out / "stories",
            *(f for f in (out / "pairs").iterdir() if f.is_dir()),
        ]
        found[name] = [Run.open(export).vectors.directions.float() for export in exports]
        judged = ["evaluate", "--vectors", out / "texts", "--descriptions", descriptions, "--json"]
        capsys.readouterr()
        ran(*judged, "--texts", labelled, *more)
        found[f"auroc {name}"] = json.loads(capsys.readouterr().out)["macro"]["auroc"]["value"]
        ran("snippets", texts, "--vectors", out / "texts", "--top", 2, *more)
        rows = list(csv.reader(capsys.readouterr().out.splitlines()))[1:]
        found[f"places {name}"] = [(row[0], row[1]) for row in rows]
        found[f"strengths {name}"] = [float(row[2]) for row in rows]
    assert asked == [Cluster("auto", 0)] * 5
    for here, there in zip(found["here"], found["there"], strict=True):
        assert float((here - there).abs().max()) < 1e-3  # a step of what an export holds
    assert found["auroc here"] == pytest.approx(found["auroc there"], abs=1e-3)
    assert found["places here"] == found["places there"]
    assert found["strengths here"] == pytest.approx(found["strengths there"], abs=0.01)
    assert len(found["places here"]) >= 4
    assert "model" not in vars(spread)


def test_what_cannot_be_is_said_in_one_sentence(
    descriptions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    command = ["train", "--descriptions", str(descriptions), "--output", str(tmp_path / "out")]
    assert cli.run([*command, "--workers", "2"]) == 2
    assert "add --ray auto" in capsys.readouterr().err
    assert cli.run([*command, "--ray", "auto", "--workers", "0"]) == 2
    assert "--workers is 0; choose at least 1" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.run([*command, "--ray", "auto"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'pip install -e ".[ray]"' in said


def test_workers_fit_the_nodes() -> None:
    def node(gpus: int, cpus: int = 16, alive: bool = True) -> dict[str, Any]:
        return {"Alive": alive, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}}

    two = [node(8), node(8), node(8, alive=False)]
    assert shares(two, Cluster()) == (16, {"num_gpus": 1, "num_cpus": 1})
    assert shares(two, Cluster(gpus_per_model=4))[0] == 4
    assert shares([node(8), node(3)], Cluster(gpus_per_model=3))[0] == 3
    assert shares(two, Cluster(gpus_per_model=4, workers=3))[0] == 3
    assert shares([node(0), node(0)], Cluster()) == (2, {"num_cpus": 16})
    assert shares([node(0, 2)], Cluster(workers=2)) == (2, {"num_cpus": 1})
    with pytest.raises(UserError, match="no node of the cluster has 9 GPUs"):
        shares(two, Cluster(gpus_per_model=9))


def test_shards_hold_texts_of_similar_length() -> None:
    texts = ["a" * n for n in (1, 9, 5, 7, 3)]
    assert [[len(t) for t in some] for some in by_length(texts, 10, 3)] == [[9, 7], [5, 3, 1]]
    assert [len(some) for some in by_length(texts, 1e9, 2)] == [2, 2, 1]
