"""What the command says of itself: help, version, ports, completion; and what it loads for that."""

import json
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


EVERY_HELP = """
import json, sys
from contextlib import redirect_stdout
from io import StringIO
from lenet.commands.cli import cli
for command in [[], *([name] for name in cli.commands)]:
    before = set(sys.modules)
    with redirect_stdout(StringIO()) as text:
        cli.main([*command, "--help"], prog_name="lenet", standalone_mode=False)
    assert text.getvalue().startswith("Usage: lenet")
    print(json.dumps([command, sorted(set(sys.modules) - before)]))
"""


@pytest.fixture(scope="module")
def loaded_by_help() -> dict[str, set[str]]:
    """{command: the modules that its help imports}, of all commands in one process, one after the other."""
    shown = subprocess.run([sys.executable, "-c", EVERY_HELP], capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    return {" ".join(["lenet", *command]): set(modules) for command, modules in found}


HEAVY = {"torch", "tensorflow", "keras", "jax", "numpy", "rich", "pygments", "jinja2", "PIL"}
HEAVY |= {"multiprocessing", "tempfile"}


@pytest.mark.parametrize("command", ["lenet", *(f"lenet {name}" for name in COMMANDS)])
def test_help_loads_nothing_heavy(command, loaded_by_help):
    assert not loaded_by_help[command] & HEAVY


def test_nothing_heavy_is_loaded_before_a_command_is_chosen():
    assert not modules_loaded("--help") & HEAVY


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
