"""Mistakes in where a kernel is applied: padding, border, step, gaps."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Mistake, Seen, made_in, with_input
from parity.operators.affine import Conv

PADDING = "google/flax#963"
SAME = "keras-team/keras#16363"


def _padded(conv: Conv, before: tuple[int, ...], after: tuple[int, ...]) -> Conv:
    return replace(conv, auto_pad="NOTSET", pads=(*before, *after))


@made_in("Conv")
def amounts(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    """Padding alike on all sides, by more than one more or less."""
    x, w = seen.inputs[0], seen.inputs[1]
    assert x is not None
    assert w is not None
    sliding = conv.window(x, w)
    widths, kernel = set(sliding.before + sliding.after), set(w.shape[2:])
    if len(widths) > 1 or len(kernel) > 1 or kernel == {1}:
        return
    (right,), (size,) = widths, kernel
    names = {size - 1: "full padding"}
    same = {(size - 1) // 2, size // 2} if right == 0 else {0}  # in `of_products`
    for width in set(range(size)) - same:
        if abs(width - right) > 1:
            yield Mistake(
                names.get(width, f"padding of {width}"),
                f"{width} zeros are added on each side; there must be {right}.",
                f"Give the padding as a number: padding={right}.",
                _padded(conv, (width,) * len(sliding.before), (width,) * len(sliding.after)),
                PADDING,
            )


@made_in("Conv")
def shifts(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    """As many zeros, but one more on one side; or the output of a padded convolution, cut to size."""
    x, w = seen.inputs[0], seen.inputs[1]
    assert x is not None
    assert w is not None
    sliding = conv.window(x, w)
    before, after = sliding.before, sliding.after
    if min(before + after) > 1:
        for step, where in ((1, "lower right"), (-1, "upper left")):
            start, end = tuple(n + step for n in before), tuple(n - step for n in after)
            yield Mistake(
                f"padding one too far to the {where}",
                f"{start} zeros are added before and {end} after; it must be {before} and {after}.",
                "Pad both sides alike, by (kernel − 1) / 2.",
                _padded(conv, start, end),
                SAME,
            )
    if max(before + after) == 0 and min(w.shape[2:]) > 1:
        for width in (1, 2):
            yield Mistake(
                f"padding of {width}, cut to size at the end",
                f"{width} zeros are added on each side, and the extra outputs are cut off at the end: every "
                "output is too far down and to the right.",
                "Convolve without padding: padding=0 ('VALID').",
                with_input(conv, 0, lambda a, n=width: a.move(lambda one: _shifted(one, n))),  # type: ignore[misc]
                PADDING,
            )


def _shifted(a: Array, width: int) -> Array:
    """Zeros before, and as many values less at the end of each spatial axis."""
    cut = a[(slice(None), slice(None), *(slice(-width),) * (a.ndim - 2))]
    return np.pad(cut, ((0, 0), (0, 0), *((width, 0),) * (a.ndim - 2)))


@made_in("Conv")
def mirrored(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    x, w = seen.inputs[0], seen.inputs[1]
    assert x is not None
    assert w is not None
    sliding = conv.window(x, w)
    if not max(sliding.before + sliding.after):
        return
    widths = ((0, 0), (0, 0), *zip(sliding.before, sliding.after, strict=True))
    bare = replace(conv, auto_pad="NOTSET", pads=())

    def filled(a: Array) -> Array:
        return np.pad(a, widths, mode="symmetric")

    yield Mistake(
        "padding mode symmetric for zeros",
        "The border is filled by `symmetric` padding, as in SciPy's image filters; it must be zero.",
        "Pad with zeros: mode='constant'.",
        with_input(bare, 0, lambda one: one.move(filled)),
        PADDING,
    )
