"""The network in float64, and how far rounding alone can move an implementation away from it.

The formulas and their bounds are those of `parity.operators`; see `parity.arithmetic.bounded`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from lenet.network.architecture import LENET, Layer, Network
from parity.arithmetic import Array, Bounded, Number
from parity.floats import FORMATS

Numbers = TypeVar("Numbers", bound=Number)


def reference(
    params: Mapping[str, Array], images: Array, dtype: str = "float32", network: Network = LENET
) -> dict[str, Bounded]:
    """Every activation in float64, with the end-to-end bound for a port that computes in `dtype`.

    Args:
        params: shared weights; widened to float64, which is exact.
        images: (N, 1, 28, 28).
        dtype: of the port, "float32" or "float64".
        network: whose weights they are.
    """
    state, outputs = given(images, dtype), {}
    for layer in network.layers:
        outputs[layer.name] = state = evaluate(layer, params, state)
    return outputs


def local(layer: Layer, params: Mapping[str, Array], x: Array, dtype: str = "float32") -> Bounded:
    """What `layer` gives for a port's own input x, and how far the port's own output may be from it.

    No error is carried in, so that this tells which layer is wrong, not which comes after a wrong one.
    What rounds nothing is expected exactly, in the port's own dtype.
    """
    return evaluate(layer, params, given(x, dtype))


def given(x: Array, dtype: str) -> Bounded:
    """Values that a port that computes in `dtype` has itself."""
    return Bounded(x, None, FORMATS[dtype])


def in_format(x: Bounded, dtype: str) -> Bounded:
    """The same values and errors, for a port that computes in `dtype`."""
    return replace(x, format=FORMATS[dtype])


def evaluate(layer: Layer, params: Mapping[str, Array], x: Numbers) -> Numbers:
    """The layer's output, in the arithmetic of its input."""
    y = layer.operator.evaluate(x, *parameters(layer, params, x))
    return y[0] if isinstance(y, tuple) else y  # type: ignore[return-value]


def parameters(layer: Layer, params: Mapping[str, Array], x: Numbers) -> list[Numbers]:
    """The layer's parameters in the arithmetic of x."""
    return [x.like(params[name]) for name in layer.param_shapes()]


def certified(logits: Bounded) -> Array:
    """(N,) bool: digits on whose class no implementation within the bound can disagree."""
    return margins(logits) > 0


def margins(logits: Bounded) -> Array:
    """(N,) by how much the largest logit, less its bound, exceeds every other one plus its own bound."""
    top = logits.value.argmax(axis=1)[:, None]
    lowest = np.take_along_axis(logits.value - logits.bound, top, axis=1)
    others = logits.value + logits.bound
    np.put_along_axis(others, top, -np.inf, axis=1)
    return lowest[:, 0] - others.max(axis=1)
