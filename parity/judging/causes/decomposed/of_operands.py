"""Mistakes at arithmetic: an operand left out or exchanged, a factor applied twice, another ε."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from parity.arithmetic import Number
from parity.judging.causes.decomposed.of_attentions import sharing
from parity.judging.causes.decomposed.of_masks import is_mask
from parity.judging.causes.decomposed.recognised import activation_of
from parity.judging.causes.layers.of_normalization import EPSILONS
from parity.judging.causes.mistake import Changed, Mistake, Seen, made_in, with_input
from parity.operators import OPERATORS, Operator
from parity.operators.elementwise import Identity
from parity.operators.functions import NORM
from parity.operators.operator import Elementwise

# What is taken for an operator of two tensors; Add and Sub are exchanged by `signs`.
OTHERS = {
    "Add": ("Mul", "Max"),
    "Mul": ("Add", "Div"),
    "Div": ("Mul",),
    "Max": ("Min", "Add"),
    "Min": ("Max",),
}
SMALL = 0.1  # an ε is smaller
ROLES = {
    "Add": ("term", "term"),
    "Mul": ("factor", "factor"),
    "Sub": ("", "subtrahend"),
    "Div": ("", "divisor"),
    "Pow": ("", "exponent"),
}


def number_of(x: Number | None) -> float | None:
    """The value of an operand that is one number."""
    if x is None or x.size != 1 or x.comparable.dtype.kind not in "fiu":
        return None
    return float(x.comparable.reshape(-1)[0])


def _said(seen: Seen, place: int) -> str:
    number = number_of(seen.inputs[place])
    if number is not None:
        return f"{number:.6g}"
    if seen.node is not None:
        return seen.node.inputs[place]
    return "of the first operand" if place == 0 else "of the second operand"


def _is_small(x: Number | None) -> bool:
    """Whether an operand may be an ε."""
    number = number_of(x)
    return number is not None and 0 < number < SMALL


@made_in("Add", "Mul", "Sub", "Div", "Pow")
def left_out(operator: Any, seen: Seen) -> Iterator[Mistake]:
    if operator.TYPE == "Mul" and activation_of(seen) is not None:
        return  # its own mistakes say what a missing factor is
    shape = np.broadcast_shapes(*(one.shape for one in seen.inputs if one is not None))
    for place, role in enumerate(ROLES[operator.TYPE]):
        other = seen.inputs[1 - place]
        if not role or other is None or other.shape != shape or number_of(seen.inputs[place]) in (0.0, 1.0):
            continue
        if operator.TYPE == "Add" and _is_small(seen.inputs[place]):
            continue  # an ε of 0
        if is_mask(seen.inputs[place]):
            role = "mask"
        if operator.TYPE == "Add" and _is_residual(seen, place):
            role = "residual connection"
        yield Mistake(
            f"{role} {_said(seen, place)} left out",
            f"The {operator.TYPE} is missing: the other operand goes on as it is (a scale, a bias, a mask, a "
            "residual connection, or a gate is forgotten).",
            f"Apply the {operator.TYPE}.",
            Changed(Identity(), lambda inputs, place=place: [inputs[1 - place]]),  # type: ignore[misc]
        )


def _is_residual(seen: Seen, place: int) -> bool:
    """Whether an operand of a sum is what the other one is computed from: x of x + f(x)."""
    if seen.node is None or seen.graph is None:
        return False
    maker = {name: node for node in seen.graph.nodes for name in node.outputs if name}
    x, known, stack = seen.node.inputs[place], set(seen.graph.constants), [seen.node.inputs[1 - place]]
    if x in known:
        return False
    while stack:
        name = stack.pop()
        if name == x:
            return True
        if name in maker and name not in known:
            known.add(name)
            stack += maker[name].inputs
    return False


@made_in("Mul", "Div")
def factors(operator: Any, seen: Seen) -> Iterator[Mistake]:
    if sharing(seen):
        return  # half of a scale, whose own mistakes say what all of it is
    for place in (0, 1) if operator.TYPE == "Mul" else (1,):
        number = number_of(seen.inputs[place])
        if number is None or abs(number) in (0.0, 1.0) or not np.isfinite(number):
            continue
        role = ROLES[operator.TYPE][place]
        other = seen.inputs[1 - place]
        heads = other.shape[1] if other is not None and other.ndim == 4 else 1
        together = heads ** (-0.5 if role == "factor" else 0.5)
        options: dict[str, Callable[[Number], Number]] = {
            f"{role} {number:.6g} applied twice (1/d for 1/sqrt(d))": lambda c: c * c,
            f"{'divided' if role == 'factor' else 'multiplied'} by {number:.6g}": lambda c: 1.0 / c,
        }
        if heads > 1:
            name = f"{role} of all {heads} heads together: 1/sqrt(H·d) for 1/sqrt(d)"
            options[name] = partial(_times, together)
        for length in _lengths(other, number if role == "divisor" else 1 / number):
            own = length ** (0.5 if role == "divisor" else -0.5)
            name = f"{role} {own:.6g} for {number:.6g}: sqrt({length}), of the length of another axis"
            options[name] = partial(_times, own / number)
        for name, change in options.items():
            yield Mistake(
                name,
                "Another scale, as of the scores of attention.",
                f"{'Multiply' if role == 'factor' else 'Divide'} by {number:.6g} once.",
                with_input(operator, place, change),
            )


def _lengths(scores: Number | None, divisor: float) -> list[int]:
    """Of the scores of attention, those of other axes than the one whose root they are divided by."""
    size = divisor * divisor
    if scores is None or scores.ndim < 3 or abs(size - round(size)) > 1e-5 * size:
        return []
    return [length for length in dict.fromkeys(scores.shape) if length not in (1, round(size))]


def _times(factor: float, x: Number) -> Number:
    return x * factor


@made_in("Sub", "Div", "Pow")
def operands(operator: Any, seen: Seen) -> Iterator[Mistake]:
    yield Mistake(
        "operands swapped",
        "The first operand is taken for the second.",
        "Exchange them.",
        Changed(operator, lambda inputs: inputs[::-1]),
    )


@made_in("Add", "Sub")
def signs(operator: Any, seen: Seen) -> Iterator[Mistake]:
    number = number_of(seen.inputs[1])
    if number != 0 and not is_mask(seen.inputs[1]):  # a softmax does not see it
        yield Mistake(
            f"sign of the second operand {'' if number is None else f'{number:.6g} '}changed",
            "It is subtracted, not added, or the other way round.",
            "Change its sign.",
            with_input(operator, 1, lambda b: -b),
            wider=True,  # part of what a rotation says more precisely
        )


@made_in(*OTHERS)
def other_operators(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """A sum for a product, say, of two tensors: a number beside a tensor is seldom mistaken so."""
    if any(x is None or x.size == 1 for x in seen.inputs) or len(seen.inputs) != 2:
        return
    for other in OTHERS[operator.TYPE]:
        yield Mistake(
            f"{other} for {operator.TYPE}",
            f"The operands go through {other}: a gate or an embedding is added where it is a factor, say.",
            f"Use {operator.TYPE}.",
            OPERATORS[other](),
        )


@made_in("Neg")
def negations(operator: Any, seen: Seen) -> Iterator[Mistake]:
    yield Mistake("sign not changed", "The Neg is missing.", "Change the sign.", Identity())


# --- roots and ε -------------------------------------------------------------------------------


def _users(seen: Seen) -> set[str]:
    """Types of the nodes that take the node's result."""
    assert seen.node is not None
    return {node.type for node in seen.nodes if seen.node.outputs[0] in node.inputs}


@made_in("Add")
def epsilons(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for place in (0, 1):
        number = number_of(seen.inputs[place])
        if number is None or not 0 < number < SMALL:
            continue
        if seen.node and (users := _users(seen)) and not users & {"Sqrt", "Pow", "Div", "Reciprocal", "Log"}:
            continue
        for epsilon in dict.fromkeys((*EPSILONS, float(f"{2 * number:g}"))):
            if f"{epsilon:g}" != f"{number:g}":
                yield Mistake(
                    f"epsilon {epsilon:g} for {number:g}",
                    "Another ε is added. Its default is 1e-3 in Keras, 1e-5 in PyTorch, 1e-6 in Flax and in "
                    "many transformers.",
                    f"Add {number:g}.",
                    with_input(operator, place, lambda e, epsilon=epsilon: e.like(np.full(e.shape, epsilon))),  # type: ignore[misc]
                    value=epsilon,
                )


@dataclass(frozen=True)
class RootThenSum(Elementwise):
    """sqrt(x) + ε."""

    TYPE: ClassVar[str] = "sum of a root and ε"

    def evaluate(self, x: Number, epsilon: Number) -> Number:
        return x.apply(NORM) + epsilon


@made_in("Sqrt")
def roots(operator: Operator, seen: Seen) -> Iterator[Mistake]:
    yield Mistake("root missing", "The value itself is taken.", "Take the root.", Identity())
    if seen.node is None:
        return
    maker = next((one for one in seen.nodes if seen.node.inputs[0] in one.outputs), None)
    if maker is None or maker.type != "Add":
        return
    for place in (0, 1):
        if _is_small(seen.values.get(maker.inputs[place])):
            yield Mistake(
                "epsilon outside of the root",
                "ε is added to the root, not below it.",
                "Compute sqrt(x + epsilon).",
                RootThenSum(),
                inputs=(maker.inputs[1 - place], maker.inputs[place]),
            )


# --- parameters for each channel, and gates ------------------------------------------------------


@made_in("Mul")
def gates(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for place in (0, 1):
        gate, x = seen.inputs[place], seen.inputs[1 - place]
        if seen.node is None or gate is None or x is None or gate.size == 1:
            continue
        name = seen.node.inputs[place]
        if seen.graph is not None and name not in seen.graph.constants:
            yield Mistake(
                f"1 + {name} for the factor {name}",
                "The product is added to what is multiplied: the gate of a residual connection.",
                f"Multiply by {name} itself.",
                with_input(operator, place, lambda g: g + 1.0),
            )


@made_in("Add", "Sub", "Mul", "Div")
def reversed_constants(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """Anchors with height and width exchanged, say, or BGR's means for RGB's."""
    for place in (0, 1):
        x = seen.inputs[place]
        if x is None or seen.node is None or seen.graph is None:
            continue
        name = seen.node.inputs[place]
        for axis in range(x.ndim) if name in seen.graph.constants else ():
            if x.shape[axis] > 1:
                yield Mistake(
                    f"{name} in reverse order along axis {axis}",
                    "A constant is read from its end: height for width, or BGR for RGB.",
                    "Keep the order of the reference.",
                    with_input(operator, place, lambda c, axis=axis: c.move(lambda a: np.flip(a, axis))),  # type: ignore[misc]
                )


@made_in("Mul")
def scales(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for place in (0, 1):
        scale, x = seen.inputs[place], seen.inputs[1 - place]
        if scale is not None and x is not None and 1 < scale.size < x.size and max(scale.shape) == scale.size:
            yield Mistake(
                "scale 1 + w for w",
                "Some layers store the scale w and multiply by 1 + w: Gemma's RMSNorm.",
                "Store what the layer multiplies by.",
                with_input(operator, place, lambda s: s + 1.0),
            )
