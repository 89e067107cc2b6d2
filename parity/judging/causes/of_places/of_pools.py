"""Mistakes of pooling: the divisor, the padding, the size of the window, what is taken of it."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from parity.arithmetic import Bounded, Number
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, first, made_in, with_input
from parity.operators import Operator
from parity.operators.global_pooling import GlobalAveragePool, GlobalLpPool, GlobalMaxPool
from parity.operators.interpolation import choose
from parity.operators.pooling import AveragePool, LpPool, MaxPool
from parity.operators.windows import window

MOST = 4  # strides and dilations that are tried


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
    yield Mistake(
        "sum for average",
        "The values of each window are added up, and not divided by their number.",
        "Divide by the number of values.",
        Changed(
            replace(pool, count_include_pad=1), after=lambda y, inputs: y * float(prod(pool.kernel_shape))
        ),
    )
    if pool.ceil_mode:
        yield Mistake(
            "windows that stick out divided by their whole size",
            "Zeros were put at the end of the input so that the last windows fit, and count in the divisor.",
            "Pass ceil_mode=True, and do not pad.",
            _with_zeros_behind(pool, first(seen.inputs)),
        )


def _with_zeros_behind(pool: AveragePool, x: Number) -> AveragePool:
    """The padding at the end that makes the last windows fit."""
    sliding = pool.window(x)
    steps = zip(
        pool.positions(x),
        sliding.strides,
        sliding.reach,
        x.shape[2:],
        sliding.before,
        sliding.after,
        strict=True,
    )
    after = [max((n - 1) * stride + reach - size - a, b) for n, stride, reach, size, a, b in steps]
    return replace(pool, pads=(*sliding.before, *after), ceil_mode=0, auto_pad="NOTSET", count_include_pad=1)


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


@made_in("MaxPool")
def starts(pool: MaxPool, seen: Seen) -> Iterator[Mistake]:
    if (first(seen.inputs).comparable < 0).any():
        yield Mistake(
            "maximum that begins at zero, not at minus infinity",
            "No value is below zero: the largest so far begins at 0, as in JAX's reduce_window with 0 as its "
            "initial value; or a ReLU is applied, too.",
            "Begin at minus infinity.",
            Changed(pool, after=lambda y, inputs: y.maximum(0.0)),
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


@made_in("LpPool")
def norms(pool: LpPool, seen: Seen) -> Iterator[Mistake]:
    if pool.p in (2, 3):
        yield Mistake(
            "root missing",
            f"The sum of the powers |x|^{pool.p} is taken, without its root.",
            f"Take the root of order {pool.p}.",
            with_input(replace(pool, p=1), 0, lambda x: x * x if pool.p == 2 else x * x * x),
        )
    for p in (1, 2, 3):
        if p != pool.p:
            yield _norm(p, replace(pool, p=p), pool.p)
    for kind, words in ((MaxPool, "maximum"), (AveragePool, "average")):
        yield Mistake(
            f"{words} for norm", f"The {words} of each window is taken.", "Take the norm.", _as(kind, pool)
        )


def _norm(p: int, operator: Operator, right: int) -> Mistake:
    return Mistake(f"p={p} for p={right}", "Another norm is taken.", f"Use p={right}.", operator)


GLOBAL = {"GlobalAveragePool": "average", "GlobalMaxPool": "maximum", "GlobalLpPool": "norm"}
KINDS = {
    "GlobalAveragePool": GlobalAveragePool(),
    "GlobalMaxPool": GlobalMaxPool(),
    "GlobalLpPool": GlobalLpPool(),
}


@made_in(*GLOBAL)
def maps(pool: Any, seen: Seen) -> Iterator[Mistake]:
    right = GLOBAL[pool.TYPE]
    for kind, words in GLOBAL.items():
        if kind != pool.TYPE:
            yield Mistake(
                f"{words} for {right}",
                f"The {words} of each map is taken.",
                f"Take the {right}.",
                KINDS[kind],
            )
    if isinstance(pool, GlobalLpPool):
        for p in (1, 2, 3):
            if p != pool.p:
                yield _norm(p, replace(pool, p=p), pool.p)
        return
    if isinstance(pool, GlobalAveragePool):
        yield Mistake(
            "sum for average",
            "The values of each map are added up, and not divided by their number.",
            "Divide by the number of values.",
            Changed(pool, after=lambda y, inputs: y * float(prod(first(inputs).shape[2:]))),
        )


@made_in("AveragePool", "MaxPool", "LpPool")
def windows(pool: Any, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    yield Mistake(
        f"ceil_mode={1 - pool.ceil_mode}",
        "The last windows, which stick out, are counted differently: Caffe rounds the output size up, "
        "others down.",
        f"Pass ceil_mode={bool(pool.ceil_mode)}.",
        replace(pool, ceil_mode=1 - pool.ceil_mode),
    )
    sliding = pool.window(x)
    before, after = sliding.before, sliding.after
    total = tuple(a + b for a, b in zip(before, after, strict=True))
    nothing = (0,) * len(total)
    sides = {(after, before), (nothing, total), (total, nothing)}
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        one = window(sliding.kernel, sliding.strides, sliding.dilations, (), mode, x.shape[2:])
        sides.add((one.before, one.after))
    for start, end in sorted(sides - {(before, after), (nothing, nothing)}):
        yield Mistake(
            f"padding on the other side: pads {(*start, *end)} for {(*before, *after)}",
            "The padding is shared out differently between the two sides, as by TensorFlow's SAME.",
            "Pad explicitly.",
            replace(pool, pads=(*start, *end), auto_pad="NOTSET"),
        )
    for shift in range(1, max(sliding.strides)):
        yield Mistake(
            f"windows that begin {shift} later, at the same size",
            "Every window is shifted towards the end of each axis, and the last ones stick out.",
            "Pad explicitly.",
            _later(pool, x, shift),
            wider=True,
        )
    if any(total):
        yield Mistake(
            "no padding (VALID)",
            "The input is not padded.",
            "Use the padding of the reference.",
            replace(pool, pads=(), auto_pad="VALID"),
        )


def _later(pool: Any, x: Number, shift: int) -> Changed:
    """The pooling of an input without its first rows and columns, with as much more padding at the end."""
    sliding = pool.window(x)
    moved = replace(pool, pads=(*sliding.before, *(n + shift for n in sliding.after)), auto_pad="NOTSET")
    kept = (slice(None), slice(None), *(slice(shift, None),) * len(sliding.kernel))
    return with_input(moved, 0, lambda x: x.move(lambda a: a[kept]))


@made_in("AveragePool", "MaxPool", "LpPool")
def steps(pool: Any, seen: Seen) -> Iterator[Mistake]:
    sliding = pool.window(first(seen.inputs))
    d = len(sliding.kernel)
    ones = (1,) * d
    if sliding.dilations != ones:
        yield Mistake(
            "dilations ignored",
            "The windows have no gaps.",
            "Pass the dilation on.",
            replace(pool, dilations=()),
        )
        reach = [k - 1 for k in sliding.kernel]
        yield Mistake(
            "dilations ignored, with the padding that keeps the size",
            "The windows have no gaps, and the padding is that of windows without gaps.",
            "Pass the dilation on.",
            replace(
                pool,
                dilations=(),
                pads=(*(n // 2 for n in reach), *(n - n // 2 for n in reach)),
                auto_pad="NOTSET",
            ),
        )
    for strides in {ones, (2,) * d, (3,) * d, sliding.kernel} - {sliding.strides}:
        yield Mistake(
            f"strides {strides} for {sliding.strides}",
            "The window moves in other steps; PyTorch and Keras move it by its own size by default.",
            "Pass the stride on.",
            replace(pool, strides=strides),
        )
    for size in range(2, MOST + 1):
        if (size,) * d != sliding.kernel:
            yield Mistake(
                f"window {(size,) * d} for {sliding.kernel}",
                "The window has another size.",
                "Use the size of the reference.",
                replace(pool, kernel_shape=(size,) * d),
            )
