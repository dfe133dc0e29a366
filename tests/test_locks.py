"""The locked versions are exact, whole and within the ranges that the package declares."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = {lane: ROOT / ".ci" / f"{lane}.lock" for lane in ("plain", "docs", "vllm", "vllm-more")}
LOCKS["first"] = ROOT / ".ci" / "latest.lock"
BOTH = ("requirements.txt", "tests/requirements.txt")
NEEDED = {"first": BOTH, "plain": BOTH, "docs": ("docs/requirements.txt",)}
NEEDED |= {"vllm": (), "vllm-more": ()}  # vLLM's own list is longer than what it imports
WITHOUT_DEPENDENCIES = {"first": {"steering-vectors"}}
pytestmark = pytest.mark.once


def locked(lane: str) -> dict[str, str]:
    """Version by package; every line has to be `name==version` and nothing else."""
    lines = LOCKS[lane].read_text().splitlines()
    assert re.fullmatch(rf"# Exact versions of the {lane} lane, .* with Python 3\.\d+.*", lines[0])
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)", line) for line in lines[1:]]
    assert all(pins)
    return {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}


def asked_for(file: str) -> list[Requirement]:
    lines = (ROOT / file).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("lane", LOCKS)
def test_every_requirement_has_one_exact_version_within_its_range(lane: str) -> None:
    pins = locked(lane)
    for wanted in [each for file in NEEDED[lane] for each in asked_for(file)]:
        name = canonicalize_name(wanted.name)
        if name in WITHOUT_DEPENDENCIES.get(lane, ()):
            assert name not in pins
            assert [spec.operator for spec in wanted.specifier] == ["=="]
        else:
            assert wanted.specifier.contains(pins[name]), wanted


def test_both_lanes_differ_in_transformers_and_agree_on_torch() -> None:
    first, plain = locked("first"), locked("plain")
    assert (first["transformers"][0], plain["transformers"][0]) == ("5", "4")
    assert first["torch"] == plain["torch"] == "2.13.0"
    assert "llama-cpp-python" not in {**first, **plain}
