"""Normalizations in all the ways that libraries have: the bound of an operator is the largest of theirs."""

from collections.abc import Callable
from math import frexp
from typing import Any

import numpy as np

from parity.arithmetic import Array
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated, known
from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Statement, each, normal, use, zero_like

Ways = tuple[bool | None, bool | None]  # a variance in one pass, and a shifted result; None: in either way
Row = list[Stated]


def attribute(x: Stated, value: float) -> Stated | float:
    """An attribute, which a file rounds to float32 and a framework does not, unless it has few digits."""
    few = (frexp(value)[0] * 2**8).is_integer()
    return value if few else x.at.exactly(0) + value


def both_ways(one: bool | None, f: Callable[[bool], Stated]) -> Stated:
    """Either of two ways, with the larger bound."""
    return f(one) if one is not None else s.largest([f(False), f(True)])


def variance(row: Row, mean: Stated, one_pass: bool) -> Stated:
    if one_pass:
        return s.maximum(s.mean([x * x for x in row]) - mean * mean, 0.0)
    return s.mean([(x - mean) * (x - mean) for x in row])


def inverse_deviation(row: Row, mean: Stated, epsilon: float, one_pass: bool | None) -> Stated:
    """1/√(variance + ε). Two passes leave at least ε; the difference of one pass may come out negative."""

    def of(way: bool) -> Stated:
        spread = variance(row, mean, way) + attribute(row[0], epsilon)
        return s.inverse_root(0.0 if way else epsilon)(spread)

    return both_ways(one_pass, of)


def standardized(
    x: Stated, mean: Stated, factor: Stated, bias: Stated | None, shifted: bool | None
) -> Stated:
    def of(way: bool) -> Stated:
        if way:
            return s.scaled_and_shifted(x, mean, factor, bias)
        y = (x - mean) * factor
        return y if bias is None else y + bias

    return both_ways(shifted, of)


def _rows(
    x: Array,
    axes: tuple[int, ...],
    moments: Callable[[Row], list[Stated]],
    result: Callable[..., Stated],
    *parameters: Array | None,
) -> tuple[Array, ...]:
    """The result for each value, and the moments of each row; parameters have the shape of x."""
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    outer = tuple(x.shape[axis] for axis in kept)
    found: list[Array] = []
    y = np.empty(x.shape, object)
    for index in np.ndindex(outer):
        part: list[Any] = [slice(None)] * x.ndim
        for axis, place in zip(kept, index, strict=True):
            part[axis] = place
        own = moments(list(x[tuple(part)].ravel()))
        given = [None if one is None else one[tuple(part)] for one in parameters]
        y[tuple(part)] = each(
            lambda v, *more, own=own, given=given: result(v, own, *_filled(given, more)),
            x[tuple(part)],
            *(one for one in given if one is not None),
        )
        while len(found) < len(own):
            found.append(np.empty(outer, object))
        for array, one in zip(found, own, strict=True):
            array[index] = one
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    return y, *(array.reshape(shape) for array in found)


def _filled(given: list[Any], more: tuple[Stated, ...]) -> list[Stated | None]:
    rest = iter(more)
    return [None if one is None else next(rest) for one in given]


def _standardization(
    x: Array, axes: tuple[int, ...], ways: Ways, epsilon: float, scale: Array | None, bias: Array | None
) -> tuple[Array, ...]:
    def moments(row: Row) -> list[Stated]:
        mean = s.mean(row)
        return [mean, inverse_deviation(row, mean, epsilon, ways[0])]

    def result(v: Stated, own: list[Stated], a: Stated | None, b: Stated | None) -> Stated:
        return standardized(v, own[0], own[1] if a is None else own[1] * a, b, ways[1])

    return _rows(x, axes, moments, result, scale, bias)


def _ways(op: Any) -> Ways:
    return op.form.one_pass, op.form.shifted


def _by_channel(parameter: Array | None, x: Array) -> Array | None:
    if parameter is None:
        return None
    return np.broadcast_to(parameter.reshape(-1, *(1,) * (x.ndim - 2)), x.shape)


def instance(op: Any, x: Array, scale: Array, bias: Array) -> Array:
    a, b = _by_channel(scale, x), _by_channel(bias, x)
    return _standardization(x, tuple(range(2, x.ndim)), _ways(op), op.epsilon, a, b)[0]


def group(op: Any, x: Array, scale: Array, bias: Array) -> Array:
    """The channels of a group make one row."""
    shape = (x.shape[0], op.num_groups, -1)
    a, b = (one.reshape(shape) for one in (_by_channel(scale, x), _by_channel(bias, x)))  # type: ignore[union-attr]
    return _standardization(x.reshape(shape), (2,), _ways(op), op.epsilon, a, b)[0].reshape(x.shape)


def layer(op: Any, x: Array, scale: Array, bias: Array | None = None) -> tuple[Array, ...]:
    a, b = (None if one is None else np.broadcast_to(one, x.shape) for one in (scale, bias))
    return _standardization(x, tuple(range(op.axis % x.ndim, x.ndim)), _ways(op), op.epsilon, a, b)


def batch(op: Any, x: Array, scale: Array, bias: Array, mean: Array, spread: Array) -> Any:
    if op.training_mode:
        return _trained(op, x, scale, bias, mean, spread)

    def one(v: Stated, a: Stated, b: Stated, center: Stated, squared: Stated) -> Stated:
        inverse = s.inverse_root()(squared + attribute(squared, op.epsilon))
        return standardized(v, center, inverse * a, b, op.form.shifted)

    parameters = (scale, bias, mean, spread)
    if not op.spatial:  # until version 8 of the standard: one for each value of an image
        return each(one, x, *(np.broadcast_to(part, x.shape) for part in parameters))
    return each(one, x, *(_by_channel(part, x) for part in parameters))


def _trained(op: Any, x: Array, scale: Array, bias: Array, mean: Array, spread: Array) -> tuple[Array, ...]:
    """Also the running moments, which keep a part of the old ones."""
    axes, (one_pass, _) = (0, *range(2, x.ndim)), _ways(op)
    a, b = _by_channel(scale, x), _by_channel(bias, x)
    y, new, _ = _standardization(x, axes, _ways(op), op.epsilon, a, b)
    rows = [list(np.moveaxis(x, 1, 0)[channel].ravel()) for channel in range(x.shape[1])]

    def kept(old: Stated, now: Stated) -> Stated:
        part = attribute(old, op.momentum)
        return old * part + now * (1 - part)

    def spread_of(row: Row, center: Stated) -> Stated:
        return both_ways(one_pass, lambda way: variance(row, center, way))

    variances = [spread_of(row, center) for row, center in zip(rows, new.ravel(), strict=True)]
    return y, each(kept, mean, new.ravel()), each(kept, spread, np.array(variances, object))


def rms(op: Any, x: Array, scale: Array) -> Array:
    def moments(row: Row) -> list[Stated]:
        squares = s.mean([v * v for v in row]) + attribute(row[0], op.epsilon)
        return [s.inverse_root(op.epsilon)(squares)]

    def result(v: Stated, own: list[Stated], a: Stated) -> Stated:
        return v * own[0] * a

    axes = tuple(range(op.axis % x.ndim, x.ndim))
    return _rows(x, axes, moments, result, np.broadcast_to(scale, x.shape))[0]


def lp(op: Any, x: Array) -> Array:
    """x · 1/norm, where 1/norm is 0 if the norm is."""
    ulps = {1: 1.0, 2: 2.0}[op.p]

    def moments(row: Row) -> list[Stated]:
        total = s.total([abs(v) if op.p == 1 else v * v for v in row])
        return [total.function(lambda v: _inverse(v, op.p), ulps)]

    return _rows(x, (op.axis % x.ndim,), moments, lambda v, own: v * own[0])[0]


def _inverse(total: Any, p: int) -> Any:
    if total <= 0:
        return total * 0 if total == 0 else s.UNBOUNDED
    return 1 / (total if p == 1 else s.real.of("sqrt", total))


def mean_variance(op: Any, x: Array) -> Array:
    """1 / (deviation + 10^-9), which onnxruntime leaves out: the error of 10^-9 is 10^-9."""
    least = s.Fraction(1e-9)

    def of(row: Row, mean: Stated, one_pass: bool) -> Stated:
        added = Stated(least, least, row[0].at)
        limit = s.Fraction(0) if one_pass else least * (1 - s.Fraction(1, 128))

        def inverse(v: Any) -> Any:
            v = max(v, limit)
            return 1 / v if v else s.UNBOUNDED

        return (s.root(variance(row, mean, one_pass)) + added).function(inverse, 1)

    def moments(row: Row) -> list[Stated]:
        mean = s.mean(row)
        return [mean, both_ways(op.form.one_pass, lambda way: of(row, mean, way))]

    def result(v: Stated, own: list[Stated]) -> Stated:
        return standardized(v, own[0], own[1], None, op.form.shifted)

    return _rows(x, tuple(axis % x.ndim for axis in op.axes), moments, result)[0]


def lrn(op: Any, x: Array) -> Array:
    """x / base^beta, with base^beta = exp(beta · log base), from windows or a running sum of squares."""
    before = (op.size - 1) // 2

    def line(values: Row) -> Row:
        first, count = values[0], len(values)
        nothing = [zero_like(np.array(values, object))]
        squares = nothing * before + [v * v for v in values] + nothing * (op.size - 1 - before)
        alpha, bias = attribute(first, op.alpha), attribute(first, op.bias)
        windows = [(s.total(squares[k : k + op.size]) * alpha).divided(op.size) + bias for k in range(count)]
        scaled = [(square * alpha).divided(op.size) for square in squares]
        running = [s.total(scaled[: op.size]) + bias]
        for k in range(1, count):
            running.append(running[-1] + scaled[k + op.size - 1] - scaled[k - 1])
        kinds = {"window": [windows], "running": [running], "": [windows, running]}[op.form]
        bases = [s.largest(some) if len(some) > 1 else some[0] for some in zip(*kinds, strict=True)]
        beta = attribute(first, op.beta)
        return [v / known("exp")(s.log_of_sum(base) * beta) for v, base in zip(values, bases, strict=True)]

    lines = np.moveaxis(x, 1, -1)
    y = np.empty(lines.shape, object)
    for index in np.ndindex(lines.shape[:-1]):
        y[index] = line(list(lines[index]))
    return np.moveaxis(y, -1, 1)


STATEMENTS: dict[str, Statement] = {
    "InstanceNormalization": instance,
    "GroupNormalization": group,
    "LayerNormalization": layer,
    "BatchNormalization": batch,
    "RMSNormalization": rms,
    "LpNormalization": lp,
    "MeanVarianceNormalization": mean_variance,
    "LRN": lrn,
}


def _batch(shape: tuple[int, ...], **attributes: Any) -> Example:
    channels = shape[1:2] if attributes.get("spatial", 1) else shape[1:]

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [
            *normal(shape, channels, channels, channels)(rng),
            rng.uniform(0.2, 3, channels).astype(np.float32),
        ]

    return use("BatchNormalization", make=make, data=(0, 1, 2, 3), **attributes)


SMALL = [
    _batch((2, 2, 2)),
    _batch((2, 2), epsilon=0.25),
    _batch((2, 2, 2), spatial=0),
    _batch((2, 2, 3), training_mode=1),
    _batch((4, 1), training_mode=1, momentum=0.75, epsilon=0.5),
    use("InstanceNormalization", (1, 2, 2, 2), (2,), (2,)),
    use("GroupNormalization", (1, 4, 2), (4,), (4,), num_groups=2, epsilon=0.25),
    use("LayerNormalization", (2, 4), (4,), (4,)),
    use("LayerNormalization", (1, 2, 3), (3,), axis=1, epsilon=0.25),
    use("LayerNormalization", (2, 2), (2, 2), (2, 2), axis=0),
    use("LayerNormalization", (2, 3), (3,)),
    use("RMSNormalization", (2, 4), (4,)),
    use("RMSNormalization", (1, 2, 3), (3,), axis=1, epsilon=0.25),
    use("LpNormalization", (2, 5)),
    use("LpNormalization", (2, 3), axis=0, p=1),
    use("MeanVarianceNormalization", (2, 2, 2, 1)),
    use("MeanVarianceNormalization", (1, 2, 2, 2), axes=(-2, -1)),
    use("LRN", (1, 5, 2), size=3),
    use("LRN", (1, 4, 1), size=4, alpha=0.3, beta=0.6, bias=2.1),
]
