"""Self-checks of notebooks 5 to 7 and 9; their parts are in `workshop.checks.marking`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lenet.diagnose import diagnose, probe_inputs
from lenet.diagnose.own_file.interface import Misused, OwnPort
from lenet.diagnose.own_file.process import check_file
from lenet.network import weights
from lenet.network.architecture import LAYERS, PARAM_SHAPES
from lenet.network.digits import test_set
from lenet.ports import Port, open_port
from lenet.reference import backward, forward
from lenet.reference.distance import ratio
from parity.arithmetic.floats import FORMATS, U64, gamma
from workshop.bugs import find
from workshop.checks.marking import (
    NotRight,
    NotYet,
    called,
    check,
    explained,
    filled_in,
    planted,
    same,
    same_form,
)

Array = np.ndarray
Answer = Callable[..., Any]
PATIENTS = {"A": "permuted-again", "B": "tf32-by-default", "C": "col2im-overwrites"}  # of notebook 7

# --- 5: ports ----------------------------------------------------------------------------------


@check
def torch_forward(answer: Answer) -> str:
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
def to_tf(answer: Answer) -> str:
    """Check a conversion of weights, which replaces the TensorFlow port's."""

    def adapted(answer: Any, right: Any, name: str, array: Array) -> Any:
        return same_form(
            f"{answer.__name__}({name!r})", called(answer, name, array.copy()), right(name, array)
        )

    port = open_port("tf")
    with planted(answer, {"lenet_tf.weights.to_framework": adapted}):
        verdict = diagnose(probe_inputs.standard(), forward_only(port))
    if not verdict.ok:
        raise NotRight(explained(verdict.findings[0]))
    return "TensorFlow computes the same network from your weights"


def forward_only(port: Port) -> probe_inputs.Observed:
    """The activations of a port on the probes; the port need not differentiate."""
    activations, _ = probe_inputs.functions_of(port)
    return probe_inputs.observe(probe_inputs.standard(), activations)


# --- 6: rounding or bug ------------------------------------------------------------------------


@check
def dense_bound(answer: Answer) -> str:
    """γ_{D+1} (|w||x| + |b|) for w (E, D), x (N, D), b (E,)."""
    rng = np.random.default_rng(0)
    w, x, b = rng.standard_normal((7, 400)), rng.standard_normal((5, 400)), rng.standard_normal(7)
    (_, right), *slips = _bounds(w, x, b)
    found = same_form("the bound", called(answer, w, x, b), right)
    # Both sides are float64 sums of D + 1 positive terms, with eight more roundings for the factors.
    apart = 2 * gamma(400 + 9, U64)
    if (np.abs(found - right) <= apart * right).all():
        return "every float32 evaluation of a dense layer is within this bound, in any order"
    for slip, bound in slips:
        if (np.abs(found - bound) <= apart * bound).all():
            raise NotRight(slip)
    n, e = np.unravel_index(np.argmax(np.abs(found - right)), right.shape)
    raise NotRight(f"the bound of digit {n}, unit {e} is {found[n, e]:.6e}, expected {right[n, e]:.6e}")


def _bounds(w: Array, x: Array, b: Array) -> Iterator[tuple[str, Array]]:
    """The bound of a dense layer with each of the usual mistakes, and a hint for each."""
    d, u = w.shape[1], FORMATS["float32"].u
    sums, g = np.abs(x) @ np.abs(w).T + np.abs(b), gamma(d + 1, u)
    yield "", g * sums
    yield "|b| is missing: the sum with the bias is rounded too", g * (sums - np.abs(b))
    yield "take magnitudes before the sum, |w||x|: errors do not cancel", g * (np.abs(x @ w.T) + np.abs(b))
    yield "take magnitudes before the sum, |w||x| + |b|: errors do not cancel", g * np.abs(x @ w.T + b)
    yield "u is half the distance from 1 to the next number, 2^-24", gamma(d + 1, 2 * u) * sums
    yield "you used float64's u, 2^-53; float32's is 2^-24", gamma(d + 1, U64) * sums
    yield "you used γ_D; with the bias there is one rounding more", gamma(d, u) * sums
    yield "(D+1)·u lacks the denominator 1 − (D+1)·u: it is slightly too small", (d + 1) * u * sums
    yield "you counted one rounding; a product goes through up to D + 1", u * sums


@check
def first_different(answer: Answer) -> str:
    """Check the first layer with a value whose error exceeds its bound."""
    value, bound = np.linspace(-1, 1, 12).reshape(3, 4), np.full((3, 4), 0.25)
    expected = dict.fromkeys(("conv1", "relu1", "logits"), (value, bound))

    def off(by: float) -> Array:
        y = value.copy()
        y[1, 2] += by
        return y

    for want, wrong, why in (
        (None, {}, "every value is right"),
        (None, {"relu1": value + 0.25 - 2.0**-20}, "every error is below its bound"),
        ("relu1", {"relu1": off(0.5)}, "one value of relu1 is too large by twice its bound"),
        ("relu1", {"relu1": off(-0.5)}, "one value of relu1 is too small: the magnitude of the error counts"),
        ("conv1", {"logits": off(9), "conv1": off(0.5)}, "conv1 is wrong too, and comes first"),
        ("logits", {"logits": off(np.nan)}, "a NaN is within no bound, although `error > bound` is False"),
        ("relu1", {"relu1": off(np.inf)}, "an infinite value is within no bound"),
    ):
        found = answer(dict.fromkeys(expected, value) | wrong, expected)
        if found is ...:
            filled_in(found, f"{answer.__name__} returns ...: fill in its body")
        if found != want:
            raise NotRight(f"{answer.__name__} says {found!r}, expected {want!r}: {why}")
    if (found := answer({"relu1": value}, {"relu1": (value, 0 * bound)})) is not None:
        raise NotRight(f"{answer.__name__} says {found!r}, expected None: error and bound are both 0")
    return "it names the first wrong layer"


# --- 7: debugging ------------------------------------------------------------------------------


@check
def flatten_of_a(answer: Answer) -> str:
    """Check patient A's flatten, to the bit."""
    with _patient(PATIENTS["A"]) as port:
        seen = port.activations(test_set()[:20].images)
    pool2, expected = seen["pool2"], seen["flatten"]
    found = same_form("flatten", called(answer, pool2), expected)
    if np.array_equal(found, expected):
        return "these are A's values, every bit; the columns of fc1 expect C, H, W"
    if np.array_equal(np.sort(found), np.sort(expected)):
        n, k = np.argwhere(found != expected)[0]
        was = (
            "that is the right network's order" if np.array_equal(found, pool2.reshape(20, -1)) else "not A's"
        )
        raise NotRight(f"the same values in another order ({was}), first different at digit {n}, place {k}")
    raise NotRight("these are not the values of pool2: flatten only moves values")


@check
def operand_of_b(answer: Answer) -> str:
    """Check patient B's operands, by the rounding bound of a convolution with these operands."""
    images, params = test_set()[:20].images, weights.read()
    with _patient(PATIENTS["B"]) as port:
        conv1 = port.activations(images)["conv1"]
    x = same_form("the operand", called(answer, images), images)
    w = same_form("the operand", called(answer, params["conv1.weight"]), params["conv1.weight"])
    if np.array_equal(w, params["conv1.weight"]):
        raise NotRight("your operand is what it was before: B changes it")
    ratios = ratio(conv1, forward.local(LAYERS[0], params | {"conv1.weight": w}, x))
    if ratios.max() <= 1:
        return (
            f"all {ratios.size:,} values of B's conv1 lie within the bound (error/bound {ratios.max():.2f})"
        )
    kept = next((k for k in range(1, 25) if np.array_equal(w, _cut(w, k))), 24)
    raise NotRight(
        f"{(ratios > 1).mean():.0%} of B's conv1 lie outside the bound of your hypothesis; "
        f"your operands have up to {kept} significant bits"
    )


@check
def between(answer: Answer) -> str:
    """Check the two layers between which the backward pass goes wrong, for a right port and planted bugs."""
    cases = {
        None: None,
        PATIENTS["C"]: ("conv1", "conv2"),
        "pooling-gradient-averaged": ("conv2", "fc1"),
        "gate-on-the-wrong-side": ("fc2", "logits"),
    }
    for bug, expected in cases.items():
        ratios = _gradient_ratios(bug)
        found = answer(ratios)
        if found is ... or (expected and found is None):
            filled_in(
                found, f"{answer.__name__} returns {'...' if found is ... else found}: fill in its body"
            )
        if (found if found is None else tuple(found)) != expected:
            outside = [name for name, value in ratios.items() if not value <= 1]
            raise NotRight(
                f"it says {found}, expected {expected}, where outside are: {', '.join(outside) or 'none'}"
            )
    return "it finds the place of three planted bugs, and no bug in a right port"


@contextmanager
def _patient(key: str) -> Iterator[Port]:
    with find(key).planted() as port:
        port.load(weights.read())
        yield port


def _gradient_ratios(key: str | None) -> dict[str, float]:
    """Error over bound of every gradient, in float64, for a right port or for the bug `key`."""
    params, digits = weights.read(), test_set()[:20]
    digits = digits[backward.decided(params, digits.images)]
    with find(key).planted() if key else nullcontext():
        port = open_port("numpy", "float64")
        port.load(params)
        _, found = port.gradients(digits.images, digits.labels)
    expected = backward.loss_gradients(params, digits.images, digits.labels).params
    return {name: float(ratio(found[name], expected[name]).max()) for name in found}


def _cut(x: Array, bits: int) -> Array:
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(x.dtype)


# --- 9: back in time ---------------------------------------------------------------------------


@check
def to_framework(answer: Answer) -> str:
    """Check kernels (KH, KW, in, out) turned by 180°, dense weights (in, out), fc1's rows in H, W, C."""
    for name, shape in PARAM_SHAPES.items():
        array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)  # each value is its index
        maps = array.reshape(120, 16, 5, 5) if name == "fc1.weight" else array
        turned = array[:, :, ::-1, ::-1] if array.ndim == 4 else maps
        right = turned.transpose(*range(2, array.ndim), 1, 0) if array.ndim == 4 else array.T
        if name == "fc1.weight":
            right = maps.transpose(2, 3, 1, 0).reshape(400, 120)
        found = same_form(name, called(answer, name, array.copy()), right)
        for wrong, why in (
            (array.reshape(right.shape), "a reshape does not move axes; use transpose"),
            (array.transpose(2, 3, 1, 0) if array.ndim == 4 else right, "the kernel is not turned by 180°"),
            (array.T, "the rows are still in C, H, W order"),
        ):
            if not np.array_equal(found, right) and np.array_equal(found, wrong):
                raise NotRight(f"{name}: {why}")
        same(name, found, right)
    return "every weight is in the right place, bit for bit"


@check
def port(answer: Path | str) -> str:
    """Check a file for `lenet check`, or its source, in a separate process, as the command does."""
    text = answer.read_text(encoding="utf-8") if isinstance(answer, Path) else answer
    if "return ..." in text:
        raise NotYet("a function in the file still returns ...: fill it in, and save the file")
    with TemporaryDirectory(prefix="lenet-workshop-") as folder:
        file = Path(folder) / "port.py"
        file.write_text(text, encoding="utf-8")
        checked = check_file(file, 60.0, lambda line: None)
    if checked.failure is not None:
        raise NotRight(f"it fails in {checked.failure.during}: {checked.failure.lines[-1]}")
    if checked.verdict is None or not checked.verdict.ok:
        raise NotRight(explained(checked.verdict.findings[0]) if checked.verdict else "it returns nothing")
    return (
        f"the same network up to {checked.observed.dtype} rounding, in {len(checked.judged['layers'])} layers"
    )
