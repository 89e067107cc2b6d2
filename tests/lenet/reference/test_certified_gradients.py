"""The certificate of gradients and of a step: its bounds are attained, and no order moves the largest sum."""

import numpy as np
import pytest

from lenet.network.architecture import LAYERS, PARAM_SHAPES
from lenet.network.recipe import Recipe
from lenet.reference import exact
from lenet.reference.backward import walk_back
from lenet.reference.certificate import certify_backward, certify_step
from lenet.reference.sgd_step import update
from lenet_numpy import layers
from parity.arithmetic import integers
from parity.operators.affine import Conv
from tests.lenet.reference.grids import cotangent, pixels16, ternary_params


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
