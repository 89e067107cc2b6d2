"""The network in float64, with bounds on the rounding errors of an implementation.

The formulas and their bounds are in `parity.operators`; see `parity.arithmetic.bounded`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from lenet.network.architecture import LENET, Layer, Network
from parity.arithmetic import Array, Bounded, Number
from parity.arithmetic.floats import FORMATS
from parity.errors import UserError

Numbers = TypeVar("Numbers", bound=Number)


def reference(
    params: Mapping[str, Array], images: Array, dtype: str = "float32", network: Network = LENET
) -> dict[str, Bounded]:
    """All activations in float64, with end-to-end bounds for a port that computes in `dtype`.

    Args:
        params: shared weights; widened to float64, which is exact.
        images: (N, 1, 28, 28).
        dtype: the port's dtype, "float32" or "float64".
        network: the network of these weights.

    Raises:
        UserError: with these weights a layer overflows the port's dtype, so that nothing can be judged.
    """
    state, outputs = given(images, dtype), {}
    largest = float(np.finfo(dtype).max)
    for layer in network.layers:
        outputs[layer.name] = state = evaluate(layer, params, state)
        if max(state.value.max(initial=0), -state.value.min(initial=0)) > largest:
            raise UserError(f"with these weights the sums of {layer.name} overflow {dtype}")
    return outputs


def local(layer: Layer, params: Mapping[str, Array], x: Array, dtype: str = "float32") -> Bounded:
    """The output of `layer` for a port's own input x, with the bound on the port's own output.

    The input counts as exact, so only a wrong layer is found, not the layers after it. If nothing rounds, the
    bound is zero in the port's dtype.
    """
    return evaluate(layer, params, given(x, dtype))


def rounded(expected: Mapping[str, Bounded], dtype: str) -> dict[str, Array]:
    """The right values, rounded once to the port's dtype."""
    return {name: y.value.astype(dtype) for name, y in expected.items()}


def given(x: Array, dtype: str) -> Bounded:
    """The values of x as exact input of a port that computes in `dtype`."""
    return Bounded(x, None, FORMATS[dtype])


def in_format(x: Bounded, dtype: str) -> Bounded:
    """The same values and errors, for a port that computes in `dtype`."""
    return replace(x, format=FORMATS[dtype])


def evaluate(layer: Layer, params: Mapping[str, Array], x: Numbers) -> Numbers:
    """The layer's output, in the arithmetic of its input (floats, bounded values or integers)."""
    y = layer.operator.evaluate(x, *parameters(layer, params, x))
    return y[0] if isinstance(y, tuple) else y  # type: ignore[return-value]


def parameters(layer: Layer, params: Mapping[str, Array], x: Numbers) -> list[Numbers]:
    """The layer's parameters in the arithmetic of x."""
    return [x.like(params[name]) for name in layer.param_shapes()]


def certified(logits: Bounded) -> Array:
    """(N,) bool: digits for which every implementation within the bound gives the same class."""
    return margins(logits) > 0


def margins(logits: Bounded) -> Array:
    """(N,) the smallest gap between the largest logit minus its bound and another logit plus its bound."""
    top = logits.value.argmax(axis=1)[:, None]
    lowest = np.take_along_axis(logits.value - logits.bound, top, 1)
    others = logits.value + logits.bound
    np.put_along_axis(others, top, -np.inf, axis=1)
    return lowest[:, 0] - others.max(axis=1)
