"""Reads image files as digits, prepared as in MNIST."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lenet.network.architecture import IMAGE_SHAPE
from parity.errors import UserError
from parity.files import refuse_stream

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # decoded by Pillow itself: no external program is run
MAX_PIXELS = 50_000_000
BOX = 20  # MNIST's digits fit a 20×20 box inside their 28×28
NOISE = 1 / 8  # share of the strongest contrast; what is below is paper, shadow or JPEG artefact, not ink
FAINTEST = 32  # an image counts as blank if background and ink differ by less than this, of 255 grey levels
# Parts with a gap of this share of the longer side between them, and each with this share of all ink, are
# shapes of their own: so are those of 14 of MNIST's 10,000 test digits.
GAP, PART = 0.02, 0.15
FITS, OUTLIER = (
    5,
    2.5,
)  # rounds of fitting the background, and its residuals that are no background, in medians


@dataclass(frozen=True)
class Picture:
    """A digit read from a file.

    Attributes:
        pixels: (28, 28) uint8, white on black.
        inverted: whether the file has it dark on light.
        shapes: the number of separate parts: of a single digit nearly always 1.
    """

    pixels: np.ndarray
    inverted: bool
    shapes: int


def read(path: Path) -> Picture:
    """The digit in an image file, prepared as MNIST's authors prepared theirs.

    Transparent pixels become white (black, if the ink is white), and colours grey. What differs from the
    background, a plane through the border's grey levels, is ink, if it is on the side that differs more. The
    ink is cropped, scaled to fit 20×20 and centred by its centre of mass in 28×28 (Y. LeCun, C. Cortes,
    C. Burges, yann.lecun.com/exdb/mnist).

    Raises:
        UserError: the file is missing, damaged, no image, blank, or larger than 50 million pixels.
    """
    image = _open(path)
    for paper in ("white", "black"):
        grey = _grey(image, paper)
        background = _background(grey)
        lighter = grey - background
        inverted = bool(-lighter.min() >= lighter.max())
        if np.abs(lighter).max() >= FAINTEST:
            # Dark ink takes a share of the light that falls on it, wherever there is less light.
            ink = _crop(-lighter / background.clip(1) if inverted else lighter)
            return Picture(_centre(_fit(ink)), inverted, _shapes(ink))
    raise UserError(f"{path}: blank: no ink differs enough from the background; draw a darker digit")


def _open(path: Path) -> Image.Image:
    """The image in a file, as it is to be seen."""
    refuse_stream(path)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{file.width}×{file.height}")
            return ImageOps.exif_transpose(file)
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: more than {MAX_PIXELS:,} pixels; scale it down first") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such image") from error
    except Image.UnidentifiedImageError as error:
        raise UserError(f"{path}: not an image; give one of {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError) as error:  # raised by Pillow's decoders
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read as an image ({reason}); save it anew as PNG") from error


def _grey(image: Image.Image, paper: str) -> np.ndarray:
    """Grey levels (rows, columns) float64, 0 black to 255 white, of an image on paper of this colour."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
        return np.asarray(image, np.float64) / 257
    image = image.convert("RGBA")
    below = Image.new("RGBA", image.size, paper)
    return np.asarray(Image.alpha_composite(below, image).convert("L"), np.float64)


def _background(grey: np.ndarray) -> np.ndarray:
    """The grey levels without ink: a plane through those of the border, because light falls from one side.

    Ink that touches the border is left out: it lies far from the plane.
    """
    border = np.ones(grey.shape, bool)
    border[1:-1, 1:-1] = False
    levels, at = grey[border], np.argwhere(border)
    places = np.column_stack([np.ones(len(at)), at])
    plane = np.array([np.median(levels), 0, 0])
    for _ in range(FITS):
        residuals = np.abs(levels - places @ plane)
        near = residuals <= OUTLIER * np.median(residuals) + 1
        plane = np.linalg.lstsq(places[near], levels[near], rcond=None)[0]
    rows, columns = np.ogrid[: grey.shape[0], : grey.shape[1]]
    return (plane[0] + plane[1] * rows + plane[2] * columns).round(6)


def _shapes(ink: np.ndarray) -> int:
    """The number of parts with a gap between them, beside or below each other; small ones do not count."""
    return max(_parts(ink.sum(axis=0)), _parts(ink.sum(axis=1)))


def _parts(mass: np.ndarray) -> int:
    """The number of runs of ink in one direction."""
    places = np.flatnonzero(mass)
    ends = np.flatnonzero(np.diff(places) > 1 + GAP * len(mass))
    runs = np.split(places, ends + 1)
    return max(1, sum(mass[run].sum() >= PART * mass.sum() for run in runs))


def _crop(contrast: np.ndarray) -> np.ndarray:
    """The values above the noise, cropped to their bounding box."""
    ink = np.where(contrast > NOISE * contrast.max(), contrast, 0)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fit(ink: np.ndarray) -> np.ndarray:
    """The ink, scaled to 20 pixels on the longer side, with 255 for the strongest ink."""
    rows, columns = (max(1, round(side * BOX / max(ink.shape))) for side in ink.shape)
    image = Image.fromarray(ink.astype(np.float32))
    small = np.asarray(image.resize((columns, rows), Image.Resampling.LANCZOS)).clip(0)
    return small * (255 / small.max())


def _centre(ink: np.ndarray) -> np.ndarray:
    """(28, 28) uint8 with the centre of mass at pixel (14, 14), or as near as the digit fits."""
    canvas = np.zeros(IMAGE_SHAPE[1:], np.uint8)
    place = []
    for axis, side in enumerate(ink.shape):
        weight = ink.sum(axis=1 - axis)
        mass = (weight * np.arange(side)).sum() / weight.sum()
        place.append(int(np.clip(round(canvas.shape[axis] / 2 - mass), 0, canvas.shape[axis] - side)))
    top, left = place
    canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink.round()
    return canvas
