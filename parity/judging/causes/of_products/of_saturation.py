"""Products of 8-bit integers that are added two by two in 16 bits, where large sums are cut off."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Array, Bounded, Looped, Number
from parity.errors import Unjudged
from parity.graph import Graph, Node
from parity.judging.causes.mistake import Mistake, Seen, first, made_in
from parity.operators import Operator
from parity.operators.affine import Conv, Gemm, MatMul
from parity.operators.cast import cast, exactly, type_of
from parity.operators.operator import Points
from parity.operators.quantization import (
    ACCUMULATED,
    ConvInteger,
    DequantizeLinear,
    MatMulInteger,
    QLinearConv,
    QLinearMatMul,
    QuantizeLinear,
    lined_up,
)

NAME = "pairs of products added in 16 bits, which saturate"
BITS_16 = np.iinfo(np.int16)
SMALL = 64  # two products of 255 and weights up to this fit into 16 bits
WEIGHTS = {"MatMulInteger": 1, "ConvInteger": 1, "QLinearMatMul": 3, "QLinearConv": 3}  # their input
# In which order a window's products are added.
CHANNELS_FIRST = "(channel, kernel...)"
CHANNELS_LAST = "(kernel..., channel)"
EVEN_CHANNELS = "(kernel..., channel), with one channel of zeros more if their number is odd"


def _mistake(operator: Operator, inputs: tuple[str, ...] = (), where: str = "") -> Mistake:
    return Mistake(
        NAME + where,
        "Of uint8 and int8, two products at a time are added in 16 bits and cut off to −32768..32767: the "
        "instruction VPMADDUBSW of processors with AVX2 or AVX-512 and without VNNI.",
        "Keep the weights to 7 bits (reduce_range=True in onnxruntime and PyTorch), or set onnxruntime's "
        "session.x64quantprecision to 1, or use a processor with VNNI.",
        operator,
        "microsoft/onnxruntime#6004",
        inputs=inputs,
        alike=where and NAME,  # of two orders, which differ in the nodes that they concern
        exact=True,
    )


@made_in("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv")
def in_pairs(operator: Operator, seen: Seen) -> Iterator[Mistake]:
    weights = seen.inputs[WEIGHTS[operator.TYPE]]
    assert weights is not None
    types = (type_of(first(seen.inputs)).name, type_of(weights).name)
    swapped = operator.TYPE == "ConvInteger" and types == ("int8", "uint8")
    if swapped or types == ("uint8", "int8"):
        yield _mistake(_IN_PAIRS[operator.TYPE](**vars(operator)))


def saturated(nodes: tuple[Node, ...], names: tuple[str, ...], graph: Graph) -> Iterator[dict[int, Mistake]]:
    """Products of integers that are read back, which a runtime computes from the integers: at all such nodes.

    onnxruntime does so for a convolution if its result is quantized, OpenVINO for all. Both add 128 to inputs
    of int8. Neither adds pairs of a depthwise convolution. The order is that of onnxruntime or, for an odd
    number of channels, most often OpenVINO's.

    Args:
        nodes: of a stretch.
        names: of its inputs.
        graph: the whole reference.
    """
    known = {"", *names, *graph.constants, *(name for node in nodes for name in node.outputs)}
    readers = {
        node.outputs[0]: node
        for node in graph.nodes
        if _reads_whole(node.operator) and known.issuperset(node.inputs)
    }
    large: dict[int, Array] = {}  # by place, the weights of products that may saturate
    for place, node in enumerate(nodes):
        if isinstance(node.operator, Conv | Gemm | MatMul) and readers.keys() >= set(node.inputs[:2]):
            weights = graph.constants.get(readers[node.inputs[1]].inputs[0])
            if weights is not None and _may_saturate(node.operator, weights):
                large[place] = weights
    convolutions = [place for place in large if isinstance(nodes[place].operator, Conv)]
    fused = [
        place for place in large if place not in convolutions or _is_quantized(nodes[place].outputs[0], graph)
    ]
    odd = any(large[place].shape[1] % 2 for place in convolutions)
    for order in (CHANNELS_LAST, EVEN_CHANNELS) if odd else (CHANNELS_LAST,):
        for places in {tuple(fused): None, tuple(large): None}:
            if places:
                yield _at_all(nodes, readers, places, order)


def _at_all(
    nodes: tuple[Node, ...], readers: dict[str, Node], places: tuple[int, ...], order: str
) -> dict[int, Mistake]:
    made = {}
    for place in places:
        operator, (one, two, *bias) = nodes[place].operator, nodes[place].inputs
        assert isinstance(operator, Conv | Gemm | MatMul)
        reader = readers[two].operator
        assert isinstance(reader, DequantizeLinear)
        inputs = (*_three(readers[one].inputs), *_three(readers[two].inputs), *bias)
        where = f", at {len(places)} nodes" if len(places) > 1 else ""
        made[place] = _mistake(_OfIntegers(operator, reader.axis, order), inputs, where)
    return made


def _reads_whole(operator: Operator | None) -> bool:
    """Whether it reads back integers whose scale does not change along the sums of a product."""
    return isinstance(operator, DequantizeLinear) and not operator.block_size and not operator.output_dtype


def _three(inputs: Sequence[str]) -> tuple[str, ...]:
    """Integers, scale and zero point, which may be left out."""
    return (*inputs, "")[:3]


def _may_saturate(operator: Conv | Gemm | MatMul, weights: Array) -> bool:
    if isinstance(operator, Conv) and operator.group > 1 and weights.shape[:2] == (operator.group, 1):
        return False
    return weights.dtype == np.int8 and bool((np.abs(weights.astype(np.int16)) > SMALL).any())


def _is_quantized(tensor: str, graph: Graph) -> bool:
    """Whether a tensor is, at once or behind an activation that is fused, too."""
    for node in graph.nodes:
        if tensor in node.inputs[:1]:
            if node.type not in ("Relu", "Clip"):
                return isinstance(node.operator, QuantizeLinear)
            tensor = node.outputs[0]
    return False


@dataclass(frozen=True)
class _MatMulInteger(MatMulInteger):
    def evaluate(
        self, a: Number, b: Number, a_zero: Number | None = None, b_zero: Number | None = None
    ) -> Number:
        return _less(super().evaluate(a, b, a_zero, b_zero), cut_off(*_stored(a, b, b_zero)))


@dataclass(frozen=True)
class _QLinearMatMul(QLinearMatMul):
    def total(self, a: Number, b: Number, a_zero: Number, b_zero: Number) -> Number:
        return _MatMulInteger().evaluate(a, b, a_zero, b_zero)


@dataclass(frozen=True)
class _ConvInteger(ConvInteger):
    """
    Attributes:
        order: of the products of a window.
    """

    OWN: ClassVar[tuple[str, ...]] = ("order",)

    order: str = CHANNELS_FIRST

    def evaluate(
        self, x: Number, w: Number, x_zero: Number | None = None, w_zero: Number | None = None
    ) -> Number:
        return _less(super().evaluate(x, w, x_zero, w_zero), self.lost(x, w, x_zero, w_zero))

    def sample(self, points: Points, *inputs: Any) -> Number:
        return self.evaluate(*inputs).move(lambda a: a[points])

    def lost(self, x: Number, w: Number, x_zero: Number | None, w_zero: Number | None) -> Array:
        """What is lost of each value."""
        sliding, group, (seen, weights) = self.window(x, w), self.group, _stored(x, w, w_zero)
        seen = sliding.patches(sliding.pad(seen, 0 if x_zero is None else _known(x_zero).item()))
        n, c, *places = seen.shape[: seen.ndim - len(sliding.kernel)]
        rows = seen.reshape(n, group, c // group, prod(places), -1).transpose(0, 1, 3, 4, 2)
        columns = weights.reshape(group, -1, c // group, prod(sliding.kernel)).transpose(0, 3, 2, 1)
        if self.order == CHANNELS_FIRST:
            rows, columns = rows.swapaxes(-1, -2), columns.swapaxes(1, 2)
        if self.order == EVEN_CHANNELS and c // group % 2:
            rows = np.pad(rows, ((0, 0),) * 4 + ((0, 1),))
            columns = np.pad(columns, ((0, 0), (0, 0), (0, 1), (0, 0)))
        lost = cut_off(rows.reshape(*rows.shape[:3], -1), columns.reshape(group, -1, columns.shape[-1]))
        return lost.swapaxes(-1, -2).reshape(n, -1, *places)


@dataclass(frozen=True)
class _QLinearConv(QLinearConv):
    """Of the products of a window, onnxruntime makes the channels last."""

    def total(self, x: Number, w: Number, x_zero: Number, w_zero: Number, bias: Number | None) -> Number:
        saturating = _ConvInteger(**vars(self), order=CHANNELS_LAST)
        return _less(super().total(x, w, x_zero, w_zero, bias), saturating.lost(x, w, x_zero, w_zero))


_IN_PAIRS = {kind.TYPE: kind for kind in (_MatMulInteger, _ConvInteger, _QLinearMatMul, _QLinearConv)}


@dataclass(frozen=True)
class _OfIntegers(Operator):
    """A product of integers, with their scales: instead of the product of what is read back.

    Attributes:
        right: the product of what is read back.
        axis: of the weights, along which they have scales of their own.
        order: of the products of a window.
    """

    TYPE: ClassVar[str] = "product of integers"

    right: Conv | Gemm | MatMul
    axis: int
    order: str

    def evaluate(
        self,
        a: Number,
        a_scale: Number,
        a_zero: Number | None,
        b: Number,
        b_scale: Number,
        b_zero: Number | None,
        bias: Number | None = None,
    ) -> Number:
        turned = isinstance(self.right, Gemm) and self.right.transB
        own = 0 if turned or isinstance(self.right, Conv) else b.ndim - 1
        if a_scale.size > 1 or (b_scale.size > 1 and self.axis % b.ndim != own):
            raise Unjudged("scales that change along the sums")
        total = self._total(*_unsigned(a, a_zero), b, b_zero)
        axis = 1 if isinstance(self.right, Conv) else -1
        scales = a_scale.reshape(*(1,) * total.ndim) * lined_up(b_scale, total.ndim, axis)
        y = cast(total, ACCUMULATED) * scales
        return y if bias is None else y + lined_up(bias, total.ndim, axis)

    def _total(self, a: Number, a_zero: Number, b: Number, b_zero: Number | None) -> Number:
        if isinstance(self.right, Conv):
            return _ConvInteger(**vars(self.right), order=self.order).evaluate(a, b, a_zero, b_zero)
        if a.ndim < 2 or b.ndim < 2:
            raise Unjudged("vectors")
        if isinstance(self.right, Gemm):
            if (self.right.alpha, self.right.beta) != (1, 1):
                raise Unjudged("products that are scaled")
            a = a.transpose(1, 0) if self.right.transA else a
            b = b.transpose(1, 0) if self.right.transB else b
        return _MatMulInteger().evaluate(a, b, a_zero, b_zero)


def _unsigned(x: Number, zero: Number | None) -> tuple[Number, Number]:
    """Integers and their zero point, with 128 added to both if they are of int8."""
    kind = type_of(x)
    if kind not in (np.int8, np.uint8):
        raise Unjudged(f"products of {kind}")
    zero = exactly(np.zeros((), kind), x) if zero is None else zero
    return (x, zero) if kind == np.uint8 else (_moved(x), _moved(zero))


def _moved(x: Number) -> Number:
    assert isinstance(x, Bounded | Looped)
    return replace(x, value=(x.value.astype(np.int16) + 128).astype(np.uint8))


def _stored(x: Number, w: Number, w_zero: Number | None) -> tuple[Array, Array]:
    """The integers of inputs and weights, as they are stored.

    To cut off moves no two sums further apart: Σ |w_k| e_k is the most by which a sum changes if the inputs
    are off by e_k, and the right sum carries just that if the weights have no zero point.

    Raises:
        Unjudged: they are not known so well.
    """
    weights = _known(w)
    if w_zero is not None and _known(w_zero).any():
        return _known(x), weights
    return x.comparable, weights


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
        a: (..., M, K), uint8; its zero point is subtracted from the sum afterwards. Or int8, with b in uint8.
        b: (..., K, N), int8.

    Returns:
        (..., M, N), float64: integers.
    """
    a, b = a.astype(np.float32), b.astype(np.float32)  # products of two are exact
    lost = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
    for k in range(0, a.shape[-1], 2):
        some, two = a[..., k : k + 2], b[..., k : k + 2, :]
        large = (255 * np.abs(two).sum(axis=-2) > BITS_16.max).reshape(-1, b.shape[-1]).any(axis=0)
        if large.any():  # of normal weights, few columns
            pairs = some @ two[..., large]
            lost[..., large] += pairs - pairs.clip(BITS_16.min, BITS_16.max)
    return lost


def _less(total: Number, lost: Array) -> Number:
    """The sums without what is lost; they are off by what they were before."""
    assert isinstance(total, Bounded | Looped)
    return replace(total, value=total.value - lost.astype(total.value.dtype))
