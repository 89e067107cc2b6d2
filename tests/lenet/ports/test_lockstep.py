"""Training in lockstep: each port from the same weights on the same batches, and how far they come apart."""

import numpy as np
import pytest

from lenet.network.architecture import PARAM_SHAPES
from lenet.network.digits import Digits
from lenet.network.recipe import Batch, Recipe, batches, initial_params
from lenet.ports import Arrays, Port, lockstep, open_port
from lenet.ports.calling import PortFailed
from lenet_numpy.port import Port as NumpyPort
from tests.helpers import one_line

RECIPE = Recipe(seed=3, epochs=2, batch_size=8, learning_rate=0.02)
STEPS = 3


@pytest.fixture(scope="module")
def few(digits) -> Digits:
    return digits[:16]


def after(port: Port, few: Digits, steps: int) -> tuple[list[float], Arrays]:
    """The losses and the last weights of a port that trains by itself."""
    port.load(initial_params(RECIPE.seed))
    return list(port.train(batches(few, RECIPE, 0, steps), RECIPE)), port.params()


def test_each_port_trains_as_by_itself_and_is_compared_with_the_first(few):
    told: list[None] = []
    wide, narrow, same = open_port("numpy", "float64"), open_port("numpy"), open_port("numpy", "float64")
    found = lockstep.lockstep(wide, [narrow, same], few, RECIPE, STEPS, lambda: told.append(None))
    assert len(told) == STEPS
    assert found.losses.shape == (STEPS, 3)
    assert found.distances.shape == (STEPS, 2)
    for column, dtype in enumerate(("float64", "float32", "float64")):
        assert list(found.losses[:, column]) == after(open_port("numpy", dtype), few, STEPS)[0]
    for row in range(STEPS):
        exact, rounded = (
            after(open_port("numpy", dtype), few, row + 1)[1] for dtype in ("float64", "float32")
        )
        assert list(found.distances[row]) == [lockstep.distance(rounded, exact), 0.0]
    assert (found.distances[:, 0] > 0).all()


def test_nobody_need_follow_the_steps(few):
    steps = [[(2.0, {"w": np.array([4.0])}), (3.0, {"w": np.array([5.0])})]]
    found = lockstep.compared(steps)
    assert found.losses.tolist() == [[2.0, 3.0]]
    assert found.distances.tolist() == [[0.25]]


def test_the_largest_distance_of_all_arrays_counts():
    weights = {"a": np.array([-4.0, 1.0]), "b": np.array([2.0])}
    assert lockstep.distance({"a": np.array([-3.0, 1.0]), "b": np.array([1.0])}, weights) == 0.5
    assert lockstep.distance({"a": np.array([-4.0, 4.0]), "b": np.array([2.0])}, weights) == 0.75


def test_a_port_that_loses_a_parameter_fails_by_its_name(few):
    class Forgetful(NumpyPort):
        def params(self) -> Arrays:
            return {"conv1.bias": super().params()["conv1.bias"]}

    with pytest.raises(PortFailed) as refusal:
        list(lockstep.run(Forgetful("numpy"), few, RECIPE, STEPS))
    said = "returns parameters of shapes {'conv1.bias': (6,)}"
    assert one_line(refusal) == f"port 'numpy' {said}"
    assert refusal.value.said == said


def test_a_port_that_raises_fails_by_its_name(few):
    class Raising(NumpyPort):
        def _train_step(self, images: np.ndarray, labels: np.ndarray, rate: float) -> float:
            raise ValueError("no\nsuch step")

    with pytest.raises(PortFailed) as refusal:
        list(lockstep.run(Raising("numpy"), few, RECIPE, STEPS))
    assert one_line(refusal) == "port 'numpy' raises ValueError: no such step"


# --- shaken ------------------------------------------------------------------------------------


def shaken(few: Digits, noise: float, seed: int, rate: float) -> Port:
    """A port behind two steps, each followed by a shake."""
    port = open_port("numpy", "float64")
    port.load(initial_params(RECIPE.seed))
    some = iter([Batch(few.images, few.labels, rate)] * 2)
    assert len(list(lockstep.shaken(port, some, RECIPE, noise, seed))) == 2
    return port


def test_every_weight_is_moved_by_the_noise_to_either_side(few):
    """At a rate of 0 nothing else moves it. Two moves sum to 0 or to twice the noise, roughly."""
    start, end = initial_params(RECIPE.seed), shaken(few, 2.0**-10, seed=0, rate=0.0).params()
    for name in PARAM_SHAPES:
        if not name.endswith("weight"):
            continue  # biases begin at 0, and so does their noise
        unit = 2.0**-10 * np.abs(start[name]).max()
        moves = np.rint((end[name] - start[name]) / unit)
        assert np.abs(end[name] - start[name] - moves * unit).max() < unit / 100
        assert set(np.unique(moves)) == {-2, 0, 2}
    other = shaken(few, 2.0**-10, seed=1, rate=0.0).params()
    assert any((other[name] != end[name]).any() for name in PARAM_SHAPES)


def test_without_noise_it_trains_as_ever_and_keeps_its_velocity(few):
    plain = open_port("numpy", "float64")
    plain.load(initial_params(RECIPE.seed))
    list(plain.train([Batch(few.images, few.labels, 0.125)] * 2, RECIPE))
    port = shaken(few, 0.0, seed=0, rate=0.125)
    for one, other in ((port.params(), plain.params()), (port.velocity(), plain.velocity())):
        for name in PARAM_SHAPES:
            np.testing.assert_array_equal(one[name], other[name])
