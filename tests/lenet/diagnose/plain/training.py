"""A short training run of LeNet in plain NumPy, right or wrong, and what the diagnosis makes of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from lenet.diagnose.mistakes.of_training.run import Run
from lenet.diagnose.probe_inputs import Course
from lenet.network.recipe import Batch, Recipe
from tests.lenet.diagnose.plain.backward import Array, Params, batch, gradients
from tests.lenet.diagnose.plain.network import wide

RECIPE = Recipe(
    seed=3, epochs=2, batch_size=3, learning_rate=0.01, momentum=0.9, weight_decay=0.125, schedule="drop"
)
SIZES = (3, 3, 2, 3)  # of the batches: the third is short, and the rate drops behind the second
RATES = [RECIPE.rate(k, len(SIZES)) for k in range(len(SIZES))]
ALL = list(enumerate(RATES))  # the batches and their rates in the right order
NO_COURSE = Course({}, (), Recipe())  # of probes that are not trained
Gradient = Callable[[Params, Batch], Params]
Steps = Sequence[tuple[int, float]]  # batches and rates


def course(count: int = 4) -> Course:
    start, images, labels = batch(0, sum(SIZES))
    ends = np.cumsum(SIZES)
    batches = tuple(
        Batch(images[end - size : end], labels[end - size : end], RATES[k])
        for k, (size, end) in enumerate(zip(SIZES[:count], ends[:count], strict=True))
    )
    return Course(start, batches, RECIPE)


def gradient(w: Params, one: Batch) -> Params:
    found = gradients(w, one.images.astype(np.float64), one.labels)
    return {name: g for name, g in found.items() if name != "loss"}


def trained(
    given: Course,
    steps: Steps | None = None,
    of: Gradient = gradient,
    each: Callable[[Array], Array] = lambda a: a,
    start: Params | None = None,
    velocity: Params | None = None,
    **numbers: float,
) -> tuple[list[Params], Params]:
    """The parameters at the start and after each step of SGD, and the last velocity.

    Args:
        steps: the batches and the rates; those of the course if not given.
        of: another gradient.
        each: what is made of each parameter after a step.
        start, velocity: where the run begins, if it does not begin with the course.
        numbers: another momentum `mu`, another `decay`, a `gain` of the gradients.
    """
    w = wide(given.start) if start is None else start
    v = {name: np.zeros(a.shape) for name, a in w.items()} if velocity is None else velocity
    mu, decay = numbers.get("mu", RECIPE.momentum), numbers.get("decay", RECIPE.weight_decay)
    path = [w]
    for k, rate in [(k, one.rate) for k, one in enumerate(given.batches)] if steps is None else steps:
        g = of(w, given.batches[k])
        v = {n: mu * v[n] + numbers.get("gain", 1) * g[n] + decay * w[n] for n in w}
        w = {n: each(w[n] - rate * v[n]) for n in w}
        path.append(w)
    return path, v


def parts(given: Course, change: Callable[[str], tuple[float, float]]) -> list[Params]:
    """A run in which a parameter's name tells the factors of its rate and of its decay."""
    w = wide(given.start)
    v = {name: np.zeros(a.shape) for name, a in w.items()}
    path = [w]
    for one in given.batches:
        g = gradient(w, one)
        v = {n: RECIPE.momentum * v[n] + g[n] + change(n)[1] * RECIPE.weight_decay * w[n] for n in w}
        w = {n: w[n] - change(n)[0] * one.rate * v[n] for n in w}
        path.append(w)
    return path


def run(given: Course, path: Iterable[Params], dtype: str = "float64") -> Run:
    """What the diagnosis knows of a run that returned these parameters after each step."""
    stored = [{name: a.astype(dtype).astype(np.float64) for name, a in w.items()} for w in path]
    return Run(given, stored, dtype)


def with_batches(given: Course, change: Callable[[Batch], Batch]) -> Course:
    """The course as a port takes it that changes its batches."""
    return replace(given, batches=tuple(change(one) for one in given.batches))


def explained(given: Run, stations) -> bool:
    """Whether this mistake gives what was returned, and no right rule does."""
    return given.first_wrong is not None and given.distance(stations) is not None
