"""Mistakes of the backward pass of ReLU and pooling, and layers that pass no gradient at all."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, Mistake, case
from lenet.diagnose.mistakes.gradients import BIASES, POSITIONS, WEIGHTS
from lenet.diagnose.mistakes.wrong_backward import BackCall, right_input
from lenet.diagnose.mistakes.wrong_forward import after, instead, moved, of_type
from lenet.network.architecture import LAYERS
from lenet.reference.backward import window_taps
from parity.arithmetic import Array, Bounded
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import MaxPool

FAMILY = Family()
RELUS = tuple(f"{name}.input" for name in reversed(of_type(Relu)))
POOLS = tuple(f"{name}.input" for name in reversed(of_type(MaxPool)))
TIES = case("Theano/Theano", 5248)


def zero(y: Bounded) -> Bounded:
    """All zero, exactly."""
    return Bounded(np.zeros_like(y.value), np.zeros_like(y.value))


# --- ReLU and pooling --------------------------------------------------------------------------

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


def tied(call: BackCall, share: Callable[[Array], Array], equal: Callable[..., Array] = np.equal) -> Bounded:
    """The cotangent if every position `equal` to its window's maximum gets `share(number of these)` of it."""
    assert isinstance(call.layer.operator, MaxPool)
    size = call.layer.kernel
    taps = np.stack(window_taps(call.x.value, size))
    wins = equal(taps, taps.max(axis=0))
    factor = share(wins.sum(axis=0))
    base = right_input(call)
    value, error = np.zeros(call.x.value.shape), base.bound.copy()
    for k, (v, e) in enumerate(zip(window_taps(value, size), window_taps(error, size), strict=True)):
        v[...] = np.where(wins[k], call.d.value * factor, 0)
        e[...] = np.where(wins[k], np.maximum(e, call.d.bound * factor + 2 * call.u * np.abs(v)), e)
    return Bounded(value, error)


def _everywhere(call: BackCall, factor: float) -> Bounded:
    value, error = np.zeros(call.x.value.shape), np.zeros(call.x.value.shape)
    assert isinstance(call.layer.operator, MaxPool)
    for v, e in zip(
        window_taps(value, call.layer.kernel), window_taps(error, call.layer.kernel), strict=True
    ):
        v[...], e[...] = factor * call.d.value, factor * call.d.bound
    return Bounded(value, error)


def _winner_from_the_end(call: BackCall) -> Bounded:
    def turned(a: Array) -> Array:
        return a[:, :, ::-1, ::-1]

    back = right_input(
        replace(call, x=moved(call.x, turned), d=moved(call.d, turned), images=turned(call.images))
    )
    return moved(back, turned)


SHARED = "ties split among winners"  # a right subgradient: all shares lie in [0, 1], and their sum is 1
WINNERS: tuple[tuple[str, str, Callable[[BackCall], Bounded]], ...] = (
    (
        "ties rewarded to all winners",
        "If several values of a window are the largest, each gets the whole cotangent.",
        lambda call: tied(call, lambda count: np.ones(count.shape)),
    ),
    (
        SHARED,
        "If several values of a window are the largest, they share the cotangent.",
        lambda call: tied(call, lambda count: 1 / count),
    ),
    (
        "nearly equal values rewarded as ties",
        "Every value that np.isclose finds equal to the largest of its window gets the whole cotangent.",
        lambda call: tied(call, lambda count: np.ones(count.shape), np.isclose),
    ),
    (
        "nearly equal values share as ties",
        "All values that np.isclose finds equal to the largest of their window share the cotangent.",
        lambda call: tied(call, lambda count: 1 / count, np.isclose),
    ),
    (
        "ties won by the last",
        "If several values of a window are the largest, the last in row order gets the cotangent.",
        _winner_from_the_end,
    ),
    (
        "pooling gradient to the whole window",
        "Every position of a window gets the cotangent.",
        lambda call: _everywhere(call, 1.0),
    ),
    (
        "pooling gradient spread as an average",
        "Every position gets a quarter: the gradient of average pooling.",
        lambda call: _everywhere(call, 0.25),
    ),
)
for _name, _text, _how in WINNERS:
    FAMILY.add(
        POOLS,
        Kind(
            _name,
            _text,
            "Give the cotangent to the first largest value of each window, in row order.",
            TIES,
            valid=_name == SHARED,
        ),
        instead(_how),
    )

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
        "The gradient of the bias is zero.",
        "Compute db as the sum of dy.",
        POSITIONS,
    ),
    after(lambda g, call: zero(g)),
)
FAMILY.add(
    WEIGHTS,
    Kind(
        "weight gradient missing", "The gradient of the weights is zero.", "Compute dw = Σ dy · x.", POSITIONS
    ),
    after(lambda g, call: zero(g)),
)
