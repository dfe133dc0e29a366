"""What axe-core finds on a page against WCAG 2.2, levels A and AA."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
RUN = """async ([tags, within]) => {
  const found = await axe.run(within, { runOnly: { type: "tag", values: tags } });
  return found.violations.map(({ id, nodes }) =>
    [id, nodes.map((node) => `${node.target.join(" ")} ${node.html}`.slice(0, 260))]);
}"""


@cache
def script() -> str:
    """axe-core's own script, from the package that carries it; the package is not imported."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page, *within: str) -> dict[str, list[str]]:
    """Where each rule is broken, by the rule's name, on the page or in some elements of it."""
    page.evaluate(script())
    found: Any = page.evaluate(RUN, [TAGS, list(within) or "body"])
    return dict(found)
