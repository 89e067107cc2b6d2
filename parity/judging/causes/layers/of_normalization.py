"""Mistakes of normalizations: ε, the statistics, scale and shift, LRN's attributes."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from parity.arithmetic import Number
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, first, given, made_in, with_input
from parity.operators.functions import SQRT as ROOT
from parity.operators.normalization import LRN, BatchNormalization, InstanceNormalization, LpNormalization

# From 0 on: of those that explain the same the first is said, or their range.
EPSILONS = (0.0, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1.001e-5, 2e-5, 1e-4, 1e-3, 1e-2)
REPORTED = {
    "BatchNormalization": "huggingface/transformers#18597",
    "RMSNormalization": "huggingface/candle#271",
}
WITH_EPSILON = (
    "BatchNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
)


@made_in(*WITH_EPSILON, "SimplifiedLayerNormalization")
def epsilons(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for epsilon in dict.fromkeys((*EPSILONS, 2 * operator.epsilon)):  # twice: added in two places
        if f"{epsilon:g}" != f"{operator.epsilon:g}":  # as they are named below; a file holds float32
            yield Mistake(
                f"epsilon {epsilon:g} for {operator.epsilon:g}",
                "Another ε is added to the variance. Its default is 1e-3 in Keras, 1e-5 in PyTorch, 1e-6 in "
                "Flax and in many transformers.",
                f"Pass epsilon={operator.epsilon:g}.",
                replace(operator, epsilon=epsilon),
                REPORTED.get(operator.TYPE, ""),
                value=epsilon,
            )


@made_in("BatchNormalization")
def statistics(operator: BatchNormalization, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    axes = (0, *range(2, x.ndim))
    count = prod(x.shape[axis] for axis in axes)

    def of_batch(inputs: list[Number | None], ddof: int) -> list[Number | None]:
        x = first(inputs)
        middle = x.mean(axes)
        off = x - middle
        spread = (off * off).sum(axes).divided(count - ddof)
        return [x, inputs[1], inputs[2], middle.reshape(-1), spread.reshape(-1)]

    if not operator.training_mode:
        for ddof in (0, 1) if count > 1 else ():
            yield Mistake(
                "batch statistics for running ones (training mode)" + " with n - 1" * ddof,
                "Mean and variance are those of the batch: the layer was left in training mode.",
                "Call eval() in PyTorch, pass training=False in Keras.",
                Changed(operator, lambda inputs, ddof=ddof: of_batch(inputs, ddof)),  # type: ignore[misc]
                "microsoft/onnxruntime#4589",
            )
        if count > 1:
            yield Mistake(
                "running variance multiplied by n / (n - 1)",
                "The variance is that of a sample, divided by n - 1.",
                "Copy the running variance as it is.",
                with_input(operator, 4, lambda v: v * (count / (count - 1))),
            )
        for name, change in {
            "running variance used as a standard deviation": lambda v: v * v,
            "standard deviation given for the running variance": lambda v: v.apply(ROOT),
        }.items():
            yield Mistake(
                name,
                "The running variance is used as if it were a standard deviation, or the other way round.",
                "Give the variance, and take its root once.",
                with_input(operator, 4, change),
            )
        yield Mistake(
            "running mean and variance swapped",
            "The two statistics are exchanged.",
            "Copy the parameters by their names.",
            Changed(operator, lambda inputs: [*inputs[:3], inputs[4], inputs[3], *inputs[5:]]),
        )
        if (first(seen.inputs[3:]).comparable < 0).any():  # as a variance it gives NaN
            yield Mistake(
                "running mean and variance swapped, and signs dropped",
                "The two statistics are exchanged, and the mean's absolute value is taken for the variance.",
                "Copy the parameters by their names.",
                Changed(
                    operator, lambda inputs: [*inputs[:3], inputs[4], abs(first(inputs[3:])), *inputs[5:]]
                ),
            )
        yield Mistake(
            "scale and shift swapped with mean and variance",
            "The four parameters are read in another order.",
            "Copy the parameters by their names.",
            Changed(operator, lambda inputs: [inputs[0], *inputs[3:5], *inputs[1:3], *inputs[5:]]),
        )
        if x.ndim > 2:
            yield Mistake(
                "statistics of each map of each image for running ones (instance normalization)",
                "Mean and variance are those of each map by itself.",
                "Use the running statistics: batch normalization, and eval() in PyTorch.",
                Changed(InstanceNormalization(epsilon=operator.epsilon), lambda inputs: inputs[:3]),
            )
        yield from _not_loaded(operator)
        yield from _divisors(operator)


def _not_loaded(operator: BatchNormalization) -> Iterator[Mistake]:
    """Statistics that a new layer has."""
    for what, places in {"mean and variance": (3, 4), "mean": (3,), "variance": (4,)}.items():

        def initial(inputs: list[Number | None], places: tuple[int, ...] = places) -> list[Number | None]:
            return [
                one if one is None or k not in places else one.move(np.zeros_like if k == 3 else np.ones_like)
                for k, one in enumerate(inputs)
            ]

        yield Mistake(
            f"running {what} not loaded: {'0 and 1' if len(places) > 1 else places[0] - 3}",
            "The statistics are those of a new layer.",
            "Load the running mean and the running variance, too: they are no trainable parameters.",
            Changed(operator, initial),
        )


def _divisors(operator: BatchNormalization) -> Iterator[Mistake]:
    """Another divisor than sqrt(variance + ε)."""
    for name, explanation, remedy, divisor, case in (
        (
            "epsilon outside of the root",
            "ε is added to the standard deviation, not to the variance.",
            "Compute sqrt(variance + epsilon).",
            lambda v: v.apply(ROOT) + operator.epsilon,
            "keras-team/keras-applications#12",
        ),
        (
            "root missing: divided by the variance",
            "The values are divided by variance + ε, as if the variance were a standard deviation.",
            "Divide by sqrt(variance + epsilon).",
            lambda v: v + operator.epsilon,
            "",
        ),
    ):

        def before(inputs: list[Number | None], divisor: Any = divisor) -> list[Number | None]:
            x, scale, shift, mean, spread, *rest = inputs
            assert scale is not None
            assert spread is not None
            return [x, scale / divisor(spread), shift, mean, spread.move(np.ones_like), *rest]

        yield Mistake(name, explanation, remedy, Changed(replace(operator, epsilon=0.0), before), case)


@made_in("BatchNormalization")
def channel_axes(operator: BatchNormalization, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    if operator.training_mode or not operator.spatial:
        return
    for axis in range(2, x.ndim):
        if x.shape[axis] == x.shape[1]:
            yield Mistake(
                f"channels on axis {axis} for 1",
                "Each parameter is applied to a position, not to a channel: Keras' axis is -1, PyTorch's 1.",
                "Name the axis of the channels.",
                Changed(
                    operator,
                    lambda inputs, axis=axis: [_exchanged(inputs, axis), *inputs[1:]],  # type: ignore[misc]
                    lambda y, _, axis=axis: y.move(lambda a: a.swapaxes(1, axis)),  # type: ignore[misc]
                ),
            )


def _exchanged(inputs: Inputs, axis: int) -> Number:
    return first(inputs).move(lambda a: a.swapaxes(1, axis))


@made_in(*WITH_EPSILON)
def scale_and_shift(operator: Any, seen: Seen) -> Iterator[Mistake]:
    has = {"scale": given(seen.inputs, 1), "shift": given(seen.inputs, 2)}
    if has["scale"] is not None:
        yield Mistake(
            "scale missing",
            "The result is not multiplied by the scale (gamma, weight).",
            "Copy the scale; in Keras pass scale=True.",
            with_input(operator, 1, lambda s: s.move(np.ones_like)),
        )
    if has["shift"] is not None:
        yield Mistake(
            "shift missing",
            "The shift (beta, bias) is not added.",
            "Copy the shift; in Keras pass center=True.",
            with_input(operator, 2, lambda s: s.move(np.zeros_like)),
        )
    if has["scale"] is not None:
        for name, one in {"scale 1 + w for w": 1.0, "scale w for 1 + w": -1.0}.items():
            yield Mistake(
                name,
                "Some layers store the scale w and multiply by 1 + w, as Gemma's RMSNorm does.",
                "Store what the layer multiplies by.",
                with_input(operator, 1, lambda s, one=one: s + one),  # type: ignore[misc]
            )
    if has["scale"] is not None and has["shift"] is not None:
        yield Mistake(
            "scale and shift not loaded: 1 and 0",
            "The two parameters are those of a new layer.",
            "Load scale and shift.",
            Changed(operator, _new),
        )
        yield Mistake(
            "scale and shift swapped",
            "gamma and beta are exchanged.",
            "Copy the parameters by their names.",
            Changed(operator, lambda inputs: [inputs[0], inputs[2], inputs[1], *inputs[3:]]),
        )


def _new(inputs: list[Number | None]) -> list[Number | None]:
    """The inputs of a normalization with the scale and shift of a new layer."""
    x, scale, shift, *rest = inputs
    assert scale is not None
    assert shift is not None
    return [x, scale.move(np.ones_like), shift.move(np.zeros_like), *rest]


@made_in("LpNormalization")
def norms(operator: LpNormalization, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    yield Mistake(
        f"p {3 - operator.p} for {operator.p}",
        "Another norm.",
        f"Pass p={operator.p}.",
        replace(operator, p=3 - operator.p),
    )
    for axis in range(x.ndim):
        if axis != operator.axis % x.ndim:
            yield Mistake(
                f"axis {axis} for {operator.axis % x.ndim}",
                "The norm is taken along another axis.",
                f"Pass axis={operator.axis}.",
                replace(operator, axis=axis),
            )


@made_in("LRN")
def local_response(operator: LRN, seen: Seen) -> Iterator[Mistake]:
    yield Mistake(
        "alpha not divided by the size of the window",
        "TensorFlow multiplies the sum of squares by alpha, Caffe, PyTorch and ONNX by alpha / size.",
        "Pass alpha / size to TensorFlow.",
        replace(operator, alpha=operator.alpha * operator.size),
    )
    yield Mistake(
        "alpha divided by the size of the window twice",
        "alpha was divided by the size already.",
        "Divide once.",
        replace(operator, alpha=operator.alpha / operator.size),
    )
    right = operator.size
    for size in dict.fromkeys((2 * right + 1, (right - 1) // 2, 3, 5, 7)):
        if size <= 0 or size == right:
            continue
        for name, alpha in {
            "": operator.alpha * size / right,
            f", alpha divided by {size}": operator.alpha,
        }.items():
            yield Mistake(
                f"window of size {size} for {right}{name}",
                "TensorFlow's depth_radius is half of the window, ONNX's size is all of it.",
                "Pass depth_radius=(size - 1) / 2.",
                replace(operator, size=size, alpha=alpha),
            )
    for name, numbers in {"bias": (1.0, 2.0), "beta": (0.5, 0.75, 1.0)}.items():
        right = getattr(operator, name)
        for number in numbers:
            if number != right:
                yield Mistake(
                    f"{name} {number:g} for {right:g}",
                    "The response is x / (bias + alpha / size · Σx²)^beta. The bias, also called k, is 1 in "
                    "PyTorch and TensorFlow, 2 in AlexNet; beta is 0.5 in TensorFlow, 0.75 elsewhere.",
                    f"Pass {right:g}.",
                    replace(operator, bias=number) if name == "bias" else replace(operator, beta=number),
                )
