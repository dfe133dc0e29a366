"""Mutated inputs for every reader: each gives a result or one printable sentence, soon.

`make fuzz` runs it for longer; an input that fails is kept in `build/fuzz/` and belongs into
`tests/corpus/TARGET/`, from where every later run begins.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from readout_ui.errors import UserError
from readout_ui.runs.importing import read_vectors
from readout_ui.runs.manifest import parse_manifest
from readout_ui.runs.packs import parse_about, read_pack
from readout_ui.runs.tensors import read_tensors
from readout_ui.texts.exchange import read_set
from readout_ui.texts.labelled import pick_columns
from readout_ui.texts.memory import parse_node, read_jsonl, read_sqlite
from readout_ui.texts.memory_pages import page_of
from readout_ui.texts.pairs import pick_pairs, read_pair_table, require_columns
from readout_ui.texts.reading import parse_descriptions
from readout_ui.texts.stories import read_stories, read_story_zip
from readout_ui.texts.streams import open_texts
from readout_ui.texts.table_files import read_pasted, read_table
from readout_ui.texts.tables import TextTable

CORPUS = Path(__file__).parents[1] / "corpus"
KEPT = Path("build") / "fuzz"
LONGEST_SECONDS = 5.0
TOKENS = (
    *(
        b"{",
        b"[",
        b'"',
        b"\\",
        b"\0",
        b"\r\n",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xc3",
        b"\xed\xa0\xbd",
    ),
    *(b'"\\ud83d"', b"NaN", b"1e999", b"-0", b"null", b"9" * 5000, b"[" * 3000, b'{"a":' * 3000),
    *(b"sep=;\n", b"text,label\n", b'{"text": "a", "label": "b"}\n', b"PK\x01\x02", b"\x1b[2J"),
    *("\u2028".encode(), "\u200b\n".encode(), b"calm:9 ", b"\n\n", b"\xff" * 8, b"\0" * 8),
)


def _labelled(table: TextTable) -> None:
    text = table.guess_text()
    pick_columns(table, text, table.guess_labels(text))


def _pairs(raw: bytes, name: str) -> None:
    table = read_pair_table(raw, name)
    pick_pairs(table, require_columns(table))


def _as_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def target(raw: bytes) -> None:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / name
            path.write_bytes(raw)
            read(path)

    return target


def _passages(path: Path) -> None:
    list(open_texts(path).passages(lambda _: None))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass" if raw.isascii() else "replace")


TARGETS: dict[str, Callable[[bytes], object]] = {
    "descriptions.txt": lambda raw: parse_descriptions(raw, "x.txt"),
    "table.csv": lambda raw: _labelled(read_table(raw, "x.csv")),
    "table.json": lambda raw: _labelled(read_table(raw, "x.json")),
    "table.jsonl": lambda raw: _labelled(read_table(raw, "x.jsonl")),
    "pasted.txt": lambda raw: _labelled(read_pasted(_text(raw))),
    "pairs.json": lambda raw: _pairs(raw, "x.json"),
    "pairs.csv": lambda raw: _pairs(raw, "x.csv"),
    "set.csv": lambda raw: read_set(raw, "x.csv"),
    "set.jsonl": lambda raw: read_set(raw, "x.jsonl"),
    "set.zip": lambda raw: read_set(raw, "x.zip"),
    "stories.jsonl": _as_file("x.jsonl", read_stories),
    "stories.zip": _as_file("x.zip", read_story_zip),
    "memory.jsonl": _as_file("x.jsonl", lambda path: list(read_jsonl(path))),
    "memory.sqlite": _as_file("x.sqlite", lambda path: list(read_sqlite(path))),
    "memory_page.json": lambda raw: page_of(None, [_text(raw)], "server"),
    "node.txt": lambda raw: parse_node("key", _text(raw)),
    "passages.txt": _as_file("x.txt", _passages),
    "passages.jsonl": _as_file("x.jsonl", _passages),
    "manifest.json": lambda raw: parse_manifest(raw, "readout.json"),
    "vectors.safetensors": lambda raw: read_tensors(raw, "x.safetensors"),
    "vectors.gguf": _as_file("x.gguf", read_vectors),
    "pack.zip": _as_file("x.zip", read_pack),
    "pack.json": lambda raw: parse_about(raw, "x.zip"),
    "vectors.npz": _as_file("x.npz", read_vectors),
}


def check(name: str, raw: bytes) -> None:
    """Give a target its input; AssertionError for anything but a result or a good sentence."""
    start = time.perf_counter()
    try:
        TARGETS[name](raw)
    except UserError as error:
        said = str(error)
        assert said, "an empty sentence"
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in said), repr(said[:300])
    except Exception as error:  # the finding
        raise AssertionError(f"{type(error).__name__}: {str(error)[:300]}") from error
    took = time.perf_counter() - start
    assert took < LONGEST_SECONDS, f"took {took:.1f} s"


def corpus(name: str) -> list[bytes]:
    """What the target's inputs are made of."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def mutated(seeds: list[bytes], chance: random.Random) -> bytes:
    """One to six changes of a seed."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.randint(1, 8))
        match chance.randrange(5):
            case 0:
                data[at:at] = chance.choice(TOKENS)
            case 1:
                del data[at:end]
            case 2:
                data[at:end] = data[at:end] * chance.randint(2, 20)
            case 3:
                other = chance.choice(seeds)
                cut = chance.randint(0, len(other))
                data[at:] = other[cut:]
            case _ if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
    return bytes(data[:200_000])


def fuzz(name: str, n_inputs: int, seed: int) -> None:
    """Try many inputs; the first that fails is kept and told."""
    seeds, chance = corpus(name), random.Random(f"{name}{seed}")
    for number in range(n_inputs):
        raw = seeds[number] if number < len(seeds) else mutated(seeds, chance)
        try:
            check(name, raw)
        except AssertionError as error:
            KEPT.mkdir(parents=True, exist_ok=True)
            kept = KEPT / f"{name}-{seed}-{number}"
            kept.write_bytes(raw)
            raise AssertionError(f"{name}: {error}; the input is {kept}: {raw[:120]!r}") from error


def main(seconds: float) -> None:
    """All targets in turn until the time is over."""
    end, seed = time.monotonic() + seconds, int(time.time())
    while time.monotonic() < end:
        for name in TARGETS:
            fuzz(name, 500, seed)
        seed += 1
        print(f"{len(TARGETS) * 500:,} inputs more, all read or refused", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600)
