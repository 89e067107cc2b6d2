"""Self-checks of the exercises, which print a line: right, not yet, or not right and why.

    checks.convolution(conv2d)

A check takes the participant's answer. It prints "not yet: …" while the stub is untouched, prints "right: …"
if the answer is right, and raises NotRight with the first difference otherwise. The project's own judge
decides: it compares bits if nothing rounds, and uses derived bounds otherwise. An answer that replaces a
function of the NumPy port is diagnosed (`lenet.diagnose`).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

import numpy as np

from lenet import ports
from lenet.diagnose import diagnose, probe_inputs
from lenet.diagnose.findings import Finding
from lenet.diagnose.own_file.interface import Misused, OwnPort
from lenet.network.architecture import CLASSES
from lenet.network.digits import test_set
from lenet.reference.backward import cross_entropy as softmax_bound
from lenet.reference.distance import ratio
from lenet_numpy.layers import conv2d_definition, softmax_cross_entropy_backward
from lenet_numpy.model import LeNet
from lenet_numpy.train import SGD, gradients
from parity.arithmetic import Bounded
from parity.arithmetic.floats import U64

Array = np.ndarray
Check = Callable[[Any], None]


class NotYet(Exception):
    """The exercise is still empty."""


class NotRight(AssertionError):
    """The answer is wrong; the text tells where, in one line."""

    def _render_traceback_(self) -> list[str]:
        """The text that Jupyter shows instead of a traceback through this module."""
        return [f"not right: {self}"]


# --- parts of checks ---------------------------------------------------------------------------


def check(judge: Callable[[Any], str]) -> Check:
    """Make a check from a judge. The judge returns a description of a right answer, or raises."""

    @wraps(judge)
    def checked(answer: Any) -> None:
        try:
            filled_in(answer, "the answer is still empty: fill in the cell above")
            said = judge(answer)
        except NotYet as reason:
            print(f"not yet: {reason}")
        else:
            print(f"right: {said}")

    return checked


def filled_in(value: Any, why: str) -> Any:
    """`value`; raises NotYet if it is the value of a stub."""
    if value is None or value is ...:
        raise NotYet(why)
    return value


def called(function: Callable[..., Any], *args: Any) -> Any:
    """The result of the participant's function; raises NotYet if it is None."""
    return filled_in(function(*args), f"{function.__name__} returns nothing yet: fill in its body")


def same_form(what: str, value: Any, expected: Any) -> Any:
    """`value` as an array or a tuple of arrays. Refuses another number, shape or dtype than expected."""
    if isinstance(expected, tuple):
        if not isinstance(value, tuple | list) or len(value) != len(expected):
            raise NotRight(f"{what} returned {_kind(value)}, expected a tuple of {len(expected)}")
        numbered = enumerate(zip(value, expected, strict=True), 1)
        return tuple(same_form(f"{what}, value {k},", one, other) for k, (one, other) in numbered)
    array, wanted = np.asarray(value), np.asarray(expected)
    if array.shape != wanted.shape:
        raise NotRight(f"{what} has shape {array.shape}, expected {wanted.shape}")
    if array.dtype != wanted.dtype:
        raise NotRight(f"{what} is {array.dtype}, expected {wanted.dtype}")
    return array


def within(what: str, value: Any, expected: Bounded) -> float:
    """The largest ratio of error to bound. If it exceeds 1, NotRight names the worst value."""
    array = np.asarray(value)
    if array.shape != np.shape(expected.value):
        raise NotRight(f"{what} has shape {array.shape}, expected {np.shape(expected.value)}")
    over = np.asarray(ratio(np.atleast_1d(array.astype(np.float64)), _at_least_1d(expected)))
    if over.max(initial=0) <= 1:
        return float(over.max(initial=0))
    index = tuple(int(i) for i in np.unravel_index(over.argmax(), over.shape))
    bounded = _at_least_1d(expected)
    place = f"[{', '.join(map(str, index))}]" if array.ndim else ""
    raise NotRight(
        f"{what}{place} is {np.atleast_1d(array)[index]:.6g}, expected "
        f"{bounded.value[index]:.6g} ± {bounded.bound[index]:.1e}"
    )


def same(what: str, value: Any, expected: Array) -> None:
    """Require equality to the bit, for integers and for sums in which nothing rounds."""
    array = np.asarray(value)
    within(what, array, Bounded(expected.astype(np.float64), np.zeros(expected.shape)))


def in_network(answer: Callable[..., Any], adapters: dict[str, Callable[..., Any]]) -> str:
    """Put the answer into the NumPy port, and judge and diagnose the port as `lenet check` does.

    Args:
        answer: the participant's function.
        adapters: {replaced function ("lenet_numpy.model.conv2d"): replacement}; a replacement takes the
            answer, the right function and its arguments.
    """
    given = probe_inputs.standard()
    with planted(answer, adapters):
        try:
            observed = probe_inputs.observe_port(given, ports.open_port("numpy"))
        except probe_inputs.Raised as raised:
            raise raised.__cause__ or raised from None
    verdict = diagnose(given, observed)
    if not verdict.ok:
        raise NotRight(explained(verdict.findings[0]))
    layers = next(iter(observed.activations.values()))
    _, gradients = next(iter(observed.gradients.values()))
    return f"the network is the same with your {answer.__name__}, in {len(layers)} layers, " + (
        f"the loss, {len(gradients)} gradients and {len(observed.trajectory or ())} training steps"
    )


@contextmanager
def planted(answer: Callable[..., Any], adapters: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Replace functions of the NumPy port by the answer, inside this context."""
    with ExitStack() as stack:
        for target, adapter in adapters.items():
            stack.enter_context(patch(target, _adapted(answer, adapter, resolve_name(target))))
        yield


def explained(finding: Finding) -> str:
    """A finding in one line: the place, the evidence, the mistake and its remedy."""
    if not finding.known:
        return f"{finding.where} differs, and no known mistake gives these values: {finding.evidence}"
    names = " and ".join(cause.name for cause in finding.causes)
    return f"{finding.where} differs: {names}. {finding.causes[0].explanation} {finding.causes[0].remedy}"


def _adapted(answer: Callable[..., Any], adapter: Callable[..., Any], right: Callable[..., Any]) -> Any:
    return lambda *args, **options: adapter(answer, right, *args, **options)


def _at_least_1d(expected: Bounded) -> Bounded:
    return Bounded(np.atleast_1d(expected.value), np.atleast_1d(expected.bound))


def _kind(value: Any) -> str:
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else f"one {type(value).__name__}"


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


# --- 5: ports ----------------------------------------------------------------------------------


@check
def torch_forward(answer: Callable[..., Any]) -> str:
    """Check a forward pass on the probes of `lenet check`."""
    given = probe_inputs.standard()
    try:
        verdict = diagnose(given, OwnPort(lambda *args: called(answer, *args)).observe(given))
    except Misused as error:
        raise NotRight(str(error)) from error
    if not verdict.ok:
        raise NotRight(explained(verdict.findings[0]))
    return "the same network, up to float32 rounding"


@check
def to_tf(answer: Callable[..., Any]) -> str:
    """Check a conversion of weights, which replaces the TensorFlow port's."""

    def adapted(answer: Any, right: Any, name: str, array: Array) -> Any:
        return same_form(
            f"{answer.__name__}({name!r})", called(answer, name, array.copy()), right(name, array)
        )

    port = ports.open_port("tf")
    with planted(answer, {"lenet_tf.weights.to_framework": adapted}):
        verdict = diagnose(probe_inputs.standard(), forward_only(port))
    if not verdict.ok:
        raise NotRight(explained(verdict.findings[0]))
    return "TensorFlow computes the same network from your weights"


def forward_only(port: ports.Port) -> probe_inputs.Observed:
    """The activations of a port on the probes; the port need not differentiate."""
    activations, _ = probe_inputs.functions_of(port)
    return probe_inputs.observe(probe_inputs.standard(), activations)
