"""Freed pages are kept, for a program that makes and frees large arrays."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, numpy as np
from lenet.ports.memory import keep_freed
if {keep}: keep_freed()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work(): [np.ones(20 << 17) for _ in range(3)]  # 20 MB each, all three alive at once
work(); before = faults()
for _ in range(20): work()
print(faults() - before)
"""


def faults(keep: bool) -> int:
    """Minor page faults of twenty rounds of the same allocations."""
    command = [sys.executable, "-c", FAULTS.format(keep=keep)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_pages_that_were_freed_are_not_faulted_in_again():
    assert faults(keep=True) < faults(keep=False) / 10


def test_another_c_library_is_left_alone():
    code = "import ctypes, lenet.ports.memory as m; ctypes.CDLL = lambda name: object(); m.keep_freed()"
    subprocess.run([sys.executable, "-c", code], check=True)
