"""Formats that values are cut off to, or rounded to with ties away from zero, against bits and fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.arithmetic.floats import BFLOAT16, TF32, Format
from parity.arithmetic.rounding_modes import AWAY_TF32, CUT_BFLOAT16, CUT_TF32, TiesAway

AWAY_BFLOAT16 = TiesAway(BFLOAT16.name, BFLOAT16.digits, BFLOAT16.lowest, BFLOAT16.dtype)
ODD = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-40, 3.4e38], np.float32)
cut = pytest.mark.parametrize(
    ("form", "bits"), [(CUT_TF32, 13), (CUT_BFLOAT16, 16)], ids=["TF32", "bfloat16"]
)


def as_float64(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


@cut
def test_a_number_that_is_cut_off_loses_its_last_bits(form: Format, bits: int) -> None:
    a = np.concatenate([np.random.default_rng(0).standard_normal(320).astype(np.float32), ODD])
    shorter = (a.view(np.uint32) >> bits << bits).view(np.float32)
    expected = np.where(np.isfinite(a), shorter, a)
    with np.errstate(all="raise", under="ignore"):
        for found in (form.round(a), form.round(as_float64(a)), form.round(np.array(a.tolist()))):
            assert found.dtype == form.dtype
            np.testing.assert_array_equal(as_float64(found), expected)
            np.testing.assert_array_equal(np.signbit(as_float64(found)), np.signbit(expected))
    one = np.array([1 - 2.0**-40])  # rounded to float32 before, it would be 1
    assert as_float64(form.round(one)) == 1 - 2.0**-form.digits
    assert np.abs(as_float64(form.round(a[:320])) - a[:320]).max() <= form.u * np.abs(a[:320]).max()
    with np.errstate(over="raise", invalid="raise"):
        assert as_float64(form.round(np.array([1e300, -3.5e38]))).tolist() == [form.largest, -form.largest]


def test_ties_are_rounded_away_from_zero_and_nothing_else_is_rounded_otherwise() -> None:
    step = 2.0**-10
    a = np.array([1 + step / 2, -1 - step / 2, 1 + 1.5 * step, 1 + step / 2 - 2.0**-40])
    assert AWAY_TF32.round(a).tolist() == [1 + step, -1 - step, 1 + 2 * step, 1]
    assert TF32.round(a).tolist() == [1, -1, 1 + 2 * step, 1]
    assert AWAY_TF32.has_ties(a)
    assert AWAY_TF32.has_ties(a[1:])
    assert not AWAY_TF32.has_ties(a[2:])
    assert AWAY_BFLOAT16.has_ties(np.array([1.0, 1 + 2.0**-8]))
    assert not AWAY_BFLOAT16.has_ties(np.array([1.0, 1 + 3 * 2.0**-8, 1 + 2.0**-7]))
    assert as_float64(AWAY_TF32.round(np.array([1e300, -3.5e38]))).tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize("form", [AWAY_TF32, AWAY_BFLOAT16], ids=lambda form: form.name)
@given(x=st.floats(-2.0, 2.0, width=32), half=st.booleans())
def test_ties_away_is_nearest(form: Format, x: float, half: bool) -> None:
    """Of both neighbours the nearer, of two as near the one that is farther from zero."""
    cut_off = CUT_TF32 if form is AWAY_TF32 else CUT_BFLOAT16
    low = float(as_float64(cut_off.round(np.array([x])))[0])
    if not low or abs(low) < 2.0**-100:
        return
    step = Fraction(2) ** (np.frexp(low)[1].item() - form.digits) * (1 if low > 0 else -1)
    value = Fraction(low) + step / 2 if half else Fraction(x)
    expected = low + float(step) if abs(value - Fraction(low)) >= abs(step) / 2 else low
    assert as_float64(form.round(np.array([float(value)])))[0] == expected
    assert as_float64(form.round(np.array([float(value)], np.float32)))[0] == expected
