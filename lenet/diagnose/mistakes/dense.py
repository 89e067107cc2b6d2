"""Mistakes of flattening and dense layers, and of weights and biases in any layer."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, case
from lenet.diagnose.mistakes.wrong_forward import after, before, instead, moved, of_type
from lenet.network.architecture import ACTIVATION_SHAPES, PARAM_SHAPES
from parity.arithmetic import Array, Bounded
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm

FAMILY = Family()
DENSE = of_type(Gemm)
AFFINE = of_type(Conv, Gemm)
MAPS = ACTIVATION_SHAPES["pool2"]

# --- flatten -----------------------------------------------------------------------------------

for _order in permutations(range(3)):
    _label = "".join("CHW"[axis] for axis in _order)
    if _order == (0, 1, 2):
        continue
    FAMILY.add(
        ["flatten"],
        Kind(
            f"flattened in {_label} order",
            f"The maps are flattened in {_label} order, but the weights of fc1 expect C, H, W.",
            "Transpose to C, H, W before flattening, or permute the columns of fc1.weight once.",
            case("gzuidhof/nn-transfer", 16),
        ),
        instead(
            lambda call, order=_order: moved(
                call.x, lambda a: a.transpose(0, *(axis + 1 for axis in order)).reshape(len(a), -1)
            )
        ),
    )
    if _order == (0, 2, 1):
        continue  # for square maps this is the same function
    FAMILY.add(
        ["flatten"],
        Kind(
            f"maps read as {_label} before flattening",
            f"The C, H, W maps are reshaped as if they were {_label}, then permuted before flattening.",
            "Flatten C, H, W maps as they are.",
            case("gzuidhof/nn-transfer", 17),
        ),
        instead(lambda call, order=_order: moved(call.x, lambda a: _reread(a, order))),
    )


def _reread(a: Array, order: tuple[int, ...]) -> Array:
    """(N, C, H, W) values read as if their axes were in `order`, transposed to C, H, W and flattened."""
    shape = [a.shape[axis + 1] for axis in order]
    return a.reshape(len(a), *shape).transpose(0, *(np.argsort(order) + 1)).reshape(len(a), -1)


FAMILY.add(
    ["flatten"],
    Kind(
        "flattened over the batch axis",
        "The batch axis is mixed into the features: a row holds values of several digits.",
        "Use reshape(N, -1) on an array whose first axis is the batch.",
        case("Selen-Suyue/DensePolicy2D", 3),
    ),
    instead(lambda call: moved(call.x, lambda a: a.transpose(1, 2, 3, 0).reshape(len(a), -1))),
    whole_batch=True,
)

# --- weights of dense layers -------------------------------------------------------------------

LAYOUT = case("pytorch/pytorch", 129834)


def _shuffled(order: tuple[int, ...]) -> Callable[[Array], Array]:
    """A function that permutes the columns of fc1.weight from C, H, W to maps flattened in `order`."""
    index = np.arange(np.prod(MAPS)).reshape(MAPS).transpose(order).ravel()
    return lambda w: w[:, index]


WEIGHTS: tuple[tuple[tuple[str, ...], str, str, str, str, Callable[[Array], Array]], ...] = (
    (
        DENSE,
        "weights reshaped, not transposed",
        "The (out, in) weights were reshaped to (in, out), which scrambles them.",
        "Use `w.T`: a reshape keeps the order of the values in memory.",
        case("Selen-Suyue/DensePolicy2D", 3),
        lambda w: w.reshape(w.shape[::-1]).T,
    ),
    (
        DENSE,
        "weights transposed, then reshaped",
        "The weights were transposed to (in, out), and the result was reshaped to (out, in).",
        "Transpose only if the framework needs it, and do not reshape.",
        LAYOUT,
        lambda w: w.T.reshape(w.shape),
    ),
    (
        DENSE,
        "inputs of the weights reversed",
        "The columns of the weights, or the layer's inputs, are in reverse order.",
        "Keep the order of the weights' input axis.",
        LAYOUT,
        lambda w: w[:, ::-1],
    ),
    (
        DENSE,
        "outputs of the weights reversed",
        "The rows of the weights are in reverse order; the biases are not.",
        "Keep the order of the weights' output axis.",
        LAYOUT,
        lambda w: w[::-1],
    ),
    (
        ("fc1",),
        "fc1 permuted for maps in HWC order",
        "The columns of fc1.weight were permuted for H, W, C maps, but these are flattened in C, H, W order.",
        "Permute the columns only if the framework is channels-last.",
        case("gzuidhof/nn-transfer", 17),
        _shuffled((1, 2, 0)),
    ),
    (
        ("fc1",),
        "fc1 expects maps in HWC order",
        "The columns of fc1.weight were read as if they were in H, W, C order, but they are in C, H, W.",
        "Load fc1.weight as it is: the shared layout is C, H, W.",
        case("gzuidhof/nn-transfer", 17),
        lambda w: w[:, np.argsort(np.arange(np.prod(MAPS)).reshape(MAPS).transpose(1, 2, 0).ravel())],
    ),
    (
        AFFINE,
        "weights missing their sign",
        "The absolute values of the weights are used.",
        "Use the weights as they are.",
        "",
        np.abs,
    ),
    (
        AFFINE,
        "weights negated",
        "The weights have the wrong sign.",
        "Use the weights as they are.",
        "",
        np.negative,
    ),
)
for _on, _name, _text, _remedy, _case, _change in WEIGHTS:
    FAMILY.add(
        _on,
        Kind(_name, _text, _remedy, _case),
        before(lambda call, change=_change: replace(call, w=np.ascontiguousarray(change(call.w)))),
        told_by="flatten" if _name.startswith("fc1 ") else "",
    )

# --- biases ------------------------------------------------------------------------------------

BIAS = case("amoudgl/pygoturn", 12)
BIASES: tuple[tuple[str, str, str, Callable[[Array], Array]], ...] = (
    (
        "bias missing",
        "No bias is added.",
        "Load the bias and add its value to each output.",
        np.zeros_like,
    ),
    (
        "bias added twice",
        "The bias is added twice.",
        "Add it once, in the layer or by hand.",
        lambda b: 2 * b,
    ),
    ("bias subtracted", "The bias has the wrong sign.", "Add the bias.", np.negative),
    ("bias reversed", "The biases are in reverse order.", "Keep the biases' order.", lambda b: b[::-1]),
    (
        "first bias for every output",
        "The first output's bias is added to every output.",
        "Add bias[o] to output o: shape (1, O, 1, 1) for maps.",
        lambda b: np.full_like(b, b[0]),
    ),
    (
        "bias shifted by one output",
        "Every output has its neighbour's bias.",
        "Keep the biases' order.",
        lambda b: np.roll(b, 1),
    ),
)
for _name, _text, _remedy, _change in BIASES:
    FAMILY.add(
        AFFINE,
        Kind(_name, _text, _remedy, BIAS),
        before(lambda call, change=_change: replace(call, b=np.ascontiguousarray(change(call.b)))),
    )
for _other in AFFINE:
    _count = PARAM_SHAPES[f"{_other}.bias"][0]
    FAMILY.add(
        [name for name in AFFINE if PARAM_SHAPES[f"{name}.bias"][0] < _count],
        Kind(
            f"bias of {_other}",
            f"The first values of {_other}.bias are used: parameters were paired in the wrong order.",
            "Pair parameters by name, not by order.",
            "https://github.com/PaddlePaddle/PaDiff/blob/develop/docs/FAQs.md",
        ),
        before(lambda call, other=_other: replace(call, b=call.params[f"{other}.bias"][: len(call.b)])),
    )

# --- outputs -----------------------------------------------------------------------------------

KEPT = (0.5, 0.75, 0.8, 0.9)  # shares of values that dropout keeps at its usual rates
SCALES: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("doubled", 2.0, AFFINE),
    ("halved", 0.5, AFFINE),
    *((f"scaled by {keep:g}", keep, of_type(Relu)) for keep in KEPT),
    *((f"scaled by 1 / {keep:g}", 1 / keep, of_type(Relu)) for keep in KEPT),
)
for _name, _factor, _layers in SCALES:
    FAMILY.add(
        _layers,
        Kind(
            f"output {_name}",
            f"The layer's output is {_factor:g} times what it should be.",
            "Look for a scale factor in the code; at test time, dropout must not change values.",
            case("kbreininger/tutorial-dlframework", 3),
        ),
        after(
            lambda y, call, f=_factor: Bounded(f * y.value, f * y.bound + 2 * call.u * f * np.abs(y.value))
        ),
    )
