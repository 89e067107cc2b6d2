"""Mistakes of activations: another one, another parameter, none, in another place."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, made_in, second
from parity.operators.activation import (
    Celu,
    Clip,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mish,
    PRelu,
    Relu,
    Selu,
    Sigmoid,
    Softplus,
    Softsign,
    Swish,
    Tanh,
)
from parity.operators.operator import Operator

SIXTH = float(np.float32(1 / 6))
OPTIONS: dict[str, Operator] = {
    "no activation": Clip(),
    "ReLU": Relu(),
    "ReLU6 (cut off at 6)": Clip(min=0.0, max=6.0),
    "squared ReLU": Changed(Relu(), after=lambda y, inputs: y * y),
    "SiLU (Swish)": Swish(),
    "GELU (exact)": Gelu(),
    "GELU (tanh)": Gelu(approximate="tanh"),
    "quick GELU, x·sigmoid(1.702x)": Swish(alpha=1.702),
    "hard swish": HardSwish(),
    "hard sigmoid 0.2x + 0.5": HardSigmoid(alpha=0.2, beta=0.5),
    "hard sigmoid x/6 + 0.5": HardSigmoid(alpha=SIXTH, beta=0.5),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "ELU": Elu(),
    "SELU": Selu(),
    "Mish": Mish(),
    "softplus": Softplus(),
    "softsign": Softsign(),
}
HARD_SWISH = Changed(HardSigmoid(alpha=0.2, beta=0.5), after=lambda y, inputs: y * first(inputs))
LOG_SIGMOID = Changed(Softplus(), lambda inputs: [-first(inputs)], lambda y, inputs: -y)
NEAR: dict[str, dict[str, Operator]] = {  # to one kind of activation alone
    "HardSwish": {"hard swish with 0.2x + 0.5": HARD_SWISH},
    "Swish": {"hard swish with 0.2x + 0.5": HARD_SWISH},
    "Sigmoid": {"log sigmoid": LOG_SIGMOID},
    "Tanh": {"hard tanh": Clip(min=-1.0, max=1.0)},
}
NAMES = {"Relu": "ReLU", "LeakyRelu": "leaky ReLU", "Elu": "ELU", "Selu": "SELU", "PRelu": "PReLU"}
GELUS = ("Gelu", "com.microsoft.Gelu", "com.microsoft.FastGelu", "com.microsoft.BiasGelu")
OF_ONE = (
    *("Relu", "LeakyRelu", "Clip", "Elu", "Selu", "Celu", "PRelu", "HardSwish", "Sigmoid", "Tanh"),
    *("HardSigmoid", "Gelu", "com.microsoft.Gelu", "Swish", "com.microsoft.QuickGelu", "Mish"),
    *("Softplus", "Softsign", "ThresholdedRelu"),
)


@made_in(*GELUS)
def gelus(gelu: Gelu, seen: Seen) -> Iterator[Mistake]:
    other = "none" if gelu.approximate == "tanh" else "tanh"
    yield Mistake(
        "Gelu by the tanh approximation" if other == "tanh" else "Gelu by the error function, not by tanh",
        "There are two forms of GELU, which differ by up to 5e-4: the exact one by the error function (erf, "
        "PyTorch's default), and one by a tanh (JAX's default, GPT-2).",
        f'Pass approximate="{gelu.approximate}".',
        replace(gelu, approximate=other),
        "goodfire-ai/spd#624",
    )


@made_in(*OF_ONE)
def other_activations(operator: Any, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    if x.comparable.dtype.kind in "iu" or seen.constant:
        return
    above = bool(x.size and x.comparable.max() > 6)
    for name, other in {**OPTIONS, **NEAR.get(operator.TYPE, {})}.items():
        if (
            _same(other, operator)
            or (name.startswith("ReLU6") and not above)
            or (operator.TYPE in GELUS and name.startswith("GELU"))  # named by their forms
            or (operator.TYPE not in ("Relu", *GELUS) and name == "squared ReLU")
        ):
            continue
        yield Mistake(
            f"{name} for {NAMES.get(operator.TYPE, operator.TYPE)}",
            "No activation is applied."
            if other == Clip()
            else "Another activation is applied. Keras 2's hard sigmoid is 0.2x + 0.5, PyTorch's x/6 + 0.5.",
            f"Apply {operator.TYPE}.",
            Changed(other, lambda inputs: inputs[:1]),
        )


def _same(one: Operator, other: Operator) -> bool:
    if isinstance(one, Swish) and isinstance(other, Swish):
        return one.alpha == other.alpha  # QuickGelu is one, too
    return one == other


@made_in("Sigmoid", "Tanh", "Gelu", "Swish", "HardSwish", "HardSigmoid", "Softplus", "Softmax", "Mish", "Elu")
def twice(operator: Any, seen: Seen) -> Iterator[Mistake]:
    if seen.constant:
        return
    yield Mistake(
        f"{operator.TYPE} applied twice",
        "The activation is part of the layer and follows it once more; softmax: the loss expects logits.",
        "Apply it once.",
        Changed(operator, after=lambda y, inputs: operator.first(y)),
    )


# --- parameters --------------------------------------------------------------------------------


def _ratio(seen: Seen, of: Any) -> float | None:
    """The factor of a function of negative values that the candidate used, read off from them."""
    x = seen.inputs[0]
    if x is None or seen.found is None or seen.found.shape != x.shape:
        return None
    a = x.comparable.astype(np.float64)
    negative = np.isfinite(a) & (a < -1e-3) & np.isfinite(seen.found)
    if not negative.any():
        return None
    return float(f"{np.median(seen.found.astype(np.float64)[negative] / of(a[negative])):.4g}")


@made_in("LeakyRelu", "Relu", "Elu", "Celu", "Selu")
def slopes(operator: Any, seen: Seen) -> Iterator[Mistake]:
    leaky = operator.TYPE == "LeakyRelu"
    right = operator.alpha if leaky else 0.0
    for alpha in dict.fromkeys((_ratio(seen, np.positive), 0.01, 0.1, 0.2, 0.3, -right)):
        # The digits that are read off; 0 and 1 are no activation of this kind.
        if alpha == -1 and not leaky:
            continue  # the absolute value, which has a name of its own
        if alpha is not None and f"{alpha:.4g}" not in (f"{right:.4g}", "0", "1", "-0"):
            yield Mistake(
                f"slope alpha {alpha:g} for {right:g}"
                if leaky
                else f"leaky ReLU ({alpha:g}) for {NAMES.get(operator.TYPE, operator.TYPE)}",
                "Negative values are multiplied by another factor. The default is 0.3 in Keras 2, 0.2 in "
                "TensorFlow, 0.01 in PyTorch.",
                f"Pass {right:g}." if leaky else f"Apply {operator.TYPE}.",
                LeakyRelu(alpha=alpha),
            )


@made_in("Elu", "ThresholdedRelu", "Celu", "Selu")
def alphas(operator: Any, seen: Seen) -> Iterator[Mistake]:
    read = _ratio(seen, np.expm1) if operator.TYPE == "Elu" else None
    for alpha in dict.fromkeys((read, 0.1, 0.2, 0.3, 0.5, 1.0, 1.6732632)):
        if alpha and f"{alpha:.4g}" != f"{operator.alpha:.4g}":  # 0 is a ReLU
            yield Mistake(
                f"alpha {alpha:g} for {operator.alpha:g}",
                "Another parameter of the activation.",
                f"Pass {operator.alpha:g}.",
                replace(operator, alpha=alpha),
            )
    if operator.TYPE in ("Celu", "Elu"):
        other = Elu if operator.TYPE == "Celu" else Celu
        for alpha in dict.fromkeys((operator.alpha, 0.1, 0.2, 0.3, 0.5, 2.0)):
            if alpha != 1:  # with which both are the same
                said = "the same alpha" if alpha == operator.alpha else "alpha"
                yield Mistake(
                    f"{other.TYPE} with {said} {alpha:g} for {operator.TYPE}",
                    "CELU is alpha·(exp(x/alpha) - 1) where x is negative, ELU alpha·(exp(x) - 1).",
                    f"Apply {operator.TYPE}.",
                    other(alpha=alpha),
                )
    if operator.TYPE == "Selu":
        yield Mistake(
            "SELU without its factor gamma",
            "SELU is 1.0507 times an ELU with alpha 1.6733.",
            f"Multiply by {operator.gamma:.6g}.",
            replace(operator, gamma=1.0),
        )


@made_in("Swish", "com.microsoft.QuickGelu")
def betas(operator: Swish, seen: Seen) -> Iterator[Mistake]:
    for alpha in (0.5, 2.0):
        if alpha != operator.alpha:
            yield Mistake(
                f"alpha {alpha:g} for {operator.alpha:g}",
                "x·sigmoid(alpha·x) with another alpha.",
                f"Pass {operator.alpha:g}.",
                replace(operator, alpha=alpha),
            )


@made_in("HardSigmoid")
def lines(operator: HardSigmoid, seen: Seen) -> Iterator[Mistake]:
    for alpha, beta in ((0.25, 0.5), (0.5, 0.5)):
        yield Mistake(
            f"line {alpha:g}x + {beta:g} for {operator.alpha:.4g}x + {operator.beta:g}",
            "The hard sigmoid has another slope.",
            f"Pass alpha={operator.alpha:.6g}, beta={operator.beta:g}.",
            HardSigmoid(alpha=alpha, beta=beta),
        )


@made_in("Softplus")
def softplus_factors(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for beta in (0.5, 2.0, 10.0, 20.0):
        yield Mistake(
            f"softplus with beta {beta:g}",
            "log(1 + exp(beta x)) / beta.",
            "Use beta 1.",
            Changed(operator, lambda inputs, b=beta: [inputs[0] * b], lambda y, _, b=beta: y * (1 / b)),  # type: ignore[misc]
        )


@made_in("Clip")
def limits(operator: Clip, seen: Seen) -> Iterator[Mistake]:
    if seen.constant:
        return
    right = (_number(seen, 1, operator.min), _number(seen, 2, operator.max))
    options = [(0.0, 1.0), (-1.0, 1.0), (None, right[1]), (right[0], None)]
    if seen.found is not None and seen.found.dtype.kind == "f":
        options = [_read_limits(first(seen.inputs).comparable, seen.found)]
    for low, high in options:
        # The last three are named as other activations.
        if (low, high) not in (right, (None, None), (0.0, None), (0.0, 6.0)):
            yield Mistake(
                f"clipped to {_range(low, high)}, for {_range(*right)}",
                "Other limits.",
                f"Clip to {_range(*right)}.",
                Changed(Clip(min=low, max=high), lambda inputs: inputs[:1]),
            )


def _read_limits(x: Array, found: Array) -> tuple[float | None, float | None]:
    """The limits that the candidate has, read off from values that lie beyond them."""
    low, high = float(found.min()), float(found.max())
    return low if (x < low).any() else None, high if (x > high).any() else None


def _range(low: float | None, high: float | None) -> str:
    return f"[{'-∞' if low is None else f'{low:.6g}'}, {'∞' if high is None else f'{high:.6g}'}]"


def _number(seen: Seen, place: int, attribute: float | None) -> float | None:
    given = seen.inputs[place] if len(seen.inputs) > place else None
    return attribute if given is None else float(given.comparable.reshape(-1)[0])


@made_in("PRelu")
def channel_slopes(operator: PRelu, seen: Seen) -> Iterator[Mistake]:
    x, slope = first(seen.inputs), second(seen.inputs)

    def of(change: Any) -> Changed:
        return Changed(operator, lambda inputs: [inputs[0], change(inputs[1])])

    options = {"negative slope: relu(x) + slope·relu(-x)": of(lambda s: -s)}
    if slope.size > 1:
        options["the first slope for all channels"] = of(lambda s: s.move(lambda a: a.ravel()[:1]))
        options["slopes in reverse order"] = of(lambda s: s.move(lambda a: a.ravel()[::-1].reshape(a.shape)))
        for axis in range(x.ndim):
            shape = tuple(slope.size if k == axis else 1 for k in range(x.ndim))
            if x.shape[axis] == slope.size and shape[-slope.ndim :] != slope.shape:
                options[f"slopes along axis {axis}"] = of(lambda s, shape=shape: s.reshape(*shape))
    for name, wrong in options.items():
        yield Mistake(
            name,
            "Negative values are multiplied by another channel's slope: PyTorch's PReLU has one slope by "
            "default, Keras' one for each value unless shared_axes is passed.",
            "Give each channel its slope.",
            wrong,
        )
    for alpha in dict.fromkeys((_ratio(seen, np.positive), 0.25)):
        if alpha and alpha not in (1.0, -1.0):  # 0 is a ReLU
            yield Mistake(
                f"one slope {alpha:g} for all values",
                "Negative values are multiplied by one number. If it is 0.25 (new in PyTorch), the "
                "slopes were not loaded.",
                "Load the slopes.",
                Changed(LeakyRelu(alpha=alpha), lambda inputs: inputs[:1]),
            )
