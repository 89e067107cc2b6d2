"""Mistakes of recurrent layers in the order of steps and directions, in lengths, and in initial states."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.layers.of_recurrent import LAYERS, WEIGHTS
from parity.judging.causes.mistake import (
    Changed,
    Inputs,
    Mistake,
    Seen,
    WithOutputs,
    first,
    given,
    made_in,
    with_input,
)
from parity.operators import Operator
from parity.operators.recurrent import Recurrent


def _back(operator: Recurrent, direction: int) -> Callable[[Number, Inputs], Number]:
    """Y whose given direction has its steps in the order in which they were computed."""
    steps = 1 if operator.layout else 0

    def turned(a: Array) -> Array:
        wrong = a.copy()
        one = (slice(None), slice(None), direction) if operator.layout else (slice(None), direction)
        wrong[one] = np.flip(a[one], steps)
        return wrong

    return lambda y, inputs: y.move(turned)


@made_in(*LAYERS)
def directions(operator: Recurrent, seen: Seen) -> Iterator[Mistake]:
    both = operator.direction == "bidirectional"
    if not both:
        other = "reverse" if operator.direction == "forward" else "forward"
        yield Mistake(
            f"direction {other} for {operator.direction}",
            "The sequence is read from the other end.",
            f"Read it {operator.direction}.",
            replace(operator, direction=other),
        )
    if operator.direction != "forward":
        yield Mistake(
            "outputs of the backward direction not reversed",
            "The backward direction's outputs stay in the order in which they are computed: Keras' "
            "go_backwards=True, without Bidirectional, returns them so.",
            "Reverse them along the time axis.",
            Changed(operator, after=_back(operator, 1 if both else 0)),
        )
    if both:
        axis = 2 if operator.layout else 1
        yield Mistake(
            "directions exchanged in the output",
            "The backward direction comes first.",
            "Concatenate forward, backward.",
            Changed(operator, after=lambda y, _: y.move(lambda a: np.flip(a, axis))),
        )
        yield Mistake(
            "weights of the two directions exchanged",
            "The forward direction has the weights of the backward one.",
            "Copy the parameters by their names: PyTorch's have the suffix _reverse.",
            Changed(operator, _flipped),
        )
        for place, words in enumerate(("forward", "backward")):
            yield Mistake(
                f"{words} weights for both directions",
                f"Both directions have the parameters of the {words} one.",
                "Copy the parameters by their names: PyTorch's have the suffix _reverse.",
                Changed(operator, lambda inputs, k=place: _of_one(inputs, k)),  # type: ignore[misc]
            )
        yield Mistake(
            "backward direction reads forward",
            "Both directions read the sequence from its beginning.",
            "Reverse the input of the backward direction, and its outputs.",
            Changed(operator, after=lambda y, inputs: _both_forward(operator, y, inputs)),
        )


def _of_one(inputs: list[Number | None], direction: int) -> list[Number | None]:
    """The inputs, with the parameters of one direction for both."""
    return [
        one if one is None or k not in (*WEIGHTS, 7) else one.move(lambda a: a[[direction, direction]])
        for k, one in enumerate(inputs)
    ]


def _flipped(inputs: list[Number | None]) -> list[Number | None]:
    return [
        one if one is None or k not in (*WEIGHTS, 7) else one.move(lambda a: a[::-1])
        for k, one in enumerate(inputs)
    ]


def _both_forward(operator: Recurrent, y: Number, inputs: Inputs) -> Number:
    """Y of (T, 2, B, H) whose second half is that of a forward layer."""
    if operator.layout or given(inputs, 4) is not None:
        raise ValueError("only for whole sequences, time first")
    swapped = _flipped(list(inputs))
    states = [one if one is None else one.move(lambda a: a[::-1]) for one in swapped[5:7]]
    result: Any = operator.evaluate(*swapped[:5], *states, *swapped[7:])
    other = result[0].move(lambda a: a[:, :1])
    return y.move(lambda a: a[:, :1]).join([other], 1)


@made_in(*LAYERS)
def sequences(operator: Recurrent, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    if x.shape[0] > 1 and x.shape[1] > 1:
        yield Mistake(
            "batch and time exchanged",
            "The layer steps along the batch: PyTorch expects (time, batch, ...) unless batch_first=True.",
            "Pass batch_first=True, or transpose.",
            BatchAsTime(operator),
        )
    if given(seen.inputs, 4) is not None:
        yield Mistake(
            "lengths of the sequences ignored",
            "All sequences are read to the end of the array.",
            "Pack the sequences, or pass their lengths.",
            with_input(operator, 4, lambda lengths: None),
        )
    for place, what in {5: "initial state", 6: "initial cell state", 7: "peephole weights"}.items():
        if given(seen.inputs, place) is not None:
            yield Mistake(
                f"{what} ignored",
                "It is taken for zero.",
                f"Pass the {what}.",
                with_input(operator, place, lambda h: h.move(np.zeros_like)),
            )
    if operator.clip:
        yield Mistake("clip ignored", "The arguments are not limited.", "Clip.", replace(operator, clip=0.0))


@made_in(*LAYERS)
def last_states(operator: Recurrent, seen: Seen) -> Iterator[Mistake]:
    """What is returned as the last states."""
    if operator.TYPE == "LSTM":
        yield Mistake(
            "last hidden state and last cell state exchanged",
            "h is returned as c, and c as h: PyTorch and Keras return h before c, JAX's cells c before h.",
            "Exchange them.",
            WithOutputs(operator, lambda outputs: (outputs[0], outputs[2], outputs[1])),
        )
    steps = first(seen.inputs).shape[1 if operator.layout else 0]
    whole = given(seen.inputs, 4) is None
    for step, words in {0: "first", -1: "last"}.items():
        right = {"forward": -1, "reverse": 0}.get(operator.direction) if whole else None
        if steps > 1 and step != right:
            yield Mistake(
                f"output at the {words} step for the last state",
                f"The output at the {words} step of the sequence is returned as the last state. That of the "
                "forward direction stands at the last step, that of the reverse direction at the first one.",
                "Use the last state that the layer returns.",
                WithOutputs(operator, lambda outputs, step=step: _at_step(outputs, step, operator.layout)),  # type: ignore[misc]
            )


def _at_step(outputs: tuple[Number, ...], step: int, layout: int) -> tuple[Number, ...]:
    """The outputs of a layer with those at one step for the last state."""
    return (outputs[0], outputs[0].move(lambda a: a.take(step, 1 if layout else 0)), *outputs[2:])


@dataclass(frozen=True)
class BatchAsTime(Operator):
    """A layer that steps along the batch. Its last states have another shape: nothing is said of them."""

    TYPE: ClassVar[str] = "layer that steps along the batch"

    right: Recurrent

    def evaluate(self, *inputs: Number | None) -> tuple[Number, ...]:
        result: Any = self.right.evaluate(*_time_first(list(inputs)))
        right: Any = self.right.evaluate(*inputs)
        return (result[0].move(lambda a: _time_back(a, self.right.layout)), *right[1:])


def _time_first(inputs: list[Number | None]) -> list[Number | None]:
    """The inputs of a layer that takes the batch for the time; states of zeros fit any batch."""
    zeros = [one is None or not one.comparable.any() for one in inputs[5:7]]
    states = [None if zero else one for zero, one in zip(zeros, inputs[5:7], strict=True)]
    return [first(inputs).transpose(1, 0, 2), *inputs[1:5], *states, *inputs[7:]]


def _time_back(a: Array, layout: int) -> Array:
    """Y of exchanged time and batch, as it is expected."""
    return a.transpose(1, 0, 2, 3) if layout else a.transpose(2, 1, 0, 3)
