"""Writes ONNX from PyTorch with its current exporter, which traces the model with `torch.export`."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from onnx import ModelProto

from export import onnx_file
from lenet.network import weights
from lenet.network.architecture import IMAGE_SHAPE
from lenet_torch.model import LeNet
from lenet_torch.weights import load_params


def export(params: Mapping[str, np.ndarray], opset: int = onnx_file.OPSET) -> ModelProto:
    """Export the network with these shared weights as an ONNX model of this opset.

    Raises:
        UserError: `params` are not this network's, or there is no such opset.
    """
    weights.check(params)
    network = LeNet().eval()  # evaluation mode; otherwise dropout would be exported too
    load_params(network, dict(params))
    example = torch.zeros(2, *IMAGE_SHAPE)  # a batch of 1 would become a constant
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[onnx_file.INPUT],
            output_names=[onnx_file.OUTPUT],
            opset_version=onnx_file.OPSET,
            dynamic_shapes=({0: onnx_file.BATCH},),
        )
    assert program is not None  # only the old exporter returns None
    made_by = f"torch {torch.__version__}, torch.onnx.export"
    return onnx_file.finish(program.model_proto, params, made_by, opset)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide two messages without relevance here: torchvision is absent, pytree renames a class."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
