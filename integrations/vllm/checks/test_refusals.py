"""What cannot be served is refused when vLLM starts, in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import engines
import offline
import pytest
from test_offline import ONE_PROCESS


def test_vectors_of_another_model(
    served: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    export = shutil.copytree(served / "export", tmp_path / "export")
    manifest = json.loads((export / "readout.json").read_text())
    manifest["model"]["id"] = "makers/other"
    (export / "readout.json").write_text(json.dumps(manifest))
    extra = ONE_PROCESS | {"VLLM_READOUT_VECTORS": str(export)}
    arguments = (served, tmp_path / "rows", {})
    code, output = engines.run(offline.main, tmp_path / "log", environment | extra, *arguments)
    assert code == 1
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
