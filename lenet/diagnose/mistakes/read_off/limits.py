"""Reads the limit of clipped gradients off them: a norm of all, a norm of each, or a value."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.diagnose.mistakes.read_off.numbers import Expected, Reading, Seen, fitted, gradients_of, typed
from lenet.diagnose.mistakes.wrong_backward import Passed, Tape
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FORMATS, gamma

Gradients = dict[str, Bounded]
Clip = Callable[[Gradients, float, float], Gradients]  # (gradients, limit, unit roundoff)
ADDED = 1e-6  # PyTorch's clip_grad_norm_ adds it to the norm
UNCLIPPED = 1 - 1e-4
REMEDY = "Do not clip: this recipe uses the gradients as they are."


def by_norm(gradients: Gradients, limit: float, u: float) -> Gradients:
    """All gradients times limit / norm, where the norm of all of them together is above the limit."""
    sizes = [(np.abs(g.value), g.bound) for g in gradients.values()]
    norm = np.sqrt(sum(float((size**2).sum()) for size, _ in sizes))
    carried = np.sqrt(sum(float((error**2).sum()) for _, error in sizes))
    count = sum(size.size for size, _ in sizes)
    return {key: _shrunk(g, limit, norm, carried, count, u) for key, g in gradients.items()}


def by_own_norm(gradients: Gradients, limit: float, u: float) -> Gradients:
    """Each gradient times limit / its norm, where that is above the limit."""
    return {key: by_norm({key: g}, limit, u)[key] for key, g in gradients.items()}


def by_value(gradients: Gradients, limit: float, u: float) -> Gradients:
    """Each number cut off at ± limit."""
    return {
        key: Bounded(np.clip(g.value, -limit, limit), g.bound + u * limit) for key, g in gradients.items()
    }


def _shrunk(g: Bounded, limit: float, norm: float, carried: float, count: int, u: float) -> Bounded:
    """The norm is off by at most `carried`, and by its own rounding."""
    if norm + carried <= limit:
        return g
    off = carried / norm + gamma(count + 8, u) + ADDED / norm
    factor = min(1.0, limit / norm)
    return Bounded(g.value * factor, factor * (g.bound + np.abs(g.value) * off) * (1 + off))


CLIPS: dict[str, tuple[str, Clip]] = {
    "gradients clipped to a norm of {}": (
        "All gradients are multiplied by {} / norm where the norm of all of them is larger than {}.",
        by_norm,
    ),
    "each gradient clipped to a norm of {}": (
        "The gradient of each parameter is multiplied by {} / norm where its own norm is larger than {}.",
        by_own_norm,
    ),
    "gradients clipped to values of ±{}": ("Gradients above {} or below −{} are cut off there.", by_value),
}


def limits(samples: Sequence[Seen]) -> Iterator[Reading]:
    """Clipped gradients, for each way to clip with the limit that was read off."""
    for name, (text, clip) in CLIPS.items():
        limit = READERS[name](samples)
        if limit is None:
            continue
        for one in typed(limit):
            said = f"{one:.6g}"
            yield Reading(
                Kind(name.format(said), text.format(said, said), REMEDY),
                ("gradients",),
                partial(_clipped, clip=clip, limit=one),
            )


def _clipped(tape: Tape, right: Passed, *, clip: Clip, limit: float) -> Expected:
    yield from ((key, value) for key, value, _ in right if key == "loss")
    yield from clip(gradients_of(right), limit, FORMATS[tape.dtype].u).items()


def norm_of(samples: Sequence[Seen]) -> float | None:
    """The norm to which all gradients together were clipped: the same wherever they became shorter."""
    found = []
    for sample in samples:
        right = gradients_of(sample.right)
        keys = [key for key in right if key in sample.seen]
        factor = fitted([sample.seen[key] for key in keys], [right[key].value for key in keys])
        if 0 < factor < UNCLIPPED:
            found.append(factor * float(np.sqrt(sum((g.value**2).sum() for g in right.values()))))
    return _common(found)


def own_norm_of(samples: Sequence[Seen]) -> float | None:
    """The norm to which single gradients were clipped."""
    found = []
    for sample in samples:
        for key, g in gradients_of(sample.right).items():
            if key in sample.seen:
                factor = fitted([sample.seen[key]], [g.value])
                if 0 < factor < UNCLIPPED:
                    found.append(factor * float(np.linalg.norm(g.value)))
    return _common(found)


def value_of(samples: Sequence[Seen]) -> float | None:
    """The largest value that was returned, if larger ones are right."""
    largest = max(
        (float(np.abs(a).max()) for s in samples for k, a in s.seen.items() if k != "loss"), default=0
    )
    right = max(float(np.abs(g.value).max()) for s in samples for g in gradients_of(s.right).values())
    return largest if 0 < largest < UNCLIPPED * right else None


def _common(found: list[float]) -> float | None:
    """The median, if nine in ten of the numbers are nearly the same: rounding may be all that is left of a
    small gradient. The bound decides afterwards."""
    if not found:
        return None
    middle = float(np.median(found))
    off = float(np.quantile(np.abs(np.array(found) - middle), 0.9))
    return middle if off <= 1e-2 * middle else None


READERS: dict[str, Callable[[Sequence[Seen]], float | None]] = dict(
    zip(CLIPS, (norm_of, own_norm_of, value_of), strict=True)
)
