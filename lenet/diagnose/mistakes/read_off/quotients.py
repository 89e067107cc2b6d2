"""Gradients that no backward pass in the port's format computes: difference quotients, and rounded ones.

A difference of two losses is a whole number of the distance of two floats at the loss. So difference
quotients times their step are whole numbers of it, which gradients from a backward pass are not.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.precision import FORMATS, gridded, half_spacing
from lenet.diagnose.mistakes.read_off.numbers import Expected, Reading, Seen, gradients_of
from lenet.diagnose.mistakes.wrong_backward import Passed, Tape
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import Format
from parity.judging.causes.of_rounding.shortened import NAMES, are_in

# From small to large: quotients by one step are whole numbers for its multiples as well.
STEPS = tuple(float(f"{c}e-{k}") for k in range(9, 0, -1) for c in (1, 2, 5))
WHOLE = 0.02  # how far from a whole number of distances a quotient may lie, as its own rounding leaves it
ENOUGH = 10  # values that must be whole numbers
LARGE = 100  # that the largest of them must reach
NEAR = 0.05  # relative to the largest gradient: what the step itself may change


def quotients(samples: Sequence[Seen]) -> Iterator[Reading]:
    """Difference quotients of the loss in place of some gradients."""
    names = [name for name in samples[0].seen if name != "loss"]
    # Where the loss is zero, its floats lie too close together for a difference to show.
    telling = [s for s in samples if _loss_of(s)]
    for step in STEPS if telling else ():
        found = [n for n in names if all(_is_whole(s, n, step) for s in telling)]
        found = [n for n in found if sum(np.count_nonzero(s.seen[n]) for s in telling) >= ENOUGH]
        off = [n for n in found if any(_is_off(s, n) for s in samples)]
        if not off:
            continue
        kind = Kind(
            "difference quotients for gradients",
            f"The gradients of {', '.join(off)} are differences of two losses divided by {step:g}: each is a "
            "whole number of roundings of the loss.",
            "Compute the gradients by a backward pass; difference quotients only test them.",
        )
        yield Reading(kind, tuple(off), partial(_any_near, names=tuple(off), samples=samples))
        return


def _loss_of(sample: Seen) -> Array:
    """The right loss, in the port's format."""
    return np.asarray(next(value.value for key, value, _ in sample.right if key == "loss"), sample.tape.dtype)


def _is_whole(sample: Seen, name: str, step: float) -> bool:
    unit = float(np.spacing(_loss_of(sample)))
    counts = sample.seen[name] * (step / unit)
    u = float(np.finfo(sample.tape.dtype).eps)
    rounding = 4 * u * np.abs(counts)
    if rounding.max() > WHOLE or np.abs(counts).max(initial=0) < LARGE:
        return False
    return bool((np.abs(counts - np.rint(counts)) <= WHOLE).all())


def _is_off(sample: Seen, name: str) -> bool:
    right = gradients_of(sample.right)[name]
    return bool((np.abs(sample.seen[name] - right.value) > right.bound).any())


def _any_near(tape: Tape, right: Passed, *, names: tuple[str, ...], samples: Sequence[Seen]) -> Expected:
    """The quotients that were returned, if they lie near the right gradients: their grid is the evidence.

    Two losses of zero have no difference.
    """
    sample = next(one for one in samples if one.tape is tape)
    seen, none = sample.seen, not _loss_of(sample)
    for key, g, _ in right:
        near = key in names and bool((np.abs(seen[key] - g.value) <= NEAR * np.abs(g.value).max()).all())
        near |= key in names and none and not seen[key].any()
        yield key, Bounded(seen[key], np.zeros(g.value.shape)) if near else g


def coarse(samples: Sequence[Seen]) -> Iterator[Reading]:
    """Right gradients that are rounded to a coarse format before they are returned."""
    gradients = [a for s in samples for key, a in s.seen.items() if key != "loss"]
    for form in FORMATS[::-1]:
        if all(are_in(a, form) for a in gradients):
            name = NAMES[form.name]
            kind = Kind(
                f"gradients rounded to {name}",
                f"Every gradient is a number of {name} ({form.digits} significant bits).",
                "Return gradients in the format that the port claims.",
            )
            yield Reading(kind, ("gradients",), partial(_rounded, form=form))
            return


def _rounded(tape: Tape, right: Passed, *, form: Format) -> Expected:
    for key, g, _ in right:
        yield key, g if key == "loss" else gridded(g.value, g.bound + half_spacing(g, form), form)
