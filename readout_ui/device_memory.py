"""Running out of device memory: how it is recognised and how much was wanted."""

import gc
import re

import torch

_PHRASES = ("out of memory", "can't allocate memory", "not enough memory")
_WANTED = re.compile(r"tried to allocate ([\d.]+) ?(bytes|[KMGT]i?B)", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is how CUDA, MPS or the CPU allocator say that memory is full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        phrase in str(error).lower() for phrase in _PHRASES
    )


def wanted_memory(error: BaseException) -> str:
    """The size that could not be had, e.g. "2.10 GiB", or "" where the error does not tell."""
    found = _WANTED.search(str(error))
    if found is None:
        return ""
    if found[2].lower() == "bytes":
        return f"{float(found[1]) / 2**30:.2f} GiB"
    return f"{found[1]} {found[2]}"


def release_memory() -> None:
    """Gives unused blocks back, so that a smaller batch finds room."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
