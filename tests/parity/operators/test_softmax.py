"""Softmax, LogSoftmax and Hardmax against plain Python and libraries, in short and long rows."""

import math
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Bounded, Looped
from parity.arithmetic.floats import FLOAT32, U64
from parity.errors import Unjudged
from parity.graph import Declared, Graph, Node
from parity.judging import judge
from parity.operators import OPERATORS
from tests.parity.examples.example import Example
from tests.parity.examples.softmax import EXAMPLES
from tests.parity.operators.one_node import in_onnxruntime, in_reference, outputs, share

every = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example}-{example.opset}")
KINDS = ("Softmax", "LogSoftmax", "Hardmax")


def _row(kind: str, row: list[float]) -> list[float]:
    top = max(row)
    if kind == "Hardmax":
        return [float(k == row.index(top)) for k in range(len(row))]
    total = math.fsum(math.exp(x - top) for x in row)
    if kind == "Softmax":
        return [math.exp(x - top) / total for x in row]
    return [x - top - math.log(total) for x in row]


def _defined(example: Example, x: np.ndarray) -> np.ndarray:
    """Row by row: along the axis since opset 13, of everything from the axis on before."""
    axis = example.node.get("axis", -1 if example.opset >= 13 else 1) % x.ndim
    if example.opset < 13:
        rows = x.reshape(math.prod(x.shape[:axis]), -1)
        return np.array([_row(example.operator.TYPE, row.tolist()) for row in rows]).reshape(x.shape)
    return np.apply_along_axis(lambda row: np.array(_row(example.operator.TYPE, row.tolist())), axis, x)


@every
def test_values_are_those_of_the_definition(example: Example) -> None:
    arrays = example.make(np.random.default_rng(0))
    assert arrays[0] is not None
    expected = outputs(example.operator, arrays)[0]
    right = _defined(example, arrays[0].astype(np.float64))
    size = np.maximum(np.abs(right), 1.0 if example.operator.TYPE == "LogSoftmax" else np.abs(right))
    assert (np.abs(expected.value - right) <= (40 + 4 * arrays[0].size) * U64 * size).all()


@every
def test_libraries_are_within_the_bound(example: Example) -> None:
    arrays = example.make(np.random.default_rng(1))
    expected = outputs(example.operator, arrays)[0]
    assert share(in_onnxruntime(example, arrays, 1)[0], expected) <= 1
    if example.opset >= 13:  # the reference evaluator takes the axis alone in every opset
        assert share(in_reference(example, arrays, 1)[0], expected) <= 1
    assert share(example.operator.evaluate(Looped(arrays[0])).value, expected) <= 1  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("length", [1, 10, 1000, 50_000])
def test_frameworks_are_within_the_bound(kind: str, scale: float, length: int) -> None:
    import jax
    import tensorflow as tf
    import torch

    x = (np.random.default_rng(5).standard_normal((max(1, 20_000 // length), length)) * scale).astype(
        np.float32
    )
    expected: Any = OPERATORS[kind]().evaluate(Bounded(x))
    name = "softmax" if kind == "Softmax" else "log_softmax"
    found = {
        "torch": getattr(torch, name)(torch.from_numpy(x), -1).numpy(),
        "tensorflow": getattr(tf.nn, name)(tf.constant(x)).numpy(),
        "jax": np.asarray(jax.jit(getattr(jax.nn, name))(x)),
        "onnxruntime": in_onnxruntime(Example(OPERATORS[kind](), {}, lambda rng: []), [x])[0],
    }
    if kind == "Softmax" and scale < 30:  # without the maximum, and with the reciprocal of the sum
        powers = np.exp(x)
        found["plain"] = powers * (np.float32(1) / powers.sum(-1, keepdims=True, dtype=np.float32))
    for library, y in found.items():
        assert share(y, expected) <= 1, library


@pytest.mark.parametrize("kind", KINDS)
def test_meaning_of_the_axis_changed_with_opset_13(kind: str) -> None:
    x = np.random.default_rng(6).standard_normal((2, 3, 4)).astype(np.float32)
    before, after = (OPERATORS[kind].read({"axis": 1}, opset).evaluate(Bounded(x)) for opset in (11, 13))
    assert isinstance(before, Bounded)
    assert isinstance(after, Bounded)
    assert np.abs(before.value - after.value).max() > 0.1
    last = OPERATORS[kind].read({}, 13).evaluate(Bounded(x))
    same = OPERATORS[kind].read({"axis": 2}, 11).evaluate(Bounded(x))
    assert isinstance(last, Bounded)
    assert isinstance(same, Bounded)
    assert (last.value == same.value).all()


def test_softmax_along_another_axis_is_different() -> None:
    x = np.random.default_rng(7).standard_normal((5, 5)).astype(np.float32)
    softmax = OPERATORS["Softmax"]()
    graph = Graph((Node("s", "Softmax", softmax, ("x",), ("y",)),), {"x": Declared("float32")}, ("y",))
    y: Any = softmax.evaluate(Bounded(x))
    right = y.value.astype(np.float32)
    turned = np.ascontiguousarray(softmax.evaluate(Bounded(x.T)).value.T.astype(np.float32))  # type: ignore[union-attr]
    assert judge(graph, {"x": x, "y": right}).verdict in ("equal", "rounding")
    assert judge(graph, {"x": x, "y": turned}).verdict == "different"


def test_logarithm_of_the_sum_subtracted_at_once_is_outside() -> None:
    """x − log Σ e^x where values are large and close together: a known bug, which the bound tells."""
    x = (1e4 + np.random.default_rng(8).uniform(0, 1, (50, 10))).astype(np.float32)
    expected: Any = OPERATORS["LogSoftmax"]().evaluate(Bounded(x))
    top = x.max(-1, keepdims=True)
    total = np.log(np.exp(x - top).sum(-1, keepdims=True))
    assert share(x - top - total, expected) <= 1
    assert share(x - (top + total), expected) > 1


def test_errors_of_the_argument_are_carried() -> None:
    rng = np.random.default_rng(9)
    x, error = rng.standard_normal((20, 6)) * 3, rng.choice([0, 1e-6, 0.1], (20, 6))
    for kind in ("Softmax", "LogSoftmax"):
        expected: Any = OPERATORS[kind]().evaluate(Bounded(x, error))
        for _ in range(50):
            moved: Any = OPERATORS[kind]().evaluate(Bounded(x + error * rng.choice([-1, 1], x.shape)))
            assert (np.abs(moved.value - expected.value) <= expected.bound).all()
        assert np.median(expected.bound / np.abs(expected.value)) < 0.5
    with pytest.raises(Unjudged, match="Hardmax of a tensor that was not recorded"):
        OPERATORS["Hardmax"]().evaluate(Bounded(x, error))
    with pytest.raises(Unjudged, match=r"^Hardmax of NaNs$"):
        OPERATORS["Hardmax"]().evaluate(Bounded(np.array([1, np.nan])))


def test_errors_of_a_row_are_not_independent() -> None:
    x = Bounded(np.zeros((2, 3, 4), np.float32))
    assert OPERATORS["Softmax"].read({"axis": 1}, 13).shared(x) == 3
    assert OPERATORS["Softmax"].read({"axis": 1}, 11).terms(x) == 12


def test_masked_rows() -> None:
    x = np.array([[0, -np.inf, 1], [-3.4e38, -3.4e38, 2]], np.float32)
    y: Any = OPERATORS["Softmax"]().evaluate(Bounded(x))
    assert np.isfinite(y.bound).all()
    assert y.value[0, 1] == 0
    assert y.bound.max() < 1e-6


def test_what_a_row_of_shares_comes_from() -> None:
    shares = np.array([[0.25, 0.75, 0]], np.float32)
    (x,) = OPERATORS["Softmax"]().inputs_of(shares, FLOAT32) or ()
    assert x.dtype == np.float64
    assert x.tolist() == [[math.log(0.25), math.log(0.75), math.log(FLOAT32.smallest)]]
