"""Concept names: which ones are safe file names on every system, and when two are the same."""

import re
import unicodedata
from collections.abc import Iterable

from readout_ui.errors import UserError, printable

SUFFIX = ".txt"
MAX_NAME_LENGTH = 100
MAX_NAME_BYTES = 200

_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
# Windows opens a device for these, whatever follows the first dot.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?:\..*)?", re.I)
# What stands beside texts in many folders and is about the folder itself.
_ABOUT = re.compile(r"(?:readme|licen[cs]es?|copying|changelog|requirements)(?:[-_. ].*)?", re.I)
_JOINERS = "\u200c\u200d"


def fold_name(name: str) -> str:
    """The form under which two names are the same file on a case-blind, normalising disk."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_neutral_name(name: str) -> bool:
    """Whether the name marks texts that are no concept: neutral ones, or one concept's contrast."""
    return name.startswith("_")


AGAINST = "_against "
"""How the names of files begin whose texts one concept is contrasted with: `_against calm.txt`.

The underscore makes programs that know no such files take them for neutral texts.
"""


def against_name(concept: str) -> str:
    """The name of the texts that a concept is contrasted with."""
    return f"{AGAINST}{concept}"


def contrasted(name: str) -> str:
    """The concept that texts of this name are contrasted with; empty for all other texts."""
    return name.removeprefix(AGAINST) if name.startswith(AGAINST) else ""


def holds_neutral_texts(name: str) -> bool:
    """Whether texts of this name are neutral: no concept's, and no concept's contrast."""
    return is_neutral_name(name) and not contrasted(name)


def is_about_folder(name: str) -> bool:
    """Whether a file of this name, such as README or requirements, is no concept."""
    return _ABOUT.fullmatch(name) is not None


def check_name(name: str, existing: Iterable[str] = (), *, neutral: bool = False) -> str:
    """The name as it will be stored: stripped, NFC, without a typed `.txt`.

    Args:
        name: what the user typed.
        existing: names that are taken (compared under case folding).
        neutral: True for neutral texts, whose names get a leading underscore if they lack it;
            without it a leading underscore is refused.

    Raises:
        UserError: the name is not a safe file name, or is taken.
    """
    cleaned = unicodedata.normalize("NFC", name).strip(" \t\r\n")
    if cleaned.lower().endswith(SUFFIX) and len(cleaned) > len(SUFFIX):
        cleaned = cleaned[: -len(SUFFIX)].rstrip(" ")
    if neutral and cleaned and not is_neutral_name(cleaned):
        cleaned = f"_{cleaned}"
    fault = _fault(cleaned, neutral)
    if fault:
        raise UserError(
            fault,
            where=f"concept name '{printable(name)}'",
            fix="use a word or two, such as calm or quiet_joy",
        )
    taken = next((other for other in existing if fold_name(other) == fold_name(cleaned)), None)
    if taken is not None:
        raise UserError(
            f"there is already a concept '{taken}'",
            where=f"concept name '{printable(name)}'",
            fix="choose another name or edit that one (upper and lower case count as the same)",
        )
    return cleaned


def require_file_name(name: str) -> str:
    """A name that came in a file, before it names a file.

    Raises:
        UserError: it is no safe file name as it stands.
    """
    if check_name(name) != name:
        raise UserError("the concept's name is no file name", where=printable(name))
    return name


def _fault(name: str, neutral: bool) -> str:
    rules = (
        (not name, "the name is empty"),
        (not name.strip("."), "a name needs more than dots"),
        (neutral and not name.strip("_"), "a name needs more than underscores"),
        (_invisible(name), "the name has a control or invisible character"),
        (_FORBIDDEN.search(name), 'a name cannot contain / \\ : * ? " < > |'),
        (name.startswith("."), "a name cannot begin with a dot (the file would be hidden)"),
        (name.endswith((".", " ")), "a name cannot end with a dot or a space"),
        (len(name) > MAX_NAME_LENGTH, f"the name is longer than {MAX_NAME_LENGTH} characters"),
        (_bytes(name) > MAX_NAME_BYTES, f"the name is longer than {MAX_NAME_BYTES} bytes"),
        (_DEVICE.fullmatch(name), "Windows keeps this name for a device"),
        (is_about_folder(name), "files of this name are about the folder"),
        (not neutral and is_neutral_name(name), "a leading underscore marks neutral texts"),
    )
    return next((message for wrong, message in rules if wrong), "")


def _bytes(name: str) -> int:
    return len(name.encode("utf-8", "surrogatepass"))


def _invisible(name: str) -> bool:
    return any(
        unicodedata.category(c) in {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"} and c not in _JOINERS
        for c in name
    )
