"""Two mistakes in one use of an operator."""

from dataclasses import replace

import numpy as np
import pytest

from parity.arithmetic import Bounded
from parity.judging.causes.mistake import Changed, with_input
from parity.judging.causes.together import core, together, with_core
from parity.operators import Operator
from parity.operators.activation import Relu
from parity.operators.affine import Conv
from parity.operators.elementwise import Identity

RNG = np.random.default_rng(3)
INPUTS = [Bounded(RNG.standard_normal(shape)) for shape in ((2, 3, 6, 6), (4, 3, 3, 3), (4,))]
RIGHT = Conv(pads=(1, 1, 1, 1))
FLIPPED = with_input(RIGHT, 1, lambda w: w.move(lambda a: a[..., ::-1, ::-1]))
NO_BIAS = with_input(RIGHT, 2, lambda b: b.move(np.zeros_like))
REVERSED = Changed(RIGHT, after=lambda y, inputs: y.move(lambda a: a[:, ::-1]))
UNPADDED = replace(RIGHT, pads=())
STEPPED = replace(RIGHT, strides=(2, 2))


def computed(operator: Operator, flip: bool = False, bias: bool = True) -> np.ndarray:
    x, w, b = (one.value for one in INPUTS)
    w, b = w[..., ::-1, ::-1] if flip else w, b if bias else b * 0
    return np.asarray(operator.evaluate(Bounded(x), Bounded(w), Bounded(b)).value)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (FLIPPED, NO_BIAS, computed(RIGHT, flip=True, bias=False)),
        (NO_BIAS, FLIPPED, computed(RIGHT, flip=True, bias=False)),
        (FLIPPED, REVERSED, computed(RIGHT, flip=True)[:, ::-1]),
        (UNPADDED, FLIPPED, computed(UNPADDED, flip=True)),
        (REVERSED, STEPPED, computed(STEPPED)[:, ::-1]),
        (UNPADDED, STEPPED, computed(replace(UNPADDED, strides=(2, 2)))),
    ],
)
def test_both_mistakes_are_made(one: Operator, two: Operator, expected: np.ndarray) -> None:
    found = together(RIGHT, one, two).evaluate(*INPUTS)
    assert isinstance(found, Bounded)
    np.testing.assert_array_equal(found.value, expected)


def test_three_mistakes_are_made() -> None:
    found = together(RIGHT, together(RIGHT, FLIPPED, UNPADDED), NO_BIAS).evaluate(*INPUTS)
    assert isinstance(found, Bounded)
    np.testing.assert_array_equal(found.value, computed(UNPADDED, flip=True, bias=False))


def test_what_excludes_each_other_is_refused() -> None:
    with pytest.raises(ValueError, match="the same attribute"):
        together(RIGHT, UNPADDED, replace(RIGHT, pads=(2, 2, 2, 2)))
    with pytest.raises(ValueError, match="another operator"):
        together(Relu(), Identity(), Changed(Conv()))


def test_the_core_is_what_the_changes_are_around() -> None:
    assert core(together(RIGHT, FLIPPED, UNPADDED)) == UNPADDED
    assert core(with_core(FLIPPED, STEPPED)) == STEPPED
    assert with_core(RIGHT, STEPPED) == STEPPED
