"""Sums of products at some points: those of the whole product there, however the rows are laid out."""

from math import prod

import numpy as np
import pytest

from parity.arithmetic import Array, Bounded, Number
from parity.arithmetic.floats import FLOAT64, U64, gamma
from parity.operators import Operator, sums
from parity.operators.affine import Conv, ConvTranspose, Gemm, MatMul
from tests.parity.arithmetic.rational import COVER
from tests.parity.examples import affine
from tests.parity.examples.example import Example
from tests.parity.operators import one_node

RNG = np.random.default_rng(0)
A, B, BIAS = (
    Bounded(RNG.standard_normal(shape).astype(np.float32)) for shape in ((40, 7), (7, 50), (40, 50))
)
POINTS = {
    "of one row": (np.array([39, 39, 39]), np.array([4, 49, 4])),
    "that share rows and columns": np.divmod(RNG.permutation(2000)[:900], 50),
    "of rows and columns of their own": (RNG.permutation(40), RNG.permutation(50)[:40]),
}


@pytest.mark.parametrize("biased", [False, True], ids=["without bias", "with bias"])
@pytest.mark.parametrize("largest", [sums.LARGEST, 500, 1], ids=["at once", "in parts", "one by one"])
@pytest.mark.parametrize("points", POINTS.values(), ids=POINTS)
def test_sums_at_points_are_those_of_the_whole_product(
    points: tuple[Array, Array], largest: int, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "LARGEST", largest)
    row, column = points

    def rows(keys: Array) -> Number:
        return A.move(lambda a: a[keys])

    def columns(keys: Array) -> Number:
        return B.move(lambda b: b[:, keys])

    def bias(at: Array, beside: Array) -> Number:
        return BIAS.move(lambda c: c[at, beside])

    found = sums.sums_at(row, column, rows, columns, bias if biased else None)
    whole = A.dot(B, BIAS if biased else None).move(lambda y: y[row, column])
    assert isinstance(found, Bounded)
    assert isinstance(whole, Bounded)
    size = np.abs(A.value.astype(float)) @ np.abs(B.value) + (np.abs(BIAS.value) if biased else 0)
    # Both are rounded in float64, perhaps in another order: each is off by at most γ_n of the magnitudes.
    room = 2 * gamma(A.shape[1] + 1, U64) * size[row, column]
    assert (np.abs(found.value - whole.value) <= room).all()
    # Both bounds lie between their formula and the room that is stated for computing it.
    np.testing.assert_allclose(found.bound, whole.bound, rtol=float(COVER))


@pytest.mark.parametrize("count", [1, 40, 4096])
@pytest.mark.parametrize(
    ("operator", "shape", "axis"),
    [
        (Conv(), (3, 20, 7, 9), 1),
        (ConvTranspose(), (3, 20, 7), 1),
        (Gemm(), (30, 50), 1),
        (MatMul(), (2, 30, 50), 2),
        (MatMul(), (50,), 0),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Operator) else None,
)
def test_few_points_share_their_places_on_one_axis(
    operator: Operator, shape: tuple[int, ...], axis: int, count: int
) -> None:
    """Each of some columns with each of some rows, and none twice."""
    points = operator.few_points(np.random.default_rng(1), shape, count)
    flat = np.ravel_multi_index(points, shape)  # refuses points that lie outside
    columns = np.unique(points[axis])
    rows = np.unique(flat - points[axis] * prod(shape[axis + 1 :]))
    assert len(np.unique(flat)) == len(flat) == len(columns) * len(rows)
    most = min(count, prod(shape))
    assert most / 2 < len(flat) <= most


@pytest.mark.parametrize(
    "example", [one for one in affine.EXAMPLES if isinstance(one.operator, Conv)], ids=str
)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_bands_of_a_convolution_are_the_whole(
    example: Example, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = one_node.drawn(example)
    (whole,), (exact,) = (one_node.outputs(example.operator, arrays, *form) for form in ((), (FLOAT64,)))
    patches = whole.size // (arrays[1].shape[0] * whole.shape[2]) * prod(arrays[1].shape[1:])  # type: ignore[union-attr]
    monkeypatch.setattr("parity.operators.affine.LARGEST", rows * patches)
    (banded,) = one_node.outputs(example.operator, arrays)
    assert (np.abs(banded.value - whole.value) <= exact.bound).all()
    np.testing.assert_allclose(banded.bound, whole.bound, rtol=float(COVER))  # as above
