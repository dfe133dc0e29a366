"""Linear algebra on one thread, and only inside."""

from threadpoolctl import threadpool_info

from readout_ui.vectors.blas import single_thread


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_one_thread_inside_and_as_many_as_before_outside() -> None:
    before = blas_threads()
    with single_thread():
        assert set(blas_threads()) == {1}
    assert blas_threads() == before
