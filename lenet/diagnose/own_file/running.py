"""Runs a user's file in a process of its own, with limits of time and memory, and collects its answers.

The file's process is started by `keeper`, which ends everything that the file started: at the end, at a
limit, or when this process ends, by whatever signal.
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lenet.diagnose.own_file.child import is_theirs
from lenet.diagnose.own_file.frames import Received
from lenet.diagnose.own_file.interface import Misused
from lenet.diagnose.own_file.surroundings import environment
from lenet.diagnose.probe_inputs import Observed, Probes, other_batches, standard
from parity.command import keeper
from parity.command.copies import memory_limit

POLL = 0.05  # seconds between two looks at the process
LAST = keeper.LAST_WORDS + keeper.END + 1  # seconds for the keeper to end all processes
LINE, STACK = 10_000, 2**20  # characters of a printed line, and bytes of the Python stack, that are read
SHOWN = 20  # lines of a failure that are shown
PLACE = re.compile(r'^ *File "(.+)", line (\d+) in (.+)$', re.MULTILINE)
Follow = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Failure:
    """The early end of a file's run, before all answers were given.

    Attributes:
        during: "import", or the name of the running function.
        lines: a description; for an exception, the end of its traceback.
    """

    during: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """The functions, values and events that came back from the process."""

    offered: tuple[str, ...]
    observed: Observed
    count: int
    notes: tuple[str, ...]
    failure: Failure | None


def run_file(
    file: Path, seconds: float, echo: Callable[[str], object], follow: Follow, asked: Iterable[str] = ()
) -> Answers:
    """Run the functions of `file` on every probe, in a separate process; see `check_file`."""
    ours, theirs = socket.socketpair()
    messages, stack = os.pipe(), os.pipe()
    most = memory_limit()
    passed = [messages[1], stack[1]]
    # -P: the current folder may contain a lenet.py of the user's.
    child = [sys.executable, "-P", "-u", "-m", "lenet.diagnose.own_file.child", str(file), *map(str, passed)]
    link = theirs.fileno()
    kept = [keeper.__file__, str(link), ",".join(map(str, passed)), str(most)]
    with closing(ours), os.fdopen(messages[0], "rb") as answers, os.fdopen(stack[0], "rb") as place:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", *kept, *child],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment(asked),
            pass_fds=[link, *passed],
            start_new_session=True,  # Ctrl-C reaches this process alone
        )
        theirs.close()
        for descriptor in passed:
            os.close(descriptor)
        received, stacks = Received(), list[bytes]()
        assert process.stdout is not None
        readers = [
            threading.Thread(target=read, args=args, daemon=True)
            for read, args in (
                (_forward, (process.stdout, echo)),
                (received.listen, (answers,)),
                (_keep_first, (place, stacks)),
            )
        ]
        for reader in readers:
            reader.start()
        try:
            timed_out = _wait(ours, received, seconds, follow)
            report = _end(ours, timed_out)
        finally:
            ours.close()  # the keeper ends all processes
            with suppress(subprocess.TimeoutExpired):
                process.wait(LAST)
            process.kill()
            process.wait()
        for reader in readers:
            reader.join(keeper.LAST_WORDS)  # limited: a process that could not be ended may hold a pipe
    ending = _ending(report, received, seconds, most)
    return _read(received, [*ending, *_place(b"".join(stacks).decode(errors="replace"))])


def _forward(pipe: IO[str], echo: Callable[[str], object]) -> None:
    while line := pipe.readline(LINE):
        echo(line)


def _keep_first(pipe: IO[bytes], kept: list[bytes]) -> None:
    """Read all, so that nobody waits for a full pipe, and keep what fits."""
    while part := pipe.read1(2**16):  # type: ignore[attr-defined]
        if sum(map(len, kept)) < STACK:
            kept.append(part)


def _wait(link: socket.socket, received: Received, seconds: float, follow: Follow) -> bool:
    """Wait for the keeper's report, or for unreadable messages. True if the time limit is exceeded."""
    deadline, heard, total = None, 0, None
    while deadline is None or time.monotonic() < deadline:
        if received.broken or select.select([link], [], [], POLL)[0]:
            return False
        if received.frames > heard:  # the clock starts with the first event, when the user's code begins
            heard, deadline = received.frames, time.monotonic() + seconds
        if total is None and "offered" in received.events:
            total = questions(standard(), received.events["offered"][0])
        follow(received.count, total)
    return True


def _end(link: socket.socket, timed_out: bool) -> dict[str, Any]:
    """The keeper's report; for the time limit, it is asked to end the processes first."""
    link.settimeout(LAST)
    with suppress(OSError, ValueError):
        if timed_out:
            link.sendall(b"t")
        elif not select.select([link], [], [], 0)[0]:
            link.shutdown(socket.SHUT_WR)
        report: dict[str, Any] = json.loads(link.makefile().readline())
        return report
    return {"code": -signal.SIGKILL, "ended": "time" if timed_out else None}


def questions(probes: Probes, offered: list[str]) -> int:
    """The number of answers that the functions will give."""
    counts = {
        "activations": len(probes.asked),
        "gradients": len(probes.backward),
        "train": len(probes.course.batches) + 2,  # the first step and all of them are made twice
    }
    return sum(counts[name] for name in offered)


def _read(received: Received, ending: list[str]) -> Answers:
    """The complete parts of the answers, and the early end if any, which `ending` describes."""
    events, probes = received.events, standard()
    if misused := events.get("misused"):
        raise Misused(misused[0])
    observed, parts = Observed(events.get("dtype", ["float32"])[0]), received.answers
    done = "done" in events and not received.broken  # then what is missing was not asked
    if done or len(parts["activations"]) >= len(probes.asked) - len(other_batches(probes)):
        names = [probe.name for probe in probes.asked]
        observed.activations = dict(zip(names, parts["activations"], strict=False))
    if done or len(parts["gradients"]) == len(probes.backward):
        for probe, found in zip(probes.backward, parts["gradients"], strict=False):
            loss = found.pop("loss", None)
            observed.gradients[probe.name] = None if loss is None else float(loss.reshape(())), found
    every = len(probes.course.batches)
    if parts["train"] and (done or len(parts["train"]) > every):
        first, observed.first_step_again, *others = parts["train"]
        observed.trajectory = [first, *others[: every - 1]]
        observed.last_step_again = next(iter(others[every - 1 :]), None)
    failure = None
    if not done:
        lines = events.get("failure", [[]])[0] or ending
        failure = Failure(events.get("phase", ["import"])[-1], tuple(lines[:SHOWN]))
    offered, notes = events.get("offered", [[]])[0], events.get("note", [])
    return Answers(tuple(offered), observed, received.count, tuple(notes), failure)


def _ending(report: dict[str, Any], received: Received, seconds: float, most: int) -> list[str]:
    """The end of a process that could not report it itself."""
    if received.broken:
        return [f"what its process sent to the judge cannot be read ({received.broken}), so it was ended"]
    if report["ended"] == "memory":
        return [f"its processes took more than {most / 2**30:.1f} GiB of memory, so they were ended"]
    if report["ended"] == "time":
        return [f"no answer after {seconds:g} seconds, so it was ended; --timeout sets a longer limit"]
    code = report["code"]
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        hint = "; perhaps out of memory" if -code == signal.SIGKILL else ""
        said = (signal.strsignal(-code) or "a signal").lower()
        return [f"killed by {names.get(-code, -code)} ({said}){hint}"]
    return [f"its process exited early with exit code {code} (os._exit?)"]


def _place(text: str) -> list[str]:
    """The last line of the user's code in the saved stack."""
    for path, line, function in PLACE.findall(text):
        if is_theirs(path):
            near = Path(os.path.relpath(path))
            return [f'File "{path if near.parts[0] == ".." else near}", line {line}, in {function}']
    return []
