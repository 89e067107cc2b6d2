"""Numbers that an operator applies, and sums that are computed otherwise, each as plain NumPy has them."""

from fractions import Fraction

import numpy as np
import pytest

from parity.arithmetic import Bounded, Looped
from parity.arithmetic.floats import BFLOAT16, FLOAT16
from parity.judging.causes.decomposed.of_scalars import Scalar, scalars
from parity.judging.causes.mistake import Mistake, in_one, pattern
from parity.judging.causes.of_rounding.in_format import InFormat, Summed
from parity.judging.causes.of_rounding.of_winograd import Winograd, agree, matrices
from parity.operators.affine import Conv
from parity.operators.elementwise import Identity
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn
from tests.parity.operators.one_node import check_inside

X = 2 * drawn(4, 6)
WIDE = X.astype(np.float64)


def numbers(layer: Layer) -> list[Scalar]:
    return list(scalars(layer.node.operator, layer.inputs))


def returned(layer: Layer, scalar: Scalar, number: float) -> Bounded:
    result = scalar.operator(number).evaluate(*layer.inputs)
    result = result[0] if isinstance(result, tuple) else result
    assert isinstance(result, Bounded)
    return result


# --- numbers that are read off -----------------------------------------------------------------


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


CASES = {
    "Elu": ("alpha", 1.0, lambda a: np.where(WIDE > 0, WIDE, a * np.expm1(np.minimum(WIDE, 0)))),
    "LeakyRelu": ("slope", 0.01, lambda a: np.where(WIDE > 0, WIDE, a * WIDE)),
    "Relu": ("leaky", 0.0, lambda a: np.where(WIDE > 0, WIDE, a * WIDE)),
    "Softplus": ("softplus", 1.0, lambda b: np.log1p(np.exp(b * WIDE)) / b),
    "Softmax": ("temperature", 1.0, lambda t: softmax(WIDE / t)),
    "LogSoftmax": ("temperature", 1.0, lambda t: np.log(softmax(WIDE / t))),
}
SAID = {
    "Elu": "alpha 0.75 for 1",
    "LeakyRelu": "slope alpha 0.75 for 0.01",
    "Relu": "leaky ReLU (0.75) for ReLU",
    "Softplus": "softplus with beta 0.75",
    "Softmax": "temperature 0.75: Softmax of its input times 1.33333",
    "LogSoftmax": "temperature 0.75: LogSoftmax of its input times 1.33333",
}


@pytest.mark.parametrize("kind", CASES)
def test_a_number_of_a_function(kind):
    _, right, function = CASES[kind]
    layer = Layer(kind, X)
    (one,) = numbers(layer)
    assert one.right == pytest.approx(right)
    assert one.named(0.75) == SAID[kind]
    assert one.positive == (kind not in ("LeakyRelu", "Relu"))
    assert one.explanation.endswith(".")
    check_inside(returned(layer, one, 0.75), function(0.75))


def test_bases_have_names_of_their_own():
    (one,) = numbers(Layer("Softmax", X))
    assert one.named(1 / np.log(2)) == "Softmax to the base 2, not e"
    assert one.named(1 / np.log(10)) == "Softmax to the base 10, not e"


def test_an_epsilon_is_a_number_of_a_normalization():
    scale, shift = drawn(6, seed=1), drawn(6, seed=2)
    layer = Layer("LayerNormalization", X, scale, shift, epsilon=0.25)
    (one,) = numbers(layer)
    assert (one.right, one.named(0.5), one.starts) == (0.25, "epsilon 0.5 for 0.25", (1e-5, 1e-3, 1e-7))
    centered = WIDE - WIDE.mean(-1, keepdims=True)
    expected = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 0.5) * scale + shift
    check_inside(returned(layer, one, 0.5), expected)


HALF = np.array([0.5], np.float32)


@pytest.mark.parametrize(
    ("kind", "inputs", "name", "expected"),
    [
        ("Mul", (X, HALF), "factor 0.75 for 0.5", WIDE * 0.75),
        ("Mul", (HALF, X), "factor 0.75 for 0.5", WIDE * 0.75),
        ("Div", (X, HALF), "divisor 0.75 for 0.5", WIDE / 0.75),
        ("Add", (X, HALF / 1024), "epsilon 0.75 for 0.000488281", WIDE + 0.75),
    ],
)
def test_a_constant_that_is_applied(kind, inputs, name, expected):
    layer = Layer(kind, *inputs)
    (one,) = numbers(layer)
    assert one.named(0.75) == name
    assert one.starts == (one.right,)
    check_inside(returned(layer, one, 0.75), expected)


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("Add", (X, HALF)),  # large: no ε
        ("Add", (X, -HALF / 1024)),
        ("Mul", (X, 0 * HALF)),
        ("Mul", (X, HALF * np.inf)),
        ("Mul", (X, drawn(6))),
        ("Div", (HALF, X)),
        ("Sub", (X, HALF)),
        ("Mul", (np.array([3]), np.array([4, 5]))),
    ],
)
def test_other_constants_are_no_such_numbers(kind, inputs):
    assert numbers(Layer(kind, *inputs)) == []


def test_what_was_computed_is_no_constant():
    layer = Layer("Mul", X, HALF)
    layer.inputs[1] = Bounded(HALF, np.array([1e-9]))
    assert numbers(layer) == []


# --- names of several mistakes -----------------------------------------------------------------


def mistake(name: str, value: float | str | None = None, alike: str = "") -> Mistake:
    return Mistake(name, "", "", Identity(), value=value, alike=alike)


def test_mistakes_of_one_pattern_are_said_as_one():
    several = [mistake(f"epsilon {n:g} for 1", n) for n in (0.5, 0.125, 0.25)]
    assert {pattern(one) for one in several} == {"epsilon {} for 1"}
    assert in_one(several).name == "epsilon between 0.125 and 0.5 for 1"
    words = [mistake(f"mode {word} for that", word) for word in ("a", "b", "a")]
    assert in_one(words).name == "mode a or b for that"
    alike = [mistake("one", alike="either"), mistake("other", alike="either")]
    assert (pattern(alike[0]), in_one(alike).name) == ("either", "either")
    assert in_one([mistake("same"), mistake("same")]).name == "same"


# --- Winograd's algorithm ----------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 4, 6])
def test_the_transforms_give_the_convolution_exactly(m):
    """Y = Aᵀ [(G g) ⊙ (Bᵀ d)] in one dimension, in fractions."""
    a, g, b = ([[Fraction(v).limit_denominator(10**6) for v in row] for row in one] for one in matrices(m))
    kernel, tile = [Fraction(n) for n in (2, -3, 5)], [Fraction(n * n - 7) for n in range(m + 2)]

    def times(matrix: list[list[Fraction]], vector: list[Fraction]) -> list[Fraction]:
        return [sum((x * y for x, y in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]

    products = [x * y for x, y in zip(times(g, kernel), times(b, tile), strict=True)]
    right = [sum(kernel[j] * tile[i + j] for j in range(3)) for i in range(m)]
    assert times(a, products) == right


@pytest.mark.parametrize("m", [2, 4])
def test_tiles_that_stick_out_give_the_convolution_too(m):
    x, w, b = drawn(2, 3, 7, 6), drawn(4, 3, 3, 3, seed=1), drawn(4, seed=2)
    conv = Conv(pads=(1, 1, 1, 1))
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    right = np.einsum("ncpqij,ocij->nopq", seen, w)
    found = Winograd(conv, m).evaluate(Bounded(x), Bounded(w))
    assert isinstance(found, Bounded)
    check_inside(found, right)
    biased = Winograd(conv, m).evaluate(Bounded(x), Bounded(w), Bounded(b))
    assert isinstance(biased, Bounded)
    check_inside(biased, right + b.reshape(-1, 1, 1))


def test_errors_agree_if_they_have_a_correlation():
    one, other = (np.random.default_rng(seed).standard_normal(10_000) for seed in range(2))
    assert agree(one, 3 * one)
    assert not agree(one, -one)
    assert not agree(one, other)
    assert agree(one, one + 10 * other)  # 0.1, where independent ones have 0.01
    assert not agree(one, one + 10 * other, least=0.2)
    assert not agree(one, 0 * one)
    assert not agree(0 * one, one)
    assert not agree(np.append(one[:-1], np.nan), one)


# --- shorter formats ---------------------------------------------------------------------------


def test_each_result_is_rounded_to_the_format_and_sums_are_longer():
    """In float16, 2048 + 1 is 2048; sums in a longer format keep the ones."""
    row, ones = Summed(np.array([[2048.0, 1, 1, 1]]), FLOAT16), Summed(np.ones((4, 1)), FLOAT16)
    assert row.dot(ones).value.tolist() == [[2052]]  # 2051, rounded
    assert row.dot(ones, Summed(np.array([3.0]), FLOAT16)).value.tolist() == [[2054]]
    assert row.sum((1,)).value.tolist() == [[2052]]
    assert row.mean((1,)).value.tolist() == [[513]]  # 512.75
    for found in (row.dot(ones), row.sum((1,)), row.mean((1,))):
        assert isinstance(found, Summed)
        assert found.format is FLOAT16
    large = Summed(np.array([[60000.0, 60000.0]]), FLOAT16)
    assert np.isinf(large.sum((1,)).value).all()


def test_integers_stay_as_they_are():
    some = Summed(np.array([[70000, 3]]), FLOAT16)
    ones = Summed(np.array([[1], [1]]), FLOAT16)
    for found in (some.dot(ones), some.sum((1,))):
        assert found.value.tolist() == [[70003]]
        assert isinstance(found, Summed)
        assert found.format is FLOAT16


def test_integers_go_with_floats_of_the_shorter_format():
    for whole in (Bounded(np.array([1, 2])), Looped(np.array([1, 2]))):
        short = InFormat(Identity(), FLOAT16)._rounded(whole)
        assert short.format is FLOAT16  # type: ignore[attr-defined]
        assert short.comparable.tolist() == [1, 2]


@pytest.mark.parametrize("form", [FLOAT16, BFLOAT16], ids=lambda form: form.name)
def test_an_operator_in_a_shorter_format(form):
    x = np.array([1.0 + 2.0**-12, 3.0, 2.0**-3 + 2.0**-14], np.float32)
    found = InFormat(Identity(), form).evaluate(Looped(x))
    assert isinstance(found, Looped)
    assert found.value.tolist() == form.round(x).tolist()
    assert found.value.dtype == np.float32
