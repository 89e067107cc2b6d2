"""Times the ports of one framework in a separate process."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from lenet.commands.opening import open_ports
from lenet.compare.speed import Stopwatch
from lenet.network import digits, weights
from lenet.ports.memory import keep_freed
from lenet.ports.workers import Worker


class Here(Stopwatch):
    """A stopwatch in the timing process: opens the ports, with weights from a file.

    Args:
        names: the names of the ports.
        named: whether the user named them; then it is an error if a port cannot be opened.
        weights_file: the file of the shared weights.
    """

    def __init__(self, names: Sequence[str], named: bool, weights_file: Path) -> None:
        keep_freed()  # the same for all ports
        opened, self._missing = open_ports(names if named else (), "float32", Progress(disable=True), names)
        super().__init__(opened, weights.read(weights_file), digits.test_set())

    def missing(self) -> dict[str, str]:
        """{port that cannot be opened: reason}."""
        return self._missing


class Away(Worker):
    """The stopwatch of a timing process, as the main process uses it."""

    def __init__(self, names: Sequence[str], named: bool, weights_file: Path) -> None:
        super().__init__(names[0], Here, names, named, weights_file)
        self.names = names

    def missing(self) -> dict[str, str]:
        return self.call("missing")

    def versions(self) -> dict[str, str]:
        return self.call("versions")

    def prepare(self, name: str, task: str, size: int) -> bool:
        return self.call("prepare", name, task, size)

    def seconds(self, name: str) -> float:
        return self.call("seconds", name)
