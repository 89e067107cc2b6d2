"""Quantized operators: exact sums, ties that may fall on either side, and nothing else."""

import ml_dtypes
import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.errors import Unjudged
from parity.operators.element_types import NUMBERS
from parity.operators.quantization import (
    DynamicQuantizeLinear,
    MatMulInteger,
    QLinearMatMul,
    QuantizeLinear,
    quantized,
)
from tests.parity.examples.example import Example
from tests.parity.examples.quantization import EXAMPLES
from tests.parity.operators import one_node

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)


@every
def test_reference_evaluator_agrees(example: Example) -> None:
    arrays = one_node.drawn(example)
    report = one_node.report(example, arrays, one_node.in_reference(example, arrays))
    assert report.same, report.tensors


@every
def test_off_by_two_is_found(example: Example) -> None:
    """Even where a tie leaves 1 open."""
    arrays = one_node.drawn(example)
    found = one_node.in_reference(example, arrays)
    if found[0].dtype.kind == "f":
        found[0] = found[0] * np.float32(1 + 2.0**-20)
    else:
        limits = np.iinfo(found[0].dtype)
        found[0] = np.where(found[0] > limits.max - 3, found[0] - 3, found[0] + 3).astype(found[0].dtype)
    assert not one_node.report(example, arrays, found).same


def test_ties_go_to_even_and_may_go_elsewhere() -> None:
    y = QuantizeLinear().evaluate(
        Bounded(np.array([0.5, 1.5, 1.2, -300.0], np.float32)),
        Bounded(np.array(1, np.float32)),
        Bounded(np.array(10, np.uint8)),
    )
    assert isinstance(y, Bounded)
    np.testing.assert_array_equal(y.value, [10, 12, 11, 0])
    np.testing.assert_array_equal(y.bound, [1, 1, 0, 0])


def test_the_quotient_is_rounded_in_the_precision_that_is_asked() -> None:
    """In float16 0.5001 is 0.5 and 1.0001 is 1, so that both quotients lie on a tie."""
    x, scale = Bounded(np.array([0.5001, 0.5], np.float32)), Bounded(np.array([1, 1.0001], np.float32))
    for precision, bound in ((0, [0, 0]), (NUMBERS[np.dtype(np.float16)], [1, 1])):
        y = QuantizeLinear(axis=0, precision=precision).evaluate(x, scale)
        assert isinstance(y, Bounded)
        np.testing.assert_array_equal(y.bound, bound)


def test_few_values_are_undecided() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(100_000).astype(np.float32)
    y = QuantizeLinear().evaluate(Bounded(x), Bounded(np.array(0.02, np.float32)))
    assert isinstance(y, Bounded)
    assert 0 < np.mean(y.bound > 0) < 1e-4


def test_an_infinity_is_cut_off() -> None:
    y = quantized(Bounded(np.array([np.inf, -np.inf])), None, np.dtype(np.int8))
    assert isinstance(y, Bounded)
    np.testing.assert_array_equal(y.value, [127, -128])
    assert y.error is None


@pytest.mark.parametrize(
    ("kind", "lowest", "highest"),
    [
        ("int2", -2, 1),
        ("uint2", 0, 3),
        ("int4", -8, 7),
        ("uint4", 0, 15),
        ("int8", -128, 127),
        ("uint16", 0, 65535),
    ],
)
def test_results_end_where_their_type_does(kind: str, lowest: int, highest: int) -> None:
    to = np.dtype(getattr(ml_dtypes, kind, kind))
    y = quantized(Bounded(np.array([-1e9, lowest, highest, 1e9])), None, to)
    assert isinstance(y, Bounded)
    assert y.value.dtype == to
    np.testing.assert_array_equal(y.value.astype(int), [lowest, lowest, highest, highest])


def test_sums_of_products_are_exact() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, shape).astype(np.uint8) for shape in ((20, 70_000), (70_000, 3)))
    y = MatMulInteger().evaluate(Bounded(a), Bounded(b))
    assert isinstance(y, Bounded)
    assert y.error is None
    assert y.value.dtype == np.int32
    np.testing.assert_array_equal(y.value, (a.astype(np.int64) @ b.astype(np.int64)).astype(np.int32))


def test_what_is_not_covered() -> None:
    with pytest.raises(Unjudged, match="nothing but zeros"):
        DynamicQuantizeLinear().evaluate(Bounded(np.zeros(3, np.float32)))
    with pytest.raises(Unjudged, match="quantization to float8"):
        QuantizeLinear(output_dtype=17).evaluate(Bounded(np.ones(3)), Bounded(np.array(1.0)))


def test_scales_of_rows_and_columns_lie_along_them_in_batches_too() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 9, shape).astype(np.uint8) for shape in ((2, 3, 7), (7, 4)))
    rows, columns, out = np.array([1, 2, 0.5]), np.array([1, 0.25, 3, 2]), np.array([1, 4, 0.5])
    zero = np.array(0, np.uint8)
    parts = (a, rows, zero, b, columns, zero, out, zero)
    y = QLinearMatMul().evaluate(*(Bounded(part) for part in parts))
    assert isinstance(y, Bounded)
    right = (a.astype(int) @ b) * (rows[:, None] * columns / out[:, None])
    assert (np.abs(y.value - right.clip(0, 255)) <= 0.5 + y.bound).all()
