"""Mistakes of a whole layer: left out, applied twice, or with an activation of its own."""

from collections.abc import Iterator
from typing import Any

from parity.judging.causes.layers.of_normalization import WITH_EPSILON
from parity.judging.causes.mistake import Changed, Inputs, Mistake, Seen, first, made_in, second
from parity.operators import Operator
from parity.operators.activation import Clip, Relu, Sigmoid, Tanh
from parity.operators.affine import Conv, Gemm, MatMul
from parity.operators.elementwise import Identity
from parity.operators.pooling import AveragePool


@made_in("Conv", "Gemm", "MatMul", "AveragePool", *WITH_EPSILON)
def whole(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """A layer that keeps the shape: what follows does not notice."""
    if not _keeps_shape(operator, seen.inputs):
        return
    yield Mistake(
        f"{operator.TYPE} left out",
        "The layer is skipped: its input goes on as it is.",
        "Apply the layer.",
        Changed(Identity(), lambda inputs: inputs[:1]),
    )
    yield Mistake(
        f"{operator.TYPE} applied twice",
        "The layer is applied to its own result once more.",
        "Apply it once.",
        Changed(operator, after=lambda y, inputs: operator.first(y, *inputs[1:])),
    )


@made_in("Conv", "ConvTranspose", "Gemm", "BatchNormalization")
def activated(operator: Any, seen: Seen) -> Iterator[Mistake]:
    """An activation in the layer itself, where the candidate's values lie as behind it."""
    if seen.found is None or seen.found.dtype.kind != "f" or seen.constant or not seen.found.size:
        return
    low, high = float(seen.found.min()), float(seen.found.max())
    options: dict[str, tuple[bool, Operator]] = {
        "ReLU": (low == 0 < high, Relu()),
        "ReLU6": (low == 0 and high == 6, Clip(min=0.0, max=6.0)),
        "sigmoid": (low >= 0 and high <= 1, Sigmoid()),
        "tanh": (-1 <= low < 0 and high <= 1, Tanh()),
    }
    for name, (fits, function) in options.items():
        if fits:
            yield Mistake(
                f"{name} in {operator.TYPE}",
                "The values lie behind an activation: it is a part of the layer (activation=… in Keras), or "
                "the tensor was recorded behind it.",
                "Leave the activation to the node that follows, or record the tensor before it.",
                Changed(operator, after=lambda y, inputs, function=function: function.first(y)),  # type: ignore[misc]
            )


def _keeps_shape(operator: Any, inputs: Inputs) -> bool:
    x = first(inputs)
    if isinstance(operator, Conv):
        w = second(inputs)
        places = operator.window(x, w).out_shape(x.shape[2:])
        return (w.shape[0], *places) == x.shape[1:]
    if isinstance(operator, AveragePool):
        return operator.positions(x) == x.shape[2:]
    if isinstance(operator, Gemm | MatMul):
        return second(inputs).ndim == 2 and len(set(second(inputs).shape)) == 1
    return True
