"""A term of the bound of an interpolation that is dropped, or counted twice, differs from the statement."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from parity.arithmetic.floats import FLOAT32
from parity.operators import grid_sample, interpolation, resize
from parity.operators.grid_sample import GridSample
from parity.operators.interpolation import Places, Taps
from tests.parity.operators import checks, exact
from tests.parity.statements import SMALL

Patch = pytest.MonkeyPatch


def noticed(part: str) -> bool:
    """Whether a use with this part of a name has other bounds than its statement."""
    for use in (one for one in SMALL if part in str(one)):
        try:
            exact.check(use, checks.drawn(use, 3), FLOAT32)
        except AssertionError:
            return True
    return False


def _changed_taps(patch: Patch, change: Callable[[Taps], Taps]) -> None:
    right = interpolation.taps
    for module in (resize, grid_sample):
        patch.setattr(module, "taps", lambda *given, **more: change(right(*given, **more)))


def _other_places(patch: Patch, change: Callable[[Places], Places]) -> None:
    right = resize._places

    def changed(*given: Any) -> Any:
        ways, places = right(*given)
        return ways, change(places)

    patch.setattr(resize, "_places", changed)


def _other_places_of_a_grid(patch: Patch) -> None:
    right = GridSample._places

    def changed(self: GridSample, *given: Any) -> Places:
        one = right(self, *given)
        return replace(one, error=1.1 * one.error)

    patch.setattr(GridSample, "_places", changed)


def _without_bend(patch: Patch) -> None:
    right = interpolation.cubic
    patch.setattr(resize, "cubic", lambda a: replace(right(a), curvature=0.0))


def _without_jump(patch: Patch) -> None:
    patch.setattr(resize, "LINEAR", replace(interpolation.LINEAR, jump=0.0))


def _sum_that_does_not_move(patch: Patch) -> None:
    """Weights are divided by their sum, but not their slopes by what its own slope makes of them."""
    right = resize.normalised

    def changed(taps: Taps, *given: Any) -> Taps:
        y = right(taps, *given)
        return replace(
            y, slopes=np.where(taps.slopes != 0, taps.slopes / interpolation.own(taps.weights.sum((1,))), 0)
        )

    patch.setattr(resize, "normalised", changed)


# What is wrong → how, and a part of the name of a use in which it shows.
WRONG: dict[str, tuple[Callable[[Patch], None], str]] = {
    "places are exact": (
        lambda patch: _other_places(patch, lambda one: replace(one, error=0 * one.error)),
        "half_pixel_symmetric",
    ),
    "places are twice as far off": (
        lambda patch: _other_places(patch, lambda one: replace(one, error=2 * one.error)),
        "tf_crop_and_resize,mode=linear",
    ),
    "places of a grid are a tenth further off": (
        _other_places_of_a_grid,
        "GridSample(padding_mode=reflection)",
    ),
    "a product fewer": (
        lambda patch: _changed_taps(patch, lambda one: replace(one, products=one.products - 1)),
        "antialias=1",
    ),
    "kernels do not bend": (_without_bend, "align_corners,mode=cubic"),
    "a kink is not passed": (_without_jump, "half_pixel,mode=linear"),
    "the sum of weights does not move": (_sum_that_does_not_move, "mode=cubic,antialias=1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_term_of_an_interpolation_is_noticed(wrong: str, monkeypatch: Patch) -> None:
    change, where = WRONG[wrong]
    assert not noticed(where)
    change(monkeypatch)
    assert noticed(where)
