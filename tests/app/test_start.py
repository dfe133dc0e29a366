"""The flags of `app.py`, and what starting it must not do."""

import subprocess
import sys
from pathlib import Path

import pytest

from readout_ui.app.start import login, parse_flags, warn_when_open
from readout_ui.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_by_default_only_this_machine_can_reach_the_app() -> None:
    flags = parse_flags([])
    assert (flags.host, flags.port, flags.auth) == ("127.0.0.1", 7860, None)


def test_a_login_is_user_and_password() -> None:
    assert login("anna:pass:word") == ("anna", "pass:word")
    assert login(None) is None


@pytest.mark.parametrize("auth", ["anna", "anna:", ":secret", ""])
def test_half_a_login_is_refused(auth: str) -> None:
    with pytest.raises(UserError, match="user:password"):
        login(auth)


@pytest.mark.parametrize(
    ("arguments", "warned"),
    [
        ([], False),
        (["--host", "0.0.0.0"], True),
        (["--host", "0.0.0.0", "--auth", "a:b"], False),
    ],
)
def test_an_app_open_to_the_network_without_a_login_warns(
    arguments: list[str], warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_when_open(parse_flags(arguments))
    assert ("without --auth" in capsys.readouterr().err) is warned


def test_a_missing_description_folder_ends_in_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "app.py", "--descriptions", str(tmp_path / "none")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "none" in run.stderr
    assert "Traceback" not in run.stderr


def test_building_the_page_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, app, readout_ui.app.page;"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_building_the_page_waits_for_neither_scipy_nor_scikit_learn() -> None:
    """Together they take longer to import than the page may take to answer."""
    code = (
        "import sys, app, readout_ui.app.page; print({'scipy.stats', 'sklearn'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"
