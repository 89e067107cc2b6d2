"""Exact weights: every port returns the very bits that integers give; every other arithmetic loses them."""

from functools import cache

import numpy as np
import pytest

from lenet import ports
from lenet.compare.layer_by_layer import CHUNK, RUN
from lenet.network import digits, weights
from lenet.network.architecture import LAYERS, PARAM_SHAPES, conv
from lenet.network.recipe import Batch, Recipe
from lenet.reference import exact
from lenet.reference.certificate import certify, certify_backward, certify_range, certify_step
from lenet.reference.exact import EXACT, Difference, coarsen, first_difference, pixel_values
from lenet.reference.sgd_step import update
from lenet_numpy.layers import conv2d
from parity.arithmetic import integers
from parity.errors import UserError
from parity.operators.affine import Conv
from tests.helpers import BATCH, one_line
from tests.lenet.reference.grids import pixels16, ternary_params
from tests.planted.ports import Planted, affine, numpy_port

AFFINE = [layer.name for layer in LAYERS if layer.affine]
# Digits for each port: by the certificate, what holds for one image holds for all. Few for onnx's reference
# evaluator, which pools in Python. `lenet exact` and `pytest --all-digits` give each port all 10,000.
MANY, FEW = RUN, 40


@cache
def shipped():
    """The exact weights, their pixels' shift, and the 10,000 digits as they take them."""
    params, metadata = weights.read_with_metadata(EXACT)
    return params, metadata, coarsen(digits.test_set().images)


@cache
def reference():
    """Every activation of every digit by the integers, converted to float32: one dict for each run."""
    params, _, images = shipped()
    return [
        {name: y.to_float() for name, y in exact.forward(params, images[start : start + RUN]).items()}
        for start in range(0, len(images), RUN)
    ]


# --- forward -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ports.names(forward_only=True))
def test_every_port_returns_every_bit(name, open_port, pytestconfig):
    params, _, images = shipped()
    port = open_port(name)
    port.load(params)
    count = FEW if name.endswith("/reference") else MANY
    if name == "numpy" or pytestconfig.getoption("--all-digits"):
        count = len(images)
    for start in range(0, count, RUN):
        chunk = images[start : min(start + RUN, count)]
        want = {layer: y[: len(chunk)] for layer, y in reference()[start // RUN].items()}
        assert first_difference(want, port.activations(chunk), start) is None
        logits = port.logits(chunk)
        assert first_difference({"logits": want["logits"]}, {"logits": logits}, start) is None
        assert logits.tobytes() == want["logits"].tobytes()  # with the sign of every zero


@pytest.mark.slow
def test_the_certificate_holds_for_every_image_and_so_for_every_digit():
    params, metadata, images = shipped()
    everything = certify_range(params, pixel_values())
    assert everything.holds
    assert f"{everything.bits:.2f}" == metadata["bits_every_image"]
    found = certify(params, images)
    assert found.holds
    assert f"{found.bits:.2f}" == metadata["bits_test_digits"]
    assert all(a.bound <= b.bound for a, b in zip(found.sums, everything.sums, strict=True))


@pytest.mark.slow
def test_the_exact_weights_read_at_least_99_percent_of_the_digits():
    _, metadata, images = shipped()
    predictions = np.concatenate([chunk["logits"].argmax(axis=1) for chunk in reference()])
    accuracy = (predictions == digits.test_set().labels).mean()
    assert len(predictions) == len(images) == 10_000
    assert f"{accuracy:.4f}" == metadata["test_accuracy"]
    assert accuracy >= 0.99


# --- gradients and a step ----------------------------------------------------------------------

BATCHES = 16  # of BATCH digits each


@cache
def gradient_reference():
    """For a few chunks: an integer cotangent, and every gradient by the integers, certified."""
    params, _, images = shipped()
    rng, found = np.random.default_rng(1), []
    for start in range(0, BATCHES * BATCH, BATCH):
        chunk = images[start : start + BATCH]
        cotangent = rng.integers(-1, 2, (BATCH, 10)).astype(np.float32)
        assert certify_backward(params, chunk, cotangent).holds
        gradients = exact.backward(params, chunk, cotangent)
        found.append((chunk, cotangent, {name: g.to_float() for name, g in gradients.items()}))
    return found


@pytest.mark.slow
@pytest.mark.one_winner
def test_every_port_sends_a_cotangent_back_to_the_bit(port_name, open_port):
    port = open_port(port_name)
    port.load(shipped()[0])
    for chunk, cotangent, want in gradient_reference():
        assert first_difference(want, port.backward(chunk, cotangent)) is None


STEP = Recipe(momentum=0.5, weight_decay=0.0)
RATE = 0.5


@cache
def saturated():
    """A batch on which softmax itself is exact, so that loss, gradients and a step are integers too.

    Logits are multiplied by 2^k until the largest leads by 128 and more: e^−128 is zero in float32,
    its sum with e^0 is 1, and p is exactly 1 or 0. With 8 digits the cotangent (p − [label]) / 8
    is 0 or ±1/8; a quarter of the labels is wrong, so that there is something to learn.
    """
    params, _, images = shipped()
    logits = np.concatenate([chunk["logits"] for chunk in reference()])
    lead = np.diff(np.sort(logits, axis=1)[:, -2:])[:, 0]
    chosen = np.argsort(-lead, kind="stable")[:BATCH]
    factor = np.float32(2.0 ** np.ceil(np.log2(128 / lead[chosen].min())))
    params = params | {name: params[name] * factor for name in ("logits.weight", "logits.bias")}
    logits, best = logits[chosen] * factor, logits[chosen].argmax(axis=1)
    labels = np.where(np.arange(BATCH) % 4 == 0, (best + 1) % 10, best)
    cotangent = (np.eye(10)[best] - np.eye(10)[labels]).astype(np.float32) / BATCH
    loss = (logits.max(axis=1) - logits[np.arange(BATCH), labels]).mean(dtype=np.float64)
    velocity = {name: np.ldexp(w, -2) for name, w in ternary_params(0).items()}
    gradients = exact.backward(params, images[chosen], cotangent)
    assert certify_backward(params, images[chosen], cotangent).holds
    assert certify_step(params, velocity, gradients, STEP, RATE).broken is None
    return params, velocity, images[chosen], labels, loss, gradients


@pytest.mark.one_winner
def test_where_softmax_is_exact_so_are_loss_and_gradients_of_every_port(port_name, open_port):
    params, _, images, labels, loss, gradients = saturated()
    port = open_port(port_name)
    port.load(params)
    got_loss, got = port.gradients(images, labels)
    assert got_loss == loss > 0
    want = {name: g.to_float() for name, g in gradients.items()}
    assert first_difference(want, got) is None


@pytest.mark.slow
@pytest.mark.one_winner
def test_one_step_of_training_moves_every_port_to_the_same_bits(port_name, open_port):
    params, velocity, images, labels, loss, gradients = saturated()
    port = open_port(port_name)
    port.load(params, velocity)
    assert list(port.train([Batch(images, labels, RATE)], STEP)) == [loss]
    want_w, want_v = {}, {}
    for name in PARAM_SHAPES:
        w, v = integers(params[name]), integers(velocity[name])
        new_w, new_v = update(w, v, gradients[name], STEP, RATE)
        want_w[name], want_v[name] = new_w.to_float(), new_v.to_float()
    assert first_difference(want_v, port.velocity()) is None
    assert first_difference(want_w, port.params()) is None
    assert any((want_w[name] != params[name]).any() for name in PARAM_SHAPES)


# --- the reference itself ----------------------------------------------------------------------


def test_the_integers_agree_with_float64_wherever_that_is_exact():
    params, images = ternary_params(20), pixels16(4, 20)
    cotangent = np.random.default_rng(20).integers(-3, 4, (4, 10)).astype(np.float32)
    assert certify_backward(params, images, cotangent, "float64").holds
    port = numpy_port("float64")
    port.load(params)
    want = {name: y.to_float("float64") for name, y in exact.forward(params, images).items()}
    assert first_difference(want, port.activations(images)) is None
    gradients = {name: g.to_float("float64") for name, g in exact.backward(params, images, cotangent).items()}
    assert first_difference(gradients, port.backward(images, cotangent)) is None
    with pytest.raises(UserError, match="cotangent: a NaN"):
        exact.backward(params, images, cotangent * np.nan)


@pytest.mark.parametrize("shift", range(9))
def test_coarsen_takes_each_of_the_256_pixels_to_its_level(shift):
    pixels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1)
    levels = coarsen(digits.scale(pixels), shift)
    assert levels.dtype == np.float32
    assert levels.shape == (256, 1, 1, 1)
    assert (levels[:, 0, 0, 0] * 2 ** (8 - shift) == np.arange(256) // 2**shift).all()
    assert np.array_equal(np.unique(levels), pixel_values(shift))
    assert pixel_values(shift).dtype == np.float32


def test_no_bias_or_weight_is_minus_zero():
    for name, array in shipped()[0].items():
        assert not np.signbit(array[array == 0]).any(), name


# --- what must lose the bits -------------------------------------------------------------------


def first_of(port):
    params, _, images = shipped()
    port.load(params)
    want = {layer: y[:CHUNK] for layer, y in reference()[0].items()}
    return first_difference(want, port.activations(images[:CHUNK]))


def test_the_right_port_loses_nothing():
    assert first_of(Planted("nobody", affine)) is None


@pytest.mark.parametrize("layer", AFFINE)
def test_a_nudge_by_one_ulp_is_named_with_its_layer_digit_and_unit(layer):
    where = (7, 3, 1, 2) if layer.startswith("conv") else (7, 3)

    def nudged(spec, x, w, b):
        y = affine(spec, x, w, b)
        y[where] = np.nextafter(y[where], np.float32(np.inf))
        return y

    found = first_of(Planted(layer, nudged))
    assert found is not None
    assert (found.name, found.where, found.values) == (layer, where, 1)
    assert str(found).startswith(f"{layer}[{', '.join(map(str, where))}] is ")
    assert len(str(found).splitlines()) == 1


def to_bfloat16(x):
    """Rounded to nearest even, to the eight significant bits of bfloat16."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def bfloat16_inputs(spec, x, w, b):
    return affine(spec, to_bfloat16(x), w, b)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["fc1", "fc2", "logits"])
def test_inputs_cast_to_bfloat16_lose_the_bits_of_their_layer(layer):
    found = first_of(Planted(layer, bfloat16_inputs))
    assert found is not None
    assert found.name == layer


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_inputs_of_at_most_eight_bits_survive_bfloat16(layer):
    x = shipped()[2][:CHUNK] if layer == "conv1" else reference()[0]["pool1"][:CHUNK]
    assert integers(x).peak() < 2**8
    assert first_of(Planted(layer, bfloat16_inputs)) is None


def fft_convolution(layer, x, w, b):
    """Pointwise products of Fourier transforms, in float32 throughout."""
    p = layer.padding
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    size = x.shape[2:]
    turned = np.fft.rfft2(w[..., ::-1, ::-1], size)
    products = np.einsum("nchw,ochw->nohw", np.fft.rfft2(x, size), turned)
    valid = slice(layer.kernel - 1, None)
    return np.fft.irfft2(products, size)[..., valid, valid].astype(np.float32) + b[:, None, None]


def winograd(outputs, taps, points):
    """Aᵀ, G, Bᵀ of y = Aᵀ[(G g) ⊙ (Bᵀ d)], F(outputs, taps), by Cook–Toom at `points` and infinity.

    S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin, S. Gray, CVPR 2016.
    """
    n = outputs + taps - 1
    at, g, bt = np.zeros((outputs, n)), np.zeros((n, taps)), np.zeros((n, n))
    for j, a in enumerate(points):
        others = [other for other in points if other != a]
        at[:, j] = [a**i for i in range(outputs)]
        g[j] = [a**k / np.prod([a - other for other in others]) for k in range(taps)]
        bt[j, : n - 1] = np.poly(others)[::-1]
    at[-1, -1] = g[-1, -1] = 1
    bt[-1] = np.poly(points)[::-1]
    return at.astype(np.float32), g.astype(np.float32), bt.astype(np.float32)


def winograd_convolution(layer, x, w, b, outputs=2, points=(0, 1, -1, 2, -2)):
    """F(2×2, 5×5): every 6×6 tile of the input gives 2×2 outputs; all in float32."""
    at, g, bt = winograd(outputs, layer.kernel, points)
    p, n = layer.padding, len(bt)
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    tiles = np.lib.stride_tricks.sliding_window_view(x, (n, n), axis=(2, 3))[:, :, ::outputs, ::outputs]
    products = np.einsum("ncpqij,ocij->nopqij", bt @ tiles @ bt.T, g @ w @ g.T)
    y = at @ products @ at.T  # (N, O, tiles, tiles, outputs, outputs)
    rows, columns = (tiles.shape[axis] * outputs for axis in (2, 3))
    return y.transpose(0, 1, 2, 4, 3, 5).reshape(len(x), -1, rows, columns) + b[:, None, None]


OTHER_SUMS = {"FFT": fft_convolution, "Winograd F(2×2, 5×5)": winograd_convolution}


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("algorithm", OTHER_SUMS)
def test_a_convolution_that_forms_other_sums_is_right_and_yet_loses_the_bits(algorithm, layer):
    params, _, images = shipped()
    spec = next(s for s in LAYERS if isinstance(s.operator, Conv) and s.name == layer)
    x = images[:2] if layer == "conv1" else reference()[0]["pool1"][:2]
    w, b = params[f"{layer}.weight"], params[f"{layer}.bias"]
    y, want = OTHER_SUMS[algorithm](spec, x, w, b), conv2d(x, w, b, padding=spec.padding)[0]
    assert y.shape == want.shape
    assert np.allclose(y, want, rtol=0, atol=1e-3)  # the same function; planted to differ by rounding alone
    found = first_of(Planted(layer, OTHER_SUMS[algorithm]))
    assert found is not None
    assert found.name == layer


def three_taps(weight, x):
    """A 3×3 convolution of one map, directly and by Winograd F(2×2, 3×3), both in float32."""
    layer = conv("y", 1, 1, 3)
    w, b = np.asarray(weight, np.float32).reshape(1, 1, 3, 3), np.zeros(1, np.float32)
    fast = winograd_convolution(layer, x, w, b, points=(0, 1, -1))
    return affine(layer, x, w, b), fast


def test_winograd_with_dyadic_constants_stays_exact_while_bits_are_left():
    """F(2×2, 3×3) needs only 1 and 1/2: larger sums on a finer grid, which the certificate does not count."""
    rng = np.random.default_rng(0)
    ternary, image = rng.integers(-1, 2, (3, 3)), rng.integers(0, 16, (1, 1, 8, 8)).astype(np.float32)
    direct, fast = three_taps(ternary, image)
    assert np.array_equal(direct, fast)
    wide = rng.integers(2**20, 2**20 + 2**10, (1, 1, 8, 8)).astype(np.float32)
    direct, fast = three_taps(np.ones((3, 3)), wide)  # each sum below 2^24: no direct evaluation rounds
    assert direct.max() < 2**24
    assert not np.array_equal(direct, fast)


# --- naming a difference -----------------------------------------------------------------------


def test_the_first_difference_is_the_first_in_the_order_expected():
    want = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float32)}
    got = {name: array.copy() for name, array in reversed(want.items())}
    assert first_difference(want, got) is None
    got["b"][2] = 1
    assert first_difference(want, got) == Difference("b", (2,), 1.0, 0.0, 1)
    got["a"][1, 1:] = np.nan
    found = first_difference(want, got, start=100)
    assert found is not None
    assert (found.name, found.where, found.values) == ("a", (101, 1), 2)
    got["a"][1, 1] = 3
    assert first_difference(want, got) == Difference("a", (1, 1), 3.0, 0.0, 2)
    assert str(first_difference(want, got)) == "a[1, 1] is 3.0, not 0.0; 2 of it differ"


def test_a_nan_differs_from_a_number_and_minus_zero_is_zero():
    zero, nan = np.zeros(1, np.float32), np.full(1, np.nan, np.float32)
    assert first_difference({"a": zero}, {"a": -zero}) is None
    assert first_difference({"a": zero}, {"a": nan}) is not None
    assert first_difference({"a": nan}, {"a": zero}) is not None
    assert first_difference({"a": zero}, {"a": np.full(1, np.finfo("f4").smallest_subnormal)}) is not None


@pytest.mark.parametrize(
    ("got", "text"),
    [
        ({}, "got ; expected a, c"),
        ({"b": np.zeros(2, np.float32), "d": np.zeros(1)}, "got b, d; expected a, c"),
        ({"a": np.zeros(3, np.float32), "c": np.zeros(1)}, "a is float32 (3,), not float32 (2,)"),
        ({"a": np.zeros(2), "c": np.zeros(1)}, "a is float64 (2,), not float32 (2,)"),
    ],
    ids=["nothing", "another name", "another shape", "another dtype"],
)
def test_arrays_that_cannot_be_compared_are_refused(got, text):
    with pytest.raises(UserError) as refused:
        first_difference({"a": np.zeros(2, np.float32), "c": np.zeros(1)}, got)
    one_line(refused)
    assert str(refused.value) == text
