"""Processes that each hold a framework: they import side by side, and no threads run beside another's clock.

A worker makes an object over there, and calls its methods when it is asked to. It is started afresh: a
fork would copy the locks of threads that it does not copy.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

from lenet.errors import LenetError
from lenet.quiet import hide_warnings

SPAWN = multiprocessing.get_context("spawn")
# How many threads a framework may have: read by each library when it is imported.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "PJRT_NPROC",
    "OPENCV_FOR_THREADS_NUM",
)

Tell = Callable[..., None]


class Said(NamedTuple):
    """What comes back: "told" on the way, or "answered" at the end; or why not: "refused", or "failed"."""

    kind: str
    value: Any


class Worker:
    """A process and the object in it.

    Args:
        name: of what it holds, for a message about its end.
        make: called over there with a function that tells, and `args`; all of them picklable. Keep `args`
            small, since they are taken when Python has started over there.
    """

    def __init__(self, name: str, make: Callable[..., Any], *args: Any) -> None:
        self.name = name
        self.pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs, make, args))
        self._process.start()
        theirs.close()  # so that its end shows here

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ask(self, method: str, *args: Any) -> None:
        """Have a method called; `hear` what becomes of it."""
        with suppress(ConnectionError):  # it has ended: `hear` says how
            self.pipe.send((method, args))

    def hear(self) -> Said:
        """The next thing that is told, or the answer.

        Raises:
            LenetError: over there it was raised, or the process has died.
        """
        try:
            said = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            code = self._process.exitcode or 0
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise LenetError(f"{self.name}: its process ended {how}; try it alone") from error
        if said.kind == "refused":
            raise LenetError(said.value)
        if said.kind == "failed":
            raise RuntimeError(f"in the process of {self.name}:\n{said.value}")
        return said

    def call(self, method: str, *args: Any) -> Any:
        """`ask`, and wait for the answer; nothing is told."""
        self.ask(method, *args)
        return self.hear().value

    def end(self) -> None:
        """Whatever it is doing."""
        self.pipe.close()
        self._process.terminate()
        self._process.join()


def share_cores(processes: int) -> None:
    """Give each of so many workers its share of the cores, unless the environment says otherwise."""
    for variable in THREADS:
        os.environ.setdefault(variable, str(max(1, (os.cpu_count() or 1) // processes)))


def _serve(pipe: Connection, make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us
    hide_warnings()

    def tell(*value: Any) -> None:
        pipe.send(Said("told", value))

    try:
        served = make(tell, *args)
        while True:
            method, args = pipe.recv()
            pipe.send(Said("answered", getattr(served, method)(*args)))
    except (EOFError, ConnectionError):
        pass  # the parent has gone
    except LenetError as error:
        pipe.send(Said("refused", str(error)))
    except BaseException:
        pipe.send(Said("failed", traceback.format_exc()))
