"""Draws a digit with the characters of a terminal."""

import numpy as np
from rich.console import Console
from rich.style import Style
from rich.text import Text

SHADES = " .:-=+*#%@"


def draw(image: np.ndarray, console: Console) -> Text:
    """An image (1, 28, 28) in [0, 1] as 14 lines of 28 characters, each for two pixels, upper and lower.

    It uses grey half blocks if `console` has colour and Unicode, otherwise shades in ASCII.
    """
    levels = (image[0] * 255).round().astype(int)
    plain = console.color_system is None or console.no_color or console.options.ascii_only
    lines = []
    for upper, lower in zip(levels[::2], levels[1::2], strict=True):
        line = Text(no_wrap=True)
        for above, below in zip(upper, lower, strict=True):
            if plain:
                line.append(SHADES[(above + below) * (len(SHADES) - 1) // 510])
            else:
                line.append("▀", Style(color=_grey(above), bgcolor=_grey(below)))
        lines.append(line)
    return Text("\n").join(lines)


def _grey(level: int) -> str:
    return f"rgb({level},{level},{level})"
