"""Mistakes of activation functions.

Every smooth function here is computed from exp, erf or tanh by at most sixteen operations. Each is accurate
to a few ulps of an intermediate result that is at most 1, or at most |x|. The error is absolute, because
terms may cancel (1 + erf in a GELU). `FUNCTION_ROUNDINGS` (1 + |x|) u covers all of them; the 1 is not needed
if the last operation is the product with x. The error of the input grows at most by the function's largest
slope.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, case
from lenet.diagnose.mistakes.wrong_forward import Call, instead, of_type
from lenet.reference.forward import certified
from parity.arithmetic import Array, Bounded
from parity.operators.activation import Relu

FAMILY = Family()
RELUS = of_type(Relu)
FUNCTION_ROUNDINGS = 64  # sixteen operations of 4 ulps: libraries do not promise this, but achieve it

# --- activation functions ----------------------------------------------------------------------

PLACE = case("intel/ipex-llm", 2411)
PAPER = case("ChawDoe/LeNet5-MNIST-PyTorch", 9)


@dataclass(frozen=True)
class Smooth:
    """A smooth function, its largest slope, and whether it is x times a number between −1 and 1.1."""

    f: Callable[[Array], Array]
    slope: float = 1.0
    gated: bool = False


def function(smooth: Smooth, x: Bounded, u: float) -> Bounded:
    """Apply a function elementwise, with the bound described in the module's docstring."""
    size = np.abs(x.value) + x.bound + (0 if smooth.gated else 1)
    with np.errstate(over="ignore"):  # exp(-x) of a very negative x
        return Bounded(smooth.f(x.value), FUNCTION_ROUNDINGS * u * size + smooth.slope * x.bound)


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(erf, otypes=[np.float64])(x))


FUNCTIONS: dict[str, Smooth] = {
    "tanh": Smooth(np.tanh),
    "sigmoid": Smooth(lambda x: 1 / (1 + np.exp(-x)), 0.25),
    "GELU (exact)": Smooth(lambda x: x * (1 + _erf(x / sqrt(2))) / 2, 1.13, gated=True),
    "GELU (tanh)": Smooth(
        lambda x: x * (1 + np.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2, 1.13, gated=True
    ),
    "GELU (sigmoid)": Smooth(lambda x: x / (1 + np.exp(-1.702 * x)), 1.1, gated=True),
    "SiLU (swish)": Smooth(lambda x: x / (1 + np.exp(-x)), 1.1, gated=True),
    "Mish": Smooth(lambda x: x * np.tanh(np.logaddexp(0, x)), 1.09, gated=True),
    "hard swish": Smooth(lambda x: x * np.clip(x + 3, 0, 6) / 6, 1.5, gated=True),
    "hard sigmoid": Smooth(lambda x: np.clip(x + 3, 0, 6) / 6, 0.17),
    "ELU": Smooth(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "SELU": Smooth(
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
        1.76,
    ),
    "softplus": Smooth(lambda x: np.logaddexp(0, x)),
    "softsign": Smooth(lambda x: x / (1 + np.abs(x))),
    "sine": Smooth(np.sin),
    "1.7159 tanh(2x/3)": Smooth(lambda x: 1.7159 * np.tanh(2 * x / 3), 1.15),
}
for _name, _smooth in FUNCTIONS.items():
    FAMILY.add(
        RELUS,
        Kind(f"{_name} for ReLU", f"{_name} is applied instead of ReLU.", "Use max(x, 0).", PAPER),
        instead(lambda call, smooth=_smooth: function(smooth, call.x, call.u)),
    )
for _slope in (0.01, 0.1, 0.2, 0.3):
    FAMILY.add(
        RELUS,
        Kind(
            f"leaky ReLU ({_slope:g}) for ReLU",
            f"Negative values are multiplied by {_slope:g}; ReLU sets them to zero.",
            "Use max(x, 0).",
            PAPER,
        ),
        instead(lambda call, slope=_slope: _leaky(call, slope)),
    )


def _leaky(call: Call, slope: float) -> Bounded:
    value = np.where(call.x.value > 0, call.x.value, slope * call.x.value)
    own = np.where(call.x.value - call.x.bound > 0, 0.0, 2 * call.u * np.abs(value))
    return Bounded(value, (call.x.bound + own) * (1 + 1e-12))


SELECTIONS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("ReLU missing", "No activation is applied.", lambda x: x),
    ("hard tanh for ReLU", "Values are cut off at −1 and 1.", lambda x: np.clip(x, -1, 1)),
    ("ReLU cut off at 1", "Values above 1 are cut off.", lambda x: np.clip(x, 0, 1)),
    ("ReLU6 for ReLU", "Values above 6 are cut off.", lambda x: np.clip(x, 0, 6)),
    ("absolute value for ReLU", "Negative values are made positive; they must become zero.", np.abs),
    ("ReLU of the negated input", "The sign is wrong: negative values pass.", lambda x: np.maximum(-x, 0)),
)
for _name, _text, _f in SELECTIONS:
    FAMILY.add(
        RELUS,
        Kind(_name, _text, "Apply max(x, 0) after this layer.", PLACE),
        # All slopes are at most 1, so the error of the input does not grow.
        instead(lambda call, f=_f: Bounded(f(call.x.value), call.x.bound)),
    )


@FAMILY.after(
    ["logits"],
    Kind(
        "ReLU on the logits",
        "ReLU is applied to the logits, which may be negative.",
        "End with the last dense layer: no activation.",
        PLACE,
    ),
)
def _(y: Bounded, call: Call) -> Bounded:
    return Bounded(np.maximum(y.value, 0), y.bound)


def softmax(z: Bounded, u: float) -> Bounded:
    """Softmax over the last axis. An error e of the logits changes p by a factor within exp(±2e); for the
    rounding of its evaluation see `lenet.reference.backward.cross_entropy`."""
    shifted = z.value - z.value.max(axis=-1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)
    e = z.bound.max(axis=-1, keepdims=True)
    a = u * (FUNCTION_ROUNDINGS - 4 * shifted.min(axis=-1, keepdims=True))
    return Bounded(p, p * np.expm1(2 * e + a) + float(np.finfo(np.float32).tiny))


TWICE = case("tflearn/tflearn", 562)


@FAMILY.after(
    ["logits"],
    Kind(
        "softmax in the model",
        "The model returns probabilities instead of logits; a loss on logits then applies softmax twice.",
        "End with the last dense layer; softmax belongs to the loss.",
        TWICE,
    ),
)
def _(y: Bounded, call: Call) -> Bounded:
    return softmax(y, call.u)


@FAMILY.after(
    ["logits"],
    Kind(
        "softmax over the batch in the model",
        "The model applies softmax, and over the digits of the batch.",
        "End with the last dense layer; the loss applies softmax, over the classes (axis 1).",
        TWICE,
    ),
    whole_batch=True,
)
def _(y: Bounded, call: Call) -> Bounded:
    return moved_axes(softmax(moved_axes(y), call.u))


def moved_axes(y: Bounded) -> Bounded:
    """Exchange the axes of digits and classes."""
    return Bounded(y.value.T, y.bound.T)


@FAMILY.after(
    ["logits"],
    Kind(
        "log-softmax in the model",
        "The model returns logarithms of probabilities instead of logits.",
        "End with the last dense layer; softmax belongs to the loss.",
        TWICE,
    ),
)
def _(y: Bounded, call: Call) -> Bounded:
    shifted = y.value - y.value.max(axis=1, keepdims=True)
    value = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    e = y.bound.max(axis=1, keepdims=True)
    return Bounded(value, 2 * e + call.u * (FUNCTION_ROUNDINGS + 4 * np.abs(value)))


@FAMILY.after(
    ["logits"],
    Kind(
        "sigmoid on the logits",
        "A sigmoid is applied to the logits.",
        "End with the last dense layer: no activation.",
        TWICE,
    ),
)
def _(y: Bounded, call: Call) -> Bounded:
    return function(FUNCTIONS["sigmoid"], y, call.u)


@FAMILY.after(
    ["logits"],
    Kind(
        "one-hot classes for logits",
        "The model returns the class of the largest logit as a row of zeros with a one.",
        "End with the last dense layer: no argmax, no one-hot.",
        TWICE,
    ),
)
def _(y: Bounded, call: Call) -> Bounded:
    hot = np.eye(y.value.shape[1])[y.value.argmax(axis=1)]
    return Bounded(hot, np.where(certified(y), 0.0, 1.0)[:, None] + np.zeros(hot.shape))
