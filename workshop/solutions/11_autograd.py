"""Solutions of workshop/11_autograd.ipynb, and answers that are not right."""

import numpy as np

from workshop.tape import Var


def apply(forward, pull, *inputs):
    """Run the forward half; keep the inputs and the other half."""
    y, cache = forward(*(one.value for one in inputs))
    return Var(y, inputs, lambda dy: pull(dy, cache))


def backward(end):
    """Visit every value after all that used it; add up what arrives."""
    order, seen = [], set()

    def visit(one):
        if one not in seen:
            seen.add(one)
            for before in one.inputs:
                visit(before)
            order.append(one)

    visit(end)
    cotangents = {end: np.ones_like(end.value)}
    for one in reversed(order):
        if one.pull is not None:
            for before, d in zip(one.inputs, one.pull(cotangents[one]), strict=True):
                cotangents[before] = cotangents[before] + d if before in cotangents else d
    return cotangents


def add_pull(dy, cache):
    """Broadcasting copies a value; the copies' cotangents are added up."""

    def summed(shape):
        lead = dy.ndim - len(shape)
        copied = tuple(lead + k for k, n in enumerate(shape) if n == 1 and dy.shape[lead + k] != 1)
        return dy.sum(axis=(*range(lead), *copied), keepdims=True).reshape(shape)

    return tuple(summed(shape) for shape in cache)


def _without_history(forward, pull, *inputs):
    return Var(apply(forward, pull, *inputs).value)


def _cache_lost(forward, pull, *inputs):
    return Var(forward(*(one.value for one in inputs))[0], inputs, lambda dy: (dy,) * len(inputs))


def _overwrites(end):
    cotangents, todo = {end: np.ones_like(end.value)}, [end]
    for one in todo:
        if one.pull is not None:
            cotangents |= dict(zip(one.inputs, one.pull(cotangents[one]), strict=True))
            todo += one.inputs
    return cotangents


def _too_early(end):
    """Depth first: a value is left before all its cotangents have arrived."""
    cotangents: dict = {}

    def visit(one, dy):
        cotangents[one] = cotangents.get(one, 0) + dy
        for before, d in zip(one.inputs, one.pull(cotangents[one]) if one.pull else (), strict=True):
            visit(before, d)

    visit(end, np.ones_like(end.value))
    return cotangents


def _mean(dy, cache):
    return tuple(dy.mean(axis=0) if len(shape) < dy.ndim else dy for shape in cache)


WRONG = {
    "recorded": [
        (_without_history, "inputs"),
        (_cache_lost, "pull"),
        (lambda forward, pull, *inputs: forward(*(one.value for one in inputs)), "no Var"),
    ],
    "reverse": [
        (_overwrites, "7"),
        (_too_early, "twice"),
        (lambda end: {end: np.ones_like(end.value)}, "no cotangent"),
    ],
    "broadcast": [
        (_mean, "differs"),
        (lambda dy, cache: (dy, dy), "shape"),
        (lambda dy, cache: (dy, dy[0]), "differs"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "values_on_tape": (
        27,
        "The images, ten parameters, and a result for each call: three of the dense layers take two calls.",
    ),
    "numbers_per_parameter": (
        18,
        "Training needs more memory than inference: the pulls need what the forward pass computed.",
    ),
    "gradients_that_differ": (
        0,
        "The tape calls the same pulls with the same numbers. It finds the order; it does no mathematics.",
    ),
    "never_learn": (
        ["conv1"],
        "The cotangents end at the copy. Nothing warns: the gradient is not wrong, it is not there.",
    ),
    "loss_falls": (
        "yes",
        "The later layers learn from six random kernels. A falling loss does not show the bug.",
    ),
}
