"""The layers and the forward pass."""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class LeNet(nn.Sequential):
    """Images (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, 6, kernel_size=5, padding=2),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(6, 16, kernel_size=5),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc1=nn.Linear(400, 120),
                relu3=nn.ReLU(),
                fc2=nn.Linear(120, 84),
                relu4=nn.ReLU(),
                logits=nn.Linear(84, 10),
            )
        )
        self.to(getattr(torch, dtype))


def activations(model: LeNet, images: Tensor) -> dict[str, Tensor]:
    """The output of every layer, by name."""
    x, outputs = images, {}
    for name, layer in model.named_children():
        outputs[name] = x = layer(x)
    return outputs
