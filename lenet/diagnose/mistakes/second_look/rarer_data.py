"""Rarer mistakes of the data: statistics of the images, wrapped bytes, grey weights."""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind
from lenet.diagnose.mistakes.data import black_and_white, linear, mean_of, over_spread, pixels
from lenet.diagnose.mistakes.wrong_forward import Call, after
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import gamma

FAMILY = Family()
IMAGE = ("image",)
ONCE = "Scale once: pixel / 255, float32; use no statistics of the images."

# --- factors ------------------------------------------------------------------------------------

for _factor, _name, _text in (
    (
        0.9999,
        "grey of weights that sum to 0.9999",
        "Grey is 0.2989 R + 0.5870 G + 0.1140 B: the weights sum to 0.9999.",
    ),
    (1 / 255 * 127.5, "pixels halved", "Pixels are divided by 510."),
    (255 / 128, "pixels divided by 128", "Pixels are divided by 128, not by 255."),
    (255 / 127.5, "pixels divided by 127.5", "Pixels are divided by 127.5, and 1 is not subtracted."),
    (255 / 127, "pixels divided by 127", "Pixels are divided by 127, not by 255."),
    (2.55, "pixels divided by 100", "Pixels are divided by 100, not by 255."),
    (255 / 254, "pixels divided by 254", "Pixels are divided by 254, not by 255."),
    (255 / 1000, "pixels divided by 1000", "Pixels are divided by 1000, not by 255."),
    (16.0, "pixels multiplied by 16", "Pixels range from 0 to 16."),
    (1 / 16, "pixels divided by 16", "Pixels from 0 to 1 are divided by 16."),
    (
        1 / 3,
        "grey channel taken for one of three",
        "The mean over three channels of which only one holds the image.",
    ),
    (
        0.299,
        "grey weight of red alone",
        "Only one of three channels holds the image: it is multiplied by 0.299.",
    ),
    (
        0.587,
        "grey weight of green alone",
        "Only one of three channels holds the image: it is multiplied by 0.587.",
    ),
    (
        0.114,
        "grey weight of blue alone",
        "Only one of three channels holds the image: it is multiplied by 0.114.",
    ),
    (3.0, "three channels added up", "The image stands in three channels, which are added up."),
):
    FAMILY.add(IMAGE, Kind(_name, _text, "Scale once: pixel / 255, float32."), after(linear(_factor, 0.0)))
for _name, _factor, _offset in (
    ("pixels scaled by 127.5 less 1, of 0 to 1", 1 / 127.5, -1.0),
    ("pixels normalised by the mean 0.5 and the deviation 0.2", 5.0, -2.5),
    ("pixels normalised by the mean 0.1307 and the variance 0.3081²", 1 / 0.3081**2, -0.1307 / 0.3081**2),
    ("pixels normalised as CIFAR-10's", 1 / 0.2470, -0.4914 / 0.2470),
    ("pixels normalised as CIFAR-10's, deviation 0.2023", 1 / 0.2023, -0.4914 / 0.2023),
    ("pixels scaled to −0.5..0.5, inverted", -1.0, 0.5),
    ("pixels scaled to −1..1, inverted", -2.0, 1.0),
    ("pixels scaled to −0.1..1.175, as LeNet-5's", 1.275, -0.1),
    ("pixels negated", -1.0, 0.0),
    ("MNIST's mean added", 1.0, 0.1307),
    ("deviation multiplied, not divided", 0.3081, -0.1307 * 0.3081),
    ("pixels denormalised: times 0.3081 plus 0.1307", 0.3081, 0.1307),
    ("pixels squeezed to 0.01..1", 0.99, 0.01),
):
    FAMILY.add(
        IMAGE,
        Kind(
            _name,
            "Pixels are scaled and shifted; these weights need 0 to 1.",
            "Scale once: pixel / 255, float32.",
        ),
        after(linear(_factor, _offset)),
    )

# --- statistics ---------------------------------------------------------------------------------


def _over(
    x: Bounded, call: Call, axes: tuple[int, ...], ddof: int = 0, inside: float = 0.0, outside: float = 0.0
) -> Bounded:
    """(x − mean) / (√(variance + inside) + outside) over `axes`."""
    if pixels(x, axes) <= ddof:
        raise ValueError("there is no deviation of one value")
    spread = np.sqrt(x.value.var(axes, keepdims=True, ddof=ddof) + inside) + outside
    return over_spread(x, call, axes, spread)


def _centred(x: Bounded, call: Call, axes: tuple[int, ...]) -> Bounded:
    """x − mean over `axes`."""
    mean, error = mean_of(x, call, axes)
    return Bounded(x.value - mean, x.bound + error + 2 * call.u * (np.abs(x.value) + np.abs(mean)))


SETS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("the batch", "the whole batch", (0, 1, 2, 3)),
    ("each image", "each image", (1, 2, 3)),
    ("each position", "each pixel position over the batch", (0,)),
    ("each row of pixels", "each row of an image", (3,)),
)
EPSILONS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
for _whose, _said, _axes in SETS:
    for _ddof, _how in ((0, ""), (1, " by n − 1")):
        for _inside, _outside in ((0.0, 0.0), *((0.0, e) for e in EPSILONS), *((e, 0.0) for e in EPSILONS)):
            if not (_ddof or _inside or _outside) and _whose in ("the batch", "each image"):
                continue  # known of the data
            FAMILY.add(
                IMAGE,
                # One name for every epsilon: those that are small enough explain the same values.
                Kind(
                    f"{_whose} standardised{_how}",
                    f"Pixels are normalised by mean and deviation of {_said}.",
                    ONCE,
                ),
                after(lambda x, call, a=_axes, d=_ddof, i=_inside, o=_outside: _over(x, call, a, d, i, o)),
                whole_batch=0 in _axes,
            )
    FAMILY.add(
        IMAGE,
        Kind(f"mean of {_said} subtracted", "Pixels are centred by a mean of their own.", ONCE),
        after(lambda x, call, a=_axes: _centred(x, call, a)),
        whole_batch=0 in _axes,
    )


def _divided(
    x: Bounded, call: Call, axes: tuple[int, ...], size: Callable[..., Array], least: Callable[..., Array]
) -> Bounded:
    """(x − least) / (size − least), for statistics of `axes` with a few roundings, or of a sum."""
    n = int(np.prod([x.value.shape[axis] for axis in axes]))
    low, high = least(x.value, axes), size(x.value, axes)
    span = np.where(high - low == 0, 1, high - low)
    value = (x.value - low) / span
    share = gamma(n + 8, call.u) if size not in (_largest,) else 8 * call.u
    error = (
        x.bound / span
        + (share + 4 * call.u) * np.abs(value)
        + 2 * call.u * (np.abs(x.value) + np.abs(low)) / span
    )
    return Bounded(value, np.where(x.bound.max() == 0, error, np.inf))


def _largest(a: Array, axes: tuple[int, ...]) -> Array:
    return a.max(axes, keepdims=True)


def _smallest(a: Array, axes: tuple[int, ...]) -> Array:
    return a.min(axes, keepdims=True)


def _middle(a: Array, axes: tuple[int, ...]) -> Array:
    return (_largest(a, axes) + _smallest(a, axes)) / 2


def _nothing(a: Array, axes: tuple[int, ...]) -> Array:
    return np.zeros([1] * a.ndim)


def _sum(a: Array, axes: tuple[int, ...]) -> Array:
    return a.sum(axes, keepdims=True)


def _norm(a: Array, axes: tuple[int, ...]) -> Array:
    return np.sqrt((a * a).sum(axes, keepdims=True))


def _mean(a: Array, axes: tuple[int, ...]) -> Array:
    return a.mean(axes, keepdims=True)


def _deviation(a: Array, axes: tuple[int, ...]) -> Array:
    return a.std(axes, keepdims=True)


for _whose, _said, _axes in SETS:
    for _name, _size, _least in (
        ("divided by the maximum", _largest, _nothing),
        ("scaled from its minimum and maximum to 0..1", _largest, _smallest),
        ("scaled from its minimum and maximum to −1..1", _largest, _middle),
        ("divided by the sum", _sum, _nothing),
        ("divided by the norm", _norm, _nothing),
        ("divided by the mean", _mean, _nothing),
        ("divided by the deviation", _deviation, _nothing),
    ):
        FAMILY.add(
            IMAGE,
            Kind(f"{_whose} {_name}", f"The numbers are those of {_said}.", ONCE),
            after(lambda x, call, a=_axes, s=_size, low=_least: _divided(x, call, a, s, low)),
            whole_batch=0 in _axes,
        )

# --- bytes ---------------------------------------------------------------------------------------


def _wrapped(
    x: Bounded, call: Call, factor: float, signed: bool, divisor: float, whole_of: Callable[[Array], Array]
) -> Bounded:
    """factor · x as an integer of 8 bits, what does not fit wrapped around, and divided."""
    bytes_ = x.value.astype(call.dtype) * np.dtype(call.dtype).type(factor)
    whole = whole_of(bytes_.astype(np.float64))
    value = np.mod(whole + 128, 256) - 128 if signed else np.mod(whole, 256)
    return Bounded(value / divisor, np.where(x.bound == 0, 2 * call.u * np.abs(value / divisor), np.inf))


WRAPS = [
    *product((256.0, 255.0 * 255.0, 65535.0), (False,), (1.0, 255.0, 256.0)),
    *product((255.0, 256.0), (True,), (1.0, 255.0, 127.0, 128.0)),
]
for (_factor, _signed, _divisor), _whole in product(WRAPS, (np.trunc, np.rint)):
    _type = "int8" if _signed else "uint8"
    _by = "" if _divisor == 1 else f", then divided by {_divisor:g}"
    FAMILY.add(
        IMAGE,
        Kind(
            f"pixels wrapped to {_type}: times {_factor:g}{_by}",
            f"The pixels times {_factor:g} do not fit into {_type}: what is too large comes back at the "
            "other end.",
            "Scale before casting, and keep pixels in float32.",
        ),
        after(lambda x, call, f=_factor, s=_signed, d=_divisor, w=_whole: _wrapped(x, call, f, s, d, w)),
    )


def _posterised(x: Bounded, call: Call, levels: int, whole: Callable[[Array], Array]) -> Bounded:
    return Bounded(whole(x.value * levels) / levels, np.where(x.bound == 0, 4 * call.u, np.inf))


for _levels in (1, 3, 7, 15, 16, 31, 63, 127, 128):
    for _word, _whole in (("rounded", np.rint), ("cut off", np.floor)):
        if (_levels, _word) != (1, "cut off"):
            FAMILY.add(
                IMAGE,
                Kind(
                    f"pixels {_word} to multiples of 1/{_levels}",
                    f"Only {_levels + 1} gray levels are left.",
                    "Keep the gray values: pixel / 255 in float32.",
                ),
                after(lambda x, call, n=_levels, w=_whole: _posterised(x, call, n, w)),
            )
for _limit in (0.0, 0.1, 0.1307, 0.2, 0.25, 0.3, 0.4, 0.6, 0.7, 0.75, 0.8, 0.9, 127 / 255, 128 / 255):
    FAMILY.add(
        IMAGE,
        Kind(
            f"pixels made black and white at {_limit:g}",
            f"Every pixel above {_limit:g} is 1, all others are 0.",
            "Keep the gray values: pixel / 255 in float32.",
        ),
        after(lambda x, call, t=_limit: black_and_white(x, t)),
    )
for _power, _name in ((2.2, "2.2"), (1 / 2.2, "1/2.2"), (2.0, "2"), (0.5, "1/2"), (2.4, "2.4"), (1.8, "1.8")):
    FAMILY.add(
        IMAGE,
        Kind(f"gamma {_name}", f"Every pixel is raised to the power {_name}.", "Use the pixels as they are."),
        after(
            lambda x, call, p=_power: Bounded(
                np.power(np.maximum(x.value, 0), p), np.where(x.bound == 0, 16 * call.u, np.inf)
            )
        ),
    )


def _mixed(x: Bounded, call: Call, change: Callable[[Array], Array]) -> Bounded:
    """A linear mixture of images with weights of magnitude at most 1: a few roundings."""
    value = change(x.value)
    return Bounded(value, change(x.bound) + 8 * call.u * change(np.abs(x.value)))


def _averaged() -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    yield (
        "mean of the batch for every digit",
        "Every row holds the mean of all images.",
        lambda a: np.repeat(a.mean(0, keepdims=True), len(a), 0),
    )
    yield (
        "digits mixed with their neighbours",
        "Every image is the mean of two (mixup).",
        lambda a: (a + np.roll(a, 1, 0)) / 2,
    )
    yield (
        "digits mixed with the reversed batch",
        "Every image is the mean of two (mixup).",
        lambda a: (a + a[::-1]) / 2,
    )


for _name, _text, _change in _averaged():
    FAMILY.add(
        IMAGE,
        Kind(_name, _text, "Give the model each image by itself."),
        after(lambda x, call, change=_change: _mixed(x, call, change)),
        whole_batch=True,
    )
