"""Each mistake of the data by itself: plain NumPy computes the image that a port makes of the right one."""

from collections.abc import Callable

import numpy as np
import pytest

from lenet.diagnose.mistakes import data
from lenet.diagnose.mistakes.base import Mistake
from lenet.diagnose.mistakes.second_look import rarer_data
from lenet.diagnose.mistakes.wrong_forward import Call, call_of
from lenet.diagnose.mistakes.wrong_forward import right as right_layer
from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT64, gamma
from tests.lenet.diagnose.plain.network import Array, drawn, wide
from tests.parity.operators.one_node import check_inside

IMAGES = [*data.FAMILY.mistakes, *rarer_data.FAMILY.mistakes]
X = np.random.default_rng(0).integers(0, 256, (4, 1, 28, 28)) / 255
X[:, :, :3] = 0  # rows of one value
Change = Callable[[Array], Array]


def standard(axes: tuple[int, ...], ddof: int = 0, inside: float = 0, outside: float = 0) -> Change:
    def change(x: Array) -> Array:
        spread = np.sqrt(x.var(axes, keepdims=True, ddof=ddof) + inside) + outside
        return (x - x.mean(axes, keepdims=True)) / np.where(spread == 0, 1, spread)

    return change


def over(axes: tuple[int, ...], size: Callable, least: Callable = lambda a, **k: 0 * a.max(**k)) -> Change:
    def change(x: Array) -> Array:
        low, high = (of(x, axis=axes, keepdims=True) for of in (least, size))
        return (x - low) / np.where(high == low, 1, high - low)

    return change


def middle(a: Array, **where) -> Array:
    return (a.max(**where) + a.min(**where)) / 2


def norm(a: Array, **where) -> Array:
    return np.sqrt((a**2).sum(**where))


def wrapped(factor: float, signed: bool, divisor: float, whole: Change) -> Change:
    """As a cast to integers of 8 bits does, which keeps the lowest eight bits."""

    def change(x: Array) -> Array:
        bits = whole(x * factor).astype(np.int64).astype(np.int8 if signed else np.uint8)
        return bits.astype(np.float64) / divisor

    return change


def shifted(down: int, aside: int) -> Change:
    def change(x: Array) -> Array:
        moved = np.zeros(x.shape)
        for row, column in np.ndindex(28, 28):
            if 0 <= row - down < 28 and 0 <= column - aside < 28:
                moved[:, :, row, column] = x[:, :, row - down, column - aside]
        return moved

    return change


LINES: dict[str, tuple[float, float]] = {
    "pixels not divided by 255": (255, 0),
    "pixels divided by 255 twice": (1 / 255, 0),
    "pixels divided by 256": (255 / 256, 0),
    "pixels multiplied by 256": (256, 0),
    "pixels divided by 256 twice": (1 / 256, 0),
    "pixels inverted": (-1, 1),
    "pixels normalised": (1 / 0.3081, -0.1307 / 0.3081),
    "pixels scaled to −1..1": (2, -1),
    "mean subtracted": (1, -0.1307),
    "pixels halved": (0.5, 0),
    "pixels divided by 128": (255 / 128, 0),
    "grey weight of green alone": (0.587, 0),
    "three channels added up": (3, 0),
    "pixels negated": (-1, 0),
    "pixels squeezed to 0.01..1": (0.99, 0.01),
    "pixels scaled to −0.1..1.175, as LeNet-5's": (1.275, -0.1),
}
SETS = {"the batch": (0, 1, 2, 3), "each image": (1, 2, 3), "each position": (0,), "each row of pixels": (3,)}
PLACES: dict[str, Change] = {
    "image transposed": lambda x: x.swapaxes(2, 3),
    "image flipped left to right": lambda x: x[..., ::-1],
    "image flipped upside down": lambda x: x[:, :, ::-1],
    "image turned by 180 degrees": lambda x: x[:, :, ::-1, ::-1],
    "image turned by 90 degrees": lambda x: x.swapaxes(2, 3)[:, :, ::-1],
    "image turned by 270 degrees": lambda x: x.swapaxes(2, 3)[..., ::-1],
    "pixels off by one in the file": lambda x: np.concatenate(
        [x.reshape(len(x), -1)[:, -1:], x.reshape(len(x), -1)[:, :-1]], 1
    ).reshape(x.shape),
    "image shifted by one pixel up": shifted(-1, 0),
    "image shifted by one pixel down": shifted(1, 0),
    "image shifted by one pixel left": shifted(0, -1),
    "image shifted by one pixel down and right": shifted(1, 1),
    "image rolled by one pixel up and left": lambda x: np.roll(np.roll(x, -1, 2), -1, 3),
    "image rolled by one pixel right": lambda x: np.roll(x, 1, 3),
    "digits in reverse order": lambda x: x[::-1],
    "digits off by one": lambda x: x[[3, 0, 1, 2]],
    "first digit for the whole batch": lambda x: x[[0, 0, 0, 0]],
    "mean of the batch for every digit": lambda x: np.stack([x.mean(0)] * 4),
    "digits mixed with their neighbours": lambda x: (x + x[[3, 0, 1, 2]]) / 2,
    "digits mixed with the reversed batch": lambda x: (x + x[::-1]) / 2,
}
OTHERS: dict[str, list[Change]] = {name: [change] for name, change in PLACES.items()}
for _name, (_factor, _offset) in LINES.items():
    OTHERS[_name] = [lambda x, a=_factor, b=_offset: a * x + b]  # type: ignore[misc]
_EPSILONS = [(0.0, 0.0), *((0.0, e) for e in rarer_data.EPSILONS), *((e, 0.0) for e in rarer_data.EPSILONS)]
for _whose, _axes in SETS.items():
    for _ddof, _how in ((0, ""), (1, " by n − 1")):
        OTHERS[f"{_whose} standardised{_how}"] = [
            standard(_axes, _ddof, inside, outside) for inside, outside in _EPSILONS
        ]
    for _words, _size, _least in (
        ("divided by the maximum", np.max, None),
        ("scaled from its minimum and maximum to 0..1", np.max, np.min),
        ("scaled from its minimum and maximum to −1..1", np.max, middle),
        ("divided by the sum", np.sum, None),
        ("divided by the norm", norm, None),
        ("divided by the mean", np.mean, None),
        ("divided by the deviation", np.std, None),
    ):
        OTHERS[f"{_whose} {_words}"] = [over(_axes, _size, *([_least] if _least else []))]
for _said, _axes in (
    ("the whole batch", (0, 1, 2, 3)),
    ("each image", (1, 2, 3)),
    ("each pixel position over the batch", (0,)),
    ("each row of an image", (3,)),
):
    OTHERS[f"mean of {_said} subtracted"] = [lambda x, a=_axes: x - x.mean(a, keepdims=True)]  # type: ignore[misc]
for _signed, _factor, _divisor in (
    (False, 256, 255),
    (False, 65025, 1),
    (False, 65535, 256),
    (True, 255, 127),
    (True, 256, 1),
):
    _by = "" if _divisor == 1 else f", then divided by {_divisor}"
    OTHERS[f"pixels wrapped to {'' if _signed else 'u'}int8: times {_factor}{_by}"] = [
        wrapped(_factor, _signed, _divisor, whole) for whole in (np.trunc, np.rint)
    ]
for _levels in (1, 15, 128):
    OTHERS[f"pixels rounded to multiples of 1/{_levels}"] = [lambda x, n=_levels: np.round(x * n) / n]  # type: ignore[misc]
OTHERS["pixels cut off to multiples of 1/16"] = [lambda x: np.floor(x * 16) / 16]
OTHERS["pixels made black and white at 0.1307"] = [lambda x: (x > 0.1307) * 1.0]
OTHERS["gamma 2.2"] = [lambda x: x**2.2]
OTHERS["gamma 1/2"] = [np.sqrt]


def image_call(x: Bounded, dtype: str = "float64") -> Call:
    return call_of("image", x, wide(drawn(1)), dtype)


def of_image(mistake: Mistake, x: Bounded, dtype: str = "float64") -> Bounded:
    return mistake.changes["image"](right_layer)(image_call(x, dtype))


def test_a_mistake_that_mixes_digits_is_marked():
    assert all(one.whole_batch for one in IMAGES if "the batch" in one.kind.name)


@pytest.mark.parametrize("name", OTHERS)
def test_another_image_is_that_of_plain_numpy(name):
    some = [one for one in IMAGES if one.kind.name == name]
    assert some
    changes = OTHERS[name]
    if len(changes) > len(some):  # known of the data already
        changes = changes[-len(some) :]
    for mistake, change in zip(some[-len(changes) :], changes, strict=True):
        expected, found = change(X), of_image(mistake, Bounded(X))
        check_inside(found, expected, name)
        # No more than as many roundings of each pixel as there are pixels, of sizes up to the largest.
        size = max(1, np.abs(expected).max()) * max(1, 1 / X.std())
        many = 64 * X.size if "standard" in name or "divided" in name else 4096
        assert found.bound.max() <= gamma(many, FLOAT64.u) * size * 64, name


@pytest.mark.parametrize("name", [*SETS, "mean"])
def test_errors_of_the_pixels_are_carried(name):
    whose = [f"{name} standardised by n − 1", f"{name} scaled from its minimum and maximum to 0..1"]
    names = whose if name in SETS else [n for n in OTHERS if n.startswith("mean of") and "row" not in n]
    rng, x = np.random.default_rng(1), X[:, :, 3:]
    for one in names:
        mistake = next(m for m in IMAGES if m.kind.name == one)
        found = of_image(mistake, Bounded(x, np.full(x.shape, 1e-6)))
        for _ in range(4):
            moved = OTHERS[one][0](x + 1e-6 * rng.choice([-1, 1], x.shape))
            assert (np.abs(moved - found.value) <= found.bound).all(), one


def test_what_rounds_to_a_step_is_unknown_where_a_pixel_is():
    x = Bounded(X, np.where(X > 0.5, 1e-9, 0))
    for name in ("pixels rounded to multiples of 1/15", "gamma 2.2", "pixels wrapped to int8: times 256"):
        found = of_image(next(m for m in IMAGES if m.kind.name == name), x)
        assert (np.isinf(found.bound) == (X > 0.5)).all()


def test_equal_pixels_that_may_differ_have_no_deviation_that_is_known():
    mistake = next(m for m in IMAGES if m.kind.name == "each row of pixels standardised by n − 1")
    found = of_image(mistake, Bounded(X, np.full(X.shape, 1e-6)))
    assert np.isinf(found.bound[:, :, :3]).all()
    assert np.isfinite(found.bound[:, :, 3:]).all()


def test_there_is_no_deviation_of_one_value():
    mistake = next(m for m in IMAGES if m.kind.name == "each position standardised by n − 1")
    with pytest.raises(ValueError, match="one value"):
        of_image(mistake, Bounded(X[:1]))
