"""The diagnosis of losses, gradients and training runs: planted mistakes named at their place."""

import numpy as np
import pytest

import lenet_numpy.layers as layers
from lenet.diagnose import diagnose
from lenet.diagnose.mistakes import winners
from lenet.diagnose.probe_inputs import Observed, observe_port, standard
from lenet.ports import open_port
from lenet_numpy.port import Port as NumpyPort
from tests.planted.bugs import patched, seen_patched

PROBES = standard()
CONV = "lenet_numpy.model.conv2d_backward"
POOL = "lenet_numpy.model.max_pool2d_backward"
RELU = "lenet_numpy.model.relu_backward"
LINEAR = "lenet_numpy.model.linear_backward"
LOSS = "lenet_numpy.train.softmax_cross_entropy"
DLOGITS = "lenet_numpy.train.softmax_cross_entropy_backward"
MODEL = "lenet_numpy.model.LeNet.backward"


def label_entries(p, labels):
    return p[np.arange(len(labels)), labels]


# --- loss --------------------------------------------------------------------------------------


def loss_times(factor):
    return lambda right: lambda z, k: (lambda loss, cache: (loss * factor(len(k)), cache))(*right(z, k))


def loss_of_probabilities(f):
    """−mean f(p of the label), the gradient as it should be."""

    def make(right):
        def loss(z, k):
            _, cache = right(z, k)
            with np.errstate(divide="ignore"):
                return -f(label_entries(cache[0], k)).mean(), cache

        return loss

    return make


def softmax_of(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def twice(right):
    """Softmax of softmax, and the gradient through both, which `handed_on` hands on."""

    def loss(z, k):
        p = softmax_of(z)
        value, (q, _) = right(p, k)
        d = q.copy()
        d[np.arange(len(k)), k] -= 1
        return value, (p * (d - (d * p).sum(axis=1, keepdims=True)) / len(k), k)

    return loss


def handed_on(right):
    return lambda cache: cache[0]


def unshifted(right):
    def loss(z, k):
        e = np.exp(z)
        p = e / e.sum(axis=1, keepdims=True)
        return -np.log(label_entries(p, k)).mean(), (p, k)

    return loss


def over_the_batch(right):
    return lambda z, k: right(z - z.max(axis=0, keepdims=True), k)


LOSSES = [
    ((LOSS, loss_times(lambda n: n)), "loss", "loss reported as a sum"),
    ((LOSS, loss_times(lambda n: 1 / n)), "loss", "loss reported divided twice"),
    (
        (LOSS, loss_of_probabilities(lambda p: np.log(np.clip(p, 1e-7, 1 - 1e-7)))),
        "loss",
        "probabilities clipped at 1e-07 in the loss",
    ),
    (
        (LOSS, loss_of_probabilities(lambda p: np.log(p + np.float32(1e-10)))),
        "loss",
        "1e-10 added to probabilities in the loss",
    ),
    ((LOSS, unshifted), "loss", "softmax without its shift"),
    ((LOSS, over_the_batch), "loss", "maximum over the batch in softmax"),
    ((LOSS, lambda right: lambda z, k: right(z, (k + 1) % 10)), "loss", "labels too large by one"),
    (
        (DLOGITS, lambda right: lambda cache: right(cache) * len(cache[1])),
        "gradient of logits.weight",
        "gradients summed over the batch",
    ),
    (
        (DLOGITS, lambda right: lambda cache: right(cache) / len(cache[1])),
        "gradient of logits.weight",
        "gradients divided by the batch size twice",
    ),
    (
        (LOSS, loss_of_probabilities(lambda p: np.log(np.maximum(p, np.finfo(np.float32).tiny)))),
        "loss",
        "probabilities below FLT_MIN raised to it in the loss",
    ),
]


@pytest.mark.parametrize(("patch", "where", "name"), LOSSES, ids=[row[2] for row in LOSSES])
def test_every_mistake_of_the_loss_is_named(patch, where, name):
    verdict = diagnose(PROBES, seen_patched(PROBES, patch))
    assert verdict.first == where
    assert [one.name for one in verdict.diagnoses] == [name]


def test_softmax_applied_twice_is_named():
    verdict = diagnose(PROBES, seen_patched(PROBES, (LOSS, twice), (DLOGITS, handed_on)))
    assert verdict.first == "loss"
    assert [one.name for one in verdict.diagnoses] == ["softmax applied twice"]


def test_a_loss_summed_with_its_gradients_is_one_mistake():
    patches = LOSSES[0][0], LOSSES[7][0]
    verdict = diagnose(PROBES, seen_patched(PROBES, *patches))
    assert [one.name for one in verdict.diagnoses] == ["loss summed over the batch"]


# --- gradients ---------------------------------------------------------------------------------


def conv_backward(change):
    """(dx, dw, db) of a convolution, changed; dy and the cache are at hand."""
    return lambda right: lambda dy, cache: change(*right(dy, cache), dy, cache)


def kernel_as_it_is(right):
    def backward(dy, cache):
        _, dw, db = right(dy, cache)
        cols, w, *rest = cache
        return right(dy, (cols, np.ascontiguousarray(w[:, :, ::-1, ::-1]), *rest))[0], dw, db

    return backward


def overlap_overwritten(right):
    def backward(dy, cache):
        _, dw, db = right(dy, cache)
        _, w, (n, channels, height, width), _, _ = cache
        rows, columns = dy.shape[2:]
        dx = np.zeros((n, channels, height, width), dy.dtype)
        for i, j in np.ndindex(5, 5):
            dx[:, :, i : i + rows, j : j + columns] = np.tensordot(dy, w[:, :, i, j], (1, 0)).transpose(
                0, 3, 1, 2
            )
        return dx, dw, db

    return backward


def ties(share, equal=np.equal):
    def backward(dy, cache):
        x, y, size, stride = cache
        dx, count = np.zeros_like(x), np.zeros_like(y)
        places = list(np.ndindex(size, size))
        for i, j in places:
            count += equal(layers._tap(x, i, j, stride, *y.shape[2:]), y)
        for i, j in places:
            tap = layers._tap(x, i, j, stride, *y.shape[2:])
            layers._tap(dx, i, j, stride, *y.shape[2:])[...] += dy * equal(tap, y) / (count if share else 1)
        return dx

    return lambda right: backward


def maximum_of_maxima(first, second):
    """The gradient of a maximum along one axis of maxima along another: equal values of a pair share."""

    def halves(x, axis):
        return np.split(x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :]), 2, axis + 1)

    def shares(x, axis):
        one, two = halves(x, axis)
        left = np.where(one == two, x.dtype.type(0.5), (one > two).astype(x.dtype))
        return np.concatenate([left, 1 - left], axis + 1).reshape(x.shape)

    def backward(dy, cache):
        x = cache[0]
        best = np.maximum(*halves(x, first)).squeeze(first + 1)
        inner = dy.repeat(2, second) * shares(best, second)
        return inner.repeat(2, first) * shares(x, first)

    return lambda right: backward


def won_by(order):
    """The gradient goes to the first largest value in this order of the window's positions."""

    def backward(dy, cache):
        x, y, size, stride = cache
        dx, given = np.zeros_like(x), np.zeros(y.shape, bool)
        for place in order:
            i, j = divmod(place, size)
            tap = layers._tap(x, i, j, stride, *y.shape[2:])
            wins = (tap == y) & ~given
            layers._tap(dx, i, j, stride, *y.shape[2:])[...] += dy * wins
            given |= wins
        return dx

    return lambda right: backward


def without(*names):
    """The gradients of some parameters replaced by zeros."""

    def make(right):
        def backward(model, dlogits, cache):
            found = right(model, dlogits, cache)
            return found | {name: found[name] * 0 for name in names}

        return backward

    return make


def changed(name, change):
    def make(right):
        def backward(model, dlogits, cache):
            found = right(model, dlogits, cache)
            return found | {name: change(found[name])}

        return backward

    return make


GRADIENTS = [
    ((CONV, kernel_as_it_is), "conv1.weight", "kernel not turned in the input gradient"),
    ((CONV, overlap_overwritten), "conv1.weight", "col2im keeps the last overlap"),
    (
        (CONV, conv_backward(lambda dx, dw, db, dy, cache: (dx, dw, dy.sum(axis=0)[:, 0, 0]))),
        "conv2.bias",
        "bias gradient of one position",
    ),
    (
        (CONV, conv_backward(lambda dx, dw, db, dy, cache: (dx, dw, dy.sum(axis=0)))),
        "conv2.bias",
        "bias gradient not summed over positions",
    ),
    (
        (CONV, conv_backward(lambda dx, dw, db, dy, cache: (dx, dw, dy.mean(axis=(2, 3)).sum(axis=0)))),
        "conv2.bias",
        "bias gradient averaged over positions",
    ),
    (
        (CONV, conv_backward(lambda dx, dw, db, dy, cache: (dx, dw[:, :, ::-1, ::-1].copy(), db))),
        "conv2.weight",
        "weight gradient flipped",
    ),
    ((POOL, ties(False)), "conv2.weight", "ties rewarded to all winners"),
    ((POOL, ties(True)), "conv2.weight", "ties split among winners"),
    ((RELU, lambda right: lambda dy, cache: dy), "fc2.weight", "ReLU's gate missing in the backward pass"),
    (
        (RELU, lambda right: lambda dy, cache: np.maximum(dy, 0)),
        "fc2.weight",
        "ReLU applied to the cotangent",
    ),
    ((MODEL, without("fc1.weight", "fc1.bias")), "fc1.weight", "fc1 frozen"),
    (
        (MODEL, without("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")),
        "conv2.weight",
        "detached before fc1",
    ),
    ((MODEL, changed("fc2.weight", lambda g: g.T.copy())), "fc2.weight", "weight gradient transposed"),
    ((MODEL, changed("fc1.bias", lambda g: 2 * g)), "fc1.bias", "gradient doubled"),
]


@pytest.mark.parametrize(("patch", "where", "name"), GRADIENTS, ids=[row[2] for row in GRADIENTS])
def test_every_mistake_of_the_backward_pass_is_named(patch, where, name):
    verdict = diagnose(PROBES, seen_patched(PROBES, patch))
    assert verdict.first == f"gradient of {where}"
    assert [one.name for one in verdict.diagnoses] == [name]


@pytest.mark.parametrize(
    ("share", "equal", "name"),
    [
        (False, np.equal, "ties rewarded to all winners"),
        (True, np.equal, "ties split among winners"),
        (False, np.isclose, "nearly equal values rewarded as ties"),
        (True, np.isclose, "nearly equal values share as ties"),
    ],
)
def test_nearly_equal_values_are_told_from_ties(share, equal, name):
    verdict = diagnose(PROBES, seen_patched(PROBES, (POOL, ties(share, equal))))
    assert [one.name for one in verdict.diagnoses] == [name]
    assert not verdict.ambiguous
    assert verdict.ok == (name == "ties split among winners")  # which is a valid choice


@pytest.mark.parametrize(
    ("backward", "name"),
    [
        (ties(True), "ties split among winners"),
        (maximum_of_maxima(3, 2), "ties split in pairs, columns first"),
        (maximum_of_maxima(2, 3), "ties split in pairs, rows first"),
        (won_by((3, 2, 1, 0)), "ties won by the last"),
        (won_by((0, 2, 1, 3)), "ties won by the first in column order"),
        (won_by((3, 1, 2, 0)), "ties won by the last in column order"),
    ],
)
def test_any_right_subgradient_of_a_tie_is_a_valid_choice(backward, name):
    verdict = diagnose(PROBES, seen_patched(PROBES, (POOL, backward)))
    assert [one.name for one in verdict.diagnoses] == [name]
    assert not verdict.ambiguous
    assert verdict.ok


def test_values_that_are_compared_one_after_the_other_share_unequally():
    wins = np.array([True, True, True, True])[:, None]
    shares = winners.VALID["ties split one after the other"][1](wins)
    assert shares.ravel().tolist() == [1 / 8, 1 / 8, 1 / 4, 1 / 2]


def test_gradients_accumulated_across_calls_are_named():
    total: dict[str, np.ndarray] = {}

    def make(right):
        def backward(model, dlogits, cache):
            for name, g in right(model, dlogits, cache).items():
                total[name] = total.get(name, 0) + g
            return dict(total)

        return backward

    observed = seen_patched(PROBES, (MODEL, make))
    verdict = diagnose(PROBES, observed)
    assert [one.name for one in verdict.diagnoses] == ["gradients accumulated across calls"]


def test_the_gradients_of_theano_are_two_mistakes():
    """Its nnet.relu is (x + |x|) / 2, with a gradient of ½ at zero; its pooling rewards every winner."""

    def relu(right):
        return lambda x: (right(x)[0], x)

    def relu_backward(right):
        return lambda dy, x: dy * (x.dtype.type(0.5) * (1 + np.sign(x)))

    patches = ("lenet_numpy.model.relu", relu), (RELU, relu_backward), (POOL, ties(False))
    verdict = diagnose(PROBES, seen_patched(PROBES, *patches))
    assert {one.name for one in verdict.diagnoses} == {
        "ReLU's gate half open at zero",
        "ties rewarded to all winners",
    }


def test_two_mistakes_of_the_backward_pass():
    verdict = diagnose(PROBES, seen_patched(PROBES, GRADIENTS[1][0], GRADIENTS[13][0]))
    assert {one.name for one in verdict.findings[0].causes} == {
        "col2im keeps the last overlap",
        "gradient doubled",
    }


def test_noise_in_a_gradient_is_unknown():
    noise = np.random.default_rng(0).standard_normal((84, 120)).astype(np.float32) / 100
    verdict = diagnose(PROBES, seen_patched(PROBES, (MODEL, changed("fc2.weight", lambda g: g + noise))))
    assert verdict.first == "gradient of fc2.weight"
    assert not verdict.diagnoses
    assert str(verdict).startswith("unknown at gradient of fc2.weight")


def test_a_frozen_first_layer_and_a_detached_second_are_the_same_data():
    verdict = diagnose(PROBES, seen_patched(PROBES, (MODEL, without("conv1.weight", "conv1.bias"))))
    found = [verdict.findings[0].causes, *verdict.findings[0].alternatives]
    assert {one.name for some in found for one in some} >= {"conv1 frozen", "detached before conv2"}
    assert verdict.ambiguous
    assert verdict.findings[0].apart


# --- training ----------------------------------------------------------------------------------

RECIPE = PROBES.course.recipe
MU, DECAY = RECIPE.momentum, RECIPE.weight_decay


class Stepped(NumpyPort):
    """The NumPy port with another rule for the step: rule(port, w, v, g, rate, name, count)."""

    def __init__(self, rule, dtype="float32"):
        super().__init__("numpy", dtype)
        self.rule = rule

    def _make_optimizer(self, recipe, velocity):
        self.step, self.last, self.total = 0, None, {}
        return super()._make_optimizer(recipe, velocity)

    def _train_step(self, images, labels, rate):
        loss, gradient = self._gradients(images, labels)
        for name, w in self._model.params.items():
            self.rule(self, w, self._optimizer.velocity[name], gradient[name], rate, name, len(labels))
        self.step, self.last = self.step + 1, rate
        return loss


def rule(mu=MU, decay=DECAY, gain=1.0, scale=lambda n: 1.0):
    def step(port, w, v, g, rate, name, count):
        v[...] = mu * v + gain * (scale(count) * g + decay * w)
        w -= rate * v

    return step


def rate_inside(port, w, v, g, rate, name, count):
    v[...] = MU * v + rate * (g + DECAY * w)
    w -= v


def nesterov(port, w, v, g, rate, name, count):
    g = g + DECAY * w
    v[...] = MU * v + g
    w -= rate * (g + MU * v)


def decoupled(port, w, v, g, rate, name, count):
    v[...] = MU * v + g
    w -= rate * (v + DECAY * w)


def weights_alone_decay(port, w, v, g, rate, name, count):
    v[...] = MU * v + g + (DECAY * w if name.endswith("weight") else 0)
    w -= rate * v


def rate_late(port, w, v, g, rate, name, count):
    v[...] = MU * v + g + DECAY * w
    w -= (port.last or rate) * v


def never_drops(port, w, v, g, rate, name, count):
    v[...] = MU * v + g + DECAY * w
    w -= RECIPE.learning_rate * v


def biases_faster(port, w, v, g, rate, name, count):
    v[...] = MU * v + g + DECAY * w
    w -= rate * v * (2 if name.endswith("bias") else 1)


def short_dropped(port, w, v, g, rate, name, count):
    if count == RECIPE.batch_size:
        rule()(port, w, v, g, rate, name, count)


def accumulated(port, w, v, g, rate, name, count):
    port.total[name] = port.total.get(name, 0) + g
    rule()(port, w, v, port.total[name], rate, name, count)


def velocity_reset(*steps):
    def step(port, w, v, g, rate, name, count):
        if port.step in steps:
            v[...] = 0
        rule()(port, w, v, g, rate, name, count)

    return step


def conv2_left_out(port, w, v, g, rate, name, count):
    if not name.startswith("conv2"):
        rule()(port, w, v, g, rate, name, count)


RULES = [
    (rule(mu=0), 2, "momentum missing"),
    (rule(gain=1 - MU), 1, "momentum dampened"),
    (rate_inside, 5, "learning rate inside the velocity"),
    (nesterov, 1, "Nesterov momentum"),
    (decoupled, 2, "decoupled weight decay"),
    (rule(decay=2 * DECAY), 1, "weight decay twice as large"),
    (rule(decay=0), 1, "weight decay missing"),
    (weights_alone_decay, 1, "no weight decay on biases"),
    (rate_late, 5, "learning rate one step late"),
    (never_drops, 5, "learning rate never drops"),
    (biases_faster, 1, "learning rate doubled for biases"),
    (rule(scale=lambda n: n / RECIPE.batch_size), 3, "short batch divided by the full size"),
    (rule(scale=lambda n: n), 1, "gradients summed over the batch in training"),
    (short_dropped, 3, "short batch dropped"),
    (accumulated, 2, "gradients accumulated across steps"),
    (conv2_left_out, 1, "conv2 not trained"),
    (velocity_reset(3, 6), 4, "velocity reset each epoch"),
    (velocity_reset(4), 5, "velocity reset at a rate drop"),
]


def trained(step):
    return observe_port(PROBES, Stepped(step))


@pytest.mark.parametrize(("step", "where", "name"), RULES, ids=[row[2] for row in RULES])
def test_every_mistake_of_the_optimizer_is_named_at_the_step_that_shows_it(step, where, name):
    verdict = diagnose(PROBES, trained(step))
    assert verdict.first == f"step {where}"
    assert [one.name for one in verdict.diagnoses] == [name]


def test_the_right_rule_written_again_is_ok():
    assert diagnose(PROBES, trained(rule())).ok


def test_two_mistakes_of_the_optimizer():
    verdict = diagnose(PROBES, trained(rule(gain=1 - MU, decay=0)))
    assert {one.name for one in verdict.findings[0].causes} == {"momentum dampened", "weight decay missing"}


def test_an_unknown_rule_is_unknown():
    def squared(port, w, v, g, rate, name, count):
        v[...] = MU * v + g + DECAY * w * np.abs(w)
        w -= rate * v

    verdict = diagnose(PROBES, trained(squared))
    assert verdict.first == "step 1"
    assert not verdict.diagnoses


def test_a_mistake_of_the_loss_shows_in_training_alone():
    with patched(LOSS, lambda right: lambda z, k: right(z, (k + 1) % 10)):
        whole = observe_port(PROBES, open_port("numpy"))
    assert whole.trajectory
    verdict = diagnose(PROBES, Observed(trajectory=whole.trajectory[:2]))
    assert [one.name for one in verdict.diagnoses] == ["labels too large by one"]


@pytest.mark.parametrize("spoil", ["missing", "shape", "nan"])
def test_what_training_returns_is_looked_at_before_its_values(spoil):
    observed = observe_port(PROBES, open_port("numpy"))
    assert observed.trajectory
    params = observed.trajectory[2]
    if spoil == "missing":
        del params["fc1.bias"]
    else:
        params["fc1.bias"] = params["fc1.bias"][:3] if spoil == "shape" else params["fc1.bias"] * np.nan
    verdict = diagnose(PROBES, observed)
    assert verdict.first == "step 3"
    assert "fc1.bias" in verdict.findings[0].evidence


def test_what_comes_after_a_mistake_is_left_unjudged():
    with patched(*LOSSES[0][0]):
        verdict = diagnose(PROBES, observe_port(PROBES, open_port("numpy")))
    assert verdict.unjudged == ("training",)
