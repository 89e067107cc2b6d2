"""Judges a user's own port: runs their file in a separate process and diagnoses the values it returned.
A crash, a hang or an exit ends only that process, and the answers given before it are still judged.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenet.diagnose import Verdict, diagnose
from lenet.diagnose.own_file.child import their_lines
from lenet.diagnose.own_file.running import Failure, run_file
from lenet.diagnose.probe_inputs import Observed, Raised, observe_port, standard
from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from lenet.ports import Port

WRONG_BEFORE = "an earlier part must be right first"
NOT_OFFERED = "not offered; `lenet check --template` has an example"
ENDED_BEFORE = "the run ended before it"


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
    """Judge a port of the registry; if it raises an exception, what it returned before is judged."""
    probes, failure = standard(), None
    try:
        observed = observe_port(probes, port)
    except Raised as raised:
        observed, error = raised.observed, raised.__cause__ or raised
        folder = Path(inspect.getfile(type(port))).parent
        lines = their_lines(error, Path.cwd(), lambda file: Path(file).parent == folder)
        failure = Failure(raised.during, tuple(lines))
    parts = {"gradients": observed.gradients, "train": observed.trajectory}
    offered = ["activations", *(name for name, found in parts.items() if found or failure)]
    verdict = diagnose(probes, observed) if observed.activations else None
    return Checked(port.name, tuple(offered), observed, verdict, failure=failure)


def check_file(
    file: Path,
    seconds: float,
    echo: Callable[[str], object],
    follow: Callable[[int, int | None], None] = lambda done, total: None,
    variables: Iterable[str] = (),
) -> Checked:
    """Run `file` and judge the values that its functions return.

    Args:
        file: defines `activations`, and perhaps `gradients` and `train` (`lenet check --template`).
        seconds: time limit for the import and for each call. When it is exceeded, the file's process and all
            processes that it started are ended.
        echo: called with each line that the file prints.
        follow: called with the number of answers so far and the total (None until it is known). Both are
            equal once the run has ended.
        variables: names of variables of the environment that the file sees beside those of libraries.

    Raises:
        Misused: the file does not follow the interface, so nothing can be judged.
    """
    answers = run_file(file, seconds, echo, follow, variables)
    observed = answers.observed
    follow(answers.count, answers.count)
    verdict = diagnose(standard(), observed) if observed.activations else None
    return Checked(str(file), answers.offered, observed, verdict, answers.notes, answers.failure)
