"""The number of threads that numpy's and scipy's linear algebra runs on."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np  # noqa: F401
import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController


@contextmanager
def single_thread() -> Iterator[None]:
    """Run matrix products and factorisations of numpy and scipy on one thread inside.

    Many small ones take turns here: sharing each between threads costs more than it saves, up to
    a hundred times the time where another process wants the same cores. And sums are then added
    in the same order whatever the number of cores.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    # Finding the loaded libraries takes some 10 ms; numpy and scipy have loaded theirs above.
    return ThreadpoolController()
