"""Uses of quantized operators."""

from typing import Any

import numpy as np

from parity.operators.quantization import (
    ConvInteger,
    DequantizeLinear,
    DynamicQuantizeLinear,
    MatMulInteger,
    QLinearConv,
    QLinearMatMul,
    QuantizeLinear,
)
from tests.parity.examples.example import Example, Make

Shape = tuple[int, ...]


def _float(x: Any) -> np.ndarray:
    return np.array(x, np.float32)


def _byte(x: Any, dtype: type = np.uint8) -> np.ndarray:
    return np.array(x, dtype)


def _inputs(*parts: Shape | np.ndarray | type | None) -> Make:
    """Tuples are shapes of random floats; a type is that of the random integers whose shape follows.

    Signed integers are at most 7 bits: on processors without VNNI, onnxruntime adds pairs of products of
    uint8 and int8 in 16 bits, where larger weights saturate. It advises to reduce their range.
    """

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        made: list[np.ndarray | None] = []
        kind: type | None = None
        for part in parts:
            if isinstance(part, type):
                kind = part
            elif isinstance(part, tuple) and kind is not None:
                low, high = (-64, 63) if kind is np.int8 else (0, 255)
                made.append(rng.integers(low, high + 1, part).astype(kind))
                kind = None
            else:
                made.append(rng.standard_normal(part).astype(np.float32) if isinstance(part, tuple) else part)
        return made

    return make


def _quantize(*parts: Any, opset: int = 22, **attributes: Any) -> Example:
    return Example(QuantizeLinear(**attributes), attributes, _inputs(*parts), opset, data=(0,))


def _dequantize(*parts: Any, **attributes: Any) -> Example:
    return Example(DequantizeLinear(**attributes), attributes, _inputs(*parts), data=())


def _q_conv(*parts: Any, **attributes: Any) -> Example:
    return Example(QLinearConv(**attributes), attributes, _inputs(*parts), data=())


EXAMPLES = [
    _quantize((4, 30), _float(0.0213), _byte(120)),
    _quantize((4, 30), _float(0.02)),
    _quantize((2, 3, 5), _float([0.1, 0.02, 0.3]), _byte([0, -3, 5], np.int8)),
    _quantize((3, 6), _float([[0.1, 0.2], [0.3, 0.01], [0.5, 0.6]]), axis=1, block_size=3),
    _dequantize(np.uint8, (3, 5), _float(0.03), _byte(7)),
    _dequantize(np.int8, (2, 3, 5), _float([0.1, 0.02, 0.3]), _byte([0, -3, 5], np.int8)),
    _dequantize(np.int8, (3, 6), _float([[0.1, 0.2], [0.3, 0.01], [0.5, 0.6]]), axis=-1, block_size=3),
    Example(DynamicQuantizeLinear(), {}, _inputs((5, 8)), data=(0,)),
    Example(MatMulInteger(), {}, _inputs(np.uint8, (3, 7), np.uint8, (7, 4), _byte(120), _byte(3))),
    Example(MatMulInteger(), {}, _inputs(np.uint8, (2, 3, 7), np.int8, (7, 4))),
    Example(ConvInteger(), {}, _inputs(np.uint8, (1, 2, 6, 6), np.uint8, (3, 2, 3, 3), _byte(9))),
    Example(
        QLinearMatMul(),
        {},
        _inputs(
            *(np.uint8, (3, 7), _float(0.02), _byte(120)),
            *(np.int8, (7, 4), _float(0.03), _byte(-3, np.int8)),
            *(_float(0.5), _byte(100)),
        ),
        data=(),
    ),
    _q_conv(
        *(np.uint8, (1, 2, 6, 6), _float(0.02), _byte(120)),
        *(np.uint8, (3, 2, 3, 3), _float(0.03), _byte(125)),
        *(_float(0.25), _byte(128)),
        pads=(1, 1, 1, 1),
    ),
    _q_conv(
        *(np.uint8, (1, 2, 6, 6), _float(0.02), _byte(120)),
        *(np.int8, (3, 2, 3, 3), _float([0.03, 0.01, 0.02]), _byte([0, 0, 0], np.int8)),
        *(_float(0.25), _byte(128), np.array([100, -200, 3], np.int32)),
        strides=(2, 2),
    ),
]
