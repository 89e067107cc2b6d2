"""Products of 8-bit integers that are added up two by two in 16 bits, or in another way, in plain loops."""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Dot = Callable[[Array, Array], int]  # adds up the products of two vectors
Order = Callable[[Array], Array]  # makes a vector of a window, or of its weights, of (C, H, W)


def pairs_in_16_bits(a: Array, b: Array) -> int:
    """VPMADDUBSW, and the sum of what it returns."""
    products = [int(one) * int(two) for one, two in zip(a, b, strict=True)]
    return sum(max(-32768, min(32767, sum(products[k : k + 2]))) for k in range(0, len(products), 2))


def exact(a: Array, b: Array) -> int:
    return int(a.astype(int) @ b.astype(int))


def product(dot: Dot, a: Array, b: Array, zero: int = 0, other: int = 0) -> Array:
    """(A − zero)(B − other); the zero points are subtracted behind the products."""
    every = np.array([[dot(row, column) for column in b.T] for row in a])
    rows, columns = a.astype(int).sum(1)[:, None], b.astype(int).sum(0)
    return every - zero * columns - other * rows + zero * other * a.shape[1]


def convolution(
    dot: Dot, x: Array, w: Array, order: Order, zero: int = 0, other: int = 0, groups: int = 1
) -> Array:
    """Padded by 1 and with a stride of 2; w is of (O, C, H, W)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=zero)
    count, each, height, width = w.shape
    places = [(n + 2 - size) // 2 + 1 for n, size in zip(x.shape[2:], (height, width), strict=True)]
    y = np.zeros((len(x), count, *places), int)
    for n, o, i, j in np.ndindex(y.shape):
        start = o // (count // groups) * each
        window = padded[n, start : start + each, 2 * i : 2 * i + height, 2 * j : 2 * j + width]
        a, b = order(window), order(w[o])
        right = exact(window.ravel().astype(int) - zero, w[o].ravel().astype(int) - other)
        y[n, o, i, j] = dot(a, b) - exact(a, b) + right
    return y


def channels_last(a: Array) -> Array:
    return a.transpose(1, 2, 0).ravel()
