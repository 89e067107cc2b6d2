"""Mistakes of activation functions and of pooling, and activations handed out in another form.

Every smooth function here is computed from exp, erf or tanh by at most sixteen operations, whose
intermediate results are at most 1 + |x| (a GELU forms 1 + erf, of which little may be left: the error is
absolute). Each of them is right to a few ulps: `FUNCTION_ROUNDINGS` (1 + |x|) u covers them all. Their
slopes are at most 1.13 (GELU's), so that an error carried in grows by no more than `SLOPE`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from math import erf, sqrt

import numpy as np

from lenet.mistakes.base import Family, HandedOut, Kind, Mistake, case
from lenet.mistakes.network import Call, instead, moved, of_type, right
from lenet.rounding import Array, Bounded, gamma
from lenet.spec import ACTIVATION_SHAPES, LAYERS, Affine, Flatten, MaxPool, ReLU

FAMILY = Family()
RELUS = of_type(ReLU)
POOLS = of_type(MaxPool)
AFFINE = of_type(Affine)
FUNCTION_ROUNDINGS = 64  # sixteen operations of 4 ulps, which libraries keep to without promising it
SLOPE = 1.2

# --- activation functions ----------------------------------------------------------------------

PLACE = case("intel/ipex-llm", 2411)
PAPER = case("ChawDoe/LeNet5-MNIST-PyTorch", 9)


def function(f: Callable[[Array], Array], x: Bounded, u: float) -> Bounded:
    """f elementwise, with the bound of the module's text."""
    own = FUNCTION_ROUNDINGS * u * (1 + np.abs(x.value) + x.error)
    with np.errstate(over="ignore"):  # exp(-x) of a very negative x
        return Bounded(f(x.value), own + SLOPE * x.error)


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(erf, otypes=[np.float64])(x))


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "GELU (exact)": lambda x: x * (1 + _erf(x / sqrt(2))) / 2,
    "GELU (tanh)": lambda x: x * (1 + np.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "SiLU (swish)": lambda x: x / (1 + np.exp(-x)),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(0, x),
    "1.7159 tanh(2x/3)": lambda x: 1.7159 * np.tanh(2 * x / 3),
}
for _name, _f in FUNCTIONS.items():
    FAMILY.add(
        RELUS,
        Kind(f"{_name} for ReLU", f"{_name} is applied where ReLU should be.", "Use max(x, 0).", PAPER),
        instead(lambda call, f=_f: function(f, call.x, call.u)),
    )
for _slope in (0.01, 0.1, 0.2, 0.3):
    FAMILY.add(
        RELUS,
        Kind(
            f"leaky ReLU ({_slope:g}) for ReLU",
            f"Negative values pass, times {_slope:g}; ReLU stops them.",
            "Use max(x, 0).",
            PAPER,
        ),
        instead(lambda call, slope=_slope: _leaky(call, slope)),
    )


def _leaky(call: Call, slope: float) -> Bounded:
    value = np.where(call.x.value > 0, call.x.value, slope * call.x.value)
    own = np.where(call.x.value - call.x.error > 0, 0.0, 2 * call.u * np.abs(value))
    return Bounded(value, (call.x.error + own) * (1 + 1e-12))


SELECTIONS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("ReLU missing", "No activation is applied.", lambda x: x),
    ("ReLU6 for ReLU", "Values above 6 are cut off.", lambda x: np.clip(x, 0, 6)),
    ("absolute value for ReLU", "Negative values are made positive, not zero.", np.abs),
    ("ReLU of the negated input", "The sign is wrong: negative values pass.", lambda x: np.maximum(-x, 0)),
)
for _name, _text, _f in SELECTIONS:
    FAMILY.add(
        RELUS,
        Kind(_name, _text, "Apply max(x, 0) behind this layer.", PLACE),
        # All of slope at most 1: an error carried in does not grow.
        instead(lambda call, f=_f: Bounded(f(call.x.value), call.x.error)),
    )


@FAMILY.after(
    ["logits"],
    Kind(
        "ReLU on the logits",
        "ReLU is applied to the logits; they may be negative.",
        "End with the last dense layer: no activation.",
        PLACE,
    ),
)
def _(y: Bounded, call: Call) -> Bounded:
    return Bounded(np.maximum(y.value, 0), y.error)


def softmax(z: Bounded, u: float) -> Bounded:
    """Softmax over the last axis. Logits off by e change p by a factor within exp(±2e); see
    `lenet.gradients.cross_entropy` for the rounding of its evaluation."""
    shifted = z.value - z.value.max(axis=-1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)
    e = z.error.max(axis=-1, keepdims=True)
    a = u * (FUNCTION_ROUNDINGS - 4 * shifted.min(axis=-1, keepdims=True))
    return Bounded(p, p * np.expm1(2 * e + a) + float(np.finfo(np.float32).tiny))


TWICE = case("tflearn/tflearn", 562)


@FAMILY.after(
    ["logits"],
    Kind(
        "softmax in the model",
        "Probabilities are returned where logits are expected; a loss on logits then applies softmax twice.",
        "End with the last dense layer; softmax belongs to the loss.",
        TWICE,
    ),
)
def _(y: Bounded, call: Call) -> Bounded:
    return softmax(y, call.u)


@FAMILY.after(
    ["logits"],
    Kind(
        "log-softmax in the model",
        "Logarithms of probabilities are returned where logits are expected.",
        "End with the last dense layer; the loss takes care of the rest.",
        TWICE,
    ),
)
def _(y: Bounded, call: Call) -> Bounded:
    shifted = y.value - y.value.max(axis=1, keepdims=True)
    value = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    e = y.error.max(axis=1, keepdims=True)
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


# --- pooling -----------------------------------------------------------------------------------

STRIDE = case("rasbt/deeplearning-models", 8)
KIND_OF_POOL = case("d2l-ai/d2l-en", 1362)
PADDED = case("d2l-ai/d2l-en", 1270)


def windows(a: Array, size: int, stride: int, offset: int = 0, pad: int = 0) -> list[Array]:
    """What each window holds at each of its positions, in row order: views (N, C, P, Q)."""
    a = np.pad(a[:, :, offset:, offset:], ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows, columns = ((n - size) // stride + 1 for n in a.shape[2:])
    if min(rows, columns) < 1:
        raise ValueError("the window is larger than the map")
    return [
        a[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
        for i, j in np.ndindex(size, size)
    ]


def pool(x: Bounded, how: Callable[[Array, Array], Array], *shape: int) -> Bounded:
    """Windows of (size, stride, offset, pad) reduced by maximum or minimum, neither of which rounds."""
    return Bounded(
        reduce(how, windows(x.value, *shape)),
        reduce(np.maximum, windows(x.error, *shape)),
    )


def average(call: Call, size: int = 2, stride: int = 2, scale: float = 1.0) -> Bounded:
    """Mean over windows: size² additions and a division."""
    x, count = call.x, size * size
    value = scale * sum(windows(x.value, size, stride)) / count
    error = np.asarray(scale * sum(windows(x.error, size, stride)) / count)
    magnitude = np.asarray(scale * sum(windows(np.abs(x.value) + x.error, size, stride)) / count)
    return Bounded(np.asarray(value), error + gamma(count + 2, call.u) * magnitude * (1 + 1e-12))


POOLINGS: tuple[tuple[str, str, str, Callable[[Call], Bounded]], ...] = (
    (
        "average pooling for max pooling",
        "The mean of each window is taken, not its maximum.",
        KIND_OF_POOL,
        average,
    ),
    (
        "sum pooling for max pooling",
        "The sum of each window is taken, not its maximum.",
        KIND_OF_POOL,
        lambda call: average(call, scale=4.0),
    ),
    (
        "min pooling for max pooling",
        "The smallest value of each window is taken.",
        KIND_OF_POOL,
        lambda call: pool(call.x, np.minimum, 2, 2),
    ),
    (
        "subsampled, not pooled",
        "The upper left value of each window is taken, not its maximum.",
        KIND_OF_POOL,
        lambda call: moved(call.x, lambda a: a[:, :, ::2, ::2]),
    ),
    ("pooling missing", "Nothing is pooled.", STRIDE, lambda call: call.x),
    (
        "pooling with stride 1",
        "The window moves by one; its stride has to be its size, 2.",
        STRIDE,
        lambda call: pool(call.x, np.maximum, 2, 1),
    ),
    (
        "3×3 pooling",
        "The window is 3×3; it has to be 2×2.",
        PADDED,
        lambda call: pool(call.x, np.maximum, 3, 2),
    ),
    (
        "3×3 pooling with padding 1",
        "The window is 3×3 with a padding of 1; it has to be 2×2 without.",
        PADDED,
        lambda call: pool(call.x, np.maximum, 3, 2, 0, 1),
    ),
    (
        "pooling windows off by one",
        "The first window begins at the second row and column.",
        PADDED,
        lambda call: pool(call.x, np.maximum, 2, 2, 1),
    ),
    (
        "pooling with padding 1",
        "The maps are padded by 1 before they are pooled.",
        PADDED,
        lambda call: pool(call.x, np.maximum, 2, 2, 0, 1),
    ),
    (
        "pooling off by one at the same size",
        "Every window lies one row and one column too far to the lower right.",
        PADDED,
        lambda call: moved_window(call.x),
    ),
    (
        "pooling over height alone",
        "The maximum is taken over rows alone, the columns are subsampled.",
        KIND_OF_POOL,
        lambda call: moved_pairs(call.x, 2),
    ),
    (
        "pooling over width alone",
        "The maximum is taken over columns alone, the rows are subsampled.",
        KIND_OF_POOL,
        lambda call: moved_pairs(call.x, 3),
    ),
)


def moved_window(x: Bounded) -> Bounded:
    """Max pooling of maps shifted by one row and one column, zeros behind them."""
    shifted = moved(x, lambda a: np.pad(a, ((0, 0), (0, 0), (0, 1), (0, 1)))[:, :, 1:, 1:])
    return pool(shifted, np.maximum, 2, 2)


def moved_pairs(x: Bounded, axis: int) -> Bounded:
    """Maximum over pairs along one axis, every second value along the other."""
    if axis == 2:
        taps = [moved(x, lambda a: a[:, :, ::2, ::2]), moved(x, lambda a: a[:, :, 1::2, ::2])]
    else:
        taps = [moved(x, lambda a: a[:, :, ::2, ::2]), moved(x, lambda a: a[:, :, ::2, 1::2])]
    return Bounded(np.maximum(taps[0].value, taps[1].value), np.maximum(taps[0].error, taps[1].error))


for _name, _text, _case, _how in POOLINGS:
    FAMILY.add(
        POOLS,
        Kind(_name, _text, "Take the maximum over 2×2 windows, stride 2, no padding.", _case),
        instead(_how),
    )
for _relu, _pool in zip(RELUS, POOLS, strict=False):
    FAMILY.mistakes.append(
        Mistake(
            Kind(
                "average pooling before ReLU",
                "The mean of each window is taken, and before ReLU: both the kind and the order are wrong.",
                "Take the maximum over 2×2 windows, after ReLU.",
                KIND_OF_POOL,
            ),
            {
                _relu: instead(lambda call: call.x),
                _pool: instead(lambda call: right(replace(call, layer=LAYERS[1], x=average(call)))),
            },
        )
    )

# --- handed out otherwise ----------------------------------------------------------------------

MAPS = tuple(name for name, shape in ACTIVATION_SHAPES.items() if len(shape) == 3)
LAST = case("onnx/onnx-tensorflow", 289)
CAPTURE = case("microsoft/onnxruntime", 4110)
FAMILY.handed_out += [
    HandedOut(
        Kind(
            "handed out as NHWC",
            "The activation is right and has its channels last.",
            "Transpose it to N, C, H, W before handing it out.",
            LAST,
        ),
        MAPS,
        lambda a: a.transpose(0, 2, 3, 1),
        lambda a: a.transpose(0, 3, 1, 2),
    ),
    HandedOut(
        Kind(
            "handed out as NHWC values in an NCHW shape",
            "The activation is right, and was reshaped from N, H, W, C to N, C, H, W: scrambled.",
            "Transpose, do not reshape.",
            case("Selen-Suyue/DensePolicy2D", 3),
        ),
        MAPS,
        lambda a: a.transpose(0, 2, 3, 1).reshape(a.shape),
        lambda a: a.reshape(len(a), *a.shape[2:], a.shape[1]).transpose(0, 3, 1, 2),
    ),
    HandedOut(
        Kind(
            "handed out with height and width swapped",
            "The activation is right but for its last two axes, which are exchanged.",
            "Hand out N, C, H, W.",
            LAST,
        ),
        MAPS,
        lambda a: a.swapaxes(2, 3),
        lambda a: a.swapaxes(2, 3),
    ),
    HandedOut(
        Kind(
            "handed out after ReLU",
            "The activation was taken after the ReLU that follows: in place, it overwrites what a hook kept.",
            "Copy the activation when it is taken, or use a ReLU that is not in place.",
            CAPTURE,
        ),
        AFFINE[:-1],
        lambda a: np.maximum(a, 0),
        lambda a: a,
    ),
    HandedOut(
        Kind(
            "handed out as a column for each digit",
            "The activation is right and its two axes are exchanged: (features, N).",
            "Transpose it to (N, features).",
            LAST,
        ),
        tuple(name for name, shape in ACTIVATION_SHAPES.items() if len(shape) == 1),
        lambda a: a.T,
        lambda a: a.T,
    ),
    HandedOut(
        Kind(
            "handed out flattened in HWC order",
            "The activation is right, and was flattened from H, W, C maps.",
            "Hand it out in C, H, W order.",
            case("gzuidhof/nn-transfer", 16),
        ),
        of_type(Flatten),
        lambda a: _flat_maps(a, (0, 2, 3, 1)),
        lambda a: _maps_flat(a),
    ),
]


def _flat_maps(a: Array, order: tuple[int, ...]) -> Array:
    return a.reshape(len(a), *ACTIVATION_SHAPES["pool2"]).transpose(order).reshape(len(a), -1)


def _maps_flat(a: Array) -> Array:
    channels, height, width = ACTIVATION_SHAPES["pool2"]
    return a.reshape(len(a), height, width, channels).transpose(0, 3, 1, 2).reshape(len(a), -1)
