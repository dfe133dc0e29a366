"""The activation cache: same numbers back, whatever happens to the file."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from readout_ui.activations.cache import DAMAGED_SUFFIX, FILE_NAME, ActivationCache, cache_key
from readout_ui.activations.pooling import TextActivations

SHAPE = (3, 4, 16)
KEY_PARTS = {
    "model_fingerprint": "m",
    "frame_fingerprint": "f",
    "read": "content_mean",
    "layer_type": "decoder_block",
    "paths": ("layers.0",),
    "dtype": "float32",
    "max_length": 256,
    "kept_tokens": 0,
    "text": "I am calm.",
}


def some_activations(seed: int, n_kept: int = 2) -> TextActivations:
    generator = torch.Generator().manual_seed(seed)
    return TextActivations(
        pooled=torch.randn(*SHAPE, generator=generator),
        tokens=torch.randn(n_kept, *SHAPE[1:], generator=generator),
        n_tokens=7 + seed,
        truncated=seed % 2 == 1,
    )


def assert_same(found: TextActivations, expected: TextActivations) -> None:
    assert torch.equal(found.pooled, expected.pooled)
    assert torch.equal(found.tokens, expected.tokens)
    assert (found.n_tokens, found.truncated) == (expected.n_tokens, expected.truncated)


def entries(n: int) -> dict[str, TextActivations]:
    return {f"key{i}": some_activations(i) for i in range(n)}


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ActivationCache]:
    opened = ActivationCache(tmp_path)
    yield opened
    opened.close()


def flip_a_bit(folder: Path, table: str, column: str, key: str) -> None:
    with sqlite3.connect(folder / FILE_NAME) as database:
        database.text_factory = bytes
        (row, value) = database.execute(
            f"SELECT id, {column} FROM {table} JOIN entries USING (id) WHERE key = ?"
            if table == "payloads"
            else f"SELECT id, {column} FROM entries WHERE key = ?",
            (key,),
        ).fetchone()
        changed = bytearray(value)
        changed[len(changed) // 2] ^= 0x80
        new = bytes(changed)
        database.execute(
            f"UPDATE {table} SET {column} = "
            + ("CAST(? AS TEXT)" if column == "header" else "?")
            + " WHERE id = ?",
            (new, row),
        )


def test_another_process_gets_the_same_numbers_back(tmp_path: Path, cache: ActivationCache) -> None:
    cache.put_many(entries(3), "tiny")
    found = ActivationCache(tmp_path).get_many(["key0", "key1", "key2", "unknown"])
    assert set(found) == {"key0", "key1", "key2"}
    for key, expected in entries(3).items():
        assert_same(found[key], expected)


def test_activations_without_kept_tokens_come_back_with_their_shape(tmp_path: Path) -> None:
    ActivationCache(tmp_path).put_many({"key": some_activations(1, n_kept=0)})
    found = ActivationCache(tmp_path).get_many(["key"])["key"]
    assert found.tokens.shape == (0, *SHAPE[1:])


def test_what_was_used_before_in_this_process_needs_no_file(cache: ActivationCache) -> None:
    cache.put_many(entries(2))
    cache.close()
    assert_same(cache.get_many(["key1"])["key1"], some_activations(1))


def test_memory_is_bounded_and_the_file_answers_for_the_rest(tmp_path: Path) -> None:
    one = some_activations(0).n_bytes
    cache = ActivationCache(tmp_path, memory_bytes=2 * one)
    cache.put_many(entries(5))
    assert set(cache.get_many(entries(5))) == set(entries(5))
    cache.close()
    assert len(cache.get_many(entries(5))) == 2


def test_more_keys_than_one_query_takes_are_all_found(cache: ActivationCache) -> None:
    small = {f"key{i}": some_activations(i, n_kept=0) for i in range(1203)}
    cache.put_many(small)
    assert set(ActivationCache(cache.path.parent).get_many(small)) == set(small)


def test_the_summary_counts_texts_and_bytes_per_model(cache: ActivationCache) -> None:
    cache.put_many(entries(3), "big")
    cache.put_many({"other": some_activations(9)}, "small")
    summary = cache.summary()
    size = some_activations(0).n_bytes
    assert [(s.model, s.entries, s.bytes) for s in summary.models] == [
        ("big", 3, 3 * size),
        ("small", 1, size),
    ]
    assert (summary.entries, summary.bytes, summary.on_disk) == (4, 4 * size, True)


def test_clearing_forgets_everything_and_shrinks_the_file(cache: ActivationCache) -> None:
    cache.put_many({f"key{i}": some_activations(i, n_kept=500) for i in range(10)})
    before = sum(file.stat().st_size for file in cache.path.parent.iterdir())
    cache.clear()
    assert cache.get_many(entries(10)) == {}
    assert cache.summary().entries == 0
    after = sum(file.stat().st_size for file in cache.path.parent.iterdir())
    assert after < before / 2


def test_above_the_bound_the_texts_unused_for_longest_go(tmp_path: Path) -> None:
    one = some_activations(0).n_bytes
    cache = ActivationCache(tmp_path, max_bytes=3 * one)
    for key, entry in entries(3).items():
        cache.put_many({key: entry})
    cache.get_many(["key0"])
    cache.put_many({"key9": some_activations(9)})
    found = ActivationCache(tmp_path).get_many([*entries(3), "key9"])
    assert set(found) == {"key0", "key2", "key9"}
    assert cache.summary().bytes == 3 * one


def test_storing_a_text_again_replaces_it(tmp_path: Path, cache: ActivationCache) -> None:
    cache.put_many({"key": some_activations(1)})
    cache.put_many({"key": some_activations(2)})
    assert cache.summary().entries == 1
    assert_same(ActivationCache(tmp_path).get_many(["key"])["key"], some_activations(2))


@pytest.mark.parametrize(("table", "column"), [("payloads", "payload"), ("entries", "header")])
def test_a_flipped_bit_drops_only_that_text(
    tmp_path: Path, cache: ActivationCache, table: str, column: str
) -> None:
    cache.put_many(entries(3))
    cache.close()
    flip_a_bit(tmp_path, table, column, "key1")
    again = ActivationCache(tmp_path)
    assert set(again.get_many(entries(3))) == {"key0", "key2"}
    (note,) = again.take_notes()
    assert "damaged" in note
    assert again.summary().entries == 2
    again.put_many({"key1": some_activations(1)})
    assert set(ActivationCache(tmp_path).get_many(entries(3))) == set(entries(3))


def test_a_row_that_lost_its_numbers_counts_as_missing(
    tmp_path: Path, cache: ActivationCache
) -> None:
    cache.put_many(entries(2))
    cache.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("DELETE FROM payloads WHERE id = (SELECT MIN(id) FROM payloads)")
    again = ActivationCache(tmp_path)
    assert set(again.get_many(entries(2))) == {"key1"}


def test_a_file_that_is_no_database_is_moved_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database " * 999)
    cache = ActivationCache(tmp_path)
    (note,) = cache.take_notes()
    assert "moved to" in note
    assert (tmp_path / (FILE_NAME + DAMAGED_SUFFIX)).read_bytes().startswith(b"not a database")
    cache.put_many(entries(1))
    assert set(ActivationCache(tmp_path).get_many(["key0"])) == {"key0"}


def test_a_database_damaged_inside_is_moved_aside_and_said(tmp_path: Path) -> None:
    cache = ActivationCache(tmp_path)
    cache.put_many({f"key{i}": some_activations(i, n_kept=200) for i in range(40)})
    cache.close()
    path = tmp_path / FILE_NAME
    raw = bytearray(path.read_bytes())
    # The first page holds the schema and must stay; every other page becomes nonsense.
    raw[65536:] = b"\xa5" * (len(raw) - 65536)
    path.write_bytes(raw)
    again = ActivationCache(tmp_path)
    assert again.get_many(entries(40)) == {}
    assert any("moved to" in note for note in again.take_notes())
    again.put_many(entries(2))
    assert set(ActivationCache(tmp_path).get_many(entries(2))) == set(entries(2))


def test_a_folder_that_cannot_be_used_leaves_the_memory_and_one_note(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("a file where the folder should be")
    cache = ActivationCache(in_the_way)
    cache.put_many(entries(2))
    assert_same(cache.get_many(["key1"])["key1"], some_activations(1))
    (note,) = cache.take_notes()
    assert "only until the program ends" in note
    assert cache.take_notes() == ()
    summary = cache.summary()
    assert (summary.on_disk, summary.entries) == (False, 2)


def test_a_file_that_cannot_be_opened_leaves_the_memory_and_one_note(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    cache = ActivationCache(tmp_path)
    cache.put_many(entries(1))
    assert set(cache.get_many(["key0"])) == {"key0"}
    assert len(cache.take_notes()) == 1


def test_a_full_disk_is_noted_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ActivationCache(tmp_path)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(cache._disk, "write", full)
    cache.put_many(entries(1))
    assert set(cache.get_many(["key0"])) == {"key0"}
    assert any("disk is full" in note for note in cache.take_notes())


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.activations.test_cache import some_activations
from readout_ui.activations.cache import ActivationCache
cache = ActivationCache(Path({folder!r}))
for batch in range({batches}):
    cache.put_many({{f"{name}{{batch}}-{{i}}": some_activations(i, n_kept=300) for i in range(20)}})
    print(batch, flush=True)
"""


def start_writer(folder: Path, name: str, batches: int) -> subprocess.Popen[str]:
    code = WRITER.format(
        root=str(Path(__file__).parents[2]), folder=str(folder), name=name, batches=batches
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_writer_killed_in_the_middle_leaves_whole_batches_and_a_usable_file(
    tmp_path: Path,
) -> None:
    writer = start_writer(tmp_path, "killed", batches=10**6)
    assert writer.stdout is not None
    for _ in range(3):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    cache = ActivationCache(tmp_path)
    keys = [f"killed{batch}-{i}" for batch in range(last + 50) for i in range(20)]
    found = cache.get_many(keys)
    per_batch = [sum(f"killed{b}-{i}" in found for i in range(20)) for b in range(last + 50)]
    assert per_batch[: last + 1] == [20] * (last + 1)
    assert set(per_batch) <= {0, 20}
    assert_same(found["killed0-3"], some_activations(3, n_kept=300))
    assert cache.take_notes() == ()
    cache.put_many(entries(1))
    assert set(ActivationCache(tmp_path).get_many(["key0"])) == {"key0"}


def test_the_log_of_an_older_version_that_runs_is_used_too(
    tmp_path: Path, cache: ActivationCache
) -> None:
    cache.put_many(entries(1))
    cache.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as older:
        older.execute("PRAGMA journal_mode = WAL")
        beside = ActivationCache(tmp_path)
        beside.put_many({"new": some_activations(4)})
        assert beside.take_notes() == ()
        beside.close()
    found = ActivationCache(tmp_path).get_many(["key0", "new"])
    assert_same(found["new"], some_activations(4))
    assert_same(found["key0"], some_activations(0))


@pytest.mark.slow
def test_two_processes_write_at_once_and_lose_nothing(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, name, batches=10) for name in ("a", "b")]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    cache = ActivationCache(tmp_path)
    keys = [f"{name}{batch}-{i}" for name in "ab" for batch in range(10) for i in range(20)]
    assert len(cache.get_many(keys)) == 400


@pytest.mark.parametrize(
    "change",
    [
        {"model_fingerprint": "n"},
        {"frame_fingerprint": "g"},
        {"read": "template_last"},
        {"layer_type": "mlp"},
        {"paths": ("layers.1",)},
        {"dtype": "bfloat16"},
        {"max_length": 128},
        {"kept_tokens": 4},
        {"text": "I am calm. "},
    ],
)
def test_whatever_changes_the_activations_changes_the_key(change: dict[str, object]) -> None:
    assert cache_key(**{**KEY_PARTS, **change}) != cache_key(**KEY_PARTS)  # type: ignore[arg-type]


def test_a_text_with_a_lone_surrogate_has_a_key() -> None:
    assert len(cache_key(**{**KEY_PARTS, "text": "\ud800"})) == 64  # type: ignore[arg-type]
