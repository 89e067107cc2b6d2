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
LOSS = "lenet_numpy.train.softmax_cross_entropy"
DLOGITS = "lenet_numpy.train.softmax_cross_entropy_backward"


def returned(train: Train, dtype: str) -> Observed:
    """What a file with this `train` returns: called on the first batch, on the first two, and so on."""
    port, course = open_port("numpy", dtype), PROBES.course

    def gradient(params: Params, batch: Batch) -> Params:
        port.load({name: w.astype(dtype) for name, w in params.items()})
        return dict(port.gradients(batch.images.astype(dtype), batch.labels)[1])

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


def own_clipped(limit: float) -> Train:
    return sgd(lambda g, w, batch: each(lambda a: a * min(1, limit / np.linalg.norm(a)))(g))


def adam(
    decoupled: float = 0, coupled: float = 1, correct: bool = True, b2: float = 0.999, largest: bool = False
) -> Train:
    def train(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
        m, s = ({name: np.zeros_like(a) for name, a in w.items()} for _ in "ms")
        top = dict(s)
        for t, batch in enumerate(given, 1):
            g, new = gradient(w, batch), {}
            for name, a in w.items():
                d = g[name] + coupled * recipe.weight_decay * a
                m[name] = 0.9 * m[name] + 0.1 * d
                s[name] = b2 * s[name] + (1 - b2) * d * d
                top[name] = np.maximum(top[name], s[name])
                mean, square = m[name], top[name] if largest else s[name]
                if correct:
                    mean, square = mean / (1 - 0.9**t), square / (1 - b2**t)
                a = a * (1 - decoupled * batch.rate * recipe.weight_decay)
                new[name] = (a - batch.rate * mean / (np.sqrt(square) + 1e-8)).astype(a.dtype)
            w = new
        return w

    return train


def rmsprop(momentum: float = 0) -> Train:
    def train(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
        s, v = ({name: np.zeros_like(a) for name, a in w.items()} for _ in "sv")
        for batch in given:
            g, new = gradient(w, batch), {}
            for name, a in w.items():
                d = g[name] + recipe.weight_decay * a
                s[name] = 0.99 * s[name] + 0.01 * d * d
                v[name] = momentum * v[name] + d / (np.sqrt(s[name]) + 1e-8)
                new[name] = (a - batch.rate * v[name]).astype(a.dtype)
            w = new
        return w

    return train


def adagrad(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
    s = {name: np.zeros_like(a) for name, a in w.items()}
    for batch in given:
        g = gradient(w, batch)
        d = {name: g[name] + recipe.weight_decay * a for name, a in w.items()}
        s = {name: s[name] + d[name] ** 2 for name in w}
        w = {n: (a - batch.rate * d[n] / (np.sqrt(s[n]) + 1e-10)).astype(a.dtype) for n, a in w.items()}
    return w


def adadelta(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
    s, r = ({name: np.zeros_like(a) for name, a in w.items()} for _ in "sr")
    for batch in given:
        g, new = gradient(w, batch), {}
        for n, a in w.items():
            d = g[n] + recipe.weight_decay * a
            s[n] = 0.9 * s[n] + 0.1 * d * d
            move = d * np.sqrt(r[n] + 1e-6) / np.sqrt(s[n] + 1e-6)
            r[n] = 0.9 * r[n] + 0.1 * move * move
            new[n] = (a - batch.rate * move).astype(a.dtype)
        w = new
    return w


def signs(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
    for batch in given:
        g = gradient(w, batch)
        w = {n: (a - batch.rate * np.sign(g[n])).astype(a.dtype) for n, a in w.items()}
    return w


def lion(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
    m = {name: np.zeros_like(a) for name, a in w.items()}
    for batch in given:
        g, new = gradient(w, batch), {}
        for n, a in w.items():
            step = np.sign(0.9 * m[n] + 0.1 * g[n]) + recipe.weight_decay * a
            new[n] = (a - batch.rate * step).astype(a.dtype)
            m[n] = 0.99 * m[n] + 0.01 * g[n]
        w = new
    return w


def averaged(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
    """Momentum as an average with the bias correction of Adam."""
    v = {name: np.zeros_like(a) for name, a in w.items()}
    for t, batch in enumerate(given, 1):
        g = gradient(w, batch)
        v = {n: 0.9 * v[n] + 0.1 * (g[n] + recipe.weight_decay * a) for n, a in w.items()}
        w = {n: (a - batch.rate * v[n] / (1 - 0.9**t)).astype(a.dtype) for n, a in w.items()}
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


def stale(first: bool) -> Train:
    def train(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
        v = {name: np.zeros_like(a) for name, a in w.items()}
        g = {name: np.zeros_like(a) for name, a in w.items()}
        for k, batch in enumerate(given):
            before = w
            if k or first:
                v = {n: 0.9 * v[n] + g[n] + recipe.weight_decay * a for n, a in w.items()}
                w = {n: (a - batch.rate * v[n]).astype(a.dtype) for n, a in w.items()}
            g = gradient(before, batch)
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


def moving(d: float, start: Callable[[Params], Params] = lambda w: w, correct: bool = False) -> Train:
    def out(path: list[Params]) -> Params:
        e = start(path[0])
        for w in path[1:]:
            e = {n: d * e[n] + (1 - d) * a for n, a in w.items()}
        return {n: a / (1 - d ** (len(path) - 1)) for n, a in e.items()} if correct else e

    return sgd(out=out)


def mean(path: list[Params]) -> Params:
    return {n: sum(w[n] for w in path) / len(path) for n in path[0]}  # type: ignore[misc]


def filled(how: str) -> Callable[[list[Batch]], list[Batch]]:
    def fill(batch: Batch) -> Batch:
        images, labels = np.resize(batch.images, (8, 1, 28, 28)), np.resize(batch.labels, 8)
        if how == "zeros":
            images, labels = images.copy(), labels.copy()
            images[len(batch.labels) :], labels[len(batch.labels) :] = 0, 0
        return Batch(images, labels, batch.rate)

    return lambda given: [fill(batch) for batch in given]


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


def with_decay_clipped(gradient: Gradient, w: Params, given: list[Batch], recipe: Recipe) -> Params:
    v = {name: np.zeros_like(a) for name, a in w.items()}
    for batch in given:
        found = gradient(w, batch)
        g = {n: found[n] + recipe.weight_decay * a for n, a in w.items()}
        v = {n: (0.9 * v[n] + min(1, 2 / norm(g)) * g[n]).astype(a.dtype) for n, a in w.items()}
        w = {n: (a - batch.rate * v[n]).astype(a.dtype) for n, a in w.items()}
    return w


def no_decay_on(layers: tuple[str, ...]) -> Train:
    return sgd(
        lambda g, w, batch: {n: g[n] - 0.125 * w[n] if n.startswith(layers) else g[n] for n in g},
    )


CASES: list[tuple[str, Train]] = [
    ("gradients clipped to a norm of 1", clipped(1.0)),
    ("gradients clipped to a norm of 5", clipped(5.0)),
    ("gradients clipped to a norm of 0.25", clipped(0.25)),
    ("each gradient clipped to a norm of 0.5", own_clipped(0.5)),
    ("gradients clipped to values of ±0.1", sgd(lambda g, w, b: each(lambda a: np.clip(a, -0.1, 0.1))(g))),
    ("gradients clipped to a norm of 2, with the decay", with_decay_clipped),
    ("no weight decay on conv1, conv2", no_decay_on(("conv",))),
    ("gradients multiplied by 0.5", sgd(lambda g, w, b: each(lambda a: a / 2)(g))),
    ("gradients multiplied by 128: the loss scale left in", sgd(lambda g, w, b: each(lambda a: a * 128)(g))),
    ("momentum of 0.95", sgd(mu=0.95)),
    ("momentum of 0.899", sgd(mu=0.899)),
    ("weight decay of 0.0005", sgd(decay=0.0005)),
    ("learning rate fixed at 0.01", sgd(rate=lambda b, k, r: 0.01)),
    ("learning rate multiplied by 10", sgd(rate=lambda b, k, r: 10 * b.rate)),
    ("learning rates of its own", sgd(rate=lambda b, k, r: b.rate * min(1, (k + 1) / 5))),
    ("learning rate multiplied by the batch size", sgd(rate=lambda b, k, r: b.rate * len(b.labels))),
    (
        "L1 in place of weight decay",
        sgd(lambda g, w, b: {n: g[n] + 0.125 * np.sign(w[n]) for n in w}, decay=0),
    ),
    ("L1 penalty of 0.01", sgd(lambda g, w, b: {n: g[n] + 0.01 * np.sign(w[n]) for n in w})),
    ("momentum dampened and corrected", averaged),
    ("Adam", adam()),
    ("AdamW", adam(1, 0)),
    ("Adam, without weight decay", adam(0, 0)),
    ("Adam without bias correction", adam(correct=False)),
    ("AMSGrad", adam(largest=True)),
    ("AdamW with its own decay of 0.01", adam(0.08, 0)),
    ("Adadelta", adadelta),
    ("RMSprop", rmsprop()),
    ("RMSprop with momentum", rmsprop(0.9)),
    ("Adagrad", adagrad),
    ("sign of the gradient, without weight decay", signs),
    ("Lion, decoupled weight decay", lion),
    ("a step only after every 2 batches", accumulated(2, 1.0)),
    ("a step only after every 2 batches", accumulated(2, 0.5)),
    ("a step only after every 4 batches", accumulated(4, 0.25)),
    ("gradient of the step before", stale(True)),
    ("gradient of the step before, none in the first step", stale(False)),
    ("update before the backward pass", step_before_backward),
    ("velocity kept from the call before", kept(False, True)),
    ("weights kept from the call before", kept(True, False)),
    ("weights and velocity kept from the call before", kept(True, True)),
    ("moving average of the weights handed out", moving(0.999)),
    ("moving average of the weights handed out", moving(0.9)),
    ("moving average of the weights handed out", moving(0.99, each(np.zeros_like), correct=True)),
    ("mean of the weights of all steps handed out", sgd(out=lambda path: mean(path[1:]))),
    ("weights rounded to bfloat16 after each step", sgd(after=each(bfloat16))),
    (
        "weights rounded to float16 after each step",
        sgd(after=each(lambda a: a.astype(np.float16).astype(a.dtype))),
    ),
    ("batches in reverse order", sgd(batches=lambda given: given[::-1])),
    ("last batch skipped", sgd(batches=lambda given: given[:-1])),
    ("first batch skipped", sgd(batches=lambda given: given[1:])),
    ("only the last batch", sgd(batches=lambda given: given[-1:])),
    ("all batches taken once for each epoch of the recipe", sgd(batches=lambda given: given * 3)),
    ("two steps for each batch", sgd(batches=lambda given: [b for b in given for _ in "12"])),
    ("short batch filled up", sgd(batches=filled("again"))),
    ("short batch filled up", sgd(batches=filled("zeros"))),
    ("some images flipped left to right in training", sgd(batches=flipped)),
    ("only the first 4 digits of the batch in the loss", sgd(batches=cut(4))),
    ("image flipped left to right", with_images(lambda x: x[..., ::-1].copy())),
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
