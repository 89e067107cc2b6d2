"""Arithmetics in which a formula can be evaluated: with bounds, as a plain loop, and in exact integers."""

from parity.arithmetic.bounded import Bounded
from parity.arithmetic.integers import Integers, TooWide, integers
from parity.arithmetic.number import Array, Function, Number
from parity.arithmetic.plain_loop import Looped

__all__ = ["Array", "Bounded", "Function", "Integers", "Looped", "Number", "TooWide", "integers"]
