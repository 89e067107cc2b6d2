"""What the command says of itself: help, version, ports, completion; and what it loads for that."""

import re
import subprocess
import sys

import pytest

from lenet import __version__, ports
from lenet.commands.cli import cli

COMMANDS = list(cli.commands)


def modules_loaded(*arguments: str) -> set[str]:
    """The top-level modules that a command imports."""
    command = [sys.executable, "-X", "importtime", "-m", "lenet", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    names = re.findall(r"^import time:[^|]+\|[^|]+\| +(\w+)", result.stderr, re.MULTILINE)
    assert "click" in names
    return set(names)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=["lenet", *COMMANDS])
def test_help_loads_nothing_heavy(command):
    loaded = modules_loaded(*command, "--help")
    heavy = {"torch", "tensorflow", "keras", "jax", "numpy", "rich", "pygments", "jinja2", "PIL"}
    assert not loaded & (heavy | {"multiprocessing", "tempfile"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("ports",), ("diff", "torch", "tf"), ("predict", "--digit", "0", "--port", "numpy")]
)
def test_commands_load_no_framework_but_what_they_run(command):
    assert not modules_loaded(*command) & {"torch", "tensorflow", "keras", "jax"}


@pytest.mark.slow
def test_version_and_help(lenet):
    assert lenet("--version").stdout == f"lenet {__version__}\n"
    text = lenet("--help").stdout
    assert {"compare", "diff", "train", "predict", "ports", "data"} <= set(COMMANDS)
    assert re.findall(r"^  (\w+)  ", text.partition("Commands:")[2], re.MULTILINE) == COMMANDS
    assert "..." not in text.partition("Commands:")[2]  # each is described in one line, whole


def test_python_m_lenet_is_lenet():
    assert subprocess.run([sys.executable, "-m", "lenet", "--version"], check=False).returncode == 0


@pytest.mark.slow
def test_ports_lists_every_port_and_mode(lenet):
    table = lenet("ports").stdout
    rows = re.findall(r"^(\S+) +\w+ +(?:\d\S*|no) +(\S.*?) *$", table, re.MULTILINE)
    assert [name for name, _ in rows] == ports.names(forward_only=True)
    extras = dict(rows)
    assert (extras["numpy"], extras["torch:compile"], extras["tf1"]) == ("—", "torch", "tensorflow")
    assert extras["onnx:torch/opencv"] == "torch, export, opencv"


def test_shell_completes_ports(lenet):
    words = {"COMP_WORDS": "lenet compare torch", "COMP_CWORD": "2", "_LENET_COMPLETE": "bash_complete"}
    assert lenet(**words).stdout.split() == ["plain,torch", "plain,torch:compile"]
