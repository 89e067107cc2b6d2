"""The threads of the fast path: what runs on them, what BLAS may use meanwhile, and what is left behind."""

import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from lenet_numpy import parallel
from lenet_numpy.fast import FEWEST, LeNet
from lenet_numpy.parallel import allowed, on_threads

FORKED = """
import os
import numpy as np
from threadpoolctl import threadpool_limits
from lenet_numpy.fast import FEWEST, LeNet
model, images = LeNet(), np.ones((2 * FEWEST, 1, 28, 28), np.float32)
with threadpool_limits(2):
    model(images)
    child = os.fork()
    model(images)
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.fixture(autouse=True)
def two():
    with threadpool_limits(2):
        yield
        assert allowed() == 2  # as before


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_number_has_a_thread_of_its_own_and_the_first_is_this_one(count):
    seen: dict[int, threading.Thread] = {}
    together = threading.Barrier(count, timeout=60)

    def run(k: int, threads: int) -> None:
        assert threads == count
        seen[k] = threading.current_thread()
        together.wait()  # a thread that has two of the numbers never comes to the second

    with threadpool_limits(count):
        assert on_threads(run, most=5) == count
    assert sorted(seen) == list(range(count))
    assert seen[0] is threading.current_thread()
    assert len(set(seen.values())) == count


def test_as_many_threads_are_allowed_as_blas_may_use():
    for count in (1, 3):
        with threadpool_limits(count):
            assert allowed() == count


def test_a_blas_that_cannot_be_asked_has_one_thread(monkeypatch):
    nothing = ThreadpoolController().select(user_api="none")
    monkeypatch.setattr(parallel, "_blas", lambda: nothing)
    assert allowed() == 1
    monkeypatch.undo()


@pytest.mark.parametrize(("most", "expected"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_there_are_no_more_threads_than_asked_for_and_allowed(most, expected):
    assert on_threads(lambda k, threads: None, most) == expected


def test_meanwhile_each_product_has_one_thread():
    meanwhile = list[int]()
    on_threads(lambda k, threads: meanwhile.append(allowed()), 2)
    assert meanwhile == [1, 1]


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_raised_when_all_threads_have_ended(failing):
    ended = list[int]()

    def run(k: int, threads: int) -> None:
        if k == failing:
            raise KeyboardInterrupt(k)
        time.sleep(0.05)
        ended.append(k)

    with threadpool_limits(3), pytest.raises(KeyboardInterrupt) as raised:
        on_threads(run, 3)
    assert raised.value.args == (failing,)
    assert sorted(ended) == [k for k in range(3) if k != failing]


def test_floating_point_errors_are_handled_on_all_threads_as_here():
    with np.errstate(invalid="raise", over="ignore"):
        found = dict[int, Any]()
        on_threads(lambda k, threads: found.update({k: np.geterr()}), 2)
    assert found[0] == found[1]
    assert (found[1]["invalid"], found[1]["over"]) == ("raise", "ignore")


def test_callers_on_several_threads_take_turns():
    """With the buffers of one model, on whole numbers, which have the same sums in any order."""
    rng, model = np.random.default_rng(0), LeNet("float64")
    model.flat[...] = rng.integers(-1, 2, model.flat.size)
    model.lay_out()
    images = rng.integers(0, 2, (3, 4 * FEWEST, 1, 28, 28)).astype(float)
    expected, found = [model(some) for some in images], list[tuple[int, np.ndarray]]()

    def call(number: int) -> None:
        found.extend((number, model(images[number])) for _ in range(5))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 15
    for number, logits in found:
        np.testing.assert_array_equal(logits, expected[number])


def test_a_process_that_is_forked_starts_threads_of_its_own():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=60)
