"""Bounds of rounding stated again in rational numbers, where nothing rounds: what the code's must equal."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from parity.arithmetic.floats import Format

COVER = Fraction(1, 10**9)  # how far a bound may be above its formula, for being computed in float64


@cache
def gamma(k: int, u: float) -> Fraction:
    """γ_k for a unit roundoff."""
    return k * Fraction(u) / (1 - k * Fraction(u))


@cache
def both(k: int, form: Format) -> Fraction:
    """γ_k of the candidate's format and of the reference's."""
    return gamma(k, form.u) + gamma(k, 2.0**-53)


def lost(form: Format) -> Fraction:
    """By a product that underflows, to a subnormal number or to zero."""
    return Fraction(form.smallest) + Fraction(form.flush)


def covers(found: Any, expected: Fraction | float) -> bool:
    """Whether a bound is at least its formula, and no more than the cover above it."""
    found = np.asarray(found).item()
    if not np.isfinite(found) or expected == np.inf:
        return found == expected
    return Fraction(expected) <= Fraction(found) <= Fraction(expected) * (1 + COVER)


def exactly(x: np.ndarray) -> list[Fraction]:
    """Values as rational numbers."""
    return [Fraction(float(one)) for one in x.ravel()]


def spread(
    a: Sequence[Fraction], ea: Sequence[Fraction], b: Sequence[Fraction], eb: Sequence[Fraction]
) -> Fraction:
    """How far Σ a·b moves at most, by trying all corners of all intervals: each term has its worst one."""
    total = Fraction(0)
    for x, ex, y, ey in zip(a, ea, b, eb, strict=True):
        corners = product(*({v - off, v + off} for v, off in ((x, ex), (y, ey))))
        total += max(abs(v * w - x * y) for v, w in corners) if ex or ey else 0
    return total


def of_sum(terms: Sequence[Fraction], errors: Sequence[Fraction], form: Format) -> Fraction:
    """The bound of Σ terms, which bring errors along; of one, that of its sum with zero."""
    roundings, size, carried = len(terms) - 1, sum(map(abs, terms)), sum(errors, Fraction(0))
    flushed = (2 * len(terms) - 1) * Fraction(form.flush) if size else 0
    return both(roundings, form) * size + (1 + gamma(roundings, form.u)) * carried + flushed


def of_product(x: Fraction, ex: Fraction, y: Fraction, ey: Fraction, form: Format) -> Fraction:
    """The bound of x·y."""
    carried = spread([x], [ex], [y], [ey])
    return carried + both(1, form) * (abs(x * y) + carried) + (lost(form) if x * y or carried else 0)


def of_dot(
    a: Sequence[Fraction],
    ea: Sequence[Fraction],
    b: Sequence[Fraction],
    eb: Sequence[Fraction],
    form: Format,
    bias: tuple[Fraction, Fraction] | None = None,
    products: int | None = None,
) -> Fraction:
    """The bound of Σ a·b, with (bias, its error) as one more term.

    Args:
        products: how many of the products are not zero by construction; by default all.
    """
    of_products = sum((abs(p * q) for p, q in zip(a, b, strict=True)), Fraction(0))
    value, off = bias or (Fraction(0), Fraction(0))
    carried = spread(a, ea, b, eb) + off
    if of_products == 0 and carried == 0:
        return Fraction(0)
    n = (len(a) if products is None else products) + (bias is not None)
    rounding = both(n, form) * (of_products + abs(value)) + (1 + gamma(n, form.u)) * carried
    return rounding + n * (lost(form) + Fraction(form.flush))
