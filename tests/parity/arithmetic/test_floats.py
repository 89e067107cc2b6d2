"""Facts about floating point, against exact rational arithmetic and NumPy's own."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.arithmetic.floats import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    TF32,
    Format,
    cover,
    equal_bits,
    format_of,
    gamma,
    to_odd,
)

STORED = [FLOAT16, BFLOAT16, FLOAT32, FLOAT64]
formats = pytest.mark.parametrize("form", [*STORED, TF32], ids=lambda form: form.name)
stored = pytest.mark.parametrize("form", STORED, ids=lambda form: form.name)
reals = st.floats(allow_nan=False, allow_infinity=False)


def nearest(x: float, form: Format) -> Fraction | None:
    """x rounded by its definition: to the nearest multiple of the last place, ties to even; None: inf."""
    exact = Fraction(x)
    if not exact:
        return exact
    exponent = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
    exponent -= abs(exact) < Fraction(2) ** exponent  # 2^exponent ≤ |x| < 2^(exponent + 1)
    step = Fraction(2) ** (max(exponent, form.lowest) - form.digits + 1)
    rounded = round(exact / step) * step  # Python rounds fractions to even
    return rounded if abs(rounded) <= Fraction(form.largest) else None


@stored
def test_format_is_what_the_library_says(form: Format) -> None:
    info = ml_dtypes.finfo(form.dtype)
    assert form.u == float(info.eps) / 2
    assert form.largest == float(info.max)
    assert form.tiny == float(info.smallest_normal)
    assert form.smallest == float(info.smallest_subnormal)
    assert format_of(np.zeros(2, form.dtype)) is form


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.str_, np.uint8, np.complex64])
def test_no_format(dtype: type) -> None:
    assert format_of(np.zeros(2, dtype)) is None


@formats
@given(x=reals, near=st.integers(-2, 2), half=st.booleans())
def test_round_is_to_nearest_even(form: Format, x: float, near: int, half: bool) -> None:
    """Any number, and those at or just beside the middle between two neighbours."""
    with np.errstate(all="ignore"):
        if half and form is not FLOAT64:
            low = form.round(np.array(x)).astype(np.float64)
            high = low * (1 + 2 * form.u)
            x = float(low / 2 + high / 2)
            for _ in range(abs(near)):
                x = float(np.nextafter(x, np.sign(near) * np.inf))
        found = float(form.round(np.array(x)))
    if not np.isfinite(x):
        return
    expected = nearest(x, form)
    if expected is None:
        assert found == np.sign(x) * np.inf
    else:
        assert Fraction(found) == expected


@pytest.mark.parametrize("form", [BFLOAT16, TF32], ids=lambda form: form.name)
def test_round_rounds_once(form: Format) -> None:
    """float32 lies between float64 and these: a number just above the middle goes up, and not to even."""
    above = 1 + form.u + 2.0**-40
    assert float(form.round(np.array(above))) == 1 + 2 * form.u
    assert float(form.round(np.array(-above))) == -1 - 2 * form.u
    assert float(form.round(np.array(1 + 3 * form.u - 2.0**-40))) == 1 + 2 * form.u


@pytest.mark.parametrize("form", [TF32, FLOAT16, FLOAT32, FLOAT64], ids=lambda form: form.name)
def test_every_number_of_float16_is_one_of_a_longer_format(form: Format) -> None:
    x = np.array([1.5, 0.1, -3.0], np.float16)
    assert form.round(x).astype(np.float64).tolist() == x.tolist()


def test_to_odd_is_a_neighbour_whose_last_bit_is_one() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(1000) * 10.0 ** rng.integers(-44, 39, 1000), [1e300, -1e300]])
    with np.errstate(over="ignore"):
        odd = to_odd(x)
        other = np.nextafter(odd, np.where(odd < x, np.inf, -np.inf).astype(np.float32))
    assert (odd.view(np.uint32) & 1 == 1).all()
    assert ((odd < x) == (x < other)).all()
    assert (odd != x).all()
    exact = np.array([1.0, -0.5, 2.0**-149, 0.0, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(to_odd(exact), exact)


@formats
def test_round_keeps_what_is_no_number(form: Format) -> None:
    with np.errstate(over="raise", invalid="raise"):  # of which NumPy warns
        odd = form.round(np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e308])).astype(np.float64)
    assert odd[0] == np.inf
    assert odd[1] == -np.inf
    assert np.isnan(odd[2])
    assert list(np.signbit(odd[3:5])) == [False, True]
    assert odd[5] == (1e308 if form is FLOAT64 else np.inf)


@pytest.mark.parametrize("u", [2.0**-8, 2.0**-11, 2.0**-24, 2.0**-53])
@pytest.mark.parametrize("k", [0, 1, 2, 9, 100])
def test_gamma_is_above_k_roundings(k: int, u: float) -> None:
    exact = Fraction(u)
    allowed = k * exact / (1 - k * exact)
    assert (1 + exact) ** k - 1 <= allowed
    assert 1 / (1 - exact) ** k - 1 <= allowed
    assert gamma(k, u) == pytest.approx(float(allowed), rel=2**-50)


def test_gamma_ends() -> None:
    assert gamma(255, 2.0**-8) < np.inf
    assert gamma(256, 2.0**-8) == np.inf
    assert gamma(300, 2.0**-8) == np.inf


@pytest.mark.parametrize("n", [1, 10, 10_000])
def test_cover_is_above_a_sum_in_float64(n: int) -> None:
    """A sum of n positive terms, each the result of some four roundings, is off by at most n + 3 of them."""
    assert 1 + (1 + Fraction(2) ** -53) ** (n + 4) - 1 < Fraction(cover(n))
    assert cover(n) < 1 + 1e-11


@stored
def test_equal_bits(form: Format) -> None:
    a = np.array([1, 0, -0.0, np.nan, np.inf, 1, np.nan, 0]).astype(form.dtype)
    b = np.array([1, -0.0, 0, -np.nan, np.inf, 1 + 2 * form.u, 1, 1]).astype(form.dtype)
    assert list(equal_bits(a, b)) == list(equal_bits(b, a)) == [True] * 5 + [False] * 3
    assert equal_bits(a[0], b[0]).shape == ()
    assert list(equal_bits(a[::2], b[::2])) == [True, True, True, False]


@pytest.mark.parametrize("values", [[1, 2], [True, False], ["a", "b"]])
def test_equal_bits_of_what_is_no_float(values: list) -> None:
    a = np.array(values)
    assert list(equal_bits(a, a[::-1])) == [False, False]
    assert list(equal_bits(a, a.copy())) == [True, True]
