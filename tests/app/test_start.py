"""The flags of `app.py`, and what starting it must not do."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from readout_ui.app.start import parse_flags
from readout_ui.errors import UserError
from readout_ui.inference.gate import keep_off_proxies, listening
from tests.support.running_app import free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]


def printed(code: str) -> str:
    """What a new Python prints that runs this in the repository."""
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_by_default_only_this_machine_can_reach_the_app() -> None:
    flags = parse_flags([])
    assert (flags.host, flags.port, flags.auth) == ("127.0.0.1", 7860, None)
    assert not flags.open


def test_a_missing_description_folder_ends_in_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    folder, port = str(tmp_path / "none"), str(free_port())
    command = [sys.executable, "app.py", "--descriptions", folder, "--port", port]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "none" in run.stderr
    assert "Traceback" not in run.stderr


def test_building_the_page_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, app, readout_ui.app.page;"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert printed(code) == "[]"


def test_building_the_page_waits_for_neither_scipy_nor_scikit_learn() -> None:
    """Together they take longer to import than the page may take to answer."""
    code = (
        "import sys, app, readout_ui.app.page; print({'scipy.stats', 'sklearn'} & set(sys.modules))"
    )
    assert printed(code) == "set()"


def test_flags_are_checked_before_gradio_is_imported() -> None:
    code = (
        "import sys; from readout_ui.app.start import parse_flags, read_access;"
        "read_access(parse_flags([])); print('gradio' in sys.modules)"
    )
    assert printed(code) == "False"


def test_gradio_writes_no_stub_file_for_each_component_at_every_start() -> None:
    code = (
        "from readout_ui.app.start import _import_gradio; _import_gradio(with_tools=False);"
        "import gradio.component_meta as meta; print(meta.create_or_modify_pyi.__name__)"
    )
    assert printed(code) == "write_no_stub"


def test_the_app_starts_behind_a_proxy_and_a_second_one_says_that_the_port_is_taken(
    tmp_path: Path, descriptions: Path
) -> None:
    port, output = free_port(), tmp_path / "log"
    command = [sys.executable, "app.py", "--port", str(port), "--runs", str(tmp_path / "runs")]
    command += ["--descriptions", str(descriptions), "--model", str(tmp_path / "none")]
    dead = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "ALL_PROXY", "HTTP_PROXY"), dead)
    kept = {name: value for name, value in os.environ.items() if "no_proxy" not in name.lower()}
    environment = {**kept, **proxies, "PYTHONIOENCODING": "ascii"}
    with output.open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)
        try:
            wait_for(f"http://127.0.0.1:{port}/", process, output)
            second = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False
            )
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    assert second.returncode == 2
    assert second.stderr.strip() == (
        f"--port: port {port} is taken by another program; choose another port."
    )
    assert f"http://127.0.0.1:{port}/" in output.read_text()
    assert "Traceback" not in output.read_text()


def test_what_cannot_be_listened_on_is_said_in_a_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match="is taken"), listening("127.0.0.1", port):
            pass
    for host in ("no such host", "203.0.113.7", "a" * 300):
        with pytest.raises(UserError, match="--host"), listening(host, 0):
            pass
    with listening("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0


def test_what_the_environment_says_of_proxies_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "intranet.example")
    monkeypatch.delenv("NO_PROXY", raising=False)
    keep_off_proxies("box.lan")
    keep_off_proxies("box.lan")
    own = "127.0.0.1,localhost,::1,box.lan"
    assert os.environ["no_proxy"] == f"intranet.example,{own}"
    assert os.environ["NO_PROXY"] == own
