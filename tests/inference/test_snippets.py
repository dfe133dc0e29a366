"""Snippets of a large file: quantiles, strongest places, and the pass through a tiny model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.inference.readout import Readout
from readout_ui.inference.search import HELD_WINDOWS, Search
from readout_ui.inference.top_tokens import (
    RunningQuantile,
    Snippets,
    SnippetSettings,
    StrongestPlaces,
    average_over,
    snippets_csv,
    snippets_jsonl,
)
from readout_ui.models.prompt import FramedText, PromptFrame
from readout_ui.progress import Cancelled, Progress
from readout_ui.texts.streams import MAX_PASSAGE, open_texts
from tests.support.studios import small_studio

WORDS = [
    "kettle",
    "window",
    "meadow",
    "ladder",
    "violet",
    "thunder",
    "pepper",
    "marble",
    "candle",
    "ribbon",
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with small_studio(tmp_path_factory.mktemp("snippets")) as studio:
        yield studio


def searched(studio: Studio, search: Search) -> Snippets:
    def work(used: Readout) -> Snippets:
        return search.run(used)

    return studio.on_device("snippets", "Finding snippets", work).result()


def sentences(n: int) -> str:
    """Texts of different lengths that do not repeat."""
    rng = np.random.default_rng(0)
    return "\n\n".join(" ".join(rng.choice(WORDS, 1 + i % 70)) for i in range(n))


def test_the_running_quantile_is_exact_to_its_bin() -> None:
    scores = np.random.default_rng(0).normal(0, 3, (5_000, 3)).astype(np.float32)
    running = RunningQuantile(3, 40.0)
    for part in np.array_split(scores, 7):
        running.add(part)
    exact = np.quantile(scores, 0.99, axis=0)
    assert np.abs(np.array(running.at(0.99)) - exact).max() < 3 * running.width
    assert running.width == pytest.approx(0.02)
    one = RunningQuantile(1, 1.0)
    one.add(np.array([[0.25]], np.float32))
    assert one.at(0.99)[0] == pytest.approx(0.25, abs=one.width)
    assert one.at(0.99)[0] <= 0.25


def test_averages_are_centred_and_shorter_at_the_ends() -> None:
    scores = np.array([[0.0], [3.0], [6.0], [0.0]], np.float32)
    assert average_over(scores, 1) is scores
    assert average_over(scores, 3)[:, 0].tolist() == [1.5, 3.0, 3.0, 3.0]


def test_the_strongest_places_are_kept_and_a_repeated_text_counts_once() -> None:
    rng = np.random.default_rng(1)
    places = StrongestPlaces(2, n_kept=3, n_context=2)
    best: list[float] = []
    for line in range(40):
        scores = rng.normal(size=(12, 2)).astype(np.float32)
        ids = tuple(rng.integers(0, 1000, 12).tolist())
        for _ in range(2):
            places.add(ids, scores, scores, 4, line)
        best.append(float(scores[4:, 1].max()))
    assert len(places) == 6
    assert [place.strength for place in places.of(1)] == sorted(best)[:-4:-1]
    strongest = places.of(1)[0]
    assert strongest.scores[strongest.peak] == pytest.approx(strongest.strength)


def test_a_short_text_scores_as_the_inspect_tab_reads_it(studio: Studio, tmp_path: Path) -> None:
    text = "Something about a window and a meadow."
    (tmp_path / "a.txt").write_text(text)
    for kind in ("z", "cosine"):
        settings = SnippetSettings(layer=1, kind=kind, width=1, n_context=100)
        found = searched(studio, Search(open_texts(tmp_path / "a.txt"), settings))
        readout = studio.read(text, "assistant")
        rows = [i for i, role in enumerate(readout.roles) if role == "assistant"]
        for concept, (snippet,) in found.by_concept.items():
            column = readout.scores(kind)[rows, 1, readout.concept_index(concept)]
            assert snippet.scores == pytest.approx(column.tolist(), rel=1e-3, abs=1e-4)
            assert snippet.strength == pytest.approx(column.max(), rel=1e-3)
            assert snippet.text == text


def test_every_token_counts_once_whatever_the_windows(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(sentences(150), encoding="utf-8")
    search = Search(open_texts(tmp_path / "a.txt"), SnippetSettings(layer=2))
    found = searched(studio, search)
    texts = (tmp_path / "a.txt").read_text().split("\n\n")
    assert (found.n_texts, found.n_tokens) == (150, sum(studio.count_tokens(texts) or []))
    assert search.n_held <= HELD_WINDOWS
    assert (found.share, found.n_bad) == (1.0, 0)
    for concept, snippets in found.by_concept.items():
        strengths = [snippet.strength for snippet in snippets]
        assert strengths == sorted(strengths, reverse=True)
        assert min(strengths) >= found.thresholds[concept]
        for snippet in snippets:
            assert snippet.span
            assert snippet.span in snippet.text
            assert snippet.text.strip() in texts[(snippet.line - 1) // 2]


def test_a_sample_is_spread_over_the_file(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(sentences(150), encoding="utf-8")
    whole = searched(studio, Search(open_texts(tmp_path / "a.txt"), SnippetSettings(layer=2)))
    settings = SnippetSettings(layer=2, max_tokens=2_000, n_kept=100)
    found = searched(studio, Search(open_texts(tmp_path / "a.txt"), settings))
    assert found.n_tokens < whole.n_tokens / 2
    lines = [snippet.line for some in found.by_concept.values() for snippet in some]
    assert max(lines) > 200


def test_a_cancelled_search_keeps_what_it_found(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(sentences(150), encoding="utf-8")
    search = Search(open_texts(tmp_path / "a.txt"), SnippetSettings(layer=2))
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 3:
            raise Cancelled

    def work(used: Readout) -> Snippets:
        return search.run(used.reporting_to(stop))

    with pytest.raises(Cancelled):
        studio.on_device("snippets", "Finding snippets", work).result()
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert (seen[-1].unit, seen[-1].total) == ("kB", search.texts.n_bytes >> 10)
    found = search.result()
    assert 0 < found.n_tokens == search.n_tokens
    assert 0 < found.share < 1
    fresh = Search(open_texts(tmp_path / "a.txt"), SnippetSettings(layer=2))
    with pytest.raises(UserError, match="nothing was read"):
        fresh.result()


def test_a_sample_is_stopped_while_it_only_counts_tokens(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(sentences(150), encoding="utf-8")
    search = Search(open_texts(tmp_path / "a.txt"), SnippetSettings(layer=2, max_tokens=100))

    def stop(progress: Progress) -> None:
        if progress.stage == "Reading the file":
            raise Cancelled

    def work(used: Readout) -> Snippets:
        return search.run(used.reporting_to(stop))

    with pytest.raises(Cancelled):
        studio.on_device("snippets", "Finding snippets", work).result()
    assert (search.n_texts, search.n_tokens) == (1, 0)


def test_one_endless_line_is_cut_before_it_is_tokenized(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    frame = PromptFrame.frame

    def noted(self: PromptFrame, text: str, max_length: int) -> FramedText:
        given.append(len(text))
        return frame(self, text, max_length)

    monkeypatch.setattr(PromptFrame, "frame", noted)
    line = "kettle window " * 20_000
    (tmp_path / "a.txt").write_text(line)
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": line}))
    for name in ("a.txt", "a.jsonl"):
        given.clear()
        texts = open_texts(tmp_path / name)
        searched(studio, Search(texts, SnippetSettings(layer=1, max_tokens=500)))
        assert max(given) <= MAX_PASSAGE < len(line) / 50
        assert len(given) > 70


def test_a_file_without_a_readable_line_is_refused_by_its_first_one(
    studio: Studio, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match="line 1 is not UTF-8"):
        searched(studio, Search(open_texts(tmp_path / "a.txt"), SnippetSettings(layer=2)))
    with pytest.raises(UserError, match="7"):
        searched(studio, Search(open_texts(tmp_path / "a.txt"), SnippetSettings(layer=7)))


def test_characters_of_several_tokens_stay_whole_in_snippets_and_downloads(
    studio: Studio, tmp_path: Path
) -> None:
    text = 'Ünïcödé 🙂 und 漢字, said "she".'
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}), encoding="utf-8")
    settings = SnippetSettings(layer=1, n_context=200)
    found = searched(studio, Search(open_texts(tmp_path / "a.jsonl"), settings))
    assert {some[0].text for some in found.by_concept.values()} == {text}
    rows = list(csv.DictReader(io.StringIO(snippets_csv(found))))
    lines = [json.loads(line) for line in snippets_jsonl(found).splitlines()]
    assert [row["span"] for row in rows] == [line["span"] for line in lines]
    assert rows[0]["before"] + rows[0]["span"] + rows[0]["after"] == text
    assert (lines[0]["line"], lines[0]["file"], lines[0]["unit"]) == (1, "a.jsonl", "z")


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"kind": "raw"}, {"width": 2}, {"quantile": 1.0}, {"n_kept": 0}):
        with pytest.raises(UserError):
            SnippetSettings(layer=1, **wrong)  # type: ignore[arg-type]
