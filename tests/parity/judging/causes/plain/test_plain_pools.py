"""Mistakes of pooling, each as plain NumPy makes it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.parity.judging.causes.plain.layer import Array, Layer, drawn

X = drawn(2, 3, 7, 7) - np.float32(1)  # most windows of two values hold none above zero
Reduce = Callable[[Array, int], Array]


def windows(
    x: Array,
    size: int | tuple[int, int],
    stride: int = 2,
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    fill: float = 0.0,
) -> Array:
    """(..., height, width, values of a window); pads are top, left, bottom, right."""
    top, left, bottom, right = pads
    wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    shape = (size, size) if isinstance(size, int) else size
    seen = np.lib.stride_tricks.sliding_window_view(wide, shape, (2, 3))[:, :, ::stride, ::stride]
    return seen.reshape(*seen.shape[:4], -1)


def largest(x: Array, size: int | tuple[int, int], stride: int = 2, pads=(0, 0, 0, 0), fill=-np.inf) -> Array:
    return windows(x, size, stride, pads, fill).max(-1)


# --- the maximum of windows without padding ----------------------------------------------------

PLAIN: dict[str, Array] = {
    "": largest(X, 2),
    "average pooling for max pooling": windows(X, 2).mean(-1),
    "maximum that begins at zero, not at minus infinity": np.maximum(largest(X, 2), 0),
    "zeros for minus infinity in the padding": largest(X, 2),  # there is none
    "ceil_mode=1": largest(X, 2, pads=(0, 0, 1, 1)),
    "padding on the other side: pads (0, 0, 1, 1) for (0, 0, 0, 0)": largest(X, 2, pads=(0, 0, 1, 1)),
    "padding on the other side: pads (1, 1, 0, 0) for (0, 0, 0, 0)": largest(X, 2, pads=(1, 1, 0, 0)),
    "windows that begin 1 later, at the same size": largest(X[:, :, 1:, 1:], 2),
    "strides (1, 1) for (2, 2)": largest(X, 2, 1),
    "strides (3, 3) for (2, 2)": largest(X, 2, 3),
    "window (3, 3) for (2, 2)": largest(X, 3),
    "window (4, 4) for (2, 2)": largest(X, 4),
    "sum pooling for max pooling": windows(X, 2).sum(-1),
    "min pooling for max pooling": windows(X, 2).min(-1),
    "subsampled, not pooled": X[:, :, ::2, ::2],
    "subsampled at the lower right": X[:, :, 1::2, 1::2],
    "pooling over height alone": largest(X, (2, 1)),
    "pooling over width alone": largest(X, (1, 2)),
    "pooling missing": X,
    "pooling with stride 1, cut to size": largest(X, 2, 1)[:, :, :3, :3],
    "3×3 pooling with padding 1": largest(X, 3, pads=(1, 1, 1, 1)),
    "3×3 pooling, padded at the lower right": largest(X, 3, pads=(0, 0, 1, 1)),
    "pooling with padding 1": largest(X, 2, pads=(1, 1, 1, 1)),
    "pooling windows off by one": largest(X[:, :, 1:, 1:], 2),
    "pooling off by one at the same size": largest(X[:, :, 1:, 1:], 2, pads=(0, 0, 1, 1), fill=0)[
        :, :, :3, :3
    ],
    "pooling off by one to the upper left": largest(X[:, :, :-1, :-1], 2, pads=(1, 1, 0, 0), fill=0),
}


def test_another_maximum():
    one = Layer("MaxPool", X, kernel_shape=[2, 2], strides=[2, 2])
    assert set(PLAIN) - {""} == set(one.mistakes)
    for name, expected in PLAIN.items():
        one.returns(name, expected)


def test_windows_that_meet_write_no_stride_out():
    """Only squares without padding are written out by hand, and with stride 1 nothing is cut off."""
    close = Layer("MaxPool", X, kernel_shape=[2, 2])
    close.returns("pooling missing", X)
    close.returns("sum pooling for max pooling", windows(X, 2, 1).sum(-1))
    close.returns("subsampled at the lower right", X[:, :, 1:, 1:])
    assert "pooling with stride 1, cut to size" not in close.mistakes
    assert not [name for name in close.mistakes if "begin" in name and "later" in name]
    others: tuple[dict[str, Any], ...] = (
        {"kernel_shape": [2, 3]},
        {"kernel_shape": [2, 2], "strides": [1, 2]},
        {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]},
        {"kernel_shape": [2, 2], "dilations": [2, 2]},
        {"kernel_shape": [2, 2], "ceil_mode": 1},
    )
    for other in others:
        assert "pooling missing" not in Layer("MaxPool", X, **other).mistakes
    assert "pooling missing" not in Layer("MaxPool", X[..., 0], kernel_shape=[2]).mistakes


# --- the maximum of padded windows -------------------------------------------------------------

PADS = 1, 0, 1, 1
ATTRIBUTES: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [*PADS]}


def test_a_maximum_with_other_padding():
    one = Layer("MaxPool", X, **ATTRIBUTES)
    inside = np.ones((1, 1, 7, 7))
    for name, expected in {
        "": largest(X, 3, pads=PADS),
        "average pooling for max pooling": windows(X, 3, pads=PADS).sum(-1)
        / windows(inside, 3, pads=PADS).sum(-1),
        "zeros for minus infinity in the padding": largest(X, 3, pads=PADS, fill=0),
        "maximum that begins at zero, not at minus infinity": np.maximum(largest(X, 3, pads=PADS), 0),
        "padding on the other side: pads (0, 0, 2, 1) for (1, 0, 1, 1)": largest(X, 3, pads=(0, 0, 2, 1)),
        "padding on the other side: pads (1, 1, 1, 0) for (1, 0, 1, 1)": largest(X, 3, pads=(1, 1, 1, 0)),
        "padding on the other side: pads (1, 1, 1, 1) for (1, 0, 1, 1)": largest(X, 3, pads=(1, 1, 1, 1)),
        "padding on the other side: pads (2, 1, 0, 0) for (1, 0, 1, 1)": largest(X, 3, pads=(2, 1, 0, 0)),
        "windows that begin 1 later, at the same size": largest(X[:, :, 1:, 1:], 3, pads=(1, 0, 2, 2)),
        "no padding (VALID)": largest(X, 3),
        "strides (1, 1) for (2, 2)": largest(X, 3, 1, PADS),
        "strides (3, 3) for (2, 2)": largest(X, 3, 3, PADS),
        "window (2, 2) for (3, 3)": largest(X, 2, pads=PADS),
        "window (4, 4) for (3, 3)": largest(X, 4, pads=PADS),
    }.items():
        one.returns(name, expected)
    positive = Layer("MaxPool", np.abs(X), **ATTRIBUTES)
    assert "maximum that begins at zero, not at minus infinity" not in positive.mistakes


def test_gaps_that_are_left_out():
    one = Layer("MaxPool", X, kernel_shape=[3, 3], dilations=[2, 2], pads=[2] * 4)
    one.returns("dilations ignored", largest(X, 3, 1, (2, 2, 2, 2)))
    one.returns("dilations ignored, with the padding that keeps the size", largest(X, 3, 1, (1, 1, 1, 1)))
    even = Layer("MaxPool", X, kernel_shape=[4, 4], dilations=[2, 2], pads=[3] * 4)
    name = "dilations ignored, with the padding that keeps the size"
    even.returns(name, largest(X, 4, 1, (1, 1, 2, 2)))


# --- averages and norms ------------------------------------------------------------------------


def test_another_average():
    one = Layer("AveragePool", X, **ATTRIBUTES)
    total = windows(X, 3, pads=PADS).sum(-1)
    inside = windows(np.ones((1, 1, 7, 7)), 3, pads=PADS).sum(-1)
    one.returns("", total / inside)
    one.returns("divisor with the padding: count_include_pad=1", total / 9)
    one.returns("max pooling for average pooling", largest(X, 3, pads=PADS))
    one.returns("sum for average", total)
    one.returns("no padding (VALID)", windows(X, 3).mean(-1))
    assert "windows that stick out divided by their whole size" not in one.mistakes
    counted = Layer("AveragePool", X, **ATTRIBUTES, count_include_pad=1)
    counted.returns("", total / 9)
    counted.returns("divisor without the padding: count_include_pad=0", total / inside)


def test_average_windows_that_stick_out():
    x = drawn(2, 3, 8, 8)
    one = Layer("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    total = windows(x, 3, pads=(0, 0, 1, 1)).sum(-1)
    inside = windows(np.ones((1, 1, 8, 8)), 3, pads=(0, 0, 1, 1)).sum(-1)
    one.returns("", total / inside)
    one.returns("windows that stick out divided by their whole size", total / 9)
    one.returns("ceil_mode=0", windows(x, 3).mean(-1))
    padded = Layer("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 2, 1], ceil_mode=1)
    name = "windows that stick out divided by their whole size"
    padded.returns(name, windows(x, 3, pads=(0, 0, 2, 1)).sum(-1) / 9)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_another_norm(p):
    one, x = Layer("LpPool", X, kernel_shape=[2, 2], strides=[2, 2], p=p), np.abs(windows(X, 2))
    one.returns("", (x**p).sum(-1) ** (1 / p))
    for other in {1, 2, 3} - {p}:
        one.returns(f"p={other} for p={p}", (x**other).sum(-1) ** (1 / other))
    one.returns("maximum for norm", largest(X, 2))
    one.returns("average for norm", windows(X, 2).mean(-1))
    if p == 1:
        assert "root missing" not in one.mistakes
    else:
        one.returns("root missing", (x**p).sum(-1))


MAPS: dict[str, Reduce] = {
    "average": lambda x, _: x.mean((2, 3), keepdims=True),
    "maximum": lambda x, _: x.max((2, 3), keepdims=True),
    "norm": lambda x, p: (np.abs(x) ** p).sum((2, 3), keepdims=True) ** (1 / p),
}
KINDS = {"GlobalAveragePool": "average", "GlobalMaxPool": "maximum", "GlobalLpPool": "norm"}


@pytest.mark.parametrize("kind", KINDS)
def test_another_value_of_a_whole_map(kind):
    x, right = X.astype(np.float64), KINDS[kind]
    one = Layer(kind, X)
    one.returns("", MAPS[right](x, 2))
    others = {f"{other} for {right}": MAPS[other](x, 2) for other in MAPS if other != right}
    others |= {"sum for average": x.sum((2, 3), keepdims=True)} if right == "average" else {}
    others |= {f"p={p} for p=2": MAPS["norm"](x, p) for p in (1, 3)} if right == "norm" else {}
    assert set(others) == set(one.mistakes)
    for name, expected in others.items():
        one.returns(name, expected)


def test_windows_that_stick_out_are_those_of_another_pooling_too():
    """Rounded up, the last windows hold one row or column: the average is of what they hold."""
    x = drawn(1, 2, 5, 5, seed=3)
    windows = [
        [x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].astype(np.float64) for j in range(3)] for i in range(3)
    ]
    mean, most = (
        np.stack([np.stack([f(one, axis=(2, 3)) for one in row], -1) for row in windows], -2)
        for f in (np.mean, np.max)
    )
    size: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    Layer("MaxPool", x, **size).returns("average pooling for max pooling", mean)
    Layer("AveragePool", x, **size).returns("max pooling for average pooling", most)
