"""Mistakes of pooling, and activations that a port returns in another form."""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np

from lenet.diagnose.mistakes.base import Family, HandedOut, Kind, Mistake, case
from lenet.diagnose.mistakes.wrong_forward import Call, instead, moved, of_type, right
from lenet.network.architecture import ACTIVATION_SHAPES, LAYERS
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import gamma
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import MaxPool
from parity.operators.shape import Flatten

FAMILY = Family()
RELUS = of_type(Relu)
POOLS = of_type(MaxPool)
AFFINE = of_type(Conv, Gemm)

# --- pooling -----------------------------------------------------------------------------------

STRIDE = case("rasbt/deeplearning-models", 8)
KIND_OF_POOL = case("d2l-ai/d2l-en", 1362)
PADDED = case("d2l-ai/d2l-en", 1270)


def windows(a: Array, size: int, stride: int, offset: int = 0, pad: int = 0) -> list[Array]:
    """For each position of a window, in row order, the values there in all windows: views (N, C, P, Q)."""
    a = np.pad(a[:, :, offset:, offset:], ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows, columns = ((n - size) // stride + 1 for n in a.shape[2:])
    if min(rows, columns) < 1:
        raise ValueError("the window is larger than the map")
    return [
        a[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
        for i, j in np.ndindex(size, size)
    ]


def pool(x: Bounded, how: Callable[[Array, Array], Array], *shape: int) -> Bounded:
    """Maximum or minimum over windows of (size, stride, offset, pad); neither rounds."""
    return Bounded(
        reduce(how, windows(x.value, *shape)),
        reduce(np.maximum, windows(x.bound, *shape)),
    )


def average(call: Call, size: int = 2, stride: int = 2, scale: float = 1.0) -> Bounded:
    """The mean over windows, times `scale`, with the roundings of size² additions and a division."""
    x, count = call.x, size * size
    value = scale * sum(windows(x.value, size, stride)) / count
    error = np.asarray(scale * sum(windows(x.bound, size, stride)) / count)
    magnitude = np.asarray(scale * sum(windows(np.abs(x.value) + x.bound, size, stride)) / count)
    return Bounded(np.asarray(value), error + gamma(count + 2, call.u) * magnitude * (1 + 1e-12))


POOLINGS: tuple[tuple[str, str, str, Callable[[Call], Bounded]], ...] = (
    (
        "average pooling for max pooling",
        "The mean of each window is used instead of its maximum.",
        KIND_OF_POOL,
        average,
    ),
    (
        "sum pooling for max pooling",
        "The sum of each window is used instead of its maximum.",
        KIND_OF_POOL,
        lambda call: average(call, scale=4.0),
    ),
    (
        "min pooling for max pooling",
        "The minimum of each window is used instead of its maximum.",
        KIND_OF_POOL,
        lambda call: pool(call.x, np.minimum, 2, 2),
    ),
    (
        "subsampled, not pooled",
        "The upper left value of each window is used instead of its maximum.",
        KIND_OF_POOL,
        lambda call: moved(call.x, lambda a: a[:, :, ::2, ::2]),
    ),
    ("pooling missing", "There is no pooling.", STRIDE, lambda call: call.x),
    (
        "pooling with stride 1",
        "The stride is 1; it must be 2, the size of the window.",
        STRIDE,
        lambda call: pool(call.x, np.maximum, 2, 1),
    ),
    (
        "3×3 pooling",
        "The window is 3×3; it must be 2×2.",
        PADDED,
        lambda call: pool(call.x, np.maximum, 3, 2),
    ),
    (
        "3×3 pooling with padding 1",
        "The window is 3×3 with a padding of 1; it must be 2×2 without padding.",
        PADDED,
        lambda call: pool(call.x, np.maximum, 3, 2, 0, 1),
    ),
    (
        "pooling windows off by one",
        "The first window starts at the second row and column.",
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
        "Every window is one row and one column too far to the lower right.",
        PADDED,
        lambda call: moved_window(call.x),
    ),
    (
        "pooling off by one to the upper left",
        "The maps are padded only at the top and left, and the last row and column are dropped.",
        PADDED,
        lambda call: moved_window(call.x, (1, 0)),
    ),
    (
        "pooling with stride 1, cut to size",
        "The stride is 1, and only the upper left quarter of the outputs is kept.",
        STRIDE,
        lambda call: moved(
            pool(call.x, np.maximum, 2, 1),
            lambda a: a[:, :, : (a.shape[2] + 1) // 2, : (a.shape[3] + 1) // 2],
        ),
    ),
    (
        "3×3 pooling, padded at the lower right",
        "The window is 3×3 ('SAME'); it must be 2×2.",
        PADDED,
        lambda call: pool(
            moved(call.x, lambda a: np.pad(a, ((0, 0), (0, 0), (0, 1), (0, 1)))), np.maximum, 3, 2
        ),
    ),
    (
        "subsampled at the lower right",
        "The lower right value of each window is used instead of its maximum.",
        KIND_OF_POOL,
        lambda call: moved(call.x, lambda a: a[:, :, 1::2, 1::2]),
    ),
    (
        "pooling over height alone",
        "The maximum is taken over rows only, and the columns are subsampled.",
        KIND_OF_POOL,
        lambda call: moved_pairs(call.x, 2),
    ),
    (
        "pooling over width alone",
        "The maximum is taken over columns only, and the rows are subsampled.",
        KIND_OF_POOL,
        lambda call: moved_pairs(call.x, 3),
    ),
)


def moved_window(x: Bounded, widths: tuple[int, int] = (0, 1)) -> Bounded:
    """Max pooling of maps shifted by one row and one column, with zeros in the gap."""
    keep = slice(1, None) if widths[1] else slice(-1)
    shifted = moved(x, lambda a: np.pad(a, ((0, 0), (0, 0), widths, widths))[:, :, keep, keep])
    return pool(shifted, np.maximum, 2, 2)


def moved_pairs(x: Bounded, axis: int) -> Bounded:
    """Maximum over pairs along `axis`, and every second value along the other axis."""
    if axis == 2:
        taps = [moved(x, lambda a: a[:, :, ::2, ::2]), moved(x, lambda a: a[:, :, 1::2, ::2])]
    else:
        taps = [moved(x, lambda a: a[:, :, ::2, ::2]), moved(x, lambda a: a[:, :, ::2, 1::2])]
    return Bounded(np.maximum(taps[0].value, taps[1].value), np.maximum(taps[0].bound, taps[1].bound))


for _name, _text, _case, _how in POOLINGS:
    FAMILY.add(
        POOLS,
        Kind(_name, _text, "Use the maximum of 2×2 windows with stride 2 and no padding.", _case),
        instead(_how),
    )
for _relu, _pool in zip(RELUS, POOLS, strict=False):
    FAMILY.mistakes.append(
        Mistake(
            Kind(
                "average pooling before ReLU",
                "The mean of each window is used, and pooling comes before ReLU.",
                "Take the maximum over 2×2 windows, after ReLU.",
                KIND_OF_POOL,
            ),
            {
                _relu: instead(lambda call: call.x),
                _pool: instead(lambda call: right(replace(call, layer=LAYERS[1], x=average(call)))),
            },
        )
    )

# --- right values returned in another form -----------------------------------------------------

MAPS = tuple(name for name, shape in ACTIVATION_SHAPES.items() if len(shape) == 3)
LAST = case("onnx/onnx-tensorflow", 289)
CAPTURE = case("microsoft/onnxruntime", 4110)
FAMILY.handed_out += [
    HandedOut(
        Kind(
            "handed out as NHWC",
            "The activation is right, but its channels are the last axis.",
            "Transpose it to N, C, H, W before returning it.",
            LAST,
        ),
        MAPS,
        lambda a: a.transpose(0, 2, 3, 1),
        lambda a: a.transpose(0, 3, 1, 2),
    ),
    HandedOut(
        Kind(
            "handed out as NHWC values in an NCHW shape",
            "The activation was right, but a reshape from N, H, W, C to N, C, H, W scrambled it.",
            "Transpose it; do not reshape it.",
            case("Selen-Suyue/DensePolicy2D", 3),
        ),
        MAPS,
        lambda a: a.transpose(0, 2, 3, 1).reshape(a.shape),
        lambda a: a.reshape(len(a), *a.shape[2:], a.shape[1]).transpose(0, 3, 1, 2),
    ),
    HandedOut(
        Kind(
            "handed out with height and width swapped",
            "The activation is right, but its last two axes are exchanged.",
            "Return it as N, C, H, W.",
            LAST,
        ),
        MAPS,
        lambda a: a.swapaxes(2, 3),
        lambda a: a.swapaxes(2, 3),
    ),
    HandedOut(
        Kind(
            "handed out after ReLU",
            "The activation was read after the next ReLU, which overwrote the array that a hook kept.",
            "Copy the activation in the hook, or use a ReLU that is not in place.",
            CAPTURE,
        ),
        AFFINE[:-1],
        lambda a: np.maximum(a, 0),
        lambda a: a,
    ),
    HandedOut(
        Kind(
            "handed out as a column for each digit",
            "The activation is right, but its two axes are exchanged: (features, N).",
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
            "The activation is right, but was flattened from H, W, C maps.",
            "Return it in C, H, W order.",
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
