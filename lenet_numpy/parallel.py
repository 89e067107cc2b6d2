"""Parts of a batch at the same time, on as many threads as NumPy's matrix product may use.

BLAS divides one product between its threads, and everything else runs on a single thread. Here each thread
does everything for its own digits, and BLAS has one thread for each product. NumPy lets the other threads of
Python run while it computes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import lru_cache
from threading import Lock, main_thread

from threadpoolctl import ThreadpoolController

MOST = 64  # threads
_FREE = Lock()  # the number of BLAS's threads belongs to the whole process


def allowed() -> int:
    """The number of threads that BLAS may use now; 1 if it cannot be told, or (OpenMP) is a thread's own."""
    libraries = _blas().lib_controllers
    return max(
        (one.num_threads for one in libraries if getattr(one, "threading_layer", "") != "openmp"), default=1
    )


def on_threads(run: Callable[[int, int], None], most: int) -> int:
    """Call `run(k, threads)` for k = 0 … threads − 1, each on its own thread; the first is this thread.

    Args:
        most: no more threads than this; at least one.

    Returns:
        `threads`: 1 while another caller has several, and at the end of the program.

    Raises:
        whatever `run` raises, when all have ended.
    """
    if most < 2 or allowed() < 2:
        run(0, 1)
        return 1
    with _threads(most) as threads:
        _divided(run, threads)
    return threads


@contextmanager
def _threads(most: int) -> Iterator[int]:
    """How many threads there are in this context, in which BLAS has one for each product."""
    if not main_thread().is_alive() or not _FREE.acquire(blocking=False):
        yield 1
        return
    try:
        threads = min(most, allowed(), MOST)
        with _blas().limit(limits=1):
            yield threads if allowed() == 1 else 1  # another thread has set a limit: it stays
    finally:
        _FREE.release()


def _divided(run: Callable[[int, int], None], threads: int) -> None:
    others: list[Future[None]] = []
    try:
        for k in range(1, threads):
            others.append(_pool(os.getpid()).submit(copy_context().run, run, k, threads))
        run(0, threads)
    finally:
        _ended(others)
    for other in others:
        other.result()


def _ended(others: Sequence[Future[None]]) -> None:
    """Wait for all, even if Ctrl-C interrupts it: they write to arrays that the caller uses again."""
    try:
        wait(others)
    except KeyboardInterrupt:
        _ended(others)
        raise


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads start when they are needed. A process that is forked has none of its parent's."""
    return ThreadPoolExecutor(MOST, thread_name_prefix="lenet_numpy")
