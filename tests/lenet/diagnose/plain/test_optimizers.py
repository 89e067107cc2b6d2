"""Each wrong optimizer by itself: plain NumPy makes its steps, with gradients that are given."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from lenet.diagnose.mistakes.of_training.adaptive import Sign, methods
from lenet.diagnose.mistakes.optimizer import MISTAKES
from lenet.diagnose.mistakes.update_rule import ROUNDINGS, Moment, Rule, advance, at_rest, total
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT32, FLOAT64, gamma
from tests.lenet.diagnose.plain.words import check_kinds
from tests.parity.judging.causes.plain.layer import check_inside

Array = np.ndarray
MU, DECAY = 0.9, 0.125
RATES, SIZES = (0.05, 0.05, 0.05, 0.005, 0.005, 0.005), (8, 8, 3, 8, 8, 3)
NAMES = ("conv1.weight", "conv1.bias", "fc2.weight", "fc2.bias")
RNG = np.random.default_rng(4)
GRADIENTS = {name: RNG.standard_normal((len(RATES), 3, 5)) for name in NAMES}
START = {name: RNG.standard_normal((3, 5)) for name in NAMES}


@dataclass(frozen=True)
class Step:
    """What a rule may use: the number of the step, the parameter's name, its value, its gradient."""

    k: int
    name: str
    w: Array
    g: Array

    @property
    def eta(self) -> float:
        return RATES[self.k]

    @property
    def pulled(self) -> Array:
        return self.g + DECAY * self.w

    @property
    def bias(self) -> bool:
        return self.name.endswith("bias")


State = object
Plain = Callable[[Step, State], tuple[Array, State]]  # of the state, None at first: the new value and state


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
GIVEN = {name: options for name, options in ((kind.name, options) for kind, options in MISTAKES)}
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


def moment(k: int, dtype: str = "float64") -> Moment:
    return Moment(k, RATES, SIZES, 3, MU, DECAY, dtype)


def steps(plain: Plain, name: str) -> Iterator[tuple[int, Array, Array]]:
    """The number of each step, the value before it and the value after it."""
    w, state = START[name], None
    for k, g in enumerate(GRADIENTS[name]):
        new, state = plain(Step(k, name, w, g), state)
        yield k, w, new
        w = new


def check(advance_: Callable, plain: Plain, name: str, roundings: float, dtype: str = "float64") -> None:
    """Every step from the value before it lies within the bound, which is that of so many roundings."""
    state, u = None, {"float64": FLOAT64.u, "float32": FLOAT32.u}[dtype]
    for k, w, new in steps(plain, name):
        g = Bounded(GRADIENTS[name][k], np.zeros(w.shape))
        found, state = advance_(name, Bounded(w, np.zeros(w.shape)), state, g, moment(k, dtype))
        check_inside(found, new, f"step {k + 1}")
        size = np.abs(w).max() + np.abs(GRADIENTS[name]).max() * 10 + 1
        assert found.bound.max() <= gamma(roundings, u) * size, f"step {k + 1}"


def test_every_mistake_of_the_rule_is_computed_here():
    here = {name for name in GIVEN if not name.endswith(" not trained") or name in RULES}
    assert here == RULES.keys() | OF_SEVERAL_STEPS
    check_kinds(*(kind for kind, _ in MISTAKES))


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule_makes_the_steps_of_plain_numpy(name):
    rule = Rule().with_options(GIVEN[name])
    for parameter in NAMES:
        check(lambda n, w, v, g, m: advance(rule, n, w, v, g, m), RULES[name], parameter, 64 * ROUNDINGS)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_rule_with_other_numbers_makes_the_steps_of_plain_numpy(name):
    rule, plain = NUMBERS[name]
    for parameter in NAMES:
        check(lambda n, w, v, g, m: advance(rule, n, w, v, g, m), plain, parameter, 64 * ROUNDINGS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_right_rule_makes_the_steps_of_plain_numpy(dtype):
    for parameter in NAMES:
        check(lambda n, w, v, g, m: advance(Rule(), n, w, v, g, m), sgd(), parameter, 64 * ROUNDINGS, dtype)


def test_a_rule_of_the_step_before_does_nothing_at_first():
    w, g = (Bounded(a, np.zeros(a.shape)) for a in (START["fc2.bias"], GRADIENTS["fc2.bias"][0]))
    new, v = advance(Rule(stale="none"), "fc2.bias", w, None, g, moment(0))
    assert (new.value == w.value).all() and not v.value.any() and not new.bound.any()
    later, _ = advance(Rule(stale="none"), "fc2.bias", w, v, g, moment(1))
    check_inside(later, sgd()(Step(1, "fc2.bias", w.value, g.value), None)[0])


def test_errors_of_the_value_and_the_gradient_are_carried():
    rng = np.random.default_rng(0)
    w, g, v = (rng.standard_normal((40, 40)) for _ in range(3))
    errors = [1e-3 * rng.random(w.shape) for _ in range(3)]
    new, _ = advance(
        Rule(), "fc2.bias", *(Bounded(a, e) for a, e in zip((w, v, g), errors, strict=True)), moment(0)
    )
    largest = 0.0
    for signs in np.ndindex(2, 2, 2):
        a, b, c = (x + (2 * s - 1) * e for x, s, e in zip((w, v, g), signs, errors, strict=True))
        off = np.abs(sgd()(Step(0, "fc2.bias", a, c), b)[0] - new.value)
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
    assert not at_rest(a).value.any() and not at_rest(a).bound.any() and at_rest(a).shape == (2,)


# --- other optimizers ----------------------------------------------------------------------------


def with_decay(inner: Callable[..., Plain], **numbers) -> dict[str, Plain]:
    """The same with each form of decay, by the words behind the name."""
    own = numbers.pop("decay", DECAY)

    def decayed(s: Step, state: State) -> tuple[Array, State]:
        new, state = inner(**numbers)(s, state)
        return new - s.eta * own * s.w, state

    return {
        "": lambda s, state: inner(**numbers)(Step(s.k, s.name, s.w, s.pulled), state),
        ", without weight decay": inner(**numbers),
        ", decoupled weight decay": decayed,
    }


def adam(eps: float = 1e-8, form: str = "") -> Plain:
    def step(s: Step, state: State) -> tuple[Array, State]:
        m, n, most, past = state or (0, 0, 0, 1.0)
        t = s.k + 1
        m, n = 0.9 * m + 0.1 * s.g, 0.999 * n + 0.001 * s.g**2
        most = np.maximum(most, n)
        mean, square = m / (1 - 0.9**t), n / (1 - 0.999**t)
        if form == "not corrected":
            mean, square = m, n
        if form == "AMSGrad":
            square = most / (1 - 0.999**t)
        if form == "ahead":  # Dozat 2016 with a constant momentum
            mean = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * s.g / (1 - 0.9**t)
        if form == "PyTorch":
            now, following = (0.9 * (1 - 0.5 * 0.96 ** (i * 0.004)) for i in (t, t + 1))
            past = past * now
            mean = following * m / (1 - past * following) + (1 - now) * s.g / (1 - past)
        return s.w - s.eta * mean / (np.sqrt(square) + eps), (m, n, most, past)

    return step


def adamax() -> Plain:
    def step(s: Step, state: State) -> tuple[Array, State]:
        m, most = state or (0, 0)
        m, most = 0.9 * m + 0.1 * s.g, np.maximum(0.999 * most, np.abs(s.g))
        return s.w - s.eta / (1 - 0.9 ** (s.k + 1)) * m / (most + 1e-8), (m, most)

    return step


def rmsprop(share: float, eps: float, momentum: bool = False) -> Plain:
    def step(s: Step, state: State) -> tuple[Array, State]:
        n, v = state or (0, 0)
        n = share * n + (1 - share) * s.g**2
        v = (MU * v if momentum else 0) + s.g / (np.sqrt(n) + eps)
        return s.w - s.eta * v, (n, v)

    return step


def adagrad(start: float, eps: float) -> Plain:
    def step(s: Step, n: State) -> tuple[Array, State]:
        n = (start if n is None else n) + s.g**2
        return s.w - s.eta * s.g / (np.sqrt(n) + eps), n

    return step


def sign(look: float, keep: float) -> Plain:
    def step(s: Step, m: State) -> tuple[Array, State]:
        m = 0 if m is None else m
        return s.w - s.eta * np.sign(look * m + (1 - look) * s.g), keep * m + (1 - keep) * s.g

    return step


def adadelta(share: float, eps: float) -> Plain:
    def step(s: Step, state: State) -> tuple[Array, State]:
        n, r = state or (0, 0)
        n = share * n + (1 - share) * s.g**2
        move = np.sqrt(r + eps) / np.sqrt(n + eps) * s.g
        return s.w - s.eta * move, (n, share * r + (1 - share) * move**2)

    return step


OTHERS: dict[str, list[Plain]] = {}
for _name, _forms in (
    ("Adam", [with_decay(adam, eps=eps) for eps in (1e-8, 1e-7)]),
    ("Adam without bias correction", [with_decay(adam, form="not corrected")]),
    ("AMSGrad", [with_decay(adam, form="AMSGrad")]),
    ("Adamax", [with_decay(adamax)]),
    ("NAdam", [with_decay(adam, form=form) for form in ("ahead", "PyTorch")]),
    ("RMSprop", [with_decay(rmsprop, share=a, eps=b) for a, b in ((0.99, 1e-8), (0.9, 1e-7), (0.9, 1e-8))]),
    (
        "RMSprop with momentum",
        [
            with_decay(rmsprop, share=a, eps=b, momentum=True)
            for a, b in ((0.99, 1e-8), (0.9, 1e-7), (0.9, 1e-8))
        ],
    ),
    ("Adagrad", [with_decay(adagrad, start=a, eps=b) for a, b in ((0, 1e-10), (0.1, 1e-7), (0, 1e-8))]),
    ("sign of the gradient", [with_decay(sign, look=0, keep=0)]),
    ("sign of the velocity", [with_decay(sign, look=0.9, keep=0.9)]),
    ("Lion", [with_decay(sign, look=0.9, keep=0.99)]),
    ("Adadelta", [with_decay(adadelta, share=a, eps=b) for a, b in ((0.9, 1e-6), (0.95, 1e-7))]),
):
    for _form in _forms:
        for _words, _plain in _form.items():
            OTHERS.setdefault(f"{_name}{_words}", []).append(_plain)
OTHERS["AdamW"] = OTHERS.pop("Adam, decoupled weight decay")
for _amount in (0.01, 0.004, 1e-4):
    OTHERS[f"AdamW with its own decay of {_amount:g}"] = [
        with_decay(adam, decay=_amount)[", decoupled weight decay"]
    ]


@pytest.mark.parametrize("name", OTHERS)
def test_another_optimizer_makes_the_steps_of_plain_numpy(name):
    some = [method for kind, method in methods() if kind.name == name]
    for method, plain in zip(some, OTHERS[name], strict=True):
        # A quotient of means has a few roundings more; a root near zero, as many as its size is smaller.
        check(method, plain, "fc2.weight", 2.0**14)


def test_every_other_optimizer_is_computed_here():
    kinds = [kind for kind, _ in methods()]
    check_kinds(*kinds)
    assert {kind.name for kind in kinds} == OTHERS.keys()


@pytest.mark.parametrize("name", [name for name in OTHERS if "without" in name])
def test_errors_of_gradients_are_carried_by_other_optimizers(name):
    """Gradients that are moved by their errors move no step beyond its bound, and some come near to it."""
    method = next(method for kind, method in methods() if kind.name == name)
    rng, largest = np.random.default_rng(1), 0.0
    given = np.abs(GRADIENTS["fc2.weight"]) + 1  # not near zero, where the step jumps
    for _ in range(8):
        state, own, w = None, None, START["fc2.weight"]
        side = rng.choice([-1, 1], given.shape)
        for k in range(3):
            g = Bounded(given[k], np.full(w.shape, 1e-4))
            found, state = method("fc2.weight", Bounded(w, np.zeros(w.shape)), state, g, moment(k))
            w, own = OTHERS[name][0](Step(k, "fc2.weight", w, given[k] + 1e-4 * side[k]), own)
            off = np.abs(w - found.value)
            assert (off <= found.bound).all()
            largest = max(largest, float((off / found.bound).max()))
            # Both parts of a quotient of at most 16 are off by 1e-4 of themselves; a velocity adds up three.
            assert found.bound.max() <= 3 * RATES[0] * 16 * 4e-4
    assert largest > 0.02 or "sign" in name or "Lion" in name  # a sign does not change
