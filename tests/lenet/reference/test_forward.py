"""The forward pass in float64: its format, what overflows, and the margin of a class."""

import numpy as np
import pytest

from lenet.network.architecture import LAYERS, PARAM_SHAPES
from lenet.reference.forward import in_format, local, margins, reference, rounded
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT32, FLOAT64
from parity.errors import UserError

WHITE = np.ones((1, 1, 28, 28), np.float32)


def zeros() -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in PARAM_SHAPES.items()}


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_sum_that_leaves_the_format_is_refused(sign: int) -> None:
    params = zeros()
    params["conv1.bias"][3] = sign * FLOAT32.largest
    assert np.abs(reference(params, WHITE)["conv1"].value).max() == FLOAT32.largest
    params["conv1.weight"][3, 0, 2, 2] = sign * 1e38
    with pytest.raises(UserError, match="with these weights the sums of conv1 overflow float32"):
        reference(params, WHITE)
    assert np.abs(reference(params, WHITE, "float64")["conv1"].value).max() > FLOAT32.largest


def test_outputs_are_bounded_in_the_format_of_the_port() -> None:
    params = zeros()
    params["conv1.weight"] += np.float32(0.1)
    outputs = reference(params, WHITE)
    assert list(outputs) == [layer.name for layer in LAYERS]
    assert {one.format for one in outputs.values()} == {FLOAT32}
    assert {one.format for one in reference(params, WHITE, "float64").values()} == {FLOAT64}
    assert local(LAYERS[0], params, WHITE).format is FLOAT32
    fine = local(LAYERS[0], params, WHITE, "float64")
    assert fine.format is FLOAT64
    assert (fine.bound < local(LAYERS[0], params, WHITE).bound).all()
    again = in_format(fine, "float32")
    assert again.format is FLOAT32
    assert (again.value is fine.value, again.error is fine.error) == (True, True)
    assert {one.dtype for one in rounded(outputs, "float32").values()} == {np.dtype(np.float32)}
    assert rounded(outputs, "float32")["conv1"][0, 0, 9, 9] == np.float32(2.5)
    assert reference(params, WHITE[:0])["logits"].shape == (0, 10)


def test_the_margin_is_the_smallest_gap_between_both_bounds() -> None:
    value = np.array([[1.0, 0.0, 0.5], [-1.0, -3.0, -2.5], [-2.0, -3.0, -1.0]])
    error = np.array([[0.25, 0.0, 0.125], [0.0, 1.5, 0.5], [0.25, 0.5, 0.25]])
    assert margins(Bounded(value, error)).tolist() == [0.125, 0.5, 0.5]
