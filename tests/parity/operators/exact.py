"""Whether the bounds of an operator are those of its statement in rational numbers."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import U64, Format
from parity.operators import Operator
from tests.parity.arithmetic.rational import COVER
from tests.parity.arithmetic.stated import FAR, At, Stated
from tests.parity.examples import Example
from tests.parity.operators.checks import bounded, outputs
from tests.parity.statements import STATEMENTS
from tests.parity.statements.arrays import stated

Arrays = Sequence[Array | None]
ENDS = Fraction(8 * U64)  # how much further the code takes the end of an interval: it is rounded, outwards


def forms(example: Example) -> list[Operator]:
    """The operator as a file has it, and each of its forms."""
    return list({str(one): one for one in (example.operator, *example.operator.forms())}.values())


def expected(operator: Operator, arrays: Arrays, form: Format, ends: Fraction = Fraction(0)) -> list[Any]:
    """All outputs, as their statement has them."""
    given = [stated(one, At(form, ends)) for one in arrays]
    found = STATEMENTS[operator.TYPE](operator, *given)
    return list(found) if isinstance(found, tuple) else [found]


def computed(operator: Operator, arrays: Arrays, form: Format) -> list[Bounded]:
    """All outputs, as the code has them."""
    found = outputs(operator.evaluate(*bounded(arrays, form)))
    assert all(isinstance(one, Bounded) for one in found)
    return list(found)  # type: ignore[arg-type]


def check(example: Example, arrays: Arrays, form: Format, code: Format | None = None) -> None:
    """Fail unless each bound is its formula, up to the room that the code states for computing it.

    Args:
        code: the format that the code is given, for tests of what happens if it differs.
    """
    for operator in forms(example):
        found, least = computed(operator, arrays, code or form), expected(operator, arrays, form)
        assert len(found) == len(least), f"{example}: {len(found)} outputs"
        wrong = _wrong(found, least, least)
        if wrong:  # the end of an interval may be rounded: this is rarely needed, and costs as much again
            wrong = _wrong(found, least, expected(operator, arrays, form, ENDS))
        assert not wrong, f"{operator} in {form.name}: {wrong}"


def _wrong(found: list[Bounded], least: list[Any], most: list[Any]) -> str:
    """What is wrong with the first bound that lies outside of these limits; "" if none does."""
    for k, (one, low, high) in enumerate(zip(found, least, most, strict=True)):
        if one.shape != low.shape:
            return f"output {k} has shape {one.shape}, not {low.shape}"
        for index in np.ndindex(one.shape):
            if wrong := _apart(float(one.bound[index]), _error(low[index]), _error(high[index])):
                return f"the bound of output {k} at {index} is {wrong}"
    return ""


def _error(x: Any) -> Fraction:
    return x.error if isinstance(x, Stated) else Fraction(0)


def _apart(found: float, least: Fraction, most: Fraction) -> str:
    """How a bound differs from its formula; "" if it does not."""
    if least > FAR or not np.isfinite(found):
        return "" if least > FAR and found == np.inf else f"{found}, not {_short(least)}"
    if Fraction(found) < least:
        return f"{found:.17g}, which is below {_short(least)} by {_short(least - Fraction(found))}"
    if Fraction(found) > most * (1 + COVER):
        return f"{found:.17g}, which is above {_short(most)} by {_short(Fraction(found) - most)}"
    return ""


def _short(x: Fraction) -> str:
    return f"{float(x):.17g}" if x < FAR else "infinite"
