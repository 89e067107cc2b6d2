"""Products and results in half precision, by NumPy's own float16; and the fit of a number to values."""

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.arithmetic.floats import BFLOAT16, FLOAT16, FLOAT32, TF32
from parity.arithmetic.rounding_modes import CUT_BFLOAT16
from parity.judging.causes.mistake import Mistake
from parity.judging.causes.of_rounding import of_half_precision as half
from parity.judging.causes.search.read_off import fitted, shortest
from parity.operators.affine import Conv, Gemm
from parity.operators.elementwise import Identity
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn
from tests.parity.judging.causes.plain.several import Several
from tests.parity.judging.causes.plain.short import bits_kept
from tests.parity.judging.causes.small_graphs import N
from tests.parity.judging.causes.words import check_said

X, W = drawn(4, 6), drawn(6, 5, seed=1)
B = drawn(5, seed=2)


def short(a: Array) -> Array:
    return a.astype(np.float16).astype(np.float64)


def returned(mistake: Mistake, *inputs: Array | None) -> Array:
    result = mistake.operator.evaluate(*(None if a is None else Bounded(a) for a in inputs))
    assert isinstance(result, Bounded)
    return result.value


def test_products_of_short_operands_whose_result_is_short():
    one = half.in_products(Gemm(), FLOAT16)
    check_said(one, half.in_sums(Gemm(), FLOAT16, FLOAT16))
    assert one.name == "products in float16, added up in float32 (half precision, autocast)"
    assert one.read_off
    bias = short(B).astype(np.float32)  # in the format: rounding it makes no difference
    right = short(X) @ short(W) + bias
    np.testing.assert_array_equal(returned(one, X, W, bias), short(right))
    np.testing.assert_array_equal(returned(one, X, W, None), short(short(X) @ short(W)))


def test_a_product_that_is_rounded_before_its_bias_is_added():
    one = half.in_sums(Gemm(), FLOAT16, FLOAT16)
    assert (one.name, one.wider) == ("operands, product and result rounded to float16", False)
    right = short(short(short(X) @ short(W)) + short(B))
    np.testing.assert_array_equal(returned(one, X, W, B), right)
    scaled = half.in_sums(Gemm(beta=2.0), FLOAT16, FLOAT16)
    right = short(short(short(X) @ short(W)) + 2 * short(B))
    np.testing.assert_array_equal(returned(scaled, X, W, B), right)
    cut = half.in_sums(Gemm(), BFLOAT16, CUT_BFLOAT16)
    near, down = bits_kept(7), bits_kept(7, cut=True)
    product = near(X).astype(np.float64) @ near(W).astype(np.float64)
    expected = near((down(product).astype(np.float64) + near(B)).astype(np.float32))
    np.testing.assert_array_equal(returned(cut, X, W, B), expected)
    assert cut.wider
    assert half.ways(BFLOAT16) == (BFLOAT16, CUT_BFLOAT16)
    assert half.ways(FLOAT16) == (FLOAT16,)


def test_the_bias_of_a_convolution_lies_along_its_channels():
    x, w, b = drawn(2, 3, 4, 4), drawn(5, 3, 1, 1, seed=1), drawn(5, seed=2)
    one = half.in_sums(Conv(), FLOAT16, FLOAT16)
    sums = np.einsum("ncpq,oc->nopq", short(x), short(w)[..., 0, 0])
    right = short(short(sums) + short(b).reshape(5, 1, 1))
    np.testing.assert_array_equal(returned(one, x, w, b), right)


def test_results_in_a_shorter_format():
    names = {one.name: one for one in half.of_results(Gemm(), FLOAT16)}
    assert list(names) == [
        "result rounded to float16",
        "computed from float16 values, and rounded to float16",
        "computed in float16",
        "computed in float16, with an overflow on the way",
    ]
    check_said(*names.values())
    right = X.astype(np.float64) @ W + B
    np.testing.assert_array_equal(returned(names["result rounded to float16"], X, W, B), short(right))
    whole = short(short(X) @ short(W) + short(B))
    name = "computed from float16 values, and rounded to float16"
    np.testing.assert_array_equal(returned(names[name], X, W, B), whole)
    assert [one.wider for one in names.values()] == [False, True, True, True]
    assert names["result rounded to float16"].alike == "result with 10 bits of fraction: TF32 or float16"
    assert [one.name for one in half.of_results(Gemm(), BFLOAT16)] == [
        "result rounded to bfloat16",
        "computed from bfloat16 values, and rounded to bfloat16",
        "computed in bfloat16",
    ]
    assert half.rounded_result(Identity(), TF32).name == "result rounded to TF32"


def test_values_of_a_format_are_in_no_format_as_short_as_it():
    """Of float32, bfloat16 and float16 are shorter; of float16, bfloat16 is; of bfloat16, neither is."""
    one = Several([N("MatMul", ["x", "w"], ["y"])], {"w": W}, x=X)

    def named(found: Array) -> set[str]:
        every = [mistake.name for mistake in half.whole_stretch(one.stretch, found)]
        return {
            form for form in ("float16", "bfloat16", "TF32") if any(f"to {form}" in name for name in every)
        }

    found = BFLOAT16.round(X @ W)
    assert named(found.astype(np.float32)) == {"float16", "bfloat16", "TF32"}
    assert named(found.astype(np.float16)) == {"bfloat16"}
    assert named(found) == set()
    name = "products in bfloat16, added up in float32 (half precision, autocast)"
    shown, other = (
        {mistake.name: mistake for mistake in half.whole_stretch(one.stretch, values)}
        for values in (found.astype(np.float32), X @ W)
    )
    assert (shown[name].read_off, shown[name].wider) == (True, False)
    assert name not in other  # the last node is the product, and its values are none of bfloat16
    behind = Several([N("MatMul", ["x", "w"], ["m"]), N("Exp", ["m"], ["y"])], {"w": W}, x=X)
    (last,) = (each for each in half.whole_stretch(behind.stretch, np.exp(X @ W)) if each.name == name)
    assert (last.read_off, last.wider) == (False, True)
    behind.returns({}, np.exp(X.astype(np.float64) @ W))
    assert not list(half.whole_stretch(one.stretch, found))


def test_a_bias_that_is_added_in_float32():
    name = "the bias added in float32"
    product = short(short(X) @ short(W))
    found = (product + B).astype(np.float32)
    one = Layer("Gemm", X, W, B, found=found)
    listed = [each for each in one.mistakes if each.endswith(name)]
    assert listed == [
        f"product in float16, added up in float32, {name}",
        f"product rounded to float16, {name}",
        f"product added up in float16, {name}",
    ]
    one.returns(listed[0], product + B)
    one.returns(listed[1], short(X.astype(np.float64) @ W) + B)
    for other in ((X.astype(np.float64) @ W + B), short(found)):
        found = other.astype(np.float32)
        assert not [each for each in Layer("Gemm", X, W, B, found=found).mistakes if each.endswith(name)]
    assert not [each for each in Layer("Gemm", X, W, found=found).mistakes if each.endswith(name)]


def test_a_bias_shows_in_most_of_the_values():
    """In half of them is too few: where the product is zero, nothing is seen. Nor is anything of no bias."""
    bias = np.full(4, 0.1, np.float32)
    for zeros, shows in ((0, True), (1, True), (2, False), (3, False)):
        product = short(drawn(1, 4, seed=20)[0] + 2) * (np.arange(4) >= zeros)
        found = (product + bias).astype(np.float32)
        assert half._is_sum(found, bias, FLOAT16, FLOAT32) == shows
    product = short(drawn(1, 4, seed=20)[0] + 2)
    assert not half._is_sum(product.astype(np.float32), 0 * bias, FLOAT16, FLOAT32)
    off = (product * [1, 1, 1, 1 + 2.0**-14] + bias).astype(np.float32)
    assert not half._is_sum(off, bias, FLOAT16, FLOAT32)


# --- the fit of a number -----------------------------------------------------------------------

T = np.linspace(0.5, 3, 40)


@pytest.mark.parametrize("number", [0.3, 1.7, -0.6])
def test_a_number_is_fitted(number):
    found = fitted(lambda t: np.exp(t * T), np.exp(number * T), 1.0)
    assert found is not None
    assert found[0] == pytest.approx(number, rel=1e-9)
    assert found[1] < 1e-8
    rough = np.exp(number * T) * (1 + 1e-4 * np.random.default_rng(0).standard_normal(40))
    found = fitted(lambda t: np.exp(t * T), rough, 1.0)
    assert found is not None
    assert abs(found[0] - number) < 4 * found[1] < 1e-3


def test_values_that_are_not_finite_count_for_nothing():
    seen = np.exp(0.5 * T)
    seen[[3, 9]] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        found = fitted(lambda t: np.exp(t * T), seen, 1.0)
    assert found is not None
    assert found[0] == pytest.approx(0.5, rel=1e-9)
    seen[7:] = np.nan  # six are left
    assert fitted(lambda t: np.exp(t * T), seen, 1.0) is None


def test_what_no_number_explains_is_not_fitted():
    assert fitted(lambda t: np.exp(t * T), np.cos(9 * T), 1.0) is None
    assert fitted(lambda t: 0 * T + 3, np.exp(T), 1.0) is None  # the number makes no difference


@pytest.mark.parametrize(
    ("number", "apart", "short"),
    [(0.30001, 1e-3, 0.3), (0.30001, 1e-6, 0.30001), (0.1234567, 1e-4, 0.1235), (1234.4, 50, 1200)],
)
def test_a_number_is_rounded_as_far_as_it_is_open(number, apart, short):
    assert shortest(number, apart) == short
