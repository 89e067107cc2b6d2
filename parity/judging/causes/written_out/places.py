"""Mistakes in where a kernel is applied: padding, border, step, gaps."""

from collections.abc import Iterator

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Mistake, Seen, first, made_in, second, with_input
from parity.judging.causes.of_products.of_padding import padded
from parity.operators.affine import Conv

PADDING = "google/flax#963"
SAME = "keras-team/keras#16363"


@made_in("Conv")
def amounts(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    """Padding alike on all sides, by more than one more or less."""
    x, w = first(seen.inputs), second(seen.inputs)
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
                padded(conv, (width,) * len(sliding.before), (width,) * len(sliding.after)),
                PADDING,
            )


@made_in("Conv")
def shifts(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    """As many zeros, but one more on one side; or the output of a padded convolution, cut to size."""
    x, w = first(seen.inputs), second(seen.inputs)
    sliding = conv.window(x, w)
    before, after = sliding.before, sliding.after
    if min(before + after) > 1:
        for step, where in ((1, "lower right"), (-1, "upper left")):
            start, end = tuple(n + step for n in before), tuple(n - step for n in after)
            yield Mistake(
                f"padding one too far to the {where}",
                f"{start} zeros are added before and {end} after; it must be {before} and {after}.",
                "Pad both sides alike, by (kernel − 1) / 2.",
                padded(conv, start, end),
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
