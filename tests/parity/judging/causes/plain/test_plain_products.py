"""Mistakes of convolutions and dense layers, each as plain NumPy makes it."""

import re
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest

from tests.parity.judging.causes.plain.layer import Array, Layer, drawn

X, W, B = drawn(2, 4, 7, 7), drawn(6, 4, 3, 3, seed=1), drawn(6, seed=2)
Pads = tuple[int, int, int, int]  # top, left, bottom, right


def padded(x: Array, pads: Pads, mode: str = "constant") -> Array:
    top, left, bottom, right = pads
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode=mode)  # type: ignore[call-overload]


def conv(
    x: Array = X,
    w: Array = W,
    b: Array | float = B,
    stride: int | tuple[int, int] = 1,
    pads: Pads = (0, 0, 0, 0),
    dilation: int = 1,
) -> Array:
    wide = padded(x.astype(np.float64), pads)
    down, across = (stride, stride) if isinstance(stride, int) else stride
    reach = [(n - 1) * dilation + 1 for n in w.shape[2:]]
    seen = np.lib.stride_tricks.sliding_window_view(wide, reach, (2, 3))
    seen = seen[:, :, ::down, ::across, ::dilation, ::dilation]
    return np.einsum("ncpqij,ocij->nopq", seen, w, optimize=True) + np.reshape(b, (-1, 1, 1))


def zeroed(a: Array, *kept: slice | int | Sequence[int]) -> Array:
    """Zeros everywhere but there."""
    part = np.zeros_like(a)
    part[kept] = a[kept]
    return part


def interleaved(a: Array, rows: int, axis: int = 0) -> Array:
    """Channel k of group g where channel g of group k should be."""
    first = np.moveaxis(a, axis, 0)
    turned = first.reshape(rows, -1, *first.shape[1:]).swapaxes(0, 1).reshape(first.shape)
    return np.moveaxis(turned, 0, axis)


# Two groups, made of the first half of each kernel.
GROUPED = np.concatenate([conv(X[:, :2], W[:3, :2], B[:3]), conv(X[:, 2:], W[3:, :2], B[3:])], 1)
EVERY = slice(None)
ALL_BUT_LAST, ALL_BUT_FIRST = slice(-1), slice(1, None)
PLAIN: dict[str, Array] = {
    "": conv(),
    # the bias
    "bias missing": conv(b=0),
    "bias doubled": conv(b=2 * B),
    "bias subtracted": conv(b=-B),
    "bias in reverse order": conv(b=B[::-1]),
    "bias interleaved: 2 × 3 exchanged with 3 × 2": conv(b=B[[0, 3, 1, 4, 2, 5]]),
    "bias interleaved: 3 × 2 exchanged with 2 × 3": conv(b=B[[0, 2, 4, 1, 3, 5]]),
    "first bias for every output": conv(b=B[0]),
    "bias shifted by one output": conv(b=B[[5, 0, 1, 2, 3, 4]]),
    # channels
    "input channels in reverse order (BGR for RGB)": conv(X[:, ::-1]),
    "input channels interleaved: 2 × 2 exchanged with 2 × 2": conv(X[:, [0, 2, 1, 3]]),
    "output channels in reverse order": conv()[:, ::-1],
    "filters in reverse order": conv(w=W[::-1]),
    "filters interleaved: 2 × 3 exchanged with 3 × 2": conv(w=W[[0, 3, 1, 4, 2, 5]]),
    "filters interleaved: 3 × 2 exchanged with 2 × 3": conv(w=W[[0, 2, 4, 1, 3, 5]]),
    "only the first input channel": conv(X[:, :1], W[:, :1]),
    "only the last input channel": conv(X[:, -1:], W[:, -1:]),
    "first kernel on every input channel": conv(X.sum(1, keepdims=True, dtype=np.float64), W[:, :1]),
    "mean over input channels": conv(w=W.astype(np.float64) / 4),
    "grouped in two": GROUPED,
    # the input
    "input divided by 255": conv(X.astype(np.float64) / 255),
    "input multiplied by 255": conv(X.astype(np.float64) * 255),
    "input moved from [0, 1] to [-1, 1]": conv(X.astype(np.float64) * 2 - 1),
    "input moved from [-1, 1] to [0, 1]": conv((X.astype(np.float64) + 1) / 2),
    "input moved from [0, 255] to [-1, 1]": conv(X.astype(np.float64) / 127.5 - 1),
    # the kernel
    "kernel flipped": conv(w=W[:, :, ::-1, ::-1]),
    "kernel flipped along axis 2": conv(w=W[:, :, ::-1]),
    "kernel flipped along axis 3": conv(w=W[..., ::-1]),
    "kernel height and width swapped": conv(w=W.swapaxes(2, 3)),
    "kernel turned by 90 degrees": conv(w=W.swapaxes(2, 3)[:, :, ::-1]),
    "kernel turned by 270 degrees": conv(w=W.swapaxes(2, 3)[..., ::-1]),
    "weights missing their sign": conv(w=np.abs(W)),
    "weights negated": conv(w=-W),
    "last row of the kernel left out": conv(w=zeroed(W, EVERY, EVERY, ALL_BUT_LAST)),
    "last column of the kernel left out": conv(w=zeroed(W, EVERY, EVERY, EVERY, ALL_BUT_LAST)),
    "last row and column of the kernel left out": conv(w=zeroed(W, EVERY, EVERY, ALL_BUT_LAST, ALL_BUT_LAST)),
    "first row of the kernel left out": conv(w=zeroed(W, EVERY, EVERY, ALL_BUT_FIRST)),
    "first column of the kernel left out": conv(w=zeroed(W, EVERY, EVERY, EVERY, ALL_BUT_FIRST)),
    "first row and column of the kernel left out": conv(
        w=zeroed(W, EVERY, EVERY, ALL_BUT_FIRST, ALL_BUT_FIRST)
    ),
    # where it is applied
    "padding on the other side: pads (1, 1, 1, 1) for (0, 0, 0, 0)": conv(pads=(1, 1, 1, 1)),
    "padding on the other side: pads (0, 1, 0, 1) for (0, 0, 0, 0)": conv(pads=(0, 1, 0, 1)),
    "padding on the other side: pads (1, 0, 1, 0) for (0, 0, 0, 0)": conv(pads=(1, 0, 1, 0)),
    "full padding": conv(pads=(2, 2, 2, 2)),
    "padding of 1, cut to size at the end": conv(pads=(1, 1, 1, 1))[:, :, :5, :5],
    "padding of 2, cut to size at the end": conv(pads=(2, 2, 2, 2))[:, :, :5, :5],
    "dilation 2 for (1, 1)": conv(pads=(2, 2, 2, 2), dilation=2),
    "dilation 2 for (1, 1), with the same padding": conv(dilation=2),
    "dilation 3 for (1, 1)": conv(pads=(3, 3, 3, 3), dilation=3),
    "dilation 3 for (1, 1), with the same padding": conv(dilation=3),
    "dilation 4 for (1, 1)": conv(pads=(4, 4, 4, 4), dilation=4),
    "stride 2 for (1, 1)": conv(stride=2),
    "stride 3 for (1, 1)": conv(stride=3),
    "stride 4 for (1, 1)": conv(stride=4),
    # what is returned
    "output doubled": 2 * conv(),
    "output halved": conv() / 2,
}
NAMED = [(0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 1, 3)]  # right, reversed, interleaved
for order in permutations(range(4)):
    if order not in NAMED:
        PLAIN[f"input channels in the order {order}"] = conv(X[:, list(order)])
LAYOUTS = {
    **{"HWIO": (2, 3, 1, 0), "OHWI": (0, 2, 3, 1), "HWOI": (2, 3, 0, 1)},
    **{"IHWO": (1, 2, 3, 0), "IOHW": (1, 0, 2, 3)},
}
for name, axes in LAYOUTS.items():
    stored = W.transpose(axes)
    PLAIN[f"weights reshaped from {name}, not transposed"] = conv(w=stored.reshape(W.shape))
    back = np.empty_like(W)
    back.transpose(axes)[...] = W.reshape(stored.shape)
    PLAIN[f"weights reshaped to {name}, not transposed"] = conv(w=back)
# What rounds, or stores in a shorter format, which other tests plant; and a kernel that is too large.
ELSEWHERE = ("round", "cut off to", "stored in", "bf16x3", "dilation 4 for (1, 1), with the same padding")


def test_a_convolution():
    one = Layer("Conv", X, W, B)
    listed = {name for name in one.mistakes if not any(word in name for word in ELSEWHERE)}
    assert set(PLAIN) - {""} == listed
    for name, expected in PLAIN.items():
        one.returns(name, expected)


def test_a_convolution_of_an_even_kernel_with_padding():
    w = drawn(6, 4, 4, 4, seed=3)
    one = Layer("Conv", X, w, pads=[2, 2, 2, 2])

    def returned(pads: Pads) -> Array:
        return conv(w=w, b=0, pads=pads)

    one.returns("", returned((2, 2, 2, 2)))
    one.returns("no padding (VALID)", returned((0, 0, 0, 0)))
    sides = [name for name in one.mistakes if name.startswith("padding on the other side")]
    assert len(sides) == 12
    for name in sides:
        top, left, bottom, right = map(int, re.findall(r"\d+", name)[:4])
        one.returns(name, returned((top, left, bottom, right)))
    for n in (1, 3):
        one.returns(f"another amount of padding: pads {(n,) * 4} for (2, 2, 2, 2)", returned((n, n, n, n)))
    one.returns("padding one too far to the lower right", returned((3, 3, 1, 1)))
    one.returns("padding one too far to the upper left", returned((1, 1, 3, 3)))
    one.returns("result padded with zeros, not the input", padded(returned((0, 0, 0, 0)), (2, 2, 2, 2)))
    modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap", "symmetric": "symmetric"}
    for name, mode in modes.items():
        x = padded(X, (2, 2, 2, 2), mode)
        one.returns(f"padding mode {name} for zeros", conv(x, w, 0))


def test_an_odd_number_of_zeros_is_shared_out():
    one = Layer("Conv", X, W, B, pads=[0, 0, 3, 3])
    for pads in ((1, 1, 2, 2), (2, 2, 1, 1), (3, 3, 0, 0), (1, 1, 1, 1), (1, 0, 2, 3), (0, 1, 3, 2)):
        one.returns(f"padding on the other side: pads {pads} for (0, 0, 3, 3)", conv(pads=pads))


@pytest.mark.parametrize("stride", [2, 3])
def test_a_convolution_with_a_stride(stride):
    pads = (1, 0, 1, 2)
    one = Layer("Conv", X, W, B, strides=[stride] * 2, pads=[*pads])
    close = conv(pads=pads)
    rows, columns = conv(pads=pads, stride=stride).shape[2:]
    one.returns(f"stride 1 for {(stride, stride)}, cut to the size", close[:, :, :rows, :columns])
    for shift in range(1, stride):
        name = f"padding less by {shift} at the beginning: at stride {stride} windows begin at {shift}"
        x = padded(X, (0, 0, shift, shift))[:, :, shift:, shift:]
        one.returns(name, conv(x, pads=pads, stride=stride))
    for other in {1, 2, 3, 4} - {stride}:
        one.returns(f"stride {other} for {(stride, stride)}", conv(pads=pads, stride=other))


def test_axes_that_are_exchanged():
    one = Layer("Conv", X, W, B, strides=[1, 2], pads=[1, 0, 1, 0])
    one.returns("", conv(stride=(1, 2), pads=(1, 0, 1, 0)))
    one.returns("strides of height and width swapped", conv(stride=(2, 1), pads=(1, 0, 1, 0)))
    other = Layer("Conv", X, W, B, pads=[3, 2, 3, 2])
    name = "padding of height and width swapped: pads (2, 3, 2, 3) for (3, 2, 3, 2)"
    other.returns(name, conv(pads=(2, 3, 2, 3)))


def test_gaps_that_are_left_out():
    one = Layer("Conv", X, W, B, dilations=[2, 2], pads=[2] * 4)
    one.returns("dilations ignored", conv(pads=(1, 1, 1, 1)))
    one.returns("dilations ignored, with the same padding", conv(pads=(2, 2, 2, 2)))


def test_groups():
    w, two = drawn(6, 2, 3, 3, seed=4), slice(None, 2)
    one = Layer("Conv", X, w, B, group=2)

    def grouped(w: Array) -> Array:
        return np.concatenate([conv(X[:, two], w[:3], B[:3]), conv(X[:, 2:], w[3:], B[3:])], 1)

    one.returns("", grouped(w))
    one.returns("all groups read the first group's channels", conv(X[:, two], w))
    said = "output channels of the groups in another order"
    for rows, order in ((2, [0, 3, 1, 4, 2, 5]), (3, [0, 2, 4, 1, 3, 5])):
        words = f"interleaved: {rows} × {6 // rows} exchanged with {6 // rows} × {rows}"
        one.returns(f"{said}: filters {words}", grouped(w[order]))
        bare = grouped(w) - B.reshape(-1, 1, 1)
        one.returns(f"{said}, before the bias: {words}", bare[:, order] + B.reshape(-1, 1, 1))
    assert not [name for name in Layer("Conv", X, w, group=2).mistakes if "before the bias" in name]


# --- transposed convolutions -------------------------------------------------------------------

T = drawn(4, 6, 3, 3, seed=5)


def full(x: Array, w: Array, stride: int) -> Array:
    """All that a transposed convolution adds up."""
    n, _, height, width = x.shape
    rows, columns = (stride * (size - 1) + 3 for size in (height, width))
    found = np.zeros((n, w.shape[1], rows, columns))
    for i in range(height):
        for j in range(width):
            there = slice(stride * i, stride * i + 3), slice(stride * j, stride * j + 3)
            found[:, :, *there] += np.einsum("nc,cokl->nokl", x[:, :, i, j].astype(np.float64), w)
    return found


def test_a_transposed_convolution():
    x, b = X[:, :, :5, :5], B.reshape(-1, 1, 1).astype(np.float64)
    one = Layer("ConvTranspose", x, T, B, strides=[2, 2], pads=[1] * 4, output_padding=[1, 1])
    whole = full(x, T, 2)  # 11 × 11, of which 10 × 10 are returned
    right, inner, longer = whole[:, :, 1:, 1:], whole[:, :, 1:-1, 1:-1], padded(whole, (0, 0, 1, 1))
    begins = "less: the result begins at"
    for name, expected in {
        "": right + b,
        "output padding missing": inner + b,
        "no padding (VALID)": whole + b,
        "output padding filled with zeros": padded(inner + b, (0, 0, 1, 1)),
        "output padding filled with the bias": padded(inner, (0, 0, 1, 1)) + b,
        f"padding at the beginning by 1 {begins} (0, 0), not at (1, 1)": whole[:, :, :10, :10] + b,
        f"padding at the end by 1 {begins} (2, 2), not at (1, 1)": longer[:, :, 2:, 2:] + b,
        "stride 1 for (2, 2)": full(x, T, 1)[:, :, 1:, 1:] + b,
        "stride 3 for (2, 2)": full(x, T, 3)[:, :, 1:, 1:] + b,
        "kernel flipped": full(x, T[:, :, ::-1, ::-1], 2)[:, :, 1:, 1:] + b,
        "output channels in reverse order": (right + b)[:, ::-1],
        "input channels in reverse order (BGR for RGB)": full(x[:, ::-1], T, 2)[:, :, 1:, 1:] + b,
        "bias missing": right,
    }.items():
        one.returns(name, expected)


# --- dense layers ------------------------------------------------------------------------------

ROWS, MATRIX, ADDED = drawn(4, 5, seed=6), drawn(5, 4, seed=7), drawn(4, seed=8)


def softmax(a: Array, axis: int) -> Array:
    powers = np.exp(a - a.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_dense_layer(transposed):
    rows, m = ROWS.astype(np.float64), MATRIX.astype(np.float64)
    one = Layer("Gemm", ROWS, MATRIX.T.copy() if transposed else MATRIX, ADDED, transB=int(transposed))
    y = rows @ m + ADDED
    stored = m.T if transposed else m

    def read(a: Array) -> Array:
        return a.T if transposed else a

    for name, expected in {
        "": y,
        "bias missing": y - ADDED,
        "bias doubled": y + ADDED,
        "bias subtracted": y - 2 * ADDED,
        "bias in reverse order": y - ADDED + ADDED[::-1],
        "bias interleaved: 2 × 2 exchanged with 2 × 2": y - ADDED + ADDED[[0, 2, 1, 3]],
        "first bias for every output": y - ADDED + ADDED[0],
        "bias shifted by one output": y - ADDED + ADDED[[3, 0, 1, 2]],
        "features of the weights in reverse order": rows @ m[::-1] + ADDED,
        "outputs of the weights in reverse order": rows @ m[:, ::-1] + ADDED,
        "outputs of the weights interleaved: 2 × 2 exchanged with 2 × 2": rows @ m[:, [0, 2, 1, 3]] + ADDED,
        "input divided by 255": rows / 255 @ m + ADDED,
        "input multiplied by 255": rows * 255 @ m + ADDED,
        "weights reshaped, not transposed": rows @ read(stored.T.reshape(stored.shape)) + ADDED,
        "weights reshaped to the transposed shape, not transposed": (
            rows @ read(stored.reshape(stored.shape[::-1]).T) + ADDED
        ),
        "weights missing their sign": rows @ np.abs(m) + ADDED,
        "weights negated": ADDED - rows @ m,
        "output doubled": 2 * y,
        "output halved": y / 2,
        "ReLU on the result": np.maximum(y, 0),
        "softmax in the model": softmax(y, 1),
        "softmax over the batch in the model": softmax(y, 0),
        "log-softmax in the model": np.log(softmax(y, 1)),
        "sigmoid on the result": 1 / (1 + np.exp(-y)),
        "one-hot classes for logits": y == y.max(1, keepdims=True),
    }.items():
        one.returns(name, expected)
    factors = Layer("Gemm", ROWS, MATRIX, ADDED, alpha=0.5, beta=0.25)
    factors.returns("", (rows @ m) / 2 + ADDED / 4)
    factors.returns("alpha and beta ignored", y)


def test_a_product_of_matrices():
    square, x = drawn(5, 5, seed=9).astype(np.float64), ROWS.astype(np.float64)
    one = Layer("MatMul", ROWS, square.astype(np.float32))
    for name, expected in {
        "features of the weights in reverse order": x @ square[::-1],
        "outputs of the weights in reverse order": x @ square[:, ::-1],
        "weights transposed": x @ square.T,
        "MatMul left out": x,
        "MatMul applied twice": x @ square @ square,
        "result transposed": (x @ square).T,
    }.items():
        one.returns(name, expected)
