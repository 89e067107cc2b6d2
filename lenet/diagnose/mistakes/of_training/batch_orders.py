"""Wrong batches: the order in which a port takes them, what it keeps between calls, and what it does to them.

`train` is called on the first batch, on the first two, and so on. An order is what a port makes of the first
k + 1 batches: a list of (batch, rate).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lenet.diagnose.mistakes.base import Kind
from lenet.network.recipe import Batch, Recipe

Steps = list[tuple[int, float]]  # the batches that are taken, in this order, and the rate of each step
REMEDY = "Make one step for each batch, in the order in which they are given, with the rate of the batch."


@dataclass(frozen=True)
class Order:
    """What a port makes of the first batches.

    Attributes:
        kind: the description.
        steps: a function (k, rates, recipe) that gives the steps of the call on the first k + 1 batches.
        weights: whether a call begins with the weights that the call before returned.
        velocity: whether a call begins with the velocity that the call before left.
    """

    kind: Kind
    steps: Callable[[int, tuple[float, ...], Recipe], Steps]
    weights: bool = False
    velocity: bool = False


def _usual(k: int, rates: tuple[float, ...], recipe: Recipe) -> Steps:
    return [(i, rates[i]) for i in range(k + 1)]


def _next_rate(k: int, rates: tuple[float, ...], recipe: Recipe) -> Steps:
    return [(i, rates[min(i + 1, k)]) for i in range(k + 1)]


def _own_schedule(k: int, rates: tuple[float, ...], recipe: Recipe) -> Steps:
    return [(i, recipe.rate(i, k + 1)) for i in range(k + 1)]


def _last_rate(k: int, rates: tuple[float, ...], recipe: Recipe) -> Steps:
    return [(i, rates[k]) for i in range(k + 1)]


def _again(times: int) -> Callable[[int, tuple[float, ...], Recipe], Steps]:
    return lambda k, rates, recipe: _usual(k, rates, recipe) * times


def _each(times: int) -> Callable[[int, tuple[float, ...], Recipe], Steps]:
    return lambda k, rates, recipe: [one for one in _usual(k, rates, recipe) for _ in range(times)]


ORDERS: tuple[Order, ...] = tuple(
    Order(Kind(name, text, remedy), steps, weights, velocity)
    for name, text, remedy, steps, weights, velocity in (
        (
            "learning rate of the next batch",
            "Each step uses the rate of the batch after it, as if the scheduler ran before the optimizer; "
            "the last one has its own.",
            "Call scheduler.step() after optimizer.step().",
            _next_rate,
            False,
            False,
        ),
        (
            "learning rate of the last batch in every step",
            "All steps of a call use the rate of the last batch that was given.",
            REMEDY,
            _last_rate,
            False,
            False,
        ),
        (
            "learning rate from the number of batches",
            "The rate is computed from the number of batches given, not taken from each batch.",
            REMEDY,
            _own_schedule,
            False,
            False,
        ),
        (
            "batches in reverse order",
            "The last batch is taken first.",
            REMEDY,
            lambda k, rates, recipe: _usual(k, rates, recipe)[::-1],
            False,
            False,
        ),
        (
            "last batch skipped",
            "There is no step for the last batch that was given.",
            REMEDY,
            lambda k, rates, recipe: _usual(k, rates, recipe)[:-1],
            False,
            False,
        ),
        (
            "first batch skipped",
            "There is no step for the first batch.",
            REMEDY,
            lambda k, rates, recipe: _usual(k, rates, recipe)[1:],
            False,
            False,
        ),
        (
            "only the last batch",
            "There is a step for the last batch alone.",
            REMEDY,
            lambda k, rates, recipe: _usual(k, rates, recipe)[-1:],
            False,
            False,
        ),
        (
            "only the first batch",
            "There is a step for the first batch alone.",
            REMEDY,
            lambda k, rates, recipe: _usual(k, rates, recipe)[:1],
            False,
            False,
        ),
        (
            "the first batch in every step",
            "Each step uses the digits of the first batch.",
            REMEDY,
            lambda k, rates, recipe: [(0, rate) for _, rate in _usual(k, rates, recipe)],
            False,
            False,
        ),
        (
            "only every second batch",
            "The second batch of each two is skipped.",
            REMEDY,
            lambda k, rates, recipe: _usual(k, rates, recipe)[::2],
            False,
            False,
        ),
        (
            "last batch taken twice",
            "There are two steps for the last batch that was given.",
            REMEDY,
            lambda k, rates, recipe: [*_usual(k, rates, recipe), (k, rates[k])],
            False,
            False,
        ),
        (
            "update before the backward pass",
            "Each step uses the gradient of the batch before, at the weights that it moves, and the rate of "
            "its own batch; the first does nothing, and the last gradient is never used.",
            "Compute the gradient of a batch before its step: loss.backward(), then optimizer.step().",
            lambda k, rates, recipe: [(i, rates[i + 1]) for i in range(k)],
            False,
            False,
        ),
        ("two steps for each batch", "Each batch is taken twice in a row.", REMEDY, _each(2), False, False),
        (
            "all batches taken twice",
            "After the last batch, all batches are taken once more.",
            REMEDY,
            _again(2),
            False,
            False,
        ),
        (
            "all batches taken once for each epoch of the recipe",
            "A loop over the epochs takes all batches in each of them; the batches are those of all epochs.",
            "Take each batch once: the list holds the batches of all epochs.",
            lambda k, rates, recipe: _usual(k, rates, recipe) * recipe.epochs,
            False,
            False,
        ),
        (
            "velocity kept from the call before",
            "A call begins with the velocity that the call before left; it must begin with zero.",
            "Create the optimizer in each call of train.",
            _usual,
            False,
            True,
        ),
        (
            "weights kept from the call before",
            "A call begins with the weights that the call before returned, not with those that it is given.",
            "Load the given parameters in each call of train.",
            _usual,
            True,
            False,
        ),
        (
            "weights and velocity kept from the call before",
            "A call goes on where the call before ended, with its weights and its velocity.",
            "Load the given parameters and create the optimizer in each call of train.",
            _usual,
            True,
            True,
        ),
    )
)


def altered(batch: Batch, size: int) -> Iterator[tuple[Kind, Batch]]:
    """What a port may make of a batch: a short one filled up to `size`, or each one cut or repeated."""
    n = len(batch.labels)
    fillings = {
        "zeros with label 0": (
            np.zeros((size - min(n, size), *batch.images.shape[1:])),
            np.zeros(max(size - n, 0)),
        ),
        "its first digits again": (
            np.resize(batch.images, (size, *batch.images.shape[1:]))[n:],
            np.resize(batch.labels, size)[n:],
        ),
        "its last digit again": (
            np.repeat(batch.images[-1:], max(size - n, 0), axis=0),
            np.repeat(batch.labels[-1:], max(size - n, 0)),
        ),
        "its first digit again": (
            np.repeat(batch.images[:1], max(size - n, 0), axis=0),
            np.repeat(batch.labels[:1], max(size - n, 0)),
        ),
        "its digits in reverse order": (
            batch.images[::-1][: max(size - n, 0)],
            batch.labels[::-1][: max(size - n, 0)],
        ),
    }
    for words, (images, labels) in fillings.items():
        kind = Kind(
            "short batch filled up",
            f"A short batch is filled up to {size} digits with {words}, which count in the mean.",
            "Average over the digits of the batch alone.",
        )
        yield (
            kind,
            replace(
                batch,
                images=np.concatenate([batch.images, images.astype(batch.images.dtype)]),
                labels=np.concatenate([batch.labels, labels.astype(batch.labels.dtype)]),
            ),
        )
