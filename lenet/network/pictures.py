"""Reads image files as digits, prepared as in MNIST."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lenet.network.architecture import IMAGE_SHAPE
from parity.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # decoded by Pillow itself: no external program is run
MAX_PIXELS = 50_000_000
BOX = 20  # MNIST's digits fit a 20×20 box inside their 28×28
NOISE = 1 / 8  # share of the strongest contrast; what is below is paper, shadow or JPEG artefact, not ink
FAINTEST = 32  # an image counts as blank if background and ink differ by less than this, of 255 grey levels


@dataclass(frozen=True)
class Picture:
    """A digit read from a file: pixels (28, 28) uint8, white on black, and whether it was inverted."""

    pixels: np.ndarray
    inverted: bool


def read(path: Path) -> Picture:
    """The digit in an image file, prepared as MNIST's authors prepared theirs.

    Transparent pixels become white, colours become grey, and an image with a light background is inverted.
    The ink is cropped, scaled to fit 20×20 and centred by its centre of mass in 28×28 (Y. LeCun,
    C. Cortes, C. Burges, yann.lecun.com/exdb/mnist).

    Raises:
        UserError: the file is missing, damaged, no image, blank, or larger than 50 million pixels.
    """
    grey = _read_grey(path)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    inverted = bool(border.mean() > 127)
    contrast = np.median(border) - grey if inverted else grey - np.median(border)
    if contrast.max() < FAINTEST:
        raise UserError(f"{path}: blank: no ink differs enough from the background; draw a darker digit")
    return Picture(_centre(_fit(_crop(contrast))), inverted)


def _read_grey(path: Path) -> np.ndarray:
    """Grey levels (rows, columns) float64, 0 black to 255 white."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{file.width}×{file.height}")
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
                return np.asarray(image, np.float64) / 257
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            return np.asarray(Image.alpha_composite(white, image).convert("L"), np.float64)
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: more than {MAX_PIXELS:,} pixels; scale it down first") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such image") from error
    except Image.UnidentifiedImageError as error:
        raise UserError(f"{path}: not an image; give one of {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError) as error:  # raised by Pillow's decoders
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read as an image ({reason}); save it anew as PNG") from error


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
