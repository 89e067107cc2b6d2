"""Products of 8-bit integers that are added two by two in 16 bits, in plain loops over the windows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

from parity.arithmetic import Bounded
from parity.errors import Unjudged
from parity.judging.causes.mistake import Mistake
from parity.judging.causes.of_products.of_saturation import cut_off, saturated
from tests.parity.judging.causes.in_16_bits import (
    Order,
    channels_last,
    convolution,
    exact,
    pairs_in_16_bits,
    product,
)
from tests.parity.judging.causes.plain.layer import Array, Layer
from tests.parity.judging.causes.plain.several import Several
from tests.parity.judging.causes.small_graphs import N
from tests.parity.judging.causes.words import check_said

NAME = "pairs of products added in 16 bits, which saturate"
ZERO, OTHER = 9, 5  # zero points of inputs and of weights


def integers(kind: type, *shape: int) -> Array:
    """Of this type; the same for the same shape."""
    limits = np.iinfo(kind)
    return np.random.default_rng(shape).integers(limits.min, limits.max + 1, shape).astype(kind)


# --- what is lost --------------------------------------------------------------------------------


def test_what_is_lost_of_each_sum():
    """255 · (64 + 64) fits into 16 bits, 255 · (65 + 64) does not; nor does one product more."""
    rows = np.array([[255, 255, 255], [255, 254, 0]], np.uint8)
    columns = np.array([[64, 65, -128, 127, 1], [64, 64, -128, 127, 1], [127, 127, 127, -128, 0]], np.int8)
    assert cut_off(rows, columns).tolist() == [
        [0, 128, -65280 + 32768, 64770 - 32767, 0],
        [0, 255 * 65 + 254 * 64 - 32767, -65152 + 32768, 127 * 509 - 32767, 0],
    ]
    kept = columns[:, [0, 4]]
    assert not cut_off(rows, kept).any()


@pytest.mark.parametrize(("of_rows", "of_columns"), [((2, 1), (3,)), ((), ()), ((3,), (2, 1))])
def test_batches_are_taken_one_with_another(of_rows, of_columns):
    a, b = integers(np.uint8, *of_rows, 4, 31), integers(np.int8, *of_columns, 31, 5)
    found = cut_off(a, b)
    wide_a, wide_b = (np.broadcast_to(one, (*found.shape[:-2], *one.shape[-2:])) for one in (a, b))
    for place in np.ndindex(found.shape):
        *batch, row, column = place
        one, two = wide_a[*batch, row], wide_b[*batch, :, column]
        assert found[place] == exact(one, two) - pairs_in_16_bits(one, two)
    assert found.any()


# --- operators of integers -----------------------------------------------------------------------


ORDERS: dict[str, Order] = {
    "(channel, kernel...)": np.ravel,
    "(kernel..., channel)": channels_last,
    "(kernel..., channel), with one channel of zeros more if their number is odd": lambda a: np.pad(
        a.transpose(1, 2, 0), ((0, 0), (0, 0), (0, len(a) % 2))
    ).ravel(),
}


A, B = integers(np.uint8, 4, 7), integers(np.int8, 7, 5)
IMAGE, KERNEL = integers(np.uint8, 2, 6, 5, 4), integers(np.int8, 4, 3, 3, 3)
WINDOW: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [2, 2]}
U, S = np.array(ZERO, np.uint8), np.array(OTHER, np.int8)
BIAS = np.array([4000, -3000, 2000, -1000], np.int32)


def requantized(total: Array, scale: float) -> Array:
    return np.clip(np.rint(total * scale) + 128, 0, 255)


def scales(*numbers: float) -> list[Array]:
    return [np.array(one, np.float32) for one in numbers]


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_products_of_integers_in_pairs(zeros):
    layer = Layer("MatMulInteger", A, B, *(U, S)[:zeros])
    assert list(layer.mistakes) == [NAME]
    layer.returns(NAME, product(pairs_in_16_bits, A, B, ZERO * (zeros > 0), OTHER * (zeros > 1)))
    assert (layer.outputs(NAME)[0].bound == 0).all()


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_convolutions_of_integers_in_pairs(zeros):
    """By default a window's products are added channel by channel."""
    layer = Layer("ConvInteger", IMAGE, KERNEL, *(U, S)[:zeros], group=2, **WINDOW)
    order = ORDERS["(channel, kernel...)"]
    expected = convolution(
        pairs_in_16_bits, IMAGE, KERNEL, order, ZERO * (zeros > 0), OTHER * (zeros > 1), groups=2
    )
    layer.returns(NAME, expected)
    points = (np.array([0, 1]), np.array([3, 0]), np.array([2, 1]), np.array([1, 0]))
    some = layer.mistakes[NAME].operator.sample(points, *layer.inputs)
    assert some.comparable.tolist() == expected[points].tolist()


def test_a_convolution_of_int8_and_uint8_saturates_too_but_a_product_does_not():
    signed, unsigned = integers(np.int8, 1, 3, 4, 4), integers(np.uint8, 2, 3, 3, 3)
    layer = Layer("ConvInteger", signed, unsigned, **WINDOW)
    layer.returns(NAME, convolution(pairs_in_16_bits, signed, unsigned, ORDERS["(channel, kernel...)"]))
    assert not Layer("MatMulInteger", B.T.copy(), A.T.copy()).mistakes
    assert not Layer("MatMulInteger", A, A.T.copy()).mistakes
    assert not Layer("ConvInteger", signed, signed[:, :, :3, :3]).mistakes


def test_products_that_are_quantized_again():
    one = [*scales(0.5), U, B, *scales(0.25), S, *scales(64.0), np.array(128, np.uint8)]
    layer = Layer("QLinearMatMul", A, *one)
    expected = requantized(product(pairs_in_16_bits, A, B, ZERO, OTHER), 2.0**-9)
    assert (expected > 0).any()
    layer.returns(NAME, expected)


@pytest.mark.parametrize("biased", [False, True])
def test_convolutions_that_are_quantized_again(biased):
    """onnxruntime makes the channels last."""
    one = [*scales(0.5), U, KERNEL, *scales(0.25), S, *scales(64.0), np.array(128, np.uint8)]
    layer = Layer("QLinearConv", IMAGE, *one, *([BIAS] if biased else []), group=2, **WINDOW)
    total = convolution(
        pairs_in_16_bits, IMAGE, KERNEL, ORDERS["(kernel..., channel)"], ZERO, OTHER, groups=2
    )
    layer.returns(NAME, requantized(total + biased * BIAS.reshape(-1, 1, 1), 2.0**-9))


def test_an_input_that_is_not_known_is_taken_if_weights_have_no_zero_point():
    off = np.ones(A.shape)
    (operator,) = (one.operator for one in Layer("MatMulInteger", A, B, U).mistakes.values())
    inputs = [Bounded(A, off), Bounded(B), Bounded(U)]
    found = operator.first(*inputs)
    assert (found.comparable == product(pairs_in_16_bits, A, B, ZERO)).all()
    assert (found.bound == np.abs(B.astype(int)).sum(0)).all()  # type: ignore[attr-defined]
    operator.evaluate(*inputs, Bounded(np.array(0, np.int8)))
    with pytest.raises(Unjudged, match="integers that are not known"):
        operator.evaluate(*inputs, Bounded(S))
    with pytest.raises(Unjudged, match="integers that are not known"):
        operator.evaluate(Bounded(A), Bounded(B, np.ones(B.shape)), Bounded(U))


# --- products of what is read back ---------------------------------------------------------------

STEP, COLUMNS = np.float32(0.5), np.array([0.25, 0.5, 1, 0.125, 2], np.float32)
TO_BYTES = N("Cast", ["x"], ["q"], to=2)
TO_SIGNED = N("Cast", ["x"], ["q"], to=3)
READ = N("DequantizeLinear", ["q", "step", "zero"], ["a"])


def whole(*nodes: NodeProto, x: Array, **constants: Any) -> Several:
    """Nodes behind x, which is cast to integers; the constants are those that are read."""
    used = {name for node in nodes for name in node.input}
    known = {"step": STEP, "zero": U, "columns": COLUMNS, **constants}
    given = {name: np.asarray(a) for name, a in known.items() if name in used}
    return Several(nodes, given, x=x.astype(np.float32))


def found_in(one: Several) -> list[dict[int, Mistake]]:
    found = list(saturated(one.stretch.nodes, one.stretch.names, one.graph))
    for changes in found:
        check_said(*changes.values())
        for mistake in changes.values():
            assert mistake.exact
            assert mistake.case == "microsoft/onnxruntime#6004"
    return found


def matrices(last: NodeProto, x: Array = A, w: Array = B, **constants: Array) -> Several:
    read = N("DequantizeLinear", ["w", "columns"], ["b"], axis=1)
    return whole(TO_BYTES, READ, read, last, x=x, w=w, **constants)


def test_a_product_of_what_is_read_back():
    one = matrices(N("MatMul", ["a", "b"], ["y"]))
    (changes,) = found_in(one)
    assert [(k, mistake.name, mistake.alike) for k, mistake in changes.items()] == [(3, NAME, "")]
    one.returns(changes, product(pairs_in_16_bits, A, B, ZERO) * (0.5 * COLUMNS))


def test_a_dense_layer_of_what_is_read_back():
    bias = np.array([3, -1, 4, 1, -5], np.float32)
    for turned_a, turned_b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        read = N("DequantizeLinear", ["w", "columns"], ["b"], axis=1 - turned_b)
        last = N("Gemm", ["a", "b", "c"], ["y"], transA=turned_a, transB=turned_b)
        x, w = A.T if turned_a else A, B.T.copy() if turned_b else B
        one = whole(TO_BYTES, READ, read, last, x=x, w=w, c=bias)
        (changes,) = found_in(one)
        one.returns(changes, product(pairs_in_16_bits, A, B, ZERO) * (0.5 * COLUMNS) + bias)


def test_inputs_of_int8_are_moved_by_128():
    signed = (A.astype(int) - 128).astype(np.int8)
    for zero in (np.array(ZERO - 128, np.int8), None):
        read = N("DequantizeLinear", ["q", "step", "zero"][: 2 + (zero is not None)], ["a"])
        weights = N("DequantizeLinear", ["w", "columns"], ["b"], axis=-1)
        one = whole(TO_SIGNED, read, weights, N("MatMul", ["a", "b"], ["y"]), x=signed, w=B, zero=zero)
        (changes,) = found_in(one)
        one.returns(changes, product(pairs_in_16_bits, A, B, 128 if zero is None else ZERO) * (0.5 * COLUMNS))


def images(last: Sequence[NodeProto], w: Array = KERNEL, channels: int = 6, **constants: Array) -> Several:
    read = N("DequantizeLinear", ["w", "columns"], ["b"], axis=0)
    x = IMAGE[:, :channels]
    return whole(TO_BYTES, READ, read, *last, x=x, w=w, columns=COLUMNS[: len(w)], **constants)


def conv(group: int, result: str = "y", *more: str) -> NodeProto:
    return N("Conv", ["a", "b", *more], [result], group=group, **WINDOW)


def test_a_convolution_of_what_is_read_back():
    """Of an odd number of channels two orders are tried: with a channel of zeros or without."""
    factors = (0.5 * COLUMNS[:4]).reshape(-1, 1, 1)
    bias = np.array([3, -1, 4, 1], np.float32)
    one = images([conv(2, "y", "c")], c=bias)
    found = found_in(one)
    assert len(found) == 2
    for changes, order in zip(found, list(ORDERS.values())[1:], strict=True):
        one.returns(
            changes,
            convolution(pairs_in_16_bits, IMAGE, KERNEL, order, ZERO, groups=2) * factors
            + bias.reshape(-1, 1, 1),
        )
    even = integers(np.int8, 4, 2, 3, 3)
    one = images([conv(1)], w=even, channels=2)
    (changes,) = found_in(one)
    right = convolution(pairs_in_16_bits, IMAGE[:, :2], even, ORDERS["(kernel..., channel)"], ZERO)
    one.returns(changes, right * factors)


def test_kernels_that_are_not_square():
    """Whose products would be in another order if the axes were exchanged."""
    w = integers(np.int8, 4, 3, 2, 3)
    one = images([conv(2)], w=w)
    for changes, order in zip(found_in(one), list(ORDERS.values())[1:], strict=True):
        right = convolution(pairs_in_16_bits, IMAGE, w, order, ZERO, groups=2)
        one.returns(changes, right * (0.5 * COLUMNS[:4]).reshape(-1, 1, 1))


# --- where pairs are added at all ----------------------------------------------------------------


def test_weights_up_to_64_never_saturate():
    assert not found_in(matrices(N("MatMul", ["a", "b"], ["y"]), w=np.clip(B, -64, 64)))
    assert found_in(matrices(N("MatMul", ["a", "b"], ["y"]), w=np.clip(B, -65, 64)))
    assert found_in(matrices(N("MatMul", ["a", "b"], ["y"]), w=np.clip(B, -64, 65)))
    assert not found_in(matrices(N("MatMul", ["a", "b"], ["y"]), w=A.T[:, :4], columns=COLUMNS[:4]))


def test_no_pairs_are_added_of_a_channel_by_itself():
    depthwise = integers(np.int8, 3, 1, 3, 3)
    assert not found_in(images([conv(3)], w=depthwise, channels=3))
    assert found_in(images([conv(1)], w=depthwise, channels=1))
    assert found_in(images([conv(2)], w=integers(np.int8, 4, 1, 3, 3), channels=2))


def test_products_of_floats_are_left_alone():
    """Of inputs or of weights; integers whose scale changes within a row; weights that are no constants."""
    float_inputs = whole(
        N("DequantizeLinear", ["w", "columns"], ["b"], axis=1), N("MatMul", ["x", "b"], ["y"]), x=A, w=B
    )
    assert not found_in(float_inputs)
    float_weights = whole(TO_BYTES, READ, N("MatMul", ["a", "w"], ["y"]), x=A, w=B.astype(np.float32))
    assert not found_in(float_weights)
    blocks = whole(
        TO_BYTES,
        READ,
        N("DequantizeLinear", ["w", "columns"], ["b"], axis=0, block_size=4),
        N("MatMul", ["a", "b"], ["y"]),
        x=A,
        w=B,
        columns=np.tile(COLUMNS, (2, 1)),
    )
    assert not found_in(blocks)
    computed = whole(
        TO_BYTES,
        READ,
        N("Cast", ["w"], ["v"], to=3),
        N("DequantizeLinear", ["v", "columns"], ["b"], axis=1),
        N("MatMul", ["a", "b"], ["y"]),
        x=A,
        w=B.astype(np.float32),
    )
    assert not found_in(computed)


QUANTIZED = N("QuantizeLinear", ["p", "step", "zero"], ["i"])
READ_AGAIN = N("DequantizeLinear", ["i", "step", "zero"], ["y"])


@pytest.mark.parametrize(
    ("behind", "is_fused"),
    [
        ([QUANTIZED, READ_AGAIN], True),
        ([N("Relu", ["c"], ["p"]), QUANTIZED, READ_AGAIN], True),
        ([N("Clip", ["c", "one", "six"], ["p"]), QUANTIZED, READ_AGAIN], True),
        ([N("Sigmoid", ["c"], ["p"]), QUANTIZED, READ_AGAIN], False),
        ([N("Relu", ["c"], ["y"])], False),
    ],
)
def test_a_convolution_is_fused_where_its_result_is_quantized(behind, is_fused):
    """Beside another whose result stays a float, and to which it is added: it saturates alone, or both do."""
    plain = behind[0].op_type == "QuantizeLinear"
    limits = {"one": np.array(1, np.float32), "six": np.array(6, np.float32)}
    even = integers(np.int8, 4, 2, 3, 3)
    result, last = "p" if plain else "c", behind[-1]
    nodes = [conv(1, result), conv(1, "d"), N("Add", ["d", result], ["f"]), *behind[:-1]]
    nodes += [N(last.op_type, list(last.input), ["e"]), N("Add", ["e", "f"], ["y"])]
    one = images(nodes, w=even, channels=2, **limits)
    found = [tuple(changes) for changes in found_in(one)]
    first = one.place(result)
    assert found == ([(first,)] if is_fused else []) + [(first, first + 1)]
    both = found_in(one)[-1]
    assert {mistake.name for mistake in both.values()} == {f"{NAME}, at 2 nodes"}
    assert {mistake.alike for mistake in both.values()} == {NAME}


def test_what_no_node_reads_is_not_quantized():
    even = integers(np.int8, 4, 2, 3, 3)
    last = [N("DequantizeLinear", ["v", "step"], ["d"]), N("Conv", ["e", "d"], ["y"])]
    nodes = [conv(1, "p"), QUANTIZED, N("DequantizeLinear", ["i", "step", "zero"], ["e"]), *last]
    one = images(nodes, w=even, channels=2, v=integers(np.int8, 3, 4, 1, 1))
    assert [tuple(changes) for changes in found_in(one)] == [
        (one.place("p"),),
        (one.place("p"), one.place("y")),
    ]


def test_what_no_runtime_computes_from_integers_is_refused():
    """Scales of the rows of B, products that are scaled, vectors, integers that are none."""

    def refusal(one: Several, changes: Mapping[int, Mistake]) -> str:
        with pytest.raises(Unjudged) as refused:
            one.returned(changes)
        return str(refused.value)

    rows = N("DequantizeLinear", ["w", "columns"], ["b"], axis=0)
    one = whole(TO_BYTES, READ, rows, N("MatMul", ["a", "b"], ["y"]), x=A[:, :5], w=B[:5])
    assert refusal(one, found_in(one)[0]) == "scales that change along the sums"
    of_inputs = N("DequantizeLinear", ["q", "columns"], ["a"], axis=0)
    weights = N("DequantizeLinear", ["w", "step"], ["b"])
    one = whole(TO_BYTES, of_inputs, weights, N("MatMul", ["a", "b"], ["y"]), x=np.vstack([A, A[:1]]), w=B)
    assert refusal(one, found_in(one)[0]) == "scales that change along the sums"
    for alpha, beta in ((2.0, 1.0), (1.0, 2.0)):
        one = matrices(N("Gemm", ["a", "b"], ["y"], alpha=alpha, beta=beta))
        assert refusal(one, found_in(one)[0]) == "products that are scaled"
    one = matrices(N("MatMul", ["a", "b"], ["y"]), x=A[0])
    assert refusal(one, found_in(one)[0]) == "vectors"
    one = whole(
        TO_BYTES,
        READ,
        N("DequantizeLinear", ["w", "step"], ["b"]),
        N("MatMul", ["a", "b"], ["y"]),
        x=A,
        w=B[:, 0],
    )
    assert refusal(one, found_in(one)[0]) == "vectors"
    wide = N("Cast", ["x"], ["q"], to=6)
    read = N("DequantizeLinear", ["q", "step"], ["a"])
    one = whole(wide, read, weights, N("MatMul", ["a", "b"], ["y"]), x=A, w=B)
    assert refusal(one, found_in(one)[0]) == "products of int32"
