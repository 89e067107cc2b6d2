"""The process in which `lenet check` runs somebody's file. It writes what happens into a folder.

    python -P -u -m lenet.diagnose.own_file.child FILE FOLDER SECONDS

    FOLDER/log.jsonl             a line for each event: a phase begins, a note, a failure, the end
    FOLDER/NAME-K.safetensors    the K-th answer of function NAME
    FOLDER/where                 the Python stack, if the process is about to die by a signal

Nothing is pickled: arrays are safetensors, words are JSON.
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

NAME = "checked_port"  # of the module that is made of the file: not "__main__", and no other's
FRAMES, SAID = 3, 10  # of a traceback as many frames are shown, of an exception's text as many lines
GRACE = 2.0  # seconds after its limit at which a silent process ends itself, should its parent be gone
NOT_THEIRS = [
    Path(lenet.__file__).parent,
    *(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
    *map(Path, [*site.getsitepackages(), site.getusersitepackages()]),
]


def main() -> NoReturn:
    """Run the file on every probe, and end without waiting for threads that it left behind."""
    file, folder, limit = Path(sys.argv[1]).absolute(), Path(sys.argv[2]), float(sys.argv[3])
    with (folder / "where").open("w") as where:
        faulthandler.enable(where)
        faulthandler.register(signal.SIGUSR1, where)  # a parent that is out of patience asks
        log = Log(folder, lambda: faulthandler.dump_traceback_later(limit + GRACE, exit=True, file=where))
        cwd = Path.cwd()  # as it is now: they may go elsewhere
        try:
            probes = standard()  # before anything of theirs: the judge reads his own
            run(file, probes, log)
        except Misused as error:
            log.write(misused=str(error))
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: all of them end the run
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
        """Add a line."""
        self.live_on()
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    def answer(self, name: str, arrays: Arrays) -> None:
        """Keep what a function returned; the file is whole as soon as it is there."""
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
    """The file as a module, run as `python FILE` would run it, but for its __name__."""
    sys.argv = [str(file)]
    sys.path.insert(0, str(file.parent))
    module = ModuleType(NAME)
    module.__file__ = str(file)
    sys.modules[NAME] = module  # where dataclasses and the like look themselves up
    exec(compile(file.read_bytes(), file, "exec", dont_inherit=True), vars(module))
    return module


def their_lines(error: BaseException, cwd: Path) -> list[str]:
    """The end of the traceback, as Python prints it, with the frames of their own files alone."""
    trace = traceback.TracebackException.from_exception(error)
    lines = []
    for frame in [frame for frame in trace.stack if is_theirs(frame.filename)][-FRAMES:]:
        path = Path(frame.filename)
        lines += [f'File "{path}", line {frame.lineno}, in {frame.name}', f"  {frame.line}"]
    said = "".join(trace.format_exception_only()).splitlines()
    if isinstance(error, SyntaxError):
        said = [line.removeprefix("  ") for line in said]  # its place is said as deep as a frame's source
    lines += [*said[:SAID], "…"] if len(said) > SAID else said
    if isinstance(error, ModuleNotFoundError):
        lines.append(f"Looked for beside the file and in the packages of {sys.executable}, which runs lenet.")
        lines += filter(None, [not_installed(error)])
    return [line.replace(f'File "{cwd}{os.sep}', 'File "') for line in lines]


def is_theirs(filename: str) -> bool:
    """Whether a source file is neither Python's, nor ours, nor an installed package's."""
    path = Path(filename)
    return path.is_absolute() and not any(path.is_relative_to(other) for other in NOT_THEIRS)


if __name__ == "__main__":
    main()
