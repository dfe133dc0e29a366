from html.parser import HTMLParser

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.inference.reading import Reading, scored_tokens
from readout_ui.plots.colours import ColourScale
from readout_ui.plots.tokens import draw_strip

ALL_ROLES = ("template", "system", "user", "assistant")


class Strip(HTMLParser):
    """The tokens, titles and roles that a browser would find."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tokens: list[str] = []
        self.titles: list[str] = []
        self.styles: list[str] = []
        self.roles: list[str] = []
        self.tags: set[str] = set()
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = {name: value or "" for name, value in attrs}
        self._inside = found.get("class", "")
        if self._inside == "token":
            self.tokens.append("")
            self.titles.append(found["title"])
            self.styles.append(found.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "token":
            self.tokens[-1] += data
        if self._inside == "role":
            self.roles.append(data)


def strip_of(tokens: tuple[str, ...], roles: tuple[str, ...]) -> Strip:
    n_tokens = len(tokens)
    cells = np.linspace(-2, 2, n_tokens, dtype=np.float32).reshape(n_tokens, 1, 1)
    one = np.ones((1, 1, 1), np.float32)
    readout = Reading(
        tokens,
        roles,
        ("calm",),
        (4,),
        cells,
        cells / np.float32(10),
        cells * np.float32(2),
        one,
        scored_tokens(roles),
    )
    return Strip(draw_strip(readout, "calm", 4, "z", ColourScale(0.0, 4.0)))


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8))
def test_any_token_is_shown_as_text_and_never_as_markup(tokens: list[str]) -> None:
    shown = [token.replace("\r", "?").replace("\0", "?") for token in tokens]
    strip = strip_of(tuple(shown), ("user",) * len(shown))
    assert strip.tokens == shown
    assert strip.tags <= {"div", "span", "b", "i", "wbr", "br"}
    assert [title.split("\nz ")[0] for title in strip.titles] == shown


def test_template_engines_of_the_page_find_nothing_to_fill_in() -> None:
    roles = ("user", "user", "user")
    cells = np.zeros((3, 1, 1), np.float32)
    readout = Reading(
        ("a", "{{x}}", "${1+1}"),
        roles,
        ("calm",),
        (0,),
        cells,
        cells,
        cells,
        np.ones((1, 1, 1), np.float32),
        scored_tokens(roles),
    )
    html = draw_strip(readout, "calm", 0, "z", ColourScale(0.0, 1.0))
    assert "{" not in html
    assert "$" not in html


def test_the_first_and_template_tokens_carry_no_colour() -> None:
    strip = strip_of(("a", "b", "c", "d"), ("user", "user", "template", "assistant"))
    assert [bool(style) for style in strip.styles] == [False, True, False, True]
    assert strip.styles[3] == "background:rgba(217,95,2,0.750)"


def test_every_speaker_is_named_in_words() -> None:
    strip = strip_of(("a", "b", "c", "d", "e"), (*ALL_ROLES, "assistant"))
    assert strip.roles == list(ALL_ROLES)


def test_hovering_a_token_gives_all_three_scores() -> None:
    assert strip_of(("a", "b"), ("user", "user")).titles[1] == "b\nz 4.000\ncosine 0.200\nraw 2.000"
