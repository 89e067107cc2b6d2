"""Keeps warnings and greetings of libraries out of the output, and idle packages out of imports."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from parity.command.interrupts import CTRL_C

# What a library wrote is shown without the characters that control a terminal; it may quote a file.
CONTROLS = r"\000-\010\013-\037\177"  # for tr: all but the tabulator and the end of a line
WITHOUT = bytes({*range(32), 127} - set(b"\t\n"))


def hide_warnings() -> None:
    """Hide the frameworks' warnings from users, unless -W asks for them."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Let imports in this block not find these packages, unless they are loaded already.

    A framework may import a large package for a function that no port calls.
    """
    names = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None: "there is no such module"
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@contextmanager
def stderr_held() -> Iterator[None]:
    """Hold back writes to file descriptor 2 in this block.

    They are shown only if the block raises, or if a library ends the process in it.
    """
    import tempfile  # here, because `lenet --help` does not need it

    sys.stderr.flush()
    descriptor = os.dup(2)
    with tempfile.NamedTemporaryFile() as held, _shown_at_death(held.name, descriptor):
        os.dup2(held.fileno(), 2)
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException:
            held.seek(0)
            os.write(descriptor, held.read().translate(None, WITHOUT))
            raise
        finally:
            sys.stderr.flush()
            os.dup2(descriptor, 2)
            os.close(descriptor)


@contextmanager
def _shown_at_death(file: str, descriptor: int) -> Iterator[None]:
    """Copy the file to the descriptor if this process ends within the block.

    A shell waits for a line, which it gets where the block ends or Ctrl-C was pressed. If the process dies,
    the shell sees the end of the pipe instead, whatever ended the process.
    """
    import subprocess

    reading, writing = os.pipe()
    with open(file, "rb") as kept:
        try:
            waiting = subprocess.Popen(
                ["/bin/sh", "-c", f"read -r line || tr -d '{CONTROLS}' < /dev/fd/{kept.fileno()}"],
                stdin=reading,
                stdout=descriptor,
                stderr=subprocess.DEVNULL,
                pass_fds=[kept.fileno()],
                start_new_session=True,  # no signal to the group of this process reaches it
            )
        except OSError:  # no shell here
            waiting = None
    os.close(reading)

    def dismiss() -> None:
        with suppress(OSError):
            os.write(writing, b"\n")

    CTRL_C.forget.append(dismiss)
    try:
        yield
    finally:
        CTRL_C.forget.remove(dismiss)
        dismiss()
        os.close(writing)
        if waiting is not None:
            waiting.wait()
