"""The process in which `lenet check` runs a user's file. It writes answers and events into a folder.

    python -P -u -m lenet.diagnose.own_file.child FILE FOLDER SECONDS

    FOLDER/log.jsonl             a line for each event: the start of a phase, a note, a failure, the end
    FOLDER/NAME-K.safetensors    the K-th answer of function NAME
    FOLDER/where                 the Python stack, if a signal is about to end the process

Nothing is pickled: arrays are stored as safetensors, text as JSON.
"""

import faulthandler
import itertools
import json
import os
import signal
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from safetensors.numpy import save

import lenet
from lenet.diagnose.own_file.interface import FUNCTIONS, Misused, OwnPort
from lenet.diagnose.probe_inputs import Probes, standard
from lenet.ports import Arrays
from parity.errors import not_installed
from parity.files import write_atomically

NAME = "checked_port"  # name of the user's file as a module: not "__main__", and not taken
FRAMES, SAID = 3, 10  # numbers of frames and of lines of text that are shown of an exception
GRACE = 2.0  # seconds after the time limit at which the process ends itself if its parent is gone
NOT_THEIRS = [
    Path(lenet.__file__).parent,
    *(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
    *map(Path, [*site.getsitepackages(), site.getusersitepackages()]),
]


def main() -> NoReturn:
    """Run the file on every probe, and exit without waiting for threads that it left running."""
    file, folder, limit = Path(sys.argv[1]).absolute(), Path(sys.argv[2]), float(sys.argv[3])
    with (folder / "where").open("w") as where:
        faulthandler.enable(where)
        faulthandler.register(signal.SIGUSR1, where)  # the parent asks for it at the time limit
        log = Log(folder, lambda: faulthandler.dump_traceback_later(limit + GRACE, exit=True, file=where))
        cwd = Path.cwd()  # read now, because the file may change it
        try:
            probes = standard()  # before the user's code runs, which may change what is read
            run(file, probes, log)
        except Misused as error:
            log.write(misused=str(error))
        except BaseException as error:  # SystemExit and KeyboardInterrupt included: each ends the run
            log.write(failure=their_lines(error, cwd))
        else:
            log.write(done=True)
        os._exit(0)


class Log:
    """Reports each event to the parent as it happens. Each report extends the time limit."""

    def __init__(self, folder: Path, live_on: Callable[[], None]) -> None:
        self.folder, self.live_on = folder, live_on
        self.counts = {name: itertools.count() for name in FUNCTIONS}

    def write(self, **event: Any) -> None:
        """Add an event to the log."""
        self.live_on()
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def answer(self, name: str, arrays: Arrays) -> None:
        """Save a function's answer. The file is complete as soon as it exists."""
        self.live_on()
        write_atomically(self.folder / f"{name}-{next(self.counts[name])}.safetensors", save(arrays))


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
    exec(compile(file.read_bytes(), file, "exec", dont_inherit=True), vars(module))
    return module


def their_lines(error: BaseException, cwd: Path) -> list[str]:
    """The end of the traceback as Python prints it, with only the frames of the user's own files."""
    trace = traceback.TracebackException.from_exception(error)
    lines = []
    for frame in [frame for frame in trace.stack if is_theirs(frame.filename)][-FRAMES:]:
        path = Path(frame.filename)
        lines += [f'File "{path}", line {frame.lineno}, in {frame.name}', f"  {frame.line}"]
    said = "".join(trace.format_exception_only()).splitlines()
    if isinstance(error, SyntaxError):
        said = [line.removeprefix("  ") for line in said]  # remove Python's extra indent
    lines += [*said[:SAID], "…"] if len(said) > SAID else said
    if isinstance(error, ModuleNotFoundError):
        lines.append(f"Searched beside the file and in the packages of {sys.executable}, which runs lenet.")
        lines += filter(None, [not_installed(error)])
    return [line.replace(f'File "{cwd}{os.sep}', 'File "') for line in lines]


def is_theirs(filename: str) -> bool:
    """Whether a source file is the user's: not Python's, not ours, not an installed package's."""
    path = Path(filename)
    return path.is_absolute() and not any(path.is_relative_to(other) for other in NOT_THEIRS)


if __name__ == "__main__":
    main()
