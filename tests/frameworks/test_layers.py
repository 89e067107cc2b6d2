"""The NumPy layers: integers by hand, the fast forms against their definitions, gradients.

Whole numbers in float64 make most of this exact: as long as no sum passes 2^53 nothing rounds, so
that two ways of computing must agree in every bit, and a difference quotient of a function that is
linear between its two points *is* the derivative. (Softmax, which does round: test_softmax.py.)
"""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from lenet_numpy.layers import (
    conv2d,
    conv2d_backward,
    conv2d_definition,
    conv2d_parameter_gradients,
    flatten,
    flatten_backward,
    linear,
    linear_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_definition,
    relu,
    relu_backward,
)
from tests.helpers import Array, derivatives, frozen


def whole(rng: np.random.Generator, *shape: int) -> Array:
    """Whole numbers from −9 to 9 as float64, read-only: every layer is called with such arrays."""
    return frozen(rng.integers(-9, 10, shape).astype(np.float64))


# --- convolution -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conv:
    """A small convolution; `rng` gives its numbers."""

    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    stride: int
    padding: int
    rng: np.random.Generator

    @property
    def options(self) -> dict[str, int]:
        return {"stride": self.stride, "padding": self.padding}


@st.composite
def convs(draw: st.DrawFn, largest: int = 8) -> Conv:
    """Batches, channels, non-square images and kernels, strides that leave a rest, paddings."""
    n, c, o = (draw(st.integers(1, 3)) for _ in range(3))
    height, width = (draw(st.integers(1, largest)) for _ in range(2))
    padding, stride = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    kh, kw = (draw(st.integers(1, min(4, side + 2 * padding))) for side in (height, width))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Conv((n, c, height, width), (o, c, kh, kw), stride, padding, rng)


def fast(x: Array, w: Array, b: Array, **options: int) -> Array:
    return conv2d(x, w, b, **options)[0]


IMAGE = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize("convolve", [conv2d_definition, fast])
class TestConvolutionByHand:
    def test_the_kernel_is_not_flipped(self, convolve):
        # 1·1 + 2·2 + 3·4 + 4·5 = 37 at the top left; flipped it would be 4·1 + 3·2 + 2·4 + 1·5 = 23.
        y = convolve(frozen([[IMAGE]]), frozen([[[[1, 2], [3, 4]]]]), frozen([10]))
        assert_array_equal(y, [[[[47, 57], [77, 87]]]])

    def test_padding_and_stride(self, convolve):
        # Centres (0,0), (0,2), (2,0), (2,2): upper left + 2·centre + 3·lower right, zero outside.
        kernel = frozen([[[[1, 0, 0], [0, 2, 0], [0, 0, 3]]]])
        y = convolve(frozen([[IMAGE]]), kernel, frozen([0]), stride=2, padding=1)
        assert_array_equal(y, [[[[0 + 2 + 15, 0 + 6 + 0], [0 + 14 + 0, 5 + 18 + 0]]]])

    def test_channels_are_summed_and_maps_kept_apart(self, convolve):
        # Two digits (batch) of two channels, three maps, 1×1 kernels: y[n, o] = b[o] + Σ_c w[o, c]·x[n, c].
        x = frozen([[[[1]], [[2]]], [[[3]], [[4]]]])
        w = frozen([[[[1]], [[10]]], [[[100]], [[1000]]], [[[0]], [[-1]]]])
        y = convolve(x, w, frozen([7, 0, 0]))
        assert_array_equal(y[..., 0, 0], [[28, 2100, -2], [50, 4300, -4]])

    def test_rows_and_columns_that_fill_no_stride_are_dropped(self, convolve):
        x = frozen([[[[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]]])
        y = convolve(x, frozen([[[[1, 1]]]]), frozen([0]), stride=3)
        assert_array_equal(y, [[[[1 + 2, 4 + 5]]]])


def test_conv2d_backward_adds_where_patches_overlap():
    # x = 1 10 100, w = 2 3, dy = 5 7: the middle pixel lies under both patches.
    _, cache = conv2d(frozen([[[[1, 10, 100]]]]), frozen([[[[2, 3]]]]), frozen([0]))
    dx, dw, db = conv2d_backward(frozen([[[[5, 7]]]]), cache)
    assert_array_equal(dx, [[[[5 * 2, 5 * 3 + 7 * 2, 7 * 3]]]])
    assert_array_equal(dw, [[[[5 * 1 + 7 * 10, 5 * 10 + 7 * 100]]]])
    assert_array_equal(db, [12])


@given(convs())
def test_conv2d_equals_its_definition(conv):
    x, w, b = whole(conv.rng, *conv.x), whole(conv.rng, *conv.w), whole(conv.rng, conv.w[0])
    y, _ = conv2d(x, w, b, **conv.options)
    assert_array_equal(y, conv2d_definition(x, w, b, **conv.options), strict=True)


@given(convs())
def test_conv2d_gradients_are_the_adjoints(conv):
    """⟨dy, conv(x', w)⟩ = ⟨dx, x'⟩ for every x', ⟨dy, conv(x, w')⟩ = ⟨dw, w'⟩ for every w', and so for b'."""
    x, w, b = whole(conv.rng, *conv.x), whole(conv.rng, *conv.w), whole(conv.rng, conv.w[0])
    y, cache = conv2d(x, w, b, **conv.options)
    dy = whole(conv.rng, *y.shape)
    dx, dw, db = conv2d_backward(dy, cache)
    other_x, other_w, other_b = (
        whole(conv.rng, *x.shape),
        whole(conv.rng, *w.shape),
        whole(conv.rng, *b.shape),
    )
    assert (dx * other_x).sum() == (dy * fast(other_x, w, 0 * b, **conv.options)).sum()
    assert (dw * other_w).sum() == (dy * fast(x, other_w, 0 * b, **conv.options)).sum()
    assert (db * other_b).sum() == (dy * fast(0 * x, w, other_b, **conv.options)).sum()


@pytest.mark.slow
@given(convs(largest=4))
def test_conv2d_gradients_equal_every_difference_quotient(conv):
    """y is linear in each argument, so that the quotient with step 1 is the derivative, exactly."""
    x, w, b = whole(conv.rng, *conv.x), whole(conv.rng, *conv.w), whole(conv.rng, conv.w[0])
    y, cache = conv2d(x, w, b, **conv.options)
    dy = whole(conv.rng, *y.shape)
    dx, dw, db = conv2d_backward(dy, cache)
    assert_array_equal(dx, derivatives(lambda v: (dy * fast(v, w, b, **conv.options)).sum(), x, 1))
    assert_array_equal(dw, derivatives(lambda v: (dy * fast(x, v, b, **conv.options)).sum(), w, 1))
    assert_array_equal(db, derivatives(lambda v: (dy * fast(x, w, v, **conv.options)).sum(), b, 1))
    for alone, both in zip(conv2d_parameter_gradients(dy, cache), (dw, db), strict=True):
        assert_array_equal(alone, both, strict=True)


# --- max pooling -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """A small pooling; `rng` gives its numbers."""

    x: tuple[int, int, int, int]
    size: int
    stride: int
    rng: np.random.Generator

    @property
    def options(self) -> dict[str, int]:
        return {"size": self.size, "stride": self.stride}


@st.composite
def pools(draw: st.DrawFn, largest: int = 8) -> Pool:
    """Windows that touch, overlap (stride < size) or leave gaps (stride > size), on non-square images."""
    size, stride = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    n, c = (draw(st.integers(1, 3)) for _ in range(2))
    height, width = (draw(st.integers(size, largest)) for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Pool((n, c, height, width), size, stride, rng)


def first_winners(x: Array, dy: Array, size: int, stride: int) -> Array:
    """The rule as loops: each window's dy goes to its largest value, the first in row order."""
    dx = np.zeros(x.shape)
    for n, c, p, q in np.ndindex(dy.shape):
        places = [(stride * p + i, stride * q + j) for i in range(size) for j in range(size)]
        values = [x[n, c, row, column] for row, column in places]
        row, column = places[values.index(max(values))]
        dx[n, c, row, column] += dy[n, c, p, q]
    return dx


@pytest.mark.parametrize("pool", [max_pool2d_definition, lambda x, **options: max_pool2d(x, **options)[0]])
def test_max_pool2d_by_hand(pool):
    x = frozen([[[[1, 5, 2], [4, 3, 9], [7, 8, 0]]]])
    assert_array_equal(pool(x, size=2, stride=1), [[[[5, 9], [8, 9]]]])
    assert_array_equal(pool(x, size=2, stride=2), [[[[5]]]])  # the last row and column fill no window


def test_max_pool2d_backward_gives_a_tie_to_the_first_in_row_order():
    x = frozen([[[[3, 3, 1, 2], [3, 3, 2, 0]]]])  # in column order, the right window's 2 below 1 would win
    _, cache = max_pool2d(x, size=2, stride=2)
    dx = max_pool2d_backward(frozen([[[[5, 7]]]]), cache)
    assert_array_equal(dx, [[[[5, 0, 0, 7], [0, 0, 0, 0]]]])


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (2, 1), (3, 2)])
def test_an_image_full_of_ties_has_one_winner_for_each_window(size, stride):
    x = np.zeros((2, 3, 7, 6))
    y, cache = max_pool2d(x, size=size, stride=stride)
    for window in np.ndindex(y.shape):
        dy = np.zeros(y.shape)
        dy[window] = 1
        n, c, p, q = window
        assert np.argwhere(max_pool2d_backward(dy, cache)).tolist() == [[n, c, stride * p, stride * q]]


@given(pools())
def test_max_pool2d_equals_its_definition(pool):
    x = whole(pool.rng, *pool.x)
    y, _ = max_pool2d(x, **pool.options)
    assert_array_equal(y, max_pool2d_definition(x, **pool.options), strict=True)


@given(pools())
def test_max_pool2d_backward_follows_the_rule_among_ties(pool):
    x = frozen(pool.rng.integers(0, 3, pool.x))  # three values: nearly every window is a tie
    y, cache = max_pool2d(x, **pool.options)
    dy = whole(pool.rng, *y.shape)
    dx = max_pool2d_backward(dy, cache)
    assert_array_equal(dx, first_winners(x, dy, **pool.options))
    assert dx.sum() == dy.sum()  # nothing of it is lost, nothing given twice


@pytest.mark.slow
@given(pools(largest=5))
def test_max_pool2d_gradient_equals_every_difference_quotient(pool):
    """Values 3 apart and a step of 1: no winner changes, the function is linear, the quotient exact."""
    x = frozen(pool.rng.permutation(np.prod(pool.x)).reshape(pool.x) * 3)
    y, cache = max_pool2d(x, **pool.options)
    dy = whole(pool.rng, *y.shape)
    quotients = derivatives(lambda v: (dy * max_pool2d(v, **pool.options)[0]).sum(), x, 1)
    assert_array_equal(max_pool2d_backward(dy, cache), quotients)


# --- the rest ----------------------------------------------------------------------------------


def test_relu_and_its_gate_at_zero():
    y, cache = relu(frozen([-2, -0.0, 0, 3]))
    assert_array_equal(y, [0, 0, 0, 3])
    assert_array_equal(relu_backward(frozen([5, 6, 7, 8]), cache), [0, 0, 0, 8])


def test_flatten_runs_the_last_axis_fastest():
    x = frozen(np.arange(24).reshape(2, 3, 2, 2))
    y, cache = flatten(x)
    assert_array_equal(y, [range(12), range(12, 24)])
    assert_array_equal(flatten_backward(y, cache), x, strict=True)


def test_linear_by_hand():
    x, w, b = frozen([[1, 2], [3, 4]]), frozen([[1, 10], [100, 0], [0, -1]]), frozen([5, 6, 7])
    y, cache = linear(x, w, b)
    assert_array_equal(y, [[26, 106, 5], [48, 306, 3]])
    dx, dw, db = linear_backward(frozen([[1, 2, 3], [4, 5, 6]]), cache)
    assert_array_equal(dx, [[1 + 200, 10 - 3], [4 + 500, 40 - 6]])
    assert_array_equal(dw, [[1 + 12, 2 + 16], [2 + 15, 4 + 20], [3 + 18, 6 + 24]])
    assert_array_equal(db, [5, 7, 9])


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_linear_gradients_equal_every_difference_quotient(n, d, e, seed):
    rng = np.random.default_rng(seed)
    x, w, b, dy = whole(rng, n, d), whole(rng, e, d), whole(rng, e), whole(rng, n, e)
    dx, dw, db = linear_backward(dy, linear(x, w, b)[1])
    assert_array_equal(dx, derivatives(lambda v: (dy * linear(v, w, b)[0]).sum(), x, 1))
    assert_array_equal(dw, derivatives(lambda v: (dy * linear(x, v, b)[0]).sum(), w, 1))
    assert_array_equal(db, derivatives(lambda v: (dy * linear(x, w, v)[0]).sum(), b, 1))


# --- what holds for every layer ----------------------------------------------------------------

LAYERS = {
    "conv2d": (lambda x, w, b: conv2d(x, w, b, stride=2, padding=1), conv2d_backward, (2, 3, 5, 4)),
    "max_pool2d": (lambda x, w, b: max_pool2d(x, size=2, stride=1), max_pool2d_backward, (2, 3, 5, 4)),
    "relu": (lambda x, w, b: relu(x), relu_backward, (2, 3, 5, 4)),
    "flatten": (lambda x, w, b: flatten(x), flatten_backward, (2, 3, 5, 4)),
    "linear": (lambda x, w, b: linear(x, w[:, :, 0, 0], b), linear_backward, (2, 3)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_keep_the_dtype_and_leave_their_arguments_alone(name, dtype):
    """Arguments are read-only, the cotangent too; a second backward finds the cache as it was."""
    forward, backward, shape = LAYERS[name]
    rng = np.random.default_rng(1)
    x, w, b = (frozen(whole(rng, *s), dtype) for s in (shape, (4, 3, 3, 2), (4,)))
    y, cache = forward(x, w, b)
    dy = frozen(whole(rng, *y.shape), dtype)
    first, again = (
        gradients if isinstance(gradients, tuple) else (gradients,)
        for gradients in (backward(dy, cache), backward(dy, cache))
    )
    for gradient, repeated in zip(first, again, strict=True):
        assert gradient.dtype == y.dtype == dtype
        assert_array_equal(gradient, repeated, strict=True)


def test_definitions_keep_the_dtype():
    x, w, b = frozen([[IMAGE]], "float32"), frozen([[[[1, 2]]]], "float32"), frozen([0], "float32")
    assert conv2d_definition(x, w, b).dtype == max_pool2d_definition(x, size=2, stride=1).dtype == "float32"
