"""Code blocks of the README and of the pages in docs/, so that tests run what a reader copies."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def code_blocks(language: str, pages: tuple[Path, ...] = PAGES) -> list[str]:
    """All fenced blocks of one language, the README's first, then page by page."""
    fenced = re.compile(rf"^```{language}\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
    return [code for page in pages for code in fenced.findall(page.read_text(encoding="utf-8"))]


def readme_loader() -> dict[str, Any]:
    """The namespace that the loader's block defines."""
    block = next(code for code in code_blocks("python") if "def z_scores" in code)
    namespace: dict[str, Any] = {}
    exec(compile(block, "docs/formats.md", "exec"), namespace)
    return namespace
