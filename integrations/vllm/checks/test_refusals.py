"""What cannot be served is refused when vLLM starts, in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent


def start(served: Path, environment: dict[str, str], **extra: str) -> str:
    """What an engine prints that does not start."""
    command = [sys.executable, HERE / "offline.py", served, "/dev/null"]
    environment = environment | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} | extra
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_vectors_of_another_model(
    served: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    export = shutil.copytree(served / "export", tmp_path / "export")
    manifest = json.loads((export / "readout.json").read_text())
    manifest["model"]["id"] = "makers/other"
    (export / "readout.json").write_text(json.dumps(manifest))
    output = start(served, environment, VLLM_READOUT_VECTORS=str(export))
    assert "the vectors were made with 'makers/other'" in output


def test_a_release_that_was_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    import vllm
    from readout_vllm import versions
    from readout_vllm.errors import ReadoutError

    versions.check()
    monkeypatch.setattr(vllm, "__version__", "9.9.0")
    with pytest.raises(ReadoutError, match=r"this is 9\.9\.0"):
        versions.check()


def test_a_build_without_a_name_that_is_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    from readout_vllm import versions
    from readout_vllm.errors import ReadoutError

    monkeypatch.setattr(versions, "NEEDED", ("vllm.outputs:RequestOutput.added",))
    with pytest.raises(ReadoutError, match=r"has no vllm\.outputs:RequestOutput\.added"):
        versions.check()


@pytest.mark.parametrize(
    ("parallel", "second", "said"),
    [
        ("decode_context_parallel_size", False, "context parallelism"),
        ("prefill_context_parallel_size", False, "context parallelism"),
        ("", True, "VLLM_READOUT_UNTESTED=1 to try it"),
    ],
)
def test_what_was_never_run(parallel: str, second: bool, said: str) -> None:
    from readout_vllm.errors import ReadoutError
    from readout_vllm.installing import refuse_unknown
    from readout_vllm.settings import Settings

    sizes = {f"{kind}_parallel_size": 1 for kind in ("decode_context", "prefill_context")}
    config = SimpleNamespace(**{**sizes, "pipeline_parallel_size": 1, parallel: 2})
    with pytest.raises(ReadoutError, match=said):
        refuse_unknown(config, second, Settings(Path("a"), Path("b")))
    if not parallel:
        refuse_unknown(config, second, Settings(Path("a"), Path("b"), untested=True))
