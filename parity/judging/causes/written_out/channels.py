"""Mistakes in summing over input channels, and in the order and the sign of weights."""

from collections.abc import Callable, Iterator

import numpy as np

from parity.arithmetic import Array
from parity.judging.causes.mistake import Mistake, Seen, made_in, second, with_input
from parity.judging.causes.written_out.kernels import weights
from parity.operators.affine import Conv, ConvTranspose, Gemm

SUM = "Sum over all input channels of kernel[o, c] * x[c], with groups=1."


def _only(a: Array, channel: int) -> Array:
    kept = np.zeros_like(a)
    kept[:, channel] = a[:, channel]
    return kept


def _grouped(a: Array) -> Array:
    """The kernel with zeros between two groups, which acts as a grouped one made of its first half."""
    full, (outs, ins) = np.zeros_like(a), (a.shape[0] // 2, a.shape[1] // 2)
    full[:outs, :ins], full[outs:, ins:] = a[:outs, :ins], a[outs:, :ins]
    return full


CHANNELS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "only the first input channel": (
        "Only the first input channel is used. That is right for gray images, not after another convolution.",
        lambda a: _only(a, 0),
    ),
    "only the last input channel": (
        "Each input channel overwrites the sum of those before it: only the last channel counts.",
        lambda a: _only(a, -1),
    ),
    "first kernel on every input channel": (
        "Every input channel is convolved with the first channel's kernel.",
        lambda a: np.repeat(a[:, :1], a.shape[1], axis=1),
    ),
}


@made_in("Conv")
def sums(conv: Conv, seen: Seen) -> Iterator[Mistake]:
    w = second(seen.inputs)
    count = w.shape[1]
    if count == 1:
        return
    for name, (explanation, change) in CHANNELS.items():
        yield Mistake(name, explanation, SUM, weights(conv, change), "LazaroHurtado/micrograd-rs#31")
    yield Mistake(
        "mean over input channels",
        "The results of the input channels are averaged; they must be summed.",
        SUM,
        with_input(conv, 1, lambda one: one.divided(count)),
        "LazaroHurtado/micrograd-rs#31",
    )
    if conv.group == 1 and not (count % 2 or w.shape[0] % 2):
        yield Mistake(
            "grouped in two",
            "The convolution has two groups, so each output uses half of the input channels.",
            SUM,
            weights(conv, _grouped),
            "LazaroHurtado/micrograd-rs#31",
        )


@made_in("Conv", "ConvTranspose", "Gemm")
def signs(operator: Conv | ConvTranspose | Gemm, seen: Seen) -> Iterator[Mistake]:
    yield Mistake(
        "weights missing their sign",
        "The absolute values of the weights are used.",
        "Use the weights as they are.",
        with_input(operator, 1, abs),
    )
    yield Mistake(
        "weights negated",
        "The weights have the wrong sign.",
        "Use the weights as they are.",
        with_input(operator, 1, lambda w: -w),
    )
