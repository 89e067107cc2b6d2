"""Means and norms of windows and of whole maps: each sum has as many terms as the window has places."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated
from tests.parity.statements.arrays import Statement, over, padding, pairs, use, zero_like


def _pooled(op: Any, x: Array, one: Callable[[list[Stated | None], int], Stated]) -> Array:
    """One value for each window, of what it sees (None outside) and of its places, with those in the padding.

    With ceil_mode, a last window may reach beyond the padding, if it starts before it.
    """
    d, kernel = x.ndim - 2, op.kernel_shape
    strides, dilations = pairs(op.strides, d, 1), pairs(op.dilations, d, 1)
    spans = [(kernel[k] - 1) * dilations[k] + 1 for k in range(d)]
    pads = padding(op, x.shape[2:], spans, strides)
    sizes = []
    for k in range(d):
        room = x.shape[2 + k] + pads[k] + pads[k + d] - spans[k]
        more = op.ceil_mode and -(-room // strides[k]) * strides[k] < x.shape[2 + k] + pads[k]
        sizes.append((-(-room // strides[k]) if more else room // strides[k]) + 1)
    y = np.empty((*x.shape[:2], *sizes), object)
    for image, channel, *place in np.ndindex(y.shape):
        seen, counted = [], 0
        for tap in np.ndindex(*kernel):
            at = [place[k] * strides[k] + tap[k] * dilations[k] - pads[k] for k in range(d)]
            inside = all(0 <= at[k] < x.shape[2 + k] for k in range(d))
            seen.append(x[(image, channel, *at)] if inside else None)
            counted += all(at[k] < x.shape[2 + k] + pads[k + d] for k in range(d))
        y[(image, channel, *place)] = one(seen, counted)
    return y


def average_pool(op: Any, x: Array) -> Array:
    def one(seen: list[Stated | None], counted: int) -> Stated:
        inside = sum(value is not None for value in seen)
        terms = [zero_like(x) if value is None else value for value in seen]
        return s.total(terms).divided(counted if op.count_include_pad else inside)

    return _pooled(op, x, one)


def norm(p: int, terms: list[Stated], mean_first: bool = False) -> Stated:
    """(Σ|x|^p)^(1/p); or as PyTorch has it, from the mean of the powers, times their number."""
    powers = [abs(x) if p == 1 else x * x if p == 2 else s.power(p)(abs(x)) for x in terms]
    size = s.total(powers)
    if mean_first:
        size = size.divided(len(terms)) * float(len(terms))
    return size if p == 1 else s.root(size) if p == 2 else s.power(1 / p)(size)


def lp_pool(op: Any, x: Array) -> Array:
    def one(seen: list[Stated | None], counted: int) -> Stated:
        return norm(op.p, [zero_like(x) if value is None else value for value in seen], True)

    return _pooled(op, x, one)


def max_pool(op: Any, x: Array) -> Array:
    def one(seen: list[Stated | None], counted: int) -> Stated:
        return s.largest([value for value in seen if value is not None])

    return _pooled(op, x, one)


def global_average_pool(op: Any, x: Array) -> Array:
    return over(s.mean, x, range(2, x.ndim))


def global_lp_pool(op: Any, x: Array) -> Array:
    return over(partial(norm, op.p), x, range(2, x.ndim))


def global_max_pool(op: Any, x: Array) -> Array:
    return over(s.largest, x, range(2, x.ndim))


STATEMENTS: dict[str, Statement] = {
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "MaxPool": max_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalLpPool": global_lp_pool,
    "GlobalMaxPool": global_max_pool,
}
SMALL = [
    use("AveragePool", (1, 2, 2, 3), kernel_shape=(2, 2)),
    use("AveragePool", (1, 1, 5), kernel_shape=(3,), strides=(2,)),
    use("AveragePool", (1, 1, 3, 3), kernel_shape=(2, 3), pads=(1, 1, 0, 1)),
    use("AveragePool", (1, 1, 3, 3), kernel_shape=(2, 3), pads=(1, 1, 0, 1), count_include_pad=1),
    use(
        "AveragePool",
        (1, 1, 6),
        kernel_shape=(3,),
        strides=(2,),
        pads=(1, 0),
        ceil_mode=1,
        count_include_pad=1,
    ),
    use("AveragePool", (1, 1, 5), kernel_shape=(2,), strides=(3,), dilations=(2,), auto_pad="SAME_LOWER"),
    use("LpPool", (1, 1, 5), kernel_shape=(3,), strides=(2,), auto_pad="SAME_UPPER", dilations=(2,)),
    use("MaxPool", (1, 1, 6), kernel_shape=(3,), strides=(2,), dilations=(2,), ceil_mode=1),
    use("LpPool", (1, 2, 2, 3), kernel_shape=(2, 2)),
    use("LpPool", (1, 1, 5), kernel_shape=(3,), p=3, pads=(1, 0)),
    use("LpPool", (1, 1, 5), kernel_shape=(3,), p=1),
    use("MaxPool", (1, 2, 2, 3), kernel_shape=(2, 2)),
    use("GlobalAveragePool", (1, 2, 2, 2)),
    use("GlobalAveragePool", (2, 1, 7)),
    use("GlobalLpPool", (1, 2, 2, 3)),
    use("GlobalLpPool", (1, 2, 5), p=3),
    use("GlobalLpPool", (1, 2, 5), p=1),
    use("GlobalMaxPool", (1, 2, 2, 2)),
]
