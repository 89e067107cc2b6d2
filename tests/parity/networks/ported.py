"""The networks side by side: the module, its port, and what is recorded of both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from onnx import ModelProto

from parity.record import export_torch, module_names, record_keras
from tests.parity.networks import lstm, mobilenet, resnet, transformer, unet
from tests.parity.networks.shared import Array, Weights, drawn, load_keras, load_torch
from tests.parity.small import normal


def tokens(module: ModuleType) -> Array:
    """Four texts of random tokens."""
    return np.random.default_rng(0).integers(0, module.TOKENS, (4, module.LENGTH))


@dataclass(frozen=True, eq=False)
class Network:
    """A network in two frameworks.

    Attributes:
        module: makes the PyTorch module.
        port: makes the Keras model, with a mistake.
        x: the input in PyTorch's layout.
        mistakes: {mistake: (the first wrong layer, words of the cause, "|" between alternatives)}.
        spoiled: makes the mistakes that are in the weights.
    """

    module: Callable[[], Any]
    port: Callable[[str], Any]
    x: Array
    mistakes: Mapping[str, tuple[str, str]]
    spoiled: Callable[[Weights, str], Weights] = field(default=lambda weights, mistake: weights)

    @cache  # noqa: B019 - the networks live as long as the program
    def loaded(self) -> Any:
        """The PyTorch module with its weights."""
        module = self.module()
        load_torch(module, self.weights())
        return module

    @cache  # noqa: B019
    def weights(self) -> Weights:
        """The shared weights."""
        return drawn(self.module())

    @cache  # noqa: B019
    def graph(self) -> ModelProto:
        """The reference: the exported module."""
        return export_torch(self.loaded(), (self.x,))

    def recorded(self, mistake: str = "") -> dict[str, Array]:
        """The tensors of the Keras model, by their names in the graph."""
        import keras

        keras.backend.clear_session()
        model = self.port(mistake)
        load_keras(model, self.spoiled(self.weights(), mistake))
        layers = {layer.name for layer in model.layers}
        names = {name: tensor for name, tensor in self.tensors().items() if name in layers}
        return record_keras(model, (self.x,), names | {"x": self.graph().graph.input[0].name})

    @cache  # noqa: B019
    def tensors(self) -> dict[str, str]:
        """{path of a module: the tensor of the graph that it returns}."""
        return module_names(self.graph())


NETWORKS = {
    "resnet": Network(resnet.ResNet, resnet.ported, normal(2, 3, 32, 32), resnet.MISTAKES),
    "mobilenet": Network(mobilenet.MobileNet, mobilenet.ported, normal(2, 3, 32, 32), mobilenet.MISTAKES),
    "unet": Network(unet.UNet, unet.ported, normal(2, 1, 16, 16), unet.MISTAKES),
    "transformer": Network(
        transformer.Transformer, transformer.ported, tokens(transformer), transformer.MISTAKES
    ),
    "lstm": Network(lstm.Classifier, lstm.ported, tokens(lstm), lstm.MISTAKES, lstm.spoiled),
}
