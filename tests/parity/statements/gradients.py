"""Backward passes, from the derivatives: each input's cotangent is Σ derivative · cotangent of the output."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd, prod
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.operators import OPERATORS, Operator
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated, known
from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Part, Statement, each, normal, over, padding, pairs, zero_like

Places = tuple[int, ...]


@dataclass(frozen=True)
class Gradient(Operator):
    """A backward pass: of all inputs and of the output's cotangent, the cotangents of the inputs."""

    of: Operator

    @property
    def TYPE(self) -> str:  # type: ignore[override]
        return f"gradient of {self.of.TYPE}"

    def evaluate(self, *inputs: Any) -> tuple[Number, ...]:
        *given, cotangent = inputs
        y = self.of.first(*given)
        return tuple(self.of.gradient(k, given, y, cotangent) for k in range(len(given)))


def sigmoid(op: Any, x: Array, d: Array) -> Array:
    """y (1 − y) d."""
    return each(lambda y, back: y * (1.0 - y) * back, each(known("sigmoid"), x), d)


def tanh(op: Any, x: Array, d: Array) -> Array:
    """(1 − y²) d."""
    return each(lambda y, back: (1.0 - y * y) * back, each(known("tanh"), x), d)


def summed(d: Array, shape: tuple[int, ...]) -> Array:
    """The cotangent of what was broadcast: a sum over the axes along which it was repeated."""
    wide = (1,) * (d.ndim - len(shape)) + shape
    axes = [k for k, n in enumerate(wide) if n == 1 and d.shape[k] > 1]
    return (over(s.total, d, axes) if axes else d).reshape(shape)


def add(op: Any, a: Array, b: Array, d: Array) -> tuple[Array, ...]:
    return summed(d, a.shape), summed(d, b.shape)


def gemm(op: Any, a: Array, b: Array, *rest: Array) -> tuple[Array, ...]:
    """Y = A·B + C: dA = D·B', dB = A'·D, and dC is a sum."""
    *c, d = rest
    columns = b.T if op.transB else b
    of_a = each(lambda i, k: s.dot(list(d[i]), list(columns[k])), *np.indices(a.shape))
    of_b = each(lambda k, j: s.dot(list(a[:, k]), list(d[:, j])), *np.indices(columns.shape))
    return of_a, of_b.T if op.transB else of_b, *(summed(d, one.shape) for one in c)


# --- windows -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Windows:
    """Which places of an input each position of a window sees."""

    sizes: Places
    kernel: Places
    strides: Places
    dilations: Places
    before: Places

    @classmethod
    def of(cls, op: Any, sizes: Places, kernel: Places) -> "Windows":
        d = len(sizes)
        strides, dilations = pairs(op.strides, d, 1), pairs(op.dilations, d, 1)
        spans = [(n - 1) * step + 1 for n, step in zip(kernel, dilations, strict=True)]
        return cls(sizes, kernel, strides, dilations, tuple(padding(op, sizes, spans, strides)[:d]))

    def seen(self, position: Places) -> Iterator[tuple[Places, Places | None]]:
        """Each value of the window, and the place where it lies; None outside."""
        for tap in np.ndindex(*self.kernel):
            parts = zip(position, self.strides, tap, self.dilations, self.before, strict=True)
            place = tuple(p * stride + t * step - before for p, stride, t, step, before in parts)
            inside = all(0 <= one < n for one, n in zip(place, self.sizes, strict=True))
            yield tap, place if inside else None

    def sharing(self) -> int:
        """So many windows may see a place: their distance is a multiple of the dilation and of the stride."""
        steps = [
            stride // gcd(stride, step) for stride, step in zip(self.strides, self.dilations, strict=True)
        ]
        return prod(-(-n // step) for n, step in zip(self.kernel, steps, strict=True))


def _products(terms: list[tuple[Stated, Stated]], most: int | None = None) -> Stated:
    return s.dot([one for one, _ in terms], [other for _, other in terms], products=most)


def conv(op: Any, x: Array, w: Array, *rest: Array) -> tuple[Array, ...]:
    """Each product of x and w gives a term to both. Sums over positions count those in the padding, too."""
    *b, d = rest
    windows = Windows.of(op, x.shape[2:], w.shape[2:])
    of_x, of_w = (each(lambda _: [], one) for one in (x, w))
    nothing = zero_like(x)
    for image, unit, *position in np.ndindex(d.shape):
        first = unit // (w.shape[0] // op.group) * w.shape[1]
        for tap, place in windows.seen(tuple(position)):
            for channel in range(w.shape[1]):
                back, weight = d[(image, unit, *position)], (unit, channel, *tap)
                value = nothing
                if place is not None:
                    value = x[(image, first + channel, *place)]
                    of_x[(image, first + channel, *place)].append((w[weight], back))
                of_w[weight].append((value, back))
    most = w.shape[0] // op.group * windows.sharing()
    return (
        each(lambda terms: _products(terms, most) if terms else nothing, of_x),
        each(_products, of_w),
        *(over(s.total, d, [0, *range(2, d.ndim)]).ravel() for _ in b),
    )


def max_pool(op: Any, x: Any, d: Array) -> Array:
    """To the first of each window's largest values."""
    windows = Windows.of(op, x.shape[2:], op.kernel_shape)
    terms = each(lambda _: [], x)
    for image, channel, *position in np.ndindex(d.shape):
        places = [(image, channel, *place) for _, place in windows.seen(tuple(position)) if place is not None]
        first = max(places, key=lambda one: x[one].value)
        terms[first].append(d[(image, channel, *position)])
    return _summed(terms, windows.sharing(), d)


def average_pool(op: Any, x: Array, d: Array) -> Array:
    """An equal part to each value of a window."""
    windows = Windows.of(op, x.shape[2:], op.kernel_shape)
    terms = each(lambda _: [], x)
    for image, channel, *position in np.ndindex(d.shape):
        places = [place for _, place in windows.seen(tuple(position)) if place is not None]
        count = prod(op.kernel_shape) if op.count_include_pad else len(places)
        for place in places:
            terms[(image, channel, *place)].append(d[(image, channel, *position)].divided(count))
    return _summed(terms, windows.sharing(), d)


def _summed(terms: Array, most: int, d: Array) -> Array:
    """As many terms as windows may see a place; those of windows that do not exist are zeros."""
    nothing = zero_like(d)
    if most == 1:
        return each(lambda some: some[0] if some else nothing, terms)
    return each(lambda some: s.total([*some, *[nothing] * (most - len(some))]), terms)


STATEMENTS: dict[str, Statement] = {
    f"gradient of {kind}": lambda op, *given, statement=statement: statement(op.of, *given)
    for kind, statement in {
        "Sigmoid": sigmoid,
        "Tanh": tanh,
        "Add": add,
        "Gemm": gemm,
        "Conv": conv,
        "MaxPool": max_pool,
        "AveragePool": average_pool,
    }.items()
}


def _use(kind: str, *shapes: Part, **attributes: Any) -> Example:
    """The last shape is that of the output."""
    return Example(Gradient(OPERATORS[kind](**attributes)), attributes, normal(*shapes))


EIGHT = (8,)
SMALL = [
    *(_use(kind, EIGHT, EIGHT) for kind in ("Sigmoid", "Tanh")),
    _use("Add", (2, 3), (3,), (2, 3)),
    _use("Gemm", (2, 3), (3, 2), (2,), (2, 2)),
    _use("Gemm", (2, 3), (2, 3), (2, 1), (2, 2), transB=1),
    _use("Conv", (1, 2, 3), (2, 2, 2), (2,), (1, 2, 2)),
    _use("Conv", (2, 2, 4), (2, 1, 3), (2, 2, 2), group=2, pads=(1, 0), strides=(2,)),
    _use("MaxPool", (1, 1, 4), (1, 1, 3), kernel_shape=(2,)),
    _use("AveragePool", (1, 1, 5), (1, 1, 3), kernel_shape=(3,)),
    _use("AveragePool", (1, 1, 6), (1, 1, 2), kernel_shape=(3,), strides=(3,)),
]
