"""Numbers that are read off the candidate's values: an ε or a slope that no list of mistakes has.

The number is fitted to some values by least squares, in float64 without bounds, and rounded as far as their
rounding leaves it open. Whether it explains every value is judged as of any other mistake.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np

from parity.arithmetic import Array, Looped
from parity.errors import Unjudged
from parity.judging.causes.decomposed.of_scalars import Scalar, scalars
from parity.judging.causes.mistake import MISFITS, Mistake
from parity.judging.causes.search.first_look import Look
from parity.judging.causes.search.hypotheses import Clock, Made
from parity.operators.operator import random_points

FITTED = 128  # values to which a number is fitted
STEPS = 20  # of the fit
LEAP = 2.0  # the largest step: of the logarithm of a positive number, or of a number itself
PATIENCE, GAIN = 3, 0.25  # after so many steps, no more than this share of the error may be left
FEWEST = 8  # values by which a number is proven that is fitted to them
MUCH = 8  # over its limit is the error of a coarse tensor that a number has to take away
NEARBY = 1e-2  # the largest root mean square of the relative errors that are left
VAGUE = 1e-2  # a number is none that is not known to this share of it
DEVIATIONS = 4  # of the fit, by which the number may be rounded


def read_off(look: Look, clock: Clock) -> Iterator[Made]:
    """Each number of each node, or of all nodes that have the same one, as the candidate's values have it."""
    report, size = look.wrong.report, look.wrong.found.size
    if not look.sees or report.misshapen or size < FEWEST:
        return
    if report.verdict == "coarse" and report.loop_ratio < MUCH * report.loop_limit:
        return
    groups: dict[tuple[str, str], dict[int, Scalar]] = {}
    given = dict(zip(look.stretch.names, look.wrong.question.bounded, strict=True))  # a given number is exact
    for place, node in enumerate(look.stretch.nodes):
        inputs = [given.get(name, look.right[name]) if name else None for name in node.inputs]
        for scalar in scalars(node.operator, inputs):
            groups.setdefault((node.type, scalar.named(scalar.right)), {})[place] = scalar
    fit = _Fit(look)
    for group in groups.values():
        for some in ({place: one} for place, one in group.items()):
            yield from fit.tried(some, clock)
        if len(group) > 1:
            yield from fit.tried(group, clock)


class _Fit:
    """Fits numbers to some of the candidate's values."""

    def __init__(self, look: Look) -> None:
        self.look = look
        found = look.wrong.found
        self.points = random_points(np.random.default_rng(2), found.shape, FITTED)
        self.seen = found[self.points].astype(np.float64)

    def tried(self, some: dict[int, Scalar], clock: Clock) -> Iterator[Made]:
        """The mistake with the number that fits best, from each start."""
        place = min(some)
        scalar, node = some[place], self.look.stretch.nodes[place]
        known = {f"{scalar.right:.6g}"}
        for start in scalar.starts:
            if clock.is_out():
                return
            number = self._fitted(some, start)
            if number is None or f"{number:.6g}" in known:
                continue
            known.add(f"{number:.6g}")
            made = self._mistakes(some, number)
            stretch = self.look.stretch.with_mistakes(made)
            yield Made((node,), (made[place],), stretch, (place,) if len(some) == 1 else (), place)

    def _mistakes(self, some: dict[int, Scalar], number: float) -> dict[int, Mistake]:
        at = f", at {len(some)} nodes" if len(some) > 1 else ""
        return {
            place: Mistake(
                one.named(number) + at,
                one.explanation,
                f"The reference's is {one.right:g}.",
                one.operator(number),
            )
            for place, one in some.items()
        }

    def _fitted(self, some: dict[int, Scalar], start: float) -> float | None:
        """The number, rounded as far as the values leave it open; None if none fits."""
        positive = some[min(some)].positive

        def values(t: float) -> Array:
            made = self._mistakes(some, float(np.exp(t)) if positive else t)
            result = self.look.stretch.with_mistakes(made).sampled(self.points, self.look.right, min(made))
            assert isinstance(result, Looped)
            return result.value.astype(np.float64)

        with suppress(Unjudged, *MISFITS):
            fit = fitted(values, self.seen, float(np.log(start)) if positive else start)
            if fit is not None:
                t, deviation = fit
                number = float(np.exp(t)) if positive else t
                apart = DEVIATIONS * deviation * (number if positive else 1.0)
                return shortest(number, apart) if apart < VAGUE * abs(number) else None
        return None


def fitted(values: Callable[[float], Array], seen: Array, t: float) -> tuple[float, float] | None:
    """The t at which values(t) are nearest to those seen, and its standard deviation; None if none is near.

    By Gauss and Newton's method, each error relative to its value.

    Args:
        values: (M,) for a number.
        seen: (M,), the candidate's.
        t: where to begin.
    """
    known = np.isfinite(seen)
    if known.sum() < FEWEST:
        return None
    weight = 1 / (np.abs(seen) + 1e-2 * np.sqrt(np.mean(seen[known] ** 2)) + np.finfo(float).tiny)

    def off(t: float) -> Array:
        error = (seen - values(t)) * weight
        return np.where(known & np.isfinite(error), error, 0.0)

    error = off(t)
    first = square = float(error @ error)
    for step in range(STEPS):
        width = 1e-5 * max(abs(t), 1e-2)
        slope = (error - off(t + width)) / width
        steep = float(slope @ slope)
        if steep == 0 or (step == PATIENCE and square > GAIN * first):
            return None
        move = float(np.clip(slope @ error / steep, -LEAP, LEAP))
        for _ in range(4):
            other = off(t + move)
            if float(other @ other) < square:
                break
            move /= 4
        else:
            break
        t, error, before = t + move, other, square
        square = float(error @ error)
        if square > 0.99 * before:
            break
    if square > NEARBY**2 * seen.size:
        return None
    return t, float(np.sqrt(square / max(seen.size - 1, 1) / steep))


def shortest(number: float, apart: float) -> float:
    """The number with the fewest digits that is no further apart."""
    for digits in range(1, 17):
        short = float(f"{number:.{digits}g}")
        if abs(short - number) <= apart:
            return short
    return number
