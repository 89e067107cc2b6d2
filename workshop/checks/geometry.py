"""Self-checks of notebook 12."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lenet.network import weights
from parity.arithmetic import Bounded
from workshop.checks.marking import NotRight, called, check, same_form, within

Array = np.ndarray
Answer = Callable[..., Any]


@check
def unseen_part(answer: Answer) -> str:
    """Check a projection on a null space, to eight digits: of exact projections, and of fc1's.

    The rows of w are rows of a Hadamard matrix, so that the projection on them is wᵀ(w x) / 16 without a
    rounding.
    """
    rng = np.random.default_rng(0)
    hadamard = np.ones((1, 1))
    for _ in range(4):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    x = rng.integers(-9, 10, (3, 16)).astype(np.float64)
    rows = hadamard[[1, 4, 6, 11]]
    expected = x - x @ rows.T @ rows / 16
    for name, w in (("4 rows", rows), ("rank 4 in 6 rows", np.concatenate([rows, rows[:2]]))):
        part = same_form("the unseen part", called(answer, w.copy(), x.copy()), expected)
        if np.array_equal(np.round(part, 6), np.round(x - expected, 6)):
            raise NotRight("this is the part that w sees: it is what must be taken away from x")
        try:
            within(f"for {name}: the part", part, _eight_digits(expected, x))
        except NotRight as reason:
            seen = np.abs(part @ w.T).max()
            if seen > 1e-6:
                why = f"w maps it to {seen:.3g}, not to 0"
            elif name != "4 rows":
                why = "w sees only 4 directions: count the rank, not the rows"
            else:
                why = "w does not see it, but it is not all that w does not see"
            raise NotRight(f"{reason}; {why}") from reason
    w = weights.read()["fc1.weight"].astype(np.float64)
    x = rng.standard_normal((3, 400))
    basis = np.linalg.svd(w)[2][120:]
    within("for fc1: the part", called(answer, w.copy(), x.copy()), _eight_digits(x @ basis.T @ basis, x))
    return "the part that w does not see, to eight digits, of three matrices"


def _eight_digits(expected: Array, x: Array) -> Bounded:
    size = np.linalg.norm(x, axis=1, keepdims=True)
    return Bounded(expected, np.broadcast_to(1e-8 * size, expected.shape))


@check
def patch_covariance(answer: Answer) -> str:
    """Check the covariance of patches to the bit: 256 patches of small integers, so that no sum rounds."""
    rng = np.random.default_rng(0)
    for shape, size in (((4, 1, 12, 12), 5), ((2, 1, 10, 18), 3)):
        images = rng.integers(0, 8, shape).astype(np.float64)
        columns = _patches(images, size)
        right = _second_moment(columns - columns.mean(axis=0))
        found = same_form("the covariance", called(answer, images.copy(), size), right)
        for wrong, why in (
            (right * len(columns) / (len(columns) - 1), "divided by one less than the number of patches"),
            (right * len(columns), "not divided by the number of patches"),
            (_second_moment(columns), "the mean patch was not subtracted"),
            (
                _second_moment(columns - columns.mean(axis=1, keepdims=True)),
                "each patch lost its own mean; subtract the mean patch, which has a value for each place",
            ),
            (right.reshape(size, size, size, size).transpose(1, 0, 3, 2).reshape(right.shape), "transposed"),
        ):
            # A mistake is named even if its author rounds on another way.
            if np.allclose(found, wrong) and not np.array_equal(found, right):
                raise NotRight(why)
        if not np.array_equal(found, right):
            at = tuple(int(k) for k in np.argwhere(found != right)[0])
            raise NotRight(f"entry {list(at)} is {found[at]:.9g}, expected {right[at]:.9g}")
    return "the covariance of the patches, to the bit, of two sizes"


def _patches(images: Array, size: int) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(images[:, 0], (size, size), axis=(1, 2))
    return windows.reshape(-1, size * size)


def _second_moment(columns: Array) -> Array:
    return np.asarray(columns.T @ columns / len(columns))
