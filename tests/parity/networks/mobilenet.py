"""A small MobileNet: depthwise and pointwise convolutions with ReLU6, padded as by TensorFlow's SAME."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Separable(nn.Module):
    """A depthwise 3×3 and a pointwise convolution: [N, C, H, W] to [N, out, H/stride, W/stride]."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        # SAME at stride 2 pads the end alone, where the size is even.
        self.pad = nn.ZeroPad2d((0, 1, 0, 1) if stride == 2 else 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU6()
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.act2 = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.depthwise(self.pad(x))))
        return self.act2(self.bn2(self.pointwise(x)))


class MobileNet(nn.Module):
    """Images [N, 3, 32, 32] to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.conv = nn.Conv2d(3, 8, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.act = nn.ReLU6()
        self.block1 = Separable(8, 16, 1)
        self.block2 = Separable(16, 24, 2)
        self.block3 = Separable(24, 24, 1)
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.conv(self.pad(x))))
        x = self.block3(self.block2(self.block1(x)))
        return self.fc(torch.mean(x, (2, 3)))


# {mistake in the Keras model: (the first wrong layer, words of the cause)}
MISTAKES = {
    "epsilon": ("block2.bn1", "epsilon 0.001 for 1e-05"),
    "relu": ("block3.act1", "ReLU for Clip"),
    "padding": ("block2.depthwise", "padding on the other side|padded on the other side"),
}


def ported(mistake: str = "") -> Any:
    """The network in Keras, channels last, with a mistake of `MISTAKES`: [N, 32, 32, 3] to [N, 10]."""
    from keras import Input, Model, layers

    def norm(x: Any, name: str) -> Any:
        wrong = mistake == "epsilon" and name == "block2.bn1"
        return layers.BatchNormalization(epsilon=1e-3 if wrong else 1e-5, name=name)(x)

    def relu6(x: Any, name: str) -> Any:
        wrong = mistake == "relu" and name == "block3.act1"
        return layers.ReLU(None if wrong else 6.0, name=name)(x)

    def separable(x: Any, name: str, out: int, stride: int) -> Any:
        padding = "same"
        if mistake == "padding" and name == "block2":
            x, padding = layers.ZeroPadding2D(1)(x), "valid"
        x = layers.DepthwiseConv2D(3, stride, padding, use_bias=False, name=f"{name}.depthwise")(x)
        x = relu6(norm(x, f"{name}.bn1"), f"{name}.act1")
        x = layers.Conv2D(out, 1, use_bias=False, name=f"{name}.pointwise")(x)
        return relu6(norm(x, f"{name}.bn2"), f"{name}.act2")

    x = images = Input((32, 32, 3), name="x")
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="conv")(x)
    x = relu6(norm(x, "bn"), "act")
    x = separable(x, "block1", 16, 1)
    x = separable(x, "block2", 24, 2)
    x = separable(x, "block3", 24, 1)
    x = layers.GlobalAveragePooling2D()(x)
    return Model(images, layers.Dense(10, name="fc")(x))
