"""Processes that each hold a framework: they import side by side, and no threads run beside another's clock.

A worker makes an object over there, whose methods are called from here. It is started afresh: a fork
would copy the locks of threads that it does not copy.
"""

import multiprocessing
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Self

from lenet.ports.quiet import hide_warnings
from parity.errors import UserError

SPAWN = multiprocessing.get_context("spawn")
LAST_SECONDS = 10  # that an idle process gets to end by itself


class Worker:
    """A process and the object in it; a context manager that ends it.

    Args:
        name: of what it holds, for a message about its end.
        make: called over there with `args`; all of them picklable, and small: they are taken when Python
            has started over there.
    """

    def __init__(self, name: str, make: Callable[..., Any], *args: Any) -> None:
        self.name = name
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs, make, args))
        self._process.start()
        theirs.close()  # so that its end shows here

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(LAST_SECONDS)
        self._process.kill()  # whatever it may still be doing
        self._process.join()

    def call(self, method: str, *args: Any) -> Any:
        """What a method of the object returns.

        Raises:
            UserError: it, or the making of the object, did; or the process has died.
        """
        try:
            self._pipe.send((method, args))
            kind, value = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            code = self._process.exitcode or 0
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise UserError(f"the process of {self.name} ended {how}; try it alone") from error
        if kind == "refused":
            raise UserError(value)
        if kind == "failed":
            raise RuntimeError(f"in the process of {self.name}:\n{value}")
        return value


def _serve(pipe: Connection, make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends us
    hide_warnings()
    with suppress(EOFError, ConnectionError):  # the parent has gone
        try:
            held = make(*args)
            while True:
                method, args = pipe.recv()
                pipe.send(("answered", getattr(held, method)(*args)))
        except (EOFError, ConnectionError):
            raise
        except UserError as error:
            pipe.send(("refused", str(error)))
        except Exception:
            pipe.send(("failed", traceback.format_exc()))
