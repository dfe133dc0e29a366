"""A real card that has no memory left for this process; others that use it notice nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from readout_ui.models.devices import release_memory

_SMALLEST = 512
"""Bytes that torch's allocator gives out at least."""


@contextmanager
def full_card(device: torch.device) -> Iterator[None]:
    """Nothing is free inside: torch may ask the card for no more, and what it holds is taken."""
    release_memory()
    held, used = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(held / total, device)
    taken, size = list[torch.Tensor](), held - used
    try:
        while size >= _SMALLEST:
            try:
                taken.append(torch.empty(size, dtype=torch.uint8, device=device))
            except torch.OutOfMemoryError:
                size //= 2
        yield
    finally:
        taken.clear()
        torch.cuda.set_per_process_memory_fraction(1.0, device)
