"""Batch normalization with the statistics of a new layer, exchanged letters, pieces of a layer's states."""

import numpy as np
import pytest

from parity.arithmetic import Bounded, Looped
from parity.judging.causes.of_places import of_layout, of_pieces
from parity.judging.causes.of_rounding.of_constants import _widened
from parity.judging.causes.search.stretch import between
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn
from tests.parity.judging.causes.small_graphs import N, graph_of

X = drawn(3, 4, 2, 2)
SCALE, SHIFT, MEAN = (drawn(4, seed=n) for n in (1, 2, 3))
VARIANCE = np.linspace(0.5, 2, 4, dtype=np.float32)


def column(a: Array) -> Array:
    return a.reshape(-1, 1, 1).astype(np.float64)


def test_statistics_of_a_new_layer():
    one = Layer("BatchNormalization", X, SCALE, SHIFT, MEAN, VARIANCE)

    def returned(mean: Array, variance: Array) -> Array:
        return (X - column(mean)) / np.sqrt(column(variance) + 1e-5) * column(SCALE) + column(SHIFT)

    zeros, ones = np.zeros(4), np.ones(4)
    for name, expected in {
        "": returned(MEAN, VARIANCE),
        "running mean and variance not loaded: 0 and 1": returned(zeros, ones),
        "running mean not loaded: 0": returned(zeros, VARIANCE),
        "running variance not loaded: 1": returned(MEAN, ones),
    }.items():
        one.returns(name, expected)


def test_letters_of_an_equation_that_are_exchanged():
    a, b = drawn(3, 4, 4), drawn(4, 4, seed=1)
    wide = [one.astype(np.float64) for one in (a, b)]
    one = Layer("Einsum", a, b, equation="bij,jk->bik")
    one.returns("", np.einsum("bij,jk->bik", *wide))
    one.returns("axes 1 and 2 of input 0 exchanged", np.einsum("bji,jk->bik", *wide))
    one.returns("axes 0 and 1 of input 1 exchanged", np.einsum("bij,kj->bik", *wide))
    assert "axes 0 and 1 of input 0 exchanged" not in one.mistakes


def test_pieces_without_steps_are_taken_in_another_order():
    """A slice of a middle input that is left out: the axes are all, from the first on."""
    nodes = [
        N("Relu", ["x"], ["j"]),
        N("Slice", ["j", "zero", "two", "", "step"], ["a"]),
        N("Slice", ["j", "two", "four", "", "step"], ["b"]),
        N("Sub", ["a", "b"], ["y"]),
    ]
    numbers = {name: np.array([n]) for name, n in (("zero", 0), ("two", 2), ("four", 4), ("step", 1))}
    graph, x = graph_of(nodes, numbers, "x"), drawn(4, 3)
    values = {name: Bounded(a) for name, a in graph.constants.items()} | {"j": Bounded(np.maximum(x, 0))}
    ((place, changes),) = of_pieces.pieces(graph.nodes, values, set())
    assert place == 1
    for k, part in ((1, slice(2, 4)), (2, slice(0, 2))):
        inputs = [values[name] if name else None for name in graph.nodes[k].inputs]
        found = changes[k].operator.first(*inputs)
        np.testing.assert_array_equal(found.comparable, np.maximum(x, 0)[part])


@pytest.mark.parametrize(
    ("axis", "what"), [(0, "steps"), (1, "directions"), (2, "items of the batch"), (3, "positions of axis 3")]
)
def test_what_lies_along_an_axis_of_a_recurrent_layer_has_its_name(axis, what):
    weights = {"w": drawn(2, 3, 5), "r": drawn(2, 3, 3)}
    node = N("RNN", ["x", "w", "r"], ["y"], hidden_size=3, direction="bidirectional")
    stretch = between(graph_of([node], weights, "x"), {"x"}, "y")
    right = drawn(4, 2, 5, 3, seed=9)
    found = np.flip(right, axis)
    names = [one.name for one in of_layout.layouts(stretch, found, Bounded(right))]
    assert names == [f"{what} {'exchanged' if axis == 1 else 'in reverse order'}"]


def test_a_value_is_widened_by_units_in_its_last_place():
    x = np.array([1.0, -3.0, 4.0], np.float32)
    units = np.array([2.0**-23, 2.0**-22, 2.0**-21])
    wide = _widened(Bounded(x), 2)
    assert isinstance(wide, Bounded)
    np.testing.assert_array_equal(wide.bound, 2 * units)
    moved = _widened(Looped(x), 1)
    assert isinstance(moved, Looped)
    np.testing.assert_array_equal(np.abs(moved.value.astype(np.float64) - x), units)
    assert _widened(None, 1) is None
