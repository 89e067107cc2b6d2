"""The image that the first convolution must have seen is read off from its output."""

import numpy as np
import pytest

from lenet.diagnose.mistakes.second_look import fitted_images
from lenet.diagnose.mistakes.second_look.shown import listed
from tests.lenet.diagnose.plain.network import Layer, Wrong, named, own, right

RNG = np.random.default_rng(1)
ORDER = RNG.permutation(64)
LOST = np.isin(np.arange(64), (0, 9, 33)).reshape(8, 8)
MEAN = 0.2 * RNG.random((1, 8, 8))


def of(change) -> Layer:
    """The first convolution of images that are changed."""
    return lambda x, w, b: right("conv1", change(x), w, b)


IMAGES: dict[str, Layer] = {
    "pixels multiplied by 0.7": of(lambda x: 0.7 * x),
    "pixels multiplied by 1/30": of(lambda x: x / 30),
    "pixels scaled and shifted: 3.5 x + -0.25": of(lambda x: 3.5 * x - 0.25),
    "gamma 1.7: pixels raised to this power": of(lambda x: x**1.7),
    "pixels cut off to 0.2..0.9": of(lambda x: np.clip(x, 0.2, 0.9)),
    "pixels reduced to 0.1 and 0.8, from 0.4118 on": of(lambda x: np.where(x > 0.4, 0.8, 0.1)),
    "pixels replaced by a function of them: "
    "0 → 1, 0.235 → 0.9724, 0.49 → 0.8822, 0.745 → 0.735, 1 → 0.5403": of(np.cos),
    "image transposed: height and width exchanged": of(lambda x: x.swapaxes(2, 3)),
    "image flipped left to right": of(lambda x: x[..., ::-1]),
    "image flipped upside down": of(lambda x: x[:, :, ::-1]),
    "image turned by 180 degrees": of(lambda x: x[:, :, ::-1, ::-1]),
    "image rolled by 3 rows and -2 columns": of(lambda x: np.roll(x, (3, -2), (2, 3))),
    "pixels in other places": of(lambda x: x.reshape(len(x), 64)[:, ORDER].reshape(x.shape)),
    "3 pixels of every image set to zero": of(lambda x: np.where(LOST, 0, x)),
}


@pytest.mark.parametrize("name", IMAGES)
def test_another_image_is_read_off(name):
    Wrong("conv1", IMAGES[name]).is_read_off_as(name)


def test_a_mean_image_is_read_off():
    wrong = Wrong("conv1", of(lambda x: x + MEAN))
    wrong.is_read_off_as("a mean image subtracted")
    said = wrong.found["a mean image subtracted"].kind.explanation
    assert f"It is {MEAN.min():.3g} to {MEAN.max():.3g}." in said


def test_mixed_digits_are_read_off():
    mixture = np.array([[0.75, 0, 0.25], [0, 1, 0], [0.5, 0.125, 0.375]])
    wrong = Wrong("conv1", of(lambda x: np.tensordot(mixture, x, 1)))
    name = "digits mixed: the first image is 0.75 · digit 0 + 0.25 · digit 2"
    wrong.is_read_off_as(name)
    assert wrong.found[name].whole_batch
    assert [one.whole_batch for one in wrong.found.values()] == [True]


def test_the_words_name_the_order_of_the_pixels():
    wrong = Wrong("conv1", IMAGES["pixels in other places"])
    assert listed(ORDER) in wrong.found["pixels in other places"].kind.explanation
    lost = Wrong("conv1", IMAGES["3 pixels of every image set to zero"]).found
    assert "; 3 are zero." in lost["3 pixels of every image set to zero"].kind.explanation


def test_a_gray_level_of_which_nothing_is_known_and_another_batch_are_refused():
    wrong = Wrong("conv1", IMAGES["gamma 1.7: pixels raised to this power"])
    for one in wrong.shown.examples:
        assert one.x.value.max() <= 1
    change = wrong.found["gamma 1.7: pixels raised to this power"].changes["image"]
    x = wrong.shown.examples[0].x
    for value in (x.value[:1] * 0 + 0.3333, x.value[:1] * 0 + 2):
        with pytest.raises(ValueError, match="gray level"):
            change(lambda call: call)(type(x)(value))
    mixed = Wrong("conv1", of(lambda x: x[[0, 0, 2]] / 2 + x / 2)).found
    (change,) = (one.changes["image"] for one in mixed.values())
    with pytest.raises(ValueError, match="number of digits"):
        change(lambda call: call)(type(x)(x.value[:2]))


def test_what_differs_between_calls_or_is_no_image_is_not_read_off():
    for change in (
        lambda x: 0.5 * x,
        lambda x: x + MEAN,
        lambda x: x[..., ::-1],
        lambda x: x[[1, 0, 2]] / 2 + x / 2,
    ):
        wrong = Wrong("conv1", of(change))
        one = wrong.shown.examples[1]
        one.seen[...] = right("conv1", one.x.value**2 + 0.1, *own("conv1", one.params))
        assert list(named(fitted_images.mistakes(wrong.shown))) == []
    noise = Wrong("conv1", of(lambda x: x))
    noise.shown.examples[0].seen[...] += np.random.default_rng(3).standard_normal((3, 6, 8, 8))
    assert list(named(fitted_images.mistakes(noise.shown))) == []
    assert (
        list(named(fitted_images.mistakes(Wrong("conv2", lambda x, w, b: right("conv2", x, w, b)).shown)))
        == []
    )


def test_what_is_added_shows_in_one_probe_if_the_other_has_kernels_of_zero():
    wrong = Wrong("conv1", of(lambda x: x + MEAN))
    faint = wrong.shown.examples[1]
    faint.params["conv1.weight"][...] = 0
    faint.seen[...] = faint.params["conv1.bias"][:, None, None]
    assert "a mean image subtracted" in wrong.found


def test_an_image_does_not_follow_from_kernels_that_are_zero():
    wrong = Wrong("conv1", of(lambda x: 0.5 * x))
    faint = wrong.shown.examples[1]
    faint.params["conv1.weight"][...] = 0
    faint.seen[...] = faint.params["conv1.bias"][:, None, None]
    assert "pixels multiplied by 0.5" in wrong.found  # as the other probe shows
    wrong.shown.examples[0].params["conv1.weight"][...] = 0
    assert list(named(fitted_images.mistakes(wrong.shown))) == []
