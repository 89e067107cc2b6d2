"""Right activations that a port returns in another form."""

import numpy as np

from lenet.diagnose.mistakes.base import HandedOut, Kind, case
from lenet.diagnose.mistakes.wrong_forward import of_type
from lenet.network.architecture import ACTIVATION_SHAPES
from parity.arithmetic import Array
from parity.operators.affine import Conv, Gemm
from parity.operators.shape import Flatten

AFFINE = of_type(Conv, Gemm)
MAPS = tuple(name for name, shape in ACTIVATION_SHAPES.items() if len(shape) == 3)
LAST = case("onnx/onnx-tensorflow", 289)
CAPTURE = case("microsoft/onnxruntime", 4110)
OTHER_AXES = Kind(
    "handed out with other axes",
    "The activation has as many values for each digit as it should, but other axes.",
    "Reshape it before returning it: flatten to (N, features), maps to (N, channels, height, width).",
    LAST,
)
HANDED_OUT: tuple[HandedOut, ...] = (
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
)


def _flat_maps(a: Array, order: tuple[int, ...]) -> Array:
    return a.reshape(len(a), *ACTIVATION_SHAPES["pool2"]).transpose(order).reshape(len(a), -1)


def _maps_flat(a: Array) -> Array:
    channels, height, width = ACTIVATION_SHAPES["pool2"]
    return a.reshape(len(a), height, width, channels).transpose(0, 3, 1, 2).reshape(len(a), -1)
