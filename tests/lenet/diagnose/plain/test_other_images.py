"""Each mistake of the data by itself: plain NumPy computes the image that a port makes of the right one."""

from collections.abc import Callable
from itertools import product

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
from tests.parity.operators.one_node import check_inside, share

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
    "pixels normalised as ImageNet's": (1 / 0.229, -0.485 / 0.229),
    "pixels normalised as Fashion-MNIST's": (1 / 0.353, -0.286 / 0.353),
    "pixels normalised as CIFAR-10's": (1 / 0.247, -0.4914 / 0.247),
    "pixels normalised as CIFAR-10's, deviation 0.2023": (1 / 0.2023, -0.4914 / 0.2023),
    "pixels normalised by the mean 0.5 and the deviation 0.2": (5, -2.5),
    "pixels normalised by the mean 0.1307 and the variance 0.3081²": (1 / 0.3081**2, -0.1307 / 0.3081**2),
    "pixels denormalised: times 0.3081 plus 0.1307": (0.3081, 0.1307),
    "deviation multiplied, not divided": (0.3081, -0.1307 * 0.3081),
    "pixels divided by the deviation": (1 / 0.3081, 0),
    "mean subtracted": (1, -0.1307),
    "MNIST's mean added": (1, 0.1307),
    "pixels centred at 0.5": (1, -0.5),
    "pixels scaled to −1..1": (2, -1),
    "pixels scaled to −1..1, inverted": (-2, 1),
    "pixels scaled to −0.5..0.5, inverted": (-1, 0.5),
    "pixels scaled by 127.5 less 1, of 0 to 1": (1 / 127.5, -1),
    "pixels scaled to −0.1..1.175, as LeNet-5's": (1.275, -0.1),
    "pixels squeezed to 0.01..1": (0.99, 0.01),
    "pixels negated": (-1, 0),
    "pixels halved": (0.5, 0),
    "pixels multiplied by 16": (16, 0),
    "pixels divided by 16": (1 / 16, 0),
    "pixels divided by 100": (2.55, 0),
    "pixels divided by 127": (255 / 127, 0),
    "pixels divided by 127.5": (2, 0),
    "pixels divided by 128": (255 / 128, 0),
    "pixels divided by 254": (255 / 254, 0),
    "pixels divided by 1000": (0.255, 0),
    "grey weight of red alone": (0.299, 0),
    "grey weight of green alone": (0.587, 0),
    "grey weight of blue alone": (0.114, 0),
    "grey of weights that sum to 0.9999": (0.9999, 0),
    "grey channel taken for one of three": (1 / 3, 0),
    "three channels added up": (3, 0),
}
SETS = {"the batch": (0, 1, 2, 3), "each image": (1, 2, 3), "each position": (0,), "each row of pixels": (3,)}
MEANS = {
    "the whole batch": (0, 1, 2, 3),
    "each image": (1, 2, 3),
    "each pixel position over the batch": (0,),
    "each row of an image": (3,),
}
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
    "digits in reverse order": lambda x: x[::-1],
    "digits off by one": lambda x: x[[3, 0, 1, 2]],
    "first digit for the whole batch": lambda x: x[[0, 0, 0, 0]],
    "mean of the batch for every digit": lambda x: np.stack([x.mean(0)] * 4),
    "batch mixed into the pixels": lambda x: np.moveaxis(x, 0, -1).reshape(x.shape),
    "digits mixed with their neighbours": lambda x: (x + x[[3, 0, 1, 2]]) / 2,
    "digits mixed with the reversed batch": lambda x: (x + x[::-1]) / 2,
}
for _down, _aside in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)):
    _steps = [
        word for word in ({-1: "up", 1: "down"}.get(_down), {-1: "left", 1: "right"}.get(_aside)) if word
    ]
    _where = f"by one pixel {' and '.join(_steps)}"
    PLACES[f"image shifted {_where}"] = shifted(_down, _aside)
    PLACES[f"image rolled {_where}"] = lambda x, a=_down, b=_aside: np.roll(np.roll(x, a, 2), b, 3)  # type: ignore[misc]
OTHERS: dict[str, list[Change]] = {name: [change] for name, change in PLACES.items()}
for _name, (_factor, _offset) in LINES.items():
    OTHERS[_name] = [lambda x, a=_factor, b=_offset: a * x + b]  # type: ignore[misc]
_SIZES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
_EPSILONS = [(0.0, 0.0), *((0.0, e) for e in _SIZES), *((e, 0.0) for e in _SIZES)]
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
for _said, _axes in MEANS.items():
    OTHERS[f"mean of {_said} subtracted"] = [lambda x, a=_axes: x - x.mean(a, keepdims=True)]  # type: ignore[misc]
for _signed, _factors, _divisors in (
    (False, (256, 65025, 65535), (1, 255, 256)),
    (True, (255, 256), (1, 255, 127, 128)),
):
    for _factor, _divisor in product(_factors, _divisors):
        _by = "" if _divisor == 1 else f", then divided by {_divisor}"
        OTHERS[f"pixels wrapped to {'' if _signed else 'u'}int8: times {_factor}{_by}"] = [
            wrapped(_factor, _signed, _divisor, whole) for whole in (np.trunc, np.rint)
        ]
for _levels in (1, 3, 7, 15, 16, 31, 63, 127, 128):
    OTHERS[f"pixels rounded to multiples of 1/{_levels}"] = [lambda x, n=_levels: np.round(x * n) / n]  # type: ignore[misc]
    if _levels > 1:
        OTHERS[f"pixels cut off to multiples of 1/{_levels}"] = [lambda x, n=_levels: np.floor(x * n) / n]  # type: ignore[misc]
for _limit in (0.0, 0.1, 0.1307, 0.2, 0.25, 0.3, 0.4, 0.6, 0.7, 0.75, 0.8, 0.9, 127 / 255, 128 / 255):
    OTHERS[f"pixels made black and white at {_limit:g}"] = [lambda x, t=_limit: (x > t) * 1.0]  # type: ignore[misc]
OTHERS["pixels made black and white"] = [lambda x: (x > 0.5) * 1.0]
for _said, _power in (("2.2", 2.2), ("1/2.2", 1 / 2.2), ("2", 2), ("1/2", 0.5), ("2.4", 2.4), ("1.8", 1.8)):
    OTHERS[f"gamma {_said}"] = [lambda x, p=_power: x**p]  # type: ignore[misc]
for _word, _whole in (("cut off", np.trunc), ("rounded", np.rint)):
    for _then, _divisor in (("", 255), (" and divided by 256", 256), (" and not divided by 255", 1)):
        OTHERS[f"pixels {_word} to bytes{_then}"] = [lambda x, f=_whole, by=_divisor: f(255 * x) / by]  # type: ignore[misc]
OTHERS["pixels divided as integers"] = [np.floor]
STATISTICS = [name for name in OTHERS if name not in PLACES and name.startswith((*SETS, "mean of"))]
CARRIED = {name for name in STATISTICS if "standardised" in name or "subtracted" in name}


def image_call(x: Bounded, dtype: str = "float64") -> Call:
    return call_of("image", x, wide(drawn(1)), dtype)


def of_image(mistake: Mistake, x: Bounded, dtype: str = "float64") -> Bounded:
    return mistake.changes["image"](right_layer)(image_call(x, dtype))


def test_every_mistake_of_the_data_is_computed_here():
    swapped = "bytes of the pixels swapped"  # which has a test of its own
    assert {one.kind.name for one in IMAGES} == OTHERS.keys() | {swapped}


def mixes(change: Change) -> bool:
    """Whether another digit changes what becomes of a digit."""
    before = change(X)
    for other in range(len(X)):
        batch = X.copy()
        batch[other] = 3 * X[other] + 0.5
        if any((change(batch)[k] != before[k]).any() for k in range(len(X)) if k != other):
            return True
    return False


@pytest.mark.parametrize("name", OTHERS)
def test_a_mistake_that_mixes_digits_is_marked(name):
    expected = mixes(OTHERS[name][0])
    assert all(one.whole_batch == expected for one in IMAGES if one.kind.name == name)


@pytest.mark.parametrize("name", OTHERS)
def test_another_image_is_that_of_plain_numpy(name):
    some = [one for one in IMAGES if one.kind.name == name]
    for mistake, change in zip(some, OTHERS[name], strict=True):
        expected, found = change(X), of_image(mistake, Bounded(X))
        check_inside(found, expected, name)
        size = max(1, np.abs(expected).max())
        if name in STATISTICS:
            # A mean and a deviation have as many roundings as there are pixels, and a few more. Their errors,
            # over the deviation, count at most five times.
            assert found.bound.max() <= 5 * gamma(X.size + 16, FLOAT64.u) * size / X.std(), name
        else:
            # A power has 16, a line six of terms up to three times the result.
            assert found.bound.max() <= gamma(18, FLOAT64.u) * size, name


def test_swapped_bytes_are_those_of_the_other_order_and_unknown_if_they_are_no_number():
    mistake = next(one for one in IMAGES if one.kind.name == "bytes of the pixels swapped")
    found = of_image(mistake, Bounded(X))
    expected = np.frombuffer(X.astype(">f4").tobytes(), "<f4").reshape(X.shape).astype(np.float64)
    number = np.isfinite(expected)
    assert (found.value[number] == expected[number]).all()
    assert ((found.bound == 0) == number).all()
    assert (np.isinf(found.bound) == ~number).all()


@pytest.mark.parametrize("name", [name for name in OTHERS if name in {*LINES, *PLACES, *CARRIED}])
def test_errors_of_the_pixels_are_carried(name):
    mistake = next(m for m in IMAGES if m.kind.name == name)
    rng, error = np.random.default_rng(1), 2.0**-20
    x = rng.integers(0, 2**10, X.shape) / 2**10  # no row of one value; a sum with the error is exact
    found = of_image(mistake, Bounded(x, np.full(x.shape, error)))
    one_up = -np.ones(x.shape)  # the worst for the difference of the first pixel and a mean
    one_up[0, 0, 0, 0] = 1
    for side in (one_up, *(rng.choice([-1, 1], x.shape) for _ in range(4))):
        check_inside(found, OTHERS[name][0](x + error * side), name)


@pytest.mark.parametrize("name", [name for name in STATISTICS if name not in CARRIED])
def test_quotients_of_pixels_that_err_are_unknown(name):
    found = of_image(next(m for m in IMAGES if m.kind.name == name), Bounded(X, np.full(X.shape, 1e-6)))
    assert np.isinf(found.bound).all()


def test_what_rounds_to_a_step_is_unknown_where_a_pixel_is():
    x = Bounded(X, np.where(X > 0.5, 1e-9, 0))
    for name in ("pixels rounded to multiples of 1/15", "gamma 2.2", "pixels wrapped to int8: times 256"):
        found = of_image(next(m for m in IMAGES if m.kind.name == name), x)
        assert (np.isinf(found.bound) == (X > 0.5)).all()


@pytest.mark.parametrize(
    ("name", "limit"), [("pixels made black and white", 0.5), ("pixels made black and white at 0.25", 0.25)]
)
def test_a_pixel_that_may_lie_on_either_side_of_the_limit_is_neither_black_nor_white(name, limit):
    mistake = next(m for m in IMAGES if m.kind.name == name)
    pixels = np.full(X.shape, limit + 0.125)
    found = of_image(mistake, Bounded(pixels, np.where(X > 0.5, 0.125, 0.0625)))
    assert (found.value == 1).all()
    assert (found.bound == np.where(X > 0.5, np.inf, 0)).all()


def test_equal_pixels_that_may_differ_have_no_deviation_that_is_known():
    mistake = next(m for m in IMAGES if m.kind.name == "each row of pixels standardised by n − 1")
    found = of_image(mistake, Bounded(X, np.full(X.shape, 1e-6)))
    assert np.isinf(found.bound[:, :, :3]).all()
    assert np.isfinite(found.bound[:, :, 3:]).all()


@pytest.mark.parametrize("name", ["the batch standardised", "the batch standardised by n − 1"])
def test_nothing_is_known_where_pixels_may_err_by_more_than_they_vary(name):
    mistake = next(m for m in IMAGES if m.kind.name == name)
    assert np.isinf(of_image(mistake, Bounded(X, np.ones(X.shape))).bound).all()


@pytest.mark.parametrize(
    ("least", "scale", "reached"),
    [((0, 0, 0), (1, 1, 1), 0.09), ((0.5, 0, 0), (1, 0.05, 0.05), 0.08)],
    ids=["like pixels", "one bright pixel"],
)
def test_rows_in_float32_come_near_to_the_bound(least, scale, reached):
    """In rows of three pixels. One bright pixel has a large quotient, to which the deviation adds most."""
    x = np.random.default_rng(0).random((20000, 1, 1, 3), np.float32)
    x = ((x + least) * scale).astype(np.float32)
    call = image_call(Bounded(x.astype(np.float64)), "float32")
    off = x - x.mean(3, keepdims=True)
    single = off / np.sqrt((off * off).mean(3, keepdims=True))
    assert reached < share(single, data.standardised(call.x, call, (3,), 0.0)) <= 1


def test_the_bound_grows_where_pixels_err_by_as_much_as_they_vary():
    """Pixels of mean 0 and deviation 1, of which one is 0. If it errs upwards, most others downwards, and the
    few that are far below upwards, it is further from the mean, and the deviation is smaller."""
    x = np.array([0.0] + 900 * [1 / 3] + 100 * [-3.0]).reshape(1, 1, 1, -1)
    side = np.where(x > 0, -1, 1)
    for error in (0.125, 0.2, 0.24):
        call = image_call(Bounded(x, np.full(x.shape, error)))
        assert 0.53 < share(standard((3,))(x + error * side), data.standardised(call.x, call, (3,), 0.0)) <= 1
    call = image_call(Bounded(x, np.full(x.shape, 0.26)))
    assert np.isinf(data.standardised(call.x, call, (3,), 0.0).bound).all()


def test_there_is_no_deviation_of_one_value():
    mistake = next(m for m in IMAGES if m.kind.name == "each position standardised by n − 1")
    with pytest.raises(ValueError, match="one value"):
        of_image(mistake, Bounded(X[:1]))
