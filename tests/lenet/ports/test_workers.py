"""A worker answers, refuses, dies: what becomes of it is always known here, and none is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lenet.ports import Unsupported, workers
from lenet.ports.quiet import hidden, stderr_held
from lenet.ports.threads import THREADS, share_cores
from lenet.ports.workers import Died, Failed, Worker
from parity.errors import UserError
from tests.helpers import one_line

HELD_BACK = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())  # while this module is imported


class Held:
    """What a worker makes in these tests."""

    def __init__(self, start: int) -> None:
        if start < 0:
            raise Unsupported("cannot start below zero")
        self.total = start

    def add(self, number: int) -> int:
        self.total += number
        return self.total

    def refuse(self) -> None:
        raise UserError("not this")

    def fail(self) -> float:
        return 1 / (self.total - self.total)

    def die(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def leave(self, code: int) -> None:
        os._exit(code)

    def sleep(self) -> None:
        time.sleep(3600)

    def hold_back(self, marker: Path) -> None:
        with stderr_held():
            os.write(2, b"a library greets")
            marker.touch()
            self.sleep()

    def held_back(self) -> bool:
        return HELD_BACK

    def pid(self) -> int:
        warnings.warn("not the user's to read", stacklevel=1)
        print("told on standard error", file=sys.stderr)
        return os.getpid()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_the_object_lives_over_there_from_call_to_call():
    with Worker("adder", Held, 3) as worker:
        assert [worker.call("add", 4), worker.call("add", 5, seconds=60)] == [7, 12]
        pid = worker.call("pid")
        assert pid != os.getpid()
        assert alive(pid)
        assert worker.call("held_back")  # Ctrl-C, while Python was starting there
    assert not alive(pid)


@pytest.mark.slow
def test_what_it_refuses_is_refused_here_and_in_one_line():
    with Worker("adder", Held, -1) as worker, pytest.raises(UserError) as refusal:
        worker.call("add", 1)
    assert one_line(refusal) == "cannot start below zero"
    with Worker("adder", Held, 0) as worker, pytest.raises(UserError, match="not this"):
        worker.call("refuse")


@pytest.mark.slow
def test_a_fault_over_there_shows_its_traceback_here():
    with Worker("adder", Held, 0) as worker, pytest.raises(Failed) as failure:
        worker.call("fail")
    assert failure.value.said == "ZeroDivisionError: division by zero"
    assert "in the process of adder:\nTraceback" in str(failure.value)
    assert "ZeroDivisionError" in str(failure.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "args", "how"),
    [
        ("die", (signal.SIGSEGV,), "by signal SIGSEGV"),
        ("leave", (7,), "with exit code 7"),
        ("leave", (0,), "with exit code 0"),
    ],
)
def test_a_death_is_told_in_one_line_once_and_again(method, args, how):
    with Worker("adder", Held, 0) as worker:
        for again in ((method, *args), ("add", 1)):
            with pytest.raises(Died) as refusal:
                worker.call(*again)
            assert one_line(refusal) == f"the process of adder ended {how}; try it alone"
            assert refusal.value.how == how


@pytest.mark.slow
def test_a_call_that_takes_too_long_ends_the_process():
    with Worker("adder", Held, 0) as worker:
        pid = worker.call("pid")
        with pytest.raises(UserError) as refusal:
            worker.call("sleep", seconds=0.01)
    assert one_line(refusal) == "adder took more than 0.01 seconds, and was ended"
    assert not alive(pid)


@pytest.mark.slow
def test_after_an_error_nobody_waits_for_what_is_still_working(monkeypatch):
    monkeypatch.setattr(Worker, "patience", 1000)
    worker = Worker("adder", Held, 0)
    pid = worker.call("pid")
    worker._pipe.send(("sleep", ()))
    worker.__exit__(KeyboardInterrupt)
    assert not alive(pid)


@pytest.mark.slow
def test_ctrl_c_does_nothing_while_the_first_worker_is_starting():
    """In a process of its own, in which `multiprocessing` starts nothing before."""
    code = """
from lenet.ports.workers import Worker
from tests.lenet.ports.test_workers import Held
if __name__ == "__main__":
    with Worker("adder", Held, 0) as worker:
        print(worker.call("held_back"))
"""
    first = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert first.stdout == "True\n"


@pytest.mark.slow
def test_it_leaves_ctrl_c_to_the_parent_and_ends_with_the_block(monkeypatch):
    monkeypatch.setattr(Worker, "patience", 0.1)
    with Worker("adder", Held, 0) as worker:
        pid = worker.call("pid")
        os.kill(pid, signal.SIGINT)
        assert worker.call("add", 1) == 1
        worker._pipe.send(("sleep", ()))
    assert not alive(pid)


@pytest.mark.slow
def test_warnings_over_there_are_nobodys_to_read(capfd):
    with Worker("adder", Held, 0) as worker:
        worker.call("pid")
    assert capfd.readouterr().err == "told on standard error\n"


def test_cores_are_shared_unless_the_environment_says_otherwise(monkeypatch):
    for variable in THREADS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(THREADS[0], "5")
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    share_cores(4)
    assert [os.environ[variable] for variable in THREADS] == ["5", *["2"] * (len(THREADS) - 1)]


@pytest.mark.slow
def test_calls_are_answered_in_the_order_in_which_they_were_asked():
    with Worker("adder", Held, 0) as worker:
        for number in (1, 2, 3):
            worker.ask("add", number)
        assert [worker.answer() for _ in range(3)] == [1, 3, 6]


@pytest.mark.slow
def test_what_a_library_said_before_it_was_ended_is_not_shown(capfd, tmp_path):
    marker = tmp_path / "held"
    with suppress(KeyboardInterrupt), Worker("holder", Held, 0) as worker:
        worker.ask("hold_back", marker)
        while not marker.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt
    time.sleep(0.5)  # for what must not come
    assert "greets" not in capfd.readouterr().err


def test_a_hidden_package_is_not_found_in_the_block_and_found_after_it():
    code = """
from lenet.ports.quiet import hidden
with hidden("colorsys", "json"):
    try:
        import colorsys
    except ImportError:
        print("not found")
import colorsys, json
print(colorsys.__name__, json.__name__)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "not found\ncolorsys json\n"


def test_a_package_that_is_loaded_is_not_hidden():
    with hidden("pytest"):
        assert sys.modules["pytest"] is pytest
    assert sys.modules["pytest"] is pytest


# --- what runs in the process ------------------------------------------------------------------


class Pipe:
    """Asks for these calls one after the other, and keeps the answers."""

    def __init__(self, *calls: tuple[str, tuple[Any, ...]]) -> None:
        self.calls, self.answers = iter(calls), list[tuple[str, Any]]()

    def recv(self) -> tuple[str, tuple[Any, ...]]:
        for call in self.calls:
            return call
        raise EOFError

    def send(self, answer: tuple[str, Any]) -> None:
        self.answers.append(answer)


@pytest.fixture
def started(monkeypatch) -> list[Any]:
    """What a process of a port does at its start, instead of which it is noted here."""
    done: list[Any] = []
    monkeypatch.setattr(signal, "signal", lambda number, action: done.append((number, action)))
    monkeypatch.setattr(workers, "end_with_parent", lambda: done.append("ends with its parent"))
    monkeypatch.setattr(workers, "hide_warnings", lambda: done.append("hides warnings"))

    class Thread:
        def __init__(self, target: Any, daemon: bool) -> None:
            self.target = (target, daemon)

        def start(self) -> None:
            done.append(self.target)

    monkeypatch.setattr(threading, "Thread", Thread)
    return done


def served(make: Any, args: tuple[Any, ...], *calls: tuple[str, tuple[Any, ...]]) -> list[tuple[str, Any]]:
    pipe: Any = Pipe(*calls)
    workers._serve(pipe, make, args)
    return pipe.answers


def test_a_process_answers_until_nobody_asks(started):
    answers = served(Held, (3,), ("add", (4,)), ("refuse", ()), ("add", (5,)), ("add", ("x",)))
    assert answers[:3] == [("answered", 7), ("refused", "not this"), ("answered", 12)]
    kind, (said, trace) = answers[3]
    assert kind == "failed"
    assert said.startswith("TypeError: unsupported operand")
    assert trace.startswith("Traceback")
    assert len(answers) == 4
    assert set(started[:2]) == {(signal.SIGINT, signal.SIG_IGN), "ends with its parent"}
    assert started[2:] == [(workers._end_with_parent, True), "hides warnings"]


@pytest.mark.usefixtures("started")
def test_a_process_whose_object_cannot_be_made_says_why_once():
    assert served(Held, (-1,), ("add", (4,))) == [("refused", "cannot start below zero")]


def test_a_process_waits_for_its_parent_and_ends_with_a_failure(monkeypatch):
    done: list[Any] = []
    parent = SimpleNamespace(join=lambda: done.append("waited"))
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    monkeypatch.setattr(os, "_exit", done.append)
    workers._end_with_parent()
    assert done == ["waited", 1]
