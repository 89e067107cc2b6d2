"""Mistakes of resizing and of sampling by a grid: coordinates, rounding, interpolation."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from parity.arithmetic import Array
from parity.judging.causes.mistake import Mistake, Seen, first, made_in, with_input
from parity.operators.grid_sample import GridSample
from parity.operators.resize import Resize

COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@made_in("Resize")
def resizing(resize: Resize, seen: Seen) -> Iterator[Mistake]:
    modes = NEAREST if resize.mode == "nearest" else (resize.nearest_mode,)
    for coordinates in COORDINATES:
        for nearest in modes:
            other = replace(resize, coordinate_transformation_mode=coordinates, nearest_mode=nearest)
            if other == resize:
                continue
            parts = [
                f"coordinates {coordinates} for {resize.coordinate_transformation_mode}"
                if coordinates != resize.coordinate_transformation_mode
                else "",
                f"rounding {nearest} for {resize.nearest_mode}" if nearest != resize.nearest_mode else "",
            ]
            yield Mistake(
                ", ".join(part for part in parts if part),
                "The places between the pixels are computed differently: frameworks differ in "
                "align_corners, in half pixels, and in how the nearest pixel is rounded.",
                "Set the mode of the reference (align_corners, half_pixel_centers).",
                other,
                "NVIDIA/TensorRT#273",
                value=nearest if nearest != resize.nearest_mode else None,
            )
    for mode in ("nearest", "linear", "cubic"):
        if mode != resize.mode:
            yield Mistake(
                f"mode {mode} for {resize.mode}",
                "Another interpolation is used.",
                f"Use {resize.mode}.",
                replace(resize, mode=mode),
            )
    x = first(seen.inputs)
    shrinks = any(n > m for n, m in zip(x.shape, resize.evaluate(x, *seen.inputs[1:]).shape, strict=True))
    if resize.mode != "nearest" and shrinks:  # else it makes no difference
        yield Mistake(
            f"antialias={1 - resize.antialias}",
            "Where the image shrinks, the filter is widened (PIL always does so), or it is not.",
            f"Pass antialias={bool(resize.antialias)}.",
            replace(resize, antialias=1 - resize.antialias, exclude_outside=1 - resize.antialias),
        )
    if resize.mode == "cubic":
        yield from _cubics(resize, shrinks)


def _cubics(resize: Resize, shrinks: bool) -> Iterator[Mistake]:
    for a, outside, anti in product((-0.5, -0.75), (0, 1), (0, 1) if shrinks else (resize.antialias,)):
        parts = [
            f"cubic coefficient {a} for {resize.cubic_coeff_a}" if a != resize.cubic_coeff_a else "",
            f"exclude_outside={outside}" if outside != resize.exclude_outside else "",
            f"antialias={anti}" if anti != resize.antialias else "",
        ]
        if any(parts[:2]):
            yield Mistake(
                ", ".join(part for part in parts if part),
                "PyTorch and OpenCV use -0.75; TensorFlow, JAX and PIL use -0.5, and leave out pixels "
                "beyond the border.",
                f"Use {resize.cubic_coeff_a} and exclude_outside={resize.exclude_outside}.",
                replace(resize, cubic_coeff_a=a, exclude_outside=outside, antialias=anti),
            )


@made_in("GridSample")
def grids(sampling: GridSample, seen: Seen) -> Iterator[Mistake]:
    other = 1 - sampling.align_corners
    yield Mistake(
        f"align_corners={other} for {sampling.align_corners}",
        "-1 and 1 are the centers of the outermost pixels, or their outer edges.",
        f"Pass align_corners={bool(sampling.align_corners)}.",
        replace(sampling, align_corners=other),
    )
    options = {"mode": ("linear", "nearest", "cubic"), "padding_mode": ("zeros", "border", "reflection")}
    for name, values in options.items():
        for value in values:
            if value != getattr(sampling, name):
                yield Mistake(
                    f"{name} {value} for {getattr(sampling, name)}",
                    "Between pixels, or outside of the image, other values are taken.",
                    f"Pass {name}={getattr(sampling, name)!r}.",
                    replace(sampling, **{name: value}),  # type: ignore[arg-type]
                )
    yield Mistake(
        "axes of the grid in reverse order",
        "The grid's first coordinate is taken for the row, not for the column.",
        "The last axis of the grid is (x, y).",
        with_input(sampling, 1, lambda one: one.move(_reversed)),
    )


def _reversed(a: Array) -> Array:
    return a[..., ::-1]
