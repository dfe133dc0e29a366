"""The rules of the shipped descriptions: a direction is to learn a concept, never a style."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from rapidfuzz import fuzz, process

from readout_ui.texts.library import Library, require_trainable

FOLDER = Path(__file__).parents[2] / "descriptions"

WORD_FORMS = {
    "afraid": r"afraid|unafraid|fear\w*",
    "amused": r"amus\w*",
    "angry": r"angry|angri\w*|anger\w*",
    "anxious": r"anxious\w*|anxiet\w*",
    "ashamed": r"ashamed\w*|sham(?:e\w*|ing)",
    "awed": r"aw(?:e|es|ed|ing|esome\w*|estruck|ful|fully)",
    "bored": r"bor(?:e|es|ed|edom|ing|ingly)",
    "calm": r"calm\w*|becalm\w*",
    "compassionate": r"compassion\w*",
    "confident": r"confiden\w*|overconfiden\w*",
    "confused": r"confus\w*",
    "content": r"content\w*|discontent\w*",
    "curious": r"curio\w*|incurious",
    "disgusted": r"disgust\w*",
    "distressed": r"distress\w*",
    "embarrassed": r"embarrass\w*",
    "excited": r"excit\w*",
    "grateful": r"grateful\w*|ungrateful\w*|gratitude",
    "guilty": r"guilt\w*",
    "happy": r"happy|happi(?:ly|ness|er|est)|unhapp\w*",
    "hopeful": r"hop(?:e|es|ed|ing|eful\w*)",
    "hopeless": r"hopeless\w*",
    "humiliated": r"humiliat\w*",
    "jealous": r"jealous\w*",
    "lonely": r"lone|lonel\w*|lonesome\w*",
    "loving": r"lov(?:e\w*|ing\w*)|beloved|unlov\w*",
    "nostalgic": r"nostalgi\w*",
    "playful": r"play\w*",
    "proud": r"proud\w*|prid(?:e|es|ed|eful)",
    "relieved": r"relie(?:f|fs|ve|ves|ved|ving)",
    "resentful": r"resent(?:s|ed|ing|ful\w*|ment\w*)?",
    "sad": r"sad(?:ly|der|dest|ness\w*|den\w*)?",
    "surprised": r"surpris\w*|unsurpris\w*",
    "tender": r"tender\w*",
    "tired": r"tir(?:e|es|ed|edly|edness|ing|eless\w*|esome)",
    "triumphant": r"triumph\w*",
}
"""Each concept's own word with its inflections: what no other concept's text may hold."""

NEAR_WORDS = {
    "afraid": r"scare\w*|scary|fright\w*|terror\w*|terrif\w*|panic\w*",
    "angry": r"rag(?:e|es|ed|ing)|fury|furious\w*",
    "anxious": r"worr\w*",
    "calm": r"peace\w*|seren\w*|tranquil\w*",
    "confused": r"puzzl\w*|baffl\w*",
    "content": r"satisf\w*",
    "grateful": r"thank\w*|gratif\w*",
    "happy": r"joy\w*|glad\w*",
    "hopeless": r"despair\w*",
    "jealous": r"env(?:y|ies|ious\w*)",
    "lonely": r"alone",
    "loving": r"ador(?:e|es|ed|ing)|affection\w*",
    "sad": r"sorrow\w*|grie(?:f|ve|ves|ved|ving)",
    "surprised": r"astonish\w*|amaz\w*",
    "tired": r"wear(?:y|ily|iness)|exhaust\w*|fatigue\w*",
}
"""Plain synonyms: kept to the one concept that they belong to."""

SCENE_WORDS = (
    r"couch|sofa|bed|chair|desk|room|kitchen|bedroom|house|office|school|classroom|street|park|"
    r"train|bus|car|plane|station|airport|restaurant|hospital|church|beach|garden|forest|city|"
    r"stage|audience|phone|letter|email|mother|father|mum|dad|sister|brother|son|daughter|wife|"
    r"husband|boss|colleague|teacher|doctor|neighbour|friends|dog|cat|baby|wedding|funeral|"
    r"exam|interview|party|birthday|yesterday|monday|friday|sunday|christmas|summer|winter"
)

OPENINGS = {
    "question": r"[^.!?]*\?",
    "state": r"I (?:feel|am)\b",
    "body": r"My\b",
    "part": r"(?:Something|Some part|A part|Part) (?:in|inside|of) me\b",
    "moment": r"(?:When|Whenever|While|As|Now that)\b",
    "presence": r"There is\b",
    "world": r"(?:Everything|All|Nothing|The whole world|The world)\b",
    "impulse": r"I (?:want|need|would|could|have to)\b",
}
"""The eight ways a description opens: every concept uses each of them once."""

FIRST_PERSON = re.compile(r"\b(?:I|me|my|mine|myself)\b", re.IGNORECASE)


def shipped_texts(neutral: bool) -> dict[str, tuple[str, ...]]:
    return {
        path.stem: tuple(path.read_text("utf-8").rstrip("\n").split("\n\n"))
        for path in sorted(FOLDER.glob("*.txt"))
        if path.stem.startswith("_") == neutral
    }


CONCEPTS = shipped_texts(neutral=False)
NEUTRAL = shipped_texts(neutral=True)
NEUTRAL_TEXTS = tuple(text for texts in NEUTRAL.values() for text in texts)
LABELLED = tuple((name, text) for name, texts in CONCEPTS.items() for text in texts)


def found_words(pattern: str, text: str) -> list[str]:
    return re.findall(rf"\b(?:{pattern})\b", text, re.IGNORECASE)


def concept_words(text: str) -> set[str]:
    return {name for name, pattern in WORD_FORMS.items() if found_words(pattern, text)}


def n_sentences(text: str) -> int:
    return len(re.findall(r"[.!?]+(?=\s|$)", text))


def n_words(text: str) -> int:
    return len(text.split())


def opening_of(text: str) -> str:
    return next(name for name, pattern in OPENINGS.items() if re.match(pattern, text))


def style_features(text: str) -> list[float]:
    """What can be said of a text's style without reading its words."""
    sentences = re.split(r"(?<=[.!?])\s+", text)
    return [
        *(float(text.count(mark)) for mark in ",;:-–—?!."),
        n_words(text),
        n_words(sentences[0]),
        n_words(sentences[-1]),
    ]


def style_accuracy(labelled: Iterable[tuple[str, str]]) -> float:
    """How often style alone names the concept of a text (nearest centroid, held out), 0..1.

    Each opening is standardised by itself and left out in turn: as every concept has every
    opening once, leaving out single texts would push the accuracy below chance.
    """
    labelled = sorted(labelled, key=lambda pair: (opening_of(pair[1]), pair[0]))
    features = np.array([style_features(text) for _, text in labelled])
    features = features.reshape(len(OPENINGS), len(CONCEPTS), -1)  # (8, n_concepts, n_features)
    features -= features.mean(axis=1, keepdims=True)
    features /= np.maximum(features.std(axis=1, keepdims=True), 1e-9)
    hits = []
    for held_out, texts in enumerate(features):
        centroids = np.delete(features, held_out, axis=0).mean(axis=0)  # (n_concepts, n_features)
        distance = np.linalg.norm(texts[:, None] - centroids[None], axis=-1)
        hits.extend(distance.argmin(axis=1) == np.arange(len(CONCEPTS)))
    return float(np.mean(hits))


def test_the_library_ships_its_36_concepts_with_eight_descriptions_each() -> None:
    assert sorted(CONCEPTS) == sorted(WORD_FORMS)
    assert {name: len(texts) for name, texts in CONCEPTS.items()} == dict.fromkeys(WORD_FORMS, 8)


def test_the_library_ships_24_neutral_texts_in_several_registers() -> None:
    assert len(NEUTRAL_TEXTS) == 24
    assert 3 <= len(NEUTRAL) <= 4


def test_the_app_reads_the_shipped_library_without_a_problem() -> None:
    library = Library(FOLDER)
    require_trainable(library)
    assert library.problems == ()
    assert {concept.name: concept.descriptions for concept in library.concepts} == CONCEPTS
    assert sorted(library.neutral_texts()) == sorted(NEUTRAL_TEXTS)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_a_file_is_plain_text_with_one_line_per_description(path: Path) -> None:
    raw = path.read_bytes()
    assert b"\r" not in raw
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert raw.endswith(b"\n")
    assert not raw.endswith(b"\n\n")
    for text in raw.decode("utf-8").rstrip("\n").split("\n\n"):
        assert text == " ".join(text.split())


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_description_is_two_or_three_sentences_in_the_first_person(name: str) -> None:
    for text in CONCEPTS[name]:
        assert n_sentences(text) in {2, 3}, text
        assert FIRST_PERSON.search(text), text


def test_neutral_texts_are_short_too_and_mostly_in_the_first_person() -> None:
    assert {n_sentences(text) for text in NEUTRAL_TEXTS} == {2, 3}
    assert mean(bool(FIRST_PERSON.search(text)) for text in NEUTRAL_TEXTS) >= 0.7


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_description_holds_no_word_of_another_concept(name: str) -> None:
    for text in CONCEPTS[name]:
        assert concept_words(text) <= {name}, text
        for other, pattern in NEAR_WORDS.items():
            assert other == name or not found_words(pattern, text), (other, text)


def test_a_neutral_text_holds_no_concept_word() -> None:
    for text in NEUTRAL_TEXTS:
        assert not concept_words(text), text
        assert not any(found_words(pattern, text) for pattern in NEAR_WORDS.values()), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sadness, sadly", {"sad"}),
        ("a saddle", set()),
        ("ashamed of the shame", {"ashamed"}),
        ("Hoping without hopelessness", {"hopeful", "hopeless"}),
        ("It happened in the present", set()),
        ("She resents being tired entirely", {"resentful", "tired"}),
        ("loved, unlovable, a glove", {"loving"}),
        ("boredom on board", {"bored"}),
    ],
)
def test_the_word_lists_know_inflections_from_lookalikes(text: str, expected: set[str]) -> None:
    assert concept_words(text) == expected


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_concept_names_itself_in_three_or_four_of_eight_descriptions(name: str) -> None:
    assert sum(name in concept_words(text) for text in CONCEPTS[name]) in {3, 4}


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_description_has_no_scene_and_no_named_person(name: str) -> None:
    for text in CONCEPTS[name]:
        assert not found_words(SCENE_WORDS, text), text
        names = re.findall(r"(?<![.!?]\s)(?<!^)\b[A-Z]\w+", text)
        assert not names, text


def test_no_two_texts_are_near_duplicates() -> None:
    texts = [text for _, text in LABELLED] + list(NEUTRAL_TEXTS)
    likeness = process.cdist(texts, texts, scorer=fuzz.ratio)  # (n_texts, n_texts)
    close = [
        (texts[i], texts[j]) for i, j in combinations(range(len(texts)), 2) if likeness[i, j] >= 70
    ]
    assert not close


def test_no_sentence_and_no_long_phrase_is_used_twice() -> None:
    phrases: Counter[str] = Counter()
    for text in [text for _, text in LABELLED] + list(NEUTRAL_TEXTS):
        words = re.findall(r"[a-z']+", text.lower())
        phrases.update({" ".join(words[i : i + 6]) for i in range(len(words) - 5)})
    assert [phrase for phrase, count in phrases.items() if count > 1] == []


@pytest.mark.parametrize("name", CONCEPTS)
def test_a_concept_opens_once_in_each_of_the_eight_ways(name: str) -> None:
    assert Counter(map(opening_of, CONCEPTS[name])) == Counter(OPENINGS.keys())
    first_words = Counter(" ".join(text.split()[:2]) for text in CONCEPTS[name])
    assert max(first_words.values()) <= 3


def test_the_eight_ways_to_open_stand_in_another_order_in_each_file() -> None:
    orders = {tuple(map(opening_of, texts)) for texts in CONCEPTS.values()}
    assert len(orders) > len(CONCEPTS) - 3


def test_all_concepts_are_equally_long() -> None:
    overall = mean(n_words(text) for _, text in LABELLED)
    for name, texts in CONCEPTS.items():
        assert mean(map(n_words, texts)) == pytest.approx(overall, rel=0.12), name
        assert all(24 <= n_words(text) <= 48 for text in texts), name
        assert 3 <= sum(n_sentences(text) == 3 for text in texts) <= 5, name
    assert mean(map(n_words, NEUTRAL_TEXTS)) == pytest.approx(overall, rel=0.12)


def test_style_alone_does_not_tell_the_concepts_apart() -> None:
    assert style_accuracy(LABELLED) < 3 / len(CONCEPTS)


def test_the_style_check_finds_a_style_that_marks_concepts() -> None:
    marks = {name: "," * (9 * (i % 6)) + ";" * (9 * (i // 6)) for i, name in enumerate(CONCEPTS)}
    marked = [(name, text + marks[name]) for name, text in LABELLED]
    assert style_accuracy(marked) > 10 / len(CONCEPTS)
