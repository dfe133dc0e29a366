"""The command line as a person or a script meets it: answers, exit status, and one sentence."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from readout_ui import __version__
from readout_ui.cli.program import app, run
from readout_ui.runs.export import READOUT_FILES
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore
from tests.support.architectures import build, tiny_tokenizer
from tests.support.trained_example import make_run

ROOT = Path(__file__).parents[2]
COMMANDS = (
    *("train", "read", "check", "export", "models", "cache"),
    *("evaluate", "report", "compare", "verify", "serve", "steer"),
    *("extract", "train-stories", "train-examples", "train-pairs", "geometry", "lens"),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with three layers, as a folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    build("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def trained(tiny: Path, descriptions: Path, tmp_path: Path) -> Path:
    """An export of the tiny model."""
    assert run(train_arguments(tiny, descriptions, tmp_path / "out")) == 0
    return tmp_path / "out"


def train_arguments(tiny: Path, descriptions: Path, output: Path, *more: str) -> list[str]:
    return [
        *("train", "--descriptions", str(descriptions), "--output", str(output)),
        *("--model", str(tiny), "--device", "cpu", "--dtype", "fp32", *more),
    ]


def test_a_training_with_nothing_new_takes_the_known_one_without_torch(
    trained: Path, tiny: Path, descriptions: Path, tmp_path: Path
) -> None:
    again, runs = tmp_path / "again", tmp_path / "runs"
    arguments = train_arguments(tiny, descriptions, again, "--runs", str(runs))
    code = (
        "import sys; from readout_ui.cli.program import run; "
        f"print(run({arguments!r}), 'torch' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.stdout.splitlines()[-1] == "0 False", told.stderr
    for name in READOUT_FILES:
        assert (again / name).read_bytes() == (trained / name).read_bytes(), name
    kept = RunStore(runs).current()
    assert kept is not None
    assert kept.vectors.concepts == Run.open(trained).vectors.concepts
    assert kept.texts["calm"] == tuple(
        (descriptions / "calm.txt").read_text().strip().split("\n\n")
    )


@pytest.mark.parametrize("what", ["text", "setting", "model", "damage"])
def test_a_training_is_done_again_when_anything_that_decides_it_changed(
    trained: Path,
    tiny: Path,
    descriptions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    counted: list[str] = []
    from readout_ui.runs import training

    whole = training.train

    def counting(*given: Any) -> Run:
        counted.append("train")
        return whole(*given)

    monkeypatch.setattr(training, "train", counting)
    more: tuple[str, ...] = ()
    if what == "text":
        (descriptions / "calm.txt").write_text("I feel calm.\n\nMy breath is slow.\n")
    elif what == "setting":
        more = ("--method", "mean")
    elif what == "model":
        os.utime(tiny / "config.json")
    else:
        (kept,) = (Path(os.environ["READOUT_UI_CACHE"]) / "trainings").glob("*/export/readout.json")
        kept.write_text("{}")
    assert run(train_arguments(tiny, descriptions, trained, *more)) == 0
    assert counted == ["train"]
    assert run(train_arguments(tiny, descriptions, trained, *more)) == 0
    assert counted == ["train"]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "readout_ui", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# Help


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from readout_ui.cli.program import run\n"
        f"for command in [[], *([name] for name in {COMMANDS!r})]:\n"
        "    status = run([*command, '--help'])\n"
        "    heavy = {'torch', 'transformers', 'gradio', 'numpy', 'pandas', 'plotly'}\n"
        "    assert status == 0 and not heavy & {*sys.modules}, (command, heavy & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: readout-ui") == len(COMMANDS) + 1


def test_the_commands_of_the_readme_are_there() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    for command in COMMANDS:
        assert f"\n  {command}" in text


def test_the_flags_of_the_seed_trainer_are_there() -> None:
    text = CliRunner().invoke(app, ["train", "--help"]).stdout
    for flag in (
        *("--model", "--direct-dir", "--target-layers", "--output-dir", "--dtype", "--batch-size"),
        *("--max-length", "--device", "--max-negatives-per-positive"),
    ):
        assert flag in text


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "nope"),
        (["train"], "--descriptions"),
        (["train", "--descriptions", "{dir}"], "--output"),
        (["train", "--descriptions", "{tmp}/none", "--output", "{tmp}/o"], "none"),
        (["train", "--descriptions", "{dir}", "--output", "{tmp}/o", "--seed", "x"], "--seed"),
        (["train", "--descriptions", "{dir}", "--output", "{tmp}/o", "--seed", "-1"], "seed"),
        (["train", "--descriptions", "{dir}", "--output", "{tmp}/o", "--method", "x"], "logistic"),
        (
            ["train", "--descriptions", "{dir}", "--output", "{tmp}/o", "--read", "x"],
            "content_tail",
        ),
        (["train", "--descriptions", "{dir}", "--output", "{tmp}/o", "--dtype", "int8"], "bf16"),
        (["train", "--descriptions", "{dir}", "--output", "{tmp}/o", "--layers", "a"], "14,22"),
        (["train", "--descriptions", "{dir}", "--output", "{tmp}/o", "--layer-type", "x"], "mlp"),
        (
            ["train", "--descriptions", "{dir}", "--output", "{tmp}/o", "--quantization", "1"],
            "8bit",
        ),
        (
            ["train", "--descriptions", "{dir}", "--output", "{tmp}/o", "--layer-config", "x"],
            "mlp=",
        ),
        (["train", "--descriptions", "{dir}", "--output", "{dir}"], "not an earlier export"),
        (["train", "--descriptions", "{tmp}", "--output", "{tmp}/o"], "no concepts"),
        (["read", "--vectors", "{tmp}/none", "hello"], "no such file"),
        (["read", "--vectors", "{tmp}", "hello"], "readout.json"),
        (["read", "--vectors", "{tmp}", " "], "nothing to read"),
        (["read", "--vectors", "{tmp}", "hello", "--json", "--csv"], "choose one"),
        (["read", "--vectors", "{tmp}", "hello", "--top", "0"], "--top"),
        (["check", "{tmp}/none"], "none"),
        (["check"], "DIR"),
        (["export", "--runs", "{tmp}/none", "--output", "{tmp}/o"], "no run is in use"),
        (["export", "--runs", "{tmp}", "--run", "../x", "--output", "{tmp}/o"], "there is no run"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_status_2(
    arguments: list[str],
    said: str,
    descriptions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    given = [a.replace("{dir}", str(descriptions)).replace("{tmp}", str(empty)) for a in arguments]
    assert run(given) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    assert said in shown.err


def test_a_mistake_shows_no_traceback_in_a_shell(tmp_path: Path) -> None:
    done = python("check", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_with_status_130_and_no_traceback() -> None:
    script = (
        "import os, signal, sys; from readout_ui.cli import program as cli, read as cli_read;"
        # A test run in the background of a shell is started with Ctrl+C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "cli_read.text_of = lambda _text: os.kill(os.getpid(), signal.SIGINT);"
        "sys.exit(cli.run(['read', '--vectors', 'x', 'y']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "Stopped.\n")


def test_a_reader_that_leaves_early_is_no_error(descriptions: Path) -> None:
    (descriptions / "sad.txt").write_text("Sad.\n\n" * 2000)
    script = f"{sys.executable} -m readout_ui check {descriptions} --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("{", "")


# Training


def test_training_writes_an_export_that_loads(tiny: Path, trained: Path) -> None:
    loaded = Run.open(trained)
    assert loaded.vectors.concepts == ("afraid", "angry", "calm", "happy")
    assert loaded.manifest.model.id == tiny.name
    assert loaded.manifest.layers == (loaded.manifest.metrics.best_layer,)
    assert sorted(file.name for file in trained.iterdir()) == sorted(READOUT_FILES)


def test_training_prints_a_table_of_what_was_done(
    tiny: Path, descriptions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train_arguments(tiny, descriptions, tmp_path / "out")) == 0
    shown = capsys.readouterr().out
    for word in ("afraid", "texts", "layers", "best layer", "seconds", str(tmp_path / "out")):
        assert word in shown


def test_a_pipe_gets_nothing_but_the_answer(tiny: Path, descriptions: Path, tmp_path: Path) -> None:
    done = python(*train_arguments(tiny, descriptions, tmp_path / "out", "--json"))
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert answer["concepts"] == {"afraid": 3, "angry": 3, "calm": 3, "happy": 3}
    assert answer["n_texts"] == 16
    assert answer["output"] == str(tmp_path / "out")


def test_the_seed_trainers_spelling_gives_the_same_files(
    tiny: Path, descriptions: Path, tmp_path: Path
) -> None:
    assert run(train_arguments(tiny, descriptions, tmp_path / "one", "--layers", "0,-1")) == 0
    seed = ["train", "--direct-dir", str(descriptions), "--output-dir", str(tmp_path / "two")]
    more = ["--target-layers", "0,-1", "--model", str(tiny), "--device", "cpu", "--dtype", "fp32"]
    assert run([*seed, *more]) == 0
    for name in READOUT_FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert Run.open(tmp_path / "two").manifest.layers == (0, 2)


def test_two_processes_without_a_common_cache_write_the_same_bytes(
    tiny: Path, descriptions: Path, tmp_path: Path
) -> None:
    methods = ("mean", "pca", "logistic")
    for name in ("one", "two"):
        folder = tmp_path / name
        common = ("--layers", "all", "--runs", str(folder / "runs"))
        commands = [
            train_arguments(tiny, descriptions, folder / m, "--method", m, *common) for m in methods
        ]
        script = f"from readout_ui.cli.program import run; print([run(c) for c in {commands!r}])"
        environment = {
            "READOUT_UI_CACHE": str(folder / "cache"),
            "PYTHONHASHSEED": str(ord(name[0])),
        }
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.endswith("[0, 0, 0]\n"), done.stderr
    for method in methods:
        for file in READOUT_FILES:
            one, two = (tmp_path / name / method / file for name in ("one", "two"))
            assert one.read_bytes() == two.read_bytes()
    first, second = (RunStore(tmp_path / name / "runs").list() for name in ("one", "two"))
    assert len(first) == len(methods)
    for old, new in zip(first, second, strict=True):
        for file in ("vectors.safetensors", "manifest.json", "descriptions.json"):
            one, two = (tmp_path / name / "runs" for name in ("one", "two"))
            assert (one / old.id / file).read_bytes() == (two / new.id / file).read_bytes()


def test_a_zip_is_written_where_the_name_asks_for_one(
    tiny: Path, descriptions: Path, tmp_path: Path
) -> None:
    assert run(train_arguments(tiny, descriptions, tmp_path / "out.zip")) == 0
    assert Run.open(tmp_path / "out.zip").manifest.model.id == tiny.name


def test_a_layer_the_model_lacks_is_refused_with_the_range(
    tiny: Path, descriptions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train_arguments(tiny, descriptions, tmp_path / "out", "--layers", "9")) == 2
    assert "layers 0 to 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# Kept runs


def test_a_run_that_was_kept_can_be_exported_again(
    tiny: Path, descriptions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = str(tmp_path / "runs")
    more = ("--layers", "all", "--runs", runs)
    assert run(train_arguments(tiny, descriptions, tmp_path / "one", *more)) == 0
    assert run(["export", "--runs", runs, "--output", str(tmp_path / "two")]) == 0
    for name in READOUT_FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    capsys.readouterr()


def test_an_export_takes_some_concepts_and_layers(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    run_id = store.save(make_run()).id
    arguments = ["export", "--runs", str(store.folder), "--run", run_id]
    chosen = ["--concepts", "sad, calm", "--layers", "-1", "--output", str(tmp_path / "out.zip")]
    assert run([*arguments, *chosen]) == 0
    manifest = Run.open(tmp_path / "out.zip").manifest
    assert manifest.concepts == ("sad", "calm")
    assert manifest.layers == (3,)


def test_an_export_of_changed_texts_is_refused_by_name_unless_allowed(
    descriptions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore(tmp_path / "runs")
    run_id = store.save(make_run()).id
    arguments = [
        *("export", "--runs", str(store.folder), "--run", run_id),
        *("--descriptions", str(descriptions), "--output", str(tmp_path / "out")),
    ]
    assert run(arguments) == 2
    assert "changed since training: _baseline, _neutral, afraid" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run([*arguments, "--allow-changed"]) == 0


# Reading


def read_arguments(tiny: Path, trained: Path, *more: str) -> list[str]:
    return ["read", "--vectors", str(trained), "--model", str(tiny), "--device", "cpu", *more]


def test_a_text_is_read_as_a_table(
    tiny: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(read_arguments(tiny, trained, "I feel calm and warm", "--top", "2")) == 0
    title, header, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith("layer ")
    assert len(header.split()) == 3
    assert len(rows) > 3
    assert all(row.split()[-1][0] in "+-" for row in rows)


def test_json_has_every_token_layer_and_concept(
    tiny: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(read_arguments(tiny, trained, "I feel calm", "--json")) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert answer["concepts"] == ["afraid", "angry", "calm", "happy"]
    assert len(answer["scores"]) == len(answer["tokens"]) == len(answer["roles"])
    assert len(answer["scores"][0]) == len(answer["layers"])
    assert len(answer["scores"][0][0]) == 4
    assert answer["scored"][0] is False


def test_stdin_and_csv_work_in_a_pipe(tiny: Path, trained: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "readout_ui", *read_arguments(tiny, trained, "-", "--csv")],
        cwd=ROOT,
        input="I feel calm",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["concept"] for row in rows} == {"afraid", "angry", "calm", "happy"}
    assert {"position", "token", "layer", "z", "cosine", "raw"} <= set(rows[0])


def test_another_model_is_refused(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run().export(tmp_path / "foreign")
    assert run(read_arguments(tiny, tmp_path / "foreign", "I feel calm")) == 2
    assert "the vectors have 64 numbers, tiny-llama has 32" in capsys.readouterr().err


def test_the_table_shows_only_the_tokens_of_the_text(
    tiny: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for mode, text in (("assistant", "I feel calm"), ("user", "I feel calm"), ("raw", "calm")):
        capsys.readouterr()
        assert run(read_arguments(tiny, trained, text, "--as", mode)) == 0
        tokens = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
        shown = "".join(tokens).replace("·", " ").strip()
        # The first token of all is never scored, and in a raw prompt that is the text's own.
        assert text.endswith(shown) if mode == "raw" else shown == text


def test_vectors_of_a_model_in_a_folder_ask_for_the_folder(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["read", "--vectors", str(trained), "I feel calm"]) == 2
    assert "tiny-llama, a local folder; name the folder with --model" in capsys.readouterr().err


def test_an_unknown_layer_score_or_mode_is_refused_with_the_options(
    tiny: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, said in (
        (("--layers", "7"), "layer 7 was not trained"),
        (("--layers", "x"), "cannot read layers"),
        (("--score", "x"), "z, cosine, raw"),
        (("--as", "x"), "assistant, user, raw"),
    ):
        capsys.readouterr()
        assert run(read_arguments(tiny, trained, "I feel calm", *more)) == 2
        assert said in capsys.readouterr().err


# Lists


def test_good_descriptions_pass_the_check() -> None:
    result = CliRunner().invoke(app, ["check", str(ROOT / "descriptions")])
    assert result.exit_code == 0
    assert "36 concepts" in result.stdout


def test_an_unreadable_file_is_an_error_and_exit_status_1(
    descriptions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (descriptions / "sad.txt").write_bytes(b"I feel sad\xff.")
    assert run(["check", str(descriptions)]) == 1
    assert "sad.txt: error:" in capsys.readouterr().out
    assert run(["check", str(descriptions), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert ("sad.txt", "error") in {(f["concept"], f["severity"]) for f in findings}


def test_models_of_the_hubs_cache_are_listed_beside_the_bundled_one(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--some--model" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (snapshot / "model.safetensors").write_bytes(b"12345")
    done = python("models", "--json", HF_HUB_CACHE=str(tmp_path))
    bundled, cached = json.loads(done.stdout)["models"]
    assert (bundled["name"], bundled["source"]) == ("SmolLM2-135M-Instruct", "bundled")
    assert (cached["name"], cached["source"]) == ("some/model", "hub cache")
    assert "some/model" in python("models", HF_HUB_CACHE=str(tmp_path)).stdout


def test_a_machine_without_a_hub_cache_lists_the_bundled_model(tmp_path: Path) -> None:
    done = python("models", HF_HUB_CACHE=str(tmp_path / "none"))
    assert done.returncode == 0
    assert done.stderr == ""
    assert "SmolLM2-135M-Instruct" in done.stdout


def test_the_cache_says_what_it_holds_and_can_be_emptied(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["cache"]) == 0
    assert "16 texts" in capsys.readouterr().out
    assert run(["cache", "--clear"]) == 0
    said = capsys.readouterr().out
    assert "Forgot 16 texts" in said
    assert " and 1 known training (" in said
    assert "0 known trainings" in said
    assert run(["cache", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["entries"] == told["trainings"] == told["training_bytes"] == 0
    assert not [*(Path(os.environ["READOUT_UI_CACHE"]) / "trainings").rglob("*.safetensors")]


# The real model


def test_the_bundled_model_is_trained_and_read_from_end_to_end(
    descriptions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("READOUT_UI_CACHE")
    arguments = ["train", "--descriptions", str(descriptions), "--output", str(tmp_path / "out")]
    assert run([*arguments, "--layers", "20", "--device", "cpu"]) == 0
    capsys.readouterr()
    text = "They lied to me and I want to shout at them."
    assert run(["read", "--vectors", str(tmp_path / "out"), text, "--json", "--device", "cpu"]) == 0
    answer = json.loads(capsys.readouterr().out)
    spoken = [i for i, role in enumerate(answer["roles"]) if role == "assistant"]
    mean = {
        concept: sum(answer["scores"][i][0][k] for i in spoken) / len(spoken)
        for k, concept in enumerate(answer["concepts"])
    }
    assert max(mean, key=lambda concept: mean[concept]) == "angry"


@pytest.mark.parametrize(
    ("more", "key", "refused"),
    [([], "", True), (["--open"], "", False), ([], "x", False), (["--api-key", "x"], "", False)],
)
def test_serve_lets_nobody_in_by_mistake(
    more: list[str],
    key: str,
    refused: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("READOUT_API_KEY", key)
    assert run(["serve", "--host", "0.0.0.0", "--vectors", str(tmp_path / "none"), *more]) != 0
    told = "everybody who reaches 0.0.0.0 could use this server" in capsys.readouterr().err
    assert told == refused
