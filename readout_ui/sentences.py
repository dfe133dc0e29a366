"""Sentences of a short text: how many there are, how they open, and who is speaking."""

import re

from readout_ui.word_forms import words_of

_END = re.compile(r"(?P<mark>[.!?…]+)[\"'”’»)\]]*(?=\s|$)|[。！？]+[”」』]*")
_ABBREVIATIONS = frozenset({"e.g", "i.e", "mr", "mrs", "ms", "dr", "st", "vs", "cf", "approx"})
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
    after = text[match.end() :].lstrip()
    if after and after[0].islower():
        return False
    before = re.split(r"[\s(]", text[: match.start()])[-1].casefold()
    return match["mark"] != "." or before not in _ABBREVIATIONS
