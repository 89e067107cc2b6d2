"""Loss, gradients, and one step of SGD with momentum."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from lenet.network.recipe import Recipe
from lenet_tf.model import LeNet
from lenet_tf.weights import named_parameters


@dataclass(eq=False)
class SGD:
    """v ← μ·v + g + λ·w, w ← w − η·v.

    This is not `keras.optimizers.SGD`, which has η inside the velocity (v ← μ·v − η·g) and so follows
    another trajectory after the rate changes; its `weight_decay` is decoupled from the gradient.
    """

    momentum: float
    weight_decay: float
    velocity: dict[str, tf.Variable]


def gradients(model: LeNet, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(images))
        loss = tf.reduce_mean(losses)
    return loss, tape.gradient(loss, named_parameters(model))


def backward(model: LeNet, images: tf.Tensor, cotangent: tf.Tensor) -> dict[str, tf.Tensor]:
    """d(sum(cotangent · logits)) / d(parameter)."""
    with tf.GradientTape() as tape:
        logits = model(images)
    return tape.gradient(logits, named_parameters(model), output_gradients=cotangent)


def make_optimizer(model: LeNet, recipe: Recipe, velocity: dict[str, np.ndarray]) -> SGD:
    """SGD with the constants of the recipe, starting with this velocity."""
    variables = {name: tf.Variable(v) for name, v in velocity.items()}
    return SGD(recipe.momentum, recipe.weight_decay, variables)


def get_velocity(model: LeNet, optimizer: SGD) -> dict[str, tf.Variable]:
    """The momentum buffers under the parameters' shared names, in the framework's layout."""
    return optimizer.velocity


def train_step(
    model: LeNet, optimizer: SGD, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
) -> tf.Tensor:
    """An SGD step at learning rate η = `rate`; returns the loss before it."""
    loss, gradient = gradients(model, images, labels)
    for name, w in named_parameters(model).items():
        v = optimizer.velocity[name]
        v.assign(optimizer.momentum * v + gradient[name] + optimizer.weight_decay * w)
        w.assign_sub(rate * v)
    return loss
