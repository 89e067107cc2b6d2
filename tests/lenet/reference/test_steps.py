"""SGD in float64: every step within its bound, whole runs together, every other optimizer outside."""

from functools import cache
from itertools import islice

import numpy as np
import pytest

from lenet import ports
from lenet.diagnose.mistakes.update_rule import ROUNDINGS
from lenet.network.recipe import Batch, Recipe, batches, initial_params
from lenet.ports import lockstep, open_port
from lenet.reference.backward import decided
from lenet.reference.distance import ratio
from lenet.reference.sgd_step import Step, step
from lenet_numpy.port import Port as NumpyPort
from parity.arithmetic.floats import U64, gamma
from tests.helpers import BATCH

# Momentum, decay, and a rate drop in the middle; eight steps, the fourth and the last on a short batch.
RECIPE = Recipe(seed=1, epochs=2, batch_size=BATCH, weight_decay=5e-3, schedule="drop")
SIZES = (BATCH, BATCH, BATCH, 2, BATCH, BATCH, BATCH, 2)


@pytest.fixture(scope="module")
def trail(digits):
    """The reference run in a dtype, step by step: (params, velocity, batch, what the step must give)."""

    @cache
    def in_dtype(dtype):
        port = open_port("numpy", dtype)
        port.load(initial_params(RECIPE.seed))
        stations = []
        for k, size in enumerate(SIZES):
            params, velocity, candidates = port.params(), port.velocity(), digits[32 * k : 32 * (k + 1)]
            chosen = candidates[np.flatnonzero(decided(params, candidates.images, dtype))[:size]]
            count = len(chosen)
            assert count == size
            batch = Batch(chosen.images, chosen.labels, RECIPE.rate(k, len(SIZES)))
            stations.append((params, velocity, batch, step(params, velocity, batch, RECIPE, dtype)))
            list(port.train([batch], RECIPE))
        return stations

    return in_dtype


def worst(port, expected: Step) -> float:
    """Largest error/bound over all parameters and their velocity."""
    bounds = [(port.params(), expected.params), (port.velocity(), expected.velocity)]
    return max(float(ratio(found[n], bound[n]).max()) for found, bound in bounds for n in bound)


@pytest.mark.slow
def test_every_port_takes_every_step_within_the_bound(port_name, finest, open_port, trail):
    port = open_port(port_name, finest)
    for params, velocity, batch, expected in trail(finest):
        port.load(params, velocity)
        list(port.train([batch], RECIPE))
        assert worst(port, expected) <= 1


@pytest.mark.slow
def test_tf1_steps_right_with_reference_variables(trail, open_port):
    """Those of TensorFlow 1 itself: an update that does not wait for all gradients changes the later ones."""
    open_port("tf1", "float64")  # or skips
    import tensorflow.compat.v1 as tf

    from lenet_tf1.port import Port

    tf.disable_resource_variables()
    try:
        port = Port("tf1", "float64")
    finally:
        tf.enable_resource_variables()
    assert {type(one).__name__ for one in port._model.parameters.values()} == {"RefVariable"}
    for params, velocity, batch, expected in trail("float64"):
        port.load(params, velocity)
        list(port.train([batch], RECIPE))
        assert worst(port, expected) <= 1


class Faulty(NumpyPort):
    """The NumPy port with another rule for the step."""

    def __init__(self, rule) -> None:
        super().__init__("numpy", "float64")
        self.rule = rule

    def _train_step(self, images, labels, rate):
        loss, gradient = self._gradients(images, labels)
        for name, w in self._model.params.items():
            self.rule(w, self._optimizer.velocity[name], gradient[name], rate, name)
        return loss


MU, DECAY = RECIPE.momentum, RECIPE.weight_decay


def dampened(w, v, g, rate, name):
    v[...] = MU * v + (1 - MU) * (g + DECAY * w)
    w -= rate * v


def rate_inside_the_velocity(w, v, g, rate, name):
    v[...] = MU * v + rate * (g + DECAY * w)
    w -= v


def nesterov(w, v, g, rate, name):
    g = g + DECAY * w
    v[...] = MU * v + g
    w -= rate * (g + MU * v)


def decoupled_decay(w, v, g, rate, name):
    v[...] = MU * v + g
    w -= rate * (v + DECAY * w)


def decay_times_two(w, v, g, rate, name):
    v[...] = MU * v + g + 2 * DECAY * w
    w -= rate * v


def no_decay_on_biases(w, v, g, rate, name):
    v[...] = MU * v + g + (DECAY * w if name.endswith("weight") else 0)
    w -= rate * v


def right(w, v, g, rate, name):
    v[...] = MU * v + g + DECAY * w
    w -= rate * v


RULES = [dampened, rate_inside_the_velocity, nesterov, decoupled_decay, decay_times_two, no_decay_on_biases]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_other_rule_leaves_the_bound(rule, trail):
    port = Faulty(rule)
    outside = 0
    for params, velocity, batch, expected in trail("float64"):
        port.load(params, velocity)
        list(port.train([batch], RECIPE))
        outside += worst(port, expected) > 1
    assert outside >= len(SIZES) - 1  # the first step has no velocity to be wrong about


def test_the_right_rule_written_again_stays_within(trail):
    port = Faulty(right)
    for params, velocity, batch, expected in trail("float64"):
        port.load(params, velocity)
        list(port.train([batch], RECIPE))
        assert worst(port, expected) <= 1


# --- whole runs ---------------------------------------------------------------------------------

LONG = Recipe(seed=1, epochs=10, batch_size=BATCH, learning_rate=0.02, weight_decay=5e-4, schedule="drop")
STEPS = 110
# What the update's own roundings may move a weight by, in one step: the noise of the model run.
NOISE = gamma(ROUNDINGS, U64)


@pytest.fixture(scope="module")
def long_run(digits):
    """Digits for 110 steps, where these end, and how far runs drift that are shaken by NOISE after each.

    The shaken runs are the argument for the limit below: they suffer at every step, in every weight,
    ten roundings of one size, and grow them by the very Jacobians that grow a port's. Three draws, the
    worst taken, and a factor of 4 for the directions that three draws have not tried.
    """
    some = digits[: 11 * BATCH + 2]  # 10 epochs of 11 full batches and a short one of 2
    port = open_port("numpy", "float64")
    end = ended(port, port.train(batches(some, LONG, 0, STEPS), LONG))
    spread = []
    for seed in range(3):
        shaken = lockstep.shaken(port, batches(some, LONG, 0, STEPS), LONG, NOISE, seed)
        spread.append(lockstep.distance(ended(port, shaken), end))
    return some, end, 4 * max(spread)


def ended(port, run):
    """The parameters behind a run from the recipe's initial weights."""
    port.load(initial_params(LONG.seed))
    assert len(list(run)) == STEPS
    return port.params()


# Every framework in its quickest mode; each step of every mode is judged above. NumPy is the reference.
SLOWER = ("numpy", "torch:compile", "tf", "tf:xla", "jax:eager")
QUICKEST = [n for n in ports.names() if n not in SLOWER and "float64" in ports.framework(n).dtypes]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICKEST)
def test_110_steps_end_in_the_same_weights(name, open_port, long_run):
    """In float64, to within the shaken runs' spread, which is some thousands of u."""
    some, end, limit = long_run
    port = open_port(name, "float64")
    found = ended(port, port.train(batches(some, LONG, 0, STEPS), LONG))
    assert lockstep.distance(found, end) <= limit
    assert limit < 2**13 * U64


@pytest.mark.slow
def test_a_run_by_another_rule_ends_far_beyond_the_limit(long_run, monkeypatch):
    """The smallest of the faults, against the limit: noise < limit < fault."""
    some, end, limit = long_run
    monkeypatch.setattr(f"{__name__}.DECAY", LONG.weight_decay)
    for rule in (no_decay_on_biases, nesterov):
        port = Faulty(rule)
        found = ended(port, port.train(batches(some, LONG, 0, STEPS), LONG))
        assert lockstep.distance(found, end) > 1e6 * limit


@pytest.mark.slow
def test_float32_drifts_by_rounding_first_and_by_decisions_later(digits, long_run):
    """Step 1 is rounding: a few u of float32. Then gates and winners near a tie fall the other way."""
    some, *_ = long_run
    run = lockstep.lockstep(open_port("numpy", "float64"), [open_port("numpy", "float32")], some, LONG, 60)
    apart = run.distances[:, 0]
    assert 2.0**-26 < apart[0] < 2.0**-16
    assert apart[-1] > apart[0]


@pytest.mark.slow
def test_drift_of_a_port_from_itself_is_zero(digits, long_run):
    some, *_ = long_run
    ports = [open_port("numpy", "float64") for _ in range(2)]
    assert not lockstep.lockstep(ports[0], ports[1:], some, LONG, 5).distances.any()


def test_distance_is_relative_to_the_largest_weight():
    zero, one = {"w": np.array([0.0, 4.0])}, {"w": np.array([1.0, 4.0])}
    assert lockstep.distance(one, zero) == 0.25


def test_train_resumes_velocity_between_calls(digits):
    """Two calls of one step are one call of two steps: the velocity is kept."""
    ports = [open_port("numpy", "float64") for _ in range(2)]
    some = list(islice(batches(digits[:32], RECIPE), 2))
    for port, split in zip(ports, ([some], [some[:1], some[1:]]), strict=True):
        port.load(initial_params(0))
        for part in split:
            list(port.train(part, RECIPE))
    for name, w in ports[0].params().items():
        np.testing.assert_array_equal(w, ports[1].params()[name])
