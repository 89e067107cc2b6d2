"""The windows of convolutions and pooling, which slide over the spatial axes of an input."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from parity.arithmetic import Array
from parity.errors import Unjudged
from parity.operators.operator import Points

LARGEST = 2**22  # number of values in windows that are copied at once


@dataclass(frozen=True)
class Window:
    """A window that slides over the spatial axes: its size, step, dilation, and padding before and after."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """How many values the window spans on each axis, with the gaps of its dilation."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def out_shape(self, shape: tuple[int, ...], ceil_mode: bool = False) -> tuple[int, ...]:
        """The number of positions of the window on each axis of an input of these spatial sizes."""
        sizes = []
        for size, reach, stride, before, after in zip(
            shape, self.reach, self.strides, self.before, self.after, strict=True
        ):
            free = size + before + after - reach
            steps = ceil(free / stride) if ceil_mode else free // stride
            if ceil_mode and steps * stride >= size + before:
                steps -= 1  # no window begins in the padding at the end
            sizes.append(steps + 1)
        return tuple(sizes)

    def pad(self, a: Array, fill: float = 0.0, more: tuple[int, ...] | None = None) -> Array:
        """(N, C, ...) with padded spatial axes, and with `more` padding at their ends."""
        if not any(self.before) and not any(self.after) and not (more and any(more)):
            return a
        extra = more or (0,) * len(self.after)
        after = tuple(one + two for one, two in zip(self.after, extra, strict=True))
        widths = ((0, 0), (0, 0), *zip(self.before, after, strict=True))
        return np.pad(a, widths, constant_values=fill)

    def patches(self, padded: Array) -> Array:
        """What the window sees at each position: a view (N, C, positions..., kernel...)."""
        axes = tuple(range(2, padded.ndim))
        views = sliding_window_view(padded, self.reach, axis=axes)
        steps = tuple(slice(None, None, stride) for stride in self.strides)
        taps = tuple(slice(None, None, dilation) for dilation in self.dilations)
        return views[(slice(None), slice(None), *steps, *taps)]

    def taps(self, positions: Points, shape: tuple[int, ...]) -> tuple[tuple[Array, ...], Array]:
        """Where the window at each of M positions looks in an unpadded input of these spatial sizes.

        Returns:
            an index array for each axis, which broadcasts to (M, kernel...) and is clipped at the borders;
            and a mask of that shape, false in the padding.
        """
        indices, inside = [], np.ones((1,) * (1 + len(self.kernel)), bool)
        for axis, (position, size) in enumerate(zip(positions, shape, strict=True)):
            start = position * self.strides[axis] - self.before[axis]
            seen = start[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]
            seen = seen.reshape(len(seen), *(-1 if k == axis else 1 for k in range(len(self.kernel))))
            inside = inside & (seen >= 0) & (seen < size)
            indices.append(np.minimum(np.maximum(seen, 0), size - 1))
        return tuple(indices), inside


def window(
    kernel: tuple[int, ...],
    strides: tuple[int, ...] = (),
    dilations: tuple[int, ...] = (),
    pads: tuple[int, ...] = (),
    auto_pad: str = "NOTSET",
    shape: tuple[int, ...] = (),
) -> Window:
    """The window that ONNX's attributes describe over an input of these spatial sizes; () means the default.

    Raises:
        Unjudged: `auto_pad` has no known meaning.
    """
    ones = (1,) * len(kernel)
    sliding = Window(kernel, strides or ones, dilations or ones, (0,) * len(kernel), (0,) * len(kernel))
    if auto_pad in ("NOTSET", ""):
        pads = pads or (0,) * (2 * len(kernel))
        before, after = pads[: len(kernel)], pads[len(kernel) :]
    elif auto_pad == "VALID":
        return sliding
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((ceil(size / stride) - 1) * stride + reach - size, 0)
            for size, stride, reach in zip(shape, sliding.strides, sliding.reach, strict=True)
        ]
        small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        before, after = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    else:
        raise Unjudged(f"auto_pad {auto_pad}")
    return Window(kernel, sliding.strides, sliding.dilations, before, after)
