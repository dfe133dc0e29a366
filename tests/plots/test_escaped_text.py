from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from readout_ui.plots.tokens import escape_text


@given(st.text())
def test_any_text_is_shown_as_text_and_gives_template_engines_nothing(text: str) -> None:
    shown = escape_text(text)
    assert not set(shown) & set("<>{}$`\\\n\"'")
    assert unescape(shown) == text
