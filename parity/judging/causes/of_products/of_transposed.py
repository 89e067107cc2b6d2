"""Mistakes of transposed convolutions: which part of the full result is returned."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from parity.arithmetic import Number
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, first, given, made_in, second
from parity.operators.affine import ConvTranspose

CUT = "The output is cut off elsewhere: frameworks place the padding of a transposed convolution differently."
REMEDY = "Compute without padding (VALID), and cut the border off explicitly."
CASE = "PINTO0309/onnx2tf#56"


@made_in("ConvTranspose")
def cuts(conv: ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    """The result begins at another place of the full one, and has the same length."""
    x, w = first(seen.inputs), second(seen.inputs)
    d = w.ndim - 2
    strides, dilations = conv.strides or (1,) * d, conv.dilations or (1,) * d
    spans = [(k - 1) * e + 1 for k, e in zip(w.shape[2:], dilations, strict=True)]
    begin, length = conv.place(x.shape[2:], tuple(spans), strides)
    for shift in range(-max(spans), max(spans) + 1):
        start = tuple(n + shift for n in begin)
        if shift == 0 or any(n < 0 or n >= span for n, span in zip(start, spans, strict=True)):
            continue
        end, extra = [], []
        for n, size, stride, span, long in zip(start, x.shape[2:], strides, spans, length, strict=True):
            rest = (size - 1) * stride + span - n - long
            end.append(max(rest, 0))
            extra.append(max(-rest, 0))
        by = abs(shift)
        yield Mistake(
            f"padding at the {'beginning' if shift < 0 else 'end'} by {by} less: the result begins "
            f"at {start}, not at {begin}",
            CUT,
            REMEDY,
            replace(
                conv, pads=(*start, *end), output_padding=tuple(extra), output_shape=(), auto_pad="NOTSET"
            ),
            CASE,
        )


@made_in("ConvTranspose")
def sizes(conv: ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    """The result has another length."""
    w = second(seen.inputs)
    d = w.ndim - 2
    pads, extra, none = conv.pads or (0,) * (2 * d), conv.output_padding or (0,) * d, (0,) * d
    strides = conv.strides or (1,) * d
    same = ("SAME_UPPER", "SAME_LOWER")
    options = {
        "output padding missing": replace(conv, output_padding=()),
        "output padding added": replace(conv, output_padding=tuple(min(s - 1, 1) for s in strides)),
        "no padding (VALID)": replace(conv, pads=(), output_padding=(), auto_pad="NOTSET", output_shape=()),
        **{
            f"padding {mode}": replace(conv, pads=(), output_padding=(), auto_pad=mode, output_shape=())
            for mode in same
        },
        "output padding counted as padding": replace(
            conv,
            pads=(*pads[:d], *(max(n - e, 0) for n, e in zip(pads[d:], extra, strict=True))),
            output_padding=none,
        ),
        **{
            f"stride {n} for {strides}": replace(conv, strides=(n,) * d)
            for n in (1, 2, 3)
            if (n,) * d != strides
        },
    }
    for name, other in options.items():
        if other != conv:
            yield Mistake(name, CUT, REMEDY, other, CASE)


@made_in("ConvTranspose")
def filled(conv: ConvTranspose, seen: Seen) -> Iterator[Mistake]:
    """The rows and columns that output padding adds are filled, not computed."""
    extra = conv.output_padding
    if not any(extra) or conv.output_shape or conv.auto_pad not in ("NOTSET", ""):
        return
    widths = ((0, 0), (0, 0), *((0, n) for n in extra))
    short = replace(conv, output_padding=())

    def with_bias(y: Number, inputs: Inputs) -> Number:
        bias, full = given(inputs, 2), y.move(lambda a: np.pad(a, widths))
        return full if bias is None else full + bias.reshape(1, -1, *(1,) * (y.ndim - 2))

    options = {"zeros": Changed(short, after=lambda y, inputs: y.move(lambda a: np.pad(a, widths)))}
    if given(seen.inputs, 2) is not None:
        options["the bias"] = Changed(short, lambda inputs: inputs[:2], with_bias)
    for name, other in options.items():
        yield Mistake(
            f"output padding filled with {name}",
            "Rows and columns are put at the end of the result. Output padding makes the result longer, so "
            "that products which are otherwise cut off are part of it.",
            "Pass output_padding on, and compute these values.",
            other,
        )
