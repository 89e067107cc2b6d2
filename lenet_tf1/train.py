"""Loss, gradients, and one step of SGD with momentum."""

from dataclasses import dataclass, field

import numpy as np
import tensorflow.compat.v1 as tf

from lenet.network.recipe import Recipe
from lenet_tf1.model import LeNet
from lenet_tf1.weights import named_parameters


@dataclass(eq=False)
class SGD:
    """v ← μ·v + g + λ·w, w ← w − η·v.

    This is the rule of `tf.train.MomentumOptimizer` with g + λ·w as the gradient, as from a loss with
    λ·`tf.nn.l2_loss(w)`. Its slots hold v; these are variables that `train_step` adds to the graph.
    """

    momentum: float
    weight_decay: float
    velocity: dict[str, tf.Variable] = field(default_factory=dict)


def gradients(model: LeNet, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The mean softmax cross-entropy over the batch, and its gradients for all parameters.

    The gradients are gated, as `Optimizer.compute_gradients` does by default. A graph has no order but its
    edges: without the gate, a layer's weights may be updated while the gradient of the layer before, which
    needs the old ones, is still to be computed. TensorFlow 1's reference variables then show it the new
    weights; the resource variables of TensorFlow 2 hide the mistake.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=model(images))
    loss, parameters = tf.reduce_mean(losses), named_parameters(model)
    gradient = tf.gradients(loss, list(parameters.values()), gate_gradients=True)
    return loss, dict(zip(parameters, gradient, strict=True))


def backward(model: LeNet, images: tf.Tensor, cotangent: tf.Tensor) -> dict[str, tf.Tensor]:
    """d(sum(cotangent · logits)) / d(parameter)."""
    parameters = named_parameters(model)
    grads = tf.gradients(model(images), list(parameters.values()), grad_ys=cotangent)
    return dict(zip(parameters, grads, strict=True))


def make_optimizer(model: LeNet, recipe: Recipe, velocity: dict[str, np.ndarray]) -> SGD:
    """SGD with the constants of the recipe, starting with this velocity: a session assigns it later."""
    return SGD(recipe.momentum, recipe.weight_decay)


def get_velocity(model: LeNet, optimizer: SGD) -> dict[str, tf.Variable]:
    """The momentum buffers under the parameters' shared names, in the framework's layout."""
    return optimizer.velocity


def train_step(
    model: LeNet, optimizer: SGD, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
) -> tf.Tensor:
    """An SGD step at learning rate η = `rate`; returns the loss before it."""
    loss, gradient = gradients(model, images, labels)
    parameters = named_parameters(model)
    momentum = tf.constant(optimizer.momentum, rate.dtype)  # a Python number would become a float32 tensor
    rule = tf.train.MomentumOptimizer(rate, momentum)
    decayed = [(gradient[name] + optimizer.weight_decay * w, w) for name, w in parameters.items()]
    update = rule.apply_gradients(decayed)
    optimizer.velocity = {name: rule.get_slot(w, "momentum") for name, w in parameters.items()}
    with tf.control_dependencies([update]):
        return tf.identity(loss)
