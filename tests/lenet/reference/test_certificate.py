"""The certificate against brute force: where it holds, no order rounds; just beyond it, some order does."""

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenet.network.architecture import LAYERS, PARAM_SHAPES, dense
from lenet.network.recipe import Recipe, initial_params
from lenet.reference import exact
from lenet.reference.backward import walk_back
from lenet.reference.certificate import (
    BatchCertificate,
    RangeCertificate,
    certify,
    certify_backward,
    certify_layer,
    certify_range,
    certify_step,
)
from lenet.reference.sgd_step import update
from lenet_numpy import layers
from parity.arithmetic import Integers, TooWide, integers
from parity.errors import UserError
from parity.operators.affine import Conv
from tests.helpers import one_line
from tests.lenet.reference.grids import DOUBLE, SINGLE, evaluate, nearest, pixels16, ternary_params

FORMS = {"float32": SINGLE, "float64": DOUBLE}
LEVELS = np.arange(16, dtype=np.float32) / 16


def one_sum(w, x, b, dtype="float32", w_exponent=0, x_exponent=0):
    """The certificate of y = Σ w·x + b for one unit and one digit, of integers on the given grids."""
    weights, bias = Integers(np.array(w)[None], w_exponent), Integers(np.array([b]), w_exponent + x_exponent)
    return certify_layer(dense("y", len(w), 1), weights, bias, Integers(np.array(x)[None], x_exponent), dtype)


def fractions(w, x, w_exponent=0, x_exponent=0):
    return [
        (Fraction(i) * Fraction(2) ** w_exponent, Fraction(j) * Fraction(2) ** x_exponent)
        for i, j in zip(w, x, strict=True)
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_emulated_rounding_is_that_of_the_hardware(value):
    with np.errstate(over="ignore"):
        single = np.float32(value)
    if np.isfinite(single):
        assert nearest(Fraction(value)) == Fraction(float(single))
    assert nearest(Fraction(value), DOUBLE) == Fraction(value)


@st.composite
def sums(draw, width):
    """Integers w, x and b, their grids' exponents, and a bound of about 2^width on Σ|w||x| + |b|."""
    n = draw(st.integers(1, 8))
    half = width // 2 - 1
    integers = st.lists(st.integers(-(2**half), 2**half), min_size=n, max_size=n)
    exponents = st.integers(-90, 30)
    return (
        draw(integers),
        draw(integers),
        draw(st.integers(-(2**width), 2**width)),
        draw(exponents),
        draw(exponents),
    )


@pytest.mark.parametrize("dtype", FORMS)
@settings(max_examples=1000)
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_where_it_holds_no_order_of_summation_rounds(dtype, data, rng):
    form = FORMS[dtype]
    w, x, b, w_exponent, x_exponent = data.draw(sums(form[0]))
    found = one_sum(w, x, b, dtype, w_exponent, x_exponent)
    assert found.bound == sum(abs(i * j) for i, j in zip(w, x, strict=True)) + abs(b)
    if not found.holds:
        return
    terms, bias = fractions(w, x, w_exponent, x_exponent), Fraction(b) * Fraction(2) ** found.exponent
    value, roundings = evaluate(terms, bias, rng, form)
    assert roundings == 0
    assert value == sum((i * j for i, j in terms), bias)


@settings(max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, 2**10), st.integers(0, 2**10)), min_size=1, max_size=8),
    st.integers(0, 2**20),
    st.randoms(use_true_random=False),
)
def test_just_beyond_it_an_odd_sum_of_one_sign_rounds_in_every_order(pairs, beyond, rng):
    w, x = zip(*pairs, strict=True)
    bias = 2**24 + 2 * beyond + 1 - sum(i * j for i, j in pairs)
    found = one_sum(w, x, bias)
    assert not found.holds
    assert found.bound == 2**24 + 2 * beyond + 1
    assert str(found.problem).startswith("y [0, 0]: 24.")
    assert evaluate(fractions(w, x), Fraction(bias), rng)[1] > 0


def test_just_beyond_it_a_small_sum_of_both_signs_depends_on_the_order():
    assert not one_sum([1, 1, -1], [2**24, 1, 2**24], 0).holds
    big, one = np.float32(2**24), np.float32(1)
    assert (big + one) - big == 0
    assert (big - big) + one == 1
    results = {
        evaluate(fractions([1, 1, -1], [2**24, 1, 2**24]), Fraction(0), random.Random(i))[0]
        for i in range(50)
    }
    assert results == {0, 1}


def test_the_limit_itself_is_the_first_that_is_refused():
    assert one_sum([1], [2**24 - 1], 0).holds
    assert not one_sum([1], [2**24], 0).holds
    assert one_sum([1], [2**53 - 1], 0, "float64").holds
    assert not one_sum([1], [2**53], 0, "float64").holds


@pytest.mark.parametrize(
    ("w_exponent", "x_exponent"), [(-100, -50), (-100, -27), (-127, 20), (20, -127), (70, 40)]
)
def test_what_leaves_the_range_of_normal_numbers_is_refused(w_exponent, x_exponent):
    found = one_sum([1], [1], 0, w_exponent=w_exponent, x_exponent=x_exponent)
    assert found.bound == 1
    assert not found.holds
    assert "normal numbers" in str(found.problem)


def test_a_product_below_the_subnormals_rounds():
    assert evaluate(fractions([1], [1], -100, -50), Fraction(0), random.Random(0))[1] > 0
    assert np.float32(2.0**-100) * np.float32(2.0**-50) == 0


@given(
    st.lists(st.tuples(st.integers(-(2**52), 2**52), st.integers(-(2**52), 2**52)), min_size=1, max_size=6),
    st.integers(-(2**62), 2**62),
)
def test_int64_never_overflows_unseen(pairs, bias):
    w, x = zip(*pairs, strict=True)
    true = sum(abs(i * j) for i, j in pairs) + abs(bias)
    try:
        bound = one_sum(w, x, bias).bound
    except TooWide as refused:
        bound = refused.bound
    assert bound == true or bound >= max(true, 1 << 63)


def test_the_last_sum_that_fits_int64_and_the_first_that_does_not():
    assert one_sum([2**31], [2**31], 2**62 - 1).bound == 2**63 - 1
    with pytest.raises(TooWide) as refused:
        one_sum([2**31], [2**31], 2**62)
    assert (refused.value.name, refused.value.bound) == ("y", 2**63)
    one_line(refused)


def test_products_that_would_cancel_are_refused_before_they_overflow():
    w, x = Integers(np.array([[2**40, -(2**40)]]), 0), Integers(np.array([[2**30, 2**30]]), 0)
    with pytest.raises(TooWide):
        x.dot(w.transpose(1, 0), integers(np.zeros(1)))


# --- floats as integers ------------------------------------------------------------------------


@given(st.lists(st.floats(-(2.0**30), 2.0**30, width=32), min_size=1, max_size=6))
def test_dyadic_takes_every_float_as_it_is_on_the_coarsest_grid(values):
    try:
        found = integers(np.array(values))
    except TooWide:
        magnitudes = [abs(Fraction(v)) for v in values if v]
        smallest = min(Fraction(1, m.denominator) for m in magnitudes)
        assert max(magnitudes) / smallest >= 2**62
        return
    grid = Fraction(2) ** found.exponent
    assert [int(u) * grid for u in found.units] == [Fraction(v) for v in values]
    assert any(u % 2 for u in found.units) or not any(values)


@given(st.lists(st.integers(-(2**25), 2**25), min_size=1, max_size=6), st.integers(-140, 120))
def test_to_float_is_exact_or_refused(units, exponent):
    try:
        floats = Integers(np.array(units), exponent).to_float()
    except UserError:
        peak = max(map(abs, units))
        wide = any(nearest(Fraction(u)) != u for u in units)
        assert wide or exponent < -126 or peak * Fraction(2) ** exponent >= Fraction(2) ** 127
        return
    assert floats.dtype == np.float32
    assert exponent >= -126
    assert [Fraction(float(f)) for f in floats] == [u * Fraction(2) ** exponent for u in units]


def test_floats_too_far_apart_for_int64_are_refused():
    assert list(integers(np.array([1.0, 2.0**-61])).units) == [2**61, 1]
    with pytest.raises(TooWide, match="pixels: needs 64 bits"):
        integers(np.array([1.0, 2.0**-62]), "pixels")


def test_zeros_lie_on_any_grid():
    three = Integers(np.array([3]), -2)
    total = Integers(np.array([0]), -50) + three
    assert (total.units, total.exponent) == (three.units, three.exponent)
    assert (three + Integers(np.array([0]), 7)).exponent == -2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_lies_on_no_grid(value):
    with pytest.raises(UserError, match="logits: a NaN or an infinity") as refused:
        integers(np.array([1.0, value]), "logits")
    one_line(refused)


# --- the network -------------------------------------------------------------------------------


def layer_terms(layer, params, x, where):
    """The products of the output `where` (digit, unit...) of an affine layer, and its bias, as float32."""
    digit, unit, *position = where
    w = params[f"{layer.name}.weight"][unit]
    seen = x[digit]
    if position:
        p, k = layer.padding, layer.kernel
        row, column = position
        seen = np.pad(seen, ((0, 0), (p, p), (p, p)))[:, row : row + k, column : column + k]
    return np.append((w * seen).ravel(), params[f"{layer.name}.bias"][unit])


@pytest.mark.parametrize("seed", range(3))
def test_no_order_moves_the_largest_sum_of_any_layer(seed):
    params, images = ternary_params(seed), pixels16(20, seed)
    found = certify(params, images)
    assert found.holds
    rng = np.random.default_rng(seed)
    largest = {entry.name: entry for entry in found.sums}
    for layer, x, y in exact.walk(params, integers(images)):
        if not layer.affine:
            continue
        entry = largest[layer.name]
        terms = layer_terms(layer, params, x.to_float(), entry.where)
        assert np.abs(terms, dtype=np.float64).sum() == entry.bound * 2.0**entry.exponent
        total = y.to_float()[entry.where]
        for _ in range(1000):
            assert np.add.accumulate(rng.permutation(terms))[-1] == total  # one by one, in float32


def test_the_first_layer_and_unit_that_break_it_are_named():
    params, images = ternary_params(0), pixels16(3, 0)
    params["fc1.weight"][17, 5] += 2.0**-20  # a finer grid for all of fc1, and what follows
    params["fc1.weight"][30] = 1.0  # and the largest sum of it
    found = certify(params, images)
    assert not found.holds
    assert found.broken is not None
    assert found.broken.name == "fc1"
    assert found.broken.where[1] == 30
    assert [entry.holds for entry in found.sums] == [True, True, False, False, False]
    assert one_line_problem(found).startswith(f"fc1 [{found.broken.where[0]}, 30]: ")
    assert certify(params, images, "float64").holds


def one_line_problem(found):
    assert found.broken is not None
    text = str(found.broken.problem)
    assert len(text.splitlines()) == 1
    return text


def test_chunks_do_not_change_it(monkeypatch):
    params, images = ternary_params(1), pixels16(7, 1)
    whole = certify(params, images)
    seen: list[int] = []
    monkeypatch.setattr("lenet.reference.certificate.CHUNK", 3)
    assert certify(params, images, progress=seen.append) == whole
    assert seen == [3, 3, 1]


def test_a_batch_and_a_range_are_told_apart():
    params, images = ternary_params(2), pixels16(4, 2)
    batch, everything = certify(params, images), certify_range(params, LEVELS)
    assert isinstance(batch, BatchCertificate)
    assert batch.digits == 4
    assert isinstance(everything, RangeCertificate)
    assert (everything.lowest, everything.highest, everything.exponent) == (0.0, 15 / 16, -4)
    assert [entry.where for entry in everything.sums if len(entry.where) != 1] == []


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(-1, 0, 0, 1), (-1, 1), (-1, -1, 1), (0, 1)]))
def test_no_image_of_the_range_exceeds_its_worst_case(seed, signs):
    params = ternary_params(seed, signs)
    images = np.concatenate([pixels16(2, seed), np.zeros((1, 1, 28, 28), np.float32)])
    images = np.concatenate([images, np.full((1, 1, 28, 28), LEVELS[-1])])
    everything = certify_range(params, LEVELS)
    for seen, worst in zip(certify(params, images).sums, everything.sums, strict=True):
        assert seen.name == worst.name
        assert seen.exponent == worst.exponent
        assert seen.bound <= worst.bound


def test_the_worst_case_is_attained_where_nothing_cancels():
    params = ternary_params(3, (0, 1))
    white = np.full((1, 1, 28, 28), LEVELS[-1])
    seen, worst = certify(params, white), certify_range(params, LEVELS)
    assert [s.bound for s in seen.sums] == [w.bound for w in worst.sums]


def test_pixels_that_cannot_be_zero_still_meet_zero_in_the_padding():
    params = ternary_params(4, (-1, 1))
    params["conv1.weight"][:, :, :, :3], params["conv1.weight"][:, :, :, 3:] = 0.25, -0.25
    bright = np.full((1, 1, 28, 28), LEVELS[-1])
    seen, worst = certify(params, bright), certify_range(params, LEVELS[-1:])
    assert all(s.bound <= w.bound for s, w in zip(seen.sums, worst.sums, strict=True))


# --- gradients ---------------------------------------------------------------------------------


def cotangent(count, seed):
    """Random integers from −2 to 2."""
    return np.random.default_rng(seed).integers(-2, 3, (count, 10)).astype(np.float32)


def with_cotangents(params, images, up):
    """Each layer from the last to the first, with its exact input and the cotangent of its output."""
    passed = list(exact.walk(params, integers(images)))
    sent = dict(walk_back(passed, params, integers(up))) | {"": integers(up)}
    behind = [*(layer.name for layer, _, _ in passed[1:]), ""]
    for (layer, x, _), after in reversed(list(zip(passed, behind, strict=True))):
        yield layer, x, sent[f"{after}.input" if after else ""]


def test_the_gradients_bound_is_attained_where_nothing_cancels():
    params, images = ternary_params(5, (0, 1)), pixels16(2, 5)
    up = np.abs(cotangent(2, 5))
    found = {entry.name: entry for entry in certify_backward(params, images, up, "float64").sums}
    gradients = exact.backward(params, images, up)
    for name in PARAM_SHAPES:
        assert found[name].bound == gradients[name].peak() > 0
        assert found[name].exponent == gradients[name].exponent
    passed = list(exact.walk(params, integers(images)))
    sent = dict(walk_back(passed, params, integers(up)))
    for layer, x, _ in passed:
        if layer.affine and layer is not LAYERS[0]:
            assert found[f"{layer.name}.input"].bound == sent[f"{layer.name}.input"].peak() > 0
            assert x.units.min() >= 0


def test_the_gradients_bound_is_the_backward_pass_of_the_magnitudes():
    """By the NumPy port's own layers, in float64, where these integers are exact."""
    params, images, up = ternary_params(12), pixels16(3, 12), cotangent(3, 12)
    found = {entry.name: entry for entry in certify_backward(params, images, up, "float64").sums}
    for layer, x, dy in with_cotangents(params, images, up):
        if not layer.affine:
            continue
        x_abs, dy_abs = (abs(part).to_float("float64") for part in (x, dy))
        w_abs, b = np.abs(params[f"{layer.name}.weight"], dtype=np.float64), np.zeros(layer.weight_shape[0])
        if isinstance(layer.operator, Conv):
            _, cache = layers.conv2d(x_abs, w_abs, b, padding=layer.padding)
            sums = layers.conv2d_backward(dy_abs, cache)
        else:
            sums = layers.linear_backward(dy_abs, (x_abs, w_abs))
        for part, magnitude in zip(("input", "weight", "bias"), sums, strict=True):
            if (layer, part) != (LAYERS[0], "input"):
                entry = found[f"{layer.name}.{part}"]
                assert entry.bound * 2.0**entry.exponent == magnitude.max() == magnitude[entry.where] > 0


def test_every_sum_of_the_backward_pass_is_judged_after_those_of_the_forward_pass():
    found = certify_backward(ternary_params(6), pixels16(5, 6), cotangent(5, 6))
    affine = [layer.name for layer in LAYERS if layer.affine]
    parts = [f"{name}.{part}" for name in reversed(affine) for part in ("weight", "bias", "input")]
    assert [entry.name for entry in found.sums] == [*affine, *parts[:-1]]
    assert found.digits == 5
    assert found.holds


@pytest.mark.parametrize("name", ["logits.weight", "fc2.weight", "fc1.weight"])
def test_no_order_moves_the_largest_gradient_of_a_dense_layer(name):
    params, images, up = ternary_params(7), pixels16(40, 7), cotangent(40, 7)
    entry = {e.name: e for e in certify_backward(params, images, up).sums}[name]
    gradient = exact.backward(params, images, up)[name].to_float()
    inputs = {layer.name: (x, dy) for layer, x, dy in with_cotangents(params, images, up)}
    x, dy = (part.to_float() for part in inputs[name.removesuffix(".weight")])
    terms = dy[:, entry.where[0]] * x[:, entry.where[1]]
    assert np.abs(terms, dtype=np.float64).sum() == entry.bound * 2.0**entry.exponent
    rng = np.random.default_rng(0)
    for _ in range(1000):
        assert np.add.accumulate(rng.permutation(terms))[-1] == gradient[entry.where]  # one by one


def test_a_cotangent_that_is_too_fine_breaks_the_first_gradient_that_it_meets():
    up = cotangent(5, 8)
    up[3, 4] += 2.0**-20
    found = certify_backward(ternary_params(8), pixels16(5, 8), up)
    assert found.broken is not None
    assert found.broken.name == "logits.weight"


def test_a_forward_pass_that_rounds_leaves_nothing_to_certify_behind_it():
    params = ternary_params(9)
    params["fc2.weight"][0, 0] += 2.0**-21
    found = certify_backward(params, pixels16(2, 9), cotangent(2, 9))
    assert found.broken is not None
    assert found.broken.name == "fc2"
    assert [entry.name for entry in found.sums][-1] == "logits"


# --- one step ----------------------------------------------------------------------------------

STEP = Recipe(momentum=0.5, weight_decay=2.0**-3)


def test_an_sgd_step_on_the_grid_is_certified_and_is_the_formula():
    params, images, up = ternary_params(10), pixels16(5, 10), cotangent(5, 10)
    velocity = {name: np.ldexp(array, 2) for name, array in ternary_params(11).items()}
    gradients = exact.backward(params, images, up)
    found = certify_step(params, velocity, gradients, STEP, 0.25)
    assert found.holds
    assert [entry.name for entry in found.sums][:2] == ["conv1.weight.velocity", "conv1.weight"]
    bounds = {entry.name: entry.bound * 2.0**entry.exponent for entry in found.sums}
    for name, w in params.items():
        g = gradients[name].to_float("float64")
        v_abs = 0.5 * np.abs(velocity[name]) + np.abs(g) + 2.0**-3 * np.abs(w)
        assert bounds[f"{name}.velocity"] == v_abs.max()
        assert bounds[name] == (np.abs(w) + 0.25 * v_abs).max()
        v = 0.5 * velocity[name].astype(np.float64) + g + 2.0**-3 * w
        new_w, new_v = update(integers(w), integers(velocity[name]), gradients[name], STEP, 0.25)
        assert np.array_equal(new_v.to_float(), v)
        assert np.array_equal(new_w.to_float(), w - 0.25 * v)


@pytest.mark.parametrize("wrong", [{"momentum": 0.9}, {"weight_decay": 5e-4}, {"rate": 0.1}])
def test_a_step_with_a_constant_off_the_grid_is_not_certified(wrong):
    params, images, up = ternary_params(10), pixels16(5, 10), cotangent(5, 10)
    constants = {"momentum": 0.5, "weight_decay": 2.0**-3, "rate": 0.25} | wrong
    rate = constants.pop("rate")
    found = certify_step(params, params, exact.backward(params, images, up), Recipe(**constants), rate)
    assert not found.holds


# --- refusals ----------------------------------------------------------------------------------


def test_ordinary_weights_are_not_exact_and_the_first_unit_is_named(params, digits):
    found = certify(params, digits.images[:2])
    assert found.broken is not None
    assert found.broken.name == "conv1"
    assert found.broken.bits > 40
    assert not certify_range(params, digits.images[:2]).holds
    assert not certify_backward(params, digits.images[:2], cotangent(2, 0)).holds


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (np.full((1, 1, 28, 28), np.nan, np.float32), "NaN"),
        (np.zeros((0, 1, 28, 28), np.float32), "empty"),
        (np.zeros((1, 28, 28), np.float32), "shape"),
        (np.full((1, 1, 28, 28), 255, np.float32), "divide"),
    ],
)
def test_what_is_no_image_is_refused(images, text):
    for certificate in (certify, lambda p, x: certify_backward(p, x, np.ones((len(x), 10), np.float32))):
        with pytest.raises(UserError, match=text) as refused:
            certificate(ternary_params(0), images)
        one_line(refused)


def test_what_are_no_weights_is_refused():
    params = initial_params(0)
    del params["fc1.bias"]
    for certificate in (lambda p: certify(p, pixels16(1, 0)), lambda p: certify_range(p, LEVELS)):
        with pytest.raises(UserError, match=r"fc1\.bias"):
            certificate(params)
