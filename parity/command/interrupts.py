"""Ctrl-C ends a command within a second, with one line and exit code 130, whatever it is doing.

Python raises KeyboardInterrupt in the main thread, and only between two of its own instructions: a library
may swallow it, in a callback or in a destructor, or compute for seconds before it is seen. So a thread waits
beside the command. If the command has not ended a little after the signal, the thread ends the process.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, NoReturn

CODE = 130  # 128 + SIGINT, as shells have it
PATIENCE = 0.5  # seconds for the command to clean up
SHOW_CURSOR, CLEAR_LINE = "\x1b[?25h", "\x1b[2K"  # of a progress bar, which hides the cursor


def plainly() -> str:
    """What is said after Ctrl-C if a command has nothing to add."""
    return "interrupted"


def send(process: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(process, number)


def answer_until_installed() -> None:
    """Answer Ctrl-C by one line, while the command is still being imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: object) -> NoReturn:
    with suppress(OSError):
        os.write(2, f"error: {plainly()}\n".encode())
    os._exit(CODE)


def show_cursor() -> None:
    """Clear a progress bar's line, and show the cursor again, for a process that cannot do so any more."""
    with suppress(OSError, ValueError, AttributeError):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{CLEAR_LINE}{SHOW_CURSOR}")
            sys.stderr.flush()


class Interrupts:
    """Ends this process after Ctrl-C.

    Attributes:
        installed: whether `install` was called: the process runs a command, and nothing else.
        seen: whether Ctrl-C was pressed. Until `install` was called, this is False.
        forget: called at Ctrl-C, to drop messages that are held back.
        says: what is said after Ctrl-C.
        clean: called at the end, for what a copy has left.
        copy: a forked process that does this one's work, or 0.
        is_copy: whether this is such a process: then the other one prints the line.
    """

    def __init__(self) -> None:
        self.installed = False
        self.seen = False
        self.forget: list[Callable[[], None]] = []
        self.says: Callable[[], str] = plainly
        self.clean: Callable[[], object] = lambda: None
        self.copy = 0
        self.is_copy = False
        self._raised = False
        self._once = threading.Lock()
        self._errors: IO[str] | None = None

    def install(self) -> None:
        """Watch for Ctrl-C from now on. Does nothing where it is ignored, as in `nohup` or `command &`."""
        self.installed = True
        if sys.platform == "win32" or signal.getsignal(signal.SIGINT) not in (
            signal.default_int_handler,
            _leave,
        ):
            return
        with suppress(OSError):  # a copy, because standard error itself may be held back then
            self._errors = os.fdopen(os.dup(2), "w", errors="replace")
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.signal(signal.SIGINT, self._raise)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reading,), daemon=True).start()

    def _raise(self, number: int, frame: object) -> None:
        if self._raised:
            return  # the second of two signals must not disturb what the first began
        self._raised = True  # not `seen`, which the thread that watches may have set already
        self._see()  # before anybody can make another error of it, or print it
        raise KeyboardInterrupt

    def _see(self) -> None:
        self.seen = True
        for drop in tuple(self.forget):
            drop()
        with suppress(OSError):  # what libraries say of it is of no use
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def _watch(self, reading: int) -> None:
        while signal.SIGINT not in os.read(reading, 1):
            pass
        self._see()
        time.sleep(PATIENCE)
        self.end(f"error: {self.says()}")

    def end(self, line: str) -> NoReturn:
        """Print the line, and end this process and those that it started, without waiting for threads."""
        self._once.acquire()  # a second thread waits here for the end
        with suppress(OSError, ValueError):
            if self._errors is not None and not self.is_copy:
                self._errors.write(f"{SHOW_CURSOR if self._errors.isatty() else ''}{line}\n")
                self._errors.flush()
        if self.copy:
            send(self.copy, signal.SIGKILL)
            with suppress(OSError):  # it may have been waited for
                os.waitpid(self.copy, 0)
        with suppress(Exception):  # the process must end
            self.clean()
        if "multiprocessing" in sys.modules:
            import multiprocessing

            for child in multiprocessing.active_children():
                child.kill()
        os._exit(CODE)


CTRL_C = Interrupts()
