"""Mistakes in training that a file can make: in its numbers, its batches, its loss, what it hands out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from lenet.diagnose import diagnose, training_run
from lenet.diagnose.probe_inputs import Observed, standard
from lenet.network.recipe import Batch, Recipe
from lenet.ports import open_port
from tests.planted.bugs import bfloat16

Array = np.ndarray
Params = dict[str, Array]
Gradient = Callable[[Params, Batch], Params]
Train = Callable[[Gradient, Params, list[Batch], Recipe], Params]
PROBES = standard()


def returned(train: Train, dtype: str) -> Observed:
    """What a file with this `train` returns: called on the first batch, on the first two, and so on."""
    port, course = open_port("numpy", dtype), PROBES.course
    known: dict[bytes, Params] = {}  # most calls make the steps of the call before again, and one more

    def gradient(params: Params, batch: Batch) -> Params:
        given = {name: w.astype(dtype) for name, w in params.items()}
        images = batch.images.astype(dtype)
        key = b"".join(a.tobytes() for a in (*given.values(), images, batch.labels))
        if key not in known:
            port.load(given)
            known[key] = dict(port.gradients(images, batch.labels)[1])
        return dict(known[key])

    found = []
    for k in range(len(course.batches)):
        start = {name: w.astype(dtype) for name, w in course.start.items()}
        params = train(gradient, start, list(course.batches[: k + 1]), course.recipe)
        found.append({name: w.astype(dtype) for name, w in params.items()})
    return Observed(dtype, trajectory=found)


def names(observed: Observed) -> list[list[str]]:
    """The names of each explanation of the first wrong step."""
    found = diagnose(PROBES, observed).findings
    return [[one.name for one in some] for f in found for some in (f.causes, *f.alternatives)]


def sgd(
    change: Callable[[Params, Params, Batch], Params] = lambda g, w, batch: g,
    batches: Callable[[list[Batch]], list[Batch]] = lambda given: given,
    out: Callable[[list[Params]], Params] = lambda path: path[-1],
    after: Callable[[Params], Params] = lambda w: w,
    **numbers: Any,
) -> Train:
    """SGD with momentum, with a change of the gradients, the batches, the weights after a step, or what is
    handed out of the path of the weights."""

    def train(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
        v = {name: np.zeros_like(a) for name, a in w.items()}
        mu, decay = numbers.get("mu", recipe.momentum), numbers.get("decay", recipe.weight_decay)
        path = [w]
        for k, batch in enumerate(batches(given)):
            rate = numbers["rate"](batch, k, recipe) if "rate" in numbers else batch.rate
            g = change(gradient(w, batch), w, batch)
            v = {name: (mu * v[name] + g[name] + decay * a).astype(a.dtype) for name, a in w.items()}
            w = after({name: (a - rate * v[name]).astype(a.dtype) for name, a in w.items()})
            path.append(w)
        return out(path)

    return train


def each(change: Callable[[Array], Array]) -> Callable[[Mapping[str, Array]], Params]:
    return lambda arrays: {name: change(a) for name, a in arrays.items()}


def norm(g: Mapping[str, Array]) -> float:
    return float(np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in g.values())))


def clipped(limit: float) -> Train:
    return sgd(lambda g, w, batch: each(lambda a: a * min(1, limit / norm(g)))(g))


def adamw(decay: float) -> Train:
    def train(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
        m, s = ({name: np.zeros_like(a) for name, a in w.items()} for _ in "ms")
        for t, batch in enumerate(given, 1):
            g, new = gradient(w, batch), {}
            for name, a in w.items():
                m[name] = 0.9 * m[name] + 0.1 * g[name]
                s[name] = 0.999 * s[name] + 0.001 * g[name] * g[name]
                mean, square = m[name] / (1 - 0.9**t), s[name] / (1 - 0.999**t)
                kept = a * (1 - batch.rate * decay)
                new[name] = (kept - batch.rate * mean / (np.sqrt(square) + 1e-8)).astype(a.dtype)
            w = new
        return w

    return train


def signs(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
    for batch in given:
        g = gradient(w, batch)
        w = {n: (a - batch.rate * np.sign(g[n])).astype(a.dtype) for n, a in w.items()}
    return w


def accumulated(every: int, share: float) -> Train:
    def train(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
        v = {name: np.zeros_like(a) for name, a in w.items()}
        waiting: list[Params] = []
        for batch in given:
            waiting.append(gradient(w, batch))
            if len(waiting) == every:
                for n in w:
                    v[n] = 0.9 * v[n] + share * sum(g[n] for g in waiting) + recipe.weight_decay * w[n]
                w = {n: (a - batch.rate * v[n]).astype(a.dtype) for n, a in w.items()}
                waiting = []
        return w

    return train


def step_before_backward(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
    v = {name: np.zeros_like(a) for name, a in w.items()}
    g: Params = {}
    for batch in given:
        if g:
            v = {n: 0.9 * v[n] + g[n] + recipe.weight_decay * a for n, a in w.items()}
            w = {n: (a - batch.rate * v[n]).astype(a.dtype) for n, a in w.items()}
        g = gradient(w, batch)
    return w


def kept(weights: bool, velocity: bool) -> Train:
    states: dict[np.dtype, dict[str, Params]] = {}

    def train(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
        state = states.setdefault(w["fc1.bias"].dtype, {})
        zero = {name: np.zeros_like(a) for name, a in w.items()}
        w, v = state.get("w", w) if weights else w, state.get("v", zero) if velocity else zero
        for batch in given:
            g = gradient(w, batch)
            v = {n: 0.9 * v[n] + g[n] + recipe.weight_decay * a for n, a in w.items()}
            w = {n: (a - batch.rate * v[n]).astype(a.dtype) for n, a in w.items()}
        state.update(w=w, v=v)
        return w

    return train


def moving(d: float) -> Train:
    def out(path: list[Params]) -> Params:
        e = path[0]
        for w in path[1:]:
            e = {n: d * e[n] + (1 - d) * a for n, a in w.items()}
        return e

    return sgd(out=out)


def filled(given: list[Batch]) -> list[Batch]:
    """Short batches, filled up with black images of the class 0."""
    found = []
    for batch in given:
        images, labels = np.zeros((8, 1, 28, 28), batch.images.dtype), np.zeros(8, batch.labels.dtype)
        images[: len(batch.labels)], labels[: len(batch.labels)] = batch.images, batch.labels
        found.append(Batch(images, labels, batch.rate))
    return found


def flipped(given: list[Batch]) -> list[Batch]:
    rng = np.random.default_rng(4)
    found = []
    for batch in given:
        images = batch.images.copy()
        chosen = rng.random(len(images)) < 0.5
        images[chosen] = images[chosen][..., ::-1]
        found.append(Batch(images, batch.labels, batch.rate))
    return found


def cut(count: int) -> Callable[[list[Batch]], list[Batch]]:
    return lambda given: [Batch(b.images[:count], b.labels[:count], b.rate) for b in given]


def with_images(change: Callable[[Array], Array]) -> Train:
    return sgd(batches=lambda given: [Batch(change(b.images), b.labels, b.rate) for b in given])


# One or two of each kind of candidate; what each of them computes is tested in `plain`.
CASES: list[tuple[str, Train]] = [
    # numbers that are read off the gradients, and off the rule
    ("gradients clipped to a norm of 0.25", clipped(0.25)),
    ("momentum of 0.899", sgd(mu=0.899)),
    ("learning rates of its own", sgd(rate=lambda b, k, r: b.rate * min(1, (k + 1) / 5))),
    # another optimizer
    ("AdamW with its own decay of 0.01", adamw(0.01)),
    ("sign of the gradient, without weight decay", signs),
    # other steps, other batches, what a call keeps
    ("a step only after every 4 batches", accumulated(4, 0.25)),
    ("update before the backward pass", step_before_backward),
    ("two steps for each batch", sgd(batches=lambda given: [b for b in given for _ in "12"])),
    ("velocity kept from the call before", kept(False, True)),
    # what is handed out
    ("moving average of the weights handed out", moving(0.99)),
    ("weights rounded to bfloat16 after each step", sgd(after=each(bfloat16))),
    # changed batches, and a changed backward pass
    ("short batch filled up", sgd(batches=filled)),
    ("some images flipped left to right in training", sgd(batches=flipped)),
    ("only the first 4 digits of the batch in the loss", sgd(batches=cut(4))),
    ("pixels inverted", with_images(lambda x: 1 - x.astype(np.float64))),
]


def types() -> Iterator[tuple[str, Train, str]]:
    """Each mistake in one type, in turn: `bfloat16` of these tests takes the bits of float32."""
    for k, (name, train) in enumerate(CASES):
        yield name, train, "float32" if k % 2 or "bfloat16" in name else "float64"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "train", "dtype"), list(types()))
def test_every_mistake_of_a_training_run_is_named(name, train, dtype):
    assert names(returned(train, dtype)) == [[name]]


@pytest.mark.parametrize(
    ("train", "name"),
    [
        (kept(False, True), "velocity kept from the call before"),
        (kept(True, False), "weights kept from the call before"),
        (kept(True, True), "weights and velocity kept from the call before"),
    ],
)
def test_what_is_kept_shows_when_the_first_call_is_made_twice(train, name):
    port, course, found = open_port("numpy"), PROBES.course, []

    def gradient(params: Params, batch: Batch) -> Params:
        port.load(params)
        return dict(port.gradients(batch.images, batch.labels)[1])

    for _ in range(2):
        found.append(train(gradient, dict(course.start), list(course.batches[:1]), course.recipe))
    first, again = found
    observed = Observed("float32", trajectory=[first])
    assert [one.name for one in training_run.kept(PROBES, observed, again)] == [name]
    assert training_run.kept(PROBES, observed, first) == ()
