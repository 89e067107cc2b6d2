"""Trains ports in lockstep, each framework in a process of its own.

They import, compile and compute at the same time. In one process only one of them would work.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

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

    def answer(self) -> Step | UserError | None:
        try:
            return self.process.answer()
        except Died as death:
            raise PortEnded(self.name, death.how) from death


class Apart(ExitStack):
    """The processes of some ports, which begin with the imports at once; a context manager that ends them.

    Args:
        names: the ports, each to be opened in all `dtypes`, in this order.
        digits, recipe, steps: of the run.
    """

    def __init__(
        self, names: Sequence[str], dtypes: Sequence[str], digits: Digits, recipe: Recipe, steps: int
    ) -> None:
        super().__init__()
        self._plan = names, dtypes
        self._run = digits, recipe, steps
        self._ports: dict[tuple[str, str], Away] = {}

    def __enter__(self) -> Self:
        names, dtypes = self._plan
        context = multiprocessing.get_context("fork") if CTRL_C.is_copy else SPAWN
        processes = {}
        for group in by_framework(names):
            process = self.enter_context(Process(group[0], Here, *self._run, context=context))
            processes |= dict.fromkeys(group, process)
        for dtype in dtypes:
            for name in names:
                self._ports[name, dtype] = port = Away(name, dtype, processes[name])
                port.ask("open")
        return self

    def open(self, name: str, dtype: str) -> Away:
        """Wait until a port is open; all must be waited for in order. Raises what `open_port` raises."""
        port = self._ports[name, dtype]
        if isinstance(error := port.answer(), UserError):
            raise error
        return port

    def steps(self, ports: Sequence[Away]) -> Iterator[list[Step]]:
        """The steps of opened ports. While one is looked at, they compute the next."""
        steps = self._run[-1]
        for step in range(steps + 1):
            if step < steps:
                for port in ports:
                    port.ask("step")
            if step:
                yield [port.answer() for port in ports]
