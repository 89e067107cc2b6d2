"""Whether a planted mistake is named: by its own name, or by that of one that is the same function here."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np

from parity.arithmetic import Bounded
from parity.errors import Unjudged
from parity.judging.causes import Mistake, mistakes
from parity.judging.causes.mistake import MISFITS, Seen
from parity.judging.verdict import Cause
from parity.operators import Operator


def evaluated(mistake: Mistake, inputs: Sequence[Bounded | None]) -> Bounded:
    """What the operator with the mistake should return."""
    with np.errstate(all="ignore"):
        result = mistake.operator.evaluate(*inputs)
    first = result[0] if isinstance(result, tuple) else result
    assert isinstance(first, Bounded)
    return first


def is_named(mistake: Mistake, causes: Iterable[Cause], operator: Operator, seen: Seen) -> bool:
    """Whether a cause is this mistake, or the same function of these inputs."""
    names = [cause.name for cause in causes]
    if any(says(name, mistake) for name in names):
        return True
    bounded = [one if isinstance(one, Bounded) else None for one in seen.inputs]
    expected = evaluated(mistake, bounded)
    for one in mistakes(operator, seen):
        if any(says(name, one) for name in names):
            with suppress(Unjudged, *MISFITS):
                other = evaluated(one, bounded)
                if other.shape == expected.shape and within(other, expected):
                    return True
    return False


def within(one: Bounded, other: Bounded) -> bool:
    """Whether two values are the same, up to both bounds."""
    apart = np.abs(one.value.astype(np.float64) - other.value.astype(np.float64))
    return bool((apart <= one.bound + other.bound).all())


def says(name: str, mistake: Mistake) -> bool:
    """Whether a cause has the name of a mistake, or the name of a range in which its number lies."""
    if isinstance(mistake.value, str):
        before, after = mistake.name.split(mistake.value, 1)
        words = name.removeprefix(before).removesuffix(after)
        return name == before + words + after and mistake.value in words.split(" or ")
    if mistake.value is None or "between" not in name:
        return name in (mistake.name, mistake.alike)
    low, high = (float(one) for one in re.findall(r"between (\S+) and (\S+)", name)[0])
    there = re.sub(r"between \S+ and \S+", f"{mistake.value:g}", name) == mistake.name
    return there and low <= mistake.value <= high
