"""Mistakes of where a convolution's kernel lies: padding, strides, dilation."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, made_in, second, with_input
from parity.operators.affine import Conv
from parity.operators.windows import window

Sides = tuple[tuple[int, ...], tuple[int, ...]]
# NumPy's names and PyTorch's; SciPy's image filters alone have the last one.
MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular", "symmetric": "symmetric"}
MOST = 4  # strides and dilations that are tried
# What is computed of each value, or of each channel, by itself.
BY_ITSELF = (
    "BatchNormalization",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Clip",
    "Elu",
    "HardSwish",
    "Sigmoid",
    "Swish",
)


@made_in("Conv")
def padding(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    x, w = first(seen.inputs), second(seen.inputs)
    sliding = conv.window(x, w)
    before, after = sliding.before, sliding.after
    sides = _sides(conv, x, w, before, after)
    seen_by = {_reached(conv, x, w, before, after)}
    one_axis = {one for side in sides for one in _along_one_axis((before, after), side)} - sides
    for start, end in (*sorted(sides - {(before, after)}), *sorted(one_axis - {(before, after)})):
        reached = _reached(conv, x, w, start, end)
        if reached in seen_by:
            continue  # zeros at the end that no window reaches make no difference
        seen_by.add(reached)
        yield Mistake(
            f"padding on the other side: pads {(*start, *end)} for {(*before, *after)}",
            "The zeros are shared out differently between the two sides. TensorFlow's SAME puts the odd one, "
            "and at stride 2 often all of them, at the end; PyTorch's padding is the same on both sides.",
            "Pad explicitly, and convolve without padding (VALID).",
            padded(conv, start, end),
            "keras-team/keras#16363",
        )
    turned, right = (before[::-1], after[::-1]), (*before, *after)
    if turned != (before, after) and turned not in sides:
        yield Mistake(
            f"padding of height and width swapped: pads {(*turned[0], *turned[1])} for {right}",
            "The zeros along the axes are in the opposite order.",
            "Give the padding in the order height, width.",
            padded(conv, *turned),
        )
    for step in (-1, 1):
        start, end = (tuple(max(n + step, 0) for n in side) for side in (before, after))
        if any(start + end) and (start, end) not in {*sides, (before, after)}:
            yield Mistake(
                f"another amount of padding: pads {(*start, *end)} for {(*before, *after)}",
                "There are more or fewer zeros around the input.",
                "Use the padding of the reference.",
                padded(conv, start, end),
            )


def padded(conv: Conv, start: tuple[int, ...], end: tuple[int, ...]) -> Conv:
    """The convolution with other padding at the beginning and at the end of each axis."""
    return replace(conv, auto_pad="NOTSET", pads=(*start, *end))


def _sides(conv: Conv, x: Number, w: Number, before: tuple[int, ...], after: tuple[int, ...]) -> set[Sides]:
    """Other ways to share out as many zeros, TensorFlow's SAME, and padding that keeps the size."""
    total = tuple(a + b for a, b in zip(before, after, strict=True))
    less, more = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    nothing = (0,) * len(total)
    sides = {(more, less), (less, more), (after, before), (nothing, total), (total, nothing)}
    same = [
        window(w.shape[2:], conv.strides, conv.dilations, (), side, x.shape[2:])
        for side in ("SAME_UPPER", "SAME_LOWER")
    ]
    return sides | {(one.before, one.after) for one in same}


def _along_one_axis(right: Sides, other: Sides) -> Iterator[Sides]:
    """The padding of the other along one axis alone."""
    for axis in range(len(right[0])):
        both = [
            (*mine[:axis], theirs[axis], *mine[axis + 1 :]) for mine, theirs in zip(right, other, strict=True)
        ]
        yield both[0], both[1]


def _reached(
    conv: Conv, x: Number, w: Number, start: tuple[int, ...], end: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """The zeros at the beginning, and those at the end that some window reaches."""
    sliding = window(w.shape[2:], conv.strides, conv.dilations, (*start, *end))
    sizes, positions = x.shape[2:], sliding.out_shape(x.shape[2:])
    steps = zip(positions, sliding.strides, sliding.reach, sizes, start, strict=True)
    return start, tuple((n - 1) * stride + reach - size - b for n, stride, reach, size, b in steps)


@made_in("Conv")
def borders(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    x, w = first(seen.inputs), second(seen.inputs)
    sliding = conv.window(x, w)
    widths = ((0, 0), (0, 0), *zip(sliding.before, sliding.after, strict=True))
    valid = replace(conv, auto_pad="VALID", pads=())
    if any(sliding.before + sliding.after):
        yield Mistake(
            "no padding (VALID)",
            "The input is not padded.",
            "Use the padding of the reference.",
            valid,
        )
        yield Mistake(
            "result padded with zeros, not the input",
            "The convolution is computed without padding, and zeros are put around its result.",
            "Pad the input.",
            Changed(valid, after=lambda y, inputs: y.move(lambda a: np.pad(a, widths))),
        )
        for mode, name in MODES.items():
            yield Mistake(
                f"padding mode {name} for zeros",
                "The border is filled with values of the input, not with zeros.",
                "Pad with zeros.",
                _filled(valid, widths, mode),
            )
    strides = sliding.strides
    for shift in range(1, max(strides)):
        yield Mistake(
            f"padding less by {shift} at the beginning: at stride {max(strides)} windows begin at {shift}",
            "The windows begin at the second pixel of each step, where frameworks begin at the first.",
            "Pad explicitly, or crop the input.",
            Changed(conv, lambda inputs, n=shift: _shifted(inputs, n)),  # type: ignore[misc]
        )


def _filled(valid: Conv, widths: tuple[tuple[int, int], ...], mode: str) -> Changed:
    def before(inputs: list[Number | None]) -> list[Number | None]:
        return [first(inputs).move(lambda a: np.pad(a, widths, mode=mode)), *inputs[1:]]  # type: ignore[call-overload]

    return Changed(valid, before)


def _shifted(inputs: list[Number | None], shift: int) -> list[Number | None]:
    """The input without its first rows and columns, with zeros at the end."""

    def move(a: Array) -> Array:
        cut = a[(slice(None), slice(None), *(slice(shift, None),) * (a.ndim - 2))]
        return np.pad(cut, ((0, 0), (0, 0), *((0, shift),) * (a.ndim - 2)))

    return [first(inputs).move(move), *inputs[1:]]


@made_in("Conv")
def steps(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    x, w = first(seen.inputs), second(seen.inputs)
    sliding, d = conv.window(x, w), w.ndim - 2
    ones = (1,) * d
    if len(set(sliding.strides)) > 1:
        yield Mistake(
            "strides of height and width swapped",
            "The steps along height and width are exchanged.",
            "Give the strides in the order height, width.",
            replace(conv, strides=sliding.strides[::-1]),
        )
    for dilation in range(1, MOST + 1):
        dilations = (dilation,) * d
        if dilations == sliding.dilations or all(k == 1 for k in w.shape[2:]):
            continue
        words = "dilations ignored" if dilations == ones else f"dilation {dilation} for {sliding.dilations}"
        total = [(k - 1) * dilation for k in w.shape[2:]]
        same = (*(n // 2 for n in total), *(n - n // 2 for n in total))
        kept = (*sliding.before, *sliding.after)
        for pads in dict.fromkeys((same, kept)):
            moved = _stride_before(seen) if (dilations, pads) == (sliding.strides, same) else ""
            yield Mistake(
                f"{moved}{words}" if pads == same else f"{words}, with the same padding",
                "The gaps between the taps of the kernel are others.",
                "Pass the dilation on (`dilation_rate` in Keras, `dilation` in PyTorch).",
                replace(conv, dilations=dilations, pads=pads, auto_pad="NOTSET"),
            )
    if sliding.strides != ones:
        yield Mistake(
            f"stride 1 for {sliding.strides}, cut to the size",
            "The kernel moves in steps of 1, and only the upper left part of the result is kept.",
            "Pass the stride on (`strides` in Keras, `stride` in PyTorch).",
            _close(conv, x, w),
        )
    for stride in range(1, MOST + 1):
        if (stride,) * d != sliding.strides:
            yield Mistake(
                f"stride {stride} for {sliding.strides}",
                "The kernel moves in other steps.",
                "Pass the stride on (`strides` in Keras, `stride` in PyTorch).",
                replace(conv, strides=(stride,) * d),
            )


def _stride_before(seen: Seen) -> str:
    """What else a kernel is with gaps as wide as its stride: one behind a 1×1 convolution of that stride."""
    makers = {name: one for one in seen.nodes for name in one.outputs}
    node = seen.node
    while node is not None and (node is seen.node or node.type in BY_ITSELF):
        node = makers.get(node.inputs[0])
    if node is None or seen.node is None or not isinstance(node.operator, Conv):
        return ""
    x, w = (seen.values[name] for name in node.inputs[:2])
    sliding = node.operator.window(x, w)
    if set(w.shape[2:] + sliding.strides) != {1} or any(sliding.before + sliding.after):
        return ""
    return f"stride in the 1×1 convolution {node.name}, not in {seen.node.name}; or, which is the same, "


def _close(conv: Conv, x: Number, w: Number) -> Changed:
    """The convolution with stride 1 of so much of the input that as many values result."""
    sliding = conv.window(x, w)
    reached = zip(sliding.out_shape(x.shape[2:]), sliding.reach, sliding.before, strict=True)
    needed = [n - 1 + reach - before for n, reach, before in reached]
    kept = (slice(None), slice(None), *(slice(n) for n in needed))
    after = tuple(max(n - size, 0) for n, size in zip(needed, x.shape[2:], strict=True))
    near = replace(padded(conv, sliding.before, after), strides=())
    return with_input(near, 0, lambda x: x.move(lambda a: a[kept]))
