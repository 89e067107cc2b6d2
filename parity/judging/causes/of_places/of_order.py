"""Mistakes of moving values: blocks, flattening, axes in another order."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, permutations
from typing import Any

import numpy as np

from parity.arithmetic import Array, Bounded, Number
from parity.judging.causes.mistake import (
    Changed,
    Mistake,
    Seen,
    WithOutputs,
    first,
    given,
    made_in,
    with_input,
)
from parity.judging.causes.of_places.of_pieces import EXPLAINED, in_roles
from parity.operators.shape import DepthToSpace, Flatten, Reshape, Slice, Split, Transpose


@made_in("DepthToSpace", "SpaceToDepth")
def depth(operator: DepthToSpace, seen: Seen) -> Iterator[Mistake]:
    other = "CRD" if operator.mode == "DCR" else "DCR"
    yield Mistake(
        f"order of the channels {other} for {operator.mode} (depth_to_space for pixel_shuffle)",
        "PixelShuffle takes channels in the order CRD, TensorFlow's depth_to_space in the order DCR.",
        "Permute the channels before: reshape to (C, b, b) and transpose.",
        replace(operator, mode=other),
        "PINTO0309/onnx2tf#91",
    )


def _channels_last(a: Array) -> Array:
    return np.moveaxis(a, 1, -1).reshape(a.shape)


@made_in("Flatten", "Reshape")
def flattened(operator: Flatten | Reshape, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    if 2 < x.ndim <= 5:
        letters = "CHW" if x.ndim == 4 else "".join(f"{k}" for k in range(1, x.ndim))
        for order in permutations(range(1, x.ndim)):
            if [k for k in order if x.shape[k] > 1] == [k for k in range(1, x.ndim) if x.shape[k] > 1]:
                continue
            words = ", ".join(letters[k - 1] for k in order)
            yield Mistake(
                f"flattened in {words} order",
                "The values are in the order of another layout (of a channels-last tensor, say), the weights "
                "behind are in that of the reference.",
                "Transpose to NCHW before flattening, or permute the rows of the dense layer's weights.",
                with_input(operator, 0, lambda one, order=order: one.move(lambda a: _in_order(a, order))),  # type: ignore[misc]
                "gzuidhof/nn-transfer#16",
            )
    result = operator.evaluate(x, *(one for one in seen.inputs[1:] if one is not None))
    if result.ndim >= x.ndim:
        return  # no flattening
    yield Mistake(
        "flattened in column-major (Fortran) order",
        "The values are read from the first axis on, as in MATLAB, those of a whole batch at once.",
        "Reshape in C order.",
        Changed(
            operator,
            after=lambda y, inputs: first(inputs).move(
                lambda a: a.ravel(order="F").reshape(y.shape, order="F")
            ),
        ),
    )


def _in_order(a: Array, order: tuple[int, ...]) -> Array:
    return a.transpose(0, *order).reshape(a.shape)


@made_in("Reshape")
def unflattened(operator: Reshape, seen: Seen) -> Iterator[Mistake]:
    """A row that becomes maps, as behind the first layer of a decoder."""
    x, shape = first(seen.inputs), given(seen.inputs, 1)
    if x.ndim != 2 or shape is None or not 3 <= shape.size <= 5:
        return
    result = operator.evaluate(x, shape)
    if result.shape[0] != x.shape[0]:
        return
    letters = "CHW" if result.ndim == 4 else "".join(f"{k}" for k in range(1, result.ndim))
    for order in permutations(range(1, result.ndim)):
        if [k for k in order if result.shape[k] > 1] != [
            k for k in range(1, result.ndim) if result.shape[k] > 1
        ]:
            yield Mistake(
                f"row reshaped in {', '.join(letters[k - 1] for k in order)} order",
                "The row is read in the order of another layout (as channels-last maps, say), the weights "
                "before are in that of the reference.",
                "Reshape to C, H, W and transpose then, or permute the rows of the dense layer's weights.",
                _in_other_order(operator, order),
            )


def _in_other_order(operator: Reshape, order: tuple[int, ...]) -> Changed:
    return Changed(operator, after=lambda y, inputs: y.move(lambda a: _from_order(a, order)))


def _from_order(a: Array, order: tuple[int, ...]) -> Array:
    """An array whose values are read as if its axes were in another order."""
    there = a.reshape(len(a), *(a.shape[k] for k in order))
    return there.transpose(0, *(order.index(k) + 1 for k in range(1, a.ndim)))


@made_in("Transpose")
def axes(operator: Transpose, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    right = tuple(operator.perm or ()) or tuple(range(x.ndim))[::-1]
    if x.ndim > 5:
        return
    for order in permutations(range(x.ndim)):
        if order != right:
            yield Mistake(
                f"axes permuted by {order} for {right}",
                "The axes are in another order.",
                f"Transpose by {right}.",
                replace(operator, perm=order),
            )
    yield Mistake(
        f"reshaped, not permuted by {right}",
        "The values stay in order: reshape for transpose.",
        f"Transpose by {right}.",
        Changed(operator, after=lambda y, inputs: first(inputs).reshape(*y.shape)),
    )


@made_in("Reshape")
def factors(operator: Reshape, seen: Seen) -> Iterator[Mistake]:
    """Two lengths of the new shape are exchanged: other groups in a channel shuffle, other heads."""
    shape = given(seen.inputs, 1)
    if not isinstance(shape, Bounded) or shape.error is not None:
        return
    lengths = shape.value.tolist()
    for one, other in combinations(range(len(lengths)), 2):
        if lengths[one] == lengths[other]:
            continue
        swapped = list(lengths)
        swapped[one], swapped[other] = swapped[other], swapped[one]
        yield Mistake(
            f"reshaped to {swapped} for {lengths}",
            "Two lengths are exchanged, so that the groups (of a channel shuffle, of heads) are others.",
            f"Reshape to {lengths}.",
            with_input(operator, 1, lambda x, to=swapped: x.move(lambda a: np.array(to, a.dtype))),  # type: ignore[misc]
        )


@made_in("Slice")
def bounds(operator: Slice, seen: Seen) -> Iterator[Mistake]:
    starts, ends, steps = (given(seen.inputs, k) for k in (1, 2, 4))
    if starts is None or ends is None or first(seen.inputs).comparable.dtype.kind != "f":
        return  # integers are shapes

    def moved(inputs: list[Any], by: int, places: tuple[int, ...]) -> list[Any]:
        return [
            one.move(lambda a: a + np.asarray(by, a.dtype)) if k in places else one
            for k, one in enumerate(inputs)
        ]

    for by in (-1, 1):
        for words, places in (("start and end", (1, 2)), ("start", (1,)), ("end", (2,))):
            yield Mistake(
                f"{words} of the slice {'one later' if by > 0 else 'one earlier'}",
                "The slice is off by one.",
                "Use the bounds of the reference.",
                Changed(operator, lambda inputs, by=by, places=places: moved(inputs, by, places)),  # type: ignore[misc]
            )
    if steps is not None:
        yield Mistake(
            "step of the slice in the other direction, or 1",
            "The values are taken in another step.",
            "Use the step of the reference.",
            with_input(operator, 4, lambda x: x.move(np.ones_like)),
        )


@made_in("Split")
def pieces(operator: Split, seen: Seen) -> Iterator[Mistake]:
    x = first(seen.inputs)
    axis = operator.axis % x.ndim
    result = operator.evaluate(x, *seen.inputs[1:2])
    count = len(result) if isinstance(result, tuple) else 1
    for order in permutations(range(count)) if 1 < count <= 4 else ():
        if order != tuple(range(count)):
            name = f"pieces of the split in the order {order}"
            roles = in_roles(seen.node.outputs, order, seen.nodes) if seen.node is not None else ""
            name = f"{roles}: {name}" if roles else name
            yield Mistake(name, **EXPLAINED, operator=WithOutputs(operator, _taken(order)))
    if count > 1 and x.shape[axis] % count == 0:
        yield Mistake(
            "pieces of the split interleaved",
            "Every piece takes each n-th value, not n neighbouring ones.",
            "Reshape to (pieces, values), or to (values, pieces), as the reference does.",
            with_input(operator, 0, lambda a: a.move(lambda m: _interleaved(m, axis, count))),
        )


def _taken(order: tuple[int, ...]) -> Callable[[tuple[Number, ...]], tuple[Number, ...]]:
    return lambda outputs: tuple(outputs[k] for k in order)


def _interleaved(a: Array, axis: int, count: int) -> Array:
    order = np.arange(a.shape[axis]).reshape(-1, count).T.ravel()
    return a.take(order, axis)
