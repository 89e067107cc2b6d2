"""All ports in one process: each returns the bits that its framework returns in a process of its own.

Frameworks share a process badly: threads, environment variables, the switch of float64, the default
graph, gradients on or off. The processes run tests/lenet/ports/fingerprints.py, side by side, as many as
there are cores. Each runs a port as soon as it has opened it, and imports the next framework after that.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lenet import ports
from tests.conftest import unavailable
from tests.lenet.ports.fingerprints import calls, dtypes, switches

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

# Every warning is an error but these: TensorFlow's AutoGraph on Python 3.13, and a CUDA build without a GPU.
KNOWN = "ignore::DeprecationWarning:gast.astn", "ignore:CUDA initialization:UserWarning"
STRICT = [part for known in ("error", *KNOWN) for part in ("-W", known)]

pytestmark = pytest.mark.timeout(1200)  # half a minute; many times that where others use the cores too


def installed() -> list[str]:
    return [name for name in NAMES if ports.installed(name)]


def run(line: list[str]) -> Found:
    """A process for these ports."""
    command = [sys.executable, *STRICT, "-m", "tests.lenet.ports.fingerprints", *line]
    root = Path(__file__).parents[3]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no warning and no greeting
    return json.loads(result.stdout)


def processes() -> list[list[str]]:
    """The ports of each process: one of them, or all in one order, or all in the opposite order.

    The frameworks that take longest to import come first in one of the two orders, where they are still
    alone. Every other has a process of its own besides.
    """
    family = {name: name.partition(":")[0] for name in installed()}
    order = sorted(family, key=lambda n: (family[n] != "numpy", family[n] != "tf", family[n] == "torch"))
    alone = [[name] for name in order if family[name] not in ("numpy", "tf", "torch")]
    return [*alone, order, order[::-1]]


@pytest.fixture(scope="module")
def ran() -> list[Found]:
    """What each process found."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(run, processes()))


@pytest.fixture(scope="module")
def bits(ran) -> dict[str, list[str]]:
    """{port, dtype and call: fingerprints}, two of each process."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in ran:
        for which, two in one["fingerprints"].items():
            found[which] += two
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_port_among_all_others_returns_the_bits_that_it_returns_alone(name, bits):
    if not ports.installed(name):
        unavailable(f"{name} is not installed")
    for dtype, call in product(dtypes(name), calls(name)):
        which = f"{name} {dtype} {call}"
        assert len(bits[which]) == 2 * sum(name in names for names in processes()) >= 4
        assert len(set(bits[which])) == 1, which


@pytest.mark.slow
def test_ports_leave_the_switches_of_their_frameworks_as_they_found_them(ran):
    for one in ran:
        assert one["switches"].items() <= SWITCHES.items()
    assert all(len(one["switches"]) > 0 for one in ran[-2:])


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
