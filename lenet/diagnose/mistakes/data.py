"""Mistakes before the first layer: wrong pixel values, or pixels in the wrong place."""

from collections.abc import Callable

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, case
from lenet.diagnose.mistakes.wrong_forward import Call, after, moved
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import gamma

FAMILY = Family()
IMAGE = ("image",)
SCALING = case("deepinsight/insightface", 2508)
MEAN_STD = case("onnx/onnx", 1440)
TURNED = case("tensorflow/datasets", 812)
FLIPPED = case("chrischute/real-nvp", 5)
SCRAMBLED = case("triton-inference-server/server", 2971)


def linear(factor: float, offset: float) -> Callable[[Bounded, Call], Bounded]:
    """factor · x + offset, with the rounding of the constants and three operations, in any order."""

    def change(x: Bounded, call: Call) -> Bounded:
        size = abs(factor) * np.abs(x.value) + abs(offset)
        return Bounded(factor * x.value + offset, abs(factor) * x.bound + 6 * call.u * size)

    return change


SCALES: tuple[tuple[str, str, str, float, float], ...] = (
    (
        "pixels not divided by 255",
        "Pixels range from 0 to 255; they must range from 0 to 1.",
        SCALING,
        255.0,
        0.0,
    ),
    ("pixels divided by 255 twice", "Pixels from 0 to 1 are divided by 255 again.", SCALING, 1 / 255, 0.0),
    ("pixels divided by 256", "Pixels are divided by 256, not by 255.", SCALING, 255 / 256, 0.0),
    ("pixels multiplied by 256", "Pixels range from 0 to 256.", SCALING, 256.0, 0.0),
    ("pixels divided by 256 twice", "Pixels from 0 to 1 are divided by 256.", SCALING, 1 / 256, 0.0),
    ("pixels inverted", "Ink is 0 and paper is 1; in MNIST ink is 1 and paper is 0.", SCALING, -1.0, 1.0),
    (
        "pixels normalised",
        "Pixels are normalised by MNIST's mean 0.1307 and deviation 0.3081; these weights need 0 to 1.",
        MEAN_STD,
        1 / 0.3081,
        -0.1307 / 0.3081,
    ),
    (
        "pixels normalised as ImageNet's",
        "Pixels are normalised by ImageNet's mean 0.485 and deviation 0.229; these weights need 0 to 1.",
        MEAN_STD,
        1 / 0.229,
        -0.485 / 0.229,
    ),
    (
        "pixels normalised as Fashion-MNIST's",
        "Pixels are normalised by the mean 0.2860 and the deviation 0.3530; these weights need 0 to 1.",
        MEAN_STD,
        1 / 0.353,
        -0.286 / 0.353,
    ),
    ("pixels divided by the deviation", "Pixels are divided by 0.3081.", MEAN_STD, 1 / 0.3081, 0.0),
    (
        "pixels scaled to −1..1",
        "Pixels range from −1 to 1; they must range from 0 to 1.",
        MEAN_STD,
        2.0,
        -1.0,
    ),
    ("mean subtracted", "MNIST's mean 0.1307 is subtracted.", MEAN_STD, 1.0, -0.1307),
    ("pixels centred at 0.5", "0.5 is subtracted from every pixel.", MEAN_STD, 1.0, -0.5),
)
for _name, _text, _case, _factor, _offset in SCALES:
    FAMILY.add(
        IMAGE, Kind(_name, _text, "Scale once: pixel / 255, float32.", _case), after(linear(_factor, _offset))
    )


def _rolled(a: Array, rows: int, columns: int) -> Array:
    return np.roll(a, (rows, columns), axis=(2, 3))


def _shifted(a: Array, rows: int, columns: int) -> Array:
    padded = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = a.shape[2:]
    return padded[:, :, 1 - rows : 1 - rows + height, 1 - columns : 1 - columns + width]


STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
STEPS |= {f"{a} and {b}": (STEPS[a][0], STEPS[b][1]) for a in ("up", "down") for b in ("left", "right")}
PLACES: tuple[tuple[str, str, str, Callable[[Array], Array]], ...] = (
    ("image transposed", "Rows and columns are exchanged.", TURNED, lambda a: a.swapaxes(2, 3)),
    ("image flipped left to right", "Left and right are exchanged.", FLIPPED, lambda a: a[..., ::-1]),
    ("image flipped upside down", "The first row is the last.", FLIPPED, lambda a: a[:, :, ::-1]),
    ("image turned by 180 degrees", "The last pixel is the first.", TURNED, lambda a: a[:, :, ::-1, ::-1]),
    (
        "image turned by 90 degrees",
        "The image is turned counter-clockwise.",
        TURNED,
        lambda a: np.rot90(a, 1, (2, 3)),
    ),
    (
        "image turned by 270 degrees",
        "The image is turned clockwise.",
        TURNED,
        lambda a: np.rot90(a, 3, (2, 3)),
    ),
    *(
        (
            f"image shifted by one pixel {name}",
            f"The image is one pixel too far {name}; zeros fill the gap.",
            case("pytorch/vision", 2950),
            lambda a, step=step: _shifted(a, *step),
        )
        for name, step in STEPS.items()
    ),
    *(
        (
            f"image rolled by one pixel {name}",
            f"The image is one pixel too far {name}; pixels that leave it come back on the other side.",
            case("pytorch/vision", 2950),
            lambda a, step=step: _rolled(a, *step),
        )
        for name, step in STEPS.items()
    ),
    (
        "pixels off by one in the file",
        "Every pixel is one place too late: the file was read with an offset.",
        SCRAMBLED,
        lambda a: np.roll(a.reshape(len(a), -1), 1, axis=1).reshape(a.shape),
    ),
)
for _name, _text, _case, _change in PLACES:
    FAMILY.add(
        IMAGE,
        Kind(_name, _text, "Use the pixels as they are: rows from the top, columns from the left.", _case),
        after(lambda x, call, change=_change: moved(x, change)),
    )


def standardised(x: Bounded, call: Call, axes: tuple[int, ...], least: float) -> Bounded:
    """(x − mean) / max(deviation, least) over `axes`."""
    return over_spread(x, call, axes, np.maximum(x.value.std(axis=axes, keepdims=True), least))


def over_spread(x: Bounded, call: Call, axes: tuple[int, ...], spread: Array) -> Bounded:
    """(x − mean) / spread over `axes` with n pixels. The error of the spread is γ_{n+8} times the spread,
    plus the mean's error. Where this may be a quarter of the spread, nothing is known."""
    mean, mean_error = mean_of(x, call, axes)
    g = gamma(pixels(x, axes) + 8, call.u)
    flat = spread == 0
    unknown = flat & (x.bound.max(axis=axes, keepdims=True) > 0)  # equal values that may differ
    spread = np.where(flat, 1, spread)
    value = (x.value - mean) / spread
    share = np.where(unknown, 0.5, np.minimum(2 * g + 2 * mean_error / spread, 0.5))
    error = (x.bound + mean_error + 4 * call.u * (np.abs(x.value) + np.abs(mean))) / spread
    return Bounded(value, np.where(share < 0.5, (error + share * np.abs(value)) / (1 - share), np.inf))


def black_and_white(x: Bounded, limit: float) -> Bounded:
    """1 above the limit, 0 elsewhere; nothing is known where a pixel may lie on either side."""
    known = (x.bound == 0) | (np.abs(x.value - limit) > x.bound)
    return Bounded((x.value > limit).astype(np.float64), np.where(known, 0, np.inf))


def mean_of(x: Bounded, call: Call, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """The mean over `axes` with n pixels, and its error: γ_{n+8} times the mean of |x|, and that of x."""
    g = gamma(pixels(x, axes) + 8, call.u)
    error = g * np.abs(x.value).mean(axes, keepdims=True) + x.bound.max(axes, keepdims=True)
    return x.value.mean(axes, keepdims=True), error


def pixels(x: Bounded, axes: tuple[int, ...]) -> int:
    """How many values there are along `axes`."""
    return int(np.prod([x.value.shape[axis] for axis in axes]))


for _name, _text, _axes, _least in (
    (
        "each image standardised",
        "Each image is normalised by its own mean and deviation.",
        1,
        1 / 28,
    ),
    ("the batch standardised", "The batch is normalised by its own mean and deviation.", 0, 0.0),
):
    FAMILY.add(
        IMAGE,
        Kind(_name, _text, "Scale once: pixel / 255, float32; use no statistics of the images.", MEAN_STD),
        after(
            lambda x, call, first=_axes, least=_least: standardised(x, call, tuple(range(first, 4)), least)
        ),
        whole_batch=not _axes,
    )

BATCH: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
    ("digits in reverse order", "The batch comes out in reverse order.", lambda a: a[::-1]),
    (
        "first digit for the whole batch",
        "Every row belongs to the first digit.",
        lambda a: np.repeat(a[:1], len(a), 0),
    ),
    ("digits off by one", "Every row belongs to the neighbouring digit.", lambda a: np.roll(a, 1, axis=0)),
    (
        "batch mixed into the pixels",
        "A reshape mixed the batch axis with the pixels: every image holds parts of several digits.",
        lambda a: a.transpose(1, 2, 3, 0).reshape(a.shape),
    ),
)
for _name, _text, _change in BATCH:
    FAMILY.add(
        IMAGE,
        Kind(_name, _text, "Keep the batch as the first axis, in order.", SCRAMBLED),
        after(lambda x, call, change=_change: moved(x, change)),
        whole_batch=True,
    )


@FAMILY.after(
    IMAGE,
    Kind(
        "bytes of the pixels swapped",
        "The four bytes of each float are in reverse order: big-endian data read as little-endian.",
        "State the byte order when reading: np.dtype('>f4'), then astype(np.float32).",
        SCRAMBLED,
    ),
)
def _(x: Bounded, call: Call) -> Bounded:
    with np.errstate(invalid="ignore"):  # some pixels become NaN or infinite
        swapped = x.value.astype(np.float32).byteswap().astype(np.float64)
    number = np.isfinite(swapped)
    return Bounded(np.where(number, swapped, 0), np.where(number, x.bound, np.inf))


@FAMILY.after(
    IMAGE,
    Kind(
        "pixels made black and white",
        "Every pixel is 0 or 1.",
        "Keep the gray values: pixel / 255 in float32.",
        SCALING,
    ),
)
def _(x: Bounded, call: Call) -> Bounded:
    return black_and_white(x, 0.5)


@FAMILY.after(
    IMAGE,
    Kind(
        "pixels divided as integers",
        "An integer division makes every pixel below 255 zero.",
        "Divide floats: pixels.astype(np.float32) / 255.",
        SCALING,
    ),
)
def _(x: Bounded, call: Call) -> Bounded:
    return Bounded(np.floor(x.value), x.bound)


def as_bytes(x: Bounded, call: Call, whole: Callable[[Array], Array], divisor: float) -> Bounded:
    """whole(255 · x) / divisor for x known exactly, with the product rounded to the port's dtype."""
    product = x.value.astype(call.dtype) * np.dtype(call.dtype).type(255)
    value = whole(product.astype(np.float64)) / divisor
    return Bounded(value, np.where(x.bound == 0, 2 * call.u * np.abs(value), np.inf))


for _whole, _name, _text in (
    (np.trunc, "cut off", "255 · x is truncated to a byte: some pixels lose a gray level."),
    (np.rint, "rounded", "255 · x is rounded to a byte: pixels that are no multiple of 1/255 change."),
):
    for _divisor, _then in ((255.0, ""), (256.0, " and divided by 256"), (1.0, " and not divided by 255")):
        FAMILY.add(
            IMAGE,
            Kind(
                f"pixels {_name} to bytes{_then}",
                _text,
                "Keep pixels in float32; if they must be bytes, round them, and divide by 255 afterwards.",
                case("pytorch/vision", 8141),
            ),
            after(lambda x, call, whole=_whole, by=_divisor: as_bytes(x, call, whole, by)),
        )
