"""The command `lenet` in an empty folder, and what can be planted in it."""

import os
import subprocess
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from lenet import ports
from lenet.commands.cli import cli
from lenet.network import digits as mnist
from parity.command import terminal
from tests.lenet.commands.running import Bar
from tests.prepared import COMMANDS, LENET, prepared


@pytest.fixture
def lenet(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `lenet` in a process of its own and an empty folder, its output in no terminal."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LENET_DATA", "COLUMNS")}
        process, environment = prepared(*COMMANDS), kept | environment
        return process.run(LENET, *map(str, arguments), folder=tmp_path, environment=environment)

    return run


@pytest.fixture
def in_process(tmp_path, monkeypatch) -> Callable[..., Result]:
    """Runs the command in this process and an empty folder, so that a test can plant something."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, list(map(str, arguments)), prog_name="lenet")


@pytest.fixture
def plant(monkeypatch) -> Callable[[ports.Port], None]:
    """Puts a port in the place of `numpy`."""

    def planted(port: ports.Port) -> None:
        monkeypatch.setattr(ports, "open_port", lambda name, dtype: port)

    return planted


@pytest.fixture
def mini(monkeypatch, digits) -> mnist.Digits:
    """The first 300 test digits in the place of the training set, the next 200 in that of the test set."""
    monkeypatch.setattr(mnist, "training_set", lambda folder=None: digits[:300])
    monkeypatch.setattr(mnist, "test_set", lambda: digits[300:500])
    return digits[:300]


@pytest.fixture
def bar(monkeypatch) -> Bar:
    """What a terminal would show of the progress of the command that runs in this process."""
    shown = Bar()
    monkeypatch.setattr(terminal, "progress_bar", shown.with_fields)
    return shown
