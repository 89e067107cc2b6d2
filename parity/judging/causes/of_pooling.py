"""Mistakes of pooling, of resizing, and of moving values."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product
from math import prod
from typing import Any

import numpy as np

from parity.arithmetic import Array, Bounded, Number
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, first, made_in, with_input
from parity.operators.interpolation import choose
from parity.operators.pooling import AveragePool, MaxPool
from parity.operators.resize import Resize
from parity.operators.select import Pad
from parity.operators.shape import DepthToSpace, Flatten, Reshape, Transpose

# --- pooling -----------------------------------------------------------------------------------


@made_in("AveragePool")
def averages(pool: AveragePool, seen: Seen) -> Iterator[Mistake]:
    other = 1 - pool.count_include_pad
    counted = "counts" if other else "does not count"
    yield Mistake(
        f"divisor {'with' if other else 'without'} the padding: count_include_pad={other}",
        f"The divisor {counted} the zeros of the padding: PyTorch's and Caffe's default counts them, "
        "TensorFlow's and ONNX's does not.",
        f"Pass count_include_pad={bool(pool.count_include_pad)}.",
        replace(pool, count_include_pad=other),
        "onnx/onnx-tensorrt#663",
    )
    yield Mistake(
        "max pooling for average pooling",
        "The largest value of each window is taken.",
        "Use average pooling.",
        _as(MaxPool, pool),
    )


@made_in("MaxPool")
def maxima(pool: MaxPool, seen: Seen) -> Iterator[Mistake]:
    yield Mistake(
        "average pooling for max pooling",
        "The average of each window is taken.",
        "Use max pooling.",
        _as(AveragePool, pool),
    )
    yield Mistake(
        "zeros for minus infinity in the padding",
        "The input was padded with zeros before the maximum: negative values at the border become 0.",
        "Pad with minus infinity, or let the pooling pad.",
        Changed(pool, after=lambda y, inputs: _with_zeros(pool, y, inputs)),
    )


def _with_zeros(pool: MaxPool, y: Number, inputs: Inputs) -> Number:
    """The largest value and zero, where the window sticks out: there the average of ones is less than 1."""
    ones = Bounded(np.ones((1, 1, *first(inputs).shape[2:])))
    inside = AveragePool(**_shared(pool), count_include_pad=1).evaluate(ones)
    assert isinstance(inside, Bounded)
    cut = np.broadcast_to(inside.value < 1, y.shape)
    return choose(cut.astype(np.int64), y, y.maximum(0.0))


def _shared(pool: Any) -> dict[str, Any]:
    names = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
    return {name: getattr(pool, name) for name in names if hasattr(pool, name)}


def _as(kind: Any, pool: Any) -> Any:
    return kind(**_shared(pool))


@made_in("AveragePool", "MaxPool", "LpPool")
def windows(pool: Any, seen: Seen) -> Iterator[Mistake]:
    x = seen.inputs[0]
    assert x is not None
    sliding = pool.window(x)
    before, after = sliding.before, sliding.after
    sides = {(after, before)}
    total = tuple(a + b for a, b in zip(before, after, strict=True))
    nothing = (0,) * len(total)
    sides |= {(nothing, total), (total, nothing)}
    for start, end in sorted(sides - {(before, after)}):
        yield Mistake(
            f"padding on the other side: pads {(*start, *end)} for {(*before, *after)}",
            "The padding is shared out differently between the two sides, as by TensorFlow's SAME.",
            "Pad explicitly.",
            replace(pool, pads=(*start, *end), auto_pad="NOTSET"),
        )
    yield Mistake(
        f"ceil_mode={1 - pool.ceil_mode}",
        "The last windows, which stick out, are counted differently: Caffe rounds the output size up, "
        "others down.",
        f"Pass ceil_mode={bool(pool.ceil_mode)}.",
        replace(pool, ceil_mode=1 - pool.ceil_mode),
    )
    if any(d != 1 for d in pool.dilations):
        yield Mistake(
            "dilations ignored",
            "The windows have no gaps.",
            "Pass the dilation on.",
            replace(pool, dilations=()),
        )


# --- resizing ----------------------------------------------------------------------------------

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
            )
    for mode in ("nearest", "linear", "cubic"):
        if mode != resize.mode:
            yield Mistake(
                f"mode {mode} for {resize.mode}",
                "Another interpolation is used.",
                f"Use {resize.mode}.",
                replace(resize, mode=mode),
            )
    if resize.mode != "nearest":
        yield Mistake(
            f"antialias={1 - resize.antialias}",
            "Where the image shrinks, the filter is widened (PIL always does so), or it is not.",
            f"Pass antialias={bool(resize.antialias)}.",
            replace(resize, antialias=1 - resize.antialias, exclude_outside=1 - resize.antialias),
        )
    if resize.mode == "cubic":
        for a, outside in product((-0.5, -0.75), (0, 1)):
            if (a, outside) != (resize.cubic_coeff_a, resize.exclude_outside):
                yield Mistake(
                    f"cubic coefficient {a} for {resize.cubic_coeff_a}, exclude_outside={outside}",
                    "PyTorch and OpenCV use -0.75; TensorFlow, JAX and PIL use -0.5, and leave out pixels "
                    "beyond the border.",
                    f"Use {resize.cubic_coeff_a}.",
                    replace(resize, cubic_coeff_a=a, exclude_outside=outside),
                )


@made_in("Pad")
def borders(pad: Pad, seen: Seen) -> Iterator[Mistake]:
    for mode in ("constant", "reflect", "edge", "wrap"):
        if mode != pad.mode:
            yield Mistake(
                f"pad mode {mode} for {pad.mode}",
                "The border is filled differently.",
                f"Pad in mode {pad.mode}.",
                replace(pad, mode=mode),
            )


# --- moving values -----------------------------------------------------------------------------


@made_in("DepthToSpace", "SpaceToDepth")
def depth(operator: DepthToSpace, seen: Seen) -> Iterator[Mistake]:
    other = "CRD" if operator.mode == "DCR" else "DCR"
    yield Mistake(
        f"order of the channels {other} for {operator.mode} (depth_to_space for pixel_shuffle)",
        "PixelShuffle takes channels in the order CRD, TensorFlow's depth_to_space in the order DCR.",
        "Permute the channels before: reshape to (C, b, b) and transpose.",
        replace(operator, mode=other),
        "PINTO0309/onnx2tf#91",
    )


def _channels_last(a: Array) -> Array:
    return np.moveaxis(a, 1, -1).reshape(a.shape)


@made_in("Flatten", "Reshape")
def flattened(operator: Flatten | Reshape, seen: Seen) -> Iterator[Mistake]:
    x = seen.inputs[0]
    assert x is not None
    if x.ndim > 2 and x.shape[1] > 1 and prod(x.shape[2:]) > 1:
        yield Mistake(
            "flattened in H, W, C order",
            "The values are in the order of a channels-last tensor, the weights behind are in that of a "
            "channels-first one.",
            "Transpose to NCHW before flattening, or permute the rows of the dense layer's weights.",
            with_input(operator, 0, lambda one: one.move(_channels_last)),
            "gzuidhof/nn-transfer#16",
        )
    yield Mistake(
        "flattened in column-major (Fortran) order",
        "The values are read from the first axis on, as in MATLAB.",
        "Reshape in C order.",
        with_input(
            operator, 0, lambda one: one.move(lambda a: a.reshape(a.shape[0], -1, order="F").reshape(a.shape))
        ),
    )


@made_in("Transpose")
def axes(operator: Transpose, seen: Seen) -> Iterator[Mistake]:
    x = seen.inputs[0]
    assert x is not None
    right = tuple(operator.perm or ()) or tuple(range(x.ndim))[::-1]
    shape = tuple(x.shape[k] for k in right)
    if x.ndim > 5:
        return
    for order in permutations(range(x.ndim)):
        if order == right:
            continue
        same = tuple(x.shape[k] for k in order) == shape
        yield Mistake(
            f"axes permuted by {order} for {right}" if same else f"reshaped, not permuted by {right}",
            "The axes are in another order." if same else "The values stay in order: reshape for transpose.",
            f"Transpose by {right}.",
            replace(operator, perm=order)
            if same
            else Changed(operator, after=lambda y, inputs: first(inputs).reshape(*y.shape)),
        )
        if not same:
            return
