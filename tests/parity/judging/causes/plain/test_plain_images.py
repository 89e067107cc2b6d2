"""Images that are resized or sampled, and numbers that become integers: what each mistake does instead."""

from typing import Any

import numpy as np
import pytest

from parity.judging.causes.of_rounding.of_quantization import unquantized
from tests.parity.judging.causes.plain.layer import Array, Layer, drawn
from tests.parity.judging.causes.plain.several import Several
from tests.parity.judging.causes.small_graphs import N
from tests.parity.judging.causes.words import check_said

IMAGE = drawn(1, 2, 4, 6)
WIDE = IMAGE.astype(np.float64)


def resized(factor: float, **attributes: Any) -> Layer:
    scales = np.array([1, 1, factor, factor], np.float32)
    return Layer("Resize", IMAGE, None, scales, **attributes)


def of_node(layer: Layer) -> dict[str, dict[str, Any]]:
    """By the name of each mistake of the resizing, its attributes that are not the right ones."""
    right = vars(layer.operator)
    found = {}
    for name, one in layer.mistakes.items():
        if type(one.operator) is type(layer.operator):
            found[name] = {key: value for key, value in vars(one.operator).items() if value != right[key]}
    return found


COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def test_another_place_between_the_pixels_or_another_rounding():
    layer = resized(2, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    expected: dict[str, dict[str, Any]] = {}
    for coordinates in COORDINATES:
        for nearest in NEAREST:
            parts: list[str] = []
            changed: dict[str, Any] = {}
            if coordinates != "asymmetric":
                parts.append(f"coordinates {coordinates} for asymmetric")
                changed["coordinate_transformation_mode"] = coordinates
            if nearest != "floor":
                parts.append(f"rounding {nearest} for floor")
                changed["nearest_mode"] = nearest
            if parts:
                expected[", ".join(parts)] = changed
    expected |= {f"mode {mode} for nearest": {"mode": mode} for mode in ("linear", "cubic")}
    assert of_node(layer) == expected
    values = {name: one.value for name, one in layer.mistakes.items() if name in expected}
    assert values["rounding ceil for floor"] == "ceil"
    assert values["coordinates half_pixel for asymmetric"] is None
    twice = WIDE.repeat(2, 2).repeat(2, 3)
    layer.returns("", twice)
    layer.returns(
        "rounding ceil for floor", np.roll(twice, -1, (2, 3))[:, :, [*range(7), 6]][..., [*range(11), 10]]
    )


def test_a_filter_that_is_widened_where_the_image_shrinks():
    """Or where it is not; it makes no difference where nothing shrinks, or for the nearest pixel."""
    change = {"antialias": 1, "exclude_outside": 1}
    assert of_node(resized(0.5, mode="linear"))["antialias=1"] == change
    back = resized(0.5, mode="linear", antialias=1)
    assert of_node(back)["antialias=0"] == {"antialias": 0}
    assert not [name for name in resized(2, mode="linear").mistakes if "antialias" in name]
    assert not [name for name in resized(0.5, mode="nearest").mistakes if "antialias" in name]
    one = Layer("Resize", IMAGE, None, np.array([1, 1, 2, 0.5], np.float32), mode="linear")
    assert "antialias=1" in one.mistakes
    pairs = WIDE.reshape(1, 2, 2, 2, 3, 2)
    resized(0.5, mode="linear").returns("", pairs.mean((3, 5)))


def test_other_coefficients_of_a_cubic_filter():
    larger = of_node(resized(2, mode="cubic"))
    assert {"mode nearest for cubic", "mode linear for cubic", "exclude_outside=1"} <= larger.keys()
    assert {name: change for name, change in larger.items() if "cubic coefficient" in name} == {
        "cubic coefficient -0.5 for -0.75": {"cubic_coeff_a": -0.5},
        "cubic coefficient -0.5 for -0.75, exclude_outside=1": {"cubic_coeff_a": -0.5, "exclude_outside": 1},
    }
    smaller = of_node(resized(0.5, mode="cubic", cubic_coeff_a=-0.5))
    assert smaller["cubic coefficient -0.75 for -0.5, exclude_outside=1, antialias=1"] == {
        "cubic_coeff_a": -0.75,
        "exclude_outside": 1,
        "antialias": 1,
    }
    assert smaller["exclude_outside=1"] == {"exclude_outside": 1}
    assert smaller["exclude_outside=1, antialias=1"] == {"exclude_outside": 1, "antialias": 1}
    assert smaller["antialias=1"] == {"antialias": 1, "exclude_outside": 1}
    assert not [name for name in of_node(resized(0.5, mode="linear")) if "exclude_outside" in name]


# --- sampling by a grid --------------------------------------------------------------------------

GRID = np.random.default_rng(3).uniform(-1.2, 1.2, (1, 3, 5, 2)).astype(np.float32)


@pytest.mark.parametrize("corners", [0, 1])
def test_a_grid_that_is_read_otherwise(corners):
    layer = Layer("GridSample", IMAGE, GRID, mode="linear", padding_mode="border", align_corners=corners)
    assert of_node(layer) == {
        f"align_corners={1 - corners} for {corners}": {"align_corners": 1 - corners},
        "mode nearest for linear": {"mode": "nearest"},
        "mode cubic for linear": {"mode": "cubic"},
        "padding_mode zeros for border": {"padding_mode": "zeros"},
        "padding_mode reflection for border": {"padding_mode": "reflection"},
    }
    remedies = [one.remedy for name, one in layer.mistakes.items() if name.startswith("align_corners")]
    assert remedies == [f"Pass align_corners={bool(corners)}."]


def test_the_first_coordinate_of_a_grid_is_the_column():
    """At the centers of pixels, a value is that of the pixel."""
    rows, columns = np.array([3, 0, 2]), np.array([5, 4, 1])
    centers = np.stack([(2 * columns + 1) / 6 - 1, (2 * rows + 1) / 4 - 1], -1)[None, None]
    layer = Layer("GridSample", IMAGE, centers.astype(np.float32), mode="nearest")
    layer.returns("", WIDE[:, :, rows, columns][:, :, None])
    turned = Layer("GridSample", IMAGE, centers[..., ::-1].astype(np.float32), mode="nearest")
    turned.returns("axes of the grid in reverse order", WIDE[:, :, rows, columns][:, :, None])


# --- numbers that become integers ----------------------------------------------------------------

X = np.array([[0.3, -0.75, 1.25, 40.0], [-0.25, 0.9, -2.6, -40.0]], np.float32)
ZERO = np.array(5, np.int8)
SCALES = np.array([0.5, 0.25], np.float32)


def quantized(steps: Array, zero: Array | int = 5, low: int = -128, high: int = 127) -> Array:
    return np.clip(steps + zero, low, high)


def half_away(a: Array) -> Array:
    return np.sign(a) * np.floor(np.abs(a) + 0.5)


def test_another_rounding_to_integers():
    layer = Layer("QuantizeLinear", X, np.array(0.5, np.float32), ZERO)
    steps = X.astype(np.float64) / 0.5
    layer.returns("", quantized(np.rint(steps)))
    expected = {
        "cut off towards zero, not to the nearest": quantized(np.trunc(steps)),
        "rounded down, not to the nearest": quantized(np.floor(steps)),
        "rounded up, not to the nearest": quantized(np.ceil(steps)),
        "halves rounded away from zero, not to the nearest": quantized(half_away(steps)),
        "zero point left out": quantized(np.rint(steps), 0),
        "range -127 to 127 for that of int8": quantized(np.rint(steps), low=-127),
        "range -64 to 63 for that of int8": quantized(np.rint(steps), low=-64, high=63),
    }
    for name, values in expected.items():
        layer.returns(name, values)
    assert set(layer.mistakes) == set(expected)


def test_seven_bits_of_uint8():
    layer = Layer("QuantizeLinear", X, np.array(0.5, np.float32), np.array(128, np.uint8))
    steps = np.rint(X.astype(np.float64) / 0.5)
    layer.returns("range 0 to 127 for that of uint8", quantized(steps, 128, 0, 127))
    assert len([name for name in layer.mistakes if name.startswith("range")]) == 1
    plain = Layer("QuantizeLinear", X, np.array(0.5, np.float32))
    assert "zero point left out" not in plain.mistakes
    assert "range 0 to 127 for that of uint8" in plain.mistakes
    wide = Layer("QuantizeLinear", X, np.array(0.5, np.float32), np.array(7, np.int16), opset=21)
    assert not [name for name in wide.mistakes if name.startswith("range")]


def test_scales_of_channels():
    square = X[:, :2].copy()
    zeros = np.array([5, 0], np.int8)
    layer = Layer("QuantizeLinear", square, SCALES, zeros, axis=0)
    wide = square.astype(np.float64)
    layer.returns("", quantized(np.rint(wide / SCALES[:, None]), zeros[:, None]))
    layer.returns("the first scale for all channels", quantized(np.rint(wide / 0.5), zeros[:, None]))
    layer.returns("scales along axis 1 for 0", quantized(np.rint(wide / SCALES), zeros))
    assert "scales along axis 0 for 0" not in layer.mistakes
    behind = quantized(np.trunc(wide / SCALES[:, None]), zeros[:, None])
    layer.returns("cut off towards zero, not to the nearest", behind)
    other = Layer("QuantizeLinear", X, SCALES, zeros, axis=-2)
    assert not [name for name in other.mistakes if name.startswith("scales along")]  # of another size
    one = Layer("QuantizeLinear", X, SCALES[:1], ZERO)
    assert "the first scale for all channels" not in one.mistakes


def test_a_zero_point_that_is_subtracted_behind_the_scale():
    q = np.array([[1, -7, 100], [0, 5, 127]], np.int8)
    layer = Layer("DequantizeLinear", q, SCALES, np.array([5, -3], np.int8), axis=0)
    wide, scales, zeros = q.astype(np.float64), SCALES[:, None], np.array([[5], [-3]])
    layer.returns("", (wide - zeros) * scales)
    layer.returns("zero point subtracted behind the scale", wide * scales - zeros)
    layer.returns("zero point left out", wide * scales)
    for zero in ([], [np.zeros(2, np.int8)]):
        plain = Layer("DequantizeLinear", q, SCALES, *zero, axis=0)
        assert not [name for name in plain.mistakes if name.startswith("zero point")]


def test_values_that_stay_floats():
    """At all places, and at each by itself."""
    step = np.array(0.5, np.float32)
    nodes = [
        *(N("QuantizeLinear", ["x", "s"], ["q"]), N("DequantizeLinear", ["q", "s"], ["a"])),
        N("Neg", ["a"], ["n"]),
        *(N("QuantizeLinear", ["n", "s", "z"], ["r"]), N("DequantizeLinear", ["r", "s", "z"], ["y"])),
    ]
    one = Several(nodes, {"s": step, "z": np.array(100, np.uint8)}, x=X)

    def rounded(x: Array, zero: int) -> Array:
        return (np.clip(np.rint(x.astype(np.float64) / 0.5) + zero, 0, 255) - zero) * 0.5

    found = list(unquantized(one.stretch.nodes))
    expected = [-X.astype(np.float64), rounded(-X, 100), -rounded(X, 0)]
    assert [tuple(changes) for changes in found] == [(0, 1, 3, 4), (0, 1), (3, 4)]
    for changes, values in zip(found, expected, strict=True):
        check_said(*changes.values())
        one.returns(changes, values)
    single = Several([*nodes[:2], N("Neg", ["a"], ["y"])], {"s": step}, x=X)
    assert len(list(unquantized(single.stretch.nodes))) == 1
    assert not list(unquantized(single.stretch.nodes[1:]))
