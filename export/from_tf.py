"""Writes ONNX from TensorFlow with tf2onnx, from the traced graph of the Keras model.

Like the other files, this file takes the shared NCHW image. Inside, tf2onnx keeps TensorFlow's order where it
cannot remove it: the features of `flatten` are in (H, W, C) order, and so are the columns of `fc1`'s kernel.
"""

from collections.abc import Mapping

import lenet_tf.port  # noqa: F401  # isort: skip (first: it imports TensorFlow with its greetings held back)

import numpy as np
import tensorflow as tf
import tf2onnx
from onnx import ModelProto

from export import onnx_file
from lenet.network import weights
from lenet_tf.model import LeNet
from lenet_tf.weights import load_params


def export(params: Mapping[str, np.ndarray], opset: int = onnx_file.OPSET) -> ModelProto:
    """Export the network with these shared weights as an ONNX model of this opset.

    Raises:
        UserError: `params` are not this network's, or there is no such opset.
    """
    weights.check(params)
    network = LeNet()
    load_params(network, dict(params))
    nhwc = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32, name=onnx_file.INPUT)
    # `from_keras` supports only Keras 2; it would trace a function of the model anyway.
    traced = tf.function(
        lambda image: {onnx_file.OUTPUT: network(image)}, input_signature=[nhwc], autograph=False
    )
    proto, _ = tf2onnx.convert.from_function(
        traced, input_signature=[nhwc], opset=onnx_file.OPSET, inputs_as_nchw=[onnx_file.INPUT]
    )
    made_by = f"tf2onnx {tf2onnx.__version__}, tensorflow {tf.__version__}"
    return onnx_file.finish(proto, params, made_by, opset)
