"""Two mistakes at once, where one does not explain a wrong tensor.

Pairs are tried in float64 without bounds first, each from the tensors that the earlier of the two leaves.
Those near the candidate's values are then evaluated as every mistake is.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace

import numpy as np

from parity.arithmetic import Array, Looped, Number
from parity.arithmetic.floats import FLOAT64
from parity.errors import Unjudged
from parity.judging.causes.mistake import MISFITS, Changed, Mistake
from parity.judging.causes.search.candidates import Clock, Made
from parity.judging.causes.search.stretch import Stretch
from parity.judging.causes.search.wrong import Wrong
from parity.operators import Operator
from parity.operators.operator import random_points

HELD = 2**26  # values of all tensors that are kept for the pairs
NEAR = 1e-3  # of the size of the values: how far from them a pair may be that is evaluated with its bound


@dataclass(frozen=True, eq=False)
class _Fast(Looped):
    """Values in float64, added up in NumPy's order."""

    def dot(self, other: Looped, bias: Looped | None = None, products: int | None = None) -> "_Fast":
        if self.value.dtype.kind in "biu":
            return replace(self, value=super().dot(other, bias, products).value)
        total = self._in_format(self.value) @ self._in_format(other.value)
        return replace(self, value=total if bias is None else total + bias.value)

    def sum(self, axes: tuple[int, ...]) -> "_Fast":
        return replace(self, value=self._computed().sum(axes, keepdims=True))


@dataclass(frozen=True)
class _Run:
    """A mistake, and all tensors of the stretch in which it alone is made."""

    made: Made
    values: Mapping[str, Number]

    @property
    def place(self) -> int:
        return self.made.places[0]


def two_mistakes(wrong: Wrong, single: Sequence[Made], clock: Clock) -> Iterator[Made]:
    """Each two of the mistakes, at one node or at two, that come near the candidate's values.

    A mistake whose bound is wide, since the candidate's values show it, is not combined: it would explain
    what the other leaves.
    """
    if not wrong.found.size or wrong.found.dtype.kind not in "fV":
        return
    stretch = wrong.question.operator
    assert isinstance(stretch, Stretch)
    inputs = [None if x is None else _Fast(_wide(x.value), FLOAT64) for x in wrong.question.bounded]
    right = stretch.values(inputs)
    runs: list[_Run] = []
    for run in _runs(wrong, right, single, clock):
        for other in runs:
            if clock.is_out():
                return
            one, two = sorted((other, run), key=lambda r: r.place)
            both = _both(stretch, one.made, two.made)
            if both is not None and _is_near(wrong, both, one.values if one.place != two.place else right):
                yield both
        runs.append(run)


def _wide(a: Array) -> Array:
    return a.astype(np.float64) if a.dtype.kind in "fV" else a


def _runs(wrong: Wrong, right: Mapping[str, Number], single: Sequence[Made], clock: Clock) -> Iterator[_Run]:
    """The mistakes whose result has the right shape and is no other's; the first of each node first."""
    stretch = wrong.question.operator
    assert isinstance(stretch, Stretch)
    known = [_values(right[stretch.result])]
    shapes = {right[stretch.result].shape, wrong.found.shape}
    held = 0
    for made in sorted(_alone(single), key=lambda one: one[0]):
        if clock.is_out() or held > HELD:
            return
        one = made[2]
        assert isinstance(one.operator, Stretch)
        with suppress(Unjudged, *MISFITS):
            values = one.operator.run(right, one.places[0])
            result = _values(values[stretch.result])
            if result.shape not in shapes or any(np.array_equal(result, other) for other in known):
                continue
            known.append(result)
            held += sum(x.size for name, x in values.items() if x is not right.get(name))
            yield _Run(one, values)


def _alone(single: Sequence[Made]) -> Iterator[tuple[int, int, Made]]:
    """Mistakes of one node with their rank: among those of this node, and among all."""
    counts: dict[int, int] = {}
    for number, one in enumerate(single):
        if one.places and not one.mistakes[0].read_off:
            (place,) = one.places
            counts[place] = counts.get(place, 0) + 1
            yield counts[place], number, one


def _values(x: Number) -> Array:
    assert isinstance(x, Looped)
    return x.value


def _both(stretch: Stretch, one: Made, other: Made) -> Made | None:
    """A stretch with two mistakes; None if they exclude each other."""
    (first,), (second,) = one.places, other.places
    made: dict[int, Mistake] = {first: one.mistakes[0], second: other.mistakes[0]}
    if first == second:
        right = stretch.nodes[first].operator
        if right is None or one.mistakes[0].inputs or other.mistakes[0].inputs:
            return None
        operator = merged(right, one.mistakes[0].operator, other.mistakes[0].operator)
        if operator is None:
            return None
        made[first] = replace(one.mistakes[0], operator=operator)
    nodes, mistakes = (*one.nodes, *other.nodes), (*one.mistakes, *other.mistakes)
    return Made(nodes, mistakes, stretch.with_mistakes(made), (first, second))


def merged(right: Operator, one: Operator, other: Operator) -> Operator | None:
    """An operator with both mistakes: other attributes, and other inputs or another output.

    None if both change the same attribute, or the operator.
    """
    if isinstance(one, Changed) and one.right == right:
        return replace(one, right=other)
    if isinstance(other, Changed) and other.right == right:
        return replace(other, right=one)
    if type(one) is not type(right) or type(other) is not type(right):
        return None
    names = [field.name for field in fields(right)]
    changes = [{n: getattr(o, n) for n in names if getattr(o, n) != getattr(right, n)} for o in (one, other)]
    if changes[0].keys() & changes[1].keys():
        return None
    return replace(right, **changes[0], **changes[1])


def _is_near(wrong: Wrong, both: Made, known: Mapping[str, Number]) -> bool:
    """Whether a few values are about those of the stretch with two mistakes; those before it are known."""
    assert isinstance(both.operator, Stretch)
    with suppress(Unjudged, *MISFITS):
        points = _first(wrong)
        seen = wrong.found[points].astype(np.float64)
        values = _values(both.operator.sampled(points, known, both.places[1]))
        off = np.abs(values - seen)
        return bool((off <= NEAR * np.abs(seen).max() + np.abs(seen) * NEAR).all())
    return False


def _first(wrong: Wrong) -> tuple[Array, ...]:
    return random_points(np.random.default_rng(1), wrong.found.shape, 16)
