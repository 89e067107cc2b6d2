"""Tables that an exporter has computed, some units in the last place off from the port's."""

from dataclasses import replace

import numpy as np
import pytest

from parity.arithmetic.floats import BFLOAT16
from parity.judging.causes import judge
from tests.parity.judging.causes.case import Case, N
from tests.parity.judging.causes.decomposed.rotation import COS, ROTATION, SIN, halves, tables

Array = np.ndarray
OFF = "constants of the graph (cos, sin) are {} off from the port's"
X = np.random.default_rng(5).standard_normal((2, 3, 5, 8)).astype(np.float32)


def moved(table: Array, units: int, seed: int) -> Array:
    """Each value some units in the last place further up or down."""
    signs = np.random.default_rng(seed).choice([-1, 1], table.shape)
    return (table + units * signs * np.spacing(np.abs(table))).astype(np.float32)


def names_of(case: Case, y: Array) -> list[str]:
    (one,) = judge(case.graph, {"x": X, "y": y.astype(np.float32)}).tensors
    assert one.verdict == "different"
    return [cause.name for cause in one.causes]


@pytest.mark.parametrize("units", [2, 4, 64])
def test_tables_that_are_some_units_off_are_named(units: int) -> None:
    """Up to four: right libraries are no further apart."""
    names = names_of(ROTATION, halves(X, moved(COS, units, 0), moved(SIN, units, 1)))
    some = {2: ["2 ulps"], 4: ["4 ulps"], 64: []}[units]
    assert names == [OFF.format(one) for one in some]


ANGLES = np.concatenate([np.arange(5)[:, None] * 100.0 ** -np.arange(4)] * 2, -1).astype(np.float32)


def of_angles(angles: Array) -> Case:
    """The graph computes both tables."""
    nodes = [N("Cos", ["angles"], ["cos"]), N("Sin", ["angles"], ["sin"]), *ROTATION.nodes]
    constants = {name: a for name, a in ROTATION.constants.items() if name not in ("cos", "sin")}
    return replace(ROTATION, nodes=nodes, constants={**constants, "angles": angles})


def test_angles_that_are_some_units_off_are_named() -> None:
    cos, sin = tables(moved(100 * ANGLES, 2, 0), lambda a: a)
    assert names_of(of_angles(100 * ANGLES), halves(X, cos, sin)) == [
        "constants of the graph (angles) are 2 ulps off from the port's"
    ]


def test_tables_in_a_shorter_format_are_named() -> None:
    cos, sin = (BFLOAT16.round(one).astype(np.float32) for one in tables(ANGLES, lambda a: a))
    assert names_of(of_angles(ANGLES), halves(X, cos, sin)) == ["cosines and sines rounded to bfloat16"]


def test_parameters_are_no_tables() -> None:
    """A scale and a shift are loaded, not computed: nothing is said of their last digits."""
    rng = np.random.default_rng(0)
    scale, shift = (rng.uniform(0.5, 1.5, 8).astype(np.float32) for _ in range(2))
    nodes = [N("Mul", ["x", "cos"], ["scaled"]), N("Add", ["scaled", "sin"], ["y"])]
    case = replace(ROTATION, nodes=nodes, constants={"cos": scale, "sin": shift})
    assert names_of(case, X * moved(scale, 4, 0) + moved(shift, 4, 1)) == []
