"""Mistakes of the optimizer, as options of a single update rule.

    g ← gradient + λ·w        v ← μ·v + g        w ← w − η·v

Each mistake sets one or two options, so mistakes can be combined. Every term counts `ROUNDINGS` roundings
of its size: no form of the rule has more operations.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lenet.diagnose.mistakes.base import Kind, case
from lenet.network.architecture import LAYERS, PARAM_SHAPES
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import gamma


@dataclass(frozen=True)
class Rule:
    """An update rule. The defaults are right.

    Attributes:
        momentum: "right", "none", "dampened" (μ·v + (1−μ)·g), "dampened later" (the first velocity is g,
            as with PyTorch's `dampening`), "rate inside" (v ← μ·v + η·g, w ← w − v), "Nesterov",
            "Nesterov, rate inside" (Keras), "late" (w moves by the velocity of the step before).
        decay: "right", "none", "decoupled" (w ← w − η·v − η·λ·w), "unscaled" (… − λ·w).
        decay_factor: a factor on λ.
        decay_on: "" for all parameters, or the only kind of parameter with decay ("weight", "bias").
        rate: the step whose η is used: 0, the step before (−1) or after (1); None for always the first.
        bias_rate: a factor on η for biases.
        short: a short batch is treated right (""), its sum is divided by the full batch size ("full"), or
            it is "skipped".
        summed: whether gradients of the batch are summed instead of averaged.
        accumulated: whether gradients are never zeroed.
        reset: the event that sets the velocity to zero: "" (none), "epoch", "rate" (a rate drop).
        frozen: the layer or parameter that is not trained; "all" for all of them.
        uphill: whether the step is added instead of subtracted.
    """

    momentum: str = "right"
    decay: str = "right"
    decay_factor: float = 1.0
    decay_on: str = ""
    rate: int | None = 0
    bias_rate: float = 1.0
    short: str = ""
    summed: bool = False
    accumulated: bool = False
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


def advance(
    rule: Rule, name: str, w: Array, v: Bounded, g: Bounded, moment: Moment
) -> tuple[Bounded, Bounded]:
    """A step of a parameter: (w, v) after it.

    Args:
        rule: the right rule, or a wrong one.
        name: the parameter's name, such as "conv1.weight".
        w: the port's value before the step.
        v: the velocity before the step.
        g: the gradient of the mean loss at w; accumulated if the rule accumulates gradients.
        moment: all other facts about the step.
    """
    size = moment.sizes[moment.step]
    still = rule.frozen in ("all", name) or (rule.frozen and name.startswith(f"{rule.frozen}."))
    if still or (rule.short == "skipped" and size < max(moment.sizes)):
        return Bounded(w, np.zeros(w.shape)), v
    factor = float(size) if rule.summed else 1.0
    factor *= size / max(moment.sizes) if rule.short == "full" else 1.0
    at, mu, eta = Bounded(w, np.zeros(w.shape)), moment.momentum, _rate(rule, name, moment)
    decayed = not rule.decay_on or name.endswith(rule.decay_on)
    penalty = moment.decay * rule.decay_factor if decayed else 0.0
    g = _sum(moment.dtype, (factor, g), (penalty if rule.decay == "right" else 0.0, at))
    if _starts_again(rule, moment):
        v = Bounded(np.zeros(w.shape), np.zeros(w.shape))
    move, v = _moved(rule, mu, eta, v, g, moment)
    rest = {"decoupled": eta * penalty, "unscaled": penalty}.get(rule.decay, 0.0)
    return _sum(moment.dtype, (1.0, at), (1.0 if rule.uphill else -1.0, move), (-rest, at)), v


def _moved(
    rule: Rule, mu: float, eta: float, v: Bounded, g: Bounded, moment: Moment
) -> tuple[Bounded, Bounded]:
    """The distance that w moves, and the velocity after the step."""

    def add(*terms: tuple[float, Bounded]) -> Bounded:
        return _sum(moment.dtype, *terms)

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
    return moment.rates[step] * (rule.bias_rate if name.endswith("bias") else 1.0)


def _starts_again(rule: Rule, moment: Moment) -> bool:
    if rule.reset == "epoch":
        return moment.step % moment.per_epoch == 0
    k = moment.step
    return rule.reset == "rate" and k > 0 and moment.rates[k] != moment.rates[k - 1]


def _sum(dtype: str, *terms: tuple[float, Bounded]) -> Bounded:
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


# μ, λ and η are rounded to the port's dtype, then come three products and three sums; no rule has more. One
# more rounding covers the evaluation of the bound itself.
ROUNDINGS = 10

MOMENTUM = case("pytorch/pytorch", 1099)
DAMPED = case("HIPS/autograd", 289)
NESTEROV = case("ml-explore/mlx", 87)
FACTOR = case("mlcommons/hpc", 22)
DECOUPLED = case("leondgarse/Keras_insightface", 5)
SCHEDULE = case("cjlin1/simpleNN", 3)
UPDATE = "v = mu * v + g + decay * w; w -= rate * v"

ROWS: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("momentum missing", "Each step forgets the velocity.", f"{UPDATE}.", MOMENTUM, {"momentum": "none"}),
    (
        "momentum dampened",
        "The gradient is multiplied by 1 − μ, so the velocity is an average instead of a sum.",
        f"{UPDATE}; dampening=0.",
        DAMPED,
        {"momentum": "dampened"},
    ),
    (
        "momentum dampened but for the first step",
        "From the second step on, the gradient is multiplied by 1 − μ.",
        "Set dampening=0.",
        DAMPED,
        {"momentum": "dampened later"},
    ),
    (
        "learning rate inside the velocity",
        "The velocity contains the rates of earlier steps, which matters after the rate drops.",
        f"{UPDATE}; keep the rate outside of the velocity.",
        MOMENTUM,
        {"momentum": "rate inside"},
    ),
    (
        "Nesterov momentum",
        "The step looks ahead along the velocity.",
        "Set nesterov=False.",
        NESTEROV,
        {"momentum": "Nesterov"},
    ),
    (
        "Nesterov momentum with the rate inside",
        "The step looks ahead along a velocity that contains the rate.",
        "Set nesterov=False and keep the rate outside of the velocity.",
        NESTEROV,
        {"momentum": "Nesterov, rate inside"},
    ),
    (
        "velocity one step late",
        "The parameters move by the velocity of the step before.",
        "Update the velocity first, then the parameters.",
        MOMENTUM,
        {"momentum": "late"},
    ),
    (
        "velocity reset each epoch",
        "The velocity is set to zero at the start of each epoch.",
        "Create the optimizer once, before the loop over epochs.",
        MOMENTUM,
        {"reset": "epoch"},
    ),
    (
        "velocity reset at a rate drop",
        "The velocity is set to zero when the rate changes.",
        "Change the rate of the existing optimizer; do not create a new one.",
        MOMENTUM,
        {"reset": "rate"},
    ),
    ("weight decay missing", "No weight decay is applied.", f"{UPDATE}.", FACTOR, {"decay": "none"}),
    (
        "decoupled weight decay",
        "The weights decay directly, as in AdamW, instead of through the velocity.",
        f"{UPDATE}; add the decay to the gradient.",
        DECOUPLED,
        {"decay": "decoupled"},
    ),
    (
        "weight decay without the learning rate",
        "Each step subtracts λ·w from the weights, independent of the rate.",
        f"{UPDATE}.",
        DECOUPLED,
        {"decay": "unscaled"},
    ),
    (
        "weight decay twice as large",
        "λ·Σw² was added to the loss; its gradient is 2·λ·w.",
        "Add λ/2 · Σw² to the loss, or λ·w to the gradient.",
        FACTOR,
        {"decay_factor": 2.0},
    ),
    (
        "weight decay half as large",
        "Half of λ·w is added to the gradient.",
        "Add λ/2 · Σw² to the loss, or λ·w to the gradient.",
        case("tensorpack/tensorpack", 1381),
        {"decay_factor": 0.5},
    ),
    (
        "weight decay with the wrong sign",
        "The decay makes the weights grow.",
        f"{UPDATE}.",
        FACTOR,
        {"decay_factor": -1.0},
    ),
    (
        "no weight decay on biases",
        "Biases have no decay; this recipe decays all parameters.",
        "Apply the decay to all parameters.",
        case("thtrieu/qclass_dl", 3),
        {"decay_on": "weight"},
    ),
    (
        "weight decay on biases alone",
        "Only biases have decay.",
        "Apply the decay to all parameters.",
        case("thtrieu/qclass_dl", 3),
        {"decay_on": "bias"},
    ),
    (
        "learning rate one step late",
        "Each step uses the rate of the step before.",
        "Set the rate before its step.",
        SCHEDULE,
        {"rate": -1},
    ),
    (
        "learning rate one step early",
        "Each step uses the rate of the next step: the scheduler runs before the optimizer.",
        "Call scheduler.step() after optimizer.step().",
        SCHEDULE,
        {"rate": 1},
    ),
    (
        "learning rate never drops",
        "All steps use the first rate.",
        "Use the rate of each batch.",
        case("keras-team/keras", 9938),
        {"rate": None},
    ),
    (
        "learning rate doubled for biases",
        "The rate of biases is doubled, as with lr_mult 2 in Caffe.",
        "Use the same rate for all parameters.",
        case("amoudgl/pygoturn", 12),
        {"bias_rate": 2.0},
    ),
    (
        "biases not trained",
        "Biases keep their initial values.",
        "Pass all parameters to the optimizer.",
        case("amoudgl/pygoturn", 12),
        {"bias_rate": 0.0, "decay_on": "weight"},
    ),
    (
        "short batch divided by the full size",
        "The sum over a short batch is divided by the full batch size.",
        "Divide by the number of digits in the batch.",
        case("catalyst-team/catalyst", 799),
        {"short": "full"},
    ),
    (
        "short batch dropped",
        "The short last batch of an epoch is skipped.",
        "Set drop_last=False.",
        case("thuml/Autoformer", 104),
        {"short": "skipped"},
    ),
    (
        "gradients summed over the batch in training",
        "The loss is summed over the batch; it must be averaged.",
        "Use reduction='mean'.",
        case("PreferredAI/cornac", 537),
        {"summed": True},
    ),
    (
        "gradients accumulated across steps",
        "The gradients are never zeroed: each step also uses those of all steps before.",
        "Zero the gradients in each step: optimizer.zero_grad().",
        case("karpathy/llm.c", 548),
        {"accumulated": True},
    ),
    (
        "nothing is trained",
        "No parameter changes.",
        "Call the optimizer's step with these parameters.",
        case("pytorch/pytorch", 47175),
        {"frozen": "all"},
    ),
    *(
        (
            f"{layer} not trained",
            f"{layer} keeps its initial values.",
            f"Pass {layer} to the optimizer; requires_grad=True, trainable=True.",
            case("pytorch/pytorch", 47175),
            {"frozen": layer},
        )
        for layer in (*(layer.name for layer in LAYERS if layer.affine), *PARAM_SHAPES)
    ),
    (
        "step uphill",
        "The step is added to the parameters, which is gradient ascent.",
        f"{UPDATE}; subtract the step.",
        case("pytorch/pytorch", 47175),
        {"uphill": True},
    ),
)
MISTAKES = tuple((Kind(name, text, remedy, link), options) for name, text, remedy, link, options in ROWS)
