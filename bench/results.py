"""A benchmark's figures: printed as a table and kept as JSON with what they were measured on."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "steering-vectors")


@dataclass(frozen=True)
class Row:
    """One figure."""

    name: str
    value: float
    unit: str = ""
    goal: str = ""
    """What the figure is to reach, e.g. ">= 100"."""
    note: str = ""

    @property
    def verdict(self) -> str:
        """ "met" or "missed", empty without a goal."""
        if not self.goal:
            return ""
        sign, number = self.goal.split()
        met = self.value >= float(number) if sign == ">=" else self.value <= float(number)
        return "met" if met else "missed"


def publish(name: str, title: str, rows: Sequence[Row]) -> None:
    """Print the table and write `bench/results/{name}.json`."""
    print(f"\n{title}\n{machine()}")
    width = max(len(row.name) for row in rows)
    for row in rows:
        goal = f"goal {row.goal}: {row.verdict}" if row.goal else ""
        print(f"{row.name:<{width}}  {row.value:>10.4g} {row.unit:<4} {goal}  {row.note}".rstrip())
    FOLDER.mkdir(exist_ok=True)
    figures = [{**asdict(row), "verdict": row.verdict} for row in rows]
    record = {"title": title, "machine": machine(), "rows": figures}
    (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def machine() -> str:
    """Processor, thread count and package versions in one line."""
    import torch

    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"{platform.machine()}, {torch.get_num_threads()} threads, {packages}"
