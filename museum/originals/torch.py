"""PyTorch 1.0.0: an nn.Module, whose layers are called one after the other."""

from collections import OrderedDict

import torch
from torch import nn


class Flatten(nn.Module):  # nn.Flatten came with 1.2
    def forward(self, x):
        return x.view(x.size(0), -1)


def lenet():
    return nn.Sequential(
        OrderedDict(
            [
                ("conv1", nn.Conv2d(1, 6, 5, padding=2)),
                ("relu1", nn.ReLU()),
                ("pool1", nn.MaxPool2d(2)),
                ("conv2", nn.Conv2d(6, 16, 5)),
                ("relu2", nn.ReLU()),
                ("pool2", nn.MaxPool2d(2)),
                ("flatten", Flatten()),
                ("fc1", nn.Linear(400, 120)),
                ("relu3", nn.ReLU()),
                ("fc2", nn.Linear(120, 84)),
                ("relu4", nn.ReLU()),
                ("logits", nn.Linear(84, 10)),
            ]
        )
    )


def version():
    return torch.__version__


def activations(params, images):
    torch.set_num_threads(1)
    model = lenet()
    model.load_state_dict({name: torch.from_numpy(w) for name, w in params.items()})
    layers, x = {}, torch.from_numpy(images)
    with torch.no_grad():
        for name, layer in model.named_children():
            x = layer(x)
            layers[name] = x.numpy()
    return layers
