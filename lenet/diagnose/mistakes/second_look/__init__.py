"""What is tried where the catalogue explains nothing: rarer mistakes, and those read off from the values.

A mistake that is read off holds numbers that the port's own values show: an order, a factor, weights. Like
any other it is named only if the network with it explains every value to within its bound.
"""

from collections.abc import Callable, Iterator

import numpy as np

from lenet.diagnose.mistakes.base import Mistake
from lenet.diagnose.mistakes.second_look import (
    added_layers,
    fitted_curves,
    fitted_images,
    fitted_lines,
    fitted_orders,
    fitted_weights,
    rarer_data,
    resized_images,
    stored_weights,
)
from lenet.diagnose.mistakes.second_look.shown import Example, Shown

SHORT = 8  # stages of a segment in which all changes of one layer's weights are tried
READ_OFF: tuple[Callable[[Shown], Iterator[Mistake]], ...] = (
    fitted_orders.mistakes,
    fitted_lines.mistakes,
    fitted_weights.mistakes,
    fitted_curves.mistakes,
    fitted_images.mistakes,
)


def rarer(stages: tuple[str, ...]) -> Iterator[Mistake]:
    """Known mistakes that are too rare to be half of a pair."""
    yield from rarer_data.FAMILY.mistakes
    yield from resized_images.FAMILY.mistakes
    yield from added_layers.FAMILY.mistakes
    for mistake in stored_weights.FAMILY.mistakes:
        # Where the end of a network alone is seen, all of them in each layer would be too many to try.
        if len(stages) < SHORT or stored_weights.likely(mistake):
            yield mistake


def read_off(shown: Shown) -> Iterator[Mistake]:
    """Mistakes that the values of the last layer show."""
    if shown.readable:
        for find in READ_OFF:
            with np.errstate(all="ignore"):
                yield from find(shown)


__all__ = ["Example", "Shown", "rarer", "read_off"]
