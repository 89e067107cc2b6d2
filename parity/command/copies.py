"""Runs a command in a copy of its process, which may be ended: by a library, or at a limit of time or memory.

TensorFlow aborts over a number of threads that is none, XLA exits over an unknown flag, and the kernel ends a
process that takes too much memory. A small ONNX file can ask for a loop of 2⁶² rounds or for an array of
16 GB, and no runtime refuses it. No Python code runs then. So the command goes on in a copy of its process,
which notes what it is busy with, and the process itself waits for the copy's end. Then it ends what the copy
has started and left (Linux).
"""

import atexit
import mmap
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import NoReturn

from parity.command import interrupts, keeper
from parity.errors import UserError

_LONGEST = 200  # bytes of a note
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_OTHERS: set[int] = set()  # processes below this one that are not the command's: a shell has left them to it
POLL = 0.02  # seconds between two looks at the copy
PATIENCE = 0.3  # seconds in which the processes that a copy left may end by themselves
LAST_WORDS = 2.0  # seconds in which one may write down what a library has said before it ended the copy
SHARE = 0.75  # of the memory that is free
PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Death:
    """The end of a copy that Python did not end.

    Attributes:
        during: what the copy had noted.
        how: "with exit code 1", "by signal SIGABRT".
    """

    during: str
    how: str


class _Note:
    """What a copy is busy with, and whether it works, in memory that the waiting process shares."""

    def __init__(self, text: str) -> None:
        self._shared = mmap.mmap(-1, 1 + _LONGEST)
        self.works = True
        self.write(text)

    @property
    def works(self) -> bool:
        """Whether Python has not ended: until then, an end is a library's doing."""
        return self._shared[:1] == b"\1"

    @works.setter
    def works(self, value: bool) -> None:
        self._shared[:1] = b"\1" if value else b"\0"

    def write(self, text: str) -> None:
        self._shared[1:] = text.encode(errors="replace")[:_LONGEST].ljust(_LONGEST, b"\0")

    def read(self) -> str:
        return self._shared[1:].rstrip(b"\0").decode(errors="replace")


_NOTES: dict[int, _Note] = {}  # of this process, if it is a copy; a process that it forks has another number


def busy(doing: str) -> None:
    """Note what begins; "" notes that it has ended."""
    if (note := _NOTES.get(os.getpid())) is not None:
        note.write(doing)


def _python_ends() -> None:
    if (note := _NOTES.get(os.getpid())) is not None:
        note.works = False


def end(code: int) -> None:
    """End a copy now, whatever threads, processes or exit handlers foreign code has left in it."""
    if os.getpid() in _NOTES:
        sys.stdout.flush()
        sys.stderr.flush()
        _python_ends()
        os._exit(code)


def within_limits(what: str, seconds: float, memory: float = inf) -> None:
    """Go on in a copy of this process, within limits of time and memory.

    Where processes cannot be copied (Windows), there is no limit.

    Args:
        what: what the copy works on, for the message.
        seconds: the time limit.
        memory: the bytes above which it is ended; three quarters of the free memory, if these are fewer.

    Raises:
        UserError: in the process that waits: the copy was ended.
    """
    death = go_on(what, seconds, min(memory, memory_limit()))
    if death is not None:
        raise UserError(f"{what}: the process that ran it ended {death.how}")


def go_on(doing: str = "", seconds: float = inf, memory: float = inf) -> Death | None:
    """Go on in a copy of this process. This process waits, and ends as the copy does.

    It does so only where it runs one command and has no other threads, which a copy would not have.
    Elsewhere, and where processes cannot be copied (Windows), it goes on itself.

    Args:
        doing: what the copy notes first.
        seconds: the time after which the copy is ended.
        memory: the bytes above which it is ended.

    Returns:
        None in the process that goes on. In the one that waits: how the copy died, if a library ended it.

    Raises:
        UserError: in the process that waits: the copy was ended at a limit.
    """
    if sys.platform == "win32" or not interrupts.CTRL_C.installed:
        return None
    import parity.files  # noqa: F401 (now, because a signal may come in the middle of an import)

    note = _Note(doing)
    _OTHERS.update(keeper.descendants())
    alive = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    copy = os.fork()
    if not copy:
        _start(note, alive)
        return None
    os.close(alive[0])
    try:
        return _wait(copy, note, doing, seconds, memory)
    finally:
        os.close(alive[1])


def _start(note: _Note, alive: tuple[int, int]) -> None:
    """What a copy does first."""
    _NOTES[os.getpid()] = note
    interrupts.CTRL_C.is_copy = True
    atexit.register(_python_ends)
    end_with_parent()
    os.close(alive[1])
    threading.Thread(target=_end_with_parent, args=(alive[0],), daemon=True).start()


def end_with_parent() -> None:
    """Let the kernel end this process with the one that started it (Linux), even where no thread can run."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _end_with_parent(reading: int) -> NoReturn:
    os.read(reading, 1)  # nothing is written: it returns when the other end is closed
    os._exit(1)


def _wait(copy: int, note: _Note, doing: str, seconds: float, memory: float) -> Death:
    """How the copy died. If Python ended it, this process ends as the copy has."""
    interrupts.CTRL_C.copy, interrupts.CTRL_C.clean = copy, _clean_up
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # The copy answers Ctrl-C. If it does not, the thread that watches here ends both.
        signal.signal(signal.SIGINT, lambda number, frame: interrupts.send(copy, number))
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end_all)
    keeper.inherit_orphans()
    status, limit = _end_of(copy, seconds, memory)
    interrupts.CTRL_C.copy = 0
    code = os.waitstatus_to_exitcode(status)
    if code == interrupts.CODE:
        interrupts.CTRL_C.end(f"error: {interrupts.CTRL_C.says()}")
    if not limit and not note.works:
        _let_end(PATIENCE)
        keeper.end_descendants({}, spared=_OTHERS)
        os._exit(code if code >= 0 else 128 - code)
    if not limit:
        _let_end(LAST_WORDS)
    _clean_up()
    if limit:
        raise UserError(f"{doing} took more than {limit}, and was ended")
    how = f"with exit code {code}" if code >= 0 else f"by signal {signal.Signals(-code).name}"
    return Death(note.read(), how)


def _clean_up() -> None:
    """Do what the copy could not do before its end."""
    from parity.files import remove_leftover_folders  # `go_on` has imported it

    keeper.end_descendants({}, spared=_OTHERS)
    interrupts.show_cursor()
    remove_leftover_folders()


def _let_end(seconds: float) -> None:
    """Give the processes that the copy started and left the time to end by themselves."""
    deadline = time.monotonic() + seconds
    while keeper.descendants(_OTHERS) and time.monotonic() < deadline:
        keeper.reap({})
        time.sleep(POLL)


def _end_all(number: int, frame: object) -> NoReturn:
    """Clean up, and end by the signal that asked for it."""
    for another in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(another, signal.SIG_IGN)
    _clean_up()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _end_of(copy: int, seconds: float, memory: float) -> tuple[int, str]:
    """The exit status of the copy, and the limit at which it was ended, or ""."""
    deadline, limit = time.monotonic() + seconds, ""
    while True:
        ended, status = os.waitpid(copy, 0 if limit else os.WNOHANG)
        if ended:
            return status, limit
        start = time.monotonic()
        if start > deadline:
            limit = f"{seconds:g} seconds (--timeout)"
        elif memory < inf and keeper.exceeds(memory, _OTHERS):
            limit = f"{memory / 2**30:.1f} GiB of memory"
        if limit:
            interrupts.send(copy, signal.SIGKILL)
        else:  # on a machine with many processes a look takes long
            time.sleep(POLL + 10 * (time.monotonic() - start))


def memory_limit() -> int:
    """Bytes that foreign code may take: three quarters of what is free."""
    free = [2**62]
    with suppress(OSError, ValueError, StopIteration):
        lines = (PROC / "meminfo").read_text().splitlines()
        free.append(int(next(li for li in lines if li.startswith("MemAvailable:")).split()[1]) * 1024)
    with suppress(OSError, ValueError):  # the container's; what it uses includes files that can be dropped
        free.append(int((GROUPS / "memory.max").read_text()))
    return int(min(free) * SHARE)
