"""Lets a command outlive a framework that ends the process.

TensorFlow aborts over a number of threads that is none, XLA exits over an unknown flag, and the kernel ends a
process that takes too much memory: no Python code runs then. So the command goes on in a copy of its process,
which notes which port is at work. Where that port ends it, another copy goes on without the port.
"""

import atexit
import mmap
import os
import signal
import sys
import threading
from typing import NoReturn

from parity.command import interrupts

_LONGEST = 200  # bytes of a note


class _Note:
    """What a copy is busy with, in memory that the waiting process shares."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _LONGEST)

    def write(self, text: str) -> None:
        self._shared[:] = text.encode()[:_LONGEST].ljust(_LONGEST, b"\0")

    def read(self) -> str:
        return self._shared[:].rstrip(b"\0").decode(errors="replace")


_NOTE: list[_Note] = []  # of this process, if it is a copy


def busy(port: str) -> None:
    """Note that the work on a port begins; "" says that it has ended."""
    for note in _NOTE:
        note.write(port)


def go_on_in_a_copy() -> dict[str, str]:
    """Go on in a copy of this process, and in another one whenever a port has ended it.

    This process waits, and ends as the last copy does. It does so only where it runs one command and has no
    other threads, which a copy would not have. Elsewhere, and where processes cannot be copied (Windows),
    it goes on itself.

    Returns:
        {port: how it ended an earlier copy}.
    """
    ended: dict[str, str] = {}
    if sys.platform == "win32" or not interrupts.CTRL_C.installed:
        return ended
    while True:
        note = _Note()
        alive = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        copy = os.fork()
        if not copy:
            _start(note, alive)
            return ended
        os.close(alive[0])
        port, how = _wait(copy, note)
        os.close(alive[1])
        ended[port] = f"port {port!r} ended the process {how}"


def _start(note: _Note, alive: tuple[int, int]) -> None:
    """What a copy does first."""
    _NOTE[:] = [note]
    interrupts.CTRL_C.is_copy = True
    atexit.register(busy, "")  # Python ends, not a library
    os.close(alive[1])
    threading.Thread(target=_end_with_parent, args=(alive[0],), daemon=True).start()


def _end_with_parent(reading: int) -> NoReturn:
    os.read(reading, 1)  # nothing is written: it returns when the other end is closed
    os._exit(1)


def _wait(copy: int, note: _Note) -> tuple[str, str]:
    """The port that ended the copy, and how. If none did, this process ends as the copy has."""
    interrupts.CTRL_C.copy = copy
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # The copy answers Ctrl-C. If it does not, the thread that watches here ends both.
        signal.signal(signal.SIGINT, lambda number, frame: interrupts.send(copy, number))
    _, status = os.waitpid(copy, 0)
    interrupts.CTRL_C.copy = 0
    code = os.waitstatus_to_exitcode(status)
    port = note.read()
    if code == interrupts.CODE:
        interrupts.CTRL_C.end(f"error: {interrupts.CTRL_C.says()}")
    if not port:
        os._exit(code if code >= 0 else 128 - code)
    return port, f"with exit code {code}" if code >= 0 else f"by signal {signal.Signals(-code).name}"
