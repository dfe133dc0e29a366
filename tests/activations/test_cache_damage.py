"""A flipped byte in the cache's file: what was stored is right or missing, and it works again."""

import random
import re
import shutil
from pathlib import Path

import pytest
import torch

from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.pooling import TextActivations

pytestmark = pytest.mark.once
ENTRIES = {
    f"key{n}": TextActivations(
        pooled=torch.full((1, 2, 3), float(n)),
        tokens=torch.full((2, 2, 3), -float(n)),
        n_tokens=5,
        truncated=False,
    )
    for n in range(3)
}


def held(cache: ActivationCache) -> dict[str, TextActivations]:
    return cache.get_many(ENTRIES)


def is_right(found: dict[str, TextActivations]) -> bool:
    return all(torch.equal(found[key].pooled, ENTRIES[key].pooled) for key in found)


@pytest.mark.parametrize("bit", [1, 2, 8])
def test_what_a_damaged_index_leads_astray_is_written_to_a_new_file(
    bit: int, tmp_path: Path
) -> None:
    cache = ActivationCache(tmp_path)
    cache.put_many(ENTRIES, "model")
    cache.close()
    file = tmp_path / "activations.sqlite3"
    damaged = bytearray(file.read_bytes())
    index = re.search(rb"key2.{3,5}key1", damaged)  # whole rows lie farther apart
    assert index is not None
    damaged[index.start()] ^= bit
    file.write_bytes(damaged)
    cache = ActivationCache(tmp_path)
    assert is_right(held(cache))
    cache.put_many(ENTRIES, "model")
    cache.close()
    assert held(ActivationCache(tmp_path)).keys() == ENTRIES.keys()


def test_any_flipped_byte_costs_entries_at_most(tmp_path: Path) -> None:
    cache = ActivationCache(tmp_path / "whole")
    cache.put_many(ENTRIES, "model")
    cache.close()
    raw = (tmp_path / "whole" / "activations.sqlite3").read_bytes()
    written = [place for place, byte in enumerate(raw) if byte]
    chance = random.Random(0)
    for number, place in enumerate([*range(20, 100, 9), *chance.sample(written, 110)]):
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        changed = bytearray(raw)
        changed[place] ^= 1 << (number % 8)
        (folder / "activations.sqlite3").write_bytes(changed)
        cache = ActivationCache(folder)
        assert is_right(held(cache)), place
        cache.summary()
        cache.put_many(ENTRIES, "model")
        cache.close()
        again = ActivationCache(folder)
        found = held(again)
        assert is_right(found), place
        assert found.keys() == ENTRIES.keys(), (place, again.take_notes())
        again.clear()
        again.close()
        assert all("\n" not in note for note in cache.take_notes()), place
