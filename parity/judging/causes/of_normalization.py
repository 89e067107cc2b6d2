"""Mistakes of normalizations: ε, the statistics, scale and shift, LRN's attributes."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from parity.arithmetic import Number
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, given, made_in, with_input
from parity.operators.functions import SQRT as ROOT
from parity.operators.normalization import LRN, BatchNormalization

EPSILONS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12, 2e-5, 0.0)
WITH_EPSILON = (
    "BatchNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
)


@made_in(*WITH_EPSILON, "SimplifiedLayerNormalization")
def epsilons(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for epsilon in EPSILONS:
        if f"{epsilon:g}" != f"{operator.epsilon:g}":  # as they are named below; a file holds float32
            yield Mistake(
                f"epsilon {epsilon:g} for {operator.epsilon:g}",
                "Another ε is added to the variance. Its default is 1e-3 in Keras, 1e-5 in PyTorch, 1e-6 in "
                "Flax and in many transformers.",
                f"Pass epsilon={operator.epsilon:g}.",
                replace(operator, epsilon=epsilon),
                "huggingface/transformers#18597",
            )


@made_in("BatchNormalization")
def statistics(operator: BatchNormalization, seen: Seen) -> Iterator[Mistake]:
    x = seen.inputs[0]
    assert x is not None
    axes = (0, *range(2, x.ndim))
    count = prod(x.shape[axis] for axis in axes)

    def of_batch(inputs: list[Number | None], ddof: int) -> list[Number | None]:
        x = inputs[0]
        assert x is not None
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
        yield Mistake(
            "standard deviation for the variance",
            "The running variance is used as if it were a standard deviation, or the other way round.",
            "Give the variance.",
            with_input(operator, 4, lambda v: v * v),
        )
        yield Mistake(
            "running mean and variance swapped",
            "The two statistics are exchanged.",
            "Copy the parameters by their names.",
            Changed(operator, lambda inputs: [*inputs[:3], inputs[4], inputs[3], *inputs[5:]]),
        )


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
    if has["scale"] is not None and has["shift"] is not None:
        yield Mistake(
            "scale and shift swapped",
            "gamma and beta are exchanged.",
            "Copy the parameters by their names.",
            Changed(operator, lambda inputs: [inputs[0], inputs[2], inputs[1], *inputs[3:]]),
        )


@made_in("InstanceNormalization", "LayerNormalization", "GroupNormalization")
def moments(operator: Any, seen: Seen) -> Iterator[Mistake]:
    x = seen.inputs[0]
    assert x is not None
    view, axes = operator.view(x), operator.row_axes(x)
    count = prod(view[axis] for axis in axes)

    def normalized(inputs: Inputs, mode: str) -> Number:
        x = inputs[0]
        assert x is not None
        grouped = x.reshape(*view)
        mean = grouped.mean(axes)
        off = grouped - mean
        variance = (off * off).sum(axes).divided(count - 1 if mode == "sample" else count)
        if mode == "rms":
            off, variance = grouped, (grouped * grouped).mean(axes)
        if mode == "outside":
            divisor = variance.apply(ROOT) + operator.epsilon
        else:
            divisor = (variance + operator.epsilon).apply(ROOT)
        return scaled(off / divisor, inputs).reshape(*x.shape)

    def scaled(y: Number, inputs: Inputs) -> Number:
        """Values in the operator's view, with its scale and shift."""
        x, scale, shift = inputs[0], given(inputs, 1), given(inputs, 2)
        y = y if scale is None else y * operator.spread(x, scale)
        return y if shift is None else y + operator.spread(x, shift)

    texts = {
        "sample": (
            "variance divided by n - 1",
            "The variance is that of a sample: torch.var's and R's default, not a normalization's.",
            "Divide by n (correction=0).",
        ),
        "outside": (
            "epsilon outside of the root",
            "ε is added to the standard deviation, not to the variance.",
            "Compute sqrt(variance + epsilon).",
        ),
        "rms": (
            "root mean square for the standard deviation",
            "The mean is not subtracted, as in RMSNorm.",
            "Subtract the mean.",
        ),
    }
    for mode, (name, explanation, remedy) in texts.items():
        if mode != "sample" or count > 1:
            yield Mistake(
                name,
                explanation,
                remedy,
                Changed(operator, after=lambda y, inputs, mode=mode: normalized(inputs, mode)),  # type: ignore[misc]
            )
    if operator.TYPE == "GroupNormalization":
        groups = operator.num_groups

        def shuffled(a: np.ndarray) -> np.ndarray:
            return a.reshape(a.shape[0], -1, groups, *a.shape[2:]).swapaxes(1, 2).reshape(a.shape)

        def back(a: np.ndarray) -> np.ndarray:
            return a.reshape(a.shape[0], groups, -1, *a.shape[2:]).swapaxes(1, 2).reshape(a.shape)

        def interleaved(y: Number, inputs: Inputs) -> Number:
            x, parameters = inputs[0], inputs[1:]
            assert x is not None
            plain = [
                None if one is None else one.move(np.zeros_like if place else np.ones_like)
                for place, one in enumerate(parameters)
            ]
            z = operator.evaluate(x.move(shuffled), *plain).move(back)
            return scaled(z.reshape(*view), inputs).reshape(*x.shape)

        yield Mistake(
            "channels grouped in another order",
            "A group takes every n-th channel, not neighbouring ones.",
            "Reshape the channels to (groups, channels of a group).",
            Changed(operator, after=interleaved),
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
    for size in (2 * operator.size + 1, (operator.size - 1) // 2):
        if size > 0:
            yield Mistake(
                f"window of size {size} for {operator.size}",
                "TensorFlow's depth_radius is half of the window, ONNX's size is all of it.",
                "Pass depth_radius=(size - 1) / 2.",
                replace(operator, size=size, alpha=operator.alpha * size / operator.size),
            )
