"""A small ResNet: a stem, a basic block, and one with stride 2 and a projection.

The classes are PyTorch's, `ported` is the same network in Keras.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and the sum with the input: [N, C, H, W] to [N, out, H/stride, W/stride]."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu2 = nn.ReLU()
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Images [N, 3, 32, 32] to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(8, 8, 1))
        self.layer2 = nn.Sequential(BasicBlock(8, 16, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


# {mistake in the Keras model: (the first wrong layer, words of the cause)}
MISTAKES = {
    "same in layer2": ("layer2.0.conv1", "padding on the other side: pads (0, 0, 1, 1) for (1, 1, 1, 1)"),
    "same everywhere": ("conv1", "padding on the other side: pads (2, 2, 3, 3) for (3, 3, 3, 3)"),
    "batch statistics": ("layer2.0.bn2", "batch statistics"),
}


def ported(mistake: str = "") -> Any:
    """The network in Keras, channels last, with a mistake of `MISTAKES`: [N, 32, 32, 3] to [N, 10]."""
    from keras import Input, Model, layers

    same = {"same in layer2": ["layer2.0.conv1"], "same everywhere": ["conv1", "layer2.0.conv1"]}.get(
        mistake, []
    )

    def conv(x: Any, name: str, out: int, size: int, stride: int = 1) -> Any:
        if stride == 1 or name in same:
            return layers.Conv2D(out, size, stride, "same", use_bias=False, name=name)(x)
        if size > 1:
            x = layers.ZeroPadding2D(size // 2)(x)
        return layers.Conv2D(out, size, stride, use_bias=False, name=name)(x)

    def norm(x: Any, name: str) -> Any:
        wrong = mistake == "batch statistics" and name == "layer2.0.bn2"
        return layers.BatchNormalization(epsilon=1e-5, name=name)(x, training=wrong)

    def block(x: Any, name: str, out: int, stride: int) -> Any:
        y = norm(conv(x, f"{name}.conv1", out, 3, stride), f"{name}.bn1")
        y = layers.ReLU(name=f"{name}.relu1")(y)
        y = norm(conv(y, f"{name}.conv2", out, 3), f"{name}.bn2")
        if stride != 1:
            x = norm(conv(x, f"{name}.downsample.0", out, 1, stride), f"{name}.downsample.1")
        return layers.ReLU(name=f"{name}.relu2")(layers.Add()([y, x]))

    x = images = Input((32, 32, 3), name="x")
    x = layers.ReLU(name="relu")(norm(conv(x, "conv1", 8, 7, 2), "bn1"))
    x = layers.ZeroPadding2D(1)(x)  # what the ReLU returns is not negative: zeros do not win
    x = layers.MaxPooling2D(3, 2, name="maxpool")(x)
    x = block(block(x, "layer1.0", 8, 1), "layer2.0", 16, 2)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="avgpool")(x)
    return Model(images, layers.Dense(10, name="fc")(layers.Flatten()(x)))
