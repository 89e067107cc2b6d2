"""Two mistakes at once, where one does not explain a wrong tensor.

Pairs are tried in float64 without bounds first, each from the tensors that the earlier of the two leaves.
Those near the candidate's values are then evaluated as every mistake is.

There are tens of thousands of pairs, and time for some thousands. So those come first whose effects, added
up, are about the candidate's error, and those of which each by itself comes nearest to the candidate.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from parity.arithmetic import Array, Looped, Number
from parity.errors import Unjudged
from parity.judging.causes.mistake import MISFITS
from parity.judging.causes.search.first_look import Look
from parity.judging.causes.search.hypotheses import Clock, Made
from parity.judging.causes.search.stretch import Stretch
from parity.judging.causes.together import together
from parity.operators.operator import Points, random_points

HELD = 2**26  # values of all tensors that are kept for the pairs
MOST = 1000  # mistakes that are combined
COMPARED = 256  # values by which pairs are put in order


@dataclass(frozen=True)
class _Run:
    """A mistake, and all tensors of the stretch in which it alone is made."""

    made: Made
    values: Mapping[str, Number]

    @property
    def place(self) -> int:
        return self.made.places[0]

    @property
    def stretch(self) -> Stretch:
        assert isinstance(self.made.operator, Stretch)
        return self.made.operator


def two_mistakes(look: Look, single: Sequence[Made], clock: Clock) -> Iterator[Made]:
    """Each two of the mistakes, at one node or at two, that come near the candidate's values.

    A mistake whose bound is wide, since the candidate's values show it, is not combined: it would explain
    what the other leaves. Nor is a pair tried where all values are the same, which proves nothing of two.
    """
    if not look.sees or (look.wrong.found == look.wrong.found.flat[0]).all():
        return
    runs = list(_runs(look, single, clock.half()))
    for first, second in _in_order(look, runs):
        if clock.is_out():
            return
        one, two = sorted((runs[first], runs[second]), key=lambda run: run.place)
        if one.place != two.place:
            if look.is_near(two.stretch, two.place, one.values):
                yield _at_two(look.stretch, one.made, two.made)
            continue
        both = _at_one(look.stretch, one.made, two.made)
        if both is not None and look.is_near(both[0], two.place, look.right):
            yield both[1]


def _in_order(look: Look, runs: Sequence[_Run]) -> list[tuple[int, int]]:
    """Pairs of runs, by their numbers: the likely ones first.

    Three orders take turns: how near the sum of both effects is to the candidate's error; how near each
    alone is to the candidate; and the order in which they are known, which needs no values to compare.
    """
    one, two = np.triu_indices(len(runs), 1)
    orders = [np.lexsort((one, two))]
    name = look.stretch.result
    right, found = _values(look.right[name]), look.wrong.found
    if right.shape == found.shape and runs:
        points = random_points(np.random.default_rng(2), found.shape, COMPARED)
        error = found[points].astype(np.float64) - right[points]
        effects = np.array([_effect(_values(run.values[name]), right, points) for run in runs])
        told = np.isfinite(error)
        error, effects = error[told], effects[:, told]
        unknown = ~np.isfinite(effects).all(1)
        effects[unknown] = 0
        both = effects @ effects.T
        left = ((error - effects) ** 2).sum(1)  # what each alone leaves of the error, squared
        left[unknown] = np.inf
        orders += [np.argsort(left[one] + left[two] + 2 * both[one, two], kind="stable")]  # up to a constant
        orders += [np.argsort(left[one] + left[two], kind="stable")]
    ranks = np.full(len(one), len(one))
    for order in orders:
        ranks[order] = np.minimum(ranks[order], np.arange(len(one)))
    best = np.argsort(ranks, kind="stable")
    return list(zip(one[best].tolist(), two[best].tolist(), strict=True))


def _effect(result: Array, right: Array, points: Points) -> Array:
    """(M,): what a mistake adds at these points; NaN where nothing can be said."""
    if result.shape != right.shape:
        return np.full(len(points[0]), np.nan)
    added = result[points].astype(np.float64) - right[points]
    return np.where(np.isfinite(added), added, np.nan)


def _runs(look: Look, single: Sequence[Made], clock: Clock) -> Iterator[_Run]:
    """The mistakes whose result has the right shape and is no other's; the first of each node first."""
    right, name = look.right, look.stretch.result
    shapes = {right[name].shape, look.wrong.found.shape}
    known = {_values(right[name]).tobytes()}
    held = count = 0
    for _, _, made in sorted(_alone(single), key=lambda one: one[:2]):
        if clock.is_out() or held > HELD or count == MOST:
            return
        assert isinstance(made.operator, Stretch)
        with suppress(Unjudged, *MISFITS):
            values = made.operator.run(right, made.places[0])
            result = _values(values[name])
            same = result.tobytes()
            if result.shape not in shapes or same in known:
                continue
            known.add(same)
            held += sum(x.size for name, x in values.items() if x is not right.get(name))
            count += 1
            yield _Run(made, values)


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


def _at_two(stretch: Stretch, one: Made, other: Made) -> Made:
    """Mistakes at two nodes."""
    places = (*one.places, *other.places)
    mistakes = (*one.mistakes, *other.mistakes)
    wrong = stretch.with_mistakes(dict(zip(places, mistakes, strict=True)))
    return Made((*one.nodes, *other.nodes), mistakes, wrong, places, places[0])


def _at_one(stretch: Stretch, one: Made, other: Made) -> tuple[Stretch, Made] | None:
    """A stretch with two mistakes of one node; None if they exclude each other."""
    (place,) = one.places
    right = stretch.nodes[place].operator
    if right is None or one.mistakes[0].inputs or other.mistakes[0].inputs:
        return None
    try:
        operator = together(right, other.mistakes[0].operator, one.mistakes[0].operator)
    except ValueError:
        return None
    wrong = stretch.with_mistakes({place: replace(one.mistakes[0], operator=operator)})
    nodes, mistakes = (*one.nodes, *other.nodes), (*one.mistakes, *other.mistakes)
    return wrong, Made(nodes, mistakes, wrong, (place, place), place)
