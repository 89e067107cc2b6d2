"""Each other optimizer by itself: plain NumPy makes its steps, with gradients that are given."""

from collections.abc import Callable

import numpy as np
import pytest

from lenet.diagnose.mistakes.of_training.adaptive import methods
from parity.arithmetic import Bounded
from tests.lenet.diagnose.plain.optimizers import (
    DECAY,
    GRADIENTS,
    MU,
    RATES,
    START,
    Array,
    Plain,
    State,
    Step,
    check,
    moment,
)
from tests.lenet.diagnose.plain.words import check_kinds


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
        # The widest bound has seven: 128 only show one that is far wider.
        check(method, plain, "fc2.weight", 128)


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
            # Both parts of a quotient are off by 1e-4 of themselves. It is at most 1 / √(1 − 0.99), of
            # RMSprop's first step; a velocity adds up three.
            assert found.bound.max() <= 3 * RATES[0] * 10 * 2e-4
    assert largest > 0.1 or "sign" in name or "Lion" in name  # a sign does not change
