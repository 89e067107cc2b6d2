"""Rarer mistakes, and those that are read off from what a layer returned: other weights, curves, images."""

import numpy as np
import pytest

from lenet.diagnose import diagnose
from lenet.diagnose.mistakes import second_look
from lenet.diagnose.probe_inputs import observe, standard
from lenet.network.architecture import ACTIVATION_SHAPES
from tests.planted.bugs import biases, elementwise, forward, image, inputs, output, right, seen, weights

PROBES = standard()
F32 = np.float32
RNG = np.random.default_rng(42)
OWN = {  # parameters that a layer was created with
    "conv2": ((0.1 * RNG.standard_normal((16, 6, 5, 5))).astype(F32), RNG.uniform(-0.1, 0.1, 16).astype(F32)),
    "fc1": (RNG.uniform(-0.05, 0.05, (120, 400)).astype(F32), RNG.uniform(-0.05, 0.05, 120).astype(F32)),
}
ORDER = {size: RNG.permutation(size) for size in (6, 16, 120, 400, 784)}
MASK = (RNG.random((16, 6)) < 0.5).astype(F32)[:, :, None, None]
MEAN = (0.2 * RNG.random((1, 1, 28, 28))).astype(F32)
UP = np.linspace(0.5, 1.5, 16, dtype=F32)[:, None, None]
SHIFT = UP - 1
BY_TEXT = sorted(range(84), key=str)
C3 = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
TABLE = np.array([[float(str(k) in row) for k in range(6)] for row in C3.split()], F32)[:, :, None, None]


def both(change):
    """Weights and bias changed in the same way."""
    return lambda layer, x, w, b: right(layer, x, change(w).astype(x.dtype), change(b).astype(x.dtype))


def rows(order):
    """Outputs in another order."""
    return lambda layer, x, w, b: right(layer, x, w[order], b[order])


def created(layer, x, w, b):
    return right(layer, x, *OWN[layer.name])


def normed(y):
    axes = (0, 2, 3) if y.ndim == 4 else (0,)
    variance = y.var(axes, keepdims=True)
    return ((y - y.mean(axes, keepdims=True)) / np.sqrt(variance + F32(1e-5))).astype(y.dtype)


def integers(w, largest):
    scale = np.abs(w).max() / F32(largest)
    return (np.round(w / scale) * scale).astype(w.dtype)


def half_pruned(w):
    return np.where(np.abs(w) < np.quantile(np.abs(w), 0.5), F32(0), w)


def below_median(w):
    return np.where(np.abs(w) < np.sort(np.abs(w), axis=None)[w.size // 2 - 1], F32(0), w)


def binary(w):
    return (np.sign(w) * np.abs(w).mean(1, keepdims=True)).astype(w.dtype)


def far(layer, x, w, b):
    n, c, height, width = x.shape
    return x.reshape(n, c, 2, height // 2, 2, width // 2).max((2, 4))


def texts(w):
    return np.array([float(f"{one:.5g}") for one in w.ravel()]).reshape(w.shape)


def stretched(x):
    """Bilinear, 28×28 to 32×32, half-pixel centres, as PyTorch's interpolate does."""
    centre = np.clip((np.arange(32) + 0.5) * 28 / 32 - 0.5, 0, 27)
    low = np.floor(centre).astype(int)
    high, part = np.minimum(low + 1, 27), (centre - low).astype(F32)
    tall = x[:, :, low] * (1 - part)[:, None] + x[:, :, high] * part[:, None]
    return tall[..., low] * (1 - part) + tall[..., high] * part


def resized(layer, x, w, b):
    wide = np.pad(
        stretched(x), ((0, 0), (0, 0), (2, 2), (2, 2))
    )  # of which the layer's own padding is cut off
    return np.ascontiguousarray(right(layer, wide, w, b)[:, :, 4:-4, 4:-4])


WEIGHTS = [
    ("conv2", created, "weights not loaded"),
    ("conv2", lambda layer, x, w, b: right(layer, x, OWN["conv2"][0], b), "weights not loaded"),
    ("fc1", created, "weights not loaded"),
    ("fc1", lambda layer, x, w, b: right(layer, x, w, OWN["fc1"][1]), "bias not loaded"),
    ("conv2", rows(ORDER[16]), "channels in another order"),
    ("conv2", weights(lambda w: w[ORDER[16]]), "weights: filters in another order"),
    ("conv2", weights(lambda w: w[:, ORDER[6]]), "weights: input channels in another order"),
    ("conv2", weights(lambda w: w.ravel()[::-1].reshape(w.shape)), "weights in other places"),
    ("conv2", weights(lambda w: np.repeat(w[:, 2:3], 6, 1)), "weights: one of the input channels repeated"),
    ("conv2", rows(np.full(16, 3)), "one of the channels repeated: 3"),
    ("conv2", weights(lambda w: w * MASK), "weights: kernels zero between channels"),
    ("conv2", weights(lambda w: w * TABLE), "connection table of LeNet-5's C3"),
    ("conv2", weights(lambda w: w * UP[:6]), "weights: input channels multiplied by"),
    ("fc1", rows(ORDER[120]), "features in another order"),
    ("fc1", weights(lambda w: w[ORDER[120]]), "weights: rows in another order"),
    ("fc1", biases(lambda b: b[ORDER[120]]), "bias in another order"),
    ("fc2", biases(lambda b: b[BY_TEXT]), "bias sorted as text"),
    ("fc2", weights(lambda w: w[BY_TEXT]), "weights: outputs sorted as text"),
    ("fc1", weights(lambda w: w * (np.arange(400) < 375).astype(F32)), "inputs ignored: 375, 376"),
    ("fc1", weights(lambda w: w * F32(0.5)), "weights multiplied by 0.5"),
    ("fc1", output(lambda y: y * F32(0.8)), "result multiplied by 0.8"),
    ("fc2", biases(lambda b: b * F32(0.1)), "bias multiplied by 0.1"),
    ("fc2", biases(lambda b: b * (np.arange(84) < 80).astype(F32)), "bias zero in channels 80, 81, 82, 83"),
    ("conv2", output(lambda y: y * UP), "channels multiplied by 0.5, 0.5667"),
    ("conv2", output(lambda y: y * UP + SHIFT), "channels multiplied by 0.5, 0.5667"),
    ("conv1", output(lambda y: y + F32(0.1)), "0.1 added to the result"),
    ("conv2", both(lambda w: np.round(w, 4)), "parameters rounded to 4 decimals"),
    ("fc1", weights(lambda w: np.round(w, 3)), "weights rounded to 3 decimals"),
    ("logits", both(texts), "parameters rounded to 5 significant digits"),
    ("fc1", both(lambda w: np.round(w * 256) / 256), "parameters rounded to multiples of 2^-8"),
    ("fc1", weights(lambda w: integers(w, 7)), "weights rounded to 4-bit integers: one scale"),
    ("fc1", weights(half_pruned), "weights pruned: the smallest 50%"),
    ("fc1", weights(below_median), "weights pruned: the smaller half, below the median"),
    ("fc1", weights(binary), "weights reduced to their sign times the mean magnitude of each output"),
    ("fc2", weights(lambda w: np.roll(w, 42, axis=1)), "weights: columns moved by 42 places"),
    (
        "fc1",
        weights(lambda w: w.reshape(120, 16, 5, 5).swapaxes(2, 3).reshape(120, 400)),
        "weights: columns in C, W, H order",
    ),
    ("conv2", weights(lambda w: w * (np.abs(w) >= 0.05)), "weights pruned below 0.05"),
    ("fc2", weights(lambda w: w * 0), "weights zero"),
]
LAYERS = [
    ("conv2", inputs(lambda x: x.transpose(0, 2, 3, 1).reshape(x.shape)), "maps reshaped from NHWC to NCHW"),
    ("pool1", far, "maximum over a reshape to (2, h/2, 2, w/2)"),
    ("pool1", output(lambda y: np.roll(y, (1, 2), (2, 3))), "maps rolled by 1 rows and 2 columns"),
    ("flatten", output(lambda y: y[:, ORDER[400]]), "features in another order"),
    ("conv2", output(normed), "batch norm in training mode"),
    ("fc1", output(normed), "batch norm in training mode"),
    ("relu1", elementwise(lambda x: np.maximum(normed(x), 0)), "batch norm in training mode"),
    ("relu1", output(lambda y: y * F32(1 / np.sqrt(1.001))), "batch norm with untrained statistics"),
    ("relu2", elementwise(lambda x: np.maximum(x * UP + SHIFT, 0)), "channels multiplied by 0.5, 0.5667"),
    ("relu1", output(lambda y: np.minimum(y, F32(3))), "ReLU cut off at 3"),
    ("relu1", elementwise(lambda x: np.where(x > 0.1, x, 0)), "threshold 0.1 for 0"),
    ("relu2", elementwise(lambda x: np.maximum(x, -0.5)), "values below -0.5 raised to it"),
    ("relu1", output(lambda y: integers(y, 255)), "ReLU's output rounded to multiples of the largest"),
    ("relu1", output(lambda y: np.round(y * 16) / 16), "ReLU's output rounded to multiples of 1/16"),
    ("fc1", output(lambda y: y[np.random.default_rng(1).permutation(len(y))]), "digits in another order"),
    (
        "fc1",
        output(lambda y: y * (np.arange(len(y)) < 12)[:, None].astype(F32)),
        "digits of the batch left out",
    ),
]
IMAGES = [
    ("image", image(lambda x: x * F32(0.9999)), "grey of weights that sum to 0.9999"),
    ("image", image(lambda x: x * F32(0.97)), "pixels multiplied by 0.97"),
    ("image", image(lambda x: x * F32(1.3) - F32(0.2)), "pixels scaled and shifted: 1.3 x + -0.2"),
    ("image", image(lambda x: x ** F32(1.7)), "gamma 1.7"),
    ("image", image(lambda x: np.minimum(x, F32(0.5))), "pixels cut off to 0..0.5"),
    ("image", image(lambda x: x - MEAN), "a mean image subtracted"),
    ("image", image(lambda x: x - x.mean(0, keepdims=True)), "mean of each pixel position over the batch"),
    (
        "image",
        image(lambda x: x.reshape(len(x), -1)[:, ORDER[784]].reshape(x.shape)),
        "pixels in other places",
    ),
    ("image", image(lambda x: np.roll(x, (3, -2), (2, 3))), "image rolled by 3 rows and -2 columns"),
    ("image", image(lambda x: (x * F32(65025)).astype(np.int64) % 256 / F32(255)), "pixels wrapped to uint8"),
    ("image", image(lambda x: (x - x.mean()) / (x.std() + F32(1e-4))), "the batch standardised"),
    ("image", image(lambda x: (x - x.min()) / np.ptp(x) * 2 - 1), "the batch scaled from its minimum and"),
    ("image", image(lambda x: x * F32(0.7) + x[::-1] * F32(0.3)), "digits mixed: the first image is 0.7"),
    ("conv1", resized, "image resized to 32×32 instead of padded: bilinear"),
]


def single(change):
    """The same in float32, whatever NumPy made of it."""
    return lambda *call: change(*call).astype(F32)


def named(wrong, only=None):
    verdict = diagnose(PROBES, seen(PROBES, {layer: single(one) for layer, one in wrong.items()}, only))
    return [one.name for one in verdict.diagnoses], verdict


def around(layer):
    """The layer and the one before it: all that is looked at."""
    names = list(ACTIVATION_SHAPES)
    place = names.index(layer)
    return names[max(0, place - 1) : place + 1]


@pytest.fixture(autouse=True)
def _no_pairs(monkeypatch):
    monkeypatch.setattr("lenet.diagnose.search.two_mistakes.PAIR_SECONDS", 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "wrong", "name"), WEIGHTS + LAYERS + IMAGES)
def test_what_the_values_show_is_named(layer, wrong, name):
    names, verdict = named({layer: wrong}, around("conv1" if layer == "image" else layer))
    assert names, str(verdict)
    assert names[0].startswith(name), names


@pytest.mark.parametrize(("layer", "wrong", "name"), [WEIGHTS[0], WEIGHTS[13], LAYERS[10], IMAGES[3]])
def test_without_the_second_look_it_is_unknown(layer, wrong, name, monkeypatch):
    monkeypatch.setattr(second_look, "READ_OFF", ())
    monkeypatch.setattr("lenet.diagnose.search.explain.rarer", lambda stages: ())
    names, verdict = named({layer: wrong}, around("conv1" if layer == "image" else layer))
    assert not names
    assert not verdict.ok


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "wrong"),
    [
        ("conv2", output(lambda y: y + F32(0.01) * np.sin(1e4 * y))),
        ("fc1", output(lambda y: y + F32(0.01) * np.sin(1e4 * y))),
        ("fc1", weights(lambda w: w + F32(0.01) * np.sin(1e3 * w))),
        ("relu1", elementwise(lambda x: np.maximum(x, 0) ** F32(1.01))),
    ],
)
def test_what_follows_no_rule_has_no_name(layer, wrong):
    """Of other weights too few rows are seen of a dense layer: they could be anything."""
    names, verdict = named({layer: wrong}, around("conv1" if layer == "image" else layer))
    assert names == []
    assert not verdict.ok


@pytest.mark.slow
def test_weights_of_the_first_call():
    kept = []

    def activations(params, images):
        kept.append(params)
        return {"logits": forward({})(kept[0], images)["logits"]}

    verdict = diagnose(PROBES, observe(PROBES, activations))
    assert [one.name for one in verdict.diagnoses] == ["weights of the first call"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "wrong", "name"),
    [
        ("conv2", weights(lambda w: w * TABLE), "connection table of LeNet-5's C3"),
        ("pool1", far, "maximum over a reshape to (2, h/2, 2, w/2)"),
        ("logits", weights(lambda w: w * 0), "weights zero"),
    ],
)
def test_logits_alone_show_what_needs_no_fit(layer, wrong, name):
    names, _ = named({layer: wrong}, ["logits"])
    assert names[0].startswith(name)


@pytest.mark.slow
def test_a_dense_layer_that_is_not_seen_by_itself_is_not_called_unloaded():
    """From the logits, a convolution that was not loaded looks like last weights that were not."""
    names, verdict = named({"conv2": created}, ["logits"])
    assert names == []
    assert not verdict.ok
