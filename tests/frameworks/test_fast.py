"""The fast path: the same numbers from other products, and no buffer that shows.

That `numpy:fast` keeps to every bound and every exact bit is tested with the other ports; here is what
only it can get wrong: its matrices, its chunks, its buffers, its threads. On whole numbers nothing rounds.
"""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from threadpoolctl import threadpool_limits

from lenet.network.architecture import PARAM_SHAPES
from lenet.network.recipe import Batch, Recipe
from lenet.reference.backward import decided, loss_gradients
from lenet.reference.distance import ratio
from lenet.reference.forward import reference
from lenet_numpy.fast import (
    CHUNK,
    Buffers,
    ConvPool,
    LeNet,
    Share,
    Stage,
    backward,
    gradients,
    windows,
)
from lenet_numpy.layers import conv2d, conv2d_backward, max_pool2d, max_pool2d_backward, relu, relu_backward
from tests.helpers import frozen

N, C, M, H = 5, 2, 3, 12
SIZES = (1, 3, CHUNK, CHUNK + 1, 2 * CHUNK + 5)
THREADS = pytest.mark.parametrize("threads", [1, 2, 3])


def whole(*shape: int) -> np.ndarray:
    return frozen(np.random.default_rng((11, *shape)).integers(-2, 3, shape))


@pytest.fixture
def fast(open_port, params):
    port = open_port("numpy:fast")
    port.load(params)
    return port


# --- one stage ---------------------------------------------------------------------------------


@pytest.fixture
def stage() -> tuple[Stage, np.ndarray, np.ndarray, np.ndarray]:
    """A stage that has run forward, its input (N, C, H, H), kernel and bias; ties in most windows."""
    x, w, b = whole(N, C, H, H), whole(M, C, 5, 5), whole(M)
    layer = ConvPool(M, C, "float64")
    layer.lay_out(w, b)
    stage = Stage(layer, np.ascontiguousarray(x.transpose(2, 1, 3, 0)), np.empty((4, M, 4, N)))
    stage.forward()
    return stage, x, w, b


def test_a_stage_is_convolution_relu_and_pooling(stage):
    stage, x, w, b = stage
    expected = max_pool2d(relu(conv2d(x, w, b)[0])[0], size=2, stride=2)[0]
    assert (expected > 0).any()
    assert (expected == 0).any()
    assert_array_equal(stage.pooled.transpose(3, 1, 0, 2), expected)


def test_a_stage_goes_back_as_the_layers_do(stage):
    stage, x, w, b = stage
    y, conv = conv2d(x, w, b)
    gated, gate = relu(y)
    _, pool = max_pool2d(gated, size=2, stride=2)
    dy, dw, db = whole(N, M, 4, 4), np.zeros(w.shape), np.zeros(b.shape)
    expected = conv2d_backward(relu_backward(max_pool2d_backward(dy, pool), gate), conv)
    stage.backward(dy.transpose(2, 1, 3, 0).copy(), dw, db)
    dx = np.full((H, C, H, N), np.nan)
    stage.input_gradient(dx)
    for found, wanted in zip((dx.transpose(3, 1, 0, 2), dw, db), expected, strict=True):
        assert_array_equal(found, wanted)


def test_of_equal_values_the_first_in_row_order_takes_the_gradient():
    layer = ConvPool(1, 1, "float64")
    layer.lay_out(np.zeros((1, 1, 5, 5)), np.ones(1))  # every output is 1
    stage = Stage(layer, np.zeros((8, 1, 8, 1)), np.empty((2, 1, 2, 1)))
    stage.forward()
    stage.backward(np.full((2, 1, 2, 1), 3.0), np.zeros((1, 1, 5, 5)), np.zeros(1))
    assert_array_equal(stage.slabs[:, 0], np.full((2, 1, 2, 1), 3.0))
    assert not stage.slabs[:, 1:].any()


def test_folding_is_laying_out_transposed():
    """⟨lay_out(w, b), D⟩ = ⟨(w, b), fold(D)⟩ for every D: the one cannot be wrong without the other."""
    layer, w, b = ConvPool(M, C, "float64"), whole(M, C, 5, 5), whole(M)
    layer.lay_out(w, b)
    cotangent, dw, db = np.array(whole(*layer.matrix.shape)), np.zeros(w.shape), np.zeros(b.shape)
    cotangent.reshape(2 * M, 5, -1)[:, 1:, -1] = 0  # ones beside the first meet zeros in the matrix
    layer.fold(cotangent, dw, db)
    assert (w * dw).sum() != 0
    assert (b * db).sum() != 0
    assert (layer.matrix * cotangent).sum() == (w * dw).sum() + (b * db).sum()


def test_windows_are_a_view_of_overlapping_rows():
    rows = np.arange(24.0).reshape(6, 2, 2)
    found = windows(rows)
    assert np.shares_memory(found, rows)
    assert_array_equal(found, [rows[:5].reshape(10, 2), rows[1:].reshape(10, 2)])


# --- threads, chunks and buffers ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "threads", "expected"),
    [
        (64, 2, [[(0, 64)]]),
        (65, 2, [[(0, 64)], [(64, 65)]]),
        (133, 1, [[(0, 64), (64, 128), (128, 133)]]),
        (133, 2, [[(0, 64), (128, 133)], [(64, 128)]]),
        (133, 8, [[(0, 64)], [(64, 128)], [(128, 133)]]),
        (0, 2, [[]]),
    ],
)
def test_chunks_are_dealt_out_to_the_threads_in_turn(size, threads, expected):
    model, found = LeNet(), list[tuple[Share, tuple[int, int]]]()

    def run(some: slice, buffers: Buffers, share: Share) -> None:
        assert buffers.digits == some.stop - some.start
        found.append((share, (some.start, some.stop)))

    with threadpool_limits(threads):
        shares = model.in_chunks(size, run)
    assert [[chunk for owner, chunk in found if owner is share] for share in shares] == expected


@THREADS
@pytest.mark.parametrize("size", SIZES)
def test_chunks_make_no_difference(size, threads, open_port):
    """The bits of the readable port, forward and backward, whatever the batch is divided into."""
    rng = np.random.default_rng(size)
    weights = {name: rng.integers(-1, 2, shape).astype(float) for name, shape in PARAM_SHAPES.items()}
    images, cotangent = rng.integers(0, 2, (size, 1, 28, 28)).astype(float), rng.integers(-3, 4, (size, 10))
    fast, readable = open_port("numpy:fast", "float64"), open_port("numpy", "float64")
    for port in (fast, readable):
        port.load(weights)
    with threadpool_limits(threads):
        logits, gradient = fast.logits(images), fast.backward(images, cotangent)
        activations = fast.activations(images)
    assert_array_equal(logits, readable.logits(images))
    for name, array in readable.backward(images, cotangent).items():
        assert_array_equal(gradient[name], array, err_msg=name)
    for name, array in readable.activations(images).items():
        assert_array_equal(activations[name], array, err_msg=name)


@THREADS
@pytest.mark.parametrize("size", SIZES)
def test_the_loss_is_the_mean_over_all_chunks(size, threads, open_port, params, digits):
    fine = np.flatnonzero(decided(params, digits.images[: 2 * size]))[:size]
    assert len(fine) == size
    images, labels, port = digits.images[fine], digits.labels[fine], open_port("numpy:fast", "float64")
    port.load(params)
    with threadpool_limits(threads):
        loss, gradients = port.gradients(images, labels)
    expected = loss_gradients(params, images, labels)
    assert abs(loss - expected.loss.value) <= expected.loss.bound
    for name, found in gradients.items():
        assert ratio(found, expected.params[name]).max() <= 1, name


@THREADS
@pytest.mark.parametrize("size", SIZES)
def test_what_is_returned_is_not_overwritten_by_the_next_call(size, threads, fast, digits):
    one, two = digits[:size], digits[size : 2 * size]

    def everything(some):
        _, gradients = fast.gradients(some.images, some.labels)
        arrays = [fast.logits(some.images), *fast.activations(some.images).values(), *gradients.values()]
        return [*arrays, *fast.backward(some.images, np.ones((size, 10))).values()]

    with threadpool_limits(threads):
        first = everything(one)
        before = [array.copy() for array in first]
        everything(two)
    for array, copy in zip(first, before, strict=True):
        assert_array_equal(array, copy)


def test_gradients_are_not_overwritten_by_the_next_call(digits):
    """Without the port around the model, which copies what it returns."""
    model = LeNet()
    model.flat[...] = np.random.default_rng(7).standard_normal(model.flat.size) / 8
    model.lay_out()
    found = [gradients(model, digits.images[:2], digits.labels[:2])[1]]
    found.append(backward(model, digits.images[:2], np.ones((2, 10), np.float32)))
    before = [{name: array.copy() for name, array in some.items()} for some in found]
    gradients(model, digits.images[2:5], digits.labels[2:5])
    for some, copies in zip(found, before, strict=True):
        for name, array in some.items():
            assert_array_equal(array, copies[name], err_msg=name)


def test_the_images_of_the_caller_are_left_alone(fast, digits):
    images = np.array(digits.images[:3])
    fast.gradients(images, digits.labels[:3])
    assert_array_equal(images, digits.images[:3])


def test_sizes_that_come_back_find_clean_buffers(fast, digits):
    """More sizes than are kept, twice: the zeros around the outputs must still be zeros."""
    sizes = (1, 2, 3, 5, 7, 2, 1)
    for size in sizes * 2:
        fast.gradients(digits.images[:size], digits.labels[:size])
    expected = reference(fast.params(), digits.images[:2], "float32")["logits"]
    assert ratio(fast.logits(digits.images[:2]), expected).max() <= 1


@THREADS
def test_sums_that_are_not_finite_are_gone_with_the_next_call(threads, fast, params, digits):
    some = digits[: CHUNK + 3]
    with threadpool_limits(threads):
        expected_loss, expected = fast.gradients(some.images, some.labels)
        fast.load({name: array * np.float32(1e20) for name, array in params.items()})
        with np.errstate(all="ignore"):
            loss, gradients = fast.gradients(some.images, some.labels)
        assert np.isnan(loss)
        assert all(np.isnan(array).any() for array in gradients.values())
        fast.load(params)
        loss, gradients = fast.gradients(some.images, some.labels)
    assert loss == expected_loss
    for name, array in gradients.items():
        assert_array_equal(array, expected[name], err_msg=name)


# --- weights that change -----------------------------------------------------------------------


@pytest.mark.slow
def test_after_training_the_products_use_the_new_weights(fast, digits):
    some = digits[: CHUNK + 3]
    before = fast.logits(some.images)
    list(fast.train([Batch(some.images, some.labels, rate=0.5)] * 3, Recipe()))
    after = fast.logits(some.images)
    assert (before != after).any()
    for name, found in fast.activations(some.images).items():
        assert ratio(found, reference(fast.params(), some.images, "float32")[name]).max() <= 1, name


@THREADS
def test_a_step_takes_the_sums_of_all_threads(threads, fast, params, digits):
    some, recipe = digits[: 2 * CHUNK + 5], Recipe()
    with threadpool_limits(threads):
        loss, gradients = fast.gradients(some.images, some.labels)
        assert list(fast.train([Batch(some.images, some.labels, rate=0.5)], recipe)) == [loss]
    for name, w in fast.params().items():
        expected = params[name] - 0.5 * (gradients[name] + recipe.weight_decay * params[name])
        assert_array_equal(w, expected, err_msg=name)


def test_after_loading_the_products_use_the_new_weights(fast, params, digits):
    fast.logits(digits.images[:2])
    fast.load({name: -array for name, array in params.items()})
    expected = reference(fast.params(), digits.images[:2], "float32")["logits"]
    assert ratio(fast.logits(digits.images[:2]), expected).max() <= 1


def test_parameters_are_parts_of_one_vector():
    model = LeNet()
    model.flat[...] = np.arange(model.flat.size)
    assert_array_equal(np.concatenate([part.ravel() for part in model.params.values()]), model.flat)
