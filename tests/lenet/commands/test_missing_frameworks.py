"""A framework that is missing or broken is listed and the others run; one that was named is fatal."""

import importlib
import re

import numpy as np
import pytest

from lenet import ports
from lenet.ports import Framework
from parity.errors import pip
from tests.lenet.commands.running import failed


def test_a_broken_framework_is_reported_and_the_others_are_compared(in_process, monkeypatch):
    real = importlib.import_module

    def broken(name):
        if name == "lenet_torch.port":
            raise RuntimeError("no such\ndevice")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    result = in_process("compare", "torch", "numpy", "--digits", 10)
    assert result.exit_code == 1
    assert re.search(r"^numpy .* rounding$", result.stdout, re.MULTILINE)
    assert "torch fails at its import (RuntimeError: no such device)" in " ".join(result.stdout.split())
    assert "torch fails at its import" in failed(in_process("compare", "torch", "--digits", 10))


@pytest.fixture
def ghost(monkeypatch) -> None:
    """A registry of NumPy, one port whose framework is missing, and one without float64."""
    lines = {
        "numpy": ports.FRAMEWORKS["numpy"],
        "ghost": Framework("lenet_ghost.port", "ghost_framework"),
        "single": Framework("lenet_numpy.port", "numpy", dtypes=("float32",)),
    }
    monkeypatch.setattr("lenet.ports.registry.FRAMEWORKS", lines)


@pytest.mark.usefixtures("ghost")
def test_missing_framework_is_listed_or_fatal_if_it_was_named(in_process):
    result = in_process("compare", "--digits", 5)
    assert result.exit_code == 0
    assert f"needs ghost_framework: {pip()} install ghost_framework" in " ".join(result.stdout.split())
    assert re.search(r"^single .* rounding", result.stdout, re.MULTILINE)
    named = failed(in_process("compare", "numpy", "ghost", "--digits", 60))
    assert f"port 'ghost' needs ghost_framework: {pip()} install ghost_framework" in named
    assert "ghost_framework" in failed(in_process("predict", "--digit", 1, "--port", "ghost"))


@pytest.mark.slow
@pytest.mark.usefixtures("ghost")
def test_port_without_the_dtype_is_listed_or_fatal_if_it_was_named(in_process):
    result = in_process("compare", "--digits", 5, "--dtype", "float64")
    assert result.exit_code == 0
    assert "'single' computes in float32 alone" in " ".join(result.stdout.split())
    assert "float32 alone" in failed(in_process("compare", "single", "--digits", 5, "--dtype", "float64"))


@pytest.mark.usefixtures("ghost")
def test_ports_says_what_is_missing_and_how_to_get_it(in_process, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")  # narrower than the line, which is not folded
    table = in_process("ports").stdout
    assert re.search(rf"^numpy +numpy +{re.escape(np.__version__)} ", table, re.MULTILINE)
    assert re.search(r"^ghost +ghost_framework +no +— *$", table, re.MULTILINE)
    assert table.endswith(f"all that is missing: {pip()} install ghost_framework\n")
