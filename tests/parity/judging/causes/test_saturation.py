"""Products of uint8 and int8 that are added two by two in 16 bits: by NumPy code, and by runtimes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper

from parity.arithmetic import Bounded
from parity.errors import Unjudged
from parity.judging.causes import judge, mistakes
from parity.judging.causes.mistake import Seen
from parity.operators.quantization import ConvInteger, MatMulInteger
from parity.record import record_onnx
from tests.parity.judging.causes import in_16_bits
from tests.parity.judging.causes.case import Array, Case, N
from tests.parity.judging.causes.in_16_bits import Dot, Order, channels_last, exact, pairs_in_16_bits
from tests.parity.small import adds_in_16_bits, computed

SATURATED = "pairs of products added in 16 bits, which saturate"
RNG = np.random.default_rng(3)
B = RNG.integers(-128, 128, (7, 5)).astype(np.int8)
W = RNG.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
BIAS = RNG.integers(-5000, 5000, 4).astype(np.int32)
IN, OUT = 9, 128  # zero points
SCALES = np.array([0.011, 0.007, 0.02, 0.013, 0.009], np.float32)  # of columns, or of channels
ROWS = RNG.integers(0, 256, (6, 7)).astype(np.float32)
IMAGES = RNG.integers(0, 256, (2, 6, 5, 5)).astype(np.float32)


def total_in_16_bits(a: Array, b: Array) -> int:
    return max(-32768, min(32767, exact(a, b)))


def other_pairs(a: Array, b: Array) -> int:
    """The first product by itself, and pairs of the others."""
    return exact(a[:1], b[:1]) + pairs_in_16_bits(a[1:], b[1:])


def even_channels(dot: Dot) -> Dot:
    """Of a window of three channels, which are the last axis: with a fourth one of zeros."""

    def padded(a: Array, b: Array) -> int:
        four = (np.pad(one.reshape(-1, 3), ((0, 0), (0, 1))).ravel() for one in (a, b))
        return dot(*four)

    return padded


def product(dot: Dot, a: Array) -> Array:
    """(A − 9) · B, with the zero point subtracted behind the products."""
    return in_16_bits.product(dot, a.astype(np.uint8), B, IN)


def convolution(dot: Dot, x: Array, w: Array = W, order: Order = channels_last) -> Array:
    """Two groups, padded and with a stride of 2, without the bias."""
    return in_16_bits.convolution(dot, x, w, order, IN, groups=2)


def with_bias(total: Array) -> Array:
    return total + BIAS[:, None, None]


def in_bytes(total: Array) -> Array:
    return np.clip(np.rint(total * 2.0**-9) + OUT, 0, 255)


def ported(port: Callable[[Dot, Array], Array], **wrong: Dot) -> dict[str, Callable[[Array], Array]]:
    """A right port, and those that add up in another way."""
    dots = {"right": exact, SATURATED: pairs_in_16_bits, **wrong}
    return {name: lambda x, dot=dot: port(dot, x) for name, dot in dots.items()}  # type: ignore[misc]


def case(
    nodes: list[NodeProto], constants: dict[str, Array | float], x: Array, port: Callable[[Dot, Array], Array]
) -> Case:
    ports = ported(port)
    return Case(nodes, {**SCALES_AND_ZEROS, **constants}, x, ports.pop("right"), ports)


SCALES_AND_ZEROS: dict[str, Array | float] = {
    "one": 1.0,
    "in": np.array(IN, np.uint8),
    "signed": np.array(IN - 128, np.int8),
    "zero": np.array(0, np.int8),
    "s": 512.0,
    "out": np.array(OUT, np.uint8),
    "f": 0.013,
    "columns": SCALES,
    "channels": SCALES[:4],
    "biases": SCALES[:4] * np.float32(0.013),
    "none": np.zeros(4, np.int32),
    "zeros": np.zeros(4, np.int8),  # onnxruntime fuses no Gemm without them
    "bias": BIAS,
}
WINDOW: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [2, 2], "group": 2}
TO_BYTES = N("Cast", ["x"], ["q"], to=2)
TO_SIGNED = [  # onnxruntime adds 128 where both stand together
    N("QuantizeLinear", ["x", "f", "signed"], ["q"]),
    N("DequantizeLinear", ["q", "f", "signed"], ["a"]),
]
READ = N("DequantizeLinear", ["q", "f", "in"], ["a"])
READ_BIAS = N("DequantizeLinear", ["bias", "biases", "none"], ["c"], axis=0)
QUANTIZED = [
    N("QuantizeLinear", ["p", "step", "out"], ["i"]),
    N("DequantizeLinear", ["i", "step", "out"], ["y"]),
]


def stored(x: Array) -> Array:
    """The integers of x in uint8."""
    return np.clip(np.rint(x / np.float32(0.013)) + IN, 0, 255)


def requantized(total: Array, scales: Array, step: float) -> Array:
    """What QUANTIZED makes of sums, each channel's of which has a scale of its own."""
    steps = np.rint(total.astype(np.float32) * (np.float32(0.013) * scales / np.float32(step))) + OUT
    return (np.clip(steps, 0, 255).astype(np.float32) - OUT) * np.float32(step)


BY_CHANNEL = SCALES[:4, None, None]
READ_BY_CHANNEL = N("DequantizeLinear", ["w", "channels"], ["b"], axis=0)
CASES = {
    "MatMulInteger": case(
        [
            TO_BYTES,
            N("MatMulInteger", ["q", "b", "in"], ["i"]),
            N("Cast", ["i"], ["float"], to=1),
            N("Mul", ["float", "f"], ["y"]),
        ],
        {"b": B},
        ROWS,
        lambda dot, x: product(dot, x).astype(np.float32) * np.float32(0.013),
    ),
    "ConvInteger": case(
        [
            N("Sub", ["x", "half"], ["lower"]),
            N("Cast", ["lower"], ["q"], to=3),
            N("ConvInteger", ["q", "w", "nine"], ["i"], **WINDOW),
            N("Cast", ["i"], ["y"], to=1),
        ],
        {"w": W.view(np.uint8), "half": 128.0, "nine": np.array(IN, np.int8)},
        IMAGES,
        lambda dot, x: convolution(dot, x - 128, W.view(np.uint8), np.ravel),
    ),
    "QLinearMatMul": case(
        [
            TO_BYTES,
            N("QLinearMatMul", ["q", "one", "in", "b", "one", "zero", "s", "out"], ["i"]),
            N("Cast", ["i"], ["y"], to=1),
        ],
        {"b": B},
        ROWS,
        lambda dot, x: in_bytes(product(dot, x)),
    ),
    "QLinearConv": case(
        [
            TO_BYTES,
            N("QLinearConv", ["q", "one", "in", "w", "one", "zero", "s", "out", "bias"], ["i"], **WINDOW),
            N("Cast", ["i"], ["y"], to=1),
        ],
        {"w": W},
        IMAGES,
        lambda dot, x: in_bytes(with_bias(convolution(dot, x))),
    ),
    "MatMul of what is read back": case(
        [
            TO_BYTES,
            READ,
            N("DequantizeLinear", ["b0", "columns"], ["b"], axis=1),
            N("MatMul", ["a", "b"], ["y"]),
        ],
        {"b0": B},
        ROWS,
        lambda dot, x: product(dot, x).astype(np.float32) * (np.float32(0.013) * SCALES),
    ),
    **{
        f"Gemm of what is read back, with a bias, transB={turned}": case(
            [
                *TO_SIGNED,
                N("DequantizeLinear", ["b0", "channels", "zeros"], ["b"], axis=1 - turned),
                READ_BIAS,
                N("Gemm", ["a", "b", "c"], ["p"], transB=turned),
                *QUANTIZED,
            ],
            {"b0": (B[:, :4].T if turned else B[:, :4]).copy(), "step": 0.11},
            ROWS * np.float32(0.013),
            lambda dot, x: requantized(product(dot, stored(x))[:, :4] + BIAS, SCALES[:4], 0.11),
        )
        for turned in (1, 0)
    },
    "Conv of what is read back, with a bias": case(
        [
            TO_BYTES,
            READ,
            READ_BY_CHANNEL,
            READ_BIAS,
            N("Conv", ["a", "b", "c"], ["p"], **WINDOW),
            *QUANTIZED,
        ],
        {"w": W, "step": 0.17},
        IMAGES,
        lambda dot, x: requantized(with_bias(convolution(dot, x)), BY_CHANNEL, 0.17),
    ),
    "Conv of what is read back as int8": case(
        [*TO_SIGNED, READ_BY_CHANNEL, N("Conv", ["a", "b"], ["p"], **WINDOW), *QUANTIZED],
        {"w": W, "step": 0.17},
        IMAGES * np.float32(0.013),
        lambda dot, x: requantized(convolution(dot, stored(x)), BY_CHANNEL, 0.17),
    ),
}
STAYS_FLOAT = [
    N("QuantizeLinear", ["x", "f", "in"], ["q"]),
    READ,
    READ_BY_CHANNEL,
    N("Conv", ["a", "b"], ["y"], **WINDOW),
]
FLOAT_CASES = {
    "Conv whose result stays a float": case(
        STAYS_FLOAT,
        {"w": W},
        IMAGES * np.float32(0.013),
        lambda dot, x: convolution(dot, stored(x)) * (np.float32(0.013) * BY_CHANNEL),
    ),
    "Conv of three channels, and one of zeros": case(
        [*STAYS_FLOAT[:3], N("Conv", ["a", "b"], ["y"], **WINDOW | {"group": 1})],
        {"w": W},
        IMAGES[:, :3] * np.float32(0.013),
        lambda dot, x: (
            convolution(even_channels(dot), np.tile(stored(x), (1, 2, 1, 1)))
            * (np.float32(0.013) * BY_CHANNEL)
        ),
    ),
}
PLANTED = {**CASES, **FLOAT_CASES}


@pytest.mark.parametrize("name", PLANTED)
def test_a_right_port_is_not_accused(name: str) -> None:
    assert PLANTED[name].named(PLANTED[name].right) in (["equal"], ["rounding"])


@pytest.mark.parametrize("name", PLANTED)
def test_pairs_that_saturate_are_named(name: str) -> None:
    one = PLANTED[name]
    assert one.named(one.wrong[SATURATED]) == ["different", SATURATED]


@pytest.mark.parametrize("dot", [total_in_16_bits, other_pairs])
@pytest.mark.parametrize("name", ["MatMulInteger", "MatMul of what is read back"])
def test_other_sums_that_saturate_are_not_named_so(name: str, dot: Dot) -> None:
    y = product(dot, ROWS).astype(np.float32) * (
        np.float32(0.013) * (np.float32(1) if "Integer" in name else SCALES)
    )
    verdict, *causes = CASES[name].named(lambda x: y)
    assert verdict == "different"
    assert SATURATED not in causes


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_adds_in_16_bits_on_some_processors(name: str) -> None:
    """It fuses what is read back only in a graph that it optimises."""
    runtime = "onnxruntime-all" if "read back" in name else "onnxruntime"
    assert_named_where_it_saturates(CASES[name], runtime)


@pytest.mark.parametrize("name", FLOAT_CASES)
def test_openvino_adds_in_16_bits_on_some_processors(name: str) -> None:
    """A result that stays a float is computed from the integers, too."""
    assert_named_where_it_saturates(FLOAT_CASES[name], "openvino-f32")


def assert_named_where_it_saturates(one: Case, runtime: str) -> None:
    proto = one.proto
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", 1, one.x.shape))  # for OpenVINO
    y = record_onnx(proto, {"x": one.x}, runtime)["y"]
    named = one.named(lambda x: y)
    if adds_in_16_bits():
        assert named == ["different", SATURATED]
    else:
        assert named in (["equal"], ["rounding"])


@pytest.mark.parametrize("name", ["ConvInteger", "QLinearConv", "Conv of what is read back, with a bias"])
def test_pairs_that_saturate_are_named_from_some_values(name: str) -> None:
    one = CASES[name]
    y = one.wrong[SATURATED](one.x).astype(np.float32)
    (report,) = judge(one.graph, {"x": one.x, "y": y}, sample=40).tensors
    assert report.values == 40
    assert [cause.name for cause in report.causes] == [SATURATED]


@pytest.mark.parametrize("name", ["MatMulInteger", "ConvInteger"])
def test_sums_of_integers_that_are_off_stay_within_their_bound(name: str) -> None:
    """An integer may be off where a rounding before is undecided; here by 128: other pairs saturate."""
    kind, x, w = (MatMulInteger, ROWS, B) if name == "MatMulInteger" else (ConvInteger, IMAGES[:, :3], W)
    q, zero = x.astype(np.uint8), np.array(IN, np.uint8)
    off = np.where(RNG.random(q.shape) < 0.2, 128, 0)
    moved = np.clip(q + RNG.choice([-1, 1], q.shape) * off, 0, 255).astype(np.uint8)
    inputs = [Bounded(q, off.astype(np.float64)), Bounded(w), Bounded(zero)]
    (mistake,) = mistakes(kind(), Seen(inputs, None))
    known, other = (mistake.operator.first(Bounded(a), *inputs[1:]).comparable for a in (q, moved))
    bounded = mistake.operator.first(*inputs)
    assert isinstance(bounded, Bounded)
    assert (bounded.value == known).all()
    assert (np.abs(other - known) <= bounded.bound).all()
    assert (other != known).any()
    with pytest.raises(Unjudged):
        mistake.operator.evaluate(*inputs, Bounded(np.array(1, np.int8)))  # a zero point of the weights


def test_pairs_that_saturate_are_named_where_all_is_recorded() -> None:
    """The integers are recorded, too: they are no inputs of the convolution."""
    one = CASES["Conv of what is read back, with a bias"]
    values = computed(one.proto, {"x": one.x})
    p = with_bias(convolution(pairs_in_16_bits, one.x)) * (np.float32(0.013) * BY_CHANNEL)
    first = judge(one.graph, values | {"p": p.astype(np.float32)}).tensors
    assert {one.tensor: [cause.name for cause in one.causes] for one in first if one.wrong} == {
        "p": [SATURATED],
        "i": [],  # that of another p
    }


@pytest.mark.slow
def test_pairs_that_saturate_in_three_layers_are_named_behind_the_last() -> None:
    right, _ = three_layers(exact)
    one, found = three_layers(pairs_in_16_bits)
    assert one.named(lambda x: found) == ["different", f"{SATURATED}, at 3 nodes"]
    _, found = three_layers(exact)
    assert right.named(lambda x: found) == ["equal"]


def three_layers(dot: Dot) -> tuple[Case, Array]:
    """Convolutions of what is read back, and what a port returns."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    scales = [np.float32(s) for s in (0.031, 0.043, 0.053, 0.061)]
    constants: dict[str, Array | float] = {f"s{k}": float(s) for k, s in enumerate(scales)}
    constants |= {"z": np.array(128, np.uint8), "v": 0.0063}
    nodes = [N("QuantizeLinear", ["x", "s0", "z"], ["q0"])]
    q = in_uint8(x / scales[0])
    for k in range(3):
        w = np.clip(np.rint(rng.standard_normal((8, q.shape[1], 3, 3)) * 40), -127, 127).astype(np.int8)
        constants[f"w{k}"] = w
        nodes += [
            N("DequantizeLinear", [f"q{k}", f"s{k}", "z"], [f"a{k}"]),
            N("DequantizeLinear", [f"w{k}", "v"], [f"b{k}"]),
            N("Conv", [f"a{k}", f"b{k}"], [f"c{k}"], pads=[1, 1, 1, 1]),
            N("QuantizeLinear", [f"c{k}", f"s{k + 1}", "z"], [f"q{k + 1}"]),
        ]
        factor = scales[k] * np.float32(0.0063) / scales[k + 1]
        q = in_uint8(same_size(dot, q, w).astype(np.float32) * factor)
    nodes.append(N("DequantizeLinear", ["q3", "s3", "z"], ["y"]))
    y = (q.astype(np.float32) - 128) * scales[3]
    return Case(nodes, constants, x, lambda x: y, {}), y


def in_uint8(x: Array) -> Array:
    return np.clip(np.rint(x) + 128, 0, 255)


def same_size(dot: Dot, q: Array, w: Array) -> Array:
    """A convolution of q − 128, which is padded with zeros."""
    padded = np.pad(q, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=128)
    y = np.zeros((len(q), len(w), *q.shape[2:]), int)
    for n, o, i, j in np.ndindex(y.shape):
        a, b = (
            one.transpose(1, 2, 0).ravel().astype(int) for one in (padded[n, :, i : i + 3, j : j + 3], w[o])
        )
        y[n, o, i, j] = dot(a, b) - 128 * b.sum()
    return y
