"""Words of a text: forms of a concept's name, sentences, and texts that are nearly the same.

Suffix rules cover regular English words; a table covers relatives that no suffix gives. A rule may
make a form that is no word (sadder is one, sadment is not); such a form matches nothing.

To find near-duplicates a text becomes a string with one character per word, sorted; rapidfuzz's
ratio of two such strings is the share of words in common (twice the common words over all words).
"""

import functools
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

# A word in this table gets these relatives and only adverb, noun and plural endings by rule,
# because taking its ending off would give an unrelated word (grateful -> grate).
RELATIVES: Mapping[str, tuple[str, ...]] = {
    "afraid": ("fear", "fears", "feared", "fearing", "fearful", "fearfully"),
    "angry": ("anger", "angers", "angered", "angrier", "angriest", "angrily"),
    "anxious": ("anxiety", "anxieties"),
    "ashamed": ("shame", "shames", "shamed", "shaming", "shameful", "shamefully"),
    "awed": ("awe", "awes", "awing", "awestruck"),
    "bored": ("bore", "bores", "boring", "boredom"),
    "calm": ("calms", "calmed", "calming", "calmer", "calmest"),
    "certain": ("certainty", "certainties"),
    "content": ("contented", "contentedly", "contentment"),
    "curious": ("curiosity",),
    "deceptive": (
        "deceive",
        "deceives",
        "deceived",
        "deceiving",
        "deception",
        "deceptions",
        "deceit",
        "deceitful",
    ),
    "deducing": ("deduce", "deduces", "deduced", "deduction", "deductions", "deductive"),
    "depressed": ("depression", "depressing", "depressive"),
    "desperate": ("despair", "despairing", "desperation"),
    "distressed": ("distress", "distresses", "distressing"),
    "embarrassed": ("embarrass", "embarrassing", "embarrassment"),
    "envious": ("envy", "envies", "envied"),
    "evasive": ("evade", "evades", "evaded", "evading", "evasion", "evasions"),
    "formal": ("formality", "formalities"),
    "furious": ("fury",),
    "generous": ("generosity",),
    "grateful": ("gratitude", "thankful", "thankfully", "thankfulness"),
    "grieving": ("grief", "grieve", "grieves", "grieved"),
    "guilty": ("guilt", "guiltily", "guiltier"),
    "happy": ("happily", "happiness", "happier", "happiest"),
    "hopeful": ("hope", "hopes", "hoped", "hoping"),
    "hopeless": ("hope", "hopes"),
    "humble": ("humbly", "humility"),
    "humiliated": ("humiliate", "humiliates", "humiliating", "humiliation"),
    "hypothetical": ("hypothesis", "hypotheses", "hypothesize"),
    "indifferent": ("indifference",),
    "irritated": ("irritate", "irritates", "irritating", "irritation", "irritable"),
    "jealous": ("jealousy",),
    "joyful": ("joy", "joys", "joyous"),
    "lonely": ("loneliness", "lonelier", "loneliest"),
    "loving": ("love", "loves", "loved", "lovingly"),
    "melancholy": ("melancholic", "melancholia"),
    "moralizing": (
        "moral",
        "morals",
        "morality",
        "moralize",
        "moralizes",
        "moralist",
        "moralise",
        "moralising",
    ),
    "nervous": ("nerves",),
    "nostalgic": ("nostalgia", "nostalgically"),
    "persuading": ("persuade", "persuades", "persuaded", "persuasion", "persuasive"),
    "playful": (),
    "poetic": ("poem", "poems", "poet", "poets", "poetry", "poetical"),
    "proud": ("pride", "prides", "prouder", "proudest"),
    "referring": ("refer", "refers", "referred", "reference", "references", "referential"),
    "refusing": ("refuse", "refuses", "refused", "refusal", "refusals"),
    "relieved": ("relief", "relieve", "relieves", "relieving"),
    "resentful": ("resent", "resents", "resented", "resenting", "resentment"),
    "scared": ("scare", "scares", "scaring", "scary"),
    "serene": ("serenity",),
    "surprised": ("surprise", "surprises", "surprising", "surprisingly"),
    "sycophantic": ("sycophant", "sycophants", "sycophancy"),
    "technical": ("technique", "techniques", "technicality", "technicalities"),
    "tender": ("tenderer", "tenderest"),
    "tired": ("tire", "tires", "tiring", "tiredness"),
    "tranquil": ("tranquillity", "tranquility"),
    "triumphant": ("triumph", "triumphs", "triumphed", "triumphing", "triumphal"),
}


@functools.lru_cache(maxsize=20_000)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, case folded; hyphens and underscores separate."""
    return tuple(_WORD.findall(text.casefold()))


def counted(n: int, noun: str, several: str = "") -> str:
    """A number and what is counted: `1 pair`, `2 pairs`."""
    return f"{n} {noun if n == 1 else several or f'{noun}s'}"


def apart(value: float, low: float, high: float, other: str, digits: int) -> str:
    """A difference with its interval, by its side: `below it by 0.10 [-0.05, 0.25]`."""
    side = "above"
    if value < 0:
        side, value, low, high = "below", -value, -high, -low
    first, *ends = (f"{number:z.{digits}f}" for number in (value, low, high))
    return f"{side} {other} by {first} [{', '.join(ends)}]"


def cut(text: str, length: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


@functools.lru_cache(maxsize=20_000)
def phrase_forms(name: str) -> frozenset[tuple[str, ...]]:
    """How a concept's name may stand in a text: each form as a tuple of words.

    Of a name with several words (`quiet_joy`, `let-down`), the last one is inflected.
    """
    words = words_of(name)
    if not words:
        return frozenset()
    *head, last = words
    return frozenset((*head, form) for form in word_forms(last))


def word_forms(word: str) -> frozenset[str]:
    """The word, its inflections and its relatives, case folded."""
    word = word.casefold()
    forms = {word, *_endings(word), *RELATIVES.get(word, ())}
    if word not in RELATIVES:
        for stem in _stems(word):
            forms |= {stem, *_endings(stem), *_verb_endings(stem)}
    return frozenset(forms)


@dataclass(frozen=True)
class ConceptWords:
    """The words and phrases by which concepts may be named in a text."""

    names: Mapping[tuple[str, ...], tuple[str, ...]]
    """Form, as a tuple of words -> the concepts it stands for."""
    lengths: tuple[int, ...]
    """How many words the forms have, each number once."""

    def found_in(self, text: str) -> dict[tuple[str, ...], tuple[str, ...]]:
        """The forms in the text, each once -> the concepts they stand for."""
        words = words_of(text)
        spans = (
            words[start : start + length]
            for length in self.lengths
            for start in range(len(words) - length + 1)
        )
        return {span: self.names[span] for span in spans if span in self.names}


def concept_words(names: Iterable[str]) -> ConceptWords:
    """Every form of every name."""
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        for form in phrase_forms(name):
            found[form].append(name)
    table = {form: tuple(some) for form, some in found.items()}
    return ConceptWords(table, tuple(sorted({len(form) for form in table})))


def _endings(word: str) -> set[str]:
    """Adverb and noun endings of an adjective, plural of a noun."""
    forms = {f"{word}{ending}" for ending in ("s", "ly", "ness")}
    if word.endswith("y"):
        forms |= {f"{word[:-1]}{ending}" for ending in ("ily", "iness", "ies", "ier", "iest")}
    if word.endswith(("s", "x", "ch", "sh")):
        forms.add(f"{word}es")
    if word.endswith("le"):
        forms.add(f"{word[:-1]}y")
    if word.endswith("ic"):
        forms.add(f"{word}ally")
    if word.endswith(("ant", "ent")):
        forms |= {f"{word[:-1]}ce", f"{word[:-1]}cy"}
    if word.endswith("ate"):
        forms |= {f"{word[:-1]}ion", word[:-3]}
    if word.endswith("ous"):
        forms.add(f"{word[:-3]}osity")
    return forms


def _verb_endings(word: str) -> set[str]:
    """Verb forms, comparatives and nouns made from a verb."""
    if len(word) < 3:
        return set()
    stem = word[:-1] if word.endswith("e") else word
    forms = {f"{stem}{ending}" for ending in ("ed", "ing", "er", "est", "ion", "ingly", "edly")}
    forms.add(f"{word}ment")
    if word.endswith("y"):
        forms.add(f"{word[:-1]}ied")
    if re.search(r"[^aeiou][aeiou][bdgmnprt]$", word):
        doubled = word + word[-1]
        forms |= {f"{doubled}{ending}" for ending in ("ed", "ing", "er", "est", "en")}
    return forms


def _stems(word: str) -> set[str]:
    """The word and what may be left when its ending is taken off."""
    stems = {word}
    for ending in ("ed", "ing"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            bare = word[: -len(ending)]
            stems |= {bare, f"{bare}e"}
            if bare[-1] == bare[-2]:
                stems.add(bare[:-1])
            if bare.endswith("i"):
                stems.add(f"{bare[:-1]}y")
    for ending in ("ful", "less", "ness"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            stems.add(word[: -len(ending)])
    return stems


_END = re.compile(r"(?<![.!?…])(?P<mark>[.!?…]+)[\"'”’»)\]]*(?=\s|$)|[。！？]+[”」』]*")
_AFTER = re.compile(r"\s*(\S)")
_ABBREVIATIONS = frozenset({"e.g", "i.e", "mr", "mrs", "ms", "dr", "st", "vs", "cf", "approx"})
_LONGER = 1 + max(map(len, _ABBREVIATIONS))
_ENGLISH = {"i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves"}
_GERMAN_DUTCH = {"ich", "mich", "mir", "mein", "meine", "meinen", "meiner", "ik", "mij", "mijn"}
_ROMANCE = {"je", "j", "m", "moi", "mon", "mes", "yo", "mi", "mis", "io", "mio", "eu", "meu"}
_FIRST_PERSON = _ENGLISH | _GERMAN_DUTCH | _ROMANCE


def count_sentences(text: str) -> int:
    """Sentences that end in . ! ? or … (or stand last without an end mark).

    A mark followed by a small letter ends nothing, nor does the full stop of an abbreviation.
    """
    starts = [0]
    for match in _END.finditer(text):
        if _ends_sentence(text, match):
            starts.append(match.end())
    pieces = (text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True))
    return sum(1 for piece in pieces if words_of(piece))


def opening(text: str, n_words: int = 2) -> str:
    """The first words, case folded; empty when the text has fewer."""
    words = words_of(text)
    return " ".join(words[:n_words]) if len(words) >= n_words else ""


def is_first_person(text: str) -> bool:
    """Whether someone speaks of themselves; True where no Latin letters let us tell."""
    words = words_of(text)
    latin = sum(1 for word in words if word[0] < "\u0250")
    if 2 * latin < len(words):
        return True
    return any(re.split("['’]", word)[0] in _FIRST_PERSON for word in words)


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    if match["mark"] is None:
        return True
    after = _AFTER.match(text, match.end())
    if after and after[1].islower():
        return False
    # The word before, or the end of a long one: a look at all of the text would be one too many.
    start = match.start()
    before = re.split(r"[\s(]", text[max(0, start - _LONGER) : start])[-1].casefold()
    return match["mark"] != "." or before not in _ABBREVIATIONS


NEAR = 70.0
"""Percent of words in common from which two texts count as nearly the same."""
ALL_COMPARED = 4_000_000
"""Pairs of texts up to which each is compared with each; beyond, see `near_pairs`."""
_RAREST, _FIRST = 8, 16

_PLANE = 0x10000
_N_CODES = 0x100000


@dataclass(frozen=True)
class Pair:
    """Two texts that are nearly the same."""

    text: int
    """Index of the text that was checked."""
    other: int
    """Index of the one it is like."""
    percent: float
    """Words in common, NEAR..100."""
    same: bool
    """Equal but for case, punctuation and spacing."""


def near_pairs(texts: Sequence[str], n_checked: int | None = None) -> list[Pair]:
    """For each checked text the most similar other one, if they are nearly the same.

    Of very many texts each is compared with those of equal words and with the first 16 that share
    one of its 8 rarest words: as much work for the last text as for the first.

    Args:
        texts: those to check first, then those that they are only compared with.
        n_checked: how many are checked, None: all. A pair of two checked texts is reported once,
            at the later one.
    """
    codes = [_word_codes(text) for text in texts]
    checked = codes if n_checked is None else codes[:n_checked]
    if not checked:
        return []
    find = _closest if len(checked) * len(codes) <= ALL_COMPARED else _closest_by_rare_words
    return [
        _pair(texts, i, other, percent)
        for i, (other, percent) in enumerate(find(codes, len(checked)))
        if percent >= NEAR and codes[i]
    ]


def _closest(codes: Sequence[str], n_checked: int) -> Iterator[tuple[int, float]]:
    """For each checked text the closest one that may be named with it, and how close."""
    # Imported here: descriptions are edited and --help is printed without it.
    import numpy as np
    from rapidfuzz import fuzz, process

    checked = codes[:n_checked]
    percents = process.cdist(
        checked, codes, scorer=fuzz.ratio, score_cutoff=NEAR, dtype=np.float32
    )  # (n_checked, n_texts)
    percents[:, :n_checked][np.triu_indices(n_checked)] = 0.0
    for row, other in zip(percents, percents.argmax(axis=1), strict=True):
        yield int(other), float(row[other])


def _closest_by_rare_words(codes: Sequence[str], n_checked: int) -> Iterator[tuple[int, float]]:
    from rapidfuzz import fuzz, process

    frequency = Counter(word for code in codes for word in set(code))
    rarest = [sorted(set(c), key=lambda w: (frequency[w], w))[:_RAREST] for c in codes]
    holding: dict[str, list[int]] = defaultdict(list)
    for number, (code, words) in enumerate(zip(codes, rarest, strict=True)):
        for key in (code, *words):
            if len(holding[key]) < _FIRST:
                holding[key].append(number)
    for number, (code, words) in enumerate(zip(codes[:n_checked], rarest, strict=False)):
        near = {other for key in (code, *words) for other in holding[key]}
        found = {other: codes[other] for other in near if other < number or other >= n_checked}
        best = process.extractOne(code, found, scorer=fuzz.ratio, score_cutoff=NEAR)
        yield (0, 0.0) if best is None else (int(best[2]), float(best[1]))


def closest(texts: Sequence[str], others: Sequence[str]) -> list[tuple[int, float] | None]:
    """For each text the one of `others` with most words in common, and their percent, 0..100.

    None where there are no others.
    """
    from rapidfuzz import fuzz, process

    if not texts or not others:
        return [None] * len(texts)
    codes = [[_word_codes(text) for text in some] for some in (texts, others)]
    percents = process.cdist(*codes, scorer=fuzz.ratio)  # (n_texts, n_others)
    return [(int(row.argmax()), float(row.max())) for row in percents]


def _pair(texts: Sequence[str], text: int, other: int, percent: float) -> Pair:
    return Pair(text, other, percent, words_of(texts[text]) == words_of(texts[other]))


@functools.lru_cache(maxsize=20_000)
def _word_codes(text: str) -> str:
    return "".join(sorted(map(_code, words_of(text))))


@functools.lru_cache(maxsize=100_000)
def _code(word: str) -> str:
    # crc32 and not hash(): the same findings in every process.
    return chr(_PLANE + zlib.crc32(word.encode("utf-8", "replace")) % _N_CODES)
