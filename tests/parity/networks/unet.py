"""A small U-Net: two steps down by max pooling, up by a transposed convolution and by resizing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Double(nn.Module):
    """Two 3×3 convolutions with ReLU: [N, C, H, W] to [N, out, H, W]."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(self.conv2(self.relu1(self.conv1(x))))


class UNet(nn.Module):
    """Images [N, 1, 16, 16] to two maps of logits [N, 2, 16, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = Double(1, 8)
        self.pool1 = nn.MaxPool2d(2)
        self.down2 = Double(8, 12)
        self.pool2 = nn.MaxPool2d(2)
        self.bottom = Double(12, 16)
        self.up2 = nn.ConvTranspose2d(16, 12, 4, stride=2, padding=1)
        self.dec2 = Double(24, 12)
        self.up1 = nn.Upsample(scale_factor=2, mode="bilinear")
        self.dec1 = Double(20, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(self.pool1(first))
        x = self.bottom(self.pool2(second))
        x = self.dec2(torch.cat([self.up2(x), second], 1))
        x = self.dec1(torch.cat([self.up1(x), first], 1))
        return self.head(x)


# {mistake in the Keras model: (the first wrong layer, words of the cause)}
MISTAKES = {
    "cropping": ("up2", "padding at the beginning"),
    "align corners": ("up1", "align_corners"),
    "order of the skip": ("dec2.conv1", "concatenated in the order (1, 0)"),
}


def ported(mistake: str = "") -> Any:
    """The network in Keras, channels last, with a mistake of `MISTAKES`: [N, 16, 16, 1] to [N, 16, 16, 2]."""
    from keras import Input, Model, layers

    def double(x: Any, name: str, out: int) -> Any:
        for k in (1, 2):
            x = layers.Conv2D(out, 3, padding="same", name=f"{name}.conv{k}")(x)
            x = layers.ReLU(name=f"{name}.relu{k}")(x)
        return x

    def transposed(x: Any, name: str, out: int) -> Any:
        if mistake != "cropping":
            return layers.Conv2DTranspose(out, 4, 2, "same", name=name)(x)
        x = layers.Conv2DTranspose(out, 4, 2, "valid", name=f"{name}.full")(x)
        return layers.Cropping2D(((0, 2), (0, 2)), name=name)(x)

    def larger(x: Any, name: str) -> Any:
        if mistake != "align corners":
            return layers.UpSampling2D(2, interpolation="bilinear", name=name)(x)
        import tensorflow as tf

        size = (2 * x.shape[1], 2 * x.shape[2])
        resize = tf.compat.v1.image.resize_bilinear
        return layers.Lambda(lambda one: resize(one, size, align_corners=True), name=name)(x)

    x = images = Input((16, 16, 1), name="x")
    first = double(x, "down1", 8)
    second = double(layers.MaxPooling2D(2, name="pool1")(first), "down2", 12)
    x = double(layers.MaxPooling2D(2, name="pool2")(second), "bottom", 16)
    pair = [transposed(x, "up2", 12), second]
    x = layers.Concatenate()(pair[::-1] if mistake == "order of the skip" else pair)
    x = double(x, "dec2", 12)
    x = layers.Concatenate()([larger(x, "up1"), first])
    return Model(images, layers.Conv2D(2, 1, name="head")(double(x, "dec1", 8)))
