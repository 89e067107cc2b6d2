"""Pooling against its plain definition, other libraries, and mistakes that are known from ports."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from parity.arithmetic import Bounded, integers
from parity.arithmetic.floats import FLOAT32, FLOAT64
from parity.errors import Unjudged
from parity.operators.pooling import AveragePool, LpPool, MaxPool, _Pool
from tests.parity.examples.example import Example
from tests.parity.examples.pooling import EXAMPLES, IMAGE, normal
from tests.parity.operators import one_node

Window = tuple[list[float], int]  # the values that it sees, and how many count with the padding's

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)
windowed = pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if isinstance(one.operator, _Pool)], ids=str
)


def windows(operator: _Pool, image: np.ndarray, sizes: tuple[int, ...]) -> Iterator[Window]:
    """What each window of one map sees, position by position."""
    d = image.ndim
    strides, dilations = operator.strides or (1,) * d, operator.dilations or (1,) * d
    pads = operator.pads or (0,) * (2 * d)
    if operator.auto_pad.startswith("SAME"):
        totals = [
            max((n - 1) * s + (k - 1) * e + 1 - size, 0)
            for n, s, k, e, size in zip(
                sizes, strides, operator.kernel_shape, dilations, image.shape, strict=True
            )
        ]
        more = [total - total // 2 for total in totals]
        less = [total // 2 for total in totals]
        pads = (*less, *more) if operator.auto_pad == "SAME_UPPER" else (*more, *less)
    for position in product(*map(range, sizes)):
        seen, counted = [], 0
        for tap in product(*map(range, operator.kernel_shape)):
            place = [
                p * s - pads[k] + t * e
                for k, (p, s, t, e) in enumerate(zip(position, strides, tap, dilations, strict=True))
            ]
            if all(0 <= n < size for n, size in zip(place, image.shape, strict=True)):
                seen.append(float(image[tuple(place)]))
            counted += all(-pads[k] <= n < image.shape[k] + pads[d + k] for k, n in enumerate(place))
        yield seen, counted


def plain(operator: Any, x: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """The first output, by the definition."""
    y = []
    for image in x.astype(np.float64).reshape(-1, *x.shape[2:]):
        rows = (
            windows(operator, image, sizes) if isinstance(operator, _Pool) else [(image.ravel().tolist(), 0)]
        )
        for seen, counted in rows:
            if operator.TYPE.endswith("MaxPool"):
                y.append(max(seen))
            elif operator.TYPE.endswith("AveragePool"):
                padding = getattr(operator, "count_include_pad", 0)
                y.append(sum(seen) / (counted if padding else len(seen)))
            else:
                y.append(sum(abs(v) ** operator.p for v in seen) ** (1 / operator.p))
    return np.array(y).reshape(*x.shape[:2], *sizes)


@every
def test_value_is_the_plain_definition(example: Example) -> None:
    arrays = one_node.drawn(example)
    (y,) = one_node.outputs(example.operator, arrays)
    assert arrays[0] is not None
    one_node.check_value(example.operator, arrays, [plain(example.operator, arrays[0], y.shape[2:])])


@every
def test_onnx_reference_is_right(example: Example) -> None:
    """But for two faults of onnx 1.23.

    Its LpPool divides by the values that a window with `ceil_mode` has, and multiplies by the size of a whole
    one. Its GlobalMaxPool takes the first axis of all but images for a part of the map.
    """
    arrays = one_node.drawn(example)
    if example.operator.TYPE == "GlobalLpPool":
        return  # the reference evaluator has none
    (found,) = one_node.in_reference(example, arrays)
    wrong = {"LpPool": "ceil_mode" in example.node, "GlobalMaxPool": found.ndim != 4}
    if wrong.get(example.operator.TYPE):
        assert one_node.verdict(example, arrays, found) == "different"
    else:
        assert one_node.verdict(example, arrays, found) in ("equal", "rounding")


@windowed
def test_bands_are_the_whole(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = one_node.drawn(example)
    (whole,) = one_node.outputs(example.operator, arrays)
    monkeypatch.setattr("parity.operators.pooling.LARGEST", 1)
    (banded,) = one_node.outputs(example.operator, arrays)
    np.testing.assert_array_equal(whole.value, banded.value)
    np.testing.assert_array_equal(whole.bound, banded.bound)


# --- PyTorch ------------------------------------------------------------------------------------

TORCH: list[tuple[Any, Callable[[torch.Tensor], torch.Tensor]]] = [
    (
        MaxPool(kernel_shape=(3, 2), strides=(2, 1), pads=(1, 1, 1, 1)),
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), 1),
    ),
    (
        MaxPool(kernel_shape=(2, 2), strides=(2, 2), dilations=(2, 1), ceil_mode=1),
        lambda x: F.max_pool2d(x, 2, 2, 0, (2, 1), ceil_mode=True),
    ),
    (
        AveragePool(kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1), count_include_pad=1),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
    ),
    (
        AveragePool(kernel_shape=(3, 3), strides=(3, 2), pads=(1, 1, 1, 1), ceil_mode=1),
        lambda x: F.avg_pool2d(x, 3, (3, 2), 1, ceil_mode=True, count_include_pad=False),
    ),
    (
        AveragePool(kernel_shape=(3, 3), strides=(3, 2), pads=(1, 1, 1, 1), ceil_mode=1, count_include_pad=1),
        lambda x: F.avg_pool2d(x, 3, (3, 2), 1, ceil_mode=True),
    ),
    (LpPool(kernel_shape=(2, 3), strides=(2, 3)), lambda x: F.lp_pool2d(x, 2, (2, 3))),
    (LpPool(kernel_shape=(3, 3), strides=(1, 2), p=4), lambda x: F.lp_pool2d(x, 4, 3, (1, 2))),
]
in_torch = pytest.mark.parametrize(("operator", "function"), TORCH, ids=[str(one.TYPE) for one, _ in TORCH])


@in_torch
def test_torch_is_right(operator: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 9, 7)).astype(np.float32)
    (y,) = one_node.outputs(operator, [x])
    found = function(torch.from_numpy(x)).numpy()
    assert found.shape == y.shape
    assert (np.abs(found - y.value) <= y.bound).all()


@in_torch
def test_gradient_is_that_of_torch(operator: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    if isinstance(operator, LpPool):
        return
    rng = np.random.default_rng(0)
    for values in (rng.standard_normal((3, 2, 9, 7)), rng.integers(-1, 2, (3, 2, 9, 7))):  # and many ties
        x = values.astype(np.float32)
        tensor = torch.from_numpy(x).requires_grad_()
        y = function(tensor)
        d = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(torch.from_numpy(d))
        back = operator.gradient(0, [Bounded(x)], Bounded(y.detach().numpy()), Bounded(d))
        assert tensor.grad is not None
        assert back.shape == x.shape
        error = np.abs(tensor.grad.numpy() - back.value)
        assert (error <= back.bound).all()
        assert (back.bound <= 1e-5).all()


def test_gradient_rounds_nothing_where_windows_do_not_meet() -> None:
    x = Bounded(np.random.default_rng(0).standard_normal(IMAGE).astype(np.float32))
    pool = MaxPool(kernel_shape=(2, 2), strides=(2, 2))
    d = Bounded(np.random.default_rng(1).standard_normal((2, 3, 3, 3)).astype(np.float32))
    assert not pool.gradient(0, [x], d, d).bound.any()  # type: ignore[attr-defined]
    pool = replace(pool, strides=(1, 2))
    d = Bounded(np.random.default_rng(1).standard_normal((2, 3, 6, 3)).astype(np.float32))
    assert pool.gradient(0, [x], d, d).bound.any()  # type: ignore[attr-defined]


def test_gradient_goes_to_the_first_of_several() -> None:
    x = Bounded(np.zeros((1, 1, 2, 4), np.float32))
    d = Bounded(np.array([[[[3, 5]]]], np.float32))
    back = MaxPool(kernel_shape=(2, 2), strides=(2, 2)).gradient(0, [x], d, d)
    np.testing.assert_array_equal(back.comparable, [[[[3, 0, 5, 0], [0, 0, 0, 0]]]])


# --- where the largest value lies ---------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
def test_indices_are_those_of_onnxruntime(order: int) -> None:
    attributes: dict[str, Any] = {
        "kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 2, 1), "storage_order": order,
    }  # fmt: skip
    example = Example(MaxPool(**attributes), attributes, normal(*IMAGE))
    arrays = one_node.drawn(example)
    found = one_node.in_onnxruntime(example, arrays, 2)
    reports = one_node.verdicts(example, arrays, found)
    assert [one.verdict for one in reports] == ["equal", "equal"]
    found[1][0, 1, 2, 0] += 1
    assert [one.verdict for one in one_node.verdicts(example, arrays, found)] == ["equal", "different"]


def test_indices_are_off_as_far_as_a_rival_lies() -> None:
    x = np.array([[[[1, 2, 3, 0, 0, 9]]]], np.float32)
    pool = MaxPool(kernel_shape=(1, 3), strides=(1, 3), indices=True)
    error = np.array([[[[2, 0, 0.5, 0, 0, 1]]]])
    _, indices = one_node.bounded(pool.evaluate(Bounded(x, error)))
    np.testing.assert_array_equal(indices.value, [[[[2, 5]]]])
    assert indices.format is FLOAT32
    np.testing.assert_array_equal(indices.bound, [[[[2, 0]]]])  # 1 + 2 may be above 3 − 0.5; 2 never is


# --- integers, refusals, mistakes ---------------------------------------------------------------


def test_integers_are_exact() -> None:
    x = np.random.default_rng(0).integers(-9, 10, IMAGE)
    for pool in (
        MaxPool(kernel_shape=(2, 2), strides=(2, 2)),
        AveragePool(kernel_shape=(2, 2), strides=(1, 2)),
    ):
        y: Any = pool.evaluate(integers(x))
        (right,) = one_node.outputs(pool, [x.astype(np.float32)], FLOAT64)
        np.testing.assert_array_equal(y.to_float(), right.value)
    indices: Any = MaxPool(kernel_shape=(2, 2), indices=True).evaluate(integers(x))[1]  # type: ignore[index]
    assert indices.units.dtype == np.int64
    _, places = one_node.outputs(MaxPool(kernel_shape=(2, 2), indices=True), [x.astype(np.float32)], FLOAT64)
    np.testing.assert_array_equal(indices.to_float(), places.value)
    with pytest.raises(Unjudged, match="division by 6"):
        AveragePool(kernel_shape=(2, 3)).evaluate(integers(x))


def test_window_in_the_padding_is_unjudged() -> None:
    for pool in (MaxPool, AveragePool):
        with pytest.raises(Unjudged, match="padding alone"):
            pool(kernel_shape=(2, 2), pads=(2, 0, 0, 0)).evaluate(Bounded(np.ones(IMAGE, np.float32)))


def test_norm_of_no_order_is_unjudged() -> None:
    with pytest.raises(Unjudged, match="order 0"):
        LpPool(kernel_shape=(2, 2), p=0).evaluate(Bounded(np.ones(IMAGE, np.float32)))


BASE: dict[str, Any] = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "ceil_mode": 1}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (AveragePool(**BASE), AveragePool(**BASE, count_include_pad=1)),
        (AveragePool(**BASE, count_include_pad=1), AveragePool(**BASE)),
        (MaxPool(**BASE), MaxPool(**(BASE | {"pads": (0, 0, 2, 2)}))),
        (LpPool(**BASE, p=2), LpPool(**BASE, p=3)),
        (
            AveragePool(**BASE, count_include_pad=1),
            AveragePool(**BASE, count_include_pad=1, dilations=(2, 1)),
        ),
    ],
    ids=str,
)
def test_mistake_is_different(right: _Pool, wrong: _Pool) -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 6)).astype(np.float32)
    attributes = {name: value for name, value in vars(right).items() if value and name != "indices"}
    (found,) = one_node.outputs(wrong, [x])
    (expected,) = one_node.outputs(right, [x])
    example = Example(right, attributes, normal(1, 2, 8, 6))
    assert one_node.verdict(example, [x], expected.value.astype(np.float32)) == "equal"
    assert one_node.verdict(example, [x], found.value.astype(np.float32)) == "different"


def test_overhang_beyond_the_padding_is_not_counted() -> None:
    """A window that `ceil_mode` lets stand out beyond the padding is not divided by its whole size."""
    x = np.ones((1, 1, 4), np.float32)
    pool = AveragePool(kernel_shape=(3,), strides=(3,), ceil_mode=1, count_include_pad=1, pads=(1, 0))
    (y,) = one_node.outputs(pool, [x])
    np.testing.assert_array_equal(y.value, [[[2 / 3, 1]]])
