"""Arrays of `Stated` numbers, and the small uses of operators whose bounds are stated with them."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.arithmetic.floats import FORMATS
from parity.operators import OPERATORS, Operator
from tests.parity.arithmetic.stated import At, Stated
from tests.parity.examples.example import Example, Make

# Of an operator with its attributes and of its inputs: each output as an array of `Stated` numbers.
Statement = Callable[..., Any]
Part = tuple[int, ...] | list[Any] | np.ndarray | None


def stated(x: Array | None, at: At) -> Any:
    """Floats as `Stated` numbers that were recorded; integers and booleans as they are."""
    if x is None or x.dtype.name not in FORMATS:
        return x
    return each(lambda v: Stated(Fraction(float(v)), Fraction(0), at, recorded=True), x)


def each(f: Callable[..., Any], *arrays: Any) -> Array:
    """A function of each number, and of those of other arrays."""
    return np.asarray(np.frompyfunc(f, len(arrays), 1)(*arrays), object)


def over(f: Callable[[list[Stated]], Stated], x: Array, axes: Sequence[int]) -> Array:
    """A function of all numbers along these axes, which stay with length 1."""
    axes = [axis % x.ndim for axis in axes]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    lines = x.transpose(*kept, *axes).reshape(*(x.shape[axis] for axis in kept), -1)
    found = np.empty(lines.shape[:-1], object)
    for index in np.ndindex(found.shape):
        found[index] = f(list(lines[index]))
    return np.expand_dims(found, tuple(axes))


def pairs(values: Sequence[int], count: int, default: int) -> tuple[int, ...]:
    """An attribute with a number for each axis, or its default."""
    return tuple(values) or (default,) * count


def padding(op: Any, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> list[int]:
    """How wide it is before each axis, then after each: as given, none, or so that ⌈n/stride⌉ windows fit.

    Args:
        spans: how many places of each axis a window covers, with those between its values.
    """
    d = len(sizes)
    if op.auto_pad == "NOTSET":
        return list(pairs(op.pads, 2 * d, 0))
    if op.auto_pad == "VALID":
        return [0] * (2 * d)
    totals = [
        max((-(-n // stride) - 1) * stride + span - n, 0)
        for n, span, stride in zip(sizes, spans, strides, strict=True)
    ]
    less, more = [one // 2 for one in totals], [one - one // 2 for one in totals]
    return less + more if op.auto_pad == "SAME_UPPER" else more + less


def zero_like(x: Array) -> Stated:
    """A zero of the padding."""
    at: At = x.flat[0].at
    return Stated(Fraction(0), Fraction(0), at, recorded=True)


def normal(*parts: Part) -> Make:
    """Tuples are shapes of normally distributed floats, lists are integers, arrays are themselves."""

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [
            np.asarray(rng.standard_normal(part), np.float32)
            if isinstance(part, tuple)
            else np.asarray(part, np.int64)
            if isinstance(part, list)
            else part
            for part in parts
        ]

    return make


def use(kind: str, *parts: Part, make: Make | None = None, data: Any = None, **attributes: Any) -> Example:
    """A small use of an operator. Floats that are drawn may be replaced, or those that `data` names."""
    operator: Operator = OPERATORS[kind](**attributes)
    floats = tuple(k for k, part in enumerate(parts) if isinstance(part, tuple))
    chosen = data if data is not None or make is not None else floats
    return Example(operator, attributes, make or normal(*parts), data=chosen)
