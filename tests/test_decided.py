"""Which digits have gates and winners that no implementation can see otherwise."""

import numpy as np

from lenet.network.recipe import initial_params
from lenet.reference import backward as gradients
from lenet.reference.backward import decided


def test_decided_knows_a_near_tie(params, digits):
    """A gate brought within its bound, and one just outside: only the first is undecided."""
    image = digits.images[:1]
    fc1 = gradients.reference(params, image, "float64")["fc1"]
    unit = int(np.abs(fc1.value[0]).argmin())
    for distance, sure in ((0.5, False), (3.0, True)):
        near = {name: w.astype(np.float64) for name, w in params.items()}
        near["fc1.bias"] = near["fc1.bias"].copy()
        near["fc1.bias"][unit] += distance * fc1.bound[0, unit] - fc1.value[0, unit]
        assert decided(near, image)[0] == sure


def test_decided_accepts_ties_of_equal_pixels_and_of_closed_gates(digits):
    """MNIST's background ties everywhere: such ties are harmless, and are not counted as undecided."""
    blank = np.zeros((1, 1, 28, 28), np.float32)
    params = initial_params(0)  # biases zero: the whole background is exactly zero
    assert decided(params, blank).all()
    stripes = blank.copy()
    stripes[:, :, ::2] = 0.5  # every window of a map sees one of two rows, twice: ties above zero
    assert decided(params, stripes).dtype == bool
    assert decided(params, digits.images[:16]).all()
