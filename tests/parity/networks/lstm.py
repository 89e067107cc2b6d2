"""A small classifier of sequences: embedding, LSTM, and a layer on its last state."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from tests.parity.networks.shared import Array, Weights

TOKENS, LENGTH, SIZE, HIDDEN = 50, 9, 6, 8


class Classifier(nn.Module):
    """Tokens [N, LENGTH] to logits [N, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, SIZE)
        self.lstm = nn.LSTM(SIZE, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 3)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(x))
        return self.head(states[:, -1])


# {mistake in the Keras model: (the first wrong layer, words of the cause)}
MISTAKES = {
    "order of the gates": ("lstm", "stored iofc (ONNX), read as ifco"),
    "1 added to the forget bias": ("lstm", "forget"),
    "second bias missing": ("lstm", "bias of the recurrence missing"),
}


def ported(mistake: str = "") -> Any:
    """The network in Keras: [N, LENGTH] to [N, 3]. The mistakes are those of `spoiled`."""
    from keras import Input, Model, layers

    tokens = Input((LENGTH,), dtype="int64", name="x")
    x = layers.Embedding(TOKENS, SIZE, name="embedding")(tokens)
    x = layers.LSTM(HIDDEN, return_sequences=True, name="lstm")(x)
    return Model(tokens, layers.Dense(3, name="head")(x[:, -1]))


def spoiled(weights: Weights, mistake: str) -> Weights:
    """The weights with a mistake of `MISTAKES`; gates are i, f, g, o."""

    def changed(name: str, array: Array) -> Array:
        gates = np.split(array, 4)
        if mistake == "order of the gates":  # as in ONNX: i, o, f, g
            return np.concatenate([gates[k] for k in (0, 3, 1, 2)])
        if mistake == "1 added to the forget bias" and "bias_ih" in name:  # TensorFlow 1 adds it when it runs
            return np.concatenate([gates[0], gates[1] + 1, *gates[2:]])
        if mistake == "second bias missing" and "bias_hh" in name:
            return np.zeros_like(array)
        return array

    return {name: changed(name, one) if name.startswith("lstm.") else one for name, one in weights.items()}
