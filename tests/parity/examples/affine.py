"""Uses of convolutions, matrix products and Einsum."""

from typing import Any

import numpy as np

from parity.operators.affine import Conv, ConvTranspose, Gemm, MatMul
from parity.operators.einsum import Einsum
from tests.parity.examples.example import Example, Make

Shape = tuple[int, ...]


def normal(*shapes: Shape | None) -> Make:
    """Float32 inputs of these shapes, normally distributed."""

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [None if shape is None else rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    return make


def _conv(*shapes: Shape, **attributes: Any) -> Example:
    return Example(Conv(**attributes), attributes, normal(*shapes))


def _transposed(*shapes: Shape, **attributes: Any) -> Example:
    return Example(ConvTranspose(**attributes), attributes, normal(*shapes))


def _gemm(*shapes: Shape, **attributes: Any) -> Example:
    return Example(Gemm(**attributes), attributes, normal(*shapes))


def _einsum(equation: str, *shapes: Shape) -> Example:
    return Example(Einsum(equation=equation), {"equation": equation}, normal(*shapes))


EXAMPLES = [
    _conv((2, 3, 7, 6), (4, 3, 3, 3), (4,)),
    _conv((2, 3, 7, 6), (4, 3, 3, 3), pads=(1, 0, 2, 1), strides=(2, 1)),
    _conv((1, 4, 8, 8), (6, 2, 3, 2), (6,), group=2, dilations=(2, 3), pads=(2, 2, 2, 2)),
    _conv((1, 4, 6, 6), (4, 1, 3, 3), (4,), group=4, auto_pad="SAME_UPPER", strides=(2, 2)),
    _conv((1, 2, 6, 7), (3, 2, 2, 2), auto_pad="SAME_LOWER"),
    _conv((1, 2, 6, 7), (3, 2, 2, 2), auto_pad="VALID", kernel_shape=(2, 2)),
    _conv((2, 3, 9), (5, 3, 4), (5,), strides=(3,), pads=(2, 1)),
    _conv((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), (3,), pads=(1, 0, 1, 0, 1, 0)),
    _transposed((2, 3, 4, 3), (3, 4, 3, 3), (4,)),
    _transposed((1, 4, 4, 5), (4, 3, 3, 2), (6,), group=2, strides=(2, 3), pads=(1, 0, 0, 1)),
    _transposed((1, 2, 4, 4), (2, 3, 3, 3), strides=(2, 2), output_padding=(1, 1), dilations=(2, 1)),
    _transposed((1, 2, 5), (2, 3, 4), (3,), strides=(2,), output_shape=(10,)),
    _transposed((1, 2, 3, 3), (2, 2, 3, 3), auto_pad="SAME_UPPER", strides=(2, 2)),
    _transposed((1, 2, 3), (2, 2, 3), auto_pad="VALID", strides=(2,)),
    _gemm((4, 7), (7, 5), (5,)),
    _gemm((4, 7), (7, 5)),
    _gemm((7, 4), (5, 7), (4, 1), transA=1, transB=1),
    _gemm((4, 7), (7, 5), (4, 5), alpha=0.75, beta=-1.5),
    _gemm((4, 64), (5, 64), (), transB=1),
    Example(MatMul(), {}, normal((5, 9), (9, 4))),
    Example(MatMul(), {}, normal((2, 1, 3, 6), (4, 6, 5))),
    Example(MatMul(), {}, normal((9,), (9, 4))),
    Example(MatMul(), {}, normal((2, 5, 9), (9,))),
    Example(MatMul(), {}, normal((9,), (2, 9, 4))),
    Example(MatMul(), {}, normal((9,), (9,))),
    Example(MatMul(), {}, normal((3, 200), (200, 3))),
    _einsum("ij,jk->ik", (3, 6), (6, 4)),
    _einsum("bhqd,bhkd->bhqk", (2, 2, 3, 8), (2, 2, 4, 8)),
    _einsum("i,j", (3,), (4,)),
    _einsum("...ij,...jk", (2, 3, 6), (1, 6, 4)),
    _einsum("bij,bj->bi", (2, 3, 6), (2, 6)),
]
