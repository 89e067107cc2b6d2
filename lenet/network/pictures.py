"""Reads image files as digits in the form that MNIST has them."""

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
NOISE = 1 / 8  # of the strongest contrast: below it lie paper, shadows and JPEG artefacts, not ink
FAINTEST = 32  # grey levels out of 255 between background and ink, below which an image counts as blank


@dataclass(frozen=True)
class Picture:
    """A digit read from a file: pixels (28, 28) uint8, white on black, and whether it was inverted."""

    pixels: np.ndarray
    inverted: bool


def read(path: Path) -> Picture:
    """The digit in an image file, prepared as MNIST's authors prepared theirs.

    Transparency shows white behind it; colour becomes grey; an image with a light background is
    inverted; what stands out from the background is cropped, scaled to fit 20×20 and centred by
    its centre of mass in 28×28 (Y. LeCun, C. Cortes, C. Burges, yann.lecun.com/exdb/mnist).

    Raises:
        UserError: the file is missing, no image, damaged, of more than 50 million pixels, or blank.
    """
    grey = _read_grey(path)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    inverted = bool(border.mean() > 127)
    contrast = np.median(border) - grey if inverted else grey - np.median(border)
    if contrast.max() < FAINTEST:
        raise UserError(f"{path}: blank: nothing stands out from its background; draw a darker digit")
    return Picture(_centre(_fit(_crop(contrast))), inverted)


def _read_grey(path: Path) -> np.ndarray:
    """Grey levels (rows, columns) float64, 0 black to 255 white."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{file.width}×{file.height}")
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip, not scale
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
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read as an image ({reason}); save it anew as PNG") from error


def _crop(contrast: np.ndarray) -> np.ndarray:
    """What lies above the noise, cut to its bounding box."""
    ink = np.where(contrast > NOISE * contrast.max(), contrast, 0)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fit(ink: np.ndarray) -> np.ndarray:
    """Scaled so that the longer side is 20 pixels, and so that the strongest ink is 255 again."""
    rows, columns = (max(1, round(side * BOX / max(ink.shape))) for side in ink.shape)
    image = Image.fromarray(ink.astype(np.float32))
    small = np.asarray(image.resize((columns, rows), Image.Resampling.LANCZOS)).clip(0)
    return small * (255 / small.max())


def _centre(ink: np.ndarray) -> np.ndarray:
    """(28, 28) uint8, the centre of mass moved to pixel (14, 14) as far as the digit stays inside."""
    canvas = np.zeros(IMAGE_SHAPE[1:], np.uint8)
    place = []
    for axis, side in enumerate(ink.shape):
        weight = ink.sum(axis=1 - axis)
        mass = (weight * np.arange(side)).sum() / weight.sum()
        place.append(int(np.clip(round(canvas.shape[axis] / 2 - mass), 0, canvas.shape[axis] - side)))
    top, left = place
    canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink.round()
    return canvas
