"""Mistakes of activations, of softmax and attention, of arithmetic, and of recurrent layers."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np

from parity.arithmetic import Array, Number
from parity.judging.causes.mistake import Changed, Mistake, Seen, first, given, made_in, with_input
from parity.operators.activation import Clip, Elu, Gelu, HardSigmoid, LeakyRelu, Relu, Softplus
from parity.operators.operator import Operator
from parity.operators.recurrent import GRU, LSTM, RNN

# --- activations -------------------------------------------------------------------------------


@made_in("Gelu", "com.microsoft.Gelu", "com.microsoft.FastGelu", "com.microsoft.BiasGelu")
def gelus(gelu: Gelu, seen: Seen) -> Iterator[Mistake]:
    other = "none" if gelu.approximate == "tanh" else "tanh"
    yield Mistake(
        "Gelu by the tanh approximation" if other == "tanh" else "Gelu by the error function, not by tanh",
        "There are two forms of GELU, which differ by up to 5e-4: by the error function (PyTorch's default), "
        "and by a tanh (JAX's default, GPT-2).",
        f'Pass approximate="{gelu.approximate}".',
        replace(gelu, approximate=other),
        "goodfire-ai/spd#624",
    )


def _slopes(seen: Seen) -> tuple[float, ...]:
    """The factor of negative values that the candidate used, read off from them."""
    x = seen.inputs[0]
    if x is None or seen.found is None or seen.found.shape != x.shape:
        return ()
    a = x.comparable.astype(np.float64)
    negative = np.isfinite(a) & (a < -1e-3) & np.isfinite(seen.found)
    if not negative.any():
        return ()
    slope = float(np.median(seen.found.astype(np.float64)[negative] / a[negative]))
    return (float(f"{slope:.4g}"),)


@made_in("LeakyRelu", "Relu")
def slopes(operator: Any, seen: Seen) -> Iterator[Mistake]:
    right = getattr(operator, "alpha", 0.0)
    for alpha in dict.fromkeys((*_slopes(seen), 0.0, 0.01, 0.1, 0.2, 0.3)):
        if alpha == 1 or (alpha == -1 and operator.TYPE == "Relu"):
            continue  # no activation, or the absolute value, which have names of their own
        if f"{alpha:.4g}" != f"{right:.4g}":  # the digits that are read off
            yield Mistake(
                f"leaky ReLU ({alpha:g}) for ReLU"
                if operator.TYPE == "Relu"
                else f"slope alpha {alpha:g} for {right:g}",
                "Negative values are multiplied by another factor. The default is 0.3 in Keras 2, 0.2 in "
                "TensorFlow, 0.01 in PyTorch.",
                f"Pass {right:g}.",
                LeakyRelu(alpha=alpha),
            )


@made_in("Elu", "ThresholdedRelu", "Celu", "Selu")
def alphas(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for alpha in (0.1, 0.2, 0.3, 1.0, 1.6732632):
        if alpha != operator.alpha:
            yield Mistake(
                f"alpha {alpha:g} for {operator.alpha:g}",
                "Another parameter of the activation.",
                f"Pass {operator.alpha:g}.",
                replace(operator, alpha=alpha),
            )


NAMES = {"Relu": "ReLU", "LeakyRelu": "leaky ReLU", "Elu": "ELU", "Selu": "SELU", "PRelu": "PReLU"}


@made_in("Relu", "LeakyRelu", "Clip", "Elu", "Selu", "PRelu", "HardSwish", "Sigmoid", "Tanh", "HardSigmoid")
def other_activations(operator: Any, seen: Seen) -> Iterator[Mistake]:
    options: dict[str, Operator] = {
        "no activation": Clip(),
        "ReLU": Relu(),
        "ELU": Elu(),
        "hard sigmoid 0.2x + 0.5": HardSigmoid(alpha=0.2, beta=0.5),
        "hard sigmoid x/6 + 0.5": HardSigmoid(alpha=float(np.float32(1 / 6)), beta=0.5),
        "softplus": Softplus(),
    }
    x = seen.inputs[0]
    if x is not None and x.size and x.comparable.max() > 6:
        options["ReLU6 (cut off at 6)"] = Clip(min=0.0, max=6.0)
    for name, other in options.items():
        if other != operator:
            yield Mistake(
                f"{name} for {NAMES.get(operator.TYPE, operator.TYPE)}",
                "Another activation is applied. Keras 2's hard sigmoid is 0.2x + 0.5, PyTorch's x/6 + 0.5.",
                f"Apply {operator.TYPE}.",
                Changed(other, lambda inputs: inputs[:1]),
            )


@made_in("Softplus")
def softplus_factors(operator: Any, seen: Seen) -> Iterator[Mistake]:
    for beta in (0.5, 2.0, 10.0):
        yield Mistake(
            f"softplus with beta {beta:g}",
            "log(1 + exp(beta x)) / beta.",
            "Use beta 1.",
            Changed(operator, lambda inputs, b=beta: [inputs[0] * b], lambda y, _, b=beta: y * (1 / b)),  # type: ignore[misc]
        )


@made_in("Softmax", "LogSoftmax")
def softmaxes(operator: Any, seen: Seen) -> Iterator[Mistake]:
    x = seen.inputs[0]
    assert x is not None
    right = operator.axis % x.ndim
    for axis in range(x.ndim):
        if axis != right or operator.to_the_end:
            yield Mistake(
                f"axis {axis} for {operator.axis}",
                "The shares add up to 1 along another axis.",
                f"Pass axis={operator.axis}.",
                replace(operator, axis=axis, to_the_end=False),
            )
    if not operator.to_the_end:
        yield Mistake(
            "softmax over all axes from the axis on",
            "Before opset 13 the tensor is flattened to two axes.",
            "Use opset 13 or later.",
            replace(operator, to_the_end=True),
        )
    if seen.found is not None:
        yield Mistake(
            "softmax missing",
            "The logits are returned as they are.",
            "Apply the softmax.",
            Changed(operator, after=lambda y, inputs: first(inputs)),
        )


# --- attention ---------------------------------------------------------------------------------


@made_in("Attention")
def attention(operator: Any, seen: Seen) -> Iterator[Mistake]:
    q, k = seen.inputs[0], seen.inputs[1]
    assert q is not None
    assert k is not None
    size = q.shape[-1] if q.ndim == 4 else q.shape[-1] // (operator.q_num_heads or 1)
    right = operator.scale or size**-0.5
    for name, scale in {
        "scale missing": 1.0,
        "scale 1/d for 1/sqrt(d)": 1 / size,
        "scale applied twice": right * right,
    }.items():
        if scale != right:
            yield Mistake(
                name,
                "The scores are multiplied by another factor before the softmax.",
                f"Multiply by {right:g}.",
                replace(operator, scale=scale),
            )
    yield Mistake(
        "causal mask missing" if operator.is_causal else "causal mask added",
        "Queries see later keys, or do not see them.",
        f"Pass is_causal={bool(operator.is_causal)}.",
        replace(operator, is_causal=1 - operator.is_causal),
    )
    if given(seen.inputs, 3) is not None:
        yield Mistake(
            "mask ignored",
            "The attention mask is not applied.",
            "Pass the mask.",
            with_input(operator, 3, lambda mask: None),
        )
        yield Mistake(
            "boolean mask inverted",
            "True means 'masked' in some interfaces, 'seen' in others.",
            "Invert the mask.",
            with_input(operator, 3, lambda mask: mask.move(_inverted)),
        )


def _inverted(mask: Array) -> Array:
    return ~mask if mask.dtype == bool else mask


# --- arithmetic --------------------------------------------------------------------------------


@made_in("Sub", "Div", "Pow")
def operands(operator: Any, seen: Seen) -> Iterator[Mistake]:
    yield Mistake(
        "operands swapped",
        "The first operand is taken for the second.",
        "Exchange them.",
        Changed(operator, lambda inputs: inputs[::-1]),
    )


@made_in("Concat")
def parts(operator: Any, seen: Seen) -> Iterator[Mistake]:
    if 1 < len(seen.inputs) <= 5:
        for order in permutations(range(len(seen.inputs))):
            if order != tuple(range(len(seen.inputs))):
                yield Mistake(
                    f"concatenated in the order {order}",
                    "The parts are in another order.",
                    "Keep the order of the reference.",
                    Changed(operator, lambda inputs, order=order: [inputs[k] for k in order]),  # type: ignore[misc]
                )


# --- recurrent layers --------------------------------------------------------------------------

GATES = {"LSTM": "iofc", "GRU": "zrh"}


def _reordered(operator: Any, order: tuple[int, ...]) -> Changed:
    """Gates of all weights and biases in another order."""

    def moved(a: Array, axis: int) -> Array:
        blocks = np.split(a, a.shape[axis] // operator.hidden_size, axis)
        kinds = len(order)
        return np.concatenate(
            [blocks[start + k] for start in range(0, len(blocks), kinds) for k in order], axis
        )

    def before(inputs: list[Number | None]) -> list[Number | None]:
        return [
            one if k not in (1, 2, 3) or one is None else one.move(lambda a: moved(a, 1))
            for k, one in enumerate(inputs)
        ]

    return Changed(operator, before)


@made_in("LSTM", "GRU")
def gates(operator: LSTM | GRU, seen: Seen) -> Iterator[Mistake]:
    names = GATES[operator.TYPE]
    for order in permutations(range(len(names))):
        if order != tuple(range(len(names))):
            said = "".join(names[k] for k in order)
            yield Mistake(
                f"order of the gates {said} for {names}",
                "The gates are stored in another order: PyTorch's LSTM has i, f, g, o and its GRU r, z, n; "
                "Keras has i, f, c, o and z, r, h; ONNX i, o, f, c and z, r, h.",
                "Reorder the blocks of W, R and B.",
                _reordered(operator, order),
            )


@made_in("GRU")
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


@made_in("LSTM", "GRU", "RNN")
def recurrences(operator: LSTM | GRU | RNN, seen: Seen) -> Iterator[Mistake]:
    if given(seen.inputs, 3) is not None:
        for name, part in {"bias of the recurrence missing": 1, "bias of the input missing": 0}.items():
            yield Mistake(
                name,
                "One of the two biases is left out. PyTorch has two, Keras one.",
                "Add both biases into one.",
                with_input(operator, 3, lambda b, part=part: b.move(lambda a: _without(a, part))),  # type: ignore[misc]
            )
        yield Mistake(
            "bias missing",
            "Neither of the two biases is added.",
            "Copy the biases.",
            with_input(operator, 3, lambda b: b.move(np.zeros_like)),
        )
    if operator.direction in ("forward", "reverse"):
        other = "reverse" if operator.direction == "forward" else "forward"
        yield Mistake(
            f"direction {other} for {operator.direction}",
            "The sequence is read from the other end.",
            f"Read it {operator.direction}.",
            replace(operator, direction=other),
        )
    if given(seen.inputs, 5) is not None:
        yield Mistake(
            "initial state ignored",
            "The state starts with zeros.",
            "Pass the initial state.",
            with_input(operator, 5, lambda h: h.move(np.zeros_like)),
        )


def _without(bias: Array, part: int) -> Array:
    """One half of the biases as zeros."""
    half = bias.shape[1] // 2
    kept = bias.copy()
    kept[:, part * half : (part + 1) * half] = 0
    return kept
