"""Loss, gradients, and one step of SGD with momentum."""

from dataclasses import dataclass

from lenet.network.recipe import Recipe
from lenet_numpy.layers import Array, softmax_cross_entropy, softmax_cross_entropy_backward
from lenet_numpy.model import LeNet
from lenet_numpy.weights import named_parameters


@dataclass
class SGD:
    """v ← μ·v + g + λ·w, w ← w − η·v."""

    momentum: float
    weight_decay: float
    velocity: dict[str, Array]


def gradients(model: LeNet, images: Array, labels: Array) -> tuple[Array, dict[str, Array]]:
    """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
    outputs, cache = model.forward(images)
    loss, loss_cache = softmax_cross_entropy(outputs["logits"], labels)
    return loss, model.backward(softmax_cross_entropy_backward(loss_cache), cache)


def backward(model: LeNet, images: Array, cotangent: Array) -> dict[str, Array]:
    """d(sum(cotangent · logits)) / d(parameter)."""
    _, cache = model.forward(images)
    return model.backward(cotangent, cache)


def make_optimizer(model: LeNet, recipe: Recipe, velocity: dict[str, Array]) -> SGD:
    """SGD with the constants of the recipe, starting with this velocity."""
    return SGD(recipe.momentum, recipe.weight_decay, velocity)


def get_velocity(model: LeNet, optimizer: SGD) -> dict[str, Array]:
    """The momentum buffers under the parameters' shared names, in the framework's layout."""
    return optimizer.velocity


def train_step(model: LeNet, optimizer: SGD, images: Array, labels: Array, rate: float) -> Array:
    """An SGD step at learning rate η = `rate`; returns the loss before it."""
    loss, gradient = gradients(model, images, labels)
    for name, w in named_parameters(model).items():
        v = optimizer.velocity[name]
        v[...] = optimizer.momentum * v + gradient[name] + optimizer.weight_decay * w
        w -= rate * v
    return loss
