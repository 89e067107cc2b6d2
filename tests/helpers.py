"""What several test files need."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from parity.errors import UserError

Array = np.ndarray
LENET, PARITY = (str(Path(sys.executable).with_name(name)) for name in ("lenet", "parity"))  # as installed
# Digits in a batch, wherever nothing depends on it: XLA compiles anew for each size, and takes what it has
# compiled in another test. A power of two, so that a mean of whole numbers is exact; the size of no axis.
BATCH = 8


def frozen(values: ArrayLike, dtype: str = "float64") -> Array:
    """A copy that raises when somebody writes into it: how the tests hand over every argument."""
    array = np.array(values, dtype)
    array.setflags(write=False)
    return array


def derivatives(f: Callable[[Array], Array], x: Array, step: float) -> Array:
    """∂f/∂x of a scalar f by central differences, element by element."""
    quotients = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        e = np.zeros(x.shape)
        e[index] = step
        quotients[index] = (f(x + e) - f(x - e)) / (2 * step)
    return quotients


def one_line(refusal: pytest.ExceptionInfo[UserError]) -> str:
    """The text of a refusal, which is one line that says something."""
    text = str(refusal.value)
    assert len(text.splitlines()) == 1
    return text


def running(pid: int) -> bool:
    """Whether the process has not ended; a zombie has."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


def ended(pid: int, seconds: float = 30) -> bool:
    """Whether the process ends within this time."""
    deadline = time.monotonic() + seconds
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not running(pid)


COMMAND = """
import click, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from lenet.commands.outliving import go_on_in_a_copy
from parity.command import copies, interrupts, terminal
from parity.command.copies import busy

@click.group(cls=terminal.Commands)
def cli(): pass

@cli.command()
def work():
{body}

terminal.open_streams()
interrupts.CTRL_C.install()
cli(["work"])
"""


def as_command(body: str) -> str:
    """A program that runs these lines as a command, as `lenet` and `parity` run theirs."""
    return COMMAND.format(body=textwrap.indent(textwrap.dedent(body).strip(), "    "))
