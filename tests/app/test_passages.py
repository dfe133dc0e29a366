"""Passages in Read, driven without a page: files, requests, and what is drawn."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from readout_ui.app.events import AWAY, components
from readout_ui.app.read.passages import (
    Passages,
    draw_results,
)
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.inference.top_tokens import Snippet, Snippets, SnippetSettings
from readout_ui.plots.tokens import MOST_CONCEPTS, draw_found
from readout_ui.texts.streams import BadLine

HOSTILE = "<img src=x> {{x}} ${1} `a`"


def found(n_concepts: int = 1, texts: tuple[str, ...] = (HOSTILE,)) -> Snippets:
    """Results as a search would give them; every piece scores 1, the middle one 3."""
    names = [f"c{number}" for number in range(n_concepts)]

    def snippet(concept: str, text: str) -> Snippet:
        pieces, scores = ("before ", text, " after"), (1.0, 3.0, 1.0)
        return Snippet(concept, 3.0, 1200, pieces, scores, 1, 2, (True, False))

    return Snippets(
        file="<a>.txt",
        run_id="run",
        settings=SnippetSettings(layer=1),
        thresholds=dict.fromkeys(names, 2.5),
        exactness=0.02,
        by_concept={name: tuple(snippet(name, text) for text in texts) for name in names},
        n_texts=1,
        n_tokens=3,
        n_bad=1,
        bad=(BadLine(7, "is not JSON"),),
        share=0.5,
    )


@pytest.fixture
def tab(studio: Studio) -> Passages:
    with gr.Blocks():
        return Passages(studio)


def test_what_was_dropped_is_described_or_refused(tmp_path: Path, tab: Passages) -> None:
    inputs = tab.inputs
    file = tmp_path / "a.jsonl"
    file.write_text('{"title": "a", "body": "b"}\n')
    shown = inputs.show_file(str(file))
    about, field = shown[inputs.about], shown[inputs.field]
    assert "JSON lines" in about
    assert (field.elem_classes, field.value) == ([], None)
    assert [name for name, _ in field.choices] == ["title", "body"]
    odd = tmp_path / "odd.txt"
    odd.write_bytes(b"PK\0\0")
    shown = inputs.show_file(str(odd))
    about, field = shown[inputs.about], shown[inputs.field]
    assert "binary file" in about
    assert field.elem_classes == AWAY
    assert inputs.show_file(None)[inputs.about] == ""


def test_before_a_training_the_tab_says_what_to_do(studio: Studio, tab: Passages) -> None:
    assert "press Train first" in tab.refresh()[tab.notice]
    with pytest.raises(UserError, match="press Train first"):
        tab.inputs.search(studio, {tab.inputs.file: "a.txt"})


def test_text_of_other_people_stays_text_and_the_rest_is_told() -> None:
    html = draw_results(found(), "All concepts", "")
    assert "<img" not in html
    assert "{{" not in html
    assert "$" not in html
    assert "… " in html
    assert "line 1,200" in html
    about = draw_found(found())
    assert "50% of &lt;a&gt;.txt" in about
    assert "line 7 is not JSON" in about


def test_what_was_found_fills_the_page_and_the_filters_only_the_list(tab: Passages) -> None:
    results, some = tab.results, found(2)
    assert set(results.show(some)) == set(components(results))
    typed = {results.found: some, results.concept: "c1", results.wanted: ""}
    assert results.filter(typed) == {results.shown: draw_results(some, "c1", "")}
    assert results.filter(typed | {results.found: None}) == {}


def test_filters_keep_what_holds_the_words_and_many_concepts_are_not_all_drawn() -> None:
    some = found(3, ("Kettle", "window", "kettles", "more kettle", "kettle again"))
    assert draw_results(some, "All concepts", "KETTLE").count("<mark>") == 9
    assert draw_results(some, "c1", "kettle").count("<mark>") == 4
    assert "No snippet holds" in draw_results(some, "c1", "nothing")
    many = draw_results(found(MOST_CONCEPTS + 2), "All concepts", "")
    assert many.count("<section") == MOST_CONCEPTS
    assert "2 more concepts" in many


def test_downloads_hold_everything_whatever_the_filters(tab: Passages) -> None:
    assert tab.results.save("csv", {tab.results.found: found(2)}).count("\n") == 3
    assert tab.results.save("jsonl", {tab.results.found: found(2)}).count("\n") == 2
    with pytest.raises(UserError, match="nothing to download"):
        tab.results.save("csv", {tab.results.found: None})
