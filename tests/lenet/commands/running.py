"""How a test runs `lenet` as a process, in a pipe or a terminal, and reads how it failed."""

import os
import pty
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from click.testing import Result
from rich.progress import Progress, TaskID

from tests.prepared import COMMANDS, LENET, prepared

ESCAPE = "\x1b"


def failed(result: subprocess.CompletedProcess[str] | Result, code: int = 1) -> str:
    """The one line of a failure that printed nothing else."""
    returned = result.returncode if isinstance(result, subprocess.CompletedProcess) else result.exit_code
    assert (returned, result.stdout) == (code, ""), result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def terminal(code: str, *arguments: str, **environment: str) -> str:
    """What a terminal of 100 columns shows of a program's standard output and error."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    environment = {name: value for name, value in environment.items() if value}
    process = prepared(*COMMANDS)
    process.start(code, arguments, Path.cwd(), environment, [theirs] * 3)
    os.close(theirs)
    seen = b""
    with process.waited_for():
        with suppress(OSError):  # how Linux says that the other end is closed
            while part := os.read(ours, 65536):
                seen += part
        os.close(ours)
    process.end()
    return seen.decode()


def patched(patch: str) -> str:
    """The code that runs `lenet` after a patch."""
    return f"{patch}\n{LENET}"


class Bar(Progress):
    """A progress bar that is not shown, but keeps what it would show.

    Attributes:
        seen: after each change of a task its description, "done of all", and its fields.
    """

    def __init__(self) -> None:
        super().__init__(disable=True)
        self.seen: list[tuple[Any, ...]] = []

    def with_fields(self, *fields: str) -> "Bar":
        """As `progress_bar` does; each field is that of a task."""
        assert all(field.startswith("{task.fields[") for field in fields)
        return self

    def _note(self, number: TaskID) -> None:
        task = self._tasks[number]
        self.seen.append((task.description, f"{task.completed:g} of {task.total}", *task.fields.values()))

    def add_task(self, *arguments: Any, **options: Any) -> TaskID:
        number = super().add_task(*arguments, **options)
        self._note(number)
        return number

    def update(self, number: TaskID, *arguments: Any, **options: Any) -> None:  # type: ignore[override]
        super().update(number, *arguments, **options)
        self._note(number)

    def advance(self, number: TaskID, *arguments: Any) -> None:
        super().advance(number, *arguments)
        self._note(number)


MINI = (
    "import lenet.network.digits as d; few = d.test_set()[:500]; "
    "d.test_set = lambda: few; d.training_set = lambda folder=None: few"
)
