"""Which words, lengths and marks give a concept's texts away, as its page in Write shows it."""

from __future__ import annotations

import pytest

from readout_ui.app.write.scores import telling
from readout_ui.errors import UserError
from readout_ui.texts.library import Library

PLACES = ("kitchen", "garden", "street", "office", "forest", "school", "market", "station")
TEXTS = {
    "calm": [f"Near the {place} the harbour lay still." for place in PLACES],
    "sad": [f"Something in the {place} was lost, and so was I." for place in PLACES],
    "_neutral": [f"The {place} has two doors." for place in PLACES],
    "_against calm": ["The harbour was loud."],
}


def test_what_gives_a_concept_away_stands_first_with_its_counts() -> None:
    found = telling(Library(TEXTS), "calm")["telling"]
    words = {one["what"]: (one["inside"], one["outside"]) for one in found["sure"]}
    assert words["harbour"] == (8, 0)
    assert not {one["word"] for one in found["words"]} & set(words)
    # Contrast texts are no texts of others.
    assert (found["of"], found["others"], found["named"], found["auroc"]) == (8, 16, 0, 1)


def test_neutral_texts_and_a_concept_without_texts_have_none() -> None:
    library = Library({**TEXTS, "new": []})
    assert [telling(library, name)["telling"] for name in ("_neutral", "new", "?")] == [None] * 3
    with pytest.raises(UserError, match="only concept"):
        telling(Library({"calm": TEXTS["calm"]}), "calm")
