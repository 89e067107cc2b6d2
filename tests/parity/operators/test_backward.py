"""Backward passes against PyTorch's autograd, and both passes in exact integers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from parity.arithmetic import Array, Bounded, Integers, Number, integers
from parity.arithmetic.floats import FLOAT32, FLOAT64, Format
from parity.errors import Unjudged
from parity.operators import Operator
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import AveragePool, MaxPool
from parity.operators.shape import Flatten
from tests.parity.arithmetic.adversary import Adversary
from tests.parity.examples import EXAMPLES, Example
from tests.parity.operators.one_node import check_within, share

CONVOLUTIONS = [one for one in EXAMPLES if type(one.operator) is Conv]
PRODUCTS = [
    one
    for one in EXAMPLES
    if isinstance(one.operator, Gemm) and (one.operator.alpha, one.operator.transA) == (1, 0)
]
formats = pytest.mark.parametrize("form", [FLOAT32, FLOAT64], ids=lambda form: form.name)


def _back(operator: Operator, arrays: Sequence[Array], cotangent: Array, form: Format) -> list[Bounded]:
    """The cotangents of all inputs."""
    inputs = [Bounded(a, None, form) for a in arrays]
    y = operator.evaluate(*inputs)
    assert isinstance(y, Bounded)
    found = [operator.gradient(k, inputs, y, Bounded(cotangent, None, form)) for k in range(len(arrays))]
    return [one for one in found if isinstance(one, Bounded)]


def _convolved(operator: Conv, x: torch.Tensor, w: torch.Tensor, *b: torch.Tensor) -> torch.Tensor:
    window = operator.window(Bounded(x.detach().numpy()), Bounded(w.detach().numpy()))
    pads = [side for pair in zip(window.before[::-1], window.after[::-1], strict=True) for side in pair]
    kernels: Any = {
        3: torch.nn.functional.conv1d,
        4: torch.nn.functional.conv2d,
        5: torch.nn.functional.conv3d,
    }
    padded = torch.nn.functional.pad(x, pads)
    bias = b[0] if b else None
    return kernels[x.ndim](padded, w, bias, window.strides, 0, window.dilations, operator.group)


def _multiplied(operator: Gemm, a: torch.Tensor, b: torch.Tensor, *c: torch.Tensor) -> torch.Tensor:
    product = a @ (b.T if operator.transB else b)
    return product + c[0] if c else product


@pytest.mark.parametrize("example", CONVOLUTIONS + PRODUCTS, ids=str)
@formats
def test_gradients_of_sums_of_products_are_those_of_autograd(example: Example, form: Format) -> None:
    rng = np.random.default_rng(1)
    arrays = [a.astype(form.dtype) for a in example.make(rng) if a is not None]
    tensors = [torch.from_numpy(a).requires_grad_() for a in arrays]
    operator = example.operator
    if isinstance(operator, Conv):
        y = _convolved(operator, *tensors)
    else:
        assert isinstance(operator, Gemm)
        y = _multiplied(operator, *tensors)
    cotangent = rng.standard_normal(y.shape).astype(form.dtype)
    y.backward(torch.from_numpy(cotangent))
    for tensor, back in zip(tensors, _back(operator, arrays, cotangent, form), strict=True):
        assert tensor.grad is not None
        check_within(tensor.grad.numpy(), back)


@pytest.mark.parametrize("example", CONVOLUTIONS + PRODUCTS, ids=str)
def test_worst_roundings_reach_half_of_a_gradients_bound(example: Example) -> None:
    """Of positive numbers: so that what is rounded adds up."""
    rng = np.random.default_rng(1)
    arrays = [np.abs(a) for a in example.make(rng) if a is not None]
    inputs: list[Number] = [Bounded(a) for a in arrays]
    y: Any = example.operator.evaluate(*inputs)
    d = np.abs(rng.standard_normal(y.shape)).astype(np.float32)
    for k in range(len(arrays)):
        right: Any = example.operator.gradient(k, inputs, y, Bounded(d))
        shares = []
        for way in Adversary.WAYS:
            worst: list[Number] = [Adversary(a, way=way) for a in arrays]
            found: Any = example.operator.gradient(k, worst, worst[0], Adversary(d, way=way))
            check_within(found.value, right)
            shares.append(share(found.value, right))
        assert max(shares) > 0.5


def test_dropped_term_of_a_gradient_is_outside() -> None:
    """One position of the batch left out of a weight's gradient, or the kernel not turned round."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 7, 6), (4, 3, 3, 3)))
    d = rng.standard_normal((2, 4, 5, 4)).astype(np.float32)
    of_x, of_w = _back(Conv(), [x, w], d, FLOAT32)
    less = d.copy()
    less[0, 0, 0, 0] = 0
    for right, wrong in zip((of_x, of_w), _back(Conv(), [x, w], less, FLOAT32), strict=True):
        assert share(wrong.value, right) > 1
    assert share(_back(Conv(), [x, w[..., ::-1]], d, FLOAT32)[0].value, of_x) > 1


def test_gradient_of_a_scaled_or_turned_product_is_unjudged() -> None:
    a = Bounded(np.ones((2, 2), np.float32))
    for gemm in (Gemm(alpha=0.5), Gemm(beta=2.0), Gemm(transA=1)):
        with pytest.raises(Unjudged, match="backward pass of a Gemm"):
            gemm.gradient(0, [a, a], a, a)


def test_cotangent_of_a_relu_may_be_zero_where_a_sign_is_open() -> None:
    """And only there: elsewhere it is copied."""
    x = Bounded(np.array([0.1, -0.1, 1.0, -1.0]), np.array([0.2, 0.1, 0.9, 0.9]))
    d = Bounded(np.array([3.0, -2.0, 5.0, 7.0]))
    back = Relu().gradient(0, [x], Relu().evaluate(x), d)
    assert isinstance(back, Bounded)
    assert back.value.tolist() == [3, 0, 5, 0]
    assert back.bound.tolist() == [3, 2, 0, 0]


# --- exact integers -----------------------------------------------------------------------------

IMAGE = (2, 3, 6, 8)


def _shapes(example: Example) -> list[tuple[int, ...]]:
    return [a.shape for a in example.make(np.random.default_rng(0)) if a is not None]


EXACT: list[tuple[Operator, list[tuple[int, ...]]]] = [
    *(
        (one.operator, [a.shape for a in one.make(np.random.default_rng(0)) if a is not None])
        for one in CONVOLUTIONS
    ),
    *(
        (one.operator, [a.shape for a in one.make(np.random.default_rng(0)) if a is not None])
        for one in PRODUCTS
    ),
    (Relu(), [IMAGE]),
    (MaxPool(kernel_shape=(2, 2), strides=(2, 2)), [IMAGE]),
    (MaxPool(kernel_shape=(3, 3), strides=(2, 2)), [IMAGE]),
    (MaxPool(kernel_shape=(3, 2), pads=(1, 0, 1, 1)), [IMAGE]),
    (AveragePool(kernel_shape=(2, 2), strides=(2, 2)), [IMAGE]),
    (AveragePool(kernel_shape=(4, 2), strides=(1, 2)), [IMAGE]),
    (Flatten(), [IMAGE]),
    (Flatten(axis=2), [IMAGE]),
]


def _first(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def _equal(exact: Number, right: Number) -> None:
    """The same numbers, to the bit: nothing rounds in float64 either."""
    assert isinstance(exact, Integers)
    assert isinstance(right, Bounded)
    assert np.array_equal(np.ldexp(exact.units.astype(np.float64), exact.exponent), right.value)


@pytest.mark.parametrize(("operator", "shapes"), EXACT, ids=str)
@pytest.mark.parametrize("exponent", [0, -7])
def test_both_passes_in_exact_integers(
    operator: Operator, shapes: list[tuple[int, ...]], exponent: int
) -> None:
    """Small integers on a grid: equal to float64's values, forward and backward."""
    rng = np.random.default_rng(0)
    arrays = [np.ldexp(rng.integers(-9, 10, shape).astype(np.float64), exponent) for shape in shapes]
    whole, wide = [integers(a) for a in arrays], [Bounded(a, None, FLOAT64) for a in arrays]
    y, right = _first(operator.evaluate(*whole)), _first(operator.evaluate(*wide))
    _equal(y, right)
    cotangent = np.ldexp(rng.integers(-5, 6, y.shape).astype(np.float64), exponent)
    for k in range(len(arrays)):
        back = operator.gradient(k, whole, y, integers(cotangent))
        _equal(back, operator.gradient(k, wide, right, Bounded(cotangent, None, FLOAT64)))
        assert back.shape == shapes[k]


def test_mean_of_three_is_no_integer() -> None:
    with pytest.raises(Unjudged, match="division by 3"):
        AveragePool(kernel_shape=(3, 1)).evaluate(integers(np.ones((1, 1, 3, 3))))
