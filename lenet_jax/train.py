"""Loss, gradients, and one step of SGD with momentum."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from lenet.network.recipe import Recipe
from lenet_jax.model import LeNet
from lenet_jax.weights import named_parameters


class SGD(NamedTuple):
    """v ← μ·v + g + λ·w, w ← w − η·v.

    The same as `optax.sgd` after `optax.add_decayed_weights`; here it is two lines with `jax.tree.map`.
    """

    momentum: float
    weight_decay: float
    velocity: LeNet


def _loss(model: LeNet, images: Array, labels: Array) -> Array:
    log_p = jax.nn.log_softmax(model(images))
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1).mean()


def gradients(model: LeNet, images: Array, labels: Array) -> tuple[Array, LeNet]:
    """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
    return jax.value_and_grad(_loss)(model, images, labels)


def backward(model: LeNet, images: Array, cotangent: Array) -> LeNet:
    """d(sum(cotangent · logits)) / d(parameter)."""
    _, pull_back = jax.vjp(lambda model: model(images), model)
    (gradient,) = pull_back(cotangent)
    return gradient


def make_optimizer(model: LeNet, recipe: Recipe, velocity: dict[str, Array]) -> SGD:
    """SGD with the constants of the recipe, starting with this velocity."""
    arrays = [velocity[name] for name in named_parameters(model)]
    like_the_model = jax.tree.unflatten(jax.tree.structure(model), arrays)
    return SGD(recipe.momentum, recipe.weight_decay, like_the_model)


def get_velocity(model: LeNet, optimizer: SGD) -> dict[str, Array]:
    """The momentum buffers under the parameters' shared names, in the framework's layout."""
    return named_parameters(optimizer.velocity)


def train_step(
    model: LeNet, optimizer: SGD, images: Array, labels: Array, rate: float
) -> tuple[LeNet, SGD, Array]:
    """An SGD step at learning rate η = `rate`; returns the loss before it.

    Nothing changes in place: it returns the next model and the optimizer's next state with the loss.
    """
    loss, gradient = gradients(model, images, labels)
    mu, decay, _ = optimizer
    velocity = jax.tree.map(lambda v, g, w: mu * v + g + decay * w, optimizer.velocity, gradient, model)
    model = jax.tree.map(lambda w, v: w - rate * v, model, velocity)
    return model, optimizer._replace(velocity=velocity), loss
