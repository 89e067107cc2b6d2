"""Gradients in float64, on real digits: every port within the derived bound, every mistake outside."""

from functools import cache

import numpy as np
import pytest

from lenet.reference.backward import cotangent_gradients, decided, loss_gradients
from lenet.reference.distance import ratio
from tests.helpers import BATCH
from tests.planted.ports import numpy_port

COUNT = 6 * BATCH


@pytest.fixture(scope="module")
def batch(params, digits):
    """Real digits whose every gate and pooling winner is decided in float64."""
    sure = np.flatnonzero(decided(params, digits.images[:64]))[:COUNT]
    assert len(sure) == COUNT
    return digits[sure]


def parts(whole):
    """In batches of the size that XLA compiles for other tests too."""
    return [whole[start : start + BATCH] for start in range(0, COUNT, BATCH)]


@pytest.fixture(scope="module", params=["float32", "float64"])
def judged(request, params, digits):
    """A dtype, and for each of a few batches that are decided in it what a port must return."""
    dtype = request.param
    sure = digits[np.flatnonzero(decided(params, digits.images[:64], dtype))[:COUNT]]
    assert len(sure) == COUNT
    return dtype, [(part, loss_gradients(params, part.images, part.labels, dtype)) for part in parts(sure)]


@pytest.fixture(scope="module")
def sent_back(params, digits, cotangent):
    """In a dtype, for each of a few batches: images, a cotangent, and what a port must return."""

    @cache
    def in_dtype(dtype):
        sure = digits[np.flatnonzero(decided(params, digits.images[:64], dtype))[:COUNT]]
        return [
            (part.images, up, cotangent_gradients(params, part.images, up, dtype))
            for part, up in zip(parts(sure), parts(cotangent), strict=True)
        ]

    return in_dtype


@pytest.fixture(scope="module")
def expected(params, batch):
    return loss_gradients(params, batch.images, batch.labels)


@pytest.fixture(scope="module")
def cotangent():
    """Random, never ones: a permuted cotangent must not pass."""
    return np.random.default_rng(5).standard_normal((COUNT, 10))


def test_every_port_has_the_loss_and_gradients_within_the_bound(judged, port_name, open_port, params):
    """In float64, and in float32 within the bound of float32."""
    dtype, batches = judged
    port = open_port(port_name, dtype)
    port.load(params)
    for part, expected in batches:
        loss, gradient = port.gradients(part.images, part.labels)
        assert abs(loss - expected.loss.value) <= expected.loss.bound
        assert list(gradient) == list(expected.params)
        for name, bound in expected.params.items():
            assert gradient[name].dtype == dtype
            assert ratio(gradient[name], bound).max() <= 1, name


def test_every_port_sends_a_cotangent_back_within_the_bound(port_name, finest, open_port, params, sent_back):
    port = open_port(port_name, finest)
    port.load(params)
    for images, up, expected in sent_back(finest):
        for name, gradient in port.backward(images, up).items():
            assert ratio(gradient, expected[name]).max() <= 1, name


def test_bounds_have_teeth(expected):
    """A bound that admits everything proves nothing: here all are below a millionth of the gradient."""
    for name, bound in expected.params.items():
        assert 0 < bound.bound.max() < 1e-6 * np.abs(bound.value).max(), name


def test_reference_gradient_is_the_difference_quotient(params, batch):
    """Along a random direction, (f(w + hv) − f(w − hv)) / 2h: its own error is of order h² + u/h."""
    images, labels = batch.images[:8], batch.labels[:8]
    rng = np.random.default_rng(3)
    port = numpy_port("float64")
    exact = loss_gradients(params, images, labels).params
    for name in params:
        direction = rng.standard_normal(params[name].shape)
        slope = (exact[name].value * direction).sum()
        quotients = []
        for h in (1e-4, 5e-5):
            ends = []
            for sign in (1, -1):
                moved = {k: w.astype(np.float64) for k, w in params.items()}
                moved[name] = moved[name] + sign * h * direction
                port.load(moved)
                ends.append(port.gradients(images, labels)[0])
            quotients.append((ends[0] - ends[1]) / (2 * h))
        # Richardson: the difference of the two quotients is three quarters of the first one's error, if
        # no gate flips in between; a wrong gradient is off by something of its own size.
        error = abs(quotients[0] - quotients[1]) * 4 / 3
        assert abs(quotients[0] - slope) <= 2 * error + 1e-6 * abs(slope), name


def conv2_input_gradient_turned(d):
    """The kernel not turned in the input gradient: the weights' own gradients stay right."""
    return d


def test_planted_faults_leave_the_bound(params, batch, expected, cotangent):
    """Faults of backward passes that people have reported, each put into the right gradients."""
    port = numpy_port("float64")
    port.load(params)
    _, right = port.gradients(batch.images, batch.labels)
    _, half = port.gradients(batch.images[: COUNT // 2], batch.labels[: COUNT // 2])
    faults = {
        "summed, not averaged": {n: g * COUNT for n, g in right.items()},
        "divided twice": {n: g / COUNT for n, g in right.items()},
        "half of the batch": half,
        "bias from one position": right | {"conv2.bias": right["conv2.bias"] / 100},
        "frozen layer": right | {"fc1.weight": right["fc1.weight"] * 0},
        "accumulated": {n: 2 * g for n, g in right.items()},
        "one value off by 1e-6 of the largest": right
        | {"fc2.weight": right["fc2.weight"] + 1e-6 * np.abs(right["fc2.weight"]).max()},
        "a permuted map": right | {"conv1.weight": right["conv1.weight"][::-1]},
    }
    for fault, wrong in faults.items():
        worst = max(ratio(wrong[n], bound).max() for n, bound in expected.params.items())
        assert worst > 1, fault
    backward = cotangent_gradients(params, batch.images, cotangent)
    ones = port.backward(batch.images, np.ones_like(cotangent))
    assert any(ratio(ones[n], bound).max() > 1 for n, bound in backward.items())


def test_wrong_tie_rule_leaves_the_bound_and_decided_says_where_it_may(params, digits, monkeypatch):
    """All winners of a tie rewarded: invisible only where the rivals are zero or see the same pixels."""
    import lenet_numpy.layers as layers

    def all_winners(dy, cache):
        x, y, size, stride = cache
        dx = np.zeros_like(x)
        for i, j in np.ndindex(size, size):
            tap = layers._tap(x, i, j, stride, *y.shape[2:])
            layers._tap(dx, i, j, stride, *y.shape[2:])[...] += dy * (tap == y)
        return dx

    monkeypatch.setattr("lenet_numpy.model.max_pool2d_backward", all_winners)
    sure = np.flatnonzero(decided(params, digits.images[:32]))
    images, labels = digits.images[sure], digits.labels[sure]
    port = numpy_port("float64")
    port.load(params)
    _, gradient = port.gradients(images, labels)
    expected = loss_gradients(params, images, labels).params
    assert ratio(gradient["conv1.bias"], expected["conv1.bias"]).max() > 1
