"""Other optimizers than SGD with momentum, with the bounds of their own evaluation.

Most divide a mean of gradients m by the root of a mean of squares s. The quotient is not linear, so its bound
comes from the ends of the intervals of m and s; and it is at most C, because
Σ aᵢgᵢ ≤ √(Σ aᵢ²/cᵢ) · √(Σ cᵢgᵢ²).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.update_rule import Moment, at_rest, total
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FORMATS

State = Any
Advance = Callable[[str, Bounded, State, Bounded, Moment], tuple[Bounded, State]]
REMEDY = "Use SGD with momentum: v = mu * v + g + decay * w; w -= rate * v."
DECAYS = {"L2": "", "none": ", without weight decay", "decoupled": ", decoupled weight decay"}


def _pulled(g: Bounded, w: Bounded, decay: float, dtype: str) -> Bounded:
    """The gradient with an L2 penalty."""
    return total(dtype, (1.0, g), (decay, w))


@dataclass(frozen=True)
class Quotient:
    """A step −η · m̂ / (√ŝ + ε).

    Attributes:
        first: the factor of the mean of gradients: m ← first·m + (1 − first)·g; 0 for the gradient itself.
        second: that of the mean of squares; 1 for their sum, as in Adagrad.
        corrected: whether both are divided by 1 − factor^t.
        epsilon: added to the root.
        decay: "L2" (λ·w added to the gradient), "none", "decoupled" (w ← w − η·λ·w before the step).
        form: "" or "largest" (AMSGrad), "maximum" (Adamax), "ahead" (NAdam), "velocity" (RMSprop with
            momentum: the quotient goes through a velocity), "PyTorch" (its NAdam, whose factor of the mean
            grows).
        start: of the sum of squares.
        amount: of the decay; None for λ.
    """

    first: float = 0.9
    second: float = 0.999
    corrected: bool = True
    epsilon: float = 1e-8
    decay: str = "L2"
    form: str = ""
    start: float = 0.0
    amount: float | None = None

    def __call__(
        self, name: str, w: Bounded, state: State, g: Bounded, moment: Moment
    ) -> tuple[Bounded, State]:
        """(w, state) after the step; the state is None before the first."""
        t, dtype, rate = moment.step + 1, moment.dtype, moment.rates[moment.step]
        decay = moment.decay if self.amount is None else self.amount
        zero = at_rest(w)
        m, s, largest, v = state or (zero, Bounded(zero.value + self.start, zero.bound), zero, zero)
        g = _pulled(g, w, decay, dtype) if self.decay == "L2" else g
        m = total(dtype, (self.first, m), (1 - self.first, g))
        if self.form == "maximum":
            s = _maximum(total(dtype, (self.second, s)), Bounded(np.abs(g.value), g.bound))
        else:
            share = 1 - self.second if self.second < 1 else 1.0
            s = total(dtype, (self.second, s), (share, _square(g)))
        largest = _maximum(largest, s) if self.form == "largest" else s
        top, over = (1 - self.first**t, 1 - self.second**t) if self.corrected else (1.0, 1.0)
        if self.form == "maximum":
            over = 1.0
        mean = total(dtype, (1 / top, m))
        if self.form == "ahead":
            mean = total(dtype, (self.first / (1 - self.first ** (t + 1)), m), ((1 - self.first) / top, g))
        if self.form == "PyTorch":
            mu = [self.first * (1 - 0.5 * 0.96 ** (0.004 * i)) for i in range(1, t + 2)]
            past = float(np.prod(mu[:t]))
            mean = total(dtype, (mu[t] / (1 - past * mu[t]), m), ((1 - mu[t - 1]) / (1 - past), g))
        root = largest if self.form == "maximum" else _root(total(dtype, (1 / over, largest)))
        move = _divided(mean, root, self.epsilon, self._most(t), FORMATS[dtype].u)
        if self.form == "velocity":
            v = move = total(dtype, (moment.momentum, v), (1.0, move))
        rest = rate * decay if self.decay == "decoupled" else 0.0
        return total(dtype, (1.0, w), (-rest, w), (-rate, move)), (m, s, largest, v)

    def _most(self, t: int) -> float:
        """C, the largest quotient after t steps; generous for the forms that differ a little."""
        if self.form in ("largest", "maximum", "ahead", "PyTorch") or self.second == 1:
            return 16.0
        ages = np.arange(t)
        a, c = (1 - self.first) * self.first**ages, (1 - self.second) * self.second**ages
        if self.corrected:
            a, c = a / (1 - self.first**t), c / (1 - self.second**t)
        return float(np.sqrt(np.sum(a**2 / c)))


@dataclass(frozen=True)
class Sign:
    """A step −η · sign of a mean of gradients: signSGD, or Lion.

    Attributes:
        ahead: the share of the old mean in the mean whose sign is taken.
        mean: the share of the old mean in the new one.
        decay: "none" or "decoupled" or "L2".
    """

    ahead: float
    mean: float
    decay: str

    def __call__(
        self, name: str, w: Bounded, state: State, g: Bounded, moment: Moment
    ) -> tuple[Bounded, State]:
        """(w, state) after the step; the state is None before the first."""
        dtype, rate = moment.dtype, moment.rates[moment.step]
        m = state or at_rest(w)
        g = _pulled(g, w, moment.decay, dtype) if self.decay == "L2" else g
        looked = total(dtype, (self.ahead, m), (1 - self.ahead, g))
        sign = Bounded(np.sign(looked.value), np.where(np.abs(looked.value) <= looked.bound, 2.0, 0.0))
        rest = rate * moment.decay if self.decay == "decoupled" else 0.0
        new = total(dtype, (1.0, w), (-rest, w), (-rate, sign))
        return new, total(dtype, (self.mean, m), (1 - self.mean, g))


@dataclass(frozen=True)
class Adadelta:
    """A step −η · √((r + ε) / (s + ε)) · g, with s and r the means of squared gradients and squared moves."""

    share: float
    epsilon: float
    decay: str

    def __call__(
        self, name: str, w: Bounded, state: State, g: Bounded, moment: Moment
    ) -> tuple[Bounded, State]:
        """(w, state) after the step; the state is None before the first."""
        dtype, rate, u = moment.dtype, moment.rates[moment.step], FORMATS[moment.dtype].u
        zero = at_rest(w)
        s, r = state or (zero, zero)
        g = _pulled(g, w, moment.decay, dtype) if self.decay == "L2" else g
        s = total(dtype, (self.share, s), (1 - self.share, _square(g)))
        slack = Bounded(np.full(w.shape, self.epsilon), np.zeros(w.shape))
        top = _root(total(dtype, (1.0, r), (1.0, slack)))
        left = 1 - self.share
        most = left**-0.5 * (1 + 4 * u / left)  # of |g| / √s: s is at least left · g², but for roundings
        scaled = _divided(g, _root(total(dtype, (1.0, s), (1.0, slack))), 0.0, most, u)
        value = scaled.value * top.value
        bound = np.abs(scaled.value) * top.bound + scaled.bound * (top.value + top.bound)
        move = Bounded(value, bound + 8 * u * np.abs(value))
        r = total(dtype, (self.share, r), (1 - self.share, _square(move)))
        rest = rate * moment.decay if self.decay == "decoupled" else 0.0
        return total(dtype, (1.0, w), (-rest, w), (-rate, move)), (s, r)


def _square(g: Bounded) -> Bounded:
    return Bounded(g.value**2, (2 * np.abs(g.value) + g.bound) * g.bound)


def _root(s: Bounded) -> Bounded:
    value = np.sqrt(np.maximum(s.value, 0))
    low, high = np.sqrt(np.maximum(s.value - s.bound, 0)), np.sqrt(np.maximum(s.value, 0) + s.bound)
    return Bounded(value, np.maximum(value - low, high - value))


def _maximum(a: Bounded, b: Bounded) -> Bounded:
    return Bounded(np.maximum(a.value, b.value), np.maximum(a.bound, b.bound))


def _divided(m: Bounded, root: Bounded, epsilon: float, most: float, u: float) -> Bounded:
    """m / (root + ε), with the bound from the ends of both intervals, and none above `most`."""
    value = m.value / (root.value + epsilon)
    low, high = np.maximum(root.value - root.bound, 0) + epsilon, root.value + root.bound + epsilon
    ends = [(m.value + sign * m.bound) / divisor for sign, divisor in product((-1, 1), (low, high))]
    ends = [np.clip(end, -most, most) for end in ends]
    off: Array = np.max([np.abs(end - value) for end in ends], axis=0)
    return Bounded(value, off + 16 * u * np.abs(value))


def methods() -> Iterator[tuple[Kind, Advance]]:
    """Other optimizers, by their names; several settings of one have the same name."""
    for decay, words in DECAYS.items():
        for epsilon in (1e-8, 1e-7):
            yield (
                _kind("AdamW" if decay == "decoupled" else f"Adam{words}"),
                Quotient(epsilon=epsilon, decay=decay),
            )
        yield _kind(f"Adam without bias correction{words}"), Quotient(corrected=False, decay=decay)
        yield _kind(f"AMSGrad{words}"), Quotient(form="largest", decay=decay)
        yield _kind(f"Adamax{words}"), Quotient(form="maximum", decay=decay)
        yield _kind(f"NAdam{words}"), Quotient(form="ahead", decay=decay)
        yield _kind(f"NAdam{words}"), Quotient(form="PyTorch", decay=decay)
        for second, epsilon in ((0.99, 1e-8), (0.9, 1e-7), (0.9, 1e-8)):
            plain = Quotient(0.0, second, False, epsilon, decay)
            yield _kind(f"RMSprop{words}"), plain
            yield _kind(f"RMSprop with momentum{words}"), replace(plain, form="velocity")
        for start, epsilon in ((0.0, 1e-10), (0.1, 1e-7), (0.0, 1e-8)):
            yield _kind(f"Adagrad{words}"), Quotient(0.0, 1.0, False, epsilon, decay, start=start)
        yield _kind(f"sign of the gradient{words}"), Sign(0.0, 0.0, decay)
        yield _kind(f"sign of the velocity{words}"), Sign(0.9, 0.9, decay)
        yield _kind(f"Lion{words}"), Sign(0.9, 0.99, decay)
        yield _kind(f"Adadelta{words}"), Adadelta(0.9, 1e-6, decay)
        yield _kind(f"Adadelta{words}"), Adadelta(0.95, 1e-7, decay)
    for amount in (0.01, 0.004, 1e-4):  # the decay that PyTorch, Keras and optax use by themselves
        yield _kind(f"AdamW with its own decay of {amount:g}"), Quotient(decay="decoupled", amount=amount)


def _kind(name: str) -> Kind:
    return Kind(name, f"The steps are those of another optimizer: {name}.", REMEDY)
