"""Winograd's convolution: fewer products, and other sums, of which the transforms of the input add up.

A tile of (m + 2)² values of the input gives m² results of a 3×3 kernel:

    Y = Aᵀ [Σ_c (G g Gᵀ) ⊙ (Bᵀ d B)] A

(A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016). Written with the operations of
`Number`, the formula gives its own worst case of rounding and its own plain loop. The result is that of the
right convolution, so neither proves that this algorithm was used. What does is the error: the same transforms
of the same values round alike, so that the candidate's errors agree with those of this evaluation in float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.judging.causes.mistake import Mistake, Seen, given, made_in
from parity.operators import Operator
from parity.operators.affine import Conv

LARGEST = 2**22  # values of the result and the input, up to which it is computed in this way
AGREES = 5  # standard deviations by which the errors must agree more than independent ones do
POINTS = {2: (0, 1, -1), 4: (0, 1, -1, 2, -2), 6: (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))}


@dataclass(frozen=True)
class Winograd(Operator):
    """A convolution with a 3×3 kernel, stride 1, without groups.

    Attributes:
        right: the convolution.
        m: how many results a tile gives along each axis.
    """

    TYPE: ClassVar[str] = "winograd"

    right: Conv
    m: int

    def evaluate(self, x: Number, w: Number, b: Number | None = None) -> Number:
        sliding = self.right.window(x, w)
        height, width = sliding.out_shape(x.shape[2:])
        rows, columns = ceil(height / self.m), ceil(width / self.m)
        a, g, d = (x.like(matrix) for matrix in matrices(self.m))
        tiles = x.wide().move(lambda v: _tiles(sliding.pad(v), self.m, rows, columns))  # (C, N·P, t, t)
        inputs = d.dot(tiles).dot(d.transpose(1, 0))
        filters = g.dot(w.wide()).dot(g.transpose(1, 0))  # (O, C, t, t)
        products = filters.transpose(2, 3, 0, 1).dot(inputs.transpose(2, 3, 0, 1))  # (t, t, O, N·P)
        y = a.dot(products.transpose(2, 3, 0, 1)).dot(a.transpose(1, 0))  # (O, N·P, m, m)
        shape = (w.shape[0], x.shape[0], rows, columns, self.m, self.m)
        y = y.move(lambda v: _joined(v.reshape(shape))[:, :, :height, :width])
        return y if b is None else y + b.reshape(1, -1, 1, 1)


def matrices(m: int) -> tuple[Array, Array, Array]:
    """Aᵀ (m, t), G (t, 3) and Bᵀ (t, t) for t = m + 2, from Lagrange's polynomials at t − 1 points and ∞."""
    points = [Fraction(p) for p in POINTS[m]]
    t = m + 2
    a = [[*(p**k for p in points), Fraction(int(k == m - 1))] for k in range(m)]
    scale = [_product(p - q for q in points if q != p) for p in points]
    g = [[p**k / s for k in range(3)] for p, s in zip(points, scale, strict=True)]
    g.append([Fraction(0), Fraction(0), Fraction(1)])
    d = [[*_polynomial([q for q in points if q != p]), Fraction(0)] for p in points]
    d.append(_polynomial(points))
    assert len(d) == t
    a_t, g_m, b_t = (np.array([[float(v) for v in row] for row in one]) for one in (a, g, d))
    return a_t, g_m, b_t


def _product(factors: Iterator[Fraction]) -> Fraction:
    result = Fraction(1)
    for one in factors:
        result *= one
    return result


def _polynomial(roots: list[Fraction]) -> list[Fraction]:
    """The coefficients of Π (x − root), the constant first."""
    result = [Fraction(1)]
    for root in roots:
        pairs = zip([Fraction(0), *result], [*result, Fraction(0)], strict=True)
        result = [low - root * high for low, high in pairs]
    return result


def _tiles(padded: Array, m: int, rows: int, columns: int) -> Array:
    """(C, N·P, t, t): overlapping tiles of (N, C, H, W), with zeros where the last ones stick out."""
    _, c, height, width = padded.shape
    more = (rows * m + 2 - height, columns * m + 2 - width)
    wide = np.pad(padded, ((0, 0), (0, 0), *((0, max(k, 0)) for k in more)))
    seen = np.lib.stride_tricks.sliding_window_view(wide, (m + 2, m + 2), (2, 3))[:, :, ::m, ::m]
    return seen[:, :, :rows, :columns].transpose(1, 0, 2, 3, 4, 5).reshape(c, -1, m + 2, m + 2)


def _joined(tiles: Array) -> Array:
    """(N, O, H, W) from (O, N, rows, columns, m, m)."""
    o, n, rows, columns, m, _ = tiles.shape
    return tiles.transpose(1, 0, 2, 4, 3, 5).reshape(n, o, rows * m, columns * m)


@made_in("Conv")
def algorithms(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    x, w, b = seen.inputs[0], seen.inputs[1], given(seen.inputs, 2)
    assert b is None or isinstance(b, Bounded)
    if seen.found is None or not isinstance(x, Bounded) or not isinstance(w, Bounded) or x.error is not None:
        return
    sliding = conv.window(x, w)
    plain = sliding.strides == sliding.dilations == (1, 1) and conv.group == 1
    if w.shape[2:] != (3, 3) or not plain or max(seen.found.size, x.size) > LARGEST:
        return
    right = conv.evaluate(x, w, b)
    assert isinstance(right, Bounded)
    if right.shape != seen.found.shape or seen.found.dtype != np.float32:
        return
    error = seen.found.astype(np.float64) - right.value
    for m in POINTS:
        winograd = Winograd(conv, m)
        if agree(error, _in_float32(winograd, x, w, b) - right.value):
            yield Mistake(
                f"Winograd's algorithm F({m}×{m}, 3×3)",
                "The convolution is computed by Winograd's algorithm, which rounds more. The candidate has "
                "its errors.",
                "It is right, but less accurate: switch it off where that matters "
                "(OpenCV: net.enableWinograd(False)).",
                winograd,
                read_off=True,
            )


def _in_float32(operator: Operator, *inputs: Bounded | None) -> Array:
    """The result in float32, added up by NumPy."""
    looped = [None if one is None else _Quick(one.value) for one in inputs]
    result: Any = operator.evaluate(*looped)
    return np.asarray(result.value, np.float64)


@dataclass(frozen=True, eq=False)
class _Quick(Looped):
    """Values in float32, added up in NumPy's order."""

    def dot(self, other: Looped, bias: Looped | None = None, products: int | None = None) -> "_Quick":
        total = self._in_format(self.value) @ self._in_format(other.value)
        return _Quick(total if bias is None else total + self._in_format(bias.value))


def agree(one: Array, other: Array, least: float = 0.0) -> bool:
    """Whether errors have a correlation that independent ones do not have, and one of at least `least`."""
    if not (np.isfinite(one).all() and one.any() and other.any()):
        return False
    correlation = float((one * other).mean() / np.sqrt((one**2).mean() * (other**2).mean()))
    return correlation > max(AGREES / np.sqrt(one.size), least)
