"""Each wrong update rule by itself: plain NumPy makes its steps, with gradients that are given."""

from collections.abc import Callable

import numpy as np
import pytest

from lenet.diagnose.mistakes.of_training.adaptive import Sign
from lenet.diagnose.mistakes.optimizer import MISTAKES
from lenet.diagnose.mistakes.update_rule import ROUNDINGS, Rule, advance, at_rest, total
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT32, gamma
from tests.lenet.diagnose.plain.optimizers import (
    DECAY,
    GRADIENTS,
    MU,
    NAMES,
    RATES,
    SIZES,
    START,
    Array,
    Plain,
    State,
    Step,
    check,
    moment,
)
from tests.lenet.diagnose.plain.words import check_kinds
from tests.parity.operators.one_node import check_inside

# Every step hands its errors on, and no rule makes a term more than a batch size larger.
MOST = len(RATES) * max(SIZES) * ROUNDINGS


def sgd(
    pull: Callable[[Step], Array] = lambda s: s.pulled, rate: Callable[[Step], float] = lambda s: s.eta
) -> Plain:
    """The right rule, with another gradient or another rate."""

    def step(s: Step, v: State) -> tuple[Array, State]:
        v = MU * (0 if v is None else v) + pull(s)
        return s.w - rate(s) * v, v

    return step


def moved(by: Callable[[Step, Array], tuple[Array, Array]]) -> Plain:
    """Another velocity: what w moves by, and the velocity afterwards."""

    def step(s: Step, v: State) -> tuple[Array, State]:
        move, v = by(s, np.zeros(s.w.shape) if v is None else v)
        return s.w - move, v

    return step


def on_short(change: Callable[[Plain], Plain]) -> Plain:
    right = sgd()
    return lambda s, v: change(right)(s, v) if SIZES[s.k] == 3 else right(s, v)


def dampened(s: Step, v: Array, first: bool = True) -> tuple[Array, Array]:
    v = MU * v + (1 - MU if first or s.k else 1) * s.pulled
    return s.eta * v, v


def inside(s: Step, v: Array) -> tuple[Array, Array]:
    v = MU * v + s.eta * s.pulled
    return v, v


def ahead(s: Step, v: Array) -> tuple[Array, Array]:
    v = MU * v + s.pulled
    return s.eta * (s.pulled + MU * v), v


def ahead_inside(s: Step, v: Array) -> tuple[Array, Array]:
    v = MU * v + s.eta * s.pulled
    return s.eta * s.pulled + MU * v, v


def corrected(s: Step, v: Array) -> tuple[Array, Array]:
    v = MU * v + (1 - MU) * s.pulled
    return s.eta * v / (1 - MU ** (s.k + 1)), v


def usual(s: Step, v: Array) -> tuple[Array, Array]:
    v = MU * v + s.pulled
    return s.eta * v, v


def again(when: Callable[[Step], bool]) -> Plain:
    """The velocity starts again with zero."""
    return moved(lambda s, v: usual(s, np.zeros(s.w.shape) if when(s) else v))


def decoupled(by: Callable[[Step, Array], Array]) -> Plain:
    """A velocity without decay; what the decay makes of w is told by itself."""

    def step(s: Step, v: State) -> tuple[Array, State]:
        v = MU * (0 if v is None else v) + s.g
        return by(s, v), v

    return step


RULES: dict[str, Plain] = {
    "momentum missing": moved(lambda s, v: (s.eta * s.pulled, v)),
    "momentum dampened": moved(dampened),
    "momentum dampened but for the first step": moved(lambda s, v: dampened(s, v, False)),
    "learning rate inside the velocity": moved(inside),
    "Nesterov momentum": moved(ahead),
    "Nesterov momentum with the rate inside": moved(ahead_inside),
    "velocity one step late": moved(lambda s, v: (s.eta * v, MU * v + s.pulled)),
    "velocity reset each epoch": again(lambda s: s.k % 3 == 0),
    "velocity reset at a rate drop": again(lambda s: s.k == 3),
    "weight decay missing": sgd(lambda s: s.g),
    "decoupled weight decay": decoupled(lambda s, v: s.w - s.eta * v - s.eta * DECAY * s.w),
    "weight decay without the learning rate": decoupled(lambda s, v: s.w - s.eta * v - DECAY * s.w),
    "weight decay twice as large": sgd(lambda s: s.g + 2 * DECAY * s.w),
    "weight decay half as large": sgd(lambda s: s.g + DECAY / 2 * s.w),
    "weight decay with the wrong sign": sgd(lambda s: s.g - DECAY * s.w),
    "no weight decay on biases": sgd(lambda s: s.g if s.bias else s.pulled),
    "weight decay on biases alone": sgd(lambda s: s.pulled if s.bias else s.g),
    "learning rate one step late": sgd(rate=lambda s: RATES[max(s.k - 1, 0)]),
    "learning rate one step early": sgd(rate=lambda s: RATES[min(s.k + 1, 5)]),
    "learning rate never drops": sgd(rate=lambda s: 0.05),
    "learning rate doubled for biases": sgd(rate=lambda s: s.eta * (2 if s.bias else 1)),
    "biases not trained": sgd(rate=lambda s: 0 if s.bias else s.eta),
    "short batch divided by the full size": sgd(lambda s: s.g * SIZES[s.k] / 8 + DECAY * s.w),
    "short batch dropped": on_short(lambda right: lambda s, v: (s.w, v)),
    "gradients summed over the batch in training": sgd(lambda s: s.g * SIZES[s.k] + DECAY * s.w),
    "nothing is trained": lambda s, v: (s.w, v),
    "momentum dampened and corrected": moved(corrected),
    "Nesterov momentum from the second step on": moved(lambda s, v: (ahead if s.k else usual)(s, v)),
    "weight decay after the step": decoupled(lambda s, v: (s.w - s.eta * v) * (1 - s.eta * DECAY)),
    "L1 in place of weight decay": sgd(lambda s: s.g + DECAY * np.sign(s.w)),
    "learning rate multiplied by the batch size": sgd(rate=lambda s: s.eta * SIZES[s.k]),
    "step uphill": moved(lambda s, v: (-usual(s, v)[0], usual(s, v)[1])),
}
for _part in ("conv1", "conv1.weight", "conv1.bias", "fc2", "fc2.weight", "fc2.bias"):
    RULES[f"{_part} not trained"] = lambda s, v, part=_part: (  # type: ignore[misc]
        (s.w, v) if s.name == part or s.name.startswith(f"{part}.") else sgd()(s, v)
    )
GIVEN = {kind.name: options for kind, options in MISTAKES}
OF_SEVERAL_STEPS = {  # which `Run` makes of the gradients of several steps
    "gradients accumulated across steps",
    "gradient of the step before",
    "gradient of the step before, none in the first step",
}
NUMBERS: dict[str, tuple[Rule, Plain]] = {
    "another momentum": (
        Rule(mu=0.5),
        moved(lambda s, v: (s.eta * (0.5 * v + s.pulled), 0.5 * v + s.pulled)),
    ),
    "a gain": (Rule(gain=3.0), sgd(lambda s: 3 * s.g + DECAY * s.w)),
    "an L1 penalty": (Rule(l1=0.25), sgd(lambda s: s.pulled + 0.25 * np.sign(s.w))),
    "decays of some": (
        Rule(decay_factors={"fc2.bias": 0.5}),
        sgd(lambda s: s.g + DECAY * (0.5 if s.name == "fc2.bias" else 1) * s.w),
    ),
    "rates of some": (
        Rule(rate_factors={"fc2.bias": 3.0}),
        sgd(rate=lambda s: s.eta * (3 if s.name == "fc2.bias" else 1)),
    ),
    "rates of its own": (
        Rule(rates=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
        sgd(rate=lambda s: (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)[s.k]),
    ),
}


def test_every_mistake_of_the_rule_is_computed_here():
    here = {name for name in GIVEN if not name.endswith(" not trained") or name in RULES}
    assert here == RULES.keys() | OF_SEVERAL_STEPS
    check_kinds(*(kind for kind, _ in MISTAKES))


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule_makes_the_steps_of_plain_numpy(name):
    rule = Rule().with_options(GIVEN[name])
    for parameter in NAMES:
        check(lambda n, w, v, g, m: advance(rule, n, w, v, g, m), RULES[name], parameter, MOST)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_rule_with_other_numbers_makes_the_steps_of_plain_numpy(name):
    rule, plain = NUMBERS[name]
    for parameter in NAMES:
        check(lambda n, w, v, g, m: advance(rule, n, w, v, g, m), plain, parameter, MOST)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_right_rule_makes_the_steps_of_plain_numpy(dtype):
    for parameter in NAMES:
        check(lambda n, w, v, g, m: advance(Rule(), n, w, v, g, m), sgd(), parameter, MOST, dtype)


def test_a_rule_of_the_step_before_does_nothing_at_first():
    w, g = (Bounded(a, np.zeros(a.shape)) for a in (START["fc2.bias"], GRADIENTS["fc2.bias"][0]))
    new, v = advance(Rule(stale="none"), "fc2.bias", w, None, g, moment(0))
    assert (new.value == w.value).all()
    assert not v.value.any()
    assert not new.bound.any()
    later, _ = advance(Rule(stale="none"), "fc2.bias", w, v, g, moment(1))
    check_inside(later, sgd()(Step(1, "fc2.bias", w.value, g.value), None)[0])


def test_errors_of_the_value_and_the_gradient_are_carried():
    rng = np.random.default_rng(0)
    w, g, v = (rng.standard_normal((40, 40)) for _ in range(3))
    errors = [1e-3 * rng.random(w.shape) for _ in range(3)]
    a, b, c = (Bounded(x, e) for x, e in zip((w, v, g), errors, strict=True))
    new, _ = advance(Rule(), "fc2.bias", a, b, c, moment(0))
    largest = 0.0
    for signs in np.ndindex(2, 2, 2):
        one, two, three = (x + (2 * s - 1) * e for x, s, e in zip((w, v, g), signs, errors, strict=True))
        off = np.abs(sgd()(Step(0, "fc2.bias", one, three), two)[0] - new.value)
        assert (off <= new.bound).all()
        largest = max(largest, float((off / new.bound).max()))
    assert largest > 0.99  # all errors in one direction come to the bound but for rounding


def test_the_sign_of_what_may_be_zero_is_unknown():
    w = Bounded(np.array([1.0, -1e-9, 0.0, 0.5]), np.array([0.0, 1e-6, 0.0, 0.0]))
    g = Bounded(np.zeros(4), np.zeros(4))
    new, _ = advance(Rule(l1=1.0), "fc2.bias", w, None, g, moment(0))
    assert (new.bound > 0.05).tolist() == [False, True, True, False]
    step, _ = Sign(0.0, 0.0, "none")("fc2.bias", w, None, w, moment(0))
    assert (step.bound > 0.05).tolist() == [False, True, True, False]


def test_a_sum_of_terms_has_the_error_of_its_terms_and_of_so_many_roundings():
    a, b = Bounded(np.array([1.0, 2.0]), np.array([0.5, 0.0])), Bounded(np.array([4.0, -8.0]), np.zeros(2))
    found = total("float32", (2.0, a), (-0.5, b), (0.0, Bounded(np.full(2, np.nan), np.zeros(2))))
    assert found.value.tolist() == [0.0, 8.0]
    sizes = np.array([2 * 1.5 + 2, 4 + 4.0])
    least = np.array([1.0, 0.0]) + gamma(ROUNDINGS, FLOAT32.u) * sizes
    assert (found.bound >= least).all()
    assert (found.bound <= least * (1 + 1e-9) + ROUNDINGS * float(np.finfo("float32").tiny) * 2).all()
    assert at_rest(a).value.tolist() == at_rest(a).bound.tolist() == [0.0, 0.0]
