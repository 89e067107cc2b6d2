"""Runs frameworks in separate processes: they import at the same time, and timing one is not disturbed by
the threads of another.

A worker makes an object in its process, and its methods are called from here. The process is spawned: a fork
would copy the locks of threads, but not the threads. A command that goes on in a copy of its process has no
such threads, and may fork.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Self

from lenet.ports.quiet import hide_warnings
from parity.command.copies import end_with_parent
from parity.command.interrupts import send
from parity.command.keeper import descendants
from parity.errors import UserError, described

SPAWN = multiprocessing.get_context("spawn")


class Failed(RuntimeError):
    """The object's code raised an error that is not for users.

    Attributes:
        said: the error in one line; the text has its traceback.
    """

    def __init__(self, name: str, said: str, trace: str) -> None:
        super().__init__(f"in the process of {name}:\n{trace}")
        self.said = said


class Died(UserError):
    """The process of a worker has ended.

    Attributes:
        how: "with exit code 1", "by signal SIGABRT".
    """

    def __init__(self, said: str, how: str) -> None:
        super().__init__(said)
        self.how = how


class Worker:
    """A process with an object in it; a context manager that ends the process.

    Args:
        name: the name of its content, for a message if it ends early.
        make: called with `args` in the process to make the object. All of these must be picklable, and
            small, because they are read only after Python has started there.

    Attributes:
        advice: what to do if the process has died, for the same message.
        patience: seconds in which an idle process may end by itself.
    """

    advice = "try it alone"
    patience = 10.0

    def __init__(self, name: str, make: Callable[..., Any], *args: Any, context: Any = SPAWN) -> None:
        self.name = name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, args))
        _start(self._process)
        theirs.close()  # so that this side notices when the process ends

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._pipe.close()
        self._process.join(self.patience if error is None else 0)  # after Ctrl-C nobody waits
        if self._process.is_alive():
            for below in descendants(of=self._process.pid):  # first: at its end one shows what libraries said
                send(below, signal.SIGKILL)
        self._process.kill()  # even if it is still working
        self._process.join()

    def call(self, method: str, *args: Any, seconds: float | None = None) -> Any:
        """Call a method of the object and return its result.

        Args:
            method: its name.
            args: its arguments.
            seconds: time limit, after which the process is ended; None waits without a limit.

        Raises:
            UserError: the method or the making of the object raised it, or the process has died, or its time
                is over.
        """
        self.ask(method, *args)
        return self.answer(seconds)

    def ask(self, method: str, *args: Any) -> None:
        """Call a method without waiting for it: `answer` returns the results in the order of the calls."""
        with suppress(ConnectionError):  # the process has ended, as `answer` will say
            self._pipe.send((method, args))

    def answer(self, seconds: float | None = None) -> Any:
        """The result of the first call that was asked and not yet answered; raises as `call` does."""
        try:
            if seconds is not None and not self._pipe.poll(seconds):
                self._process.kill()
                raise UserError(f"{self.name} took more than {seconds:g} seconds, and was ended")
            kind, value = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            code = self._process.exitcode or 0
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise Died(f"the process of {self.name} ended {how}; {self.advice}", how) from error
        if kind == "refused":
            raise UserError(value)
        if kind == "failed":
            raise Failed(self.name, *value)
        return value


def _start(process: Any) -> None:
    """Start a process in which Ctrl-C does nothing, not even while Python is starting there."""
    if not hasattr(signal, "pthread_sigmask"):
        return process.start()
    if isinstance(process, SPAWN.Process):
        resource_tracker.ensure_running()  # else the first `start` does it, and lets SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by the process
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Wait for the parent's end, however it ends, and end this process, whatever it computes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _serve(pipe: Connection, make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    end_with_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    hide_warnings()
    with suppress(EOFError, ConnectionError):  # the parent has ended
        kind, held = _tried(make, args)
        while kind == "answered":
            method, args = pipe.recv()
            pipe.send(_tried(getattr(held, method), args))
        pipe.send((kind, held))


def _tried(call: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any]:
    """What `Worker.call` reads: "answered" and the result, or "refused" or "failed" and why."""
    try:
        return "answered", call(*args)
    except UserError as error:
        return "refused", str(error)
    except Exception as error:
        return "failed", (described(error), traceback.format_exc())
