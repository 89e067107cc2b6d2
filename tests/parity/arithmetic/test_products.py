"""Matrix products of values, of their magnitudes, and of integers."""

import numpy as np
import pytest

from parity.arithmetic import products as products_module
from parity.arithmetic.products import integer_product, not_negative, products_of


@pytest.mark.parametrize(("rows", "columns"), [(2, 5), (5, 2)])
@pytest.mark.parametrize("blocks", [2**22, 4, 8])
def test_products_and_their_magnitudes(
    rows: int, columns: int, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one pass where a factor has no negative value, in two otherwise, in blocks where it is large."""
    monkeypatch.setattr(products_module, "LARGEST", blocks)
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((rows, 3), (3, columns)))
    for left, right in ((a, b), (np.abs(a), b), (a, np.abs(b)), (np.abs(a), np.abs(b))):
        for positive in ((None, None), (bool((left >= 0).all()), bool((right >= 0).all()))):
            value, size = products_of(left, right, *positive)
            assert value.dtype == size.dtype == np.float64
            assert (value == left @ right).all()
            assert (size == np.abs(left) @ np.abs(right)).all()
    several, more = np.stack([a, -a]), np.stack([b, 2 * b])
    nothing = a[:, :0], b[:0]
    pairs = ((several, b), (several, more), (a, more), (several, abs(b)), (abs(several), more), nothing)
    for left, right in pairs:
        value, size = products_of(left, right)
        np.testing.assert_array_equal(value, left @ right)
        np.testing.assert_array_equal(size, np.abs(left) @ np.abs(right))


@pytest.mark.parametrize("blocks", [2**22, 4])
def test_what_is_known_of_a_factor_is_not_looked_for_again(
    blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is believed, even if it is wrong."""
    monkeypatch.setattr(products_module, "LARGEST", blocks)
    a, b = np.array([[1.0, -2.0]]), np.array([[3.0, -5.0, 7.0], [-1.0, 2.0, 4.0]])
    assert products_of(a, b, None, True)[1].tolist() == (np.abs(a) @ b).tolist()
    assert products_of(b.T, a.T, True, None)[1].tolist() == (b.T @ np.abs(a.T)).tolist()


@pytest.mark.parametrize("peak", [2**20, 2**26, 2**27, 2**31])
def test_integer_products_are_exact(peak: int) -> None:
    """By float64 below 2^53, and in integers from there on."""
    a, b = np.array([[peak - 1, 1 - peak, 3]]), np.array([[peak + 1], [5], [1 - peak]])
    right = (peak - 1) * (peak + 1) - 5 * (peak - 1) - 3 * (peak - 1)
    assert integer_product(a, b).tolist() == [[right]]
    assert integer_product(a, b).dtype == np.int64
    for odd in (2**27 + 1, -(2**27) - 1):  # from 2^53 on float64 would round
        assert integer_product(np.array([[odd]]), np.array([[2**26 + 1]])).tolist() == [[odd * (2**26 + 1)]]
        assert integer_product(np.array([[2**26 + 1]]), np.array([[odd]])).tolist() == [[odd * (2**26 + 1)]]
    row, column = np.full((1, 2, 8), 2**25 + 1), np.full((8, 1), 2**25 + 1)
    row[..., 0] += 1
    assert integer_product(row, column).tolist() == [[[(2**25 + 1) * (8 * (2**25 + 1) + 1)]] * 2]
    assert integer_product(np.array([[100]], np.int8), np.array([[3]], np.int32)).tolist() == [[300]]
    assert integer_product(np.array([[3]], np.int32), np.array([[100]], np.int8)).tolist() == [[300]]
    small = integer_product(np.array([[100]], np.int8), np.array([[3]], np.int8))
    assert small.dtype == np.int8
    assert small.tolist() == [[44]]
    single = np.array([[100_000]], np.int32)
    assert integer_product(single, single).tolist() == [[10**10 - 2**33]]
    assert integer_product(np.zeros((1, 0), np.int32), np.zeros((0, 1), np.int32)).tolist() == [[0]]


def test_zero_and_nothing_are_not_negative() -> None:
    assert not_negative(np.zeros(2), None) is True
    assert not_negative(np.zeros(0), None) is True
    assert not_negative(np.array([1.0, -1e-300]), None) is False
    assert not_negative(np.array([-1.0]), True) is True
    assert not_negative(np.array([1.0]), False) is False
