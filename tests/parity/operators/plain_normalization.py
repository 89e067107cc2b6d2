"""The plain definitions of all normalizations, value by value in float64."""

from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.operators import one_node


def _moments(values: list[float]) -> tuple[Any, Any]:
    mean = sum(values) / len(values)
    return mean, sum((v - mean) ** 2 for v in values) / len(values)


def plain(operator: Any, arrays: one_node.Arrays) -> list[Array]:
    """All outputs, by the definition."""
    x, *rest = [array.astype(np.float64) for array in arrays if array is not None]
    kind = operator.TYPE
    if kind == "LRN":
        return [_lrn(operator, x)]
    y = np.empty(x.shape)
    means: dict[tuple[int, ...], float] = {}
    variances: dict[tuple[int, ...], float] = {}
    for index in np.ndindex(x.shape):
        key, row = _row(operator, index, x)
        mean, variance = _moments(row)
        means[key], variances[key] = mean, variance
        scale, bias = _parameters(operator, index, x, rest)
        if kind == "LpNormalization":
            y[index] = x[index] / sum(abs(v) ** operator.p for v in row) ** (1 / operator.p)
        elif kind == "RMSNormalization":
            y[index] = x[index] / (sum(v * v for v in row) / len(row) + operator.epsilon) ** 0.5 * scale
        elif kind == "MeanVarianceNormalization":
            y[index] = (x[index] - mean) / (variance**0.5 + 1e-9)
        else:
            if kind == "BatchNormalization" and not operator.training_mode:
                own: Any = index[1:] if not operator.spatial else index[1]
                mean, variance = rest[2][own], rest[3][own]
            y[index] = (x[index] - mean) / (variance + operator.epsilon) ** 0.5 * scale + bias
    averages, spreads = (np.array([one[key] for key in sorted(one)]) for one in (means, variances))
    if kind == "LayerNormalization":
        kept = (*x.shape[: operator.axis % x.ndim], *(1,) * (x.ndim - operator.axis % x.ndim))
        return [y, averages.reshape(kept), 1 / np.sqrt(spreads.reshape(kept) + operator.epsilon)]
    if kind == "BatchNormalization" and operator.training_mode:
        m = operator.momentum
        return [y, m * rest[2] + (1 - m) * averages, m * rest[3] + (1 - m) * spreads]
    return [y]


def _row(operator: Any, index: tuple[int, ...], x: Array) -> tuple[tuple[int, ...], list[float]]:
    """Which row a value lies in, and all values of it."""
    kind, d = operator.TYPE, x.ndim
    if kind == "GroupNormalization":
        size = x.shape[1] // operator.num_groups
        group = index[1] // size
        return (index[0], group), x[index[0], group * size : (group + 1) * size].ravel().tolist()
    inner = {
        "BatchNormalization": [0, *range(2, d)],
        "InstanceNormalization": range(2, d),
        "MeanVarianceNormalization": getattr(operator, "axes", ()),
        "LpNormalization": [getattr(operator, "axis", 0) % d],
    }.get(kind, range(getattr(operator, "axis", 0) % d, d))
    chosen = tuple(slice(None) if axis in inner else index[axis] for axis in range(d))
    return tuple(index[axis] for axis in range(d) if axis not in inner), x[chosen].ravel().tolist()


def _parameters(operator: Any, index: tuple[int, ...], x: Array, rest: list[Array]) -> tuple[float, float]:
    kind = operator.TYPE
    if kind in ("LayerNormalization", "RMSNormalization"):
        scale = np.broadcast_to(rest[0], x.shape)[index]
        return scale, np.broadcast_to(rest[1], x.shape)[index] if len(rest) > 1 else 0.0
    if not rest:
        return 1.0, 0.0
    place: Any = index[1]
    if kind == "GroupNormalization":
        place = place * len(rest[0]) // x.shape[1]
    if kind == "BatchNormalization" and not operator.spatial:
        place = index[1:]
    return rest[0][place], rest[1][place]


def _lrn(operator: Any, x: Array) -> Array:
    y = np.empty(x.shape)
    for n, c, *place in np.ndindex(x.shape):
        first = max(0, c - (operator.size - 1) // 2)
        last = min(x.shape[1] - 1, c + operator.size - 1 - (operator.size - 1) // 2)
        total = sum(x[(n, k, *place)] ** 2 for k in range(first, last + 1))
        base = operator.bias + operator.alpha / operator.size * total
        y[(n, c, *place)] = x[(n, c, *place)] / base**operator.beta
    return y
