"""Loss, gradients, and one step of SGD with momentum."""

from dataclasses import dataclass

import numpy as np
from pytensor import grad, shared
from pytensor.gradient import pullback
from pytensor.tensor import TensorVariable
from pytensor.tensor.sharedvar import TensorSharedVariable

from lenet.network.recipe import Recipe
from lenet_theano.layers import softmax_cross_entropy
from lenet_theano.model import LeNet
from lenet_theano.weights import named_parameters


@dataclass(eq=False)
class SGD:
    """v ← μ·v + g + λ·w, w ← w − η·v.

    All are shared variables, including μ and λ, so a single compiled step serves every recipe. Also, a Python
    float would widen a float32 expression to float64.
    """

    momentum: TensorSharedVariable
    weight_decay: TensorSharedVariable
    velocity: dict[str, TensorSharedVariable]


def gradients(
    model: LeNet, images: TensorVariable, labels: TensorVariable
) -> tuple[TensorVariable, dict[str, TensorVariable]]:
    """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
    parameters = named_parameters(model)
    loss = softmax_cross_entropy(model(images), labels)
    return loss, dict(zip(parameters, grad(loss, list(parameters.values())), strict=True))


def backward(model: LeNet, images: TensorVariable, cotangent: TensorVariable) -> dict[str, TensorVariable]:
    """d(sum(cotangent · logits)) / d(parameter)."""
    parameters = named_parameters(model)
    grads = pullback(model(images), list(parameters.values()), cotangent)  # Theano's `Lop`
    return dict(zip(parameters, grads, strict=True))


def make_optimizer(model: LeNet, recipe: Recipe, velocity: dict[str, np.ndarray]) -> SGD:
    """SGD with the constants of the recipe, starting with this velocity."""
    variables = {name: shared(v, name=f"velocity of {name}", shape=v.shape) for name, v in velocity.items()}
    dtype = velocity["logits.bias"].dtype
    momentum, weight_decay = (shared(np.asarray(c, dtype)) for c in (recipe.momentum, recipe.weight_decay))
    return SGD(momentum, weight_decay, variables)


def get_velocity(model: LeNet, optimizer: SGD) -> dict[str, TensorSharedVariable]:
    """The momentum buffers under the parameters' shared names, in the framework's layout."""
    return optimizer.velocity


def train_step(
    model: LeNet, optimizer: SGD, images: TensorVariable, labels: TensorVariable, rate: TensorVariable
) -> tuple[TensorVariable, dict[TensorSharedVariable, TensorVariable]]:
    """An SGD step at learning rate η = `rate`; returns the loss before it.

    This computes nothing yet: the step is a table of updates, {variable: its next value}. `function` applies
    all of them at the end of every call, from the old values.
    """
    loss, gradient = gradients(model, images, labels)
    updates: dict[TensorSharedVariable, TensorVariable] = {}
    for name, w in named_parameters(model).items():
        v = optimizer.velocity[name]
        updates[v] = optimizer.momentum * v + gradient[name] + optimizer.weight_decay * w
        updates[w] = w - rate * updates[v]
    return loss, updates
