"""The shipped held-out texts: complete, without concept words, and alike in all but meaning."""

import collections
import itertools
import json
import re
import statistics
from importlib import resources

import pytest
from rapidfuzz import fuzz

Rows = list[tuple[str, str]]  # (text, label)

# For each concept every form of its own word, and words from the same stem.
WORD_FORMS = {
    "afraid": r"afraid|fear\w*|afear\w*",
    "amused": r"amus\w*|bemus\w*",
    "angry": r"ang(?:er|r)\w*",
    "anxious": r"anxi\w*|angst\w*",
    "ashamed": r"a?sham(?:e|ing)\w*",
    "awed": r"awe|awed|awing|aw(?:ful|esome|estruck)\w*|overaw\w*",
    "bored": r"bor(?:e|es|ed|ing|ingly|edom)",
    "calm": r"(?:be)?calm\w*",
    "compassionate": r"(?:un)?compassion\w*",
    "confident": r"(?:over|self-)?confiden\w*|confid(?:e|es|ed|ing)",
    "confused": r"confus\w*",
    "content": r"(?:mal|dis)?content\w*",
    "curious": r"(?:in)?curio\w*",
    "disgusted": r"disgust\w*",
    "distressed": r"(?:de)?-?distress\w*",
    "embarrassed": r"(?:dis)?embarras\w*",
    "excited": r"(?:over|un)?excit\w*",
    "grateful": r"(?:un|in)?grat(?:eful|itude|if)\w*|thank\w*",
    "guilty": r"guilt\w*",
    "happy": r"(?:un)?happ(?:y|i)\w*",
    "hopeful": r"(?:un)?hop(?:e|es|ed|ing|eful\w*)",
    "hopeless": r"hopeless\w*",
    "humiliated": r"humil\w*",
    "jealous": r"jealous\w*",
    "lonely": r"a?lone(?:ly|lier|liest|liness|r|rs|some\w*)?",
    "loving": r"(?:un|be)?lov(?:e|es|ed|er|ers|ing|ingly|able|ely|eless|elier|eliness)",
    "nostalgic": r"nostalg\w*",
    "playful": r"(?:re)?play(?!w)\w*",
    "proud": r"proud\w*|prid(?:e|es|ed|ing|eful\w*)",
    "relieved": r"reliev\w*|relief\w*",
    "resentful": r"resent\w*",
    "sad": r"sad(?:ly|ness|der|dest|den\w*)?",
    "surprised": r"surpris\w*",
    "tender": r"tender\w*",
    "tired": r"(?:over)?tir(?:e|es|ed|edly|edness|ing|eless\w*|esome\w*)",
    "triumphant": r"triumph\w*",
}
ANY_CONCEPT = re.compile(rf"\b(?:{'|'.join(WORD_FORMS.values())})\b", re.IGNORECASE)

# Words of other stems that would give the concept away just as plainly.
SYNONYM = re.compile(
    r"\b(?:scared?|frighten\w*|terrif\w*|panic\w*|worr(?:y|ie)\w*|nervous\w*|furious\w*|fury|rage\w*"
    r"|funny|hilarious|envy|envious|bitter\w*|grief|griev\w*|sorrow\w*|joy\w*|glad\w*|delight\w*"
    r"|thrill\w*|peaceful\w*|relax\w*|serene\w*|satisf\w*|puzzl\w*|bewilder\w*|baffl\w*|intrigu\w*"
    r"|fascinat\w*|revolt\w*|repuls\w*|upset|remorse\w*|regret\w*|despair\w*|mortif\w*|degrad\w*"
    r"|astonish\w*|amaz\w*|shock\w*|weary|wearily|exhaust\w*|sleepy|ador\w*|affection\w*"
    r"|pity|pitied|sympath\w*|optimis\w*|miserable|misery|wonderstruck|victor(?:y|ious)|wistful\w*)\b",
    re.IGNORECASE,
)

PERSONS = {
    "I": r"\b(?:I|[Mm]e|[Mm]y)\b",
    "you": r"\b[Yy]our?\b",
    "she": r"\b(?:[Ss]he|[Hh]er)\b",
    "he": r"\b(?:[Hh]e|[Hh]is|him)\b",
    "they": r"\b[Tt]he(?:y|ir|m)\b",
    "we": r"\b(?:[Ww]e|us|[Oo]ur)\b",
}

# Words that place a scene, or their plurals.
SETTINGS = {
    "work": "office|manager|boss|colleague|apprentice|wage|salary|workshop|workmate|invoice|canteen"
    "|cleaner|intern|director|report|pitch|firm|deskmate|staircase|cook|application|server|meeting"
    "|editor|owner|compliance|repair|shift|clerk|inspector|harvest|farmer|lab|regiment",
    "family": "mother|father|son|daughter|brother|sister|aunt|cousin|grandmother|grandfather|child"
    "|children|nephew|wife|husband|baby|newborn|family|neighbour|girlfriend",
    "home": "kitchen|wardrobe|carpet|sofa|curtain|fireplace|cupboard|ironing|armchair|fridge|table"
    "|plate|soup|porch|radiator|attic|loft|potato|lamp|bulb|box|boxes|lunchbox|house|stairs",
    "street": "street|road|underpass|crowd|square|shelter|town|city|park|tram|queue|driver|market",
    "health": "hospital|clinic|ward|doctor|nurse|nursing|surgeon|patient|biopsy|scan|transplant"
    "|operation|cyst|care|hospice|bedpan|drink|monitor|treatment|drip|rash|visiting",
    "sport": "referee|climbing|penalty|race|stadium|coach|captain|yoga|gym|skater|champion|team"
    "|net|summit|finish|final|kick|rope|allotment|boat|canoe",
    "school": "school|schoolyard|class|classroom|teacher|exam|lesson|lecturer|university|pupil"
    "|maths|degree|marks|thesis|student|essay|textbook|classmate|headmaster|proof",
    "travel": "train|flight|plane|airport|passport|bus|taxi|station|platform|trip|drove|flies"
    "|border|car|traffic|lighthouse|camp|campsite|ship|suitcase|harbour|overseas|ocean|canoe",
    "technology": "phone|screen|camera|microphone|laptop|router|email|video|password|console|drive"
    "|telescope|rocket|robot|server|printer|switch|bug|radio|voice assistant|battery|television",
    "nature": "lake|river|beach|glacier|mountain|forest|hill|hillside|bear|whale|seabird|tide|lamb"
    "|harvest|grass|apple|tomatoes|field|canoe|fog|rain|flood|ocean|mud|gull|soil|ditch|hedge|dam"
    "|hay|stern|berries|beech|kitten|dusk|pigeon|cliff",
    "shop": "shop|shopkeeper|bakery|till|aisle|trolley|supermarket|card|bookshop|waiter|restaurant",
    "arts": "stage|choir|band|conductor|waltz|painting|sonata|cathedral|film|programme|movement"
    "|dancing|danced|book|photo|piano|radio|story|singing|sings|curtain",
}


def read_rows(name: str) -> Rows:
    """The (text, label) pairs of one shipped file."""
    content = (
        resources.files("readout_ui.texts") / "data" / "held_out" / f"{name}.jsonl"
    ).read_text("utf-8")
    rows = [json.loads(line) for line in content.splitlines()]
    assert all(sorted(row) == ["label", "text"] for row in rows)
    return [(row["text"], row["label"]) for row in rows]


def texts_of(name: str) -> dict[str, list[str]]:
    """The texts of one shipped file under their labels."""
    grouped: dict[str, list[str]] = collections.defaultdict(list)
    for text, label in read_rows(name):
        grouped[label].append(text)
    return grouped


def words(text: str) -> list[str]:
    return text.split()


@pytest.mark.parametrize(
    ("name", "count"), [("situations", 6), ("dialogue", 6), ("other_sense", 3)]
)
def test_every_concept_has_its_number_of_texts(name: str, count: int) -> None:
    assert {label: len(texts) for label, texts in texts_of(name).items()} == dict.fromkeys(
        WORD_FORMS, count
    )


def test_there_are_48_neutral_texts() -> None:
    assert collections.Counter(label for _, label in read_rows("neutral")) == {"neutral": 48}


@pytest.mark.parametrize("name", ["situations", "dialogue", "neutral"])
def test_no_text_holds_a_word_of_any_concept(name: str) -> None:
    found = [
        (hit.group(), text) for text, _ in read_rows(name) for hit in ANY_CONCEPT.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize("name", ["situations", "dialogue", "neutral"])
def test_no_text_holds_a_plain_synonym(name: str) -> None:
    found = [(hit.group(), text) for text, _ in read_rows(name) for hit in SYNONYM.finditer(text)]
    assert found == []


def test_the_word_check_finds_inflections_and_passes_unrelated_words() -> None:
    inflections = """sadly saddened Tiring hoping unhappily lovely beloved alone playing contented
        awesome boredom curiosity anger fearless shameful gratitude"""
    unrelated = """saddle entire hop shop glove clover born border gratis current mishap shampoo
        hopper angle slovenly bear cloned"""
    assert [word for word in inflections.split() if not ANY_CONCEPT.fullmatch(word)] == []
    assert [word for word in unrelated.split() if ANY_CONCEPT.search(word)] == []


def test_no_two_texts_are_nearly_the_same() -> None:
    rows = [
        row
        for name in ("situations", "dialogue", "neutral", "other_sense")
        for row in read_rows(name)
    ]
    texts = [text for text, label in rows if not re.match(r"The word '\w+' has", text)]
    near = [
        pair
        for pair in itertools.combinations(texts, 2)
        if fuzz.ratio(*pair, score_cutoff=80) >= 80
    ]
    assert near == []


@pytest.mark.parametrize("name", ["situations", "dialogue"])
def test_lengths_are_alike_over_the_concepts(name: str) -> None:
    means = {
        label: statistics.mean(len(words(text)) for text in texts)
        for label, texts in texts_of(name).items()
    }
    overall = statistics.mean(means.values())
    assert {label: mean for label, mean in means.items() if abs(mean / overall - 1) > 0.12} == {}


def test_neutral_texts_are_as_long_as_the_others() -> None:
    neutral = [text for text, _ in read_rows("neutral")]
    for name, texts in (("situations", neutral[:24]), ("dialogue", neutral[24:])):
        typical = statistics.mean(len(words(text)) for text, _ in read_rows(name))
        assert statistics.mean(len(words(text)) for text in texts) == pytest.approx(
            typical, rel=0.1
        )


def test_no_punctuation_marks_a_concept() -> None:
    assert not any(
        "!" in text or "..." in text or "…" in text for text, _ in read_rows("situations")
    )
    assert not any("?" in text for text, _ in read_rows("situations"))
    for label, texts in texts_of("dialogue").items():
        assert 1 <= sum("?" in text for text in texts) <= 3, label
        assert not any("!" in text or "..." in text or "…" in text for text in texts), label


def test_every_concept_is_told_of_six_persons() -> None:
    for label, texts in texts_of("situations").items():
        absent = [
            person
            for person, pattern in PERSONS.items()
            if not any(re.search(pattern, text) for text in texts)
        ]
        assert absent == [], label


def test_every_concept_is_set_in_several_places() -> None:
    pattern_of = {
        setting: re.compile(rf"\b(?:{stems})s?\b", re.IGNORECASE)
        for setting, stems in SETTINGS.items()
    }
    spread: collections.Counter[str] = collections.Counter()
    for label, texts in texts_of("situations").items():
        hits = {
            setting: sum(bool(pattern.search(text)) for text in texts)
            for setting, pattern in pattern_of.items()
        }
        assert sum(count > 0 for count in hits.values()) >= 5, (label, hits)
        assert max(hits.values()) <= 4, (label, hits)
        spread.update(setting for setting, count in hits.items() if count)
    assert min(spread[setting] for setting in SETTINGS) >= 12, spread


def test_no_opening_word_marks_a_concept() -> None:
    for name in ("situations", "dialogue"):
        for label, texts in texts_of(name).items():
            word, count = collections.Counter(words(text)[0] for text in texts).most_common(1)[0]
            assert count <= 3, (name, label, word)


def test_no_telling_word_recurs_within_a_concept() -> None:
    situations, dialogue = texts_of("situations"), texts_of("dialogue")
    seen = {
        label: collections.Counter(
            word
            for text in situations[label] + dialogue[label]
            for word in set(re.findall(r"[a-z]{4,}", text.lower()))
        )
        for label in WORD_FORMS
    }
    everywhere = sum(seen.values(), collections.Counter[str]())
    telling = [
        (label, word, count, everywhere[word])
        for label, counts in seen.items()
        for word, count in counts.items()
        if count >= 3 and count > everywhere[word] / 2
    ]
    assert telling == []


def test_other_sense_texts_hold_the_concepts_own_word() -> None:
    for label, texts in texts_of("other_sense").items():
        pattern = re.compile(rf"\b{label}\b", re.IGNORECASE)
        assert all(pattern.search(text) for text in texts), label
