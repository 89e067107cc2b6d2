"""Uses of Resize, Upsample, GridSample and AffineGrid."""

from typing import Any

import numpy as np

from parity.operators import Operator
from parity.operators.grid_sample import AffineGrid, GridSample
from parity.operators.resize import Resize, Upsample
from tests.parity.examples.example import Example

Shape = tuple[int, ...]
TRANSFORMS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
ROI = np.array([0, 0, 0.1, -0.2, 1, 1, 0.8, 1.2], np.float32)
X = (1, 2, 9, 13)


def _example(
    operator: Operator, shape: Shape, rest: list[np.ndarray | None], opset: int = 19, **node: Any
) -> Example:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [rng.standard_normal(shape).astype(np.float32), *rest]

    return Example(operator, node, make, opset, data=(0,))


def _scaled(
    *scales: float, shape: Shape = X, opset: int = 19, roi: bool = False, **attributes: Any
) -> Example:
    ones = [1.0] * (len(shape) - len(scales))
    rest = [ROI if roi else None, np.array([*ones, *scales], np.float32)]
    return _example(Resize(**attributes), shape, rest, opset, **attributes)


def _sized(*sizes: int, shape: Shape = X, **attributes: Any) -> Example:
    return _example(Resize(**attributes), shape, [None, None, np.array(sizes)], 19, **attributes)


def _old(opset: int, mode: str, *scales: float) -> Example:
    full = np.array([1, 1, *scales], np.float32)
    if opset == 7:
        attributes: dict[str, Any] = {"mode": mode, "scales": tuple(float(scale) for scale in full)}
        return _example(Upsample(**attributes), X, [], 7, **attributes)
    operator: Operator = Upsample(mode=mode) if opset == 9 else Resize.old(mode)
    return _example(operator, X, [full], opset, mode=mode)


def _grid(shape: Shape, out: Shape, **attributes: Any) -> Example:
    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        grid = rng.uniform(-1.6, 1.6, (shape[0], *out, len(out)))
        return [rng.standard_normal(shape).astype(np.float32), grid.astype(np.float32)]

    return Example(GridSample(**attributes), attributes, make, 22, data=(0,))


def _affine(size: Shape, **attributes: Any) -> Example:
    d = len(size) - 2

    def make(rng: np.random.Generator) -> list[np.ndarray | None]:
        return [rng.standard_normal((size[0], d, d + 1)).astype(np.float32), np.array(size)]

    return Example(AffineGrid(**attributes), attributes, make, 20)


EXAMPLES = [
    *(
        _scaled(
            *scales, mode=mode, roi=True, coordinate_transformation_mode=transform, extrapolation_value=7.0
        )
        for mode in ("nearest", "linear", "cubic")
        for transform in TRANSFORMS
        for scales in ((2.0, 2.0), (1.7, 0.6))
    ),
    *(
        _sized(1, 2, 20, 7, mode=mode, coordinate_transformation_mode=transform)
        for mode in ("nearest", "linear", "cubic")
        for transform in TRANSFORMS[:5]
    ),
    *(
        _scaled(1.7, 0.6, nearest_mode=mode, coordinate_transformation_mode="half_pixel")
        for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    _scaled(1.6, 0.45, mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1),
    _scaled(0.6, 0.45, mode="linear", antialias=1),
    _scaled(0.6, 1.45, mode="cubic", antialias=1),
    _scaled(0.6, 0.45, mode="linear", antialias=1, exclude_outside=1),
    _scaled(0.6, 0.45, mode="cubic", antialias=1, exclude_outside=1),
    _sized(7, 20, mode="linear", axes=(2, 3), keep_aspect_ratio_policy="not_larger"),
    _sized(7, 20, mode="linear", axes=(2, 3), keep_aspect_ratio_policy="not_smaller"),
    _sized(20, 7, mode="linear", axes=(-2, -1)),
    _scaled(1.6, 0.45, 2.1, shape=(1, 2, 4, 5, 6), mode="linear"),
    _scaled(2.5, shape=(2, 3, 11), mode="linear"),
    _scaled(2.0, 2.0, opset=11, mode="linear", coordinate_transformation_mode="align_corners", roi=True),
    _scaled(2.0, 1.5, opset=11, coordinate_transformation_mode="tf_half_pixel_for_nn", roi=True),
    _old(10, "nearest", 0.6, 0.4),
    _old(10, "linear", 1.7, 0.6),
    _old(9, "nearest", 2, 3),
    _old(9, "linear", 2, 1.5),
    _old(7, "nearest", 2, 3),
    *(
        _grid((2, 3, 5, 6), (4, 7), mode=mode, padding_mode=padding, align_corners=align)
        for mode in ("nearest", "linear", "cubic")
        for padding in ("zeros", "border", "reflection")
        for align in (0, 1)
    ),
    _grid((2, 2, 3, 4, 5), (3, 2, 4), mode="linear"),
    _grid((2, 2, 3, 4, 5), (3, 2, 4), mode="nearest", padding_mode="border"),
    *(_affine(size, align_corners=align) for size in ((2, 3, 5, 6), (2, 3, 4, 5, 6)) for align in (0, 1)),
]
