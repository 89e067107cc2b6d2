"""Self-checks of notebook 19."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch

from lenet.diagnose import diagnose, probe_inputs
from lenet.network import weights
from lenet.network.architecture import PARAM_SHAPES
from lenet.network.recipe import Recipe
from lenet.ports import open_port
from lenet.reference.forward import given
from lenet.reference.sgd_step import update
from lenet_torch.model import LeNet
from lenet_torch.weights import read_params
from workshop.checks.marking import NotRight, called, check, explained, same_form, untouched, within

Array = np.ndarray
Answer = Callable[..., Any]


@check
def step(answer: Answer) -> str:
    """Check a step that moves some parameters: the frozen ones to the bit, the others within the bound."""
    recipe, rate, rng = Recipe(weight_decay=0.01), 0.1, np.random.default_rng(0)
    shapes = {"conv1.weight": (6, 1, 5, 5), "fc2.weight": (4, 3), "logits.weight": (2, 4)}
    w, v, g = ({name: rng.standard_normal(shape) for name, shape in shapes.items()} for _ in range(3))
    for free in ({"logits.weight"}, {"fc2.weight", "logits.weight"}, set(shapes)):
        copies = [{name: array.copy() for name, array in one.items()} for one in (w, v, g)]
        found = called(answer, *copies, free, rate, recipe.momentum, recipe.weight_decay)
        untouched(copies, (w, v, g))
        if not isinstance(found, tuple) or [set(one) for one in found] != [set(w)] * 2:
            raise NotRight("return two dicts, (w, v), each with every parameter: the frozen ones as well")
        for name in w:
            new_w, new_v = (same_form(name, one[name], w[name]) for one in found)
            if name not in free and not np.array_equal(new_w, w[name]):
                moved = np.allclose(new_w, w[name] * (1 - rate * recipe.weight_decay))
                raise NotRight(f"{name} is frozen, and moved" + ": by the weight decay" * moved)
            if name not in free and not np.array_equal(new_v, v[name]):
                raise NotRight(
                    f"{name} is frozen, and its velocity changed: it would move when it is free again"
                )
            if name in free:
                old_w, old_v, slope = (given(one[name], "float64") for one in (w, v, g))
                right_w, right_v = update(old_w, old_v, slope, recipe, rate)
                within(f"the velocity of {name}", new_v, right_v)
                within(name, new_w, right_w)
    return "frozen parameters keep every bit, free ones take the step of the recipe within its bound"


@check
def to_state_dict(answer: Answer) -> str:
    """Check a conversion of Keras' arrays by bits, then PyTorch's model with them as `lenet check` does."""
    params = weights.read()
    file = keras_arrays(params)
    found = called(answer, {name: array.copy() for name, array in file.items()})
    if not isinstance(found, dict) or set(found) != set(PARAM_SHAPES):
        raise NotRight(f"return a dict with PyTorch's names: {', '.join(PARAM_SHAPES)}")
    for name, right in params.items():
        array = same_form(name, found[name], right)
        if np.array_equal(array, right):
            continue
        for wrong, why in _slips(name, file):
            if wrong.shape == array.shape and np.array_equal(array, wrong):
                raise NotRight(f"{name}: {why}")
        raise NotRight(f"{name} has the right shape, but not the right values in the right places")
    model = LeNet()
    model.load_state_dict({name: torch.tensor(array) for name, array in found.items()}, strict=True)
    moved, given_to = open_port("torch"), probe_inputs.standard()
    moved.load(read_params(model))
    verdict = diagnose(given_to, probe_inputs.observe_port(given_to, moved))
    if not verdict.ok:
        raise NotRight(explained(verdict.findings[0]))
    return "PyTorch accepts all ten arrays, each bit is in its place, and the network is the same"


def keras_arrays(params: dict[str, Array]) -> dict[str, Array]:
    """What a Keras model with these weights holds, under its own names: "conv1/kernel", "conv1/bias", …"""
    open_port("tf")  # imports TensorFlow without its messages
    model = import_module("lenet_tf.model").LeNet()
    import_module("lenet_tf.weights").load_params(model, params)
    return {
        f"{layer.name}/{variable.name}": np.asarray(variable)
        for layer in model.layers
        for variable in layer.weights
    }


def _slips(name: str, file: dict[str, Array]) -> list[tuple[Array, str]]:
    layer, _, part = name.partition(".")
    kernel = file[f"{layer}/kernel"]
    if part == "bias":
        return []
    if kernel.ndim == 4:
        return [
            (kernel.T, "kernel.T gives (O, I, W, H): the kernel is mirrored at its diagonal"),
            (kernel.reshape(PARAM_SHAPES[name]), "a reshape does not move axes; use transpose"),
        ]
    return [
        (kernel.reshape(PARAM_SHAPES[name]), "a reshape does not move axes; use transpose"),
        (kernel.T, "the columns are still in H, W, C order; PyTorch's flatten gives C, H, W"),
    ]
