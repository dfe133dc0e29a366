"""The README's code blocks, so that tests run what a reader would copy."""

import re
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[2] / "README.md"


def code_blocks(language: str) -> list[str]:
    """All fenced blocks of one language, in order."""
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def readme_loader() -> dict[str, Any]:
    """The namespace that the loader's block defines."""
    block = next(code for code in code_blocks("python") if "def z_scores" in code)
    namespace: dict[str, Any] = {}
    exec(compile(block, str(README), "exec"), namespace)
    return namespace
