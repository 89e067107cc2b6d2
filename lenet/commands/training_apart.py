"""Trains ports in lockstep, each framework in a process of its own.

They import, compile and compute at the same time. In one process only one of them would work.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from lenet.commands.opening import by_framework
from lenet.network.digits import Digits
from lenet.network.recipe import Recipe
from lenet.ports import lockstep, open_port
from lenet.ports.lockstep import Step
from lenet.ports.memory import keep_freed
from lenet.ports.workers import SPAWN, Died, Worker
from parity.command.interrupts import CTRL_C
from parity.errors import UserError


class PortEnded(UserError):
    """A port has ended the process that it worked in.

    Attributes:
        port: its name.
    """

    def __init__(self, port: str, how: str) -> None:
        super().__init__(f"port {port!r} ended the process {how}")
        self.port = port


class Here:
    """What is in the process of a framework: its ports, in training."""

    def __init__(self, digits: Digits, recipe: Recipe, steps: int) -> None:
        keep_freed()
        self._run = digits, recipe, steps
        self._runs: dict[tuple[str, str], Iterator[Step]] = {}

    def open(self, name: str, dtype: str) -> UserError | None:
        """Open a port; returns why it cannot be opened."""
        try:
            self._runs[name, dtype] = lockstep.run(open_port(name, dtype), *self._run)
        except UserError as error:
            return error
        return None

    def step(self, name: str, dtype: str) -> Step:
        """The next step of a port."""
        return next(self._runs[name, dtype])


class Process(Worker):
    """The process of a framework. Nothing in it is worth waiting for at its end."""

    patience = 0


@dataclass(frozen=True)
class Away:
    """A port in its process."""

    name: str
    dtype: str
    process: Process

    def ask(self, method: str) -> None:
        """Ask for what `answer` returns, in this order."""
        self.process.ask(method, self.name, self.dtype)

    def answer(self) -> Any:
        """What the port's process returns; PortEnded says that it has ended."""
        try:
            return self.process.answer()
        except Died as death:
            raise PortEnded(self.name, death.how) from death


class Apart:
    """Ports in their processes.

    Args:
        ports: {(name, dtype): port}; all have been asked to open, in this order.
        steps: the length of the run.
    """

    def __init__(self, ports: dict[tuple[str, str], Away], steps: int) -> None:
        self._ports, self._steps = ports, steps

    def open(self, name: str, dtype: str) -> Away:
        """Wait until a port is open; all must be waited for in order. Raises what `open_port` raises."""
        port = self._ports[name, dtype]
        if isinstance(error := port.answer(), UserError):
            raise error
        return port

    def train(self, ports: Sequence[Away]) -> Iterator[list[Step]]:
        """The steps of opened ports. While one is looked at, they compute the next."""
        for step in range(self._steps + 1):
            if step < self._steps:
                for port in ports:
                    port.ask("step")
            if step:
                yield [port.answer() for port in ports]


@contextmanager
def apart(
    names: Sequence[str], dtypes: Sequence[str], digits: Digits, recipe: Recipe, steps: int
) -> Iterator[Apart]:
    """Start a process for each framework, which begins with its import at once; end them all afterwards."""
    context = multiprocessing.get_context("fork") if CTRL_C.is_copy else SPAWN
    processes: dict[str, Process] = {}
    with ExitStack() as stack:
        for group in by_framework(names):
            process = stack.enter_context(Process(group[0], Here, digits, recipe, steps, context=context))
            processes |= dict.fromkeys(group, process)
        ports = {(name, dtype): Away(name, dtype, processes[name]) for dtype in dtypes for name in names}
        for port in ports.values():
            port.ask("open")
        yield Apart(ports, steps)
