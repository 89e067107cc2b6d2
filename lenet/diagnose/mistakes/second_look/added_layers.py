"""Layers that do not belong in the network, or that take other values: batch norm, LRN, other windows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, Mistake
from lenet.diagnose.mistakes.second_look.fitted_lines import line
from lenet.diagnose.mistakes.wrong_forward import Call, after, before, instead, moved, of_type
from lenet.network.architecture import LAYERS
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import gamma
from parity.operators.activation import Relu
from parity.operators.affine import Conv, Gemm
from parity.operators.normalization import LRN
from parity.operators.pooling import MaxPool

FAMILY = Family()
CONVS, DENSE, RELUS, POOLS = (of_type(one) for one in (Conv, Gemm, Relu, MaxPool))
AFFINE = (*CONVS, *DENSE)
OUT = "Remove the layer: the network has none."

# --- batch norm ---------------------------------------------------------------------------------


def _normalised(x: Bounded, call: Call, eps: float, axes: tuple[int, ...]) -> Bounded:
    """(x − mean) / √(variance + ε), with the bound of `data.standardised`."""
    n = int(np.prod([x.shape[axis] for axis in axes]))
    g = gamma(n + 8, call.u)
    mean, variance = x.value.mean(axes, keepdims=True), x.value.var(axes, keepdims=True)
    mean_error = g * np.abs(x.value).mean(axes, keepdims=True) + x.bound.max(axes, keepdims=True)
    spread = np.sqrt(variance + eps)
    value = (x.value - mean) / spread
    share = np.minimum(
        g + (g * variance + 2 * mean_error * np.sqrt(variance) + mean_error**2) / spread**2, 0.5
    )
    error = (x.bound + mean_error + 4 * call.u * (np.abs(x.value) + np.abs(mean))) / spread
    return Bounded(value, np.where(share < 0.5, (error + share * np.abs(value)) / (1 - share), np.inf))


def _moments(shape: tuple[int, ...], how: str) -> tuple[int, ...]:
    """The axes of a batch, a layer or an instance norm."""
    everything = tuple(range(len(shape)))
    if how == "batch":
        return tuple(axis for axis in everything if axis != 1)
    return everything[1:] if how == "layer" else everything[2:]


KINDS = {
    "batch": Kind(
        "batch norm in training mode",
        "Each channel is normalised by the mean and the variance of the batch.",
        "Remove it; if your network is to have one, call model.eval().",
    ),
    "layer": Kind("layer norm", "Each item is normalised by its own mean and variance.", OUT),
    "instance": Kind("instance norm", "Each map is normalised by its own mean and variance.", OUT),
}


def _in_front(
    kind: Kind, change: Callable[[Bounded, Call], Bounded], relus: int, mixes: bool = False
) -> None:
    """A layer behind each affine layer, or in front of each of the first ReLUs, which is the same unless what
    lies between is handed out."""
    FAMILY.add(AFFINE[:relus], kind, after(change), mixes)
    for affine, relu in zip(AFFINE, RELUS[:relus], strict=False):
        in_front = before(lambda call: replace(call, x=change(call.x, call)))
        FAMILY.mistakes.append(Mistake(kind, {relu: in_front}, mixes, told_by=affine))


for _how, _kind in KINDS.items():
    for _eps in (1e-3, 1e-5, 1e-6):
        _norm = lambda y, call, e=_eps, how=_how: _normalised(y, call, e, _moments(y.shape, how))  # noqa: E731
        _count, _mixes = 2 if _how == "instance" else len(RELUS), _how == "batch"
        _in_front(_kind, _norm, _count, _mixes)
        _behind = Kind(f"{_kind.name}, behind ReLU", _kind.explanation, _kind.remedy)
        FAMILY.add(RELUS[:_count], _behind, after(_norm), _mixes)
for _eps in (1e-3, 1e-4, 1e-5, 2e-5):
    _in_front(
        Kind(
            f"batch norm with untrained statistics, epsilon {_eps:g}",
            f"A batch norm whose mean is 0 and variance is 1 divides by √(1 + {_eps:g}).",
            OUT,
        ),
        line(1 / np.sqrt(1 + _eps), 0.0),
        len(RELUS),
    )

# --- local response normalization ----------------------------------------------------------------

NEIGHBOURS = {
    "PyTorch's and Caffe's": LRN(size=5, alpha=1e-4, beta=0.75, bias=1.0),
    "AlexNet's": LRN(size=5, alpha=5e-4, beta=0.75, bias=2.0),
    "AlexNet's, alpha divided by the size": LRN(size=5, alpha=1e-4, beta=0.75, bias=2.0),
    "TensorFlow's": LRN(size=11, alpha=11.0, beta=0.5, bias=1.0),
    "of TensorFlow's CIFAR-10 example": LRN(size=9, alpha=1e-3, beta=0.75, bias=1.0),
    "of three channels": LRN(size=3, alpha=1e-4, beta=0.75, bias=1.0),
}


def _neighbours(y: Bounded, call: Call, lrn: LRN) -> Bounded:
    result = lrn.evaluate(y)
    assert isinstance(result, Bounded)
    return result


for _name, _lrn in NEIGHBOURS.items():
    _kind = Kind(
        f"local response normalization ({_name} numbers)",
        f"Values are divided by a power of the squares of {_lrn.size} neighbouring channels.",
        OUT,
    )
    _divide = lambda y, call, lrn=_lrn: _neighbours(y, call, lrn)  # noqa: E731
    FAMILY.add((*RELUS[: len(POOLS)], *POOLS), _kind, after(_divide))
    FAMILY.mistakes.append(
        Mistake(
            _kind,
            {"conv2": before(lambda call, divide=_divide: replace(call, x=divide(call.x, call)))},
            told_by="pool1",
        )
    )

# --- what a layer sees of the one before -----------------------------------------------------------

TABLE = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
CONNECTED = np.array(
    [[str(k) in row for k in range(6)] for row in TABLE.split()]
)  # LeCun et al. 1998, table I
C3 = Kind(
    "connection table of LeNet-5's C3",
    "Each output channel sees only some input channels, as in table I of LeCun et al. 1998; here each sees "
    "all of them.",
    "Use a full convolution: no table, no mask.",
)
FAMILY.add(["conv2"], C3, before(lambda call: replace(call, w=call.w * CONNECTED[:, :, None, None])))


def _far(
    x: Bounded, call: Call, split: Callable[[int, int], tuple[int, ...]], axes: tuple[int, ...]
) -> Bounded:
    """The maximum over other windows: `split` is the reshape of height and width."""
    n, c, height, width = x.shape
    return _largest(x.move(lambda a: a.reshape(n, c, *split(height, width))), axes)


def _largest(x: Bounded, axes: tuple[int, ...]) -> Bounded:
    """The maximum and the largest error along axes."""
    error = None if x.error is None else x.error.max(axes)
    return Bounded(x.value.max(axes), error, x.format)


SPLITS: dict[str, tuple[Callable[[int, int], tuple[int, ...]], tuple[int, ...]]] = {
    "(2, h/2, 2, w/2): pixels half a map apart": (lambda h, w: (2, h // 2, 2, w // 2), (2, 4)),
    "(h/2, 2, 2, w/2)": (lambda h, w: (h // 2, 2, 2, w // 2), (3, 4)),
    "(2, h/2, w/2, 2)": (lambda h, w: (2, h // 2, w // 2, 2), (2, 5)),
}
for _name, (_split, _axes) in SPLITS.items():
    FAMILY.add(
        POOLS,
        Kind(
            f"maximum over a reshape to {_name}",
            "The reshape puts other pixels than neighbours into a window.",
            "Reshape to (h/2, 2, w/2, 2) and take the maximum over the second and the fourth of these axes.",
        ),
        instead(lambda call, split=_split, axes=_axes: _far(call.x, call, split, axes)),
    )


def _scrambled(a: Array) -> Array:
    return a.transpose(0, 2, 3, 1).reshape(a.shape)


def _unscrambled(a: Array) -> Array:
    n, c, height, width = a.shape
    return a.reshape(n, height, width, c).transpose(0, 3, 1, 2)


ORDERS: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("reshaped from NHWC to NCHW, not transposed", _scrambled),
    ("reshaped from NCHW to NHWC, not transposed", _unscrambled),
    ("with height and width exchanged", lambda a: a.swapaxes(2, 3)),
    ("with channels and height exchanged by a reshape", lambda a: a.swapaxes(1, 2).reshape(a.shape)),
    ("with channels and width exchanged by a reshape", lambda a: a.swapaxes(1, 3).reshape(a.shape)),
    ("flipped left to right", lambda a: a[..., ::-1]),
    ("flipped upside down", lambda a: a[:, :, ::-1]),
    ("turned by 180 degrees", lambda a: a[:, :, ::-1, ::-1]),
)
for _name, _order in ORDERS:
    _kind = Kind(
        f"maps {_name}",
        "The maps are in another order than the next layer expects.",
        "Transpose; do not reshape.",
    )
    FAMILY.add(["pool1", "pool2"], _kind, after(lambda y, call, order=_order: moved(y, order)))
    FAMILY.mistakes.append(
        Mistake(
            _kind,
            {"conv2": before(lambda call, order=_order: replace(call, x=moved(call.x, order)))},
            told_by="pool1",
        )
    )

# --- files read in the order of their names ---------------------------------------------------------


def by_text(count: int) -> Array:
    """0, 1, 10, 11, …, 2, 3: numbers sorted as text."""
    return np.array(sorted(range(count), key=str))


SORTED = "Sort by number, or pad the numbers with zeros: 00, 01, …"
for _name, _change in (
    ("bias sorted as text", lambda call: replace(call, b=call.b[by_text(len(call.b))])),
    ("weights: outputs sorted as text", lambda call: replace(call, w=call.w[by_text(len(call.w))])),
    (
        "weights and bias: outputs sorted as text",
        lambda call: replace(call, w=call.w[by_text(len(call.w))], b=call.b[by_text(len(call.b))]),
    ),
    ("weights: inputs sorted as text", lambda call: replace(call, w=call.w[:, by_text(call.w.shape[1])])),
):
    FAMILY.add(
        [layer.name for layer in LAYERS if layer.affine],
        Kind(_name, "They come in the order of their numbers as text: 10 before 2.", SORTED),
        before(_change),
    )
