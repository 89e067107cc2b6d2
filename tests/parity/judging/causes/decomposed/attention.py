"""Attention, with the input as queries alone or split into heads, as several nodes."""

from collections.abc import Callable

import numpy as np

from tests.parity.judging.causes.case import Array, Case, N, drawing

drawn = drawing(0)

KEY, VALUE = drawn(2, 2, 6, 8), drawn(2, 2, 6, 8)
CAUSAL = np.where(np.tri(6, dtype=bool), 0, -1e9).astype(np.float32)


def shares(q: Array, factor: float = 8**-0.5, mask: Array | float = 0.0, axis: int = -1) -> Array:
    scores = q @ KEY.swapaxes(2, 3) * factor + mask
    powers = np.exp(scores - scores.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def attention(q: Array, factor: float = 8**-0.5, mask: Array = CAUSAL, axis: int = -1) -> Array:
    return shares(q, factor, mask, axis) @ VALUE


ATTENTION = Case(
    [
        N("MatMul", ["x", "k"], ["s"]),
        N("Div", ["s", "root"], ["c"]),
        N("Add", ["c", "mask"], ["cm"]),
        N("Softmax", ["cm"], ["p"]),
        N("MatMul", ["p", "v"], ["y"]),
    ],
    {"k": KEY.swapaxes(2, 3), "root": 8**0.5, "mask": CAUSAL, "v": VALUE},
    drawn(2, 2, 6, 8, scale=2),
    attention,
    {
        "divisor 2.82843 left out": lambda q: attention(q, 1.0),
        "divisor 2.82843 applied twice (1/d for 1/sqrt(d))": lambda q: attention(q, 1 / 8),
        "divisor of all 2 heads together: 1/sqrt(H·d) for 1/sqrt(d)": lambda q: attention(q, 1 / 4),
        "mask mask left out": lambda q: attention(q, mask=0 * CAUSAL),
        "mask added as 0 and 1: 1 where keys are seen": lambda q: attention(
            q, mask=(CAUSAL == 0).astype(np.float32)
        ),
        "divisor 2.44949 for 2.82843: sqrt(6), of the length of another axis": lambda q: attention(
            q, 6**-0.5
        ),
        "mask applied after the softmax": lambda q: shares(q) * (CAUSAL == 0) @ VALUE,
        "mask inverted": lambda q: attention(q, mask=-1e9 - CAUSAL),
        "causal mask off by one: queries see the next key": lambda q: attention(
            q, mask=np.where(np.tri(6, k=1, dtype=bool), 0, -1e9).astype(np.float32)
        ),
        "axis 2 for -1": lambda q: attention(
            q, mask=np.where(CAUSAL < 0, -1e9, 0).astype(np.float32), axis=2
        ),
    },
)

# Queries, keys and values are the input of (2, 6, 4·5), once, twice and three times.


def heads(x: Array) -> Array:
    return x.reshape(2, 6, 4, 5).swapaxes(1, 2)


def self_attention(x: Array, split: Callable[[Array], Array] = heads) -> Array:
    q, k, v = split(x), split(2 * x), split(3 * x)
    powers = np.exp(q @ k.swapaxes(2, 3) * 5**-0.5)
    return (powers / powers.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(2, 6, 20)


def every_fourth(x: Array, first: int, second: int) -> Array:
    """Values of (first, second) as (second, first)."""
    return x.reshape(2, 6, first, second).swapaxes(2, 3).reshape(2, 6, 20)


def in_heads(x: Array, count: int) -> Array:
    q = x.reshape(2, 6, count, -1).swapaxes(1, 2).astype(np.float64)
    powers = np.exp(q @ (2 * q).swapaxes(2, 3) * (20 / count) ** -0.5)
    return (powers / powers.sum(-1, keepdims=True) @ (3 * q)).swapaxes(1, 2).reshape(2, 6, 20)


HEADS = Case(
    [
        N("Add", ["x", "x"], ["x2"]),
        N("Add", ["x", "x2"], ["x3"]),
        N("Reshape", ["x", "apart"], ["h"]),
        N("Reshape", ["x2", "apart"], ["h2"]),
        N("Reshape", ["x3", "apart"], ["h3"]),
        N("Transpose", ["h"], ["q"], perm=[0, 2, 1, 3]),
        N("Transpose", ["h2"], ["k"], perm=[0, 2, 3, 1]),
        N("Transpose", ["h3"], ["v"], perm=[0, 2, 1, 3]),
        N("Mul", ["q", "scale"], ["qs"]),
        N("MatMul", ["qs", "k"], ["s"]),
        N("Softmax", ["s"], ["p"]),
        N("MatMul", ["p", "v"], ["a"]),
        N("Transpose", ["a"], ["t"], perm=[0, 2, 1, 3]),
        N("Reshape", ["t", "joined"], ["y"]),
    ],
    {"apart": np.array([2, 6, 4, 5]), "joined": np.array([2, 6, 20]), "scale": 5**-0.5},
    drawn(2, 6, 20),
    self_attention,
    {
        "heads reshaped, not transposed, on the way in alone": lambda x: self_attention(
            x, lambda one: one.reshape(2, 4, 6, 5)
        ),
        "heads taken from every n-th value, on the way in alone": lambda x: self_attention(
            x, lambda one: one.reshape(2, 6, 5, 4).transpose(0, 3, 1, 2)
        ),
        "heads taken from every n-th value": lambda x: every_fourth(
            self_attention(every_fourth(x, 5, 4)), 4, 5
        ),
        "heads: 2 for 4": lambda x: in_heads(x, 2),
        "heads: 1 for 4": lambda x: in_heads(x, 1),
        "factor 0.447214 left out": lambda x: (
            self_attention(x, lambda one: heads(one) * 5**0.25) / np.float32(5**0.25)
        ),
    },
)
