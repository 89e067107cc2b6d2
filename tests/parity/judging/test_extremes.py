"""onnxruntime where float32 ends: overflow on the way, subnormal numbers, NaN and infinity.

It computes the standard's function there, too, and is not called different. What an overflow spoils is
coarse, and the note says so. The exceptions are listed with what onnxruntime does.
"""

from collections.abc import Callable

import numpy as np
import pytest

from parity.arithmetic import Array
from parity.judging.verdict import TensorReport
from parity.operators.affine import MatMul
from parity.operators.elementwise import Sub
from parity.operators.reduction import ReduceL2, ReduceMax
from tests.parity.examples import EXAMPLES
from tests.parity.examples.example import Example
from tests.parity.operators import checks
from tests.parity.operators.one_node import drawn, in_onnxruntime, outputs, verdicts

Change = Callable[[Array, np.random.Generator], Array]


def _some(value: float) -> Change:
    return lambda x, rng: np.where(rng.random(x.shape) < 0.15, value, x)


CHANGES: dict[str, Change] = {
    "1e19": lambda x, _: x * 1e19,
    "1e30": lambda x, _: x * 1e30,
    "1e38": lambda x, _: x * 1e38,
    "1e-20": lambda x, _: x * 1e-20,
    "1e-38": lambda x, _: x * 1e-38,
    "zeros": lambda x, _: np.zeros_like(x),
    "constant": lambda x, _: np.full_like(x, 1.7),
    "NaN": _some(np.nan),
    "inf": _some(np.inf),
    "-inf": _some(-np.inf),
}
# Where onnxruntime fails and a plain loop does not: what it does.
OTHERWISE = {
    ("Softsign", "1e38", "y0"): "multiplies by the reciprocal, which is subnormal",
    ("MeanVarianceNormalization", "1e-20", "y0"): "leaves out the 10^-9, most of the divisor here",
    ("MeanVarianceNormalization", "1e19", "y0"): "E[x²] overflows, and the result is 0",
    ("MeanVarianceNormalization", "1e30", "y0"): "E[x²] overflows, and the result is 0",
    ("LRN", "1e19", "y0"): "takes an overflow from its running sum again: ∞ − ∞",
    ("GRU", "1e30", "y0"): "has a sigmoid that does not reach 0, and multiplies a state of 1e30 by it",
    ("GRU", "1e38", "y0"): "has a sigmoid that does not reach 0, and multiplies a state of 1e38 by it",
    ("GRU", "1e30", "y1"): "the same",
    ("GRU", "1e38", "y1"): "the same",
    ("Attention", "1e19", "y3"): "scales the scores when they have overflowed",
}
NORM = Example(ReduceL2(), {}, lambda rng: [None], opset=18)
MAXIMUM = Example(ReduceMax(), {}, lambda rng: [None], opset=18)
PRODUCT = Example(MatMul(), {}, lambda rng: [None])
DIFFERENCE = Example(Sub(), {}, lambda rng: [None])
FIRST = {example.operator.TYPE: example for example in reversed(EXAMPLES) if not checks.no_kernel(example)}


def changed(example: Example, change: str) -> list[Array | None]:
    """Inputs of an example, all of its data changed."""
    arrays = drawn(example, 5)
    for place in checks.data_inputs(example, arrays):
        x = arrays[place]
        assert x is not None
        with np.errstate(over="ignore"):
            arrays[place] = np.asarray(CHANGES[change](x, np.random.default_rng(place))).astype(x.dtype)
    return arrays


@pytest.mark.parametrize("kind", sorted(FIRST))
def test_onnxruntime_is_not_called_different(kind: str) -> None:
    example = FIRST[kind]
    count = len(outputs(example.operator, drawn(example)))
    for change in CHANGES:
        arrays = changed(example, change)
        for tensor in verdicts(example, arrays, in_onnxruntime(example, arrays, count)):
            spoilt = tensor.verdict == "coarse" and "overflow" in tensor.note
            right = tensor.verdict not in ("different", "coarse") or spoilt
            assert right != ((kind, change, tensor.tensor) in OTHERWISE), (change, tensor)


def judged_norm(x: Array, y: Array) -> TensorReport:
    """What is said of the root of the sum of squares along the last axis."""
    (one,) = verdicts(NORM, [x, np.array([-1])], [y])
    return one


def test_overflow_on_the_way_is_coarse_and_named() -> None:
    """float16 ends at 65504; 300 · 300 is beyond, the norm of the values is not."""
    x = np.full((2, 4), 300, np.float16)
    infinite = judged_norm(x, np.full((2, 1), np.inf, np.float16))
    assert infinite.verdict == "coarse"
    assert "2 values are wrong behind an overflow in float16" in infinite.note
    assert np.isnan(infinite.loop_ratio)  # the loop overflows, too
    assert judged_norm(x, np.full((2, 1), 600, np.float16)).verdict == "equal"


def test_overflow_in_one_row_excuses_no_other() -> None:
    x = np.array([[300] * 4, [3] * 4], np.float16)
    assert judged_norm(x, np.array([[np.inf], [6]], np.float16)).verdict == "coarse"
    assert judged_norm(x, np.array([[np.inf], [7]], np.float16)).verdict == "different"
    assert judged_norm(x.astype(np.float32), np.array([[np.inf], [6]], np.float32)).verdict == "different"


def test_beside_an_excused_value_nothing_is_compared_with_the_loop() -> None:
    """The other values are right, but an overflow, or a NaN that is lost, is not told by their errors."""
    coarse = judged_norm(np.array([[300] * 4, [3] * 4], np.float16), np.array([[np.inf], [6]], np.float16))
    x = np.array([[1, np.nan], [2, 3]], np.float32)
    (lost,) = verdicts(MAXIMUM, [x, np.array([-1])], [np.array([[1], [3]], np.float32)])
    assert (coarse.verdict, lost.verdict) == ("coarse", "undecided")
    assert np.isnan([coarse.loop_ratio, lost.loop_ratio]).all()
    assert lost.note == "1 value is NaN by the formula, which implementations lose"


def test_finite_values_are_not_excused_by_an_overflow() -> None:
    """x · x overflows in a plain loop as well, but what it returns then is not this."""
    x = np.full((2, 4), 300, np.float16)
    assert judged_norm(x, np.full((2, 1), 42, np.float16)).verdict == "different"
    assert judged_norm(x, np.array([[np.inf], [-600]], np.float16)).verdict == "different"


def test_many_overflows_excuse_no_single_mistake() -> None:
    x = np.full((10_000, 4), 300, np.float16)
    y = np.full((10_000, 1), np.inf, np.float16)
    assert judged_norm(x, y).verdict == "coarse"
    y[5_000], x[5_000] = 7, 3
    assert judged_norm(x, y).verdict == "different"


def test_nan_where_no_partial_sum_can_overflow_is_different() -> None:
    """The magnitudes add up to more than float16 holds, the terms of either sign do not."""
    x = np.full((1, 4608), 4, np.float16) * np.where(np.arange(4608) % 2, -1, 1).astype(np.float16)
    w = np.full((4608, 2), 4, np.float16)
    (one,) = verdicts(PRODUCT, [x, w], [np.full((1, 2), np.nan, np.float16)])
    assert one.verdict == "different"


def test_one_huge_value_does_not_widen_the_bound_of_the_others() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((16, 8)).astype(np.float32), rng.standard_normal((8, 4)).astype(np.float32)
    x[0, 0] = -np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        y = (x.astype(np.float64) @ w).astype(np.float32)
    assert verdicts(PRODUCT, [x, w], [y])[0].verdict in ("equal", "rounding")
    y[1:] = 7
    assert verdicts(PRODUCT, [x, w], [y])[0].verdict == "different"


def test_an_infinity_that_was_put_in_excuses_no_finite_value() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 8)).astype(np.float32), rng.standard_normal((8, 5)).astype(np.float32)
    x[1, 2] = np.inf
    y = x @ w
    assert verdicts(PRODUCT, [x, w], [y])[0].verdict in ("equal", "rounding")
    for wrong in (42, 0, -y[1], np.finfo(np.float32).max):
        y[1] = wrong
        assert verdicts(PRODUCT, [x, w], [y])[0].verdict == "different", wrong


def test_an_infinity_that_was_put_in_may_become_nan() -> None:
    """As behind Winograd's transforms, which add it to its opposite."""
    x, w = np.ones((4, 8), np.float32), np.ones((8, 5), np.float32)
    x[1, 2] = np.inf
    y = x @ w
    y[1] = np.nan
    assert verdicts(PRODUCT, [x, w], [y])[0].verdict in ("equal", "rounding")


def test_rounded_constants_of_a_shorter_format_are_no_overflow() -> None:
    x = np.array([[1000.25, 1001.5]], np.float16)
    mean = np.array([1000.3, 1001.1], np.float32)
    flipped = -(x.astype(np.float32) - mean).astype(np.float16)
    (one,) = verdicts(DIFFERENCE, [x, mean], [flipped])
    assert one.verdict == "different"


def test_float32_numbers_in_float64_are_pointed_out() -> None:
    x = np.random.default_rng(0).standard_normal((4, 64))
    y = (x.astype(np.float32) @ x.astype(np.float32).T).astype(np.float64)
    (one,) = verdicts(
        PRODUCT, [x.astype(np.float32).astype(np.float64), x.astype(np.float32).T.astype(np.float64)], [y]
    )
    assert one.verdict == "different"
    assert "record them as float32" in one.note
