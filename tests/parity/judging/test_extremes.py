"""onnxruntime where float32 ends: overflow on the way, subnormal numbers, NaN and infinity.

It computes the standard's function there, too, and is never called different. What an overflow spoils is
coarse, and the note says so.
"""

from collections.abc import Callable

import numpy as np
import pytest

from parity.arithmetic import Array
from parity.judging.verdict import TensorReport
from parity.operators.reduction import ReduceL2
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
    ("Attention", "1e19", "y3"): "scales the scores when they have overflowed",
}
NORM = Example(ReduceL2(), {}, lambda rng: [None], opset=18)
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


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", sorted(FIRST))
def test_onnxruntime_is_not_called_different(kind: str, change: str) -> None:
    example = FIRST[kind]
    count = len(outputs(example.operator, drawn(example)))
    arrays = changed(example, change)
    found = in_onnxruntime(example, arrays, count)
    for tensor in verdicts(example, arrays, found):
        spoilt = tensor.verdict == "coarse" and "overflow" in tensor.note
        right = tensor.verdict not in ("different", "coarse") or spoilt
        assert right != ((kind, change, tensor.tensor) in OTHERWISE), tensor


def judged_norm(x: Array, y: Array) -> TensorReport:
    """What is said of the root of the sum of squares along the last axis."""
    (one,) = verdicts(NORM, [x, np.array([-1])], [y])
    return one


def test_overflow_on_the_way_is_coarse_and_named() -> None:
    """float16 ends at 65504; 300 · 300 is beyond, the norm of the values is not."""
    x = np.full((2, 4), 300, np.float16)
    infinite = judged_norm(x, np.full((2, 1), np.inf, np.float16))
    assert infinite.verdict == "coarse"
    assert "2 values are wrong behind an overflow in float16, as in a plain loop" in infinite.note
    assert judged_norm(x, np.full((2, 1), 600, np.float16)).verdict == "equal"


def test_overflow_in_one_row_excuses_no_other() -> None:
    x = np.array([[300] * 4, [3] * 4], np.float16)
    assert judged_norm(x, np.array([[np.inf], [6]], np.float16)).verdict == "coarse"
    assert judged_norm(x, np.array([[np.inf], [7]], np.float16)).verdict == "different"
    assert judged_norm(x.astype(np.float32), np.array([[np.inf], [6]], np.float32)).verdict == "different"
