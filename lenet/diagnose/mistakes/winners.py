"""Who gets the cotangent of a pooling window.

If several values of a window are the largest, any shares between 0 and 1 with the sum 1 make a right
subgradient. The ports give it to the first value in row order; a port that shares it in another way has made
another valid choice.
"""

from collections.abc import Callable

import numpy as np

from lenet.diagnose.mistakes.base import Family, Kind, case
from lenet.diagnose.mistakes.wrong_backward import BackCall, right_input
from lenet.diagnose.mistakes.wrong_forward import instead, of_type
from lenet.reference.backward import window_taps
from parity.arithmetic import Array, Bounded
from parity.operators.pooling import MaxPool

FAMILY = Family()
POOLS = tuple(f"{name}.input" for name in reversed(of_type(MaxPool)))
TIES = case("Theano/Theano", 5248)
REMEDY = "Give the cotangent to the first largest value of each window, in row order."

Shares = Callable[[Array], Array]  # from which values win, (taps, N, C, P, Q) bool, to their shares
Tree = int | tuple["Tree", ...]  # which taps of a window are compared with which, in row order from 0


def tied(call: BackCall, shares: Shares, equal: Callable[..., Array] = np.equal) -> Bounded:
    """The cotangent if the positions `equal` to their window's maximum get these shares of it."""
    assert isinstance(call.layer.operator, MaxPool)
    size = call.layer.kernel
    taps = np.stack(window_taps(call.x.value, size))
    share = shares(equal(taps, taps.max(axis=0)))
    base = right_input(call)
    value, error = np.zeros(call.x.value.shape), base.bound.copy()
    for k, (v, e) in enumerate(zip(window_taps(value, size), window_taps(error, size), strict=True)):
        v[...] = call.d.value * share[k]
        bound = call.d.bound * share[k] + 2 * call.u * np.abs(v)
        e[...] = np.where(share[k] > 0, np.maximum(e, bound), e)
    return Bounded(value, error)


def whole(wins: Array) -> Array:
    """Each winner gets all."""
    return wins.astype(np.float64)


def split(tree: Tree) -> Shares:
    """Winners that are compared at the same time share alike: pairs of pairs, say."""

    def shares(wins: Array) -> Array:
        result = np.zeros(wins.shape)
        _divide(tree, wins, np.ones(wins.shape[1:]), result)
        return result

    return shares


def _divide(tree: Tree, wins: Array, share: Array, result: Array) -> None:
    if isinstance(tree, int):
        result[tree] = np.where(wins[tree], share, 0)
        return
    reached = [wins[_taps(branch)].any(axis=0) for branch in tree]
    each = share / np.maximum(np.sum(reached, axis=0), 1)
    for branch in tree:
        _divide(branch, wins, each, result)


def _taps(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else [tap for branch in tree for tap in _taps(branch)]


def first_of(order: tuple[int, ...]) -> Shares:
    """The first winner in this order of the taps gets all."""

    def shares(wins: Array) -> Array:
        ordered = wins[list(order)]
        alone = ordered & (np.cumsum(ordered, axis=0) == 1)
        return alone[np.argsort(order)].astype(np.float64)

    return shares


def _everywhere(call: BackCall, factor: float) -> Bounded:
    value, error = np.zeros(call.x.value.shape), np.zeros(call.x.value.shape)
    assert isinstance(call.layer.operator, MaxPool)
    for v, e in zip(
        window_taps(value, call.layer.kernel), window_taps(error, call.layer.kernel), strict=True
    ):
        v[...], e[...] = factor * call.d.value, factor * call.d.bound
    return Bounded(value, error)


SEVERAL = "If several values of a window are the largest, "
VALID: dict[str, tuple[str, Shares]] = {
    "ties split among winners": ("they share the cotangent.", split((0, 1, 2, 3))),
    "ties split in pairs, columns first": (
        "each pair of a row shares what it gets, and so do the two rows: a maximum of maxima.",
        split(((0, 1), (2, 3))),
    ),
    "ties split in pairs, rows first": (
        "each pair of a column shares what it gets, and so do the two columns: a maximum of maxima.",
        split(((0, 2), (1, 3))),
    ),
    "ties split one after the other": (
        "the maximum so far and the next value share: a maximum of four, taken step by step.",
        split((((0, 1), 2), 3)),
    ),
    "ties won by the last": ("the last in row order gets the cotangent.", first_of((3, 2, 1, 0))),
    "ties won by the first in column order": (
        "the first in column order gets the cotangent.",
        first_of((0, 2, 1, 3)),
    ),
    "ties won by the last in column order": (
        "the last in column order gets the cotangent.",
        first_of((3, 1, 2, 0)),
    ),
}
for _name, (_text, _shares) in VALID.items():
    FAMILY.add(
        POOLS,
        Kind(_name, SEVERAL + _text, REMEDY, TIES, valid=True),
        instead(lambda call, shares=_shares: tied(call, shares)),
    )

WRONG: tuple[tuple[str, str, Callable[[BackCall], Bounded]], ...] = (
    (
        "ties rewarded to all winners",
        SEVERAL + "each gets the whole cotangent.",
        lambda call: tied(call, whole),
    ),
    (
        "nearly equal values rewarded as ties",
        "Every value that np.isclose finds equal to the largest of its window gets the whole cotangent.",
        lambda call: tied(call, whole, np.isclose),
    ),
    (
        "nearly equal values share as ties",
        "All values that np.isclose finds equal to the largest of their window share the cotangent.",
        lambda call: tied(call, split((0, 1, 2, 3)), np.isclose),
    ),
    (
        "pooling gradient to the whole window",
        "Every position of a window gets the cotangent.",
        lambda call: _everywhere(call, 1.0),
    ),
    (
        "pooling gradient spread as an average",
        "Every position gets a quarter: the gradient of average pooling.",
        lambda call: _everywhere(call, 0.25),
    ),
)
for _name, _text, _how in WRONG:
    FAMILY.add(POOLS, Kind(_name, _text, REMEDY, TIES), instead(_how))
