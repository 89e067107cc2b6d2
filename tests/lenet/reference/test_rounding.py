"""The bounds: never violated by any order of summation, violated by every planted mistake."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lenet.network.architecture import LAYERS, PARAM_SHAPES, conv, dense
from lenet.reference import forward
from lenet.reference.distance import ratio
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FORMATS, U64, gamma
from tests.planted.ports import MISTAKES, affine

AFFINE = [layer for layer in LAYERS if layer.affine]


def random_params(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: (rng.standard_normal(s) * scale).astype(np.float32) for n, s in PARAM_SHAPES.items()}


def float32s(shape):
    return arrays(np.float32, shape, elements=st.floats(-1e3, 1e3, width=32))


def exact(w: np.ndarray, x: np.ndarray, b: np.float32) -> Fraction:
    """w·x + b without any rounding."""
    return sum(
        (Fraction(float(p)) * Fraction(float(q)) for p, q in zip(w, x, strict=True)), Fraction(float(b))
    )


def test_gamma_and_unit_roundoff_are_higham_s():
    assert FORMATS["float32"].u == 2.0**-24
    assert FORMATS["float64"].u == U64 == 2.0**-53
    assert gamma(4, 0.125) == 1.0  # 4u / (1 - 4u) with 4u = 1/2


@pytest.mark.slow
@given(float32s((1, 7)), float32s((1, 7)), float32s((1,)), st.permutations(range(8)), st.booleans())
def test_no_order_of_summation_leaves_the_local_bound(w, x, b, order, fused):
    """Float32 sums in any order, with each product rounded or (as in an FMA) not: against exact rationals."""
    layer = dense("fc1", 7, 1)
    bound = forward.local(layer, {"fc1.weight": w, "fc1.bias": b}, x)
    total = np.float32(0)
    for k in order:
        if k == 7:
            total = total + b[0]
        elif fused:  # float64 holds the product of two float32 exactly; one rounding after the sum
            total = np.float32(float(w[0, k]) * float(x[0, k]) + float(total))
        else:
            total = total + w[0, k] * x[0, k]
    # twice rounded sums (float64, then float32) are no FMA; where they may differ the bound has room
    assert ratio(np.array([[total]]), bound).max() <= 1
    assert abs(Fraction(float(total)) - exact(w[0], x[0], b[0])) <= Fraction(float(bound.bound[0, 0]))
    assert abs(Fraction(float(bound.value[0, 0])) - exact(w[0], x[0], b[0])) <= Fraction(
        float(bound.bound[0, 0])
    )


def test_bound_is_reached_within_a_factor_two():
    """Not only safe but tight: 1 + u + u + ... loses every small term when the one comes first."""
    n = 400
    w, x = np.ones((1, n), np.float32), np.full((1, n), 2.0**-24, np.float32)
    x[0, 0] = 1
    total = np.float32(0)
    for k in range(n):
        total = total + w[0, k] * x[0, k]
    bound = forward.local(dense("fc1", n, 1), {"fc1.weight": w, "fc1.bias": np.zeros(1, np.float32)}, x)
    assert 0.5 < ratio(np.array([[total]]), bound).max() <= 1


@pytest.mark.slow
@given(float32s((2, 3, 5, 6)), float32s((4, 3, 2, 2)), float32s((4,)))
def test_reference_convolution_is_the_definition(x, w, b):
    """Against nested loops over exact rationals, at two positions of each map."""
    layer = conv("conv1", 3, 4, kernel=2, padding=1)
    bound = forward.local(layer, {"conv1.weight": w, "conv1.bias": b}, x)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    assert bound.value.shape == (2, 4, 6, 7)
    for p, q in ((0, 0), (3, 5)):
        for n, o in np.ndindex(2, 4):
            patch = padded[n, :, p : p + 2, q : q + 2]
            error = Fraction(float(bound.value[n, o, p, q])) - exact(w[o].ravel(), patch.ravel(), b[o])
            assert abs(error) <= Fraction(float(bound.bound[n, o, p, q]))


def test_zeros_leave_the_bias_exact():
    layer = LAYERS[0]
    params = random_params(0)
    bound = forward.local(layer, params, np.zeros((1, 1, 28, 28), np.float32))
    assert not bound.bound.any()
    np.testing.assert_array_equal(bound.value[0, :, 3, 4], params["conv1.bias"])


@pytest.mark.slow
@given(
    arrays(np.float64, (1, 1, 4, 4), elements=st.floats(-4, 4)),
    arrays(np.float64, (1, 1, 4, 4), elements=st.floats(0, 2)),
    arrays(np.float64, (1, 1, 4, 4), elements=st.floats(-1, 1)),
)
def test_relu_and_pooling_carry_errors_no_further_than_they_can_go(value, error, direction):
    """Any input within its bound gives an output within the bound that was carried through."""
    moved = value + error * direction
    for layer in LAYERS[1:3]:
        before = Bounded(value, error + 8 * U64 * (np.abs(value) + error))
        after, right = (forward.evaluate(layer, {}, x) for x in (before, Bounded(moved)))
        assert (np.abs(right.value - after.value) <= after.bound).all()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_end_to_end_bound_holds_on_random_nets(port_name, open_port, digits, scale):
    params = random_params(7, scale)
    port = open_port(port_name)
    port.load(params)
    expected = forward.reference(params, digits.images[:20])
    for name, output in port.activations(digits.images[:20]).items():
        assert ratio(output, expected[name]).max() <= 1, name


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("layer", AFFINE, ids=lambda layer: layer.name)
def test_every_planted_mistake_leaves_the_local_bound_of_every_layer(layer, mistake, params, digits):
    images = digits.images[:50]
    expected = forward.reference(params, images)
    names = [one.name for one in LAYERS]
    before = names[names.index(layer.name) - 1] if layer is not LAYERS[0] else None
    x = images if before is None else expected[before].value.astype(np.float32)
    w, b = params[f"{layer.name}.weight"], params[f"{layer.name}.bias"]
    bound = forward.local(layer, params, x)
    assert ratio(affine(layer, x, w, b), bound).max() <= 1
    assert ratio(mistake(layer, x, w, b), bound).max() > 1


def test_certified_needs_a_margin_above_both_bounds():
    value = np.array([[1.0, 0.0, 0.5]] * 3)
    error = np.array([[0.2, 0.0, 0.2], [0.25, 0.0, 0.25], [0.2, 0.9, 0.2]])
    assert forward.certified(Bounded(value, error)).tolist() == [True, False, False]


@pytest.mark.slow
def test_no_implementation_within_the_bound_changes_a_certified_class(params, digits):
    """The worst that the bound allows: the winner lowered, every other logit raised."""
    logits = forward.reference(params, digits.images[:500])["logits"]
    sure = forward.certified(logits)
    top = logits.value.argmax(axis=1)
    worst = logits.value + logits.bound
    worst[np.arange(500), top] -= 2 * logits.bound[np.arange(500), top]
    assert sure.any()
    assert (worst.argmax(axis=1) == top)[sure].all()
