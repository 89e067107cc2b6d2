"""The update rule of the recipe, with an option for each thing that can be wrong in it.

    g ← gradient + λ·w        v ← μ·v + g        w ← w − η·v

Each mistake sets one or two options, so mistakes can be combined. Every term counts `ROUNDINGS` roundings
of its size: no form of the rule has more operations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from parity.arithmetic import Bounded
from parity.arithmetic.floats import gamma

# μ, λ and η are rounded to the port's dtype, then come three products and three sums; no rule has more. One
# more rounding covers the evaluation of the bound itself.
ROUNDINGS = 10


@dataclass(frozen=True)
class Rule:
    """An update rule. The defaults are right.

    Attributes:
        momentum: "right", "none", "dampened" (μ·v + (1−μ)·g), "dampened later" (the first velocity is g,
            as with PyTorch's `dampening`), "corrected" (dampened, and v / (1 − μ^t) moves w, as in Adam),
            "rate inside" (v ← μ·v + η·g, w ← w − v), "Nesterov", "Nesterov later" (from the second step
            on), "Nesterov, rate inside" (Keras), "late" (w moves by the velocity of the step before).
        mu: another number than μ; None for μ.
        gain: a factor on the gradient, without the decay.
        decay: "right", "none", "decoupled" (w ← w − η·v − η·λ·w), "unscaled" (… − λ·w), "after"
            (w ← (w − η·v)·(1 − η·λ)), "L1" (λ·sign(w) is added to the gradient).
        decay_factor: a factor on λ.
        decay_factors: {parameter: factor on λ}; 1 for the others.
        l1: a factor on sign(w), which is added to the gradient.
        decay_on: "" for all parameters, or the only kind of parameter with decay ("weight", "bias").
        rate: the step whose η is used: 0, the step before (−1) or after (1); None for always the first.
        bias_rate: a factor on η for biases.
        rate_factors: {parameter: factor on η}; 1 for the others.
        rates: the rate of each step, in place of η.
        by_size: whether η is multiplied by the number of digits in the batch.
        short: a short batch is treated right (""), its sum is divided by the full batch size ("full"), or
            it is "skipped".
        summed: whether gradients of the batch are summed instead of averaged.
        accumulated: whether gradients are never zeroed.
        stale: whether w moves by the gradient of the step before: "zero" (the first gradient is zero), "none"
            (the first step does nothing).
        reset: the event that sets the velocity to zero: "" (none), "epoch", "rate" (a rate drop).
        frozen: the layer or parameter that is not trained; "all" for all of them.
        uphill: whether the step is added instead of subtracted.
    """

    momentum: str = "right"
    mu: float | None = None
    gain: float = 1.0
    decay: str = "right"
    decay_factor: float = 1.0
    decay_factors: Mapping[str, float] = field(default_factory=dict)
    l1: float = 0.0
    decay_on: str = ""
    rate: int | None = 0
    bias_rate: float = 1.0
    rate_factors: Mapping[str, float] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    by_size: bool = False
    short: str = ""
    summed: bool = False
    accumulated: bool = False
    stale: str = ""
    reset: str = ""
    frozen: str = ""
    uphill: bool = False

    def with_options(self, options: dict[str, Any]) -> "Rule":
        """The same rule with these options."""
        return replace(self, **options)


@dataclass(frozen=True)
class Moment:
    """The place of a step in the training run, and the constants of the rule.

    Attributes:
        step: the number of the step, from 0.
        rates: η of every step.
        sizes: the number of digits in every batch.
        per_epoch: the number of steps in an epoch.
        momentum, decay: μ and λ.
        dtype: the port's dtype.
    """

    step: int
    rates: tuple[float, ...]
    sizes: tuple[int, ...]
    per_epoch: int
    momentum: float
    decay: float
    dtype: str


def at_rest(w: Bounded) -> Bounded:
    """The velocity of a parameter, or a mean of its gradients, before the first step: zeros."""
    return Bounded(np.zeros(w.shape), np.zeros(w.shape))


def advance(
    rule: Rule, name: str, w: Bounded, v: Bounded | None, g: Bounded, moment: Moment
) -> tuple[Bounded, Bounded]:
    """A step of a parameter: (w, v) after it.

    Args:
        rule: the right rule, or a wrong one.
        name: the parameter's name, such as "conv1.weight".
        w: the value before the step; exact if the port returned it.
        v: the velocity before the step; None before the first.
        g: the gradient of the mean loss at w; accumulated if the rule accumulates gradients.
        moment: all other facts about the step.
    """
    size = moment.sizes[moment.step]
    v = at_rest(w) if v is None else v
    still = rule.frozen in ("all", name) or (rule.frozen and name.startswith(f"{rule.frozen}."))
    if still or (rule.short == "skipped" and size < max(moment.sizes)):
        return w, v
    if rule.stale == "none" and moment.step == 0:
        return w, v
    factor = (float(size) if rule.summed else 1.0) * rule.gain
    factor *= size / max(moment.sizes) if rule.short == "full" else 1.0
    mu, eta = moment.momentum if rule.mu is None else rule.mu, _rate(rule, name, moment)
    decayed = not rule.decay_on or name.endswith(rule.decay_on)
    penalty = moment.decay * rule.decay_factor * rule.decay_factors.get(name, 1.0) if decayed else 0.0
    sign = Bounded(np.sign(w.value), np.where(np.abs(w.value) <= w.bound, 2.0, 0.0))
    pulled = {"right": (penalty, w), "L1": (penalty, sign)}.get(rule.decay, (0.0, w))
    g = total(moment.dtype, (factor, g), pulled, (rule.l1, sign))
    if _starts_again(rule, moment):
        v = at_rest(w)
    move, v = _moved(rule, mu, eta, v, g, moment)
    rest = {"decoupled": eta * penalty, "unscaled": penalty}.get(rule.decay, 0.0)
    new = total(moment.dtype, (1.0, w), (1.0 if rule.uphill else -1.0, move), (-rest, w))
    return (total(moment.dtype, (1 - eta * penalty, new)) if rule.decay == "after" else new), v


def _moved(
    rule: Rule, mu: float, eta: float, v: Bounded, g: Bounded, moment: Moment
) -> tuple[Bounded, Bounded]:
    """The distance that w moves, and the velocity after the step."""

    def add(*terms: tuple[float, Bounded]) -> Bounded:
        return total(moment.dtype, *terms)

    match rule.momentum:
        case "none":
            return add((eta, g)), v
        case "dampened":
            new = add((mu, v), (1 - mu, g))
        case "dampened later":
            new = add((mu, v), (1.0 if moment.step == 0 else 1 - mu, g))
        case "rate inside":
            new = add((mu, v), (eta, g))
            return new, new
        case "corrected":
            new = add((mu, v), (1 - mu, g))
            return add((eta / (1 - mu ** (moment.step + 1)), new)), new
        case "Nesterov later" if moment.step > 0:
            new = add((mu, v), (1.0, g))
            return add((eta, g), (eta * mu, new)), new
        case "Nesterov":
            new = add((mu, v), (1.0, g))
            return add((eta, g), (eta * mu, new)), new
        case "Nesterov, rate inside":
            new = add((mu, v), (eta, g))
            return add((eta, g), (mu, new)), new
        case "late":
            new = add((mu, v), (1.0, g))
            return add((eta, v)), new
        case _:
            new = add((mu, v), (1.0, g))
    return add((eta, new)), new


def _rate(rule: Rule, name: str, moment: Moment) -> float:
    step = 0 if rule.rate is None else min(max(moment.step + rule.rate, 0), len(moment.rates) - 1)
    rate = rule.rates[moment.step] if rule.rates else moment.rates[step]
    rate *= moment.sizes[moment.step] if rule.by_size else 1
    return rate * (rule.bias_rate if name.endswith("bias") else 1.0) * rule.rate_factors.get(name, 1.0)


def _starts_again(rule: Rule, moment: Moment) -> bool:
    if rule.reset == "epoch":
        return moment.step % moment.per_epoch == 0
    k = moment.step
    return rule.reset == "rate" and k > 0 and moment.rates[k] != moment.rates[k - 1]


def total(dtype: str, *terms: tuple[float, Bounded]) -> Bounded:
    """Σ factor · term, with its bound."""
    value = np.zeros(terms[0][1].value.shape)
    size, error = np.zeros(value.shape), np.zeros(value.shape)
    for factor, term in terms:
        if factor:
            value += factor * term.value
            error += abs(factor) * term.bound
            size += abs(factor) * (np.abs(term.value) + term.bound)
    info = np.finfo(dtype)
    rounding = gamma(ROUNDINGS, float(info.eps) / 2) * size + ROUNDINGS * float(info.tiny)
    return Bounded(value, (error + rounding) * (1 + 1e-12))
