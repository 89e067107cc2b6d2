"""Parts of a batch at the same time, on as many threads as NumPy's matrix product may use.

BLAS divides one product between its threads, and everything else runs on a single thread. Here each thread
does everything for its own digits, and BLAS has one thread for each product. NumPy lets the other threads of
Python run while it computes.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import lru_cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_ONE_AT_A_TIME = Lock()  # the number of BLAS's threads belongs to the whole process


def allowed() -> int:
    """The number of threads that NumPy's BLAS may use now; 1 if it cannot be told."""
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


def on_threads(run: Callable[[int, int], None], most: int) -> int:
    """Call `run(k, threads)` for k = 0 … threads − 1, each on its own thread; the first is this thread.

    Args:
        most: no more threads than this; at least one.

    Returns:
        `threads`.

    Raises:
        whatever `run` raises, when all have ended.
    """

    def alone(k: int) -> None:
        with _blas().limit(limits=1):  # the limit of a BLAS with OpenMP is valid for one thread
            run(k, threads)

    with _ONE_AT_A_TIME:
        threads = 1 if most < 2 else min(most, allowed())
        if threads == 1:
            run(0, 1)
            return 1
        pool = _pool(threads - 1, os.getpid())
        with _blas().limit(limits=1):
            others = [pool.submit(copy_context().run, alone, k) for k in range(1, threads)]
            try:
                run(0, threads)
            finally:
                wait(others)
        for other in others:
            other.result()
        return threads


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


@lru_cache(maxsize=1)
def _pool(count: int, process: int) -> ThreadPoolExecutor:  # a process that is forked has no threads
    return ThreadPoolExecutor(count, thread_name_prefix="lenet_numpy")
