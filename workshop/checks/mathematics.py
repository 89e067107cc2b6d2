"""Self-checks of notebooks 1 to 4."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lenet.network.architecture import CLASSES
from lenet.network.digits import test_set
from lenet.reference.backward import cross_entropy as softmax_bound
from lenet_numpy.layers import conv2d_definition, softmax_cross_entropy_backward
from lenet_numpy.model import LeNet
from lenet_numpy.train import SGD, gradients
from parity.arithmetic import Bounded
from parity.arithmetic.floats import U64
from workshop.checks.marking import NotRight, called, check, in_network, same, same_form, within

Array = np.ndarray
# --- 1: convolution ----------------------------------------------------------------------------


@check
def matrix(answer: Callable[..., Any]) -> str:
    """Check the matrix of a convolution, with integers, so that no sum rounds."""
    rng = np.random.default_rng(0)
    for size, height, width in ((3, 5, 7), (2, 6, 4), (1, 3, 4)):
        kernel = rng.permutation(np.arange(1.0, size * size + 1)).reshape(size, size)
        x = rng.integers(-9, 10, (1, 1, height, width)).astype(np.float64)
        y = conv2d_definition(x, kernel[None, None], np.zeros(1))
        pixels = np.eye(height * width).reshape(-1, 1, height, width)
        columns = conv2d_definition(pixels, kernel[None, None], np.zeros(1))
        same(
            f"for a kernel {size}×{size} on {height}×{width}: M",
            called(answer, kernel, height, width),
            columns.reshape(len(pixels), -1).T,
        )
        same("M x", np.asarray(answer(kernel, height, width)) @ x.ravel(), y.ravel())
    return "M x is the convolution, to the bit, on three sizes"


@check
def convolution(answer: Callable[..., Any]) -> str:
    """Check a convolution that replaces both of the network's."""

    def adapted(answer: Any, right: Any, x: Array, w: Array, b: Array, *, padding: int = 0) -> Any:
        expected, cache = right(x, w, b, padding=padding)
        y = called(answer, x.copy(), w.copy(), b.copy(), padding)
        return same_form(answer.__name__, y, expected), cache

    return in_network(answer, {"lenet_numpy.model.conv2d": adapted})


# --- 2: softmax --------------------------------------------------------------------------------


@check
def cross_entropy(answer: Callable[..., Any]) -> str:
    """Check a loss and its gradient, which replace the network's."""

    def loss(answer: Any, right: Any, logits: Array, labels: Array) -> Any:
        expected = right(logits, labels)
        both = np.asarray(expected[0]), softmax_cross_entropy_backward(expected[1])
        value, dlogits = same_form(answer.__name__, called(answer, logits.copy(), labels.copy()), both)
        return value, dlogits

    targets = "lenet_numpy.train.softmax_cross_entropy", "lenet_numpy.train.softmax_cross_entropy_backward"
    return in_network(answer, {targets[0]: loss, targets[1]: lambda answer, right, dlogits: dlogits})


@check
def constant(answer: Callable[..., Any]) -> str:
    """Check the logits of greatest likelihood: their gradient is zero, up to four roundings."""
    labels = test_set().labels[:1000]
    z = np.asarray(called(answer, labels.copy()), np.float64)
    if z.shape != (CLASSES,):
        raise NotRight(f"the logits have shape {z.shape}, expected ({CLASSES},)")
    rows = Bounded(np.tile(z, (len(labels), 1)), np.tile(4 * U64 * np.abs(z), (len(labels), 1)))
    _, gradient = softmax_bound(rows, labels, "float64")
    total = Bounded(np.zeros(CLASSES), gradient.bound.sum(axis=0) + CLASSES * len(labels) * U64)
    within("the gradient of the likelihood by logit", gradient.value.sum(axis=0), total)
    return "no other constant makes these labels more probable"


# --- 3: backpropagation ------------------------------------------------------------------------


@check
def linear_backward(answer: Callable[..., Any]) -> str:
    """Check the gradients of a dense layer, which replace those of all three."""

    def adapted(answer: Any, right: Any, dy: Array, cache: Any) -> Any:
        x, w = cache
        found = called(answer, dy.copy(), x.copy(), w.copy())
        return same_form(answer.__name__, found, right(dy, cache))

    return in_network(answer, {"lenet_numpy.model.linear_backward": adapted})


@check
def pool_backward(answer: Callable[..., Any]) -> str:
    """Check the gradient of max pooling, which replaces both."""

    def adapted(answer: Any, right: Any, dy: Array, cache: Any) -> Any:
        found = called(answer, dy.copy(), cache[0].copy())
        return same_form(answer.__name__, found, right(dy, cache))

    return in_network(answer, {"lenet_numpy.model.max_pool2d_backward": adapted})


# --- 4: descent --------------------------------------------------------------------------------


@check
def step(answer: Callable[..., Any]) -> str:
    """Check an SGD step, which replaces the port's own, in a run with a rate drop."""

    def adapted(
        answer: Any, right: Any, model: LeNet, sgd: SGD, images: Array, labels: Array, rate: float
    ) -> Any:
        loss, gradient = gradients(model, images, labels)
        for name, w in model.params.items():
            v = sgd.velocity[name]
            given = (w.copy(), v.copy(), gradient[name], rate, sgd.momentum, sgd.weight_decay)
            w[...], v[...] = same_form(answer.__name__, called(answer, *given), (w, v))
        return loss

    return in_network(answer, {"lenet_numpy.train.train_step": adapted})


@check
def largest_rate(answer: Callable[..., Any]) -> str:
    """Check 2 / λ_max, to eight digits, for matrices with known eigenvalues."""
    rng = np.random.default_rng(0)
    for eigenvalues in (np.array([0.1, 0.5, 3.0]), np.linspace(1, 40, 30), np.array([7.0, 1e-3, 2.0, 4.0])):
        basis, _ = np.linalg.qr(rng.standard_normal((len(eigenvalues), len(eigenvalues))))
        hessian = (basis * eigenvalues) @ basis.T
        expected = np.asarray(2 / eigenvalues.max())
        rate = called(answer, lambda v, hessian=hessian: hessian @ v, len(eigenvalues))
        within(
            f"the rate for eigenvalues up to {eigenvalues.max():g}", rate, Bounded(expected, expected * 1e-8)
        )
    return "2 / λ_max, to eight digits, for three Hessians"
