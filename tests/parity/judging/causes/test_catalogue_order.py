"""The order of the catalogue: of two mistakes that are the same, the first is named."""

import subprocess
import sys

import pytest

from parity.judging.causes.mistake import FAMILIES

PRINTED = """
import importlib, sys
for family in sys.argv[1:]:
    importlib.import_module(f"parity.judging.causes.{family}")
from parity.judging.causes import catalogue
print({kind: [(one.__module__, one.__qualname__) for one in finds] for kind, finds in catalogue().items()})
"""


def order(families: tuple[str, ...]) -> dict[str, list[tuple[str, str]]]:
    done = subprocess.run(
        [sys.executable, "-c", PRINTED, *families], capture_output=True, text=True, check=True
    )
    found: dict[str, list[tuple[str, str]]] = eval(done.stdout)
    return found


@pytest.mark.slow
def test_it_does_not_depend_on_what_was_imported_first() -> None:
    assert order(FAMILIES) == order(FAMILIES[::-1])
    assert next(iter(order(()).values()))
