"""Uses of reductions, running sums and the places of the largest values."""

from typing import Any

import numpy as np

from parity.operators import Operator
from parity.operators.reduction import (
    ArgMax,
    ArgMin,
    CumSum,
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ReduceSumSquare,
    TopK,
)
from tests.parity.examples.example import Example, Make

Shape = tuple[int, ...]


def _floats(shape: Shape, *more: int | list[int] | None, positive: bool = False) -> Make:
    """Normally distributed floats, or their magnitudes, and fixed integers (axes, counts) behind them."""

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        x = rng.standard_normal(shape).astype(np.float32)
        fixed = [None if one is None else np.array(one, np.int64) for one in more]
        return [np.abs(x) if positive else x, *fixed]

    return make


def _integers(shape: Shape, dtype: type, *more: int | list[int]) -> Make:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        x: np.ndarray = rng.integers(1, 5, shape).astype(dtype)
        return [x, *(np.array(one, np.int64) for one in more)]

    return make


def _uses(kind: type[Operator], positive: bool = False) -> list[Example]:
    """Axes as an input and as an attribute; kept and dropped; all, and none."""

    def use(make: Make, opset: int = 22, **attributes: Any) -> Example:
        return Example(kind(**attributes), attributes, make, opset, () if positive else (0,))

    old = 11 if kind is ReduceSum else 13
    return [
        use(_floats((3, 4, 5), [1], positive=positive)),
        use(_floats((3, 4, 5), [-1, 0], positive=positive), keepdims=0),
        use(_floats((2, 13), positive=positive)),
        use(_floats((2, 3), [], positive=positive), noop_with_empty_axes=1),
        use(_floats((3, 40), positive=positive), old, axes=(1,), keepdims=0),
    ]


EXAMPLES = [
    *_uses(ReduceSum),
    *_uses(ReduceMean),
    *_uses(ReduceMax),
    *_uses(ReduceMin),
    *_uses(ReduceProd),
    *_uses(ReduceL1),
    *_uses(ReduceL2),
    *_uses(ReduceLogSum, positive=True),
    *_uses(ReduceLogSumExp),
    *_uses(ReduceSumSquare),
    Example(ReduceSum(), {}, _integers((3, 4), np.int32, [0])),
    Example(ReduceProd(), {}, _integers((3, 4), np.int64, [1])),
    Example(ReduceMax(), {}, _integers((3, 4), np.uint8, [1])),
    Example(ReduceMin(keepdims=0), {"keepdims": 0}, _integers((3, 4), np.int64, [1])),
    Example(CumSum(), {}, _floats((3, 7, 2), 1), data=(0,)),
    Example(CumSum(exclusive=1), {"exclusive": 1}, _floats((7,), 0), data=(0,)),
    Example(CumSum(reverse=1), {"reverse": 1}, _floats((2, 9), -1), data=(0,)),
    Example(CumSum(1, 1), {"exclusive": 1, "reverse": 1}, _floats((2, 9), 1), data=(0,)),
    Example(CumSum(), {}, _integers((4, 3), np.int32, 0)),
    Example(ArgMax(axis=1), {"axis": 1}, _floats((3, 8, 2))),
    Example(
        ArgMax(-1, 0, 1), {"axis": -1, "keepdims": 0, "select_last_index": 1}, _integers((4, 9), np.int32)
    ),
    Example(ArgMin(axis=0), {"axis": 0}, _floats((6, 4))),
    Example(ArgMin(1, 0), {"axis": 1, "keepdims": 0}, _integers((4, 9), np.uint8)),
    Example(TopK(), {}, _floats((3, 9), [4]), data=()),
    Example(TopK(axis=0, largest=0), {"axis": 0, "largest": 0}, _integers((9, 3), np.int64, [5]), data=()),
]
