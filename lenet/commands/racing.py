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
    """What the other process makes: these ports opened, with weights from a file.

    Args:
        names: of the ports.
        named: whether the user asked for them, so that one that cannot be opened is an error.
        weights_file: of the shared weights.
    """

    def __init__(self, names: Sequence[str], named: bool, weights_file: Path) -> None:
        keep_freed()  # for everybody alike
        opened, self._missing = open_ports(names if named else (), "float32", Progress(disable=True), names)
        super().__init__(opened, weights.read(weights_file), digits.test_set())

    def missing(self) -> dict[str, str]:
        """The ports that cannot be opened, and why."""
        return self._missing


class Away(Worker):
    """The same, seen from here."""

    def __init__(self, names: Sequence[str], named: bool, weights_file: Path) -> None:
        super().__init__(names[0], Here, names, named, weights_file)

    def missing(self) -> dict[str, str]:
        return self.call("missing")

    def versions(self) -> dict[str, str]:
        return self.call("versions")

    def prepare(self, name: str, task: str, size: int) -> bool:
        return self.call("prepare", name, task, size)

    def seconds(self, name: str) -> float:
        return self.call("seconds", name)
