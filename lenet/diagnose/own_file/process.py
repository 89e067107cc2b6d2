"""Judges a user's own port: runs their file in a separate process and diagnoses the values it returned.
A crash, a hang or an exit ends only that process, and the answers given before it are still judged.
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
from lenet.diagnose.probe_inputs import Observed, Probes, observe_port, other_batches, standard
from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from lenet.ports import Port

ANSWERS = "*.safetensors"
POLL = 0.05  # seconds between two looks at the process
LAST_WORDS = 0.5  # seconds for the process to write where it hangs
WRONG_BEFORE = "an earlier part must be right first"
NOT_OFFERED = "not offered; `lenet check --template` has an example"
ENDED_BEFORE = "the run ended before it"
PLACE = re.compile(r'^ *File "(.+)", line (\d+) in (.+)$', re.MULTILINE)


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
class Checked:
    """The result of `lenet check`: the answers of a port and the verdict on them.

    Attributes:
        source: the file, or the port's name.
        offered: the names of the functions that it defines.
        observed: the values that they returned, without incomplete parts.
        verdict: the diagnosis of these values; None if not even activations were returned.
        notes: side effects of the functions.
        failure: its early end; None if there was none.
    """

    source: str
    offered: tuple[str, ...]
    observed: Observed
    verdict: Verdict | None
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def summary(self) -> str:
        """The verdict's, or "failed"; a failed run in which a mistake was found is "different"."""
        found = self.verdict.summary if self.verdict is not None else "ok"
        return "failed" if self.failure and found != "different" else found

    @property
    def unjudged(self) -> dict[str, list[str]]:
        """{reason: functions whose answers were not judged for it}."""
        seen, found = self.observed, dict[str, list[str]]()
        answers = {"activations": seen.activations, "gradients": seen.gradients, "train": seen.trajectory}
        behind = {"training": "train"}  # part of the diagnosis → the user's function
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
        """The judged names of layers and gradients, whether the loss was judged, and the number of steps."""
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
        """The result as `lenet check --json` prints it."""
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
    """The functions, values and events that came back from the process."""

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
    """Run `file` and judge the values that its functions return.

    Args:
        file: defines `activations`, and perhaps `gradients` and `train` (`lenet check --template`).
        seconds: time limit for the import and for each call. When it is exceeded, the file's process and all
            processes that it started are ended.
        echo: called with each line that the file prints.
        follow: called with the number of answers so far and the total (None until it is known). Both are
            equal once the run has ended.

    Raises:
        Misused: the file does not follow the interface, so nothing can be judged.
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
        # -P: the current folder may contain a lenet.py of the user's.
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
            start_new_session=True,  # a process group, so that all processes that it starts end with it
        )
        printing = threading.Thread(target=_forward, args=(process, echo), daemon=True)
        printing.start()
        try:
            timed_out = _wait(process, folder, seconds, follow)
        finally:
            with suppress(ProcessLookupError, PermissionError):  # ended already (macOS: a zombie)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        printing.join(LAST_WORDS)  # with a limit: a process that left the group may hold the pipe open
        return _read(folder, None if timed_out else process.returncode, seconds)


def _forward(process: subprocess.Popen[str], echo: Callable[[str], object]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        echo(line)


def _wait(
    process: subprocess.Popen[str], folder: Path, seconds: float, follow: Callable[[int, int | None], None]
) -> bool:
    """Wait for the process. If it exceeds the time limit, ask it to write its stack, and return True."""
    deadline, heard, total = None, 0, None
    while deadline is None or time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
            return False
        events = _events(folder)
        done = len(list(folder.glob(ANSWERS)))
        signs = done + sum(map(len, events.values()))
        if signs > heard:  # the clock starts with the first event, when the user's code begins
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
    """The number of answers that the functions will give."""
    counts = {
        "activations": len(probes.asked),
        "gradients": len(probes.backward),
        "train": len(probes.course.batches) + 1,  # the first step is made twice
    }
    return sum(counts[name] for name in offered)


def _events(folder: Path) -> dict[str, list]:
    """The events reported so far, {kind: values}; a half-written line is left for later."""
    found: dict[str, list] = {}
    log = folder / "log.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else ():
        for kind, value in json.loads(line).items() if line.endswith("\n") else ():
            found.setdefault(kind, []).append(value)
    return found


def _read(folder: Path, code: int | None, seconds: float) -> Answers:
    """The complete parts of the answers, and the early end if any. `code` is the exit code; None after the
    time limit."""
    events, probes = _events(folder), standard()
    if misused := events.get("misused"):
        raise Misused(misused[0])
    observed = Observed(events.get("dtype", ["float32"])[0])
    count = len(list(folder.glob(ANSWERS)))
    parts = {name: _answers(folder, name) for name in FUNCTIONS}
    done = "done" in events  # then what is missing was not asked, for an answer was random
    if done or len(parts["activations"]) >= len(probes.asked) - len(other_batches(probes)):
        names = [probe.name for probe in probes.asked]
        observed.activations = dict(zip(names, parts["activations"], strict=False))
    if done or len(parts["gradients"]) == len(probes.backward):
        for probe, found in zip(probes.backward, parts["gradients"], strict=False):
            loss = found.pop("loss", None)
            observed.gradients[probe.name] = None if loss is None else float(loss), found
    if parts["train"] and (done or len(parts["train"]) == len(probes.course.batches) + 1):
        first, observed.first_step_again, *others = parts["train"]
        observed.trajectory = [first, *others]
    failure = None
    if not done:
        during = events.get("phase", ["import"])[-1]
        lines = events.get("failure", [[]])[0] or [*_ending(code, seconds), *_place(folder)]
        failure = Failure(during, tuple(lines))
    offered, notes = events.get("offered", [[]])[0], events.get("note", [])
    return Answers(tuple(offered), observed, count, tuple(notes), failure)


def _answers(folder: Path, name: str) -> list[dict]:
    found = sorted(folder.glob(f"{name}-*.safetensors"), key=lambda path: int(path.stem.rpartition("-")[2]))
    return [load_file(path) for path in found]


def _ending(code: int | None, seconds: float) -> list[str]:
    """The end of a process that could not report it itself."""
    if code is None:
        return [f"no answer after {seconds:g} seconds, so it was ended; --timeout sets a longer limit"]
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        hint = "; perhaps out of memory" if -code == signal.SIGKILL else ""
        said = (signal.strsignal(-code) or "a signal").lower()
        return [f"killed by {names.get(-code, -code)} ({said}){hint}"]
    return [f"its process exited early with exit code {code} (os._exit?)"]


def _place(folder: Path) -> list[str]:
    """The last line of the user's code in the saved stack."""
    where = folder / "where"
    text = where.read_text(encoding="utf-8", errors="replace") if where.exists() else ""
    for path, line, function in PLACE.findall(text):
        if is_theirs(path):
            near = Path(os.path.relpath(path))
            return [f'File "{path if near.parts[0] == ".." else near}", line {line}, in {function}']
    return []
