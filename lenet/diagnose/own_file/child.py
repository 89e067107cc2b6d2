"""The process in which `lenet check` runs a user's file. It sends answers and events through a pipe.

    python -P -u -m lenet.diagnose.own_file.child FILE MESSAGES STACK

MESSAGES and STACK are the descriptors of two pipes: for the messages of `frames`, and for the Python stack if
a signal is about to end the process. There is no file and no folder that the user's code could replace.
"""

import faulthandler
import os
import signal
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable
from json import dumps  # now, because the user's code may replace it
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from safetensors.numpy import save

import lenet
from lenet.diagnose.own_file import raised_in
from lenet.diagnose.own_file.frames import EVENT, LETTERS, LONGEST_ANSWER, send
from lenet.diagnose.own_file.interface import FUNCTIONS, Misused, OwnPort
from lenet.diagnose.probe_inputs import Probes, standard
from lenet.ports import Arrays
from parity.command.copies import end_with_parent
from parity.errors import not_installed

# The name of the user's file as a module. Not "__main__", so that a block for that is left out, but the name
# that multiprocessing gives the main module in spawned processes, so that they find the file's functions.
NAME = "__mp_main__"
FRAMES, SAID, WIDTH = 3, 10, 500  # numbers of frames, of lines and of their characters shown of an exception
NOT_THEIRS = [
    Path(lenet.__file__).parent,
    *(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
    *map(Path, [*site.getsitepackages(), site.getusersitepackages()]),
]


def main() -> NoReturn:
    """Run the file on every probe, and exit without waiting for threads that it left running."""
    file, messages, stack = Path(sys.argv[1]).absolute(), int(sys.argv[2]), int(sys.argv[3])
    end_with_parent()  # if the keeper is killed
    for descriptor in (messages, stack):
        os.set_inheritable(descriptor, False)
    faulthandler.enable(stack)
    faulthandler.register(signal.SIGUSR1, stack)  # the parent asks for it at the time limit
    log = Log(messages)
    cwd = Path.cwd()  # read now, because the file may change it
    try:
        probes = standard()  # before the user's code runs, which may change what is read
        run(file, probes, log)
    except Misused as error:
        log.write(misused=shortened(str(error)))
    except BaseException as error:  # SystemExit and KeyboardInterrupt included: each ends the run
        log.write(failure=their_lines(error, cwd))
    else:
        log.write(done=True)
    os._exit(0)


class Log:
    """Reports each event and answer to the judge as it happens. Each report extends the time limit."""

    def __init__(self, pipe: int) -> None:
        self.pipe, self.process = pipe, os.getpid()

    def write(self, **event: Any) -> None:
        """Send an event."""
        self._send(EVENT, dumps(event).encode())

    def answer(self, name: str, arrays: Arrays) -> None:
        """Send a function's answer.

        Raises:
            Misused: it is too large.
        """
        size = sum(array.nbytes for array in arrays.values())
        if size > LONGEST_ANSWER - 2**16:  # for the names
            raise Misused(f"{name} returned {size / 2**20:,.0f} MiB in all, which is too large")
        self._send(next(letter for letter, known in LETTERS.items() if known == name), save(arrays))

    def _send(self, letter: bytes, content: bytes) -> None:
        if os.getpid() != self.process:  # the user's code forked, and the copy came back here
            os._exit(0)
        send(self.pipe, letter, content)


def run(file: Path, probes: Probes, log: Log) -> None:
    """Import the file, and call its functions on every probe."""
    log.write(phase="import")
    module = load(file)
    functions = {name: getattr(module, name, None) for name in FUNCTIONS}
    if functions["activations"] is None:
        public = [n for n, f in vars(module).items() if callable(f) and getattr(f, "__module__", "") == NAME]
        has = f"; it defines {', '.join(public)}" if public else ""
        raise Misused(f"there is no function {FUNCTIONS['activations']} in {file.name}{has}")
    dtype, layers = getattr(module, "DTYPE", "float32"), getattr(module, "LAYERS", None)
    port = OwnPort(**functions, dtype=dtype, layers=layers, tell=log.write)
    log.write(offered=list(port.functions), dtype=port.dtype)
    port.observe(probes, log.answer)


def load(file: Path) -> ModuleType:
    """Import the file as `python FILE` would run it, except for its __name__."""
    sys.argv = [str(file)]
    sys.path.insert(0, str(file.parent))
    module = ModuleType(NAME)
    module.__file__ = str(file)
    sys.modules[NAME] = module  # dataclasses and others look themselves up here
    sys.modules["__main__"] = module  # whose file multiprocessing runs in the processes that it spawns
    exec(compile(file.read_bytes(), file, "exec", dont_inherit=True), vars(module))
    return module


def their_lines(error: BaseException, cwd: Path, theirs: Callable[[str], bool] | None = None) -> list[str]:
    """The end of the traceback as Python prints it, with only the frames of some files: the user's own, if
    `theirs` does not say which."""
    trace = traceback.TracebackException.from_exception(error)
    lines, theirs = [], theirs or is_theirs
    for frame in [frame for frame in trace.stack if theirs(frame.filename)][-FRAMES:]:
        path = Path(frame.filename)
        lines += [f'File "{path}", line {frame.lineno}, in {frame.name}', f"  {frame.line}"]
    said = "".join(trace.format_exception_only()).splitlines()
    if isinstance(error, SyntaxError):
        said = [line.removeprefix("  ") for line in said]  # remove Python's extra indent
    lines += [*said[:SAID], "…"] if len(said) > SAID else said
    lines += filter(None, [raised_in.layer(error)])
    if isinstance(error, ModuleNotFoundError):
        lines.append(f"Searched beside the file and in the packages of {sys.executable}, which runs lenet.")
        lines += filter(None, [not_installed(error)])
    return [shortened(line.replace(f'File "{cwd}{os.sep}', 'File "')) for line in lines]


def shortened(line: str) -> str:
    """The line without what is beyond its first characters."""
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}…"


def is_theirs(filename: str) -> bool:
    """Whether a source file is the user's: not Python's, not ours, not an installed package's."""
    path = Path(filename)
    return path.is_absolute() and not any(path.is_relative_to(other) for other in NOT_THEIRS)


if __name__ == "__main__":
    main()
