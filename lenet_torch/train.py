"""Loss, gradients, and one step of SGD with momentum."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD

from lenet.network.recipe import Recipe
from lenet_torch.model import LeNet
from lenet_torch.weights import named_parameters


def gradients(model: LeNet, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
    parameters = named_parameters(model)
    loss = F.cross_entropy(model(images), labels)
    return loss, dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def backward(model: LeNet, images: Tensor, cotangent: Tensor) -> dict[str, Tensor]:
    """d(sum(cotangent · logits)) / d(parameter)."""
    parameters = named_parameters(model)
    grads = torch.autograd.grad(model(images), list(parameters.values()), grad_outputs=cotangent)
    return dict(zip(parameters, grads, strict=True))


def make_optimizer(model: LeNet, recipe: Recipe, velocity: dict[str, Tensor]) -> SGD:
    """SGD with the constants of the recipe, starting with this velocity."""
    optimizer = SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    for name, v in velocity.items():
        optimizer.state[named_parameters(model)[name]]["momentum_buffer"] = v
    return optimizer


def get_velocity(model: LeNet, optimizer: SGD) -> dict[str, Tensor]:
    """The momentum buffers under the parameters' shared names, in the framework's layout."""
    return {
        name: optimizer.state[parameter]["momentum_buffer"]
        for name, parameter in named_parameters(model).items()
    }


def train_step(model: LeNet, optimizer: SGD, images: Tensor, labels: Tensor, rate: float) -> Tensor:
    """An SGD step at learning rate η = `rate`; returns the loss before it."""
    optimizer.param_groups[0]["lr"] = rate
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss
