"""Two mistakes at once, where one does not explain a wrong tensor.

Pairs are tried in float64 without bounds first, each from the tensors that the earlier of the two leaves.
Those near the candidate's values are then evaluated as every mistake is.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from parity.arithmetic import Array, Looped, Number
from parity.errors import Unjudged
from parity.judging.causes.mistake import MISFITS, Mistake
from parity.judging.causes.search.first_look import Look
from parity.judging.causes.search.hypotheses import Clock, Made
from parity.judging.causes.search.stretch import Stretch
from parity.judging.causes.together import together

HELD = 2**26  # values of all tensors that are kept for the pairs


@dataclass(frozen=True)
class _Run:
    """A mistake, and all tensors of the stretch in which it alone is made."""

    made: Made
    values: Mapping[str, Number]

    @property
    def place(self) -> int:
        return self.made.places[0]


def two_mistakes(look: Look, single: Sequence[Made], clock: Clock) -> Iterator[Made]:
    """Each two of the mistakes, at one node or at two, that come near the candidate's values.

    A mistake whose bound is wide, since the candidate's values show it, is not combined: it would explain
    what the other leaves.
    """
    if not look.sees:
        return
    runs: list[_Run] = []
    for run in _runs(look, single, clock):
        for other in runs:
            if clock.is_out():
                return
            one, two = sorted((other, run), key=lambda r: r.place)
            both = _both(look.stretch, one.made, two.made)
            known = one.values if one.place != two.place else look.right
            if both is not None and look.is_near(both[0], two.place, known):
                yield both[1]
        runs.append(run)


def _runs(look: Look, single: Sequence[Made], clock: Clock) -> Iterator[_Run]:
    """The mistakes whose result has the right shape and is no other's; the first of each node first."""
    right, result_name = look.right, look.stretch.result
    known = [_values(right[result_name])]
    shapes = {right[result_name].shape, look.wrong.found.shape}
    held = 0
    for made in sorted(_alone(single), key=lambda one: one[0]):
        if clock.is_out() or held > HELD:
            return
        one = made[2]
        assert isinstance(one.operator, Stretch)
        with suppress(Unjudged, *MISFITS):
            values = one.operator.run(right, one.places[0])
            result = _values(values[result_name])
            if result.shape not in shapes or any(
                np.array_equal(result, other, equal_nan=True) for other in known
            ):
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


def _both(stretch: Stretch, one: Made, other: Made) -> tuple[Stretch, Made] | None:
    """A stretch with two mistakes; None if they exclude each other."""
    (first,), (second,) = one.places, other.places
    made: dict[int, Mistake] = {first: one.mistakes[0], second: other.mistakes[0]}
    if first == second:
        right = stretch.nodes[first].operator
        if right is None or one.mistakes[0].inputs or other.mistakes[0].inputs:
            return None
        try:
            operator = together(right, other.mistakes[0].operator, one.mistakes[0].operator)
        except ValueError:
            return None
        made[first] = replace(one.mistakes[0], operator=operator)
    nodes, mistakes = (*one.nodes, *other.nodes), (*one.mistakes, *other.mistakes)
    wrong = stretch.with_mistakes(made)
    return wrong, Made(nodes, mistakes, wrong, (first, second), first)
