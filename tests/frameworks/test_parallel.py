"""The threads of the fast path: what runs on them, what BLAS may use meanwhile, and what is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lenet_numpy import parallel
from lenet_numpy.parallel import allowed, on_threads

MODELS = """
import atexit, os, threading
import numpy as np
from lenet_numpy import parallel
from lenet_numpy.fast import CHUNK, LeNet
rng = np.random.default_rng(0)
images = rng.integers(0, 2, (2 * CHUNK, 1, 28, 28)).astype(float)  # whole numbers: their sums never round

def model():
    found = LeNet("float64")
    found.flat[...] = rng.integers(-1, 2, found.flat.size)
    found.lay_out()
    return found
"""
ON_SEVERAL = """
models = [model() for _ in range(3)]
expected, same = [one(images) for one in models], []
assert len(models[0].shares) == 2

def call(one, logits):
    same.extend(np.array_equal(one(images), logits) for _ in range(20))

callers = [threading.Thread(target=call, args=pair) for pair in zip(models, expected)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
assert same == [True] * 60
assert parallel.allowed() == 2
"""
FORKED = """
one = model()
expected = one(images)
{meanwhile}
child = os.fork()
assert np.array_equal(one(images), expected)
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
LATE = """
{before}
@atexit.register
def late():
    assert model()(images).shape == (len(images), 10)
"""


@pytest.fixture(autouse=True)
def two():
    with threadpool_limits(2):
        yield
        assert allowed() == 2  # as before


def in_a_process(program: str) -> None:
    """Run it behind MODELS, with two threads of BLAS; what it prints to stderr is an error."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        MODELS + program,
    ]  # Python 3.12 warns of forks beside threads
    ended = subprocess.run(command, env=environment, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


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


@pytest.mark.parametrize(("most", "expected"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_there_are_no_more_threads_than_asked_for_and_allowed(most, expected):
    assert on_threads(lambda k, threads: None, most) == expected


def test_as_many_threads_are_allowed_as_blas_may_use():
    for count in (1, 3):
        with threadpool_limits(count):
            assert allowed() == count


@pytest.mark.parametrize(
    ("libraries", "expected"),
    [
        ([], 1),
        ([SimpleNamespace(num_threads=3)], 3),
        ([SimpleNamespace(num_threads=3, threading_layer="pthreads")], 3),
        ([SimpleNamespace(num_threads=3, threading_layer="openmp")], 1),
    ],
)
def test_a_blas_that_cannot_be_asked_or_limited_has_one_thread(libraries, expected, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "_blas", lambda: SimpleNamespace(lib_controllers=libraries))
        assert allowed() == expected


def test_meanwhile_each_product_has_one_thread():
    meanwhile = list[int]()
    on_threads(lambda k, threads: meanwhile.append(allowed()), 2)
    assert meanwhile == [1, 1]


def test_inside_of_a_thread_there_are_no_more():
    inside = list[int]()
    on_threads(lambda k, threads: inside.append(on_threads(lambda k, threads: None, 2)), 2)
    assert inside == [1, 1]


def test_while_another_caller_has_several_there_is_one(monkeypatch):
    with parallel._threads(2) as threads:
        assert threads == 2
        monkeypatch.setattr(parallel, "allowed", lambda: 2)
        assert on_threads(lambda k, threads: None, 2) == 1


def test_a_limit_that_another_thread_has_set_stays():
    """`two` sets it here: the library lets no other thread change it."""
    found = list[int]()
    other = threading.Thread(target=lambda: found.append(on_threads(lambda k, threads: None, 2)))
    other.start()
    other.join()
    assert found == [1]


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


def test_ctrl_c_while_it_waits_is_raised_when_all_threads_have_ended():
    here, ended = threading.get_ident(), list[int]()

    def run(k: int, threads: int) -> None:
        if k:
            for _ in range(2):
                time.sleep(0.1)
                signal.pthread_kill(here, signal.SIGINT)
            time.sleep(0.1)
            ended.append(k)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            on_threads(run, 2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [1]
    assert on_threads(lambda k, threads: None, 2) == 2


def test_floating_point_errors_are_handled_on_all_threads_as_here():
    with np.errstate(invalid="raise", over="ignore"):
        found = dict[int, Any]()
        on_threads(lambda k, threads: found.update({k: np.geterr()}), 2)
    assert found[0] == found[1]
    assert (found[1]["invalid"], found[1]["over"]) == ("raise", "ignore")


def test_callers_on_several_threads_have_their_own_results():
    in_a_process(ON_SEVERAL)


@pytest.mark.parametrize("meanwhile", ["", "parallel._FREE.acquire()"], ids=["idle", "busy"])
def test_a_process_that_is_forked_computes(meanwhile):
    in_a_process(FORKED.format(meanwhile=meanwhile))


@pytest.mark.parametrize("before", ["", "model()(images)"], ids=["first", "again"])
def test_at_the_end_of_the_program_it_computes(before):
    in_a_process(LATE.format(before=before))
