"""What every port owes the contract, in every mode and dtype: copies, names, shapes, refusals.

That what a port computes is right is judged by the bounds (test_compare.py, test_gradients.py); here
only whole numbers are compared, on which no two orders of summation can differ.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from lenet.network.digits import Digits
from lenet.network.recipe import Batch, Recipe
from lenet.ports import Arrays, Port
from parity.errors import UserError
from tests.helpers import BATCH, frozen, one_line

N = BATCH
RECIPE = Recipe(momentum=0.5, weight_decay=0.25)


@pytest.fixture(scope="module")
def few(digits) -> Digits:
    return digits[:N]


def cotangent(dtype: str = "float64") -> np.ndarray:
    """Whole numbers, all different: a permuted gradient would show."""
    return frozen(np.arange(N * 10).reshape(N, 10) - 37, dtype)


def assert_same_bits(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    assert list(one) == list(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype, name
        assert array.tobytes() == other[name].tobytes(), name


def copied(arrays: Mapping[str, np.ndarray]) -> Arrays:
    return {name: array.copy() for name, array in arrays.items()}


def steps(port: Port, few: Digits, count: int = 2) -> list[float]:
    batch = Batch(few.images, few.labels, rate=0.125)
    return list(port.train([batch] * count, RECIPE))


# --- weights in and out ------------------------------------------------------------------------


def numbered(dtype: str) -> Arrays:
    """Every element another number; in float64 none that float32 could hold; zeros of both signs."""
    params = {}
    for name, shape in PARAM_SHAPES.items():
        array = np.arange(1, np.prod(shape) + 1, dtype=dtype).reshape(shape)
        params[name] = array + np.asarray(2.0**-30, dtype)
        params[name].flat[:4] = [0.0, -0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max]
    return params


def test_weights_come_back_bit_for_bit(port, dtype):
    port.load(numbered(dtype))
    assert_same_bits(port.params(), numbered(dtype))


def test_velocity_comes_back_bit_for_bit(port, dtype, params):
    port.load(params, numbered(dtype))
    assert_same_bits(port.velocity(), numbered(dtype))
    assert list(port.train([], RECIPE)) == []  # it has gone through the framework's optimizer now
    assert_same_bits(port.velocity(), numbered(dtype))


def test_float32_weights_are_widened_and_the_velocity_starts_at_zero(port, dtype, params):
    assert_same_bits(port.params(), {name: array.astype(dtype) for name, array in params.items()})
    assert_same_bits(port.velocity(), {name: np.zeros(shape, dtype) for name, shape in PARAM_SHAPES.items()})


def test_load_copies_what_the_caller_gave(port, dtype, few):
    given, moving = ({n: np.full(s, v, dtype) for n, s in PARAM_SHAPES.items()} for v in (0.5, 0.25))
    before, velocity_before = copied(given), copied(moving)
    port.load(given, moving)
    steps(port, few)  # training writes into neither
    assert_same_bits(given, before)
    assert_same_bits(moving, velocity_before)
    port.load(given, moving)
    for array in (*given.values(), *moving.values()):
        array.fill(7)
    assert_same_bits(port.params(), before)
    assert_same_bits(port.velocity(), velocity_before)


def test_what_comes_out_is_a_copy(port, few):
    for _ in range(2):  # at rest, and after a step
        params, velocity = copied(port.params()), copied(port.velocity())
        for array in (*port.params().values(), *port.velocity().values()):
            array.fill(7)
        assert_same_bits(port.params(), params)
        assert_same_bits(port.velocity(), velocity)
        steps(port, few, 1)


# --- outputs -----------------------------------------------------------------------------------


def test_activations_have_the_names_shapes_order_and_dtype_of_the_table(port, dtype, few):
    outputs = port.activations(few.images)
    assert {name: array.shape for name, array in outputs.items()} == {
        name: (N, *shape) for name, shape in ACTIVATION_SHAPES.items()
    }
    assert list(outputs) == list(ACTIVATION_SHAPES)
    assert {str(array.dtype) for array in outputs.values()} == {dtype}
    logits = port.logits(few.images)
    assert logits.shape == (N, 10)
    assert logits.dtype == dtype


def test_gradients_have_the_names_shapes_order_and_dtype_of_the_table(port, dtype, few):
    loss, gradients = port.gradients(few.images, few.labels)
    assert isinstance(loss, float)
    for arrays in (gradients, port.backward(few.images, cotangent(dtype)), port.velocity(), port.params()):
        assert list(arrays) == list(PARAM_SHAPES)
        assert {name: array.shape for name, array in arrays.items()} == PARAM_SHAPES
        assert {str(array.dtype) for array in arrays.values()} == {dtype}


def test_flatten_is_pool2_in_channel_row_column_order(port, few):
    outputs = port.activations(few.images)
    assert_array_equal(outputs["flatten"], outputs["pool2"].reshape(N, 400), strict=True)


def test_a_call_leaves_the_arrays_of_the_call_before_alone(port, few, digits):
    outputs = port.activations(few.images)
    before = copied(outputs)
    port.activations(digits.images[N : 2 * N])
    assert_same_bits(outputs, before)


def test_repeated_calls_give_the_same_bits(port, dtype, params, few):
    def everything() -> Arrays:
        port.load(params)
        loss, gradients = port.gradients(few.images, few.labels)
        found = {"loss": np.array(loss), "alone": port.logits(few.images)} | port.activations(few.images)
        found |= {f"gradient of {name}": array for name, array in gradients.items()}
        found |= {f"vjp {name}": g for name, g in port.backward(few.images, cotangent(dtype)).items()}
        found |= {"losses": np.array(steps(port, few))} | port.params()
        return found | {f"velocity of {name}": array for name, array in port.velocity().items()}

    assert_same_bits(everything(), everything())


# --- whole numbers -----------------------------------------------------------------------------


def whole_numbers() -> tuple[Arrays, np.ndarray]:
    """Weights −1, 0, 1, biases that open most gates, images of squares of 0, 1/2 and 1.

    Every value is a multiple of 1/2 far below 2^53: in float64 no sum rounds, in whatever order. The
    flat squares make ties in pooling windows.
    """
    rng = np.random.default_rng(5)
    weights = {name: rng.integers(-1, 2, shape).astype(float) for name, shape in PARAM_SHAPES.items()}
    weights |= {name: 3 * np.abs(bias) + 1 for name, bias in weights.items() if name.endswith("bias")}
    sides = [4, 7, 14, 4, 7, 4, 7, 4]
    images = [np.kron(rng.integers(0, 3, (28 // n, 28 // n)) / 2, np.ones((n, n))) for n in sides]
    return weights, np.stack(images)[:, None]


def tied_windows(x: np.ndarray) -> int:
    """Pooling windows (2×2) in which the maximum is above zero and stands more than once."""
    n, c, height, width = x.shape
    windows = x.reshape(n, c, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4)
    top = windows.max(axis=1, keepdims=True)
    return int(((windows == top).sum(axis=1) > 1)[top[:, 0] > 0].sum())


@pytest.mark.one_winner
@pytest.mark.parametrize("dtype", ["float64"])
def test_on_whole_numbers_every_port_gives_the_bits_of_numpy(port, open_port):
    """Forward, and backward through ties: everywhere the first in row order wins."""
    weights, images = whole_numbers()
    reference = open_port("numpy", "float64")
    reference.load(weights)
    expected = reference.activations(images)
    assert tied_windows(expected["relu1"]) > 1000
    assert tied_windows(expected["relu2"]) > 50
    port.load(weights)
    outputs, gradients = port.activations(images), port.backward(images, cotangent())
    for name, array in expected.items():
        assert_array_equal(outputs[name], array, err_msg=name, strict=True)
    assert_array_equal(port.logits(images), expected["logits"], strict=True)
    for name, array in reference.backward(images, cotangent()).items():
        assert_array_equal(gradients[name], array, err_msg=name, strict=True)


# --- refusals ----------------------------------------------------------------------------------


def changed(images: np.ndarray, value: float) -> np.ndarray:
    images = images.copy()
    images[0, 0, 0, 0] = value
    return images


IMAGES: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "empty": (lambda images: images[:0], "the batch is empty"),
    "no batch axis": (lambda images: images[0], r"images have shape \(1, 28, 28\)"),
    "a number": (lambda images: images[0, 0, 0, 0], r"images have shape \(\), expected \(N, 1, 28, 28\)"),
    "channels last": (lambda images: images.transpose(0, 2, 3, 1), r"images have shape \(8, 28, 28, 1\)"),
    "larger": (lambda images: np.zeros((N, 1, 32, 32), np.float32), r"images have shape \(8, 1, 32, 32\)"),
    "uint8": (lambda images: (images * 255).astype(np.uint8), "images are uint8, expected float32"),
    "float16": (lambda images: images.astype(np.float16), "images are float16, expected float32"),
    "0..255": (lambda images: images * 255, r"images must lie in \[0, 1\]"),
    "negative": (lambda images: changed(images, -0.1), r"images must lie in \[0, 1\]"),
    "NaN": (lambda images: changed(images, np.nan), "no NaN"),
}
LABELS: dict[str, tuple[Any, str]] = {
    "10": ([0, 1, 2, 3, 4, 5, 6, 10], r"labels must lie in 0\.\.9, got 0\.\.10"),
    "-1": ([0, 1, 2, 3, 4, 5, 6, -1], r"labels must lie in 0\.\.9, got -1\.\.6"),
    "float": (np.arange(8.0), "labels are float64, expected integers"),
    "too few": ([0, 1], r"labels have shape \(2,\), expected \(8,\)"),
    "one-hot": (np.eye(10, dtype=np.int64)[:8], r"labels have shape \(8, 10\), expected \(8,\)"),
}
COTANGENTS: dict[str, tuple[Any, str]] = {
    "too few rows": (np.zeros((2, 10)), r"cotangent has shape \(2, 10\), expected \(8, 10\)"),
    "a row": (np.zeros(10), r"cotangent has shape \(10,\), expected \(8, 10\)"),
    "a number": (np.float32(1), r"cotangent has shape \(\), expected \(8, 10\)"),
}
single = pytest.mark.parametrize("dtype", ["float32"])  # refusals are the same in both


@single
@pytest.mark.parametrize("case", IMAGES)
def test_images_that_are_no_batch_are_refused_by_every_method(case, port, few):
    spoil, message = IMAGES[case]
    images = spoil(few.images)
    for call in (
        lambda: port.logits(images),
        lambda: port.activations(images),
        lambda: port.gradients(images, few.labels),
        lambda: port.backward(images, cotangent()),
        lambda: list(port.train([Batch(images, few.labels, 0.1)], RECIPE)),
    ):
        with pytest.raises(UserError, match=message) as refusal:
            call()
        one_line(refusal)


@pytest.mark.parametrize("dtype", ["float32"])
def test_float64_images_are_refused_in_float32(port, few):
    with pytest.raises(UserError, match="images are float64, expected float32"):
        port.logits(few.images.astype(np.float64))


@pytest.mark.parametrize("dtype", ["float64"])
def test_float32_images_are_widened_in_float64(port, few):
    assert_array_equal(port.logits(few.images), port.logits(few.images.astype(np.float64)), strict=True)


@single
@pytest.mark.parametrize("case", LABELS)
def test_labels_that_do_not_fit_are_refused(case, port, few):
    labels, message = LABELS[case]
    with pytest.raises(UserError, match=message) as refusal:
        port.gradients(few.images, np.array(labels))
    one_line(refusal)
    with pytest.raises(UserError, match=message):
        list(port.train([Batch(few.images, np.array(labels), 0.1)], RECIPE))


@single
@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint64", ">i4"])
def test_labels_of_any_integer_type_are_taken(kind, port, few):
    loss, gradients = port.gradients(few.images, few.labels)
    same_loss, same_gradients = port.gradients(few.images, few.labels.astype(kind))
    assert loss == same_loss
    assert_same_bits(gradients, same_gradients)


@single
@pytest.mark.parametrize("case", COTANGENTS)
def test_a_cotangent_that_does_not_fit_is_refused(case, port, few):
    cotangent, message = COTANGENTS[case]
    with pytest.raises(UserError, match=message) as refusal:
        port.backward(few.images, cotangent)
    one_line(refusal)


def test_wrong_weights_are_refused_and_leave_the_port_as_it_was(port, dtype, params, few):
    steps(port, few)
    before, velocity_before = port.params(), port.velocity()
    right = {name: array.astype(dtype) for name, array in params.items()}
    poisoned = {**right, "fc1.bias": np.full(120, np.nan, dtype)}
    for wrong, message in (
        ({name: right[name] for name in list(right)[1:]}, r"no 'conv1\.weight'"),
        ({**right, "fc1.weight": right["fc1.weight"].T}, r"fc1\.weight has shape \(400, 120\)"),
        ({**right, "fc1.bias": right["fc1.bias"].astype(np.float16)}, r"fc1\.bias is float16|float64, exp"),
        (poisoned, r"fc1\.bias holds a NaN"),
    ):
        with pytest.raises(UserError, match=message) as refusal:
            port.load(wrong)
        one_line(refusal)
    with pytest.raises(UserError, match=r"fc1\.bias holds a NaN"):
        port.load(right, poisoned)
    assert_same_bits(port.params(), before)
    assert_same_bits(port.velocity(), velocity_before)
