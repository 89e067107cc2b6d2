"""All ports in one process: each returns the bits that its framework returns in a process of its own.

Frameworks share a process badly: threads, environment variables, the switch of float64, the default
graph, gradients on or off. The processes run tests/fingerprints.py, side by side, as many as there are
cores.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lenet import ports
from lenet.ports import FRAMEWORKS
from tests.conftest import unavailable
from tests.fingerprints import calls, dtypes, switches

# Left out for their time: seconds of compilation in each of the processes.
SLOW = {
    "torch:compile": "builds C++ out of what `torch` runs",
    "tf:xla": "compiles what `tf:function` runs",
    "jax:eager": "compiles every operation by itself, under the same switch as `jax`",
    "onnx": "exports by way of every framework; one file and one runtime stand for all",
}
NAMES = [name for name in ports.names() if name not in SLOW] + ["caffe", "onnx:numpy/onnxruntime"]
SWITCHES = {
    "torch dtype": "torch.float32",
    "torch gradients": "True",
    "tf eager": "True",
    "jax dtype": "float32",
    "jax compiles": "True",
}
Found = dict[str, Any]

pytestmark = pytest.mark.timeout(1200)  # half a minute; many times that where others use the cores too


def installed() -> list[str]:
    return [name for name in NAMES if ports.installed(name)]


def run(line: list[str]) -> Found:
    """A process for these ports."""
    command = [sys.executable, "-W", "error", "-m", "tests.fingerprints", *line]
    root = Path(__file__).parent.parent
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no warning and no greeting
    return json.loads(result.stdout)


def run_side_by_side(lines: list[list[str]]) -> list[Found]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(run, lines))


@pytest.fixture(scope="module")
def alone() -> Found:
    """{port, dtype and call: fingerprints in two orders}, a process for each framework."""
    families = [[name for name in installed() if name.partition(":")[0] == family] for family in FRAMEWORKS]
    found: Found = {}
    for one in run_side_by_side([names for names in families if names]):
        found |= one["fingerprints"]
    return found


@pytest.fixture(scope="module")
def together(alone) -> list[Found]:
    """All in one process, opened in the order of the registry; in another by name: JAX first, torch last."""
    return run_side_by_side([installed(), sorted(installed())])


@pytest.mark.parametrize("name", NAMES)
def test_a_port_among_all_others_returns_the_bits_that_it_returns_alone(name, alone, together):
    if not ports.installed(name):
        unavailable(f"{name} is not installed")
    for dtype, call in product(dtypes(name), calls(name)):
        which = f"{name} {dtype} {call}"
        first, *others = alone[which] + [bits for one in together for bits in one["fingerprints"][which]]
        assert len(others) == 5
        assert set(others) == {first}, which


def test_ports_leave_the_switches_of_their_frameworks_as_they_found_them(together):
    for one in together:
        assert one["switches"].items() <= SWITCHES.items()
        assert len(one["switches"]) > 0


def left_on(name: str) -> Iterator[AbstractContextManager]:
    """What a careless port could leave on."""
    if name == "torch":
        import torch

        yield torch.no_grad()
    elif name == "tf":
        import tensorflow as tf

        yield tf.Graph().as_default()
    else:
        import jax

        yield from (jax.enable_x64(True), jax.disable_jit())


@pytest.mark.parametrize("name", ["torch", "tf", "jax"])
def test_a_switch_that_is_left_on_shows(name, open_port):
    open_port(name)
    assert switches().items() <= SWITCHES.items()
    for leak in left_on(name):
        with leak:
            assert not switches().items() <= SWITCHES.items()
