"""Operands and weights in shorter formats, by their bits; and orders that a candidate's values show."""

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32
from parity.arithmetic.rounding_modes import CUT_BFLOAT16
from parity.judging.causes.of_rounding import of_storage
from parity.judging.causes.of_rounding.shortened import are_in, monotone, name_of, or_tf32, rounded_to
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn
from tests.parity.judging.causes.plain.short import Round, bits_kept
from tests.parity.judging.causes.small_graphs import N, graph_of
from tests.parity.operators.one_node import check_inside

X, W, B = drawn(4, 6), drawn(6, 5, seed=1), drawn(5, seed=2)


SHORT: dict[str, Round] = {
    "rounded to TF32": bits_kept(10),
    "rounded to bfloat16": bits_kept(7),
    "rounded to float16": lambda a: a.astype(np.float16).astype(np.float32),
    "cut off to TF32": bits_kept(10, cut=True),
    "cut off to bfloat16": bits_kept(7, cut=True),
}


def product(x: Array, w: Array) -> Array:
    return x.astype(np.float64) @ w.astype(np.float64)


@pytest.mark.parametrize("words", SHORT)
def test_products_of_shorter_operands(words):
    short = SHORT[words]
    one = Layer("Gemm", X, W, B)
    one.returns(f"operands {words}", product(short(X), short(W)) + B)
    one.returns(f"input {words}", product(short(X), W) + B)
    one.returns(f"weights {words}", product(X, short(W)) + B)
    usual = words in ("rounded to float16", "rounded to bfloat16")
    parameters = f"parameters {words.replace('rounded to', 'stored in') if usual else words}"
    one.returns(parameters, product(X, short(W)) + short(B))
    assert parameters not in Layer("Gemm", X, W).mistakes


def test_formats_that_are_equally_long_are_said_as_one():
    one = Layer("MatMul", X, W)
    for name in ("operands rounded to TF32", "operands rounded to float16"):
        assert one.mistakes[name].alike == "operands with 10 bits of fraction: TF32 or float16"
    assert one.mistakes["input rounded to float16"].alike == "input with 10 bits of fraction: TF32 or float16"
    assert one.mistakes["operands rounded to bfloat16"].alike == ""
    assert one.mistakes["weights rounded to TF32"].wider
    assert not one.mistakes["weights rounded to float16"].wider


def test_ties_are_rounded_away_from_zero_where_there_are_any():
    name = "operands rounded to TF32, ties away from zero"
    assert name not in Layer("MatMul", X, W).mistakes
    ties = np.array([[1 + 2.0**-11, 1 + 3 * 2.0**-11]], np.float32)  # between two numbers of TF32
    away = np.array([[1 + 2.0**-10, 1 + 2 * 2.0**-10]])
    weights = np.array([[1.0], [2.0]], np.float32)
    Layer("MatMul", ties, weights).returns(name, away @ weights)


# --- 8-bit integers ----------------------------------------------------------------------------


def symmetric(w: Array, axes: tuple[int, ...], steps: float) -> Array:
    scale = np.abs(w).max(axes, keepdims=True) / np.float32(steps)
    return np.clip(np.round(w / scale), -128, 127) * scale


def with_zero_point(w: Array, axes: tuple[int, ...]) -> Array:
    low, high = np.minimum(w.min(axes, keepdims=True), 0), np.maximum(w.max(axes, keepdims=True), 0)
    scale = (high - low) / np.float32(255)
    zero = np.round(-low / scale)
    return (np.clip(np.round(w / scale) + zero, 0, 255) - zero) * scale


EIGHT = "weights rounded to 8-bit integers (int8)"


@pytest.mark.parametrize(("words", "axes"), [("one scale", (0, 1)), ("a scale per output channel", (0,))])
def test_weights_of_eight_bits(words, axes):
    one = Layer("MatMul", X, W)
    for steps in (127, 127.5, 128):
        name = f"{EIGHT}: {words}, symmetric, {steps:g} steps"
        one.returns(name, product(X, symmetric(W, axes, steps)))
    one.returns(f"{EIGHT}: {words}, with a zero point", product(X, with_zero_point(W, axes)))


@pytest.mark.parametrize(("kind", "channels"), [("Conv", 0), ("ConvTranspose", 1)])
def test_the_channels_of_a_kernel_have_their_own_scales(kind, channels):
    w = drawn(3, 2, 1, 1, seed=3) if kind == "Conv" else drawn(2, 3, 1, 1, seed=3)
    x = drawn(1, 2, 4, 4)
    short = symmetric(w, tuple(k for k in range(4) if k != channels), 127)[..., 0, 0].astype(np.float64)
    sums = np.einsum("ncpq,oc->nopq" if kind == "Conv" else "ncpq,co->nopq", x.astype(np.float64), short)
    Layer(kind, x, w).returns(f"{EIGHT}: a scale per output channel, symmetric, 127 steps", sums)


def test_a_zero_point_that_is_rounded_up_leaves_one_step_less():
    """With a scale of 1, -101.5 becomes -102 and the zero point 102, and 153.5 would need the step 256."""
    w = np.array([[-101.5], [153.5]], np.float32)
    one = Layer("MatMul", np.eye(2, dtype=np.float32), w)
    one.returns(f"{EIGHT}: one scale, with a zero point", np.array([[-102], [153]]))


def test_weights_of_zeros_have_a_scale_of_one():
    w = np.zeros((6, 5), np.float32)
    one = Layer("MatMul", X, w)
    for how in ("symmetric, 127 steps", "with a zero point"):
        one.returns(f"{EIGHT}: one scale, {how}", np.zeros((4, 5)))


# --- words and bounds --------------------------------------------------------------------------


def test_formats_in_words():
    assert [rounded_to(form) for form in (TF32, BFLOAT16, FLOAT16, CUT_BFLOAT16)] == [
        *("rounded to TF32", "rounded to bfloat16", "rounded to float16", "cut off to bfloat16")
    ]
    assert [name_of(form) for form in (TF32, CUT_BFLOAT16)] == ["TF32", "bfloat16, cut off"]
    assert or_tf32(FLOAT16) == " (or through TF32, of as many digits, where none is below 6.1e-5)"
    assert or_tf32(BFLOAT16) == ""


def test_a_rounding_of_what_is_known_to_within_a_bound_may_be_that_of_either_end():
    rounded = monotone(np.rint)
    exact = rounded(Bounded(np.array([1.25, 2.75])))
    assert isinstance(exact, Bounded)
    assert (exact.value.tolist(), exact.error) == ([1, 3], None)
    near = rounded(Bounded(np.array([1.25, 1.25, -2.75]), np.array([0.1, 0.3, 1.5])))
    assert isinstance(near, Bounded)
    assert near.value.tolist() == [1, 1, -3]
    assert near.bound.tolist() == [0, 1, 2]
    whole = rounded(Bounded(np.array([1, 2])))
    assert isinstance(whole, Bounded)
    assert whole.value.dtype.kind == "i"


def test_whether_all_values_are_numbers_of_a_format():
    assert are_in(np.array([1.5, np.nan, np.inf]), FLOAT16)
    assert not are_in(np.array([1.5, 1 + 2.0**-12]), FLOAT16)
    assert not are_in(np.array([1e6]), FLOAT16)


def test_parameters_that_went_through_a_shorter_format():
    short = SHORT["rounded to float16"]
    constants = {"w": W, "b": B, "s": np.full(5, 0.1, np.float32), "two": np.array([2], np.float32)}
    nodes = [N("Gemm", ["x", "w", "b"], ["g"]), N("Mul", ["g", "s"], ["m"]), N("Mul", ["m", "two"], ["y"])]
    graph = graph_of(nodes, constants, "x")
    found = list(of_storage.stored(graph, graph.nodes))
    said = [({place: one.name for place, one in some.items()}) for some in found]
    every = {0: "parameters stored in float16", 1: "parameters stored in float16"}
    assert said[0] == every
    assert said[1] == {1: "parameters stored in float16"}
    assert [sorted(some) for some in said] == [[0, 1], [1]] * 2
    inputs = [Bounded(a) for a in (X, W, B)]
    result = found[0][0].operator.evaluate(*inputs)
    assert isinstance(result, Bounded)
    check_inside(result, product(X, short(W)) + short(B))
    again = graph_of(nodes, {name: short(a) for name, a in constants.items()}, "x")
    for some in of_storage.stored(again, again.nodes):  # in float16 they are what they were
        assert {one.name for one in some.values()} == {"parameters stored in bfloat16"}


# --- orders that the values show ---------------------------------------------------------------

ORDER = np.array([3, 0, 5, 1, 4, 2])
WORDS = "in another order: 3, 0, 5, 1, 4, 2"


def conv(x: Array, w: Array) -> Array:
    seen = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), w.shape[2:], (2, 3))
    return np.einsum("ncpqij,ocij->nopq", seen, w)


@pytest.mark.parametrize("bias", [None, drawn(3, seed=5), drawn(3, seed=5, scale=100)])
def test_the_order_of_input_channels_is_read_off(bias):
    x, w = drawn(2, 6, 9, 9, seed=3), drawn(3, 6, 3, 3, seed=4)
    given = [] if bias is None else [bias]
    added = 0 if bias is None else bias.reshape(-1, 1, 1)
    found = conv(x[:, ORDER], w) + added
    one = Layer("Conv", x, w, *given, found=found.astype(np.float32))
    one.returns(f"input channels {WORDS}", found)
    right = Layer("Conv", x, w, *given, found=(conv(x, w) + added).astype(np.float32))
    assert not [name for name in right.mistakes if name.startswith("input channels in another order")]
    other = Layer("Conv", x, w, *given, found=np.ones_like(found, np.float32))
    assert not [name for name in other.mistakes if name.startswith("input channels in another order")]


def test_the_order_of_a_bias_is_read_off():
    x, w, b = drawn(2, 4, 6, 6), drawn(6, 4, 3, 3, seed=1), drawn(6, seed=2)
    found = conv(x, w) + b[ORDER].reshape(-1, 1, 1)
    one = Layer("Conv", x, w, b, found=found.astype(np.float32))
    one.returns(f"bias {WORDS}", found)
    assert one.mistakes[f"bias {WORDS}"].wider


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ((0, 1, 2, 3), "scale, shift, running mean and running variance"),
        ((2, 3), "running mean and running variance"),
        ((0, 1), "scale and shift"),
        ((2,), "running mean"),
        ((1,), "shift"),
    ],
)
def test_the_order_of_a_normalizations_parameters_is_read_off(places, words):
    x = drawn(8, 6, 5, 5, seed=6)
    right = [drawn(6, seed=n) for n in (7, 8, 9)] + [np.linspace(0.5, 2, 6, dtype=np.float32)]
    right[0] = np.linspace(1, 2, 6, dtype=np.float32)[[4, 2, 0, 5, 1, 3]]
    taken = [a[ORDER] if k in places else a for k, a in enumerate(right)]
    scale, shift, mean, variance = (a.reshape(-1, 1, 1).astype(np.float64) for a in taken)
    found = (x - mean) / np.sqrt(variance + 1e-5) * scale + shift
    one = Layer("BatchNormalization", x, *right, found=found.astype(np.float32))
    one.returns(f"{words} {WORDS}", found)


@pytest.mark.parametrize("shape", [(8, 2, 5, 5), (40, 6), (8, 6, 1), (8, 1, 5)])
def test_two_channels_have_an_order_and_one_has_none(shape):
    count = shape[1]
    right = [drawn(count, seed=n) for n in (7, 8, 9)] + [np.linspace(0.5, 2, count, dtype=np.float32)]
    x = drawn(*shape, seed=6)
    order = np.roll(np.arange(count), 1)
    along = (-1, *(1,) * (len(shape) - 2))
    scale, shift, mean, variance = (a[order].reshape(along).astype(np.float64) for a in right)
    found = (x - mean) / np.sqrt(variance + 1e-5) * scale + shift
    one = Layer("BatchNormalization", x, *right, found=found.astype(np.float32))
    orders = [name for name in one.mistakes if name.startswith("scale, shift, running mean and running")]
    assert len(orders) == (count > 1)
    for name in orders:
        one.returns(name, found)


def test_parameters_that_a_format_changes():
    """Not integers, nor numbers of it, nor those that are too large for it."""
    numbers = drawn(3, 4)
    assert of_storage._is_changed(numbers, FLOAT16)
    assert of_storage._is_changed(numbers.astype(np.float16), BFLOAT16)
    assert not of_storage._is_changed(numbers.astype(np.float16), FLOAT16)
    assert not of_storage._is_changed(np.arange(3000), FLOAT16)
    assert not of_storage._is_changed(FLOAT16.round(numbers).astype(np.float32), FLOAT16)
    assert not of_storage._is_changed(1e6 * numbers, FLOAT16)
