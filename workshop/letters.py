"""Hand-made letters in the size of a digit, which the network has never seen."""

import numpy as np
from PIL import Image

from lenet.network.digits import scale

LETTERS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "M": "10001 11011 10101 10101 10001 10001 10001",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "W": "10001 10001 10001 10101 10101 11011 10001",
    "X": "10001 01010 00100 00100 00100 01010 10001",
}


def images() -> np.ndarray:
    """The letters (8, 1, 28, 28), float32 in [0, 1], with soft edges: ink covers 15×21 pixels."""
    return scale(np.stack([_drawn(rows.split()) for rows in LETTERS.values()]))


def _drawn(rows: list[str]) -> np.ndarray:
    dots = np.array([[int(dot) for dot in row] for row in rows], np.uint8) * 255
    drawn = Image.fromarray(dots).resize((15, 21), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(drawn), ((3, 4), (6, 7)))
