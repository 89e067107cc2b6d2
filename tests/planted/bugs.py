"""Ports with planted mistakes for the diagnosis: a few lines each, on top of the NumPy layers.

None of them uses the catalogue's code: the mistakes are written as a port would make them.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from math import erf
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

import numpy as np

from lenet.diagnose.probe_inputs import Observed, Probes, observe
from lenet.network.architecture import LAYERS, Layer
from lenet.ports import Arrays, open_port
from lenet_numpy import layers
from parity.operators.activation import Relu
from parity.operators.shape import Flatten
from tests.planted.ports import affine

Array = np.ndarray
Wrong = Callable[[Layer, Array, Array, Array], Array]  # (layer, x, w, b) to y; w and b empty without


def right(layer: Layer, x: Array, w: Array, b: Array) -> Array:
    """The right layer, by the NumPy port's functions."""
    if layer.affine:
        return affine(layer, x, w, b)
    if isinstance(layer.operator, Relu):
        return layers.relu(x)[0]
    if isinstance(layer.operator, Flatten):
        return layers.flatten(x)[0]
    return layers.max_pool2d(x, size=2, stride=2)[0]


def forward(wrong: Mapping[str, Wrong]) -> Callable[[Arrays, Array], Arrays]:
    """A port's `activations`, some layers computed wrongly. It ends where shapes do not fit any more."""

    def activations(params: Arrays, images: Array) -> Arrays:
        x = wrong["image"](LAYERS[0], images, images, images) if "image" in wrong else images
        outputs, none = {}, np.empty(0, np.float32)
        for layer in LAYERS:
            w, b = params.get(f"{layer.name}.weight", none), params.get(f"{layer.name}.bias", none)
            try:
                x = wrong.get(layer.name, right)(layer, x, w, b)
            except ValueError:
                break
            outputs[layer.name] = x
        return outputs

    return activations


def seen(probes: Probes, wrong: Mapping[str, Wrong], only: Iterable[str] | None = None) -> Observed:
    """What such a port returns, of all layers or `only` some."""
    observed = observe(probes, forward(wrong))
    if only is not None:
        for name, found in observed.activations.items():
            observed.activations[name] = {layer: found[layer] for layer in only}
    return observed


@contextmanager
def patched(target: str, make: Callable[[Callable], Callable]) -> Any:
    """A function of the NumPy port ("lenet_numpy.model.relu_backward") replaced by make(the right one)."""
    with patch(target, make(resolve_name(target))):
        yield


def seen_patched(probes: Probes, *patches: tuple[str, Callable[[Callable], Callable]]) -> Observed:
    """What the NumPy port returns on the backward probes with functions of it replaced; no training run."""
    if patches:
        with patched(*patches[0]):
            return seen_patched(probes, *patches[1:])
    port = open_port("numpy")

    def activations(params: Arrays, images: Array) -> Arrays:
        port.load(params)
        return port.activations(images)

    def gradients(params: Arrays, images: Array, labels: Array) -> tuple[float, Arrays]:
        port.load(params)
        with np.errstate(all="ignore"):
            return port.gradients(images, labels)

    return observe(probes, activations, gradients)


# --- the building blocks of mistakes -----------------------------------------------------------


def weights(change: Callable[[Array], Array]) -> Wrong:
    return lambda layer, x, w, b: right(layer, x, np.ascontiguousarray(change(w)), b)


def biases(change: Callable[[Array], Array]) -> Wrong:
    return lambda layer, x, w, b: right(layer, x, w, change(b))


def inputs(change: Callable[[Array], Array]) -> Wrong:
    return lambda layer, x, w, b: right(layer, np.ascontiguousarray(change(x)), w, b)


def output(change: Callable[[Array], Array]) -> Wrong:
    return lambda layer, x, w, b: change(right(layer, x, w, b))


def image(change: Callable[[Array], Array]) -> Wrong:
    return lambda layer, x, w, b: np.ascontiguousarray(change(x))


def conv(padding: int = 0, stride: int = 1) -> Wrong:
    return lambda layer, x, w, b: layers.conv2d(x, w, b, padding=padding, stride=stride)[0]


def padded(*widths: tuple[int, int], mode: Any = "constant") -> Wrong:
    return lambda layer, x, w, b: layers.conv2d(np.pad(x, ((0, 0), (0, 0), *widths), mode=mode), w, b)[0]


def elementwise(f: Callable[[Array], Array]) -> Wrong:
    return lambda layer, x, w, b: f(x).astype(x.dtype)


def pool(size: int, stride: int) -> Wrong:
    return lambda layer, x, w, b: layers.max_pool2d(x, size=size, stride=stride)[0]


def average(layer: Layer, x: Array, w: Array, b: Array) -> Array:
    n, c, height, width = x.shape
    return x.reshape(n, c, height // 2, 2, width // 2, 2).mean(axis=(3, 5))


def bfloat16(x: Array) -> Array:
    """float32 rounded to bfloat16, nearest even, by its bits."""
    bits = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32)


def tf32(x: Array) -> Array:
    """float32 rounded to TF32, nearest even, by its bits."""
    bits = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
    return (((bits + 0xFFF + ((bits >> 13) & 1)) >> 13) << 13).astype(np.uint32).view(np.float32)


def half(x: Array) -> Array:
    return x.astype(np.float16).astype(np.float32)


def operands(to: Callable[[Array], Array]) -> Wrong:
    return lambda layer, x, w, b: right(layer, to(x), to(w), b)


def half_sums(layer: Layer, x: Array, w: Array, b: Array) -> Array:
    """A dense layer whose every addition is rounded to float16."""
    total = np.zeros((len(x), len(w)), np.float16)
    for k in range(x.shape[1]):
        total = total + x[:, k : k + 1].astype(np.float16) * w[:, k].astype(np.float16)
    return (total + b.astype(np.float16)).astype(np.float32)


def grouped(layer: Layer, x: Array, w: Array, b: Array) -> Array:
    parts = [
        layers.conv2d(x[:, 3 * g : 3 * g + 3], w[8 * g : 8 * g + 8, :3], b[8 * g : 8 * g + 8])[0]
        for g in (0, 1)
    ]
    return np.concatenate(parts, axis=1)


def without_bias(layer: Layer, x: Array, w: Array, b: Array) -> Array:
    return right(layer, x, w, b * 0)


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


CONV1, CONV2 = "conv1", "conv2"

# (layer, mistake, its name in the catalogue)
FORWARD: list[tuple[str, Wrong, str]] = [
    ("image", image(lambda x: x * np.float32(255)), "pixels not divided by 255"),
    ("image", image(lambda x: x / np.float32(255)), "pixels divided by 255 twice"),
    ("image", image(lambda x: (x - np.float32(0.1307)) / np.float32(0.3081)), "pixels normalised"),
    ("image", image(lambda x: 1 - x), "pixels inverted"),
    ("image", image(lambda x: x * 2 - 1), "pixels scaled to −1..1"),
    ("image", image(lambda x: x.transpose(0, 1, 3, 2)), "image transposed"),
    ("image", image(lambda x: x[..., ::-1]), "image flipped left to right"),
    ("image", image(lambda x: np.roll(x, 1, axis=3)), "image rolled by one pixel right"),
    (
        "image",
        image(lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]),
        "image shifted by one pixel down",
    ),
    ("image", image(lambda x: x.byteswap()), "bytes of the pixels swapped"),
    ("image", image(lambda x: x[::-1]), "digits in reverse order"),
    (CONV1, weights(lambda w: w[:, :, ::-1, ::-1]), "kernel flipped"),
    (CONV2, weights(lambda w: w[:, :, ::-1, ::-1]), "kernel flipped"),
    (CONV1, weights(lambda w: w.transpose(0, 1, 3, 2)), "kernel height and width swapped"),
    (CONV2, weights(lambda w: w.transpose(0, 1, 3, 2)), "kernel height and width swapped"),
    (
        CONV1,
        weights(lambda w: w.reshape(5, 5, 1, 6).transpose(3, 2, 0, 1)),
        "weights reshaped to HWIO, not transposed",
    ),
    (
        CONV2,
        weights(lambda w: w.reshape(5, 5, 6, 16).transpose(3, 2, 0, 1)),
        "weights reshaped to HWIO, not transposed",
    ),
    (
        CONV2,
        weights(lambda w: w.reshape(6, 16, 5, 5).transpose(1, 0, 2, 3)),
        "weights reshaped to IOHW, not transposed",
    ),
    (
        CONV2,
        weights(lambda w: w.transpose(2, 3, 1, 0).reshape(16, 6, 5, 5)),
        "weights reshaped from HWIO, not transposed",
    ),
    (CONV2, weights(lambda w: w[:, ::-1]), "input channels in reverse order (BGR for RGB)"),
    (
        CONV2,
        weights(lambda w: w * (np.arange(6) == 0)[:, None, None].astype(w.dtype)),
        "only the first input channel",
    ),
    (CONV2, grouped, "grouped in two"),
    (CONV1, padded((4, 0), (4, 0)), "padding on the other side: pads (4, 4, 0, 0) for (2, 2, 2, 2)"),
    (CONV1, padded((1, 3), (1, 3)), "padding one too far to the upper left"),
    (CONV1, padded((2, 2), (2, 2), mode="reflect"), "padding mode reflect for zeros"),
    (CONV1, padded((2, 2), (2, 2), mode="edge"), "padding mode replicate for zeros"),
    (CONV1, without_bias, "bias missing"),
    (CONV2, biases(lambda b: 2 * b), "bias doubled"),
    ("fc1", biases(lambda b: -b), "bias subtracted"),
    ("relu1", elementwise(lambda x: x), "no activation for ReLU"),
    ("relu2", elementwise(np.tanh), "tanh for ReLU"),
    ("relu3", elementwise(lambda x: 1 / (1 + np.exp(-x))), "sigmoid for ReLU"),
    ("relu3", elementwise(lambda x: np.where(x > 0, x, np.float32(0.01) * x)), "leaky ReLU (0.01) for ReLU"),
    ("relu4", elementwise(gelu), "GELU (exact) for ReLU"),
    ("relu4", elementwise(gelu_tanh), "GELU (tanh) for ReLU"),
    ("pool1", average, "average pooling for max pooling"),
    ("pool2", average, "average pooling for max pooling"),
    ("pool1", output(lambda y: -y), ""),
    ("pool2", elementwise(lambda x: x[:, :, ::2, ::2]), "subsampled, not pooled"),
    (
        "flatten",
        elementwise(lambda x: x.transpose(0, 2, 3, 1).reshape(len(x), -1)),
        "flattened in H, W, C order",
    ),
    (
        "flatten",
        elementwise(lambda x: x.transpose(0, 1, 3, 2).reshape(len(x), -1)),
        "flattened in C, W, H order",
    ),
    (
        "fc1",
        weights(lambda w: w.reshape(400, 120).T),
        "weights reshaped to the transposed shape, not transposed",
    ),
    ("fc2", weights(lambda w: w.T.reshape(84, 120)), "weights reshaped, not transposed"),
    ("logits", output(softmax), "softmax in the model"),
    ("logits", output(lambda y: np.maximum(y, 0)), "ReLU on the result"),
    (CONV2, operands(bfloat16), "operands rounded to bfloat16"),
    ("fc1", operands(tf32), "operands rounded to TF32"),
    ("fc2", weights(bfloat16), "weights rounded to bfloat16"),
    ("fc2", output(bfloat16), "result rounded to bfloat16"),
    ("fc1", half_sums, "computed in float16"),
    (
        "logits",
        lambda layer, x, w, b: half(right(layer, half(x), half(w), half(b))),
        "products in float16, added up in float32 (half precision, autocast)",
    ),
]
