"""Mistakes of a convolution: its kernel, its channels, its padding, its stride, its bias."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, Mistake, case
from lenet.diagnose.mistakes.wrong_forward import Call, after, before, convolutions, moved
from parity.arithmetic import Array, Bounded

FAMILY = Family()
CONVS = convolutions()
SEVERAL = CONVS[1:]  # convolutions with more than one input channel, whose order can be wrong

# --- the kernel --------------------------------------------------------------------------------


def weights(call: Call, change: Callable[[Array], Array]) -> Call:
    """The same call with changed weights (O, C, KH, KW)."""
    return replace(call, w=np.ascontiguousarray(change(call.w)))


@FAMILY.before(
    CONVS,
    Kind(
        "flipped kernel",
        "The kernel is turned by 180 degrees: this is a true convolution, as in SciPy and Theano; all other "
        "frameworks compute a correlation.",
        "Turn the kernel back (`w[..., ::-1, ::-1]`) or use a correlation.",
        case("keras-team/keras", 3015),
    ),
)
def _(call: Call) -> Call:
    return weights(call, lambda w: w[:, :, ::-1, ::-1])


for _axis, _name in ((2, "upside down"), (3, "left to right")):
    FAMILY.add(
        CONVS,
        Kind(
            f"kernel flipped {_name}",
            f"The kernel is flipped {_name}, along a single axis.",
            "Remove the flip: the frameworks' convolution is a correlation.",
            case("keras-team/keras", 3015),
        ),
        before(lambda call, axis=_axis: weights(call, lambda w: np.flip(w, axis))),
    )


@FAMILY.before(
    CONVS,
    Kind(
        "kernel height and width swapped",
        "The kernel's two spatial axes are exchanged, as `w.T` does, which reverses all axes.",
        "Convert OIHW to HWIO with transpose(2, 3, 1, 0); do not reverse the axes.",
        case("hyseob/PyMDNet", 3),
    ),
)
def _(call: Call) -> Call:
    return weights(call, lambda w: w.swapaxes(2, 3))


for _turns in (1, 3):
    FAMILY.add(
        CONVS,
        Kind(
            f"kernel turned by {90 * _turns} degrees",
            f"The kernel is turned by {90 * _turns} degrees: a transpose and a flip along one axis.",
            "Convert the kernel with transpose(2, 3, 1, 0) only.",
            case("hyseob/PyMDNet", 3),
        ),
        before(lambda call, turns=_turns: weights(call, lambda w: np.rot90(w, turns, (2, 3)))),
    )


def _left_out(w: Array, rows: slice, columns: slice) -> Array:
    kept = np.zeros_like(w)
    kept[:, :, rows, columns] = w[:, :, rows, columns]
    return kept


for _name, _rows, _columns in (
    ("last row", slice(-1), slice(None)),
    ("last column", slice(None), slice(-1)),
    ("last row and column", slice(-1), slice(-1)),
    ("first row", slice(1, None), slice(None)),
    ("first column", slice(None), slice(1, None)),
    ("first row and column", slice(1, None), slice(1, None)),
):
    FAMILY.add(
        CONVS,
        Kind(
            f"{_name} of the kernel left out",
            f"The loop over the kernel skips its {_name}.",
            "Loop over the whole kernel: range(kernel).",
            case("LazaroHurtado/micrograd-rs", 31),
        ),
        before(lambda call, r=_rows, c=_columns: weights(call, lambda w: _left_out(w, r, c))),
    )


def _axes(label: str) -> tuple[int, ...]:
    return tuple("OIHW".index(axis) for axis in label)


def _reread(w: Array, order: Sequence[int]) -> Array:
    """The buffer of w (OIHW) read as an array with its axes in `order`, then transposed to OIHW."""
    return w.reshape([w.shape[axis] for axis in order]).transpose(np.argsort(order))


for _label in ("HWIO", "HWOI", "OHWI", "IHWO", "IOHW"):
    FAMILY.add(
        CONVS if _label == "HWIO" else SEVERAL,  # with one input channel, the rest is equal or right
        Kind(
            f"kernel OIHW read as {_label}",
            f"The kernel was reshaped to {_label}, which scrambles its values; it must be transposed.",
            "Use transpose, not reshape: a reshape keeps the order of the values in memory.",
            case("hyseob/PyMDNet", 3),
        ),
        before(lambda call, label=_label: weights(call, lambda w: _reread(w, _axes(label)))),
    )


def _stored(w: Array, order: Sequence[int]) -> Array:
    """w (OIHW) transposed to `order`, then its buffer read as OIHW."""
    return w.transpose(order).reshape(w.shape)


for _label in ("HWIO", "OHWI", "IOHW"):
    FAMILY.add(
        CONVS if _label == "HWIO" else SEVERAL,
        Kind(
            f"kernel {_label} read as OIHW",
            f"The kernel was transposed to {_label} and then reshaped to OIHW, which scrambles its values.",
            f"Undo the transpose with the inverse permutation of {_label}, not with a reshape.",
            case("hyseob/PyMDNet", 3),
        ),
        before(lambda call, label=_label: weights(call, lambda w: _stored(w, _axes(label)))),
    )

# --- channels ----------------------------------------------------------------------------------

ORDER = case("LazaroHurtado/micrograd-rs", 31)


def _only(w: Array, channel: int) -> Array:
    kept = np.zeros_like(w)
    kept[:, channel] = w[:, channel]
    return kept


def _grouped(w: Array, groups: int) -> Array:
    """The full kernel, with zeros between groups, that acts as a grouped one made of w[:, : C / groups]."""
    full, (maps, channels) = np.zeros_like(w), w.shape[:2]
    ins, outs = channels // groups, maps // groups
    for g in range(groups):
        full[g * outs : (g + 1) * outs, g * ins : (g + 1) * ins] = w[g * outs : (g + 1) * outs, :ins]
    return full


CHANNELS: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    (
        "only the first input channel",
        "Only the first input channel is used. That is right for gray images, not after another convolution.",
        lambda w: _only(w, 0),
    ),
    (
        "only the last input channel",
        "Each input channel overwrites the sum of those before it: only the last channel counts.",
        lambda w: _only(w, -1),
    ),
    (
        "first kernel on every input channel",
        "Every input channel is convolved with the first channel's kernel.",
        lambda w: np.repeat(w[:, :1], w.shape[1], axis=1),
    ),
    (
        "mean over input channels",
        "The results of the input channels are averaged; they must be summed.",
        lambda w: w / w.shape[1],
    ),
    ("input channels reversed", "The input channels are taken in reverse order.", lambda w: w[:, ::-1]),
    (
        "grouped in two",
        "The convolution has two groups, so each output uses half of the input channels.",
        lambda w: _grouped(w, 2),
    ),
)
for _name, _text, _change in CHANNELS:
    FAMILY.add(
        SEVERAL,
        Kind(_name, _text, "Sum over all input channels of kernel[o, c] * x[c], with groups=1.", ORDER),
        before(lambda call, how=_change: weights(call, how)),
    )


@FAMILY.after(
    CONVS,
    Kind(
        "output maps reversed",
        "The output maps are in reverse order.",
        "Keep the order of the kernel's output axis.",
        case("PaddlePaddle/PaDiff", 48),
    ),
)
def _(y: Bounded, call: Call) -> Bounded:
    return moved(y, lambda a: a[:, ::-1])


# --- padding and stride ------------------------------------------------------------------------

PADDING = case("google/flax", 963)


def _padded(call: Call, rows: tuple[int, int], columns: tuple[int, int], mode: str = "constant") -> Call:
    """The same call with the input padded by `np.pad` and without padding in the layer."""
    widths = ((0, 0), (0, 0), *((before, max(after, 0)) for before, after in (rows, columns)))
    ends = (slice(None), slice(None), *(slice(min(after, 0) or None) for _, after in (rows, columns)))
    return call.geometry(pads=()).feed(lambda a: np.pad(a, widths, mode=mode)[ends])  # type: ignore[call-overload]


for _width, _layers, _name in (
    (0, CONVS[:1], "no padding (VALID for SAME)"),
    (1, CONVS, "padding of 1"),
    (2, CONVS[1:], "padding of 2 (SAME for VALID)"),
    (3, CONVS, "padding of 3"),
    (4, CONVS, "full padding"),
):
    FAMILY.add(
        _layers,
        Kind(
            _name,
            f"{_width} rows and columns of zeros are added on each side; conv1 needs 2, conv2 none.",
            "Give the padding as a number: conv1 padding=2 ('SAME' at stride 1), conv2 padding=0 ('VALID').",
            PADDING,
        ),
        before(lambda call, width=_width: call.geometry(pads=(width,) * 4)),
    )
for _first, _name in (
    (4, "at the top and left only"),
    (3, "one too far to the lower right"),
    (1, "one too far to the upper left"),
    (0, "at the bottom and right only"),
):
    FAMILY.add(
        CONVS[:1],
        Kind(
            f"padding {_name}",
            f"{_first} zeros are added before and {4 - _first} after the map; a 5×5 kernel needs 2 and 2.",
            "Pad both sides alike, by (kernel − 1) / 2.",
            case("keras-team/keras", 16363),
        ),
        before(lambda call, f=_first: _padded(call, (f, 4 - f), (f, 4 - f))),
    )
for _mode in ("reflect", "symmetric", "edge", "wrap"):
    FAMILY.add(
        CONVS[:1],
        Kind(
            f"{_mode} padding",
            f"The border is filled by `{_mode}` padding, as in SciPy's image filters; it must be zero.",
            "Pad with zeros: mode='constant'.",
            PADDING,
        ),
        before(lambda call, mode=_mode: _padded(call, (2, 2), (2, 2), mode)),
    )


for _width in (1, 2):
    FAMILY.add(
        SEVERAL,
        Kind(
            f"padding of {_width}, cut to size at the lower right",
            f"{_width} rows and columns of zeros are added on each side, and the extra outputs are cut off "
            "at the bottom and right: every output is too far down and to the right.",
            "Give conv2 no padding: padding=0 ('VALID').",
            PADDING,
        ),
        before(lambda call, f=_width: _padded(call, (f, -f), (f, -f))),
    )


@FAMILY.before(
    CONVS,
    Kind(
        "dilation 2",
        "The kernel's taps are two pixels apart, with more padding to keep the size.",
        "Set dilation=1.",
        case("keras-team/keras", 16363),
    ),
)
def _(call: Call) -> Call:
    return call.geometry(dilations=(2, 2), pads=(2 * call.layer.padding,) * 4)


@FAMILY.before(
    CONVS,
    Kind(
        "stride 2",
        "The kernel moves by two pixels; it must move by one.",
        "Set stride=1.",
        case("keras-team/keras", 16363),
    ),
)
def _(call: Call) -> Call:
    return call.geometry(strides=(2, 2))


# --- bias added in the wrong place -------------------------------------------------------------


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
for _affine, _relu in (("conv1", "relu1"), ("conv2", "relu2"), ("fc1", "relu3"), ("fc2", "relu4")):
    FAMILY.mistakes.append(
        Mistake(
            AFTERWARDS,
            {
                _affine: before(_without_bias),
                _relu: after(lambda y, call, name=_affine: bias_added(y, call, name)),
            },
            pending=True,
        )
    )
for _affine, _relu in (("conv1", "relu1"), ("conv2", "relu2"), ("fc1", "relu3"), ("fc2", "relu4")):
    FAMILY.add(
        [_relu],
        Kind(
            "bias added again after the activation",
            "The bias is added before ReLU, which is right, and again to ReLU's output.",
            AFTERWARDS.remedy,
            AFTERWARDS.case,
        ),
        after(lambda y, call, name=_affine: bias_added(y, call, name)),
    )
for _affine, _relu, _pool in (("conv1", "relu1", "pool1"), ("conv2", "relu2", "pool2")):
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
