"""Other ways to round to a format than to nearest with ties to even: hardware and casts by hand do so."""

from dataclasses import dataclass

import numpy as np

from parity.arithmetic.floats import BFLOAT16, TF32, Array, Format, to_odd


@dataclass(frozen=True)
class TiesAway(Format):
    """A format to which float32 is rounded to nearest, ties away from zero."""

    def round(self, x: Array) -> Array:
        """x rounded to this format, as `dtype`."""
        return _kept(x, self, half=1)

    def has_ties(self, x: Array) -> bool:
        """Whether a value lies halfway between two numbers of the format: no other is rounded otherwise."""
        return bool((super().round(x) != self.round(x)).any())


@dataclass(frozen=True)
class CutOff(Format):
    """A format to which float32 is rounded towards zero: the last bits are dropped."""

    @property
    def u(self) -> float:
        """Unit roundoff: the whole distance from 1 to the next larger number."""
        return 2.0 ** (1 - self.digits)

    def round(self, x: Array) -> Array:
        """x rounded to this format, as `dtype`."""
        return _kept(x, self, half=0)


def _kept(x: Array, form: Format, half: int) -> Array:
    """The first bits of float32; before the others are dropped, half of the last one that stays is added."""
    with np.errstate(over="ignore"):
        single = to_odd(x)
        dropped = 24 - form.digits
        bits = single.view(np.uint32) + np.uint32(half << (dropped - 1))
        short = (bits & np.uint32((0xFFFFFFFF << dropped) & 0xFFFFFFFF)).view(np.float32)
        return np.where(np.isfinite(single), short, single).astype(form.dtype)


AWAY_TF32 = TiesAway(TF32.name, TF32.digits, TF32.lowest, TF32.dtype)
CUT_TF32 = CutOff(TF32.name, TF32.digits, TF32.lowest, TF32.dtype)
CUT_BFLOAT16 = CutOff(BFLOAT16.name, BFLOAT16.digits, BFLOAT16.lowest, BFLOAT16.dtype)
