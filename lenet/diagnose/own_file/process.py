"""Judges anybody's own port: runs their file in a process of its own, and hands what it returned to the
diagnosis. A crash, a hang or an exit there ends that process alone, and what was answered before counts.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from lenet.diagnose import Verdict, diagnose
from lenet.diagnose.own_file.child import is_theirs
from lenet.diagnose.own_file.interface import FUNCTIONS, Misused
from lenet.diagnose.probe_inputs import Observed, Probes, observe_port, standard
from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from lenet.ports import Port

ANSWERS = "*.safetensors"
POLL = 0.05  # seconds between looks at the process
LAST_WORDS = 0.5  # seconds that a process gets to say where it hangs
WRONG_BEFORE = "what comes before must be right first"
NOT_OFFERED = "not offered; `lenet check --template` has an example"
ENDED_BEFORE = "the run ended before"
PLACE = re.compile(r'^ *File "(.+)", line (\d+) in (.+)$', re.MULTILINE)


@dataclass(frozen=True)
class Failure:
    """How a file ended before it had answered everything.

    Attributes:
        during: "import", or the function that ran.
        lines: what happened; of an exception the end of its traceback.
    """

    during: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """Everything known about a port.

    Attributes:
        source: the file, or the port's name.
        offered: the functions that it has.
        observed: what they returned, each part whole.
        verdict: on that; None where not even activations were returned.
        notes: what the functions do beside returning arrays.
        failure: how it ended early; None where it did not.
    """

    source: str
    offered: tuple[str, ...]
    observed: Observed
    verdict: Verdict | None
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def summary(self) -> str:
        """ "ok", "different" or "failed": the last only where nothing wrong was found before."""
        if self.verdict is not None and not self.verdict.ok:
            return "different"
        return "failed" if self.failure else "ok"

    @property
    def unjudged(self) -> dict[str, list[str]]:
        """Which functions' answers were not judged, by the reason why."""
        seen, found = self.observed, dict[str, list[str]]()
        answers = {"activations": seen.activations, "gradients": seen.gradients, "train": seen.trajectory}
        behind = {"training": "train"}  # the diagnosis speaks of parts, a user of functions
        wrong_before = [behind.get(part, part) for part in self.verdict.unjudged] if self.verdict else []
        for name, answer in answers.items():
            if name in wrong_before:
                found.setdefault(WRONG_BEFORE, []).append(name)
            elif not answer:
                unasked = self.failure is None or self.failure.during != "import"
                reason = NOT_OFFERED if unasked and name not in self.offered else ENDED_BEFORE
                found.setdefault(reason, []).append(name)
        return found

    @property
    def judged(self) -> dict[str, Any]:
        """What was judged: names of layers, whether the loss, names of gradients, how many steps."""
        skipped = [name for names in self.unjudged.values() for name in names]
        answers = list(self.observed.activations.values())
        grads = [] if "gradients" in skipped else list(self.observed.gradients.values())
        steps = [] if "train" in skipped else self.observed.trajectory or []
        return {
            "layers": [n for n in ACTIVATION_SHAPES if answers and all(n in answer for answer in answers)],
            "loss": any(loss is not None for loss, _ in grads),
            "gradients": [n for n in PARAM_SHAPES if grads and all(n in found for _, found in grads)],
            "steps": len(steps),
        }

    def to_json(self) -> dict:
        """As in `lenet check --json`."""
        verdict = self.verdict.to_json() if self.verdict else Verdict().to_json()
        failure = self.failure
        return {
            "source": self.source,
            "dtype": self.observed.dtype,
            **verdict,
            "verdict": self.summary,
            "notes": [*verdict["notes"], *self.notes],
            "judged": self.judged,
            "unjudged": {name: reason for reason, names in self.unjudged.items() for name in names},
            "failure": None if failure is None else {"during": failure.during, "lines": list(failure.lines)},
        }


def check_port(port: Port) -> Checked:
    """Judge a port of the registry."""
    probes = standard()
    observed = observe_port(probes, port)
    parts = {"gradients": observed.gradients, "train": observed.trajectory}
    offered = ("activations", *(name for name, found in parts.items() if found))
    return Checked(port.name, offered, observed, diagnose(probes, observed))


@dataclass(frozen=True)
class Answers:
    """What came back from the process."""

    offered: tuple[str, ...]
    observed: Observed
    count: int
    notes: tuple[str, ...]
    failure: Failure | None


def check_file(
    file: Path,
    seconds: float,
    echo: Callable[[str], object],
    follow: Callable[[int, int | None], None] = lambda done, total: None,
) -> Checked:
    """Run `file` and judge what its functions return.

    Args:
        file: defines `activations`, and perhaps `gradients` and `train` (`lenet check --template`).
        seconds: time limit for the import and for each call. The file and all that it started are ended
            when it is exceeded.
        echo: is given each line that it prints.
        follow: is called with the number of its answers, and of all there will be once that is known;
            the two are equal when it has ended and is judged.

    Raises:
        Misused: the file does not keep to the interface, so that nothing can be judged.
    """
    answers = run_file(file, seconds, echo, follow)
    observed = answers.observed
    follow(answers.count, answers.count)
    verdict = diagnose(standard(), observed) if observed.activations else None
    return Checked(str(file), answers.offered, observed, verdict, answers.notes, answers.failure)


def run_file(
    file: Path, seconds: float, echo: Callable[[str], object], follow: Callable[[int, int | None], None]
) -> Answers:
    """Run the functions of `file` on every probe, in a separate process; see `check_file`."""
    with tempfile.TemporaryDirectory(prefix="lenet-check-") as name:
        folder = Path(name)
        # -P: the folder that the command is run in may hold a lenet.py of theirs.
        command = [
            sys.executable,
            "-P",
            "-u",
            "-m",
            "lenet.diagnose.own_file.child",
            str(file),
            name,
            str(seconds),
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, to be ended with all that it starts
        )
        printing = threading.Thread(target=_forward, args=(process, echo), daemon=True)
        printing.start()
        try:
            timed_out = _wait(process, folder, seconds, follow)
        finally:
            with suppress(ProcessLookupError, PermissionError):  # gone already; a zombie, says macOS
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        printing.join(LAST_WORDS)  # not for ever: something may have left the group, and holds the pipe
        return _read(folder, None if timed_out else process.returncode, seconds)


def _forward(process: subprocess.Popen[str], echo: Callable[[str], object]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        echo(line)


def _wait(
    process: subprocess.Popen[str], folder: Path, seconds: float, follow: Callable[[int, int | None], None]
) -> bool:
    """Wait until the process ends or the limit passes. In that case ask it where it is, and return True."""
    deadline, heard, total = None, 0, None
    while deadline is None or time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
            return False
        events = _events(folder)
        done = len(list(folder.glob(ANSWERS)))
        signs = done + sum(map(len, events.values()))
        if signs > heard:  # first as its own code begins
            heard, deadline = signs, time.monotonic() + seconds
        if total is None and "offered" in events:
            total = questions(standard(), events["offered"][0])
        follow(done, total)
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGUSR1)
    with suppress(subprocess.TimeoutExpired):
        process.wait(LAST_WORDS)
    return True


def questions(probes: Probes, offered: list[str]) -> int:
    """How many answers the functions will give."""
    counts = {
        "activations": len(probes.asked),
        "gradients": len(probes.backward),
        "train": len(probes.course.batches),
    }
    return sum(counts[name] for name in offered)


def _events(folder: Path) -> dict[str, list]:
    """What the process has reported so far, by kind of event; a half-written line is left for later."""
    found: dict[str, list] = {}
    log = folder / "log.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else ():
        for kind, value in json.loads(line).items() if line.endswith("\n") else ():
            found.setdefault(kind, []).append(value)
    return found


def _read(folder: Path, code: int | None, seconds: float) -> Answers:
    """The answers, each part only if it is whole; how it ended, from its exit code (None: too late)."""
    events, probes = _events(folder), standard()
    if misused := events.get("misused"):
        raise Misused(misused[0])
    observed = Observed(events.get("dtype", ["float32"])[0])
    count = len(list(folder.glob(ANSWERS)))
    parts = {name: _answers(folder, name) for name in FUNCTIONS}
    if len(parts["activations"]) == len(probes.asked):
        names = [probe.name for probe in probes.asked]
        observed.activations = dict(zip(names, parts["activations"], strict=True))
    if len(parts["gradients"]) == len(probes.backward):
        for probe, found in zip(probes.backward, parts["gradients"], strict=True):
            loss = found.pop("loss", None)
            observed.gradients[probe.name] = None if loss is None else float(loss), found
    if len(parts["train"]) == len(probes.course.batches):
        observed.trajectory = parts["train"]
    failure = None
    if "done" not in events:
        during = events.get("phase", ["import"])[-1]
        lines = events.get("failure", [[]])[0] or [*_ending(code, seconds), *_place(folder)]
        failure = Failure(during, tuple(lines))
    offered, notes = events.get("offered", [[]])[0], events.get("note", [])
    return Answers(tuple(offered), observed, count, tuple(notes), failure)


def _answers(folder: Path, name: str) -> list[dict]:
    found = sorted(folder.glob(f"{name}-*.safetensors"), key=lambda path: int(path.stem.rpartition("-")[2]))
    return [load_file(path) for path in found]


def _ending(code: int | None, seconds: float) -> list[str]:
    """How a process ended that could not report it itself."""
    if code is None:
        return [f"no answer after {seconds:g} seconds: ended; --timeout gives it longer"]
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        hint = "; is memory short?" if -code == signal.SIGKILL else ""
        said = (signal.strsignal(-code) or "a signal").lower()
        return [f"killed by {names.get(-code, -code)} ({said}){hint}"]
    return [f"its process ended by itself with exit code {code}, before all was asked (os._exit?)"]


def _place(folder: Path) -> list[str]:
    """The line of theirs that ran last, as far as Python knows."""
    where = folder / "where"
    text = where.read_text(encoding="utf-8", errors="replace") if where.exists() else ""
    for path, line, function in PLACE.findall(text):
        if is_theirs(path):
            near = Path(os.path.relpath(path))
            return [f'File "{path if near.parts[0] == ".." else near}", line {line}, in {function}']
    return []
