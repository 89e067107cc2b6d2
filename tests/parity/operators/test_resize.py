"""Resize, Upsample, GridSample, AffineGrid: values, bounds, and which implementations they admit."""

from collections.abc import Callable, Iterator
from math import floor
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

from parity.arithmetic import Bounded, Looped
from parity.arithmetic.floats import BFLOAT16, FLOAT16
from parity.arithmetic.integers import integers
from parity.errors import Unjudged
from parity.judging import judge
from parity.judging.verdict import TensorReport
from parity.onnx import read_onnx
from parity.operators.grid_sample import AffineGrid, GridSample
from parity.operators.resize import Resize, Upsample
from tests.parity.examples.example import Example
from tests.parity.examples.resize import EXAMPLES
from tests.parity.operators.one_node import check_within, in_onnxruntime, in_reference, outputs, verdicts
from tests.parity.small import model

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)
RNG = np.random.default_rng


def _made(example: Example, seed: int = 0) -> list[np.ndarray | None]:
    return example.make(RNG(seed))


def _differs_from_reference(example: Example) -> bool:
    """Uses in which ONNX's reference evaluator does not follow the standard, or has no implementation."""
    op, node = example.operator, example.node
    if example.opset < 11 or isinstance(op, Upsample):
        return True
    if isinstance(op, GridSample):  # it moves the place before it looks up neighbours
        return op.mode == "cubic" and op.padding_mode == "border"
    transform = node.get("coordinate_transformation_mode")
    if node.get("axes", (0,))[0] < 0:  # it knows no negative axes
        return True
    if transform == "tf_half_pixel_for_nn":
        return True
    # It divides by the product of size and scale, not by the size of the output.
    if transform not in ("align_corners", "tf_crop_and_resize"):
        return False
    x, _, scales, *_ = _made(example)
    return scales is not None and x is not None and bool((scales * np.array(x.shape) % 1).any())


@pytest.mark.parametrize("example", [one for one in EXAMPLES if not _differs_from_reference(one)], ids=str)
def test_values_are_those_of_the_reference_evaluator(example: Example) -> None:
    arrays = _made(example)
    (found,) = in_reference(example, arrays)
    check_within(found, outputs(example.operator, arrays)[0])


def test_a_crop_counts_on_an_axis_that_keeps_its_length() -> None:
    """onnxruntime leaves such an axis as it is, so that this is none of the examples."""
    attributes = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    x, crop = RNG(0).standard_normal((5, 8)).astype(np.float32), np.array([0.25, 0, 0.75, 1], np.float32)
    arrays = [x, crop, np.array([1, 2], np.float32)]
    example = Example(Resize(**attributes), attributes, lambda rng: [], opset=19)  # type: ignore[arg-type]
    (found,) = in_reference(example, arrays)
    check_within(found, outputs(example.operator, arrays)[0])


def _linear(x: list[float], place: float) -> float:
    below = floor(place)
    a, b = (x[min(max(k, 0), len(x) - 1)] for k in (below, below + 1))
    return a + (place - below) * (b - a)


def _keys(x: list[float], place: float, a: float) -> float:
    total = 0.0
    for k in range(floor(place) - 1, floor(place) + 3):
        s = abs(place - k)
        weight = (a + 2) * s**3 - (a + 3) * s**2 + 1 if s <= 1 else a * (s**3 - 5 * s**2 + 8 * s - 4)
        total += weight * x[min(max(k, 0), len(x) - 1)]
    return total


PLACES = {
    "half_pixel": lambda i, n, m: (i + 0.5) * n / m - 0.5,
    "asymmetric": lambda i, n, m: i * n / m,
    "align_corners": lambda i, n, m: i * (n - 1) / (m - 1),
}


@pytest.mark.parametrize("transform", PLACES)
@pytest.mark.parametrize(("n", "m"), [(5, 8), (9, 4), (7, 14)])
def test_values_along_one_axis(transform: str, n: int, m: int) -> None:
    x = RNG(3).standard_normal(n).astype(np.float32)
    values = [float(one) for one in x]
    for mode in ("linear", "cubic"):
        operator = Resize(mode=mode, coordinate_transformation_mode=transform)
        (y,) = outputs(operator, [x, None, None, np.array([m])])
        for i in range(m):
            place = PLACES[transform](i, n, m)
            right = _linear(values, place) if mode == "linear" else _keys(values, place, -0.75)
            assert y.value[i] == pytest.approx(right, rel=1e-12, abs=1e-14)


TORCH: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"mode": "nearest"}, {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ({"mode": "nearest-exact"}, {"nearest_mode": "round_prefer_ceil"}),
    ({"mode": "bilinear"}, {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}),
    (
        {"mode": "bilinear", "align_corners": True},
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    ({"mode": "bicubic"}, {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel"}),
    (
        {"mode": "bicubic", "align_corners": True},
        {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
    ),
    ({"mode": "bilinear", "antialias": True}, {"mode": "linear", "antialias": 1, "exclude_outside": 1}),
    (
        {"mode": "bicubic", "antialias": True},
        {"mode": "cubic", "antialias": 1, "exclude_outside": 1, "cubic_coeff_a": -0.5},
    ),
]


@pytest.mark.parametrize(("theirs", "ours"), TORCH, ids=str)
@pytest.mark.parametrize("size", [(64, 90), (20, 31), (300, 17)])
def test_pytorch_is_within_the_bound(
    theirs: dict[str, Any], ours: dict[str, Any], size: tuple[int, int]
) -> None:
    x = RNG(1).standard_normal((1, 2, 45, 57)).astype(np.float32)
    y = torch.nn.functional.interpolate(torch.from_numpy(x), size, **theirs).numpy()
    check_within(y, outputs(Resize(**ours), [x, None, None, np.array([1, 2, *size])])[0])


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [False, True])
def test_pytorch_grid_sample_is_within_the_bound(mode: str, padding: str, align: bool) -> None:
    rng = RNG(2)
    x = rng.standard_normal((2, 3, 31, 40)).astype(np.float32)
    grid = rng.uniform(-1.5, 1.5, (2, 25, 26, 2)).astype(np.float32)
    y = torch.nn.functional.grid_sample(torch.from_numpy(x), torch.from_numpy(grid), mode, padding, align)
    operator = GridSample.read({"mode": mode, "padding_mode": padding, "align_corners": int(align)}, 16)
    check_within(y.numpy(), outputs(operator, [x, grid])[0])


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_places_that_pytorch_computes_in_float16_are_a_form_of_their_own(mode: str) -> None:
    rng = RNG(2)
    arrays = [rng.standard_normal((2, 3, 31, 40)), rng.uniform(-1, 1, (2, 25, 26, 2))]
    x, grid = (a.astype(np.float16) for a in arrays)
    example = Example(GridSample(), {"mode": mode}, lambda rng: [x, grid], 16)

    def judged(align: bool) -> TensorReport:
        given = torch.from_numpy(x), torch.from_numpy(grid)
        y = torch.nn.functional.grid_sample(*given, mode, align_corners=align).numpy()
        return verdicts(example, [x, grid], [y])[0]

    right = judged(align=False)
    assert (right.verdict, right.note) == ("rounding", "places in the format of the values")
    assert judged(align=True).verdict == "different"


def test_plain_loop_takes_the_other_neighbour_wherever_rounding_decides() -> None:
    """Its own place may have been moved already, and must not move back: PyTorch was then called coarse."""
    rng = RNG(4)
    x = np.arange(1200, dtype=np.float16).reshape(1, 1, 30, 40)
    grid = rng.uniform(-1, 1, (1, 60, 60, 2)).astype(np.float16)
    (right,) = outputs(GridSample(mode="nearest"), [x, grid], FLOAT16)
    loop = GridSample(mode="nearest").evaluate(Looped(x, FLOAT16), Looped(grid, FLOAT16))
    assert isinstance(loop, Looped)
    assert 0 < (right.bound > 0).mean() < 0.5
    np.testing.assert_array_equal(loop.value != right.value, right.bound > 0)


@pytest.mark.parametrize("align", [False, True])
def test_affine_grid_of_pytorch_in_float16_is_within_the_bound(align: bool) -> None:
    theta = RNG(3).standard_normal((2, 2, 3)).astype(np.float16)
    y = torch.nn.functional.affine_grid(torch.from_numpy(theta), [2, 1, 31, 40], align)
    arrays = [theta, np.array([2, 1, 31, 40])]
    check_within(y.numpy(), outputs(AffineGrid(align_corners=int(align)), arrays, FLOAT16)[0])


def test_where_a_place_may_be_half_a_pixel_off_nothing_is_known() -> None:
    """In bfloat16 on 300 pixels: any neighbours may be those that count."""
    arrays = [np.ones((1, 1, 300, 300), np.float32), np.array([[[[0.3, 0.2]]]], np.float32)]
    for mode in ("linear", "nearest", "cubic"):
        assert np.isinf(outputs(GridSample(mode=mode), arrays, BFLOAT16)[0].bound).all()
        few = outputs(GridSample(mode=mode, in_float32=True), arrays, BFLOAT16)[0]
        assert np.isfinite(few.bound).all()


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize(("n", "m", "whole"), [(37, 103, False), (2599, 5616, False), (33, 96, True)])
def test_places_of_the_symmetric_mode_may_be_rounded(mode: str, n: int, m: int, whole: bool) -> None:
    """n/2 (1 − m/(n s)) is zero for s = m/n. Where n·s is not m in float32, onnxruntime moves every place;
    where it is, onnxruntime moves some, because it divides by s in float64 and rounds once."""
    assert (np.float32(n) * (np.float32(m) / np.float32(n)) == m) == whole
    node: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": "half_pixel_symmetric"}
    arrays = [RNG(0).standard_normal((1, 1, 1, n)).astype(np.float32), None, None, np.array([1, 1, 1, m])]
    (y,) = in_onnxruntime(Example(Resize(**node), node, lambda rng: arrays, 19), arrays)
    check_within(y, outputs(Resize(**node), arrays)[0])


def test_places_of_an_affine_grid_are_shared_along_its_other_axes() -> None:
    """So the errors of 32 by 40 places are not independent: onnxruntime's rotations were called coarse."""
    size = Bounded(np.array([1, 1, 32, 40]))
    assert AffineGrid().shared(Bounded(np.zeros((1, 2, 3), np.float32)), size) == 40


def test_nearest_admits_both_neighbours_only_where_rounding_decides() -> None:
    x = np.arange(30, dtype=np.float32)
    (doubled,) = outputs(
        Resize(coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        [x, None, np.array([2], np.float32)],
    )
    assert not doubled.bound.any()
    # 10 / float32(0.1) is 99.99999850988388, which float32 rounds to 100.
    x = np.arange(200, dtype=np.float32)
    operator = Resize(coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    (few,) = outputs(operator, [x, None, np.array([0.1], np.float32)])
    assert few.value[10] == 99
    assert few.bound[10] == 1
    assert few.bound[0] == 0


# Sizes for which some place, computed in float64, is rounded across a half or a whole number.
SIZES = (
    (2, 50),
    (3, 1),
    (3, 2),
    (3, 5),
    (5, 51),
    (6, 11),
    (7, 9),
    (7, 17),
    (8, 51),
    (13, 23),
    (13, 46),
    (14, 9),
    (14, 47),
    (15, 51),
    (18, 28),
    (18, 50),
    (21, 19),
)
NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda place: np.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: np.floor(place + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def places_in_float64(transform: str, n: int, m: int) -> Iterator[np.ndarray]:
    """By the formulas of the standard, with the scale, with the scale in float32, and with both lengths."""
    j = np.arange(m, dtype=np.float64)
    if transform == "align_corners":
        yield j * ((n - 1) / max(m - 1, 1))
        return
    for scale in (m / n, float(np.float32(m / n))):
        symmetric = n / 2 * (1 - m / (n * scale)) if transform == "half_pixel_symmetric" else 0.0
        at, half = (j, 0.0) if transform == "asymmetric" else (j + 0.5, 0.5)
        half = 0.0 if transform == "tf_half_pixel_for_nn" else half
        yield from (symmetric + at / scale - half, symmetric + at * (1 / scale) - half)
    yield from (at * (n / m) - half, at * n / m - half)


@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize(
    "transform", ["half_pixel", "half_pixel_symmetric", "asymmetric", "tf_half_pixel_for_nn", "align_corners"]
)
def test_a_place_in_float64_leads_to_a_neighbour_that_is_admitted(transform: str, nearest: str) -> None:
    for n, m in SIZES:
        x = np.arange(n, dtype=np.float32)
        operator = Resize(coordinate_transformation_mode=transform, nearest_mode=nearest)
        (by_size,) = outputs(operator, [x, None, None, np.array([m])])
        (by_scale,) = outputs(operator, [x, None, np.array([m / n], np.float32)])
        for place in places_in_float64(transform, n, m):
            found = x[NEAREST[nearest](place).clip(0, n - 1).astype(int)]
            for y in (by_size, by_scale):
                assert (np.abs(found - y.value) <= y.bound).all(), (n, m)


@pytest.mark.parametrize(
    ("nearest", "n", "m", "roi"),
    [
        ("round_prefer_floor", 8, 26, (0.0, 0.5)),
        ("round_prefer_ceil", 14, 24, (0.0, 0.5)),
        ("ceil", 15, 26, (0.0, 0.5)),
    ],
)
def test_a_place_of_a_crop_in_float64_is_admitted(
    nearest: str, n: int, m: int, roi: tuple[float, float]
) -> None:
    operator = Resize(coordinate_transformation_mode="tf_crop_and_resize", nearest_mode=nearest)
    x = np.arange(n, dtype=np.float32)
    (y,) = outputs(operator, [x, np.array(roi, np.float32), None, np.array([m])])
    place = roi[0] * (n - 1) + np.arange(m) * ((roi[1] - roi[0]) * (n - 1) / (m - 1))
    found = x[NEAREST[nearest](place).astype(int)]
    assert (found != y.value).any()
    assert (np.abs(found - y.value) <= y.bound).all()


@pytest.mark.parametrize(("transform", "place"), [("pytorch_half_pixel", 0), ("tf_crop_and_resize", 3)])
def test_the_place_of_a_single_value_is_stated(transform: str, place: int) -> None:
    operator = Resize(coordinate_transformation_mode=transform)
    x, roi = np.arange(9, dtype=np.float32), np.array([0.25, 0.5], np.float32)
    (y,) = outputs(operator, [x, roi, None, np.array([1])])
    assert (y.value.tolist(), y.bound.tolist()) == ([place], [0])


@pytest.mark.parametrize("x", [np.arange(3), np.array([np.inf, np.nan, 2], np.float32)], ids=["int", "float"])
def test_nearest_moves_what_cannot_be_interpolated(x: np.ndarray) -> None:
    (y,) = outputs(Resize(), [x, None, np.array([2], np.float32)])
    np.testing.assert_array_equal(y.value, np.repeat(x, 2))
    assert not y.bound.any()


def test_an_uncertain_place_costs_little_where_neighbours_are_alike() -> None:
    """Weights that are off by δ move the value by δ times the slope, not by δ times the values."""
    flat = np.full(2000, 1000, np.float32)
    (y,) = outputs(Resize(mode="linear"), [flat, None, None, np.array([3001])])
    assert y.bound.max() < 8 * 2.0**-24 * 1000


def test_wrong_scales_are_outside() -> None:
    x = RNG(0).standard_normal((1, 1, 40, 40)).astype(np.float32)
    right, wrong = (
        outputs(
            Resize(mode="linear", coordinate_transformation_mode=transform),
            [x, None, None, np.array([1, 1, 90, 90])],
        )[0]
        for transform in ("half_pixel", "align_corners")
    )
    assert (np.abs(right.value - wrong.value) > right.bound).mean() > 0.99


def test_exact_where_no_weight_rounds() -> None:
    x = RNG(0).integers(-9, 9, (1, 1, 5, 6)).astype(np.float32)
    operator = Resize(mode="linear")
    exact = operator.evaluate(integers(x), None, integers(np.array([1, 1, 2, 2])))
    right = outputs(operator, [x, None, np.array([1, 1, 2, 2], np.float32)])[0].value
    np.testing.assert_array_equal(exact.to_float(), right)  # type: ignore[attr-defined]
    with pytest.raises(Unjudged, match="round"):
        operator.evaluate(integers(x), None, integers(np.array([1, 1, 3, 3])))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(("n", "m"), [(4, 0), (0, 0)])
def test_a_result_may_have_no_values(mode: str, n: int, m: int) -> None:
    nodes = [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode=mode, axes=[1])]
    graph = read_onnx(model(nodes, {"x": [2, n]}, ["y"], {"sizes": np.array([m])}, opset=19))
    values = {"x": np.ones((2, n), np.float32), "y": np.zeros((2, m), np.float32)}
    (one,) = judge(graph, values).tensors
    assert (one.verdict, one.values) == ("equal", 0)
    (one,) = judge(graph, values | {"y": np.zeros((2, 3), np.float32)}).tensors
    assert (one.verdict, one.note) == ("different", "shape [2, 3], expected [2, 0]")
    (one,) = judge(graph, values | {"y": np.zeros((2, 3), np.float32)}, sample=2).tensors
    assert (one.verdict, one.note) == ("unjudged", "Resize to a tensor without values")


def test_a_size_of_a_tensor_without_values_is_not_covered() -> None:
    with pytest.raises(Unjudged, match="Resize of a tensor without values"):
        outputs(Resize(), [np.ones((2, 0), np.float32), None, None, np.array([2, 3])])


def test_what_is_not_covered_is_said() -> None:
    with pytest.raises(Unjudged, match="integers"):
        outputs(Resize(mode="linear"), [np.arange(4), None, None, np.array([8])])
    with pytest.raises(Unjudged, match="antialias"):
        outputs(Resize(antialias=1), [np.ones(4, np.float32), None, None, np.array([2])])
    sizes = Bounded(np.array([8.0]), np.ones(1))
    with pytest.raises(Unjudged, match="not recorded"):
        Resize(mode="linear").evaluate(Bounded(np.ones(4, np.float32)), None, None, sizes)
