"""A small transformer encoder: embeddings, causal attention of two heads, LayerNorm, GELU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.networks.shared import HEADS

TOKENS, LENGTH, SIZE = 50, 7, 16


class Encoder(nn.Module):
    """Attention and a layer of twice the size, each behind a LayerNorm: [N, T, SIZE] to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(SIZE)
        self.attn = nn.MultiheadAttention(SIZE, HEADS, batch_first=True)
        self.norm2 = nn.LayerNorm(SIZE)
        self.fc1 = nn.Linear(SIZE, 2 * SIZE)
        self.gelu = nn.GELU()
        self.fc2 = nn.Linear(2 * SIZE, SIZE)
        self.register_buffer("mask", torch.full((LENGTH, LENGTH), float("-inf")).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=self.mask)[0]
        return x + self.fc2(self.gelu(self.fc1(self.norm2(x))))


class Transformer(nn.Module):
    """Tokens [N, LENGTH] to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, SIZE)
        self.position = nn.Parameter(torch.zeros(LENGTH, SIZE))
        self.layer1 = Encoder()
        self.layer2 = Encoder()
        self.norm = nn.LayerNorm(SIZE)
        self.head = nn.Linear(SIZE, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x) + self.position
        x = self.layer2(self.layer1(x))
        return self.head(self.norm(x).mean(1))


# {mistake in the Keras model: (the first wrong layer, words of the cause)}
MISTAKES = {
    "gelu": ("layer2.gelu", "tanh approximation"),
    "epsilon": ("layer2.norm2", "epsilon 0.001 for 1e-05"),
    "mask": ("layer2.attn", "mask"),
    "scale": ("layer2.attn", "scale|1/d for 1/sqrt(d)|root missing"),
}


def ported(mistake: str = "") -> Any:
    """The network in Keras with a mistake of `MISTAKES`: [N, LENGTH] to [N, 10]."""
    from keras import Input, Model, layers, ops

    class Positions(layers.Layer):
        """Adds a vector to each place."""

        def build(self, shape: Any) -> None:
            self.vectors = self.add_weight((LENGTH, SIZE))

        def call(self, x: Any) -> Any:
            return x + self.vectors

    def norm(x: Any, name: str) -> Any:
        wrong = mistake == "epsilon" and name == "layer2.norm2"
        return layers.LayerNormalization(epsilon=1e-3 if wrong else 1e-5, name=name)(x)

    def encoder(x: Any, name: str) -> Any:
        wrong = mistake if name == "layer2" else ""
        attention = layers.MultiHeadAttention(HEADS, SIZE // HEADS, name=f"{name}.attn")
        if wrong == "scale":
            attention._inverse_sqrt_key_dim = 1 / (SIZE // HEADS)
        y = norm(x, f"{name}.norm1")
        x = layers.Add()([x, attention(y, y, use_causal_mask=wrong != "mask")])
        y = layers.Dense(2 * SIZE, name=f"{name}.fc1")(norm(x, f"{name}.norm2"))
        gelu = layers.Activation(lambda one: ops.gelu(one, approximate=wrong == "gelu"), name=f"{name}.gelu")
        return layers.Add()([x, layers.Dense(SIZE, name=f"{name}.fc2")(gelu(y))])

    tokens = Input((LENGTH,), dtype="int64", name="x")
    x = Positions(name="position")(layers.Embedding(TOKENS, SIZE, name="embedding")(tokens))
    x = encoder(encoder(x, "layer1"), "layer2")
    x = layers.GlobalAveragePooling1D()(norm(x, "norm"))
    return Model(tokens, layers.Dense(10, name="head")(x))
