"""Rarer mistakes, and those that are read off from what a layer returned: other weights, curves, images."""

import numpy as np
import pytest

from lenet.diagnose import diagnose
from lenet.diagnose.mistakes import second_look
from lenet.diagnose.probe_inputs import observe, standard
from lenet.network.architecture import ACTIVATION_SHAPES
from tests.planted.bugs import biases, elementwise, forward, image, output, right, seen, weights

pytestmark = pytest.mark.usefixtures("no_pairs")

PROBES = standard()
F32 = np.float32
RNG = np.random.default_rng(42)
OWN = {  # parameters that a layer was created with
    "conv2": ((0.1 * RNG.standard_normal((16, 6, 5, 5))).astype(F32), RNG.uniform(-0.1, 0.1, 16).astype(F32)),
    "fc1": (RNG.uniform(-0.05, 0.05, (120, 400)).astype(F32), RNG.uniform(-0.05, 0.05, 120).astype(F32)),
}
ORDER = {size: RNG.permutation(size) for size in (6, 16, 120, 400)}
UP = np.linspace(0.5, 1.5, 16, dtype=F32)[:, None, None]
SHIFT = UP - 1
BY_TEXT = sorted(range(84), key=str)
C3 = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
TABLE = np.array([[float(str(k) in row) for k in range(6)] for row in C3.split()], F32)[:, :, None, None]


def rows(order):
    """Outputs in another order."""
    return lambda layer, x, w, b: right(layer, x, w[order], b[order])


def created(layer, x, w, b):
    return right(layer, x, *OWN[layer.name])


def normed(y):
    axes = (0, 2, 3) if y.ndim == 4 else (0,)
    variance = y.var(axes, keepdims=True)
    return ((y - y.mean(axes, keepdims=True)) / np.sqrt(variance + F32(1e-5))).astype(y.dtype)


def far(layer, x, w, b):
    n, c, height, width = x.shape
    return x.reshape(n, c, 2, height // 2, 2, width // 2).max((2, 4))


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


# One or two that each of the finders reads off, and of each family of rarer mistakes. What every one of them
# computes, and from which values it is read off, is tested in `plain`.
READ_OFF = [
    ("conv2", created, "weights not loaded"),
    ("fc1", created, "weights not loaded"),
    ("conv2", weights(lambda w: w[:, ORDER[6]]), "weights: input channels in another order"),
    ("fc1", weights(lambda w: w[ORDER[120]]), "weights: rows in another order"),
    ("conv2", rows(ORDER[16]), "channels in another order"),
    ("flatten", output(lambda y: y[:, ORDER[400]]), "features in another order"),
    ("fc1", output(lambda y: y[np.random.default_rng(1).permutation(len(y))]), "digits in another order"),
    ("fc1", output(lambda y: y * F32(0.8)), "result multiplied by 0.8"),
    ("conv2", output(lambda y: y * UP + SHIFT), "channels multiplied by 0.5, 0.5667"),
    ("relu1", elementwise(lambda x: np.where(x > 0.1, x, 0)), "threshold 0.1 for 0"),
    ("image", image(lambda x: x ** F32(1.7)), "gamma 1.7"),
]
RARER = [
    ("fc1", weights(lambda w: np.round(w, 3)), "weights rounded to 3 decimals"),
    ("conv2", weights(lambda w: w * TABLE), "connection table of LeNet-5's C3"),
    ("fc2", biases(lambda b: b[BY_TEXT]), "bias sorted as text"),
    ("pool1", far, "maximum over a reshape to (2, h/2, 2, w/2)"),
    ("conv2", output(normed), "batch norm in training mode"),
    ("image", image(lambda x: x * F32(0.9999)), "grey of weights that sum to 0.9999"),
    ("image", image(lambda x: (x - x.mean()) / (x.std() + F32(1e-4))), "the batch standardised"),
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


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "wrong", "name"), READ_OFF + RARER)
def test_what_the_values_show_is_named(layer, wrong, name):
    names, verdict = named({layer: wrong}, around("conv1" if layer == "image" else layer))
    assert names, str(verdict)
    assert names[0].startswith(name), names


@pytest.mark.parametrize(("layer", "wrong", "name"), [READ_OFF[0], READ_OFF[5], READ_OFF[9], RARER[3]])
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
        return {"pool1": forward({})(kept[0], images)["pool1"]}

    verdict = diagnose(PROBES, observe(PROBES, activations))
    assert [one.name for one in verdict.diagnoses] == ["weights of the first call"]


@pytest.mark.slow
def test_the_end_of_many_layers_shows_what_needs_no_fit():
    names, _ = named({"logits": weights(lambda w: w * 0)}, ["pool1", "logits"])
    assert names == ["weights zero"]


@pytest.mark.slow
def test_a_dense_layer_that_is_not_seen_by_itself_is_not_called_unloaded():
    """From the logits, a convolution that was not loaded looks like last weights that were not."""
    names, verdict = named({"conv2": created}, ["pool1", "logits"])
    assert names == []
    assert not verdict.ok
