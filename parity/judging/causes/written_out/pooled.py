"""Mistakes in writing out max pooling: another function of a window, other windows."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, made_in, with_input
from parity.operators.elementwise import Identity
from parity.operators.pooling import AveragePool, MaxPool

FUNCTION = "d2l-ai/d2l-en#1362"
WINDOW = "d2l-ai/d2l-en#1270"
STRIDE = "rasbt/deeplearning-models#8"


def _plain(pool: MaxPool, seen: Seen) -> tuple[int, int] | None:
    """Size and stride of square windows over maps without padding; None for other windows."""
    sliding = pool.window(first(seen.inputs))
    alike = len(sliding.kernel) == 2 and len({*sliding.kernel}) == len({*sliding.strides}) == 1
    if not alike or max(sliding.before + sliding.after) or max(sliding.dilations) > 1 or pool.ceil_mode:
        return None
    return sliding.kernel[0], sliding.strides[0]


def _remedy(size: int, stride: int) -> str:
    return f"Use the maximum of {size}×{size} windows with stride {stride} and no padding."


@made_in("MaxPool")
def functions(pool: MaxPool, seen: Seen) -> Iterator[Mistake]:
    plain = _plain(pool, seen)
    if plain is None:
        return
    size, stride = plain
    mean = AveragePool(kernel_shape=(size, size), strides=(stride, stride))
    lowest = Changed(pool, lambda inputs: [-first(inputs)], lambda y, inputs: -y)
    options: dict[str, tuple[str, Any]] = {
        "sum pooling for max pooling": (
            "The sum of each window is used instead of its maximum.",
            Changed(mean, after=lambda y, inputs: y * float(size * size)),
        ),
        "min pooling for max pooling": ("The minimum of each window is used instead of its maximum.", lowest),
        "subsampled, not pooled": (
            "The upper left value of each window is used instead of its maximum.",
            replace(pool, kernel_shape=(1, 1)),
        ),
        "subsampled at the lower right": (
            "The lower right value of each window is used instead of its maximum.",
            with_input(
                replace(pool, kernel_shape=(1, 1)),
                0,
                lambda one: one.move(lambda a: a[:, :, size - 1 :, size - 1 :]),
            ),
        ),
        "pooling over height alone": (
            "The maximum is taken over rows only, and the columns are subsampled.",
            replace(pool, kernel_shape=(size, 1)),
        ),
        "pooling over width alone": (
            "The maximum is taken over columns only, and the rows are subsampled.",
            replace(pool, kernel_shape=(1, size)),
        ),
    }
    for name, (explanation, other) in options.items():
        yield Mistake(name, explanation, _remedy(*plain), other, FUNCTION)


@made_in("MaxPool")
def steps(pool: MaxPool, seen: Seen) -> Iterator[Mistake]:
    plain = _plain(pool, seen)
    if plain is None:
        return
    yield Mistake(
        "pooling missing",
        "There is no pooling.",
        _remedy(*plain),
        Identity(),
        STRIDE,
    )
    _, stride = plain
    if stride == 1:
        return
    close = replace(pool, strides=(1, 1))

    def cut(a: Array) -> Array:
        rows, columns = (-(-n // stride) for n in a.shape[2:])
        return a[:, :, :rows, :columns]

    yield Mistake(
        "pooling with stride 1, cut to size",
        "The stride is 1, and only the upper left part of the outputs is kept.",
        _remedy(*plain),
        Changed(close, after=lambda y, inputs: y.move(cut)),
        STRIDE,
    )


@made_in("MaxPool")
def windows(pool: MaxPool, seen: Seen) -> Iterator[Mistake]:
    plain = _plain(pool, seen)
    if plain is None:
        return
    size, _ = plain
    wide = replace(pool, kernel_shape=(size + 1,) * 2)
    said = f"{size + 1}×{size + 1} pooling"
    options: dict[str, tuple[str, Any]] = {
        f"{said} with padding 1": (
            f"The window is too large, with a padding of 1; it must be {size}×{size} without padding.",
            replace(wide, pads=(1, 1, 1, 1)),
        ),
        f"{said}, padded at the lower right": (
            f"The window is too large ('SAME'); it must be {size}×{size}.",
            replace(wide, pads=(0, 0, 1, 1)),
        ),
        "pooling with padding 1": (
            "The maps are padded by 1 before they are pooled.",
            replace(pool, pads=(1, 1, 1, 1)),
        ),
        "pooling windows off by one": (
            "The first window starts at the second row and column.",
            with_input(pool, 0, lambda one: one.move(lambda a: a[:, :, 1:, 1:])),
        ),
        "pooling off by one at the same size": (
            "Every window is one row and one column too far to the lower right.",
            _moved(pool, (0, 1), slice(1, None)),
        ),
        "pooling off by one to the upper left": (
            "The maps are padded only at the top and left, and the last row and column are dropped.",
            _moved(pool, (1, 0), slice(-1)),
        ),
    }
    for name, (explanation, other) in options.items():
        yield Mistake(name, explanation, _remedy(*plain), other, WINDOW)


def _moved(pool: MaxPool, widths: tuple[int, int], kept: slice) -> Changed:
    """Max pooling of maps that are shifted by one row and one column, with zeros in the gap."""

    def shifted(a: Array) -> Array:
        return np.pad(a, ((0, 0), (0, 0), widths, widths))[:, :, kept, kept]

    return with_input(pool, 0, lambda one: one.move(shifted))
