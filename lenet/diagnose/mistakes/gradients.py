"""Mistakes of the backward pass: wrong order, wrong sums and missing terms in gradients."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, case
from lenet.diagnose.mistakes.precision import FORMATS, rounded
from lenet.diagnose.mistakes.wrong_backward import BackCall, right_bias, right_input
from lenet.diagnose.mistakes.wrong_forward import after, before, instead, moved, of_type
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import cover, gamma
from parity.arithmetic.rounding_modes import CUT_BFLOAT16
from parity.judging.causes.of_rounding.shortened import name_of, rounded_to
from parity.operators.affine import Conv, Gemm

FAMILY = Family()
WEIGHTS = tuple(f"{name}.weight" for name in reversed(of_type(Conv, Gemm)))
BIASES = tuple(f"{name}.bias" for name in reversed(of_type(Conv, Gemm)))
CONV_WEIGHTS = tuple(f"{name}.weight" for name in reversed(of_type(Conv)))
CONV_BIASES = tuple(f"{name}.bias" for name in reversed(of_type(Conv)))
DENSE_WEIGHTS = tuple(f"{name}.weight" for name in reversed(of_type(Gemm)))
DENSE_BIASES = tuple(f"{name}.bias" for name in reversed(of_type(Gemm)))
GROUPS = (
    WEIGHTS + BIASES,
    CONV_WEIGHTS + CONV_BIASES,
    DENSE_WEIGHTS + DENSE_BIASES,
    WEIGHTS,
    BIASES,
    CONV_WEIGHTS,
    CONV_BIASES,
    DENSE_WEIGHTS,
    DENSE_BIASES,
    *((f"{name}.weight", f"{name}.bias") for name in reversed(of_type(Conv, Gemm))),
)
CONV_INPUTS = ("conv2.input",)  # nothing lies before conv1

INPUT = case("parasdahal/deepnet", 8)
COL2IM = case("ravin-d-27/PyDeepFlow", 85)
BUFFER = case("LBANN/lbann", 1022)


def times(y: Bounded, factor: float, u: float) -> Bounded:
    """y times a factor, with the rounding of the product."""
    value = factor * y.value
    return Bounded(value, abs(factor) * y.bound * (1 + 2 * u) + 2 * u * np.abs(value))


# --- convolution -------------------------------------------------------------------------------


def _with_kernel(call: BackCall, change: Callable[[Array], Array]) -> Bounded:
    return right_input(replace(call, w=np.ascontiguousarray(change(call.w))))


KERNELS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    (
        "kernel not turned in the input gradient",
        "The cotangent is correlated with the kernel as it is; the kernel must be turned by 180 degrees.",
        lambda w: w[:, :, ::-1, ::-1],
    ),
    (
        "kernel transposed in the input gradient",
        "Height and width of the kernel are exchanged in the backward pass.",
        lambda w: w.swapaxes(2, 3),
    ),
    (
        "input channels reversed in the input gradient",
        "The gradients of the input channels are in reverse order.",
        lambda w: w[:, ::-1],
    ),
    (
        "kernel flipped upside down in the input gradient",
        "The kernel is flipped along its height in the backward pass.",
        lambda w: w[:, :, ::-1],
    ),
    (
        "kernel flipped left to right in the input gradient",
        "The kernel is flipped along its width in the backward pass.",
        lambda w: w[..., ::-1],
    ),
)
for _name, _text, _change in KERNELS:
    FAMILY.add(
        CONV_INPUTS,
        Kind(
            _name,
            _text,
            "dx is the full correlation of dy with the kernel turned by 180 degrees, summed over outputs.",
            INPUT,
        ),
        instead(lambda call, change=_change: _with_kernel(call, change)),
    )


def overwritten(call: BackCall, last: bool) -> Bounded:
    """col2im that assigns instead of adding: each pixel keeps only the contribution written last."""
    layer, w, d = call.layer, call.w, call.d
    assert isinstance(layer.operator, Conv)
    k, (n, _, rows, columns) = layer.kernel, d.value.shape
    shape = (n, layer.weight_shape[1], rows + k - 1, columns + k - 1)
    value, size, carried = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    positions = list(np.ndindex(k, k))
    for i, j in positions if last else positions[::-1]:
        kernel = w[:, :, i, j]
        for target, a, b in (
            (value, d.value, kernel),
            (size, np.abs(d.value), np.abs(kernel)),
            (carried, d.bound, np.abs(kernel)),
        ):
            target[:, :, i : i + rows, j : j + columns] = np.einsum("nopq,oc->ncpq", a, b)
    terms = layer.weight_shape[0]
    error = carried + gamma(terms + 2, call.u) * (size + carried)
    p = layer.padding
    full = Bounded(value, error * cover(terms))
    return moved(full, lambda a: a[:, :, p : a.shape[2] - p, p : a.shape[3] - p])


for _last, _name in ((True, "last"), (False, "first")):
    FAMILY.add(
        CONV_INPUTS,
        Kind(
            f"col2im keeps the {_name} overlap",
            f"Overlapping patches overwrite each other: each pixel keeps only its {_name} contribution.",
            "Add in col2im: `dx[...] += dcols[...]`, or np.add.at.",
            COL2IM,
        ),
        instead(lambda call, last=_last: overwritten(call, last)),
    )


FAMILY.add(
    CONV_INPUTS,
    Kind(
        "only the first output map in the input gradient",
        "The input gradient uses only the first output map.",
        "Sum over all output maps.",
        INPUT,
    ),
    instead(lambda call: right_input(replace(call, w=_first_map(call.w)))),
)


def _first_map(w: Array) -> Array:
    kept = np.zeros_like(w)
    kept[:1] = w[:1]
    return kept


# --- gradients of parameters -------------------------------------------------------------------

LAYOUT = case("pytorch/pytorch", 129834)
LAYOUTS: tuple[tuple[tuple[str, ...], str, str, Callable[[Array], Array]], ...] = (
    (
        CONV_WEIGHTS,
        "weight gradient flipped",
        "The kernel's gradient is turned by 180 degrees.",
        lambda g: g[:, :, ::-1, ::-1],
    ),
    (
        CONV_WEIGHTS,
        "weight gradient with height and width swapped",
        "The kernel's gradient has its spatial axes exchanged.",
        lambda g: g.swapaxes(2, 3),
    ),
    (
        CONV_WEIGHTS,
        "weight gradient in HWIO",
        "The kernel's gradient is in H, W, I, O order.",
        lambda g: g.transpose(2, 3, 1, 0),
    ),
    (
        CONV_WEIGHTS,
        "weight gradient reshaped from HWIO",
        "The kernel's gradient was reshaped from HWIO to OIHW.",
        lambda g: g.transpose(2, 3, 1, 0).reshape(g.shape),
    ),
    (
        DENSE_WEIGHTS,
        "weight gradient transposed",
        "The gradient has shape (in, out); the weights have shape (out, in).",
        lambda g: g.T,
    ),
    (
        DENSE_WEIGHTS,
        "weight gradient reshaped, not transposed",
        "The gradient was reshaped from (in, out) to (out, in).",
        lambda g: g.T.reshape(g.shape),
    ),
    (
        WEIGHTS,
        "output order of the weight gradient reversed",
        "The rows of the gradient are in reverse order.",
        lambda g: g[::-1],
    ),
)
for _on, _name, _text, _view in LAYOUTS:
    FAMILY.add(
        _on,
        Kind(_name, _text, "Return each gradient in the layout of its parameter.", LAYOUT),
        after(lambda g, call, view=_view: moved(g, view)),
    )


def first_digits(call: BackCall, count: int) -> BackCall:
    """The same call with the first `count` digits of the batch only."""
    cut = [Bounded(a.value[:count], a.bound[:count]) for a in (call.x, call.d)]
    return replace(call, x=cut[0], d=cut[1])


FAMILY.add_groups(
    GROUPS,
    Kind(
        "gradient of the first digit alone",
        "The gradient is not summed over the batch: only the first digit counts.",
        "Sum over the batch axis.",
        BUFFER,
    ),
    before(lambda call: first_digits(call, 1)),
)
FAMILY.add_groups(
    GROUPS,
    Kind(
        "gradient of the last digit alone",
        "Each digit of the batch overwrites the gradient: only the last digit counts.",
        "Add the gradients of the digits: `+=`.",
        BUFFER,
    ),
    before(
        lambda call: replace(
            call,
            x=Bounded(call.x.value[-1:], call.x.bound[-1:]),
            d=Bounded(call.d.value[-1:], call.d.bound[-1:]),
        )
    ),
)
# If all gradients are negated, or scaled by the batch size, the mistake is in the loss.
PARTS: tuple[tuple[str, ...], ...] = (*((one,) for one in GROUPS[0]), *GROUPS[1:])
for _factor, _name, _text in (
    (2.0, "gradient doubled", "The gradient is added to its buffer twice."),
    (0.5, "gradient halved", "The gradient is half of what it should be."),
    (-1.0, "gradient negated", "The gradient has the wrong sign."),
):
    FAMILY.add_sets(
        PARTS if _factor < 0 else (GROUPS[0], *PARTS),
        Kind(_name, _text, "Add the gradient once to a buffer of zeros.", BUFFER),
        after(lambda g, call, f=_factor: times(g, f, call.u)),
    )
for _name, _text, _power in (
    (
        "gradient times the batch size",
        "The gradient of this parameter is multiplied by N, the batch size.",
        1,
    ),
    (
        "gradient divided by the batch size once more",
        "The gradient of this parameter is divided by N again.",
        -1,
    ),
):
    FAMILY.add_sets(
        PARTS,
        Kind(_name, _text, "Do not scale it: dlogits contains the 1/N of the mean.", BUFFER),
        after(lambda g, call, k=_power: times(g, float(len(call.d.value)) ** k, call.u)),
    )

TF32 = case("intel/torch-xpu-ops", 2400)
for _form in FORMATS:
    if _form is CUT_BFLOAT16:
        continue  # no product is known to do so
    FAMILY.add_groups(
        (WEIGHTS, CONV_WEIGHTS, DENSE_WEIGHTS),
        Kind(
            f"weight gradient from operands in {name_of(_form)}",
            f"Inputs and cotangents are {rounded_to(_form)} before the products of the weight gradient; the "
            "forward pass is right.",
            "Use full float32 products in the backward pass as well: allow_tf32=False, no autocast.",
            TF32,
        ),
        before(lambda call, form=_form: replace(call, x=rounded(call.x, form), d=rounded(call.d, form))),
    )

# --- biases ------------------------------------------------------------------------------------

POSITIONS = case("HomericIntelligence/Odyssey", 2949)


def _at_one_position(call: BackCall, index: int) -> Bounded:
    d = call.d
    return right_bias(replace(call, d=moved(d, lambda a: a.reshape(*a.shape[:2], -1)[:, :, [index], None])))


def _per_position(call: BackCall) -> Bounded:
    terms = len(call.d.value)
    size = (np.abs(call.d.value) + call.d.bound).sum(axis=0)
    return Bounded(call.d.value.sum(axis=0), call.d.bound.sum(axis=0) + gamma(terms + 1, call.u) * size)


def _positions(call: BackCall) -> int:
    return call.d.value[0, 0].size


BIAS_GRADIENTS: tuple[tuple[str, str, Callable[[BackCall], Bounded]], ...] = (
    (
        "bias gradient not summed over positions",
        "The gradient has a value for each position, shape (O, P, Q).",
        _per_position,
    ),
    (
        "bias gradient of one position",
        "Only the first position of each map is used.",
        lambda call: _at_one_position(call, 0),
    ),
    (
        "bias gradient averaged over positions",
        "The positions are averaged; they must be summed.",
        lambda call: times(right_bias(call), 1 / _positions(call), call.u),
    ),
    (
        "bias gradient summed over rows only",
        "Only the first column of each map is used.",
        lambda call: right_bias(replace(call, d=moved(call.d, lambda a: a[..., :1]))),
    ),
)
for _name, _text, _how in BIAS_GRADIENTS:
    FAMILY.add(
        CONV_BIASES,
        Kind(_name, _text, "db = dy.sum(axis=(0, 2, 3)): over the batch and all positions.", POSITIONS),
        instead(_how),
    )
