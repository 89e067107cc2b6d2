"""What the arithmetics of the tests share: moving and selecting values, and integers, which stay exact."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Self

import numpy as np

from parity.arithmetic import Array, Looped
from parity.arithmetic.floats import format_of
from parity.arithmetic.number import Axes, Move

Terms = Array  # (n, ...): to be added up over the first axis


class Wrapped(Looped):
    """An arithmetic that takes the place of `Looped` in an operator's formula."""

    def _new(self, value: Array) -> Self:
        return replace(self, value=value)

    def _inexact(self, value: Array, *operands: Array) -> Self:
        """The result of an operation that rounds."""
        raise NotImplementedError

    def _added(self, terms: Terms) -> Array:
        """Σ terms."""
        raise NotImplementedError

    def _binary(self, operation: np.ufunc, a: Array, b: Array) -> Self:
        """One operation on floats, each of which is a number of the format or a rounded constant."""
        raise NotImplementedError

    def _constant(self, x: float | Array) -> Array:
        """A constant of a formula, which is no number of the format perhaps."""
        raise NotImplementedError

    def place(self, value: Array, error: Array) -> Array:
        """Where this implementation interpolates, of all the places where one may: in float64."""
        raise NotImplementedError

    def _are_integers(self, *others: Array) -> bool:
        return all(one.dtype.kind in "biu" for one in (self.value, *others))

    def _wide_operand(self, other: Looped | float) -> Array:
        return self._in_format(other.value) if isinstance(other, Looped) else self._constant(other)

    def _own_operand(self, other: Looped | float) -> Array:
        """As it is; a constant beside integers in their type."""
        if isinstance(other, Looped):
            return other.value
        return np.asarray(other, self.value.dtype if self.value.dtype.kind in "iu" else None)

    def move(self, rearrange: Move) -> Self:
        return self._new(rearrange(self.value))

    def wide(self) -> Self:
        return self if self._are_integers() else self._new(self._in_format(self.value))

    def join(self, others: Sequence[Looped], axis: int) -> Self:
        parts: list[Looped] = [self, *others]
        return self._new(np.concatenate([part.value for part in parts], axis))

    def max(self, axes: Axes) -> Self:
        return self._new(self.value.max(axes, keepdims=True))

    def min(self, axes: Axes) -> Self:
        return self._new(self.value.min(axes, keepdims=True))

    def maximum(self, other: Looped | float) -> Self:
        y = self._own_operand(other)
        if self._are_integers(y):
            return self._new(np.maximum(self.value, y))
        return self._new(np.maximum(self._in_format(self.value), self._wide_operand(other)))

    def sum(self, axes: Axes) -> Self:
        if self._are_integers():
            return self._new(self.value.sum(axes, keepdims=True))
        terms = self._terms(axes)
        total = self._added(terms) if len(terms) else np.zeros(terms.shape[1:], terms.dtype)
        return self._inexact(np.expand_dims(total, axes), terms)

    def _terms(self, axes: Axes) -> Terms:
        """The values along these axes, on a first axis."""
        kept = tuple(axis for axis in range(self.ndim) if axis not in axes)
        terms = self._in_format(self.value).transpose(*axes, *kept)
        return terms.reshape(prod(terms.shape[: len(axes)]), *terms.shape[len(axes) :])

    def __add__(self, other: Looped | float) -> Self:
        return self._each(np.add, other)

    def __mul__(self, other: Looped | float) -> Self:
        return self._each(np.multiply, other)

    def __truediv__(self, other: Looped | float) -> Self:
        return self._each(np.divide, other)

    def __rtruediv__(self, other: float) -> Self:
        return self._new(np.broadcast_to(self._constant(other), self.shape)) / self

    def _each(self, operation: np.ufunc, other: Looped | float) -> Self:
        y = self._own_operand(other)
        if self._are_integers(y):
            return self._new(operation(self.value, y))
        with np.errstate(all="ignore"):
            return self._binary(operation, self._in_format(self.value), self._wide_operand(other))

    def _arguments(self, others: Sequence[Looped | float]) -> list[Array]:
        """Of a function: floats in the format; integers, booleans and strings as they are."""
        values = [self.value, *(self._own_operand(one) for one in others)]
        return [one if format_of(one) is None else self._in_format(one) for one in values]

    def __neg__(self) -> Self:
        return self._new(-self.value)

    def __abs__(self) -> Self:
        return self._new(np.abs(self.value))


def factors(a: Array, b: Array) -> tuple[Array, Array]:
    """(..., m, n) and (..., n, p) as (n, ..., m, 1) and (n, ..., 1, p), whose product holds all terms."""
    ndim = max(a.ndim, b.ndim)
    a, b = (one.reshape((1,) * (ndim - one.ndim) + one.shape) for one in (a, b))
    return np.moveaxis(a, -1, 0)[..., None], np.moveaxis(b, -2, 0)[..., None, :]


def moved(x: Array, by: Array, error: Array) -> Array:
    """x + by in float64, no further from x than `error`, though the sum is rounded."""
    with np.errstate(invalid="ignore"):
        found = x + by
        for _ in range(2):
            found = np.where(np.abs(found - x) > error, np.nextafter(found, x), found)
    return found
