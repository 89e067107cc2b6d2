"""Loss, gradients, and one step of SGD with momentum."""

import jax
import optax
from flax import nnx
from jax import Array

from lenet.network.recipe import Recipe
from lenet_flax.model import LeNet
from lenet_flax.weights import named_parameters


class SGD(nnx.Optimizer[LeNet]):
    """v ← μ·v + g + λ·w, w ← w − η·v.

    Optax chains it from two transformations of the gradient. `inject_hyperparams` makes η a part of the
    optimizer's state, where every step may set it.
    """

    def __init__(self, model: LeNet, momentum: float, weight_decay: float) -> None:
        sgd = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0, momentum=momentum)
        super().__init__(model, optax.chain(optax.add_decayed_weights(weight_decay), sgd), wrt=nnx.Param)


def _loss(model: LeNet, images: Array, labels: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


def gradients(model: LeNet, images: Array, labels: Array) -> tuple[Array, nnx.State]:
    """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
    return nnx.value_and_grad(_loss)(model, images, labels)


def backward(model: LeNet, images: Array, cotangent: Array) -> nnx.State:
    """d(sum(cotangent · logits)) / d(parameter)."""
    graph, params = nnx.split(model)
    _, pull_back = jax.vjp(lambda params: nnx.merge(graph, params)(images), params)
    (gradient,) = pull_back(cotangent)
    return gradient


def make_optimizer(model: LeNet, recipe: Recipe, velocity: dict[str, Array]) -> SGD:
    """SGD with the constants of the recipe, starting with this velocity."""
    optimizer = SGD(model, recipe.momentum, recipe.weight_decay)
    for name, v in get_velocity(model, optimizer).items():
        v[...] = velocity[name]
    return optimizer


def get_velocity(model: LeNet, optimizer: SGD) -> dict[str, nnx.Variable[Array]]:
    """The momentum buffers under the parameters' shared names, in the framework's layout."""
    return named_parameters(optax.tree.get(optimizer.opt_state, "trace"))


def train_step(model: LeNet, optimizer: SGD, images: Array, labels: Array, rate: float) -> Array:
    """An SGD step at learning rate η = `rate`; returns the loss before it."""
    optax.tree.get(optimizer.opt_state, "learning_rate")[...] = rate
    loss, gradient = gradients(model, images, labels)
    optimizer.update(model, gradient)
    return loss
