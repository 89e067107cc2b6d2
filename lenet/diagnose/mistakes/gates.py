"""Mistakes of the backward pass of ReLU, and layers that pass no gradient at all."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, Mistake, case
from lenet.diagnose.mistakes.gradients import BIASES, POSITIONS, WEIGHTS
from lenet.diagnose.mistakes.wrong_backward import BackCall, right_input
from lenet.diagnose.mistakes.wrong_forward import after, instead, of_type
from lenet.network.architecture import LAYERS
from parity.arithmetic import Array, Bounded
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm

FAMILY = Family()
RELUS = tuple(f"{name}.input" for name in reversed(of_type(Relu)))


def zero(y: Bounded) -> Bounded:
    """All zero, exactly."""
    return Bounded(np.zeros_like(y.value), np.zeros_like(y.value))


# --- ReLU --------------------------------------------------------------------------------------

FAMILY.add(
    RELUS,
    Kind(
        "ReLU's gate missing in the backward pass",
        "The cotangent passes where ReLU returned zero.",
        "dx = dy * (x > 0).",
        case("keras-team/keras", 9664),
    ),
    instead(lambda call: call.d),
)
FAMILY.add(
    RELUS,
    Kind(
        "ReLU applied to the cotangent",
        "The gate depends on the sign of the cotangent; it must depend on the sign of the input.",
        "dx = dy * (x > 0), with x from the forward pass.",
        case("keras-team/keras", 9664),
    ),
    instead(lambda call: Bounded(np.maximum(call.d.value, 0), call.d.bound)),
)
FAMILY.add(
    RELUS,
    Kind(
        "ReLU's gate open at zero",
        "The cotangent passes where the input is exactly zero.",
        "dx = dy * (x > 0): zero at zero.",
        case("keras-team/keras", 9664),
    ),
    instead(
        lambda call: Bounded(
            call.d.value * (call.x.value >= 0),
            np.where(call.x.value >= 0, call.d.bound, right_input(call).bound),
        )
    ),
)


def _slopes(call: BackCall, slope: Callable[[Array], Array]) -> Bounded:
    """The cotangent times `slope` of the input, which may differ within the input's error."""
    x, d, factor = call.x, call.d, slope(call.x.value)
    ends = [np.abs(slope(x.value + sign * x.bound) - factor) for sign in (-1, 1)]
    value = d.value * factor
    size = np.abs(d.value) + d.bound
    own = 16 * call.u * size * ((factor != 0) & (factor != 1))  # a slope such as 1 − y² loses what cancels
    return Bounded(value, np.abs(factor) * d.bound + size * np.maximum(*ends) + own)


def leaky(slope: float) -> Kind:
    """A ReLU whose backward pass is that of a leaky one."""
    return Kind(
        f"leaky ReLU's gradient, slope {slope:g}",
        f"Where ReLU returned zero, the cotangent passes times {slope:g}; the forward pass is right.",
        "dx = dy * (x > 0): no slope below zero.",
    )


def leaked(slope: float) -> Callable:
    """The change to the input stage of a ReLU: `slope` instead of zero for inputs of zero and less."""
    return instead(lambda call: _slopes(call, lambda x: np.where(x > 0, 1.0, slope)))


def _guided(call: BackCall) -> Bounded:
    kept = replace(call, d=Bounded(np.maximum(call.d.value, 0), call.d.bound))
    return right_input(kept)


GATES: tuple[tuple[str, str, str, Callable[[BackCall], Bounded]], ...] = (
    (
        "ReLU's gate half open at zero",
        "Where the input is exactly zero, half of the cotangent passes, as for Theano's nnet.relu, which is "
        "(x + |x|) / 2, for jnp.maximum(x, 0), or for a maximum that shares ties.",
        "Use a ReLU whose derivative at zero is zero: jax.nn.relu, or in Theano T.switch(x > 0, x, 0).",
        lambda call: _slopes(call, lambda x: np.where(x > 0, 1.0, np.where(x == 0, 0.5, 0.0))),
    ),
    (
        "guided backpropagation",
        "ReLU passes the cotangent only where both its input and the cotangent are positive.",
        "dx = dy * (x > 0), for a cotangent of either sign; guided backpropagation only draws pictures.",
        _guided,
    ),
    (
        "ReLU6's gate in the backward pass",
        "No cotangent passes where the input is 6 or more; the forward pass has no such limit.",
        "dx = dy * (x > 0).",
        lambda call: _slopes(call, lambda x: ((x > 0) & (x < 6)).astype(float)),
    ),
    (
        "sigmoid's derivative in ReLU's place",
        "The cotangent is multiplied by s(1 − s), with s the sigmoid of the input.",
        "dx = dy * (x > 0).",
        lambda call: _slopes(call, lambda x: _sigmoid(x) * _sigmoid(-x)),
    ),
    (
        "sigmoid's derivative of the output in ReLU's place",
        "The cotangent is multiplied by y(1 − y), with y the output of ReLU.",
        "dx = dy * (x > 0).",
        lambda call: _slopes(call, lambda x: np.maximum(x, 0) * (1 - np.maximum(x, 0))),
    ),
    (
        "tanh's derivative in ReLU's place",
        "The cotangent is multiplied by 1 − tanh²(x).",
        "dx = dy * (x > 0).",
        lambda call: _slopes(call, lambda x: 1 - np.tanh(x) ** 2),
    ),
    (
        "tanh's derivative of the output in ReLU's place",
        "The cotangent is multiplied by 1 − y², with y the output of ReLU.",
        "dx = dy * (x > 0).",
        lambda call: _slopes(call, lambda x: 1 - np.maximum(x, 0) ** 2),
    ),
    (
        "ReLU's gate turned round",
        "The cotangent passes where the input is zero or less.",
        "dx = dy * (x > 0).",
        lambda call: _slopes(call, lambda x: (x <= 0).astype(float)),
    ),
)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


for _name, _text, _remedy, _how in GATES:
    FAMILY.add(RELUS, Kind(_name, _text, _remedy), instead(_how))
for _slope in (0.01, 0.1, 0.2):
    FAMILY.add(RELUS, leaky(_slope), leaked(_slope))


# --- frozen and detached -----------------------------------------------------------------------

STOPPED = case("pytorch/pytorch", 47175)
for _layer in of_type(Conv, Gemm):
    FAMILY.mistakes.append(
        Mistake(
            Kind(
                f"{_layer} frozen",
                f"The gradients of {_layer} are zero; those of the layers before it are right.",
                f"Make {_layer} trainable: requires_grad=True, trainable=True, in the optimizer's list.",
                STOPPED,
            ),
            {f"{_layer}.{part}": after(lambda g, call: zero(g)) for part in ("weight", "bias")},
        )
    )
for _layer in [name for name in reversed(of_type(Conv, Gemm)) if name != LAYERS[0].name]:
    FAMILY.add(
        [f"{_layer}.input"],
        Kind(
            f"detached before {_layer}",
            f"No gradient passes back through {_layer}: all layers before it have zero gradients.",
            "Do not cut the graph: no detach(), .numpy(), stop_gradient or no_grad in the forward pass.",
            STOPPED,
        ),
        after(lambda g, call: zero(g)),
    )
FAMILY.add(
    BIASES,
    Kind(
        "bias gradient missing",
        "The gradient of the bias is zero, or None, which counts as zero.",
        "Compute db as the sum of dy; the bias must be part of the graph of the loss (requires_grad=True).",
        POSITIONS,
    ),
    after(lambda g, call: zero(g)),
)
FAMILY.add(
    WEIGHTS,
    Kind(
        "weight gradient missing",
        "The gradient of the weights is zero, or None, which counts as zero.",
        "Compute dw = Σ dy · x; the weights must be part of the graph of the loss (requires_grad=True).",
        POSITIONS,
    ),
    after(lambda g, call: zero(g)),
)
