"""The right loss and backward pass as functions that a mistake can change, with their rounding bounds.

This is `lenet.diagnose.mistakes.wrong_forward` for the other direction. The stages, in order of execution,
are "loss", then for each layer from the last to the first "<layer>.weight" and "<layer>.bias" (gradients
that a port returns) and "<layer>.input" (the cotangent that it passes on).

Rounding may leave open whether a ReLU passes its cotangent, or which value of a window is the largest. The
cotangent there counts as unknown: its bound is its own size. On exact weights nothing is open.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from lenet.diagnose.mistakes.wrong_forward import IMAGE, Changes, walk
from lenet.network.architecture import LAYERS, Layer
from lenet.reference.backward import cross_entropy, layer_gradient, window_taps, winner_decided
from lenet.reference.forward import evaluate, in_format
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FORMATS
from parity.operators.affine import Conv
from parity.operators.pooling import MaxPool

NONE: Changes = {}


@dataclass(frozen=True)
class LossCall:
    """The arguments of the loss: logits (N, 10), labels (N,), and all weights, which a penalty reads."""

    logits: Bounded
    labels: Array
    dtype: str
    params: Mapping[str, Array] = field(default_factory=dict)

    @property
    def u(self) -> float:
        """The port's unit roundoff."""
        return FORMATS[self.dtype].u


@dataclass(frozen=True)
class Loss:
    """The mean loss, and the cotangent of the logits (N, 10)."""

    value: Bounded
    d: Bounded


@dataclass(frozen=True)
class BackCall:
    """The arguments of a layer's backward step.

    Attributes:
        layer: the layer, with its geometry.
        x: the layer's input in the forward pass.
        d: the cotangent of its output.
        w: its weights, float64; empty if it has none.
        images: the batch's images (a tie between two positions that see the same pixels does no harm).
        dtype: the port's dtype.
        params: all shared weights, float64.
    """

    layer: Layer
    x: Bounded
    d: Bounded
    w: Array
    images: Array
    dtype: str
    params: Mapping[str, Array] = field(default_factory=dict)

    @property
    def u(self) -> float:
        """The port's unit roundoff."""
        return FORMATS[self.dtype].u


Part = Callable[[BackCall], Bounded]


def right_loss(call: LossCall) -> Loss:
    """Mean softmax cross-entropy."""
    return Loss(*cross_entropy(call.logits, call.labels, call.dtype))


def right_weight(call: BackCall) -> Bounded:
    """Gradient of the layer's weights."""
    return _gradient(call, 1)


def right_bias(call: BackCall) -> Bounded:
    """Gradient of the layer's biases."""
    return _gradient(call, 2)


def _gradient(call: BackCall, which: int) -> Bounded:
    """The cotangent of the layer's input (0), weights (1) or biases (2)."""
    x, d = in_format(call.x, call.dtype), in_format(call.d, call.dtype)
    # The output of an affine layer, and its biases' values, are not used.
    inputs = [x, x.like(call.w), x.like(np.zeros(len(call.w)))] if call.layer.affine else [x]
    y = x if call.layer.affine else evaluate(call.layer, {}, x)
    return layer_gradient(call.layer, which, inputs, y, d)


def right_input(call: BackCall) -> Bounded:
    """Cotangent of the layer's input."""
    back = _gradient(call, 0)
    if not isinstance(call.layer.operator, MaxPool) or not call.x.bound.any():
        return back
    return Bounded(back.value, _open_winners(call, np.abs(call.d.value) + call.d.bound, back.bound))


def _open_winners(call: BackCall, size: Array, error: Array) -> Array:
    """The error, raised to the cotangent's size wherever it is open which position of a window wins."""
    x, side = call.x, call.layer.kernel
    open_window = ~winner_decided(x, call.images, side, *_sees(call.layer))
    values, errors = (np.stack(window_taps(a, side)) for a in (x.value, x.bound))
    lowest = (values - errors).max(axis=0)
    result = error.copy()
    for k, tap in enumerate(window_taps(result, side)):
        tap[...] = np.where(open_window & (values[k] + errors[k] >= lowest), size, tap)
    return result


def _sees(pool: Layer) -> tuple[int, int, int]:
    """In pixels: the side of the receptive field of this pooling's inputs, their distance, the padding."""
    field, jump, padding = 1, 1, 0
    for layer in LAYERS:
        if layer is pool:
            break
        if isinstance(layer.operator, Conv):
            field, padding = field + (layer.kernel - 1) * jump, padding + layer.padding * jump
        if isinstance(layer.operator, MaxPool):
            field, jump = field + (layer.kernel - 1) * jump, jump * layer.kernel
    return field, jump, padding


PARTS: dict[str, Part] = {"weight": right_weight, "bias": right_bias, "input": right_input}


@dataclass(frozen=True)
class Tape:
    """A batch after its forward pass, from which the backward pass starts.

    Attributes:
        params: shared weights, float64.
        inputs: {layer: its input}; "loss" has the logits.
        labels, images: the batch.
        dtype: the port's dtype.
    """

    params: Mapping[str, Array]
    inputs: Mapping[str, Bounded]
    labels: Array
    images: Array
    dtype: str

    @classmethod
    def record(
        cls,
        params: Mapping[str, Array],
        images: Array,
        labels: Array,
        dtype: str,
        changes: Changes = NONE,
    ) -> "Tape":
        """Run the forward pass, right or with `changes`."""
        wide = {name: w.astype(np.float64) for name, w in params.items()}
        x, inputs = Bounded(images.astype(np.float64), np.zeros(images.shape)), {}
        if IMAGE.name in changes:
            x = walk([IMAGE.name], x, wide, dtype, changes)
        for layer in LAYERS:
            inputs[layer.name] = x
            x = walk([layer.name], x, wide, dtype, changes)
        return cls(wide, inputs | {"loss": x}, labels, images, dtype)

    def call(self, layer: Layer, d: Bounded) -> BackCall:
        """The arguments of a layer's backward step in the right network."""
        w = self.params.get(f"{layer.name}.weight", np.empty(0))
        return BackCall(layer, self.inputs[layer.name], d, w, self.images, self.dtype, self.params)


def walk_back(
    tape: Tape, changes: Mapping[str, Callable], start: tuple[int, Bounded] | None = None
) -> Iterator[tuple[str, Bounded, Bounded]]:
    """Loss and gradients, in order of execution: ("loss", value, cotangent of the logits), then for each
    affine layer ("<layer>.weight", gradient, d) and ("<layer>.bias", gradient, d), with d the cotangent of
    the layer's output.

    Args:
        tape: the forward pass.
        changes: {stage: change}.
        start: a position in the reversed layers and the cotangent of its output; begins there if given.
    """
    if start is None:
        compute = changes["loss"](right_loss) if "loss" in changes else right_loss
        loss = compute(LossCall(tape.inputs["loss"], tape.labels, tape.dtype, tape.params))
        yield "loss", loss.value, loss.d
        start = 0, loss.d
    first, d = start
    for layer in LAYERS[::-1][first:]:
        call = tape.call(layer, d)
        if layer.affine:
            yield f"{layer.name}.weight", _part(call, "weight", changes), d
            yield f"{layer.name}.bias", _part(call, "bias", changes), d
        if layer is not LAYERS[0]:
            d = _part(call, "input", changes)


Passed = list[tuple[str, Bounded, Bounded]]  # the results of `walk_back`


def walk_again(tape: Tape, changes: Mapping[str, Callable], right: Passed) -> Iterator[tuple[str, Bounded]]:
    """The results of `walk_back` under `changes`, without the cotangents.

    Up to the first changed cotangent, only changed gradients are computed; all else is taken from the `right`
    pass.
    """
    if "loss" in changes:
        yield from ((key, value) for key, value, _ in walk_back(tape, changes))
        return
    backwards = LAYERS[::-1]
    first = min((position(key) for key in changes if key.endswith(".input")), default=len(backwards))
    at = 0
    for key, value, d in right:
        if position(key) > first:
            break
        at = max(0, position(key))
        if key in changes:
            value = _part(tape.call(backwards[at], d), key.rpartition(".")[2], changes)
        yield key, value
    if first < len(backwards):
        d = next(d for key, _, d in right if position(key) == at)
        start = at + 1, _part(tape.call(backwards[at], d), "input", changes)
        yield from ((key, value) for key, value, _ in walk_back(tape, changes, start))


def _part(call: BackCall, part: str, changes: Mapping[str, Callable]) -> Bounded:
    key, compute = f"{call.layer.name}.{part}", PARTS[part]
    return changes[key](compute)(call) if key in changes else compute(call)


def position(key: str) -> int:
    """The position of a stage's layer among the reversed layers; -1 for the loss."""
    if key == "loss":
        return -1
    names = [layer.name for layer in LAYERS[::-1]]
    return names.index(key.rpartition(".")[0])
