"""Programs that start at once: a process imports what they need, once, and each runs in a copy of it.

A command imports for half a second before it works, and a framework for longer. As a program,

    python -m tests.prepared SOCKET MODULE...

imports the modules, and for each request that comes over the socket forks: the copy takes the folder,
environment, and standard streams of the request, runs its code, and ends as Python ends a program. What a
library does at its import has been done then, so no environment variable of a request reaches it.
"""

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

from parity.command.copies import end_with_parent

ROOT = Path(__file__).parents[1]
LENET = "from lenet.__main__ import main; main()"
# What the commands of `lenet` that run `numpy` import. None starts a thread, which a copy would lack.
COMMANDS = (
    "lenet.commands.cli",
    "lenet.commands.opening",
    "lenet.compare.exact_bits",
    "lenet.show.tables",
    "lenet_numpy.port",
    "rich.progress",
    "rich.table",
)


class Prepared:
    """A process that has imported `modules`, from which copies are made."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._link, theirs = socket.socketpair()
        command = [sys.executable, "-m", "tests.prepared", str(theirs.fileno()), *modules]
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, pass_fds=[theirs.fileno()], env={**os.environ, **threads}
        )
        theirs.close()
        self._answers = self._link.makefile("r")
        atexit.register(self._stop)

    def _stop(self) -> None:
        with suppress(OSError):  # it was killed
            self._link.shutdown(socket.SHUT_RDWR)
        self._process.wait()

    def start(
        self,
        code: str,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        streams: list[int],
    ) -> None:
        """Run the code as a program with these arguments and standard streams."""
        request = [code, list(arguments), str(folder), dict(environment)]
        socket.send_fds(self._link, [b"?"], streams)
        self._link.sendall(json.dumps(request).encode() + b"\n")

    def end(self) -> int:
        """Wait for the end of what was started; returns its exit code."""
        with self.waited_for():
            answer = self._answers.readline()
            assert answer, "the prepared process has ended"
        return int(answer)

    @contextmanager
    def waited_for(self) -> Iterator[None]:
        """Within it, whoever gives up ends the process: the next test would take the answer for its own."""
        try:
            yield
        except BaseException:  # such as the end of a test's time
            self._process.kill()
            prepared.cache_clear()
            raise

    def run(
        self,
        code: str,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        output: IO[str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` with captured output, unless another is given for standard output."""
        environment = os.environ if environment is None else environment
        with tempfile.TemporaryFile("w+") as captured, tempfile.TemporaryFile("w+") as errors:
            with open(os.devnull) as nothing:
                streams = [stream.fileno() for stream in (nothing, output or captured, errors)]
                self.start(code, arguments, folder, environment, streams)
            ended = self.end()
            return subprocess.CompletedProcess(arguments, ended, _read(captured), _read(errors))


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


@cache
def prepared(*modules: str) -> Prepared:
    """One process for all tests that need the same modules."""
    return Prepared(modules)


def main() -> None:
    """Import, then fork for each request."""
    link = socket.socket(fileno=int(sys.argv[1]))
    for name in sys.argv[2:]:
        import_module(name)
    assert threading.active_count() == 1
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/task")) == 1, "a library has started a thread"
    requests = link.makefile("r")
    while streams := socket.recv_fds(link, 1, 3)[1]:
        request = json.loads(requests.readline())
        if not (copy := os.fork()):
            requests.close()
            link.close()
            end_with_parent()
            return become(streams, *request)
        for stream in streams:
            os.close(stream)
        link.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]))


def become(
    streams: list[int], code: str, arguments: list[str], folder: str, environment: dict[str, str]
) -> None:
    """Run the code here, as a program that was started with all this."""
    for number, given in enumerate(streams):
        os.dup2(given, number, inheritable=True)
        os.close(given)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["lenet", *arguments]
    sys.stdin = os.fdopen(0, closefd=False)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        buffering = 1 if number == 2 or os.isatty(number) else -1
        stream = os.fdopen(number, "w", buffering, encoding=encoding, errors=errors, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    exec(compile(code, "<prepared>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
