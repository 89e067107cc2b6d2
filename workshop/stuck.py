"""LeNets in PyTorch with parameters that do not learn, each for another reason; none raises or warns.

patient = stuck.PATIENTS["detached"]()
stuck.step(patient, images, labels)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet.network.recipe import initial_params
from lenet_torch.model import LeNet
from lenet_torch.weights import load_params


@dataclass
class Patient:
    """A network under training.

    Attributes:
        module: what the user hands around: `module.parameters()` is all that PyTorch knows of.
        optimizer: SGD.
        layers: {layer: module}, in order, as the forward pass runs them.
        forward: images (N, 1, 28, 28) to logits (N, 10).
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    layers: Mapping[str, nn.Module]
    forward: Callable[[Tensor], Tensor]

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The ten parameters of the forward pass, registered or not."""
        return {
            f"{layer}.{name}": p
            for layer, module in self.layers.items()
            for name, p in module.named_parameters()
        }


class InAList(nn.Module):
    """The layers in a Python list, but for the last: `nn.ModuleList` would register them."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.body = layers[:-1]
        self.logits = layers[-1]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.body:
            x = layer(x)
        return self.logits(x)


def step(patient: Patient, images: Tensor, labels: Tensor) -> float:
    """One step of training as everybody writes it; the loss before it."""
    patient.optimizer.zero_grad()
    loss = F.cross_entropy(patient.forward(images), labels)
    loss.backward()
    patient.optimizer.step()
    return loss.item()


def _lenet() -> LeNet:
    model = LeNet()
    load_params(model, initial_params(0))
    return model


def _sgd(module: nn.Module, decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=decay)


def _patient(module: nn.Module, model: LeNet, decay: float) -> Patient:
    return Patient(module, _sgd(module, decay), dict(model.named_children()), module)


def healthy(decay: float = 0.0) -> Patient:
    """Every parameter learns."""
    model = _lenet()
    return _patient(model, model, decay)


def in_a_list(decay: float = 0.0) -> Patient:
    """All layers but the last stand in a Python list."""
    model = _lenet()
    return _patient(InAList(list(model.children())), model, decay)


def detached(decay: float = 0.0) -> Patient:
    """The output of pool1 is detached from what computed it."""
    patient = healthy(decay)
    layers = list(patient.layers.values())

    def forward(x: Tensor) -> Tensor:
        return nn.Sequential(*layers[3:])(nn.Sequential(*layers[:3])(x).detach())

    patient.forward = forward
    return patient


def frozen(decay: float = 0.0) -> Patient:
    """conv2 was frozen for an earlier experiment."""
    patient = healthy(decay)
    patient.layers["conv2"].requires_grad_(False)
    return patient


def replaced(decay: float = 0.0) -> Patient:
    """The last layer was replaced after the optimizer was made."""
    patient = healthy(decay)
    assert isinstance(patient.module, LeNet)
    old, new = patient.layers["logits"], nn.Linear(84, 10)
    new.load_state_dict(old.state_dict())
    patient.module.logits = new
    patient.layers = dict(patient.module.named_children())
    return patient


def closed(decay: float = 0.0) -> Patient:
    """conv2's biases are −10: its ReLUs are closed for every digit."""
    patient = healthy(decay)
    nn.init.constant_(patient.parameters["conv2.bias"], -10.0)
    return patient


PATIENTS: dict[str, Callable[..., Patient]] = {
    "in a list": in_a_list,
    "detached": detached,
    "frozen": frozen,
    "replaced": replaced,
    "closed": closed,
}
