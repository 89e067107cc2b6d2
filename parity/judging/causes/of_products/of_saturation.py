"""Products of 8-bit integers that are added two by two in 16 bits, where large sums are cut off."""

from collections.abc import Iterator
from math import prod

import numpy as np

from parity.arithmetic import Array, Bounded, Number
from parity.errors import Unjudged
from parity.judging.causes.mistake import Mistake, Seen, first, made_in
from parity.operators.cast import type_of
from parity.operators.quantization import MatMulInteger, QLinearConv, QLinearMatMul

BITS_16 = np.iinfo(np.int16)


@made_in("MatMulInteger", "QLinearMatMul", "QLinearConv")
def in_pairs(operator: MatMulInteger | QLinearMatMul | QLinearConv, seen: Seen) -> Iterator[Mistake]:
    second = seen.inputs[1] if isinstance(operator, MatMulInteger) else seen.inputs[3]
    assert second is not None
    if (type_of(first(seen.inputs)).name, type_of(second).name) != ("uint8", "int8"):
        return
    yield Mistake(
        "pairs of products added in 16 bits, which saturate",
        "Of uint8 and int8, two products at a time are added in 16 bits and cut off to −32768..32767: the "
        "instruction VPMADDUBSW of processors with AVX2 or AVX-512 and without VNNI.",
        "Keep the weights to 7 bits (reduce_range=True in onnxruntime and PyTorch), or set onnxruntime's "
        "session.x64quantprecision to 1, or use a processor with VNNI.",
        _IN_PAIRS[operator.TYPE](**vars(operator)),
        "microsoft/onnxruntime#6004",
    )


class _MatMulInteger(MatMulInteger):
    def evaluate(
        self, a: Number, b: Number, a_zero: Number | None = None, b_zero: Number | None = None
    ) -> Number:
        return _less(super().evaluate(a, b, a_zero, b_zero), cut_off(_known(a), _known(b)))


class _QLinearMatMul(QLinearMatMul):
    def total(self, a: Number, b: Number, a_zero: Number, b_zero: Number) -> Number:
        return _less(super().total(a, b, a_zero, b_zero), cut_off(_known(a), _known(b)))


class _QLinearConv(QLinearConv):
    """The products of a window are in the order (kernel..., channel): onnxruntime makes the channels last."""

    def total(self, x: Number, w: Number, x_zero: Number, w_zero: Number, bias: Number | None) -> Number:
        sliding, group, right = self.window(x, w), self.group, super().total(x, w, x_zero, w_zero, bias)
        seen = sliding.patches(sliding.pad(_known(x), _known(x_zero).item()))
        n, c, *places = seen.shape[: seen.ndim - len(sliding.kernel)]
        rows = seen.reshape(n, group, c // group, prod(places), -1).transpose(0, 1, 3, 4, 2)
        columns = _known(w).reshape(group, -1, c // group, prod(sliding.kernel)).transpose(0, 3, 2, 1)
        lost = cut_off(rows.reshape(*rows.shape[:3], -1), columns.reshape(group, -1, columns.shape[-1]))
        return _less(right, lost.swapaxes(-1, -2).reshape(right.shape))


_IN_PAIRS = {kind.TYPE: kind for kind in (_MatMulInteger, _QLinearMatMul, _QLinearConv)}


def _known(x: Number) -> Array:
    """The integers of an input, as they are stored.

    Raises:
        Unjudged: they are not known exactly.
    """
    if isinstance(x, Bounded) and x.error is not None:
        raise Unjudged("integers that are not known")
    return x.comparable


def cut_off(a: Array, b: Array) -> Array:
    """What is lost of the sums a·b if each two of their products are added in 16 bits.

    Args:
        a: (..., M, K), uint8; its zero point is subtracted from the sum afterwards.
        b: (..., K, N), int8.

    Returns:
        (..., M, N), float64: integers.
    """
    a, b = a.astype(np.float32), b.astype(np.float32)  # products of two are exact
    lost = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
    for k in range(0, a.shape[-1], 2):
        some, two = a[..., k : k + 2], b[..., k : k + 2, :]
        if 255 * np.abs(two).sum(axis=-2).max(initial=0) > BITS_16.max:
            pairs = some @ two
            lost += pairs - pairs.clip(BITS_16.min, BITS_16.max)
    return lost


def _less(total: Number, lost: Array) -> Number:
    return total.move(lambda a: a - lost.astype(a.dtype))
