"""Numbers that are read off the candidate's values: which are fitted, where, and when none is.

Most tests call `read_off` by itself; the last one searches.
"""

from dataclasses import replace
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

from parity.judging.causes.search import read_off as reading
from parity.judging.causes.search.first_look import Look
from parity.judging.causes.search.hypotheses import Clock, Made
from parity.judging.causes.search.read_off import read_off
from parity.judging.causes.search.wrong import Wrong
from tests.parity.judging.causes.small_graphs import Array, N, drawn, graph_of, names
from tests.parity.judging.causes.three_nodes import leaky, wrong_in
from tests.parity.judging.causes.words import check_said

X = drawn(6, 8)
WIDE = X.astype(np.float64)
NEVER = Clock(inf, 0.0)


def normalized(x: Array, epsilon: float) -> Array:
    apart = x - x.mean(-1, keepdims=True)
    return apart / np.sqrt((apart**2).mean(-1, keepdims=True) + epsilon)


def given(nodes: list[NodeProto], found: Array, x: Array = X, **more: Any) -> Wrong:
    names = {name for node in nodes for name in node.input}
    constants = {"half": np.array([0.5], np.float32), "scale": np.ones(8, np.float32)}
    one = graph_of(nodes, {name: a for name, a in constants.items() if name in names}, "x")
    result = wrong_in(one, found, x=x)
    return replace(result, report=replace(result.report, **more))


def read(some: Wrong, clock: Clock = NEVER) -> list[Made]:
    found = list(read_off(Look(some), clock))
    for one in found:
        check_said(*one.mistakes)
    return found


SLOPE = [N("LeakyRelu", ["x"], ["y"], alpha=0.2)]
NORM = [N("LayerNormalization", ["x", "scale"], ["y"], epsilon=0.25)]


def test_a_slope_that_no_list_has():
    some = given(SLOPE, leaky(WIDE, 0.37))
    (one,) = read(some)
    assert (one.name, one.places, one.start, one.nodes[0].type) == (
        "slope alpha 0.37 for 0.2",
        (0,),
        0,
        "LeakyRelu",
    )
    assert one.mistakes[0].remedy == "The reference's is 0.2."
    assert some.explained_by(one.operator)


def test_a_positive_number_is_fitted_from_each_start():
    (one,) = read(given(NORM, normalized(WIDE, 0.375)))
    assert one.name == "epsilon 0.375 for 0.25"
    (tiny,) = read(given(NORM, normalized(WIDE * 1e-3, 4e-6), x=(1e-3 * X)))
    assert tiny.name == "epsilon 4e-06 for 0.25"


def test_the_right_number_is_not_read_off():
    assert read(given(SLOPE, leaky(WIDE, 0.2))) == []
    assert read(given(NORM, normalized(WIDE, 0.25))) == []


def test_a_number_is_read_off_behind_another_node_too():
    nodes = [N("LeakyRelu", ["x"], ["l"], alpha=0.2), N("Mul", ["l", "half"], ["y"])]
    found = read(given(nodes, leaky(WIDE, 0.37) * 0.5))
    assert [(one.name, one.places, one.start) for one in found] == [("slope alpha 0.37 for 0.2", (0,), 0)]
    found = read(given(nodes, leaky(WIDE, 0.2) * 0.375))
    assert [(one.name, one.places, one.start) for one in found] == [("factor 0.375 for 0.5", (1,), 1)]


def test_a_number_that_two_nodes_have_is_read_off_at_both():
    nodes = [
        N("LeakyRelu", ["x"], ["l"], alpha=0.2),
        N("Neg", ["l"], ["n"]),
        N("LeakyRelu", ["n"], ["y"], alpha=0.2),
    ]
    both = leaky(-leaky(WIDE, 0.37), 0.37)
    found = {one.name: one for one in read(given(nodes, both))}
    one = found["slope alpha 0.37 for 0.2, at 2 nodes"]
    assert (one.places, one.start, one.nodes[0].outputs) == ((), 0, ("l",))
    assert given(nodes, both).explained_by(one.operator)
    other = [replace_alpha(node) if k == 2 else node for k, node in enumerate(nodes)]
    assert not [one for one in read(given(other, both)) if "nodes" in one.name]


def replace_alpha(node: NodeProto) -> NodeProto:
    return N("LeakyRelu", list(node.input), list(node.output), alpha=0.25)


def test_of_few_values_or_another_shape_nothing_is_read_off():
    assert read(given(SLOPE, leaky(WIDE[:1], 0.37), x=X[:1]))  # eight of them
    assert not read(given(SLOPE, leaky(WIDE[:1, :7], 0.37), x=X[:1, :7]))
    assert not read(given(SLOPE, leaky(WIDE, 0.37), misshapen=True))


@pytest.mark.parametrize(("ratio", "is_tried"), [(7.9, False), (8.0, True), (nan, True)])
def test_a_number_takes_much_of_the_error_of_a_coarse_tensor_away(ratio, is_tried):
    """Eight times the limit of a plain loop."""
    some = given(SLOPE, leaky(WIDE, 0.37), verdict="coarse", loop_ratio=2 * ratio, loop_limit=2.0)
    assert bool(read(some)) == is_tried
    assert read(replace(some, report=replace(some.report, verdict="different")))


def test_without_time_nothing_is_read_off():
    assert not read(given(SLOPE, leaky(WIDE, 0.37)), Clock(-inf, 0.0))


def test_what_no_number_explains_is_not_read_off():
    assert not read(given(SLOPE, leaky(WIDE, 0.37) * (1 + drawn(6, 8, seed=3))))
    assert not read(given(SLOPE, np.full((6, 8), np.nan)))


def test_a_number_that_is_not_known_to_a_hundredth_is_none(monkeypatch):
    """As where only one small value shows it: fitted to values that are rounded to steps."""
    some = given(SLOPE, leaky(WIDE, 0.37))
    fit = reading._Fit(Look(some))
    (scalar,) = (one for one in reading.scalars(fit.look.stretch.nodes[0].operator, [fit.look.right["x"]]))
    for share, number in ((0.9, 0.37), (1.1, None)):
        deviation = share * 1e-2 * 0.37 / 4
        monkeypatch.setattr(reading, "fitted", lambda *arguments, d=deviation: (0.37, d))
        monkeypatch.setattr(reading, "shortest", lambda number, apart: number)
        assert fit._fitted({0: scalar}, 0.1) == number


def test_a_constant_that_no_list_has_is_named():
    """Here the whole search runs, with its proof."""
    nodes = [N("Relu", ["x"], ["r"]), N("Mul", ["r", "half"], ["y"])]
    graph = graph_of(nodes, {"half": np.array([0.5], np.float32)}, "x")
    assert names(graph, x=X, y=np.maximum(WIDE, 0) * 0.3125) == ["factor 0.3125 for 0.5"]
