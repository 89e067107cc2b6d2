"""Mistakes of convolutions and products: padding, kernels, channels, bias."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Mistake, Seen, given, made_in, with_input
from parity.operators import Operator
from parity.operators.affine import Conv, ConvTranspose, Gemm, MatMul
from parity.operators.windows import window

LAYOUT = "Convert OIHW to HWIO with transpose(2, 3, 1, 0), and back with transpose(3, 2, 0, 1)."


def _weights(operator: Operator, change: Callable[[Array], Array]) -> Changed:
    return with_input(operator, 1, lambda w: w.move(change))


# --- where the kernel lies ---------------------------------------------------------------------


@made_in("Conv")
def padding(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    x, w = seen.inputs[0], seen.inputs[1]
    assert x is not None
    assert w is not None
    sliding = conv.window(x, w)
    before, after = sliding.before, sliding.after
    total = tuple(a + b for a, b in zip(before, after, strict=True))

    def padded(start: tuple[int, ...], end: tuple[int, ...]) -> Conv:
        return replace(conv, auto_pad="NOTSET", pads=(*start, *end))

    less = tuple(t // 2 for t in total)
    more = tuple(t - t // 2 for t in total)
    nothing = (0,) * len(total)
    same = [
        window(w.shape[2:], conv.strides, conv.dilations, (), side, x.shape[2:])
        for side in ("SAME_UPPER", "SAME_LOWER")
    ]
    sides = {(more, less), (less, more), (after, before), (nothing, total), (total, nothing)}
    sides |= {(one.before, one.after) for one in same}
    what = "padding on the other side" if any(total) else "SAME for VALID"
    seen_by = {_reached(conv, x, w, before, after)}
    for start, end in sorted(sides - {(before, after)}):
        reached = _reached(conv, x, w, start, end)
        if reached in seen_by:
            continue  # zeros at the end that no window reaches make no difference
        seen_by.add(reached)
        yield Mistake(
            f"{what}: pads {(*start, *end)} for {(*before, *after)}",
            "The zeros are shared out differently between the two sides. TensorFlow's SAME puts the odd one, "
            "and at stride 2 often all of them, at the end; PyTorch's padding is the same on both sides.",
            "Pad explicitly, and convolve without padding (VALID).",
            padded(start, end),
            "keras-team/keras#16363",
        )
    for step in (-1, 1):
        start, end = (tuple(max(n + step, 0) for n in side) for side in (before, after))
        yield Mistake(
            f"another amount of padding: pads {(*start, *end)} for {(*before, *after)}",
            "There are more or fewer zeros around the input.",
            "Use the padding of the reference.",
            padded(start, end),
        )


def _reached(
    conv: Conv, x: Number, w: Number, start: tuple[int, ...], end: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """The zeros at the beginning, and those at the end that some window reaches."""
    sliding = window(w.shape[2:], conv.strides, conv.dilations, (*start, *end))
    sizes, positions = x.shape[2:], sliding.out_shape(x.shape[2:])
    steps = zip(positions, sliding.strides, sliding.reach, sizes, start, strict=True)
    return start, tuple((n - 1) * stride + reach - size - b for n, stride, reach, size, b in steps)


@made_in("Conv")
def steps(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    w = seen.inputs[1]
    assert w is not None
    ones = (1,) * (w.ndim - 2)
    if any(d != 1 for d in conv.dilations):
        half = tuple((k - 1) // 2 for k in w.shape[2:])
        yield Mistake(
            "dilations ignored",
            "The kernel is applied without gaps between its taps.",
            "Pass the dilation on (`dilation_rate` in Keras, `dilation` in PyTorch).",
            replace(conv, dilations=ones, pads=(*half, *half), auto_pad="NOTSET"),
        )
    strides = conv.strides or ones
    if len(set(strides)) > 1:
        yield Mistake(
            "strides of height and width swapped",
            "The steps along height and width are exchanged.",
            "Give the strides in the order height, width.",
            replace(conv, strides=strides[::-1]),
        )


# --- the kernel and the channels ---------------------------------------------------------------


@made_in("Conv", "ConvTranspose")
def kernels(conv: Conv | ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    w = seen.inputs[1]
    assert w is not None
    axes = tuple(range(2, w.ndim))
    if all(n == 1 for n in w.shape[2:]):
        return
    yield Mistake(
        "kernel flipped",
        "The kernel is turned by 180 degrees: a true convolution, as in SciPy and Theano, where frameworks "
        "compute a correlation.",
        "Turn the kernel back: w[..., ::-1, ::-1].",
        _weights(conv, lambda a: np.flip(a, axes)),
        "keras-team/keras#3015",
    )
    for axis in axes if len(axes) > 1 else ():
        yield Mistake(
            f"kernel flipped along axis {axis}",
            "The kernel is reversed along one of its axes.",
            "Remove the flip.",
            _weights(conv, lambda a, axis=axis: np.flip(a, axis)),  # type: ignore[misc]
        )
    for order in permutations(axes):
        if order != axes and tuple(w.shape[k] for k in order) == w.shape[2:]:
            yield Mistake(
                "kernel height and width swapped"
                if len(axes) == 2
                else f"axes of the kernel permuted: {order}",
                "The kernel's spatial axes are exchanged, as `w.T` does, which reverses all axes.",
                LAYOUT,
                _weights(conv, lambda a, order=order: a.transpose(0, 1, *order)),  # type: ignore[misc]
                "hyseob/PyMDNet#3",
            )


@made_in("Conv", "ConvTranspose")
def layouts(conv: Conv | ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    """Weights in the memory of one layout that are read as if in another."""
    w = seen.inputs[1]
    assert w is not None
    if w.ndim == 4:
        for name, order in (("HWIO", (2, 3, 1, 0)), ("OHWI", (0, 2, 3, 1)), ("HWOI", (2, 3, 0, 1))):
            there = tuple(w.shape[k] for k in order)

            def back(a: Array, order: tuple[int, ...] = order, there: tuple[int, ...] = there) -> Array:
                return a.reshape(there).transpose(np.argsort(order))

            yield Mistake(
                f"weights reshaped to {name}, not transposed",
                "The numbers are in another order than the shape says: `reshape` was used where the axes had "
                "to be moved.",
                LAYOUT,
                _weights(conv, back),
            )
            yield Mistake(
                f"weights reshaped from {name}, not transposed",
                "The numbers are in another order than the shape says: `reshape` was used where the axes had "
                "to be moved.",
                LAYOUT,
                _weights(conv, lambda a, order=order: a.transpose(order).reshape(a.shape)),  # type: ignore[misc]
            )
    if w.shape[0] == w.shape[1]:
        yield Mistake(
            "weights transposed: input and output channels exchanged",
            "The first two axes of the weights are swapped.",
            LAYOUT,
            _weights(conv, lambda a: a.swapaxes(0, 1)),
        )


@made_in("Conv")
def channels(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    x, w = seen.inputs[0], seen.inputs[1]
    assert x is not None
    assert w is not None
    if x.shape[1] > 1:
        yield Mistake(
            "input channels in reverse order (BGR for RGB)",
            "The channels of the input are reversed, as OpenCV's images are.",
            "Reverse them: x[:, ::-1].",
            with_input(conv, 0, lambda a: a.move(lambda m: m[:, ::-1])),
        )
    yield Mistake(
        "output channels in reverse order",
        "The filters are in the opposite order.",
        "Keep the order of the reference's filters.",
        Changed(conv, after=lambda y, inputs: y.move(lambda m: m[:, ::-1])),
    )
    if conv.group > 1 and w.shape[0] > conv.group:
        many = w.shape[0] // conv.group

        def regrouped(a: Array) -> Array:
            return a.reshape(conv.group, many, *a.shape[1:]).swapaxes(0, 1).reshape(a.shape)

        yield Mistake(
            "output channels of the groups in another order",
            "The filters of a group (the channel multipliers of a depthwise convolution) are counted before "
            "the groups, or after them.",
            "Reshape the filters to (groups, filters of a group), and transpose.",
            _weights(conv, regrouped),
        )


@made_in("ConvTranspose")
def transposed(conv: ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    w = seen.inputs[1]
    assert w is not None
    d = w.ndim - 2
    pads = conv.pads or (0,) * (2 * d)
    extra = conv.output_padding or (0,) * d
    begin, end = pads[:d], pads[d:]
    options = {
        "padding on the other side": ((*end, *begin), extra),
        "padding at the beginning by one less": (
            (*(max(n - 1, 0) for n in begin), *(n + 1 for n in end)),
            extra,
        ),
        "padding at the end by one less": ((*(n + 1 for n in begin), *(max(n - 1, 0) for n in end)), extra),
        "output padding counted as padding": (
            (*begin, *(max(n - e, 0) for n, e in zip(end, extra, strict=True))),
            (0,) * d,
        ),
    }
    for name, (changed, rest) in options.items():
        if (changed, rest) != (pads, extra):
            yield Mistake(
                f"{name}: pads {changed} for {pads}",
                "The output is cut off elsewhere: frameworks place the padding of a transposed convolution "
                "differently.",
                "Compute without padding (VALID), and cut the border off explicitly.",
                replace(conv, pads=changed, output_padding=rest),
                "PINTO0309/onnx2tf#56",
            )


# --- products ----------------------------------------------------------------------------------


@made_in("Conv", "ConvTranspose", "Gemm")
def biases(operator: Conv | ConvTranspose | Gemm, seen: Seen) -> Iterator[Mistake]:
    if given(seen.inputs, 2) is None:
        return
    yield Mistake(
        "bias missing",
        "The bias is not added.",
        "Copy the bias, too (`use_bias=True`).",
        with_input(operator, 2, lambda b: b.move(np.zeros_like)),
    )
    yield Mistake(
        "bias doubled",
        "The bias is added twice.",
        "Add it once.",
        with_input(operator, 2, lambda b: b * 2.0),
    )


@made_in("Gemm", "MatMul")
def products(operator: Gemm | MatMul, seen: Seen) -> Iterator[Mistake]:
    a, b = seen.inputs[0], seen.inputs[1]
    assert a is not None
    assert b is not None
    if b.ndim >= 2 and b.shape[-1] == b.shape[-2]:
        yield Mistake(
            "weights transposed",
            "The matrix is used in place of its transpose: PyTorch's Linear holds (out, in), Keras' Dense "
            "(in, out).",
            "Transpose the weights.",
            _weights(operator, lambda m: m.swapaxes(-1, -2)),
            "vllm-project/vllm#44113",
        )
    if b.ndim == 2 and b.shape[0] != b.shape[1]:
        yield Mistake(
            "weights reshaped to the transposed shape, not transposed",
            "The numbers are those of the matrix, read in the shape of its transpose.",
            "Use transpose, not reshape.",
            _weights(operator, lambda m: m.reshape(m.shape[::-1]).T),
        )
        yield Mistake(
            "weights reshaped, not transposed",
            "The numbers are those of the transpose, read in the shape of the matrix.",
            "Use transpose, not reshape.",
            _weights(operator, lambda m: m.T.reshape(m.shape)),
        )
    if isinstance(operator, Gemm) and (operator.alpha, operator.beta) != (1, 1):
        yield Mistake(
            "alpha and beta ignored",
            "The factors of the product and of the bias are left out.",
            "Multiply by them.",
            replace(operator, alpha=1.0, beta=1.0),
        )
