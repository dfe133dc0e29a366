"""What axe-core finds on a page against WCAG 2.2, levels A and AA."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
RUN = """async ([type, values, within]) => {
  const only = { runOnly: { type, values }, resultTypes: ["violations"], preload: false };
  const found = await axe.run(within, only);
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


def violations(page: Page, *within: str, rules: Sequence[str] = ()) -> dict[str, list[str]]:
    """Where each rule is broken, by the rule's name, on the page or in some elements of it.

    Args:
        page: what is looked at.
        within: selectors of the elements; none for the whole page.
        rules: names of the only rules to ask, by default all of `TAGS`.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(script())
    wanted = ["rule", [*rules]] if rules else ["tag", TAGS]
    found: Any = page.evaluate(RUN, [*wanted, list(within) or "body"])
    return dict(found)
