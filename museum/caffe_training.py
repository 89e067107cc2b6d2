"""Judges the training of the original Caffe: six steps of its solver, and the weights that it trained.

Each step is judged from the weights and the velocity that Caffe itself had before it. The gradient is
computed in float64, with the bound for float32; from it, Caffe's rule gives the bounds of both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenet.diagnose import Verdict, diagnose
from lenet.diagnose.mistakes.of_training.run import Run
from lenet.diagnose.mistakes.update_rule import Rule, advance
from lenet.diagnose.probe_inputs import Course, Observed, Probes
from lenet.network import weights
from lenet.network.architecture import PARAM_SHAPES
from lenet.network.digits import test_set
from lenet.network.recipe import Batch, Recipe
from lenet.reference.distance import ratio
from lenet_caffe.train import learning_rate, read_solver
from museum import recorded
from parity.arithmetic import Bounded
from parity.errors import importing

STEPS, BATCH, DROP = 6, 64, 3  # the rate drops before the fourth step
STEPS_NAME, TRAINED_NAME = recorded.TRAINING
SHAPES = {
    f"{kind}{step}.{name}": shape
    for kind in "wv"
    for step in range(1, STEPS + 1)
    for name, shape in PARAM_SHAPES.items()
}
CAFFES = Rule(momentum="rate inside")  # v ← μ·v + η·(g + λ·w), w ← w − v


@dataclass(frozen=True)
class Step:
    """A step of the solver: the largest error, in units of its bound, of the velocity and of the weights."""

    number: int
    rate: float
    velocity: float
    weights: float


def course() -> Course:
    """The training run: its start, its batches, with the rates of solver.prototxt, and its constants."""
    digits, solver = test_set()[: STEPS * BATCH], read_solver()
    solver.stepvalue[0] = DROP
    parts = [digits[BATCH * k : BATCH * (k + 1)] for k in range(STEPS)]
    batches = [Batch(one.images, one.labels, learning_rate(solver, k)) for k, one in enumerate(parts)]
    constants = {"momentum": solver.momentum, "weight_decay": solver.weight_decay}
    recipe = Recipe(epochs=1, batch_size=BATCH, schedule="drop", **constants)
    return Course(weights.read(), tuple(batches), recipe)


def read_steps(folder: Path = recorded.FOLDER) -> dict[str, np.ndarray]:
    """Weights and velocity after each step: {"w1.conv1.weight": array, "v1.conv1.weight": array, …}.

    Raises:
        UserError: as `museum.recorded.read`.
    """
    origin = recorded.read_origin(STEPS_NAME, folder)
    return recorded.read_arrays(folder / f"{STEPS_NAME}.npz", origin.sha256, SHAPES)


def judge_steps(steps: dict[str, np.ndarray], rule: Rule = CAFFES) -> Iterator[Step]:
    """Judge each step by a rule, from the weights and the velocity that were recorded before it."""
    given = course()
    run = _run(given, steps)
    for k, batch in enumerate(given.batches):
        shares = {"w": [0.0], "v": [0.0]}
        for name in PARAM_SHAPES:
            before = Bounded(run.stations[k][name], np.zeros(PARAM_SHAPES[name]))
            expected = advance(
                rule, name, before, _velocity(steps, k, name), run.gradients[k][name], run.moment(k)
            )
            for kind, bound in zip("wv", expected, strict=True):
                seen = steps[f"{kind}{k + 1}.{name}"].astype(np.float64)
                shares[kind].append(float(ratio(seen, bound).max()))
        yield Step(k + 1, batch.rate, max(shares["v"]), max(shares["w"]))


def named_rule(steps: dict[str, np.ndarray]) -> Verdict:
    """What `lenet check` says of the weights after each step: Caffe's rule is not the recipe's."""
    trajectory = [{name: steps[f"w{k}.{name}"] for name in PARAM_SHAPES} for k in range(1, STEPS + 1)]
    return diagnose(Probes((), course()), Observed(trajectory=trajectory))


def read_trained(folder: Path = recorded.FOLDER) -> dict[str, np.ndarray]:
    """The weights that Caffe trained, from its .caffemodel, in the shared layout.

    Raises:
        UserError: the file was changed or is damaged. MissingFramework: `lenet_caffe` needs OpenCV.
    """
    with importing("port 'caffe'", "cv2"):
        from lenet_caffe import caffemodel

    return caffemodel.read(trained(folder))


def trained(folder: Path = recorded.FOLDER) -> Path:
    """The .caffemodel that Caffe trained.

    Raises:
        UserError: it was changed, or cannot be read.
    """
    path = folder / f"{TRAINED_NAME}.caffemodel"
    recorded.check_sha256(path, recorded.read_origin(TRAINED_NAME, folder).sha256)
    return path


def _run(given: Course, steps: dict[str, np.ndarray]) -> Run:
    after = [{name: steps[f"w{k}.{name}"] for name in PARAM_SHAPES} for k in range(1, STEPS + 1)]
    stations = [{name: w.astype(np.float64) for name, w in one.items()} for one in (given.start, *after)]
    return Run(given, stations, "float32")


def _velocity(steps: dict[str, np.ndarray], k: int, name: str) -> Bounded | None:
    """The velocity after k steps; None before the first."""
    if k == 0:
        return None
    found = steps[f"v{k}.{name}"].astype(np.float64)
    return Bounded(found, np.zeros(found.shape))
