"""The bounds of every layer, of its gradients and of a step, stated again in rational numbers."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenet.network.architecture import LAYERS, PARAM_SHAPES, Layer, conv, dense
from lenet.network.recipe import Batch, Recipe
from lenet.reference.backward import (
    cotangent_gradients,
    cross_entropy,
    decided,
    forward_pass,
    loss_gradients,
    walk_back,
)
from lenet.reference.forward import given as exact_input
from lenet.reference.forward import parameters
from lenet.reference.sgd_step import step, update
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT64, FORMATS, Format
from tests.parity.arithmetic.adversary import Adversary
from tests.parity.arithmetic.rational import both, covers, gamma, of_dot, of_product, of_sum

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
AFFINE = [layer for layer in LAYERS if layer.affine]
Pair = tuple[Fraction, Fraction]  # a value and its error


def at(x: Bounded, *index: int) -> Pair:
    """One value and its error."""
    return Fraction(float(x.value[index])), Fraction(float(x.bound[index]))


def inside(x: Bounded, *index: int) -> Pair:
    """One value of an image, zero around it."""
    y, x_ = index[-2:]
    rows, columns = x.shape[-2:]
    return at(x, *index) if 0 <= y < rows and 0 <= x_ < columns else (Fraction(0), Fraction(0))


Terms = list[tuple[Pair, Pair]]


def output_terms(layer: Layer, x: Bounded, w: Bounded, where: tuple[int, ...]) -> Terms:
    """The products of an output value."""
    n, o, *place = where
    if not place:
        return [(at(w, o, i), at(x, n, i)) for i in range(w.shape[1])]
    return [
        (at(w, o, c, i, j), inside(x, n, c, place[0] + i - layer.padding, place[1] + j - layer.padding))
        for c, i, j in np.ndindex(w.shape[1:])
    ]


def weight_terms(layer: Layer, x: Bounded, d: Bounded, where: tuple[int, ...]) -> Terms:
    """The products of a weight's gradient: over the batch and all positions."""
    o, c, *tap = where
    if not tap:
        return [(at(d, n, o), at(x, n, c)) for n in range(d.shape[0])]
    i, j = (k - layer.padding for k in tap)
    return [
        (at(d, n, o, p, q), inside(x, n, c, p + i, q + j)) for n, p, q in np.ndindex(d.shape[0], *d.shape[2:])
    ]


def input_terms(layer: Layer, w: Bounded, d: Bounded, where: tuple[int, ...]) -> Terms:
    """The products of an input's cotangent, with zeros for the outputs that lie outside."""
    n, c, *place = where
    if not place:
        return [(at(w, o, c), at(d, n, o)) for o in range(w.shape[0])]
    p, q = (k + layer.padding for k in place)
    return [
        (at(w, o, c, i, j), inside(d, n, o, p - i, q - j)) for o, i, j in np.ndindex(w.shape[0], *w.shape[2:])
    ]


def bound_of(terms: Terms, form: Format, bias: Pair | None = None) -> Fraction:
    """The bound of Σ of these products."""
    columns = zip(*((*a, *b) for a, b in terms), strict=True)
    a, ea, b, eb = (list(one) for one in columns)
    return of_dot(a, ea, b, eb, form, bias)


def places(shape: tuple[int, ...], seed: int) -> Iterator[tuple[int, ...]]:
    """The corners, which see the fewest values, and two places inside."""
    rng = np.random.default_rng(seed)
    yield (0,) * len(shape)
    yield tuple(size - 1 for size in shape)
    for _ in range(2):
        yield tuple(int(rng.integers(size)) for size in shape)


@pytest.fixture(scope="module", params=["float32", "float64"])
def passes(request, params, digits):
    """In a dtype: images, labels, both passes of the reference."""
    images, labels = digits.images[:2], digits.labels[:2]
    assert decided(params, images, "float64").all()
    passed = forward_pass(params, exact_input(images, request.param))
    _, cotangent = cross_entropy(passed[-1][2], labels, request.param)
    sent = dict(walk_back(passed, params, cotangent))
    return FORMATS[request.param], passed, sent | {"": cotangent}


@pytest.mark.slow
@pytest.mark.parametrize("layer", AFFINE, ids=lambda layer: layer.name)
def test_bounds_of_every_layer_and_its_gradients_are_the_formula(layer, passes, params):
    """On real digits, with the errors of all layers before: at some places, each product by its indices."""
    form, passed, sent = passes
    k = LAYERS.index(layer)
    _, x, y = passed[k]
    w, b = parameters(layer, params, x)
    behind = LAYERS[k + 1].name if k + 1 < len(LAYERS) else ""
    d = sent[f"{behind}.input" if behind else ""]
    for where in places(y.shape, 0):
        assert covers(y.bound[where], bound_of(output_terms(layer, x, w, where), form, at(b, where[1])))
    weight, bias = (sent[f"{layer.name}.{part}"] for part in ("weight", "bias"))
    for where in places(weight.shape, 1):
        assert covers(weight.bound[where], bound_of(weight_terms(layer, x, d, where), form))
    for (o,) in places(bias.shape, 2):
        terms = [at(d, n, o, *place) for n, *place in np.ndindex(d.shape[0], *d.shape[2:])]
        assert covers(bias.bound[o], of_sum([one for one, _ in terms], [off for _, off in terms], form))
    if layer is not LAYERS[0]:
        for where in places(x.shape, 3):
            found = sent[f"{layer.name}.input"].bound[where]
            assert covers(found, bound_of(input_terms(layer, w, d, where), form))


@dtypes
def test_gradients_of_a_cotangent_are_those_of_the_backward_pass(dtype, params, digits):
    images, up = digits.images[:2], np.random.default_rng(0).standard_normal((2, 10))
    sent = dict(walk_back(forward_pass(params, exact_input(images, dtype)), params, exact_input(up, dtype)))
    assert {f"{layer.name}.input" for layer in LAYERS[1:]} == sent.keys() - PARAM_SHAPES.keys()
    found = cotangent_gradients(params, images, up, dtype)
    assert list(found) == list(PARAM_SHAPES)
    for name, one in found.items():
        np.testing.assert_array_equal(one.value, sent[name].value)
        np.testing.assert_array_equal(one.bound, sent[name].bound)
        assert one.format is FORMATS[dtype]


def test_float64_is_the_default(params, digits):
    images, labels, zero = digits.images[:2], digits.labels[:2], {n: 0 * w for n, w in params.items()}
    of_loss = loss_gradients(params, images, labels)
    of_ones = cotangent_gradients(params, images, np.ones((2, 10)))
    after = step(params, zero, Batch(images, labels, RATE), RECIPE)
    for one in (of_loss.loss, of_loss.params["fc1.bias"], of_ones["fc1.bias"], after.params["fc1.bias"]):
        assert one.format is FLOAT64


SMALL = [(dense("y", 8, 8), (8, 8)), (conv("y", 2, 2, kernel=2), (2, 2, 3, 3))]


@pytest.mark.parametrize(("layer", "shape"), SMALL, ids=["dense", "conv"])
def test_gradients_of_few_terms_come_near_to_their_bounds(layer, shape):
    """Eight terms each, nine in the bias of the convolution: one adversary takes each to more than half."""
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(1, 2, one).astype(np.float32) for one in (shape, *layer.param_shapes().values())]
    inputs = [Bounded(a) for a in arrays]
    y = layer.operator.evaluate(*inputs)
    up = rng.uniform(1, 2, y.shape).astype(np.float32)
    for part in range(3):
        expected = layer.operator.gradient(part, inputs, y, Bounded(up))
        shares = []
        for way in Adversary.WAYS:
            rounded = [Adversary(a, way=way) for a in arrays]
            found = layer.operator.gradient(part, rounded, rounded[0], Adversary(up, way=way))
            shares.append((np.abs(found.value - expected.value) / expected.bound).max())
        assert 0.5 < max(shares) <= 1, part


# --- one step ----------------------------------------------------------------------------------

RECIPE = Recipe(momentum=0.9, weight_decay=5e-3)
RATE = 0.05


def constant(x: float, form: Format) -> Pair:
    """A constant, and how far the format's own is from it at most."""
    here = float(form.round(np.array(x))) == x
    return Fraction(x), Fraction(0) if here else Fraction(form.u) * abs(Fraction(x)) + Fraction(form.smallest)


def step_bounds(w: Pair, v: Pair, g: Pair, value: Fraction, form: Format) -> tuple[Fraction, Fraction]:
    """Of the new weight and the new velocity, which is computed as `value`."""
    mu, decay, rate = (constant(one, form) for one in (RECIPE.momentum, RECIPE.weight_decay, -RATE))
    terms = [mu[0] * v[0], g[0], decay[0] * w[0]]
    errors = [of_product(*v, *mu, form), g[1], of_product(*w, *decay, form)]
    velocity = of_sum(terms, errors, form)
    move = of_product(value, velocity, *rate, form)
    size = abs(w[0] + rate[0] * value) + w[1] + move
    return w[1] + move + both(1, form) * size + 2 * Fraction(form.flush), velocity


@pytest.mark.slow
@dtypes
@given(seed=st.integers(0, 2**32 - 1), errors=st.booleans(), small=st.booleans())
def test_bounds_of_a_step_are_the_formula(dtype, seed, errors, small):
    form, rng = FORMATS[dtype], np.random.default_rng(seed)
    scale = 2.0 ** (form.lowest + 12) if small and dtype == "float32" else 1.0
    values = [form.round(scale * rng.uniform(1, 2, 4) * rng.choice([-1, 1], 4)) for _ in range(3)]
    off = [scale * rng.random(4) * 2.0 ** rng.integers(-30, 0) if errors else None for _ in range(3)]
    w, v, g = (Bounded(one, e, form) for one, e in zip(values, off, strict=True))
    new_w, new_v = update(w, v, g, RECIPE, RATE)
    for k in range(4):
        value = Fraction(float(new_v.value[k]))
        weight, velocity = step_bounds(at(w, k), at(v, k), at(g, k), value, form)
        assert covers(new_v.bound[k], velocity)
        assert covers(new_w.bound[k], weight)
        exact = [Fraction(float(one[k])) for one in values]
        right = Fraction(0.9) * exact[1] + exact[2] + Fraction(5e-3) * exact[0]
        assert abs(value - right) <= gamma(3, 2.0**-53) * 6 * Fraction(scale)
        moved = abs(Fraction(float(new_w.value[k])) - exact[0] + Fraction(RATE) * right)
        assert moved <= gamma(4, 2.0**-53) * 6 * Fraction(scale)


def test_a_step_comes_near_to_its_bounds():
    """An adversary takes weight and velocity to more than half of what a step may be off by."""
    values = [np.random.default_rng(k).uniform(1, 2, 100).astype(np.float32) for k in range(3)]
    w, v, g = (Bounded(one) for one in values)
    expected = update(w, v, g, RECIPE, RATE)
    shares = np.zeros(2)
    for way in Adversary.WAYS:
        a, b, c = (Adversary(one, way=way) for one in values)
        found = update(a, b, c, RECIPE, RATE)
        off = [(np.abs(x.value - y.value) / y.bound).max() for x, y in zip(found, expected, strict=True)]
        assert max(off) <= 1
        shares = np.maximum(shares, off)
    assert shares.min() > 0.5


@dtypes
def test_a_step_is_the_update_of_every_parameter_by_its_gradient(dtype, params, digits):
    rng = np.random.default_rng(0)
    velocity = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in PARAM_SHAPES.items()}
    batch = Batch(digits.images[:2], digits.labels[:2], RATE)
    found = step(params, velocity, batch, RECIPE, dtype)
    gradients = loss_gradients(params, batch.images, batch.labels, dtype).params
    assert list(found.params) == list(found.velocity) == list(PARAM_SHAPES)
    for name in PARAM_SHAPES:
        old = exact_input(params[name], dtype), exact_input(velocity[name], dtype)
        w, v = update(*old, gradients[name], RECIPE, RATE)
        for one, right in ((found.params[name], w), (found.velocity[name], v)):
            np.testing.assert_array_equal(one.value, right.value)
            np.testing.assert_array_equal(one.bound, right.bound)
            assert one.format is FORMATS[dtype]
