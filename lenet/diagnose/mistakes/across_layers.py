"""Mistakes across layers: a bias that is added later, layers in the other order, another's parameters."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, Mistake, case
from lenet.diagnose.mistakes.wrong_forward import Call, after, before, instead, of_type, right
from lenet.network.architecture import ACTIVATION_SHAPES, LAYERS, PARAM_SHAPES
from parity.arithmetic import Array, Bounded
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import AveragePool, MaxPool

FAMILY = Family()
AFFINE = of_type(Conv, Gemm)
RELUS = of_type(Relu)
POOLS = of_type(MaxPool)
MAPS = ACTIVATION_SHAPES["pool2"]

# --- a bias that is added later ----------------------------------------------------------------


def _without_bias(call: Call) -> Call:
    return replace(call, b=np.zeros_like(call.b))


def bias_added(y: Bounded, call: Call, name: str) -> Bounded:
    """y + b with the bias of layer `name`, and the rounding of this sum."""
    b = call.params[f"{name}.bias"]
    value = y.value + b.reshape(-1, *[1] * (y.value.ndim - 2))
    return Bounded(value, (y.bound + 2 * call.u * (np.abs(value) + y.bound)) * (1 + 1e-12))


AFTERWARDS = Kind(
    "bias added after the activation",
    "The bias is added to ReLU's output; it must be added before ReLU.",
    "Compute relu(w * x + b), not relu(w * x) + b.",
    case("intel/ipex-llm", 2411),
)
for _affine, _relu in zip(AFFINE, RELUS, strict=False):
    _added = after(lambda y, call, name=_affine: bias_added(y, call, name))
    FAMILY.mistakes.append(Mistake(AFTERWARDS, {_affine: before(_without_bias), _relu: _added}, pending=True))
    FAMILY.add(
        [_relu],
        Kind(
            "bias added again after the activation",
            "The bias is added before ReLU, which is right, and again to ReLU's output.",
            AFTERWARDS.remedy,
            AFTERWARDS.case,
        ),
        _added,
    )
for _affine, _relu, _pool in zip(AFFINE, RELUS, POOLS, strict=False):
    # From ReLU's input to the pooled maps, adding the bias before or after the maximum is the same
    # function.
    _added = after(lambda y, call, name=_affine: bias_added(y, call, name))
    FAMILY.mistakes += [
        Mistake(
            Kind(
                "bias added after pooling",
                "The bias is added to the pooled maps; it must be added before ReLU.",
                AFTERWARDS.remedy,
                AFTERWARDS.case,
            ),
            {_affine: before(_without_bias), _pool: _added},
            pending=True,
            told_by=_relu,
        ),
        Mistake(
            Kind(
                "bias added again after pooling",
                "The bias is added before ReLU, which is right, and again to the pooled maps.",
                AFTERWARDS.remedy,
                AFTERWARDS.case,
            ),
            {_pool: _added},
            told_by=_relu,
        ),
    ]

# --- two layers in the other order -------------------------------------------------------------


def _averaged_before_relu(call: Call) -> Bounded:
    side = call.layer.kernel
    mean = right(call.with_mistake(AveragePool(kernel_shape=(side, side), strides=(side, side))))
    return right(replace(call, layer=LAYERS[1], x=mean))


for _relu, _pool in zip(RELUS, POOLS, strict=False):
    FAMILY.mistakes.append(
        Mistake(
            Kind(
                "average pooling before ReLU",
                "The mean of each window is used, and pooling comes before ReLU.",
                "Take the maximum over 2×2 windows, after ReLU.",
                case("d2l-ai/d2l-en", 1362),
            ),
            {_relu: instead(lambda call: call.x), _pool: instead(_averaged_before_relu)},
        )
    )

# --- parameters for other maps, or of another layer --------------------------------------------

PLACES = np.arange(np.prod(MAPS)).reshape(MAPS).transpose(1, 2, 0).ravel()  # of H, W, C maps in C, H, W
COLUMNS: tuple[tuple[str, str, str, Callable[[Array], Array]], ...] = (
    (
        "fc1 permuted for maps in HWC order",
        "The columns of fc1.weight were permuted for H, W, C maps, but these are flattened in C, H, W order.",
        "Permute the columns only if the framework is channels-last.",
        lambda w: w[:, PLACES],
    ),
    (
        "fc1 expects maps in HWC order",
        "The columns of fc1.weight were read as if they were in H, W, C order, but they are in C, H, W.",
        "Load fc1.weight as it is: the shared layout is C, H, W.",
        lambda w: w[:, np.argsort(PLACES)],
    ),
)
for _name, _text, _remedy, _change in COLUMNS:
    FAMILY.add(
        ["fc1"],
        Kind(_name, _text, _remedy, case("gzuidhof/nn-transfer", 17)),
        before(lambda call, change=_change: replace(call, w=np.ascontiguousarray(change(call.w)))),
        told_by="flatten",
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
