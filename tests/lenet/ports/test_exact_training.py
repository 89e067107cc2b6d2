"""Training on the grid: what is returned lies on it, whoever trains again gets the same, and it learns."""

from dataclasses import replace

import numpy as np
import pytest

from lenet.network import weights
from lenet.network.architecture import LAYERS, PARAM_SHAPES
from lenet.network.recipe import batches, initial_params
from lenet.ports import exact_training
from lenet.ports.exact_training import Adam, ExactRecipe, to_grid, train, write_weights
from lenet.reference.certificate import certify_range
from lenet.reference.exact import coarsen, pixel_values
from parity.errors import UserError
from tests.helpers import one_line
from tests.planted.ports import numpy_port

SHORT = ExactRecipe(epochs=3, batch_size=50)
AFFINE = [layer.name for layer in LAYERS if layer.affine]


@pytest.mark.parametrize("levels", [(1, 1, 1, 1, 1), (3, 2, 1, 1, 2)])
def test_weights_on_the_grid_are_the_nearest_there(levels):
    recipe = ExactRecipe(pixel_shift=4, grids=(1, 2, 3, 2, 2), levels=levels)
    latent = {name: 3 * w + np.float32(0.01) for name, w in initial_params(1).items()}
    exponent, params = -4, to_grid(latent, recipe)
    weights.check(params)
    for name, grid, level in zip(AFFINE, recipe.grids, levels, strict=True):
        exponent -= grid
        w, w_latent = params[f"{name}.weight"], latent[f"{name}.weight"]
        allowed = np.arange(-level, level + 1) / 2**grid
        assert set(np.unique(w)) <= set(allowed)
        nearest = allowed[np.abs(w_latent[..., None] - allowed).argmin(axis=-1)]
        assert np.array_equal(w, nearest)
        b, b_latent = params[f"{name}.bias"], latent[f"{name}.bias"]
        assert (b * 2.0**-exponent % 1 == 0).all()
        assert (np.abs(b - b_latent) <= 2.0**exponent / 2).all()
    assert not any(np.signbit(array[array == 0]).any() for array in params.values())
    grids = [entry.exponent for entry in certify_range(params, pixel_values(4)).sums]
    assert grids == list(-4 - np.cumsum(recipe.grids))


def test_adam_is_the_closed_form_of_its_averages():
    """m̂ and ŝ are weighted means of all g and g² so far; float64 leaves a few roundings of 2^-53."""
    rng, recipe = np.random.default_rng(0), ExactRecipe(momentum=0.8, second_momentum=0.95, epsilon=1e-3)
    gradients, w = rng.standard_normal((6, 5)), rng.standard_normal(5)
    params = {"w": w.copy()}
    adam = Adam(recipe, {"w": np.zeros(5)}, {"w": np.zeros(5)})
    for count in range(1, 7):
        adam.step(params, {"w": gradients[count - 1]}, rate=0.1)
        ages = np.arange(count)[::-1]
        m = np.average(gradients[:count], axis=0, weights=0.8**ages)
        s = np.average(gradients[:count] ** 2, axis=0, weights=0.95**ages)
        w = w - 0.1 * m / (np.sqrt(s) + 1e-3)
        assert np.allclose(params["w"], w, rtol=0, atol=1e-13)


def test_every_batch_is_moved_whole_and_by_no_more_than_the_jitter(digits):
    recipe, few = replace(SHORT, jitter=2, batch_size=10), digits[:400]
    plain, moved = batches(few, recipe), exact_training._coarse_batches(few, recipe)
    moves = set()
    for before, after in zip(plain, moved, strict=True):
        assert np.array_equal(before.labels, after.labels)
        assert before.rate == after.rate
        image = np.pad(coarsen(before.images, recipe.pixel_shift), ((0, 0), (0, 0), (2, 2), (2, 2)))
        found = [
            (down, right)
            for down, right in np.ndindex(5, 5)
            if np.array_equal(after.images, image[:, :, down : down + 28, right : right + 28])
        ]
        assert len(found) == 1
        moves.update(found)
    assert {down for down, _ in moves} == {right for _, right in moves} == set(range(5))


@pytest.mark.slow
def test_it_learns_and_is_the_same_again(digits):
    losses: list[float] = []
    few = digits[:1000]
    params = train(numpy_port(), few, SHORT, lambda step, loss: losses.append(loss))
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) / 2
    assert set(np.unique(params["fc1.weight"])) == {-0.25, 0, 0.25}
    again = train(numpy_port(), few, SHORT)
    assert all(params[name].tobytes() == again[name].tobytes() for name in PARAM_SHAPES)


@pytest.fixture
def few_tests(monkeypatch, digits):
    """Weights are judged on 100 test digits instead of 10,000."""
    monkeypatch.setattr(exact_training, "test_set", lambda: digits[:100])


@pytest.mark.usefixtures("few_tests")
def test_what_is_written_says_how_it_was_made_and_what_it_needs(tmp_path, digits):
    params, port = to_grid(initial_params(0), SHORT), numpy_port()
    written = write_weights(tmp_path / "new.safetensors", params, port, SHORT, digits[:1000])
    read, metadata = weights.read_with_metadata(tmp_path / "new.safetensors")
    assert metadata == written
    assert metadata["recipe"] == SHORT.to_json()
    assert metadata["training_digits"] == "1000"
    assert float(metadata["bits_test_digits"]) <= float(metadata["bits_every_image"])
    assert all(read[name].tobytes() == params[name].tobytes() for name in PARAM_SHAPES)


@pytest.mark.usefixtures("few_tests")
def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path, digits):
    params = to_grid(initial_params(0), SHORT)
    with pytest.raises(UserError) as refused:
        write_weights(tmp_path / "no" / "new.safetensors", params, numpy_port(), SHORT, digits[:1000])
    one_line(refused)
