"""What notebook 11 gives to the participant: a value on the tape, the layers, and LeNet on the tape.

The participant writes `apply`, `backward` and `add_pull`; this network is then trained with these three.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lenet_numpy import layers as L
from lenet_numpy.model import LeNet

Array = np.ndarray
Pull = Callable[[Array, Any], tuple[Array, ...]]


@dataclass(eq=False)  # two values are the same only if they are one object, so they can be keys
class Var:
    """A value, and how it was computed.

    Attributes:
        value: the array.
        inputs: the values that it was computed from; none if nothing computed it.
        pull: from the cotangent of this value to a cotangent for each of `inputs`.
    """

    value: Array
    inputs: tuple["Var", ...] = ()
    pull: Callable[[Array], tuple[Array, ...]] | None = None


def alone(pull: Callable[[Array, Any], Array]) -> Pull:
    """The pull of a layer with one input, as a tuple."""
    return lambda dy, cache: (pull(dy, cache),)


def matmul(x: Array, w: Array) -> tuple[Array, Any]:
    """y = x Wᵀ: x (N, D), w (E, D); y (N, E)."""
    return x @ w.T, (x, w)


def matmul_pull(dy: Array, cache: Any) -> tuple[Array, Array]:
    """dx = dy W and dW = dyᵀ x."""
    x, w = cache
    return dy @ w, dy.T @ x


def add(a: Array, b: Array) -> tuple[Array, Any]:
    """a + b, with broadcasting."""
    return a + b, (a.shape, b.shape)


def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Any]:
    """The mean loss over the batch."""
    return L.softmax_cross_entropy(logits, labels)


def cross_entropy_pull(dy: Array, cache: Any) -> Array:
    """(p − [k = label]) / N, times the cotangent of the loss."""
    return dy * L.softmax_cross_entropy_backward(cache)


def loss_of(
    p: Mapping[str, Var],
    images: Array,
    labels: Array,
    apply: Callable[..., Var],
    add_pull: Pull,
    off_the_tape: str = "",
) -> Var:
    """The loss of LeNet on the tape.

    Args:
        p: the parameters.
        off_the_tape: an output ("pool1", "pool2") that is copied without its history.
    """
    pool = partial(L.max_pool2d, size=2, stride=2)
    x = Var(images)
    for k, padding in ((1, 2), (2, 0)):
        convolve = partial(L.conv2d, padding=padding)
        x = apply(convolve, L.conv2d_backward, x, p[f"conv{k}.weight"], p[f"conv{k}.bias"])
        x = apply(L.relu, alone(L.relu_backward), x)
        x = apply(pool, alone(L.max_pool2d_backward), x)
        x = Var(x.value) if off_the_tape == f"pool{k}" else x
    x = apply(L.flatten, alone(L.flatten_backward), x)
    for name in ("fc1", "fc2", "logits"):
        x = apply(add, add_pull, apply(matmul, matmul_pull, x, p[f"{name}.weight"]), p[f"{name}.bias"])
        x = apply(L.relu, alone(L.relu_backward), x) if name != "logits" else x
    return apply(partial(cross_entropy, labels=labels), alone(cross_entropy_pull), x)


def gradients_by(
    apply: Callable[..., Var], backward: Callable[[Var], dict[Var, Array]], add_pull: Pull
) -> Callable[[LeNet, Array, Array], tuple[Array, dict[str, Array]]]:
    """A function that replaces `lenet_numpy.train.gradients`: loss and gradients, from this tape."""

    def gradients(model: LeNet, images: Array, labels: Array) -> tuple[Array, dict[str, Array]]:
        p = {name: Var(array) for name, array in model.params.items()}
        loss = loss_of(p, images, labels, apply, add_pull)
        found = backward(loss)
        return loss.value, {name: found[one] for name, one in p.items()}

    return gradients
