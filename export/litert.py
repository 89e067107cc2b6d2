"""The port `litert`: the Keras model as a TFLite file, run by LiteRT, the successor of TensorFlow Lite.

TensorFlow converts the model. Its own interpreter of such files is deprecated in favour of LiteRT's.
"""

import io
from collections.abc import Callable
from contextlib import redirect_stdout

import lenet_tf.port  # noqa: F401  # isort: skip (first: it imports TensorFlow with its greetings held back)

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from export.kept import Kept
from lenet import ports
from lenet.ports import Arrays
from lenet.ports.quiet import stderr_held
from lenet_tf import weights
from lenet_tf.model import LeNet

Run = Callable[[np.ndarray], Arrays]


def opened(model: keras.Model) -> Run:
    """Convert a model and open it in LiteRT: a function from images (N, 28, 28, 1) to its named outputs."""
    with redirect_stdout(io.StringIO()), stderr_held():  # Keras and the interpreter say what they do
        converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        interpreter = Interpreter(model_content=converted, num_threads=1)
        runner = interpreter.get_signature_runner()
        (name,) = runner.get_input_details()
        runner(**{name: np.zeros((1, *model.input_shape[1:]), np.float32)})
    return lambda images: runner(**{name: images})


class Port(ports.ForwardPort):
    """The model of `lenet_tf`, converted with the logits alone, and with every layer as an output."""

    layout = weights

    def _setup(self) -> None:
        self._model = LeNet(self.dtype)
        self._kept = Kept[tuple[Run, Run]]()

    def _load(self, params: Arrays) -> None:
        super()._load(params)
        self._logits_alone, self._every_layer = self._kept.of(params, self._converted)

    def _converted(self) -> tuple[Run, Run]:
        outputs = {layer.name: layer.output for layer in self._model.layers}
        return opened(self._model), opened(keras.Model(self._model.inputs, outputs))

    def _inputs(self, images: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(super()._inputs(images))

    def _forward(self, inputs: np.ndarray) -> np.ndarray:
        (logits,) = self._logits_alone(inputs).values()
        return logits

    def _outputs(self, inputs: np.ndarray) -> dict[str, tf.Tensor]:
        return {name: tf.constant(y) for name, y in self._every_layer(inputs).items()}
