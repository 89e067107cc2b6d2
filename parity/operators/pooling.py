from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from parity.arithmetic import Number
from parity.operators.affine import window
from parity.operators.operator import Inputs, Operator, register


@register
@dataclass(frozen=True)
class MaxPool(Operator):
    """max."""

    TYPE: ClassVar[str] = "MaxPool"
    kernel_shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()

    def evaluate(self, x: Number) -> Number:
        w = window(self.kernel_shape, self.strides)
        d = len(self.kernel_shape)
        y = x.move(w.patches).max(tuple(range(2 + d, 2 + 2 * d)))
        return y.reshape(*y.shape[: 2 + d])

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        x, y = inputs[0].comparable, output.comparable
        w = window(self.kernel_shape, self.strides)

        def back(d):
            dx, waiting = np.zeros(x.shape, d.dtype), np.ones(y.shape, bool)
            seen, into = (
                w.patches(x),
                np.lib.stride_tricks.sliding_window_view(dx, self.kernel_shape, axis=(2, 3), writeable=True)[
                    :, :, :: self.strides[0], :: self.strides[1]
                ],
            )
            for tap in np.ndindex(*self.kernel_shape):
                wins = waiting & (seen[(..., *tap)] == y)
                into[(..., *tap)] += d * wins
                waiting &= ~wins
            return dx

        return cotangent.move(back)
