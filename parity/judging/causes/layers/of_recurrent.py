"""Mistakes of recurrent layers: gates, biases, activations, directions, states."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.errors import Unjudged
from parity.judging.causes.mistake import (
    MISFITS,
    Changed,
    Find,
    Mistake,
    Seen,
    first,
    given,
    made_in,
    with_input,
)
from parity.operators.recurrent import GRU, LSTM, Recurrent

FIRST = 2  # steps
LAYERS = ("LSTM", "GRU", "RNN")
GATES = {"LSTM": "iofc", "GRU": "zrh"}
# Who stores the gates in which order; PyTorch calls c and h g and n.
ORDERS = {
    "LSTM": {"iofc": "ONNX", "ifco": "Keras; PyTorch's ifgo", "icfo": "TensorFlow 1"},
    "GRU": {"zrh": "ONNX, Keras", "rzh": "PyTorch's rzn"},
}
# Tried first: the third is no one's, but easily made.
COMMON = {"LSTM": ((0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1, 3), (0, 3, 2, 1)), "GRU": ((1, 0, 2),)}
WEIGHTS = (1, 2, 3)  # places of W, R and B
ORDER, REORDER = "order of the gates", "Reorder the blocks of W, R and B."
BLOCKS = (
    "The blocks of the weights are taken for other gates: PyTorch's LSTM has i, f, g, o and its GRU r, z, n; "
    "Keras has i, f, c, o and z, r, h; ONNX i, o, f, c and z, r, h."
)


@made_in(*LAYERS)
def recurrent(operator: Any, seen: Seen) -> Iterator[Mistake]:
    found: list[Find] = [biases, activations, weights]
    found += [gates] if operator.TYPE in GATES else []
    found += [resets] if operator.TYPE == "GRU" else []
    tried = [one for find in found for one in find(operator, seen)]
    likely = [one for one in tried if _begins_so(operator, one, seen)]
    if not likely and seen.found is not None and operator.TYPE in GATES:
        likely = [one for one in _with_gates(operator, tried) if _begins_so(operator, one, seen)]
    yield from likely
    yield Mistake(
        "input in reverse order of time",
        "The last step is read first: the sequence was reversed, or the direction is another.",
        "Keep the order of the steps.",
        with_input(operator, 0, lambda x: x.move(lambda a: np.flip(a, operator.layout))),
    )


def _begins_so(operator: Recurrent, mistake: Mistake, seen: Seen) -> bool:
    """Whether a mistake in each step may explain the first steps of the first sequence, which costs less."""
    x, lengths, found = first(seen.inputs), given(seen.inputs, 4), seen.found
    if found is None or found.ndim != 4 or lengths is not None or operator.layout:
        return True
    steps = {"forward": slice(0, FIRST), "reverse": slice(-FIRST, None)}.get(operator.direction, slice(None))
    states = [one if one is None else one.move(lambda a: a[:, :1]) for one in seen.inputs[5:7]]
    few = [x.move(lambda a: a[steps, :1]), *seen.inputs[1:5], *states, *seen.inputs[7:]]
    with suppress(*MISFITS, Unjudged):
        result: Any = mistake.operator.evaluate(*few)
        apart = np.abs(found[steps, :, :1].astype(np.float64) - result[0].comparable)
        return bool((apart <= result[0].bound).all())
    return False


# --- gates -------------------------------------------------------------------------------------


def _reordered(operator: Any, order: tuple[int, ...]) -> Changed:
    """Gates of all weights and biases in another order."""

    def moved(a: Array) -> Array:
        blocks = np.split(a, a.shape[1] // operator.hidden_size, 1)
        kinds = len(order)
        return np.concatenate([blocks[start + k] for start in range(0, len(blocks), kinds) for k in order], 1)

    def before(inputs: list[Number | None]) -> list[Number | None]:
        return [one if k not in WEIGHTS or one is None else one.move(moved) for k, one in enumerate(inputs)]

    return Changed(operator, before)


def gates(operator: LSTM | GRU, seen: Seen) -> Iterator[Mistake]:
    right = tuple(range(len(GATES[operator.TYPE])))
    for order in dict.fromkeys((*COMMON[operator.TYPE], *permutations(right))):
        if order != right:
            yield Mistake(
                f"{ORDER}: {in_words(operator.TYPE, order)}", BLOCKS, REORDER, _reordered(operator, order)
            )


def _with_gates(operator: LSTM | GRU, others: Iterable[Mistake]) -> Iterator[Mistake]:
    """Other mistakes together with an order of the gates: alone, neither explains the first steps."""
    for order in COMMON[operator.TYPE][:2]:
        for other in others:
            if not other.name.startswith(ORDER):
                yield Mistake(
                    f"{other.name}, and {ORDER}: {in_words(operator.TYPE, order)}",
                    f"{other.explanation} {BLOCKS}",
                    f"{other.remedy} {REORDER}",
                    replace(_reordered(operator, order), right=other.operator),
                    wider=True,
                )


def in_words(kind: str, order: tuple[int, ...]) -> str:
    """In which order gates are stored and in which they are read, of two that frameworks have if that fits.

    Args:
        kind: the type of the layer.
        order: for each of its gates in ONNX's order, whose block is taken for it, by its number.
    """
    names, known = GATES[kind], ORDERS[kind]
    taken = "".join(names[k] for k in order)
    read = "".join(names[order.index(k)] for k in range(len(order)))
    orders = (taken, names) if taken in known and read not in known else (names, read)
    moved = [name for k, name in enumerate(names) if order[k] != k]
    swapped = f"{' and '.join(moved)} exchanged, " if len(moved) == 2 else ""
    stored, read = (f"{one} ({known[one]})" if one in known else one for one in orders)
    return f"{swapped}stored {stored}, read as {read}"


def resets(operator: GRU, seen: Seen) -> Iterator[Mistake]:
    now = operator.linear_before_reset
    yield Mistake(
        f"reset gate applied {'before' if now else 'after'} the product: linear_before_reset={1 - now}",
        "The candidate sees R·(r·h) or r·(R·h + b): PyTorch, cuDNN and Keras with reset_after=True compute "
        "the latter.",
        f"Keras: reset_after={bool(now)}.",
        replace(operator, linear_before_reset=1 - now),
        "keras-team/keras#8720",
    )
    yield Mistake(
        "update gate inverted: z for 1 - z",
        "The new state is z·candidate + (1 - z)·h, as in the first papers, not (1 - z)·candidate + z·h.",
        "Exchange z and 1 - z.",
        Changed(operator, lambda inputs: [_negated(one, k, operator) for k, one in enumerate(inputs)]),
    )
    if now and given(seen.inputs, 3) is not None:
        yield Mistake(
            "both biases added up, also those of the candidate",
            "With linear_before_reset the bias of the recurrence is multiplied by the reset gate, that of "
            "the input is not.",
            "Keep the two biases of the candidate apart.",
            with_input(operator, 3, lambda b: _together(b, operator.GATES)),
        )


def _negated(one: Number | None, place: int, operator: GRU) -> Number | None:
    """Weights whose update gate has the other sign: sigmoid(-a) = 1 - sigmoid(a)."""
    if one is None or place not in WEIGHTS:
        return one
    size = operator.hidden_size
    parts = [one.move(partial(_block, start=start, size=size)) for start in range(0, one.shape[1], size)]
    parts = [-part if k % 3 == 0 else part for k, part in enumerate(parts)]
    return parts[0].join(parts[1:], 1)


def _block(a: Array, start: int, size: int) -> Array:
    return a[:, start : start + size]


def _together(bias: Number, gates: int) -> Number:
    """The bias of the candidate's recurrence added to that of its input."""
    size = bias.shape[1] // (2 * gates)
    parts = [bias.move(partial(_block, start=k * size, size=size)) for k in range(2 * gates)]
    parts[gates - 1] = parts[gates - 1] + parts[-1]
    parts[-1] = parts[-1].move(np.zeros_like)
    return parts[0].join(parts[1:], 1)


# --- weights and biases ------------------------------------------------------------------------


def _zero(b: Number) -> Number:
    return b.move(np.zeros_like)


HALVES: dict[str, Callable[[Number, Number], tuple[Number, Number]]] = {
    "bias of the recurrence missing": lambda w, r: (w, _zero(r)),
    "bias of the input missing": lambda w, r: (_zero(w), r),
    "bias missing": lambda w, r: (_zero(w), _zero(r)),
    "bias doubled": lambda w, r: (w + r, w + r),
    "bias of the input for that of the recurrence, too": lambda w, r: (w, w),
    "bias of the recurrence for that of the input, too": lambda w, r: (r, r),
}
OF_RESETS: dict[str, Callable[[Number, Number], tuple[Number, Number]]] = {  # elsewhere the sum alone counts
    "bias of input and bias of recurrence each doubled": lambda w, r: (w * 2.0, r * 2.0),
    "bias of input and bias of recurrence exchanged": lambda w, r: (r, w),
}


def biases(operator: Recurrent, seen: Seen) -> Iterator[Mistake]:
    if given(seen.inputs, 3) is None:
        return
    resets = bool(getattr(operator, "linear_before_reset", 0))
    for name, change in {**HALVES, **(OF_RESETS if resets else {})}.items():
        yield Mistake(
            f"{name}: the sum of both in place of each" if resets and name == "bias doubled" else name,
            "ONNX and PyTorch have two biases, of the input and of the recurrence, and Keras one, their sum. "
            "Each is to be added once.",
            "Copy both biases, or load their sum in place of one and zeros in place of the other.",
            with_input(operator, 3, lambda b, change=change: _changed(b, change)),  # type: ignore[misc]
        )
    if operator.TYPE == "LSTM":
        size = operator.hidden_size
        one = np.zeros((1, 8 * size))
        one[:, 2 * size : 3 * size] = 1
        for name, step in {"added once more": one, "missing": -one}.items():
            yield Mistake(
                f"1 in the bias of the forget gate {name}",
                "Keras' unit_forget_bias stores this 1; TensorFlow 1's BasicLSTMCell adds it when it "
                "runs (forget_bias=1).",
                "Count the 1 once.",
                with_input(operator, 3, lambda b, step=step: b + b.like(step)),  # type: ignore[misc]
            )


def _changed(bias: Number, change: Callable[[Number, Number], tuple[Number, Number]]) -> Number:
    """The bias, both of whose halves are others."""
    half = bias.shape[1] // 2
    parts = (bias.move(partial(_block, start=start, size=half)) for start in (0, half))
    one, other = change(*parts)
    return one.join([other], 1)


def weights(operator: Recurrent, seen: Seen) -> Iterator[Mistake]:
    size = operator.hidden_size

    def blocks(a: Array) -> Array:
        return a.reshape(a.shape[0], -1, size, a.shape[2]).swapaxes(2, 3).reshape(a.shape)

    def reshaped(a: Array) -> Array:
        return a.swapaxes(1, 2).reshape(a.shape)

    for place, what in {2: "recurrent weights", 1: "input weights"}.items():
        if first(seen.inputs[place:]).shape[2] == size:
            yield Mistake(
                f"{what} of each gate transposed",
                "Keras stores (units, gates·units), PyTorch and ONNX (gates·units, units).",
                "Transpose the whole matrix, then reorder its gates.",
                with_input(operator, place, lambda w: w.move(blocks)),
            )
        yield Mistake(
            f"{what} reshaped, not transposed",
            "Keras stores (inputs, gates·units), PyTorch and ONNX (gates·units, inputs).",
            "Transpose.",
            with_input(operator, place, lambda w: w.move(reshaped)),
        )


# --- activations -------------------------------------------------------------------------------


def activations(operator: Recurrent, seen: Seen) -> Iterator[Mistake]:
    times = 2 if operator.direction == "bidirectional" else 1
    kinds = len(operator.DEFAULT)
    right = operator.activations[:kinds] or operator.DEFAULT
    if operator.activation_alpha or operator.activation_beta:
        return
    gate = right[0] if kinds > 1 else ""
    options: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {}
    if gate:
        for name, alpha in {"0.2x + 0.5": 0.2, "x/6 + 0.5": 1 / 6}.items():
            wrong = ("HardSigmoid", *right[1:])
            options[f"hard sigmoid {name} for the gates' {gate}"] = (wrong, (float(np.float32(alpha)),))
    for name in ("Relu", "Tanh", "Sigmoid"):
        if name != right[-1]:
            options[f"{name} for {right[-1]}"] = ((gate, *(name,) * (kinds - 1)) if gate else (name,), ())
    if kinds == 3:
        for name in ("Relu", "Sigmoid"):
            options[f"{name} for the candidate's {right[1]}"] = ((gate, name, right[2]), ())
        options[f"output not put through {right[2]}"] = ((gate, right[1], "Affine"), (1.0,))
    for name, (wrong, alphas) in options.items():
        if wrong != right:
            yield Mistake(
                name,
                "Another activation. Keras before 2.3 has the hard sigmoid 0.2x + 0.5 for gates.",
                f"Use {', '.join(right)}.",
                replace(
                    operator,
                    activations=wrong * times,
                    activation_alpha=alphas * times,
                    activation_beta=(() if not alphas else (0.0,) if "Affine" in wrong else (0.5,)) * times,
                ),
            )
