"""The rotary embedding, as several nodes."""

from collections.abc import Callable

import numpy as np

from parity.arithmetic.floats import BFLOAT16
from tests.parity.judging.causes.case import Array, Case, N, drawing

drawn = drawing(0)

POSITIONS = np.arange(5)[:, None]
ANGLES = POSITIONS * 100.0 ** -np.arange(4)  # of the base 1e8, as it is said of 8 values


def tables(angles: Array, joined: Callable[[Array], Array]) -> tuple[Array, Array]:
    cos, sin = (joined(f(angles)).astype(np.float32) for f in (np.cos, np.sin))
    return cos, sin


COS, SIN = tables(ANGLES, lambda a: np.concatenate([a, a], -1))


def halves(x: Array, cos: Array = COS, sin: Array = SIN) -> Array:
    half = x.shape[-1] // 2
    return x * cos + np.concatenate([-x[..., half:], x[..., :half]], -1) * sin


def turned(x: Array, angles: Array) -> Array:
    return halves(x, *tables(angles, lambda a: np.concatenate([a, a], -1)))


def neighbours(x: Array) -> Array:
    cos, sin = tables(ANGLES, lambda a: a.repeat(2, -1))
    other = np.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
    return x * cos + other * sin


ROTATION = Case(
    [
        N("Slice", ["x", "four", "end", "three"], ["b"]),
        N("Neg", ["b"], ["nb"]),
        N("Slice", ["x", "nought", "four", "three"], ["a"]),
        N("Concat", ["nb", "a"], ["t"], axis=-1),
        N("Mul", ["x", "cos"], ["xc"]),
        N("Mul", ["t", "sin"], ["ts"]),
        N("Add", ["xc", "ts"], ["y"]),
    ],
    {
        **{"nought": np.array([0]), "four": np.array([4]), "end": np.array([8]), "three": np.array([3])},
        **{"cos": COS, "sin": SIN},
    },
    drawn(2, 3, 5, 8),
    halves,
    {
        "interleaved 1 for 0": neighbours,
        "sign of the sine: turned the other way": lambda x: halves(x, sin=-SIN),
        "positions one too large": lambda x: turned(x, ANGLES + ANGLES[1]),
        "base 10000 for 1e+08 (rope_theta)": lambda x: turned(x, POSITIONS * 1e4 ** -(np.arange(4) / 4)),
        "frequencies rounded to bfloat16 before the cosine and the sine": lambda x: turned(
            x, POSITIONS * BFLOAT16.round(ANGLES[1]).astype(float)
        ),
        "only 4 of 8 values of a head are turned, by frequencies of its own": lambda x: np.concatenate(
            [turned(x[..., :4], POSITIONS * [1, 1e-4]), x[..., 4:]], -1
        ),
    },
)
