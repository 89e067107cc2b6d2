"""The layers and the forward pass."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lenet.network.architecture import ACTIVATION_SHAPES
from lenet_caffe.schema import NetParameter, read_text
from parity.errors import UserError

DEPLOY = Path(__file__).with_name("deploy.prototxt")  # contains the layers


class LeNet:
    """Images (N, 1, 28, 28) to logits (N, 10).

    In Caffe itself this is three lines: `net = caffe.Net(deploy, caffemodel, caffe.TEST)`, fill
    `net.blobs["data"].data`, `net.forward()`. OpenCV's importer reads the same two files.
    """

    def __init__(self, dtype: str = "float32") -> None:
        self.net = read_text(NetParameter, DEPLOY)  # with weights, this is a .caffemodel
        check_net(self.net)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.run(images, ["logits"])["logits"]

    def build(self) -> None:
        """Pass the layers and the weights to OpenCV, which keeps a copy."""
        files = DEPLOY.read_bytes(), self.net.SerializeToString()
        self._opencv = _run(cv2.dnn.readNetFromCaffe, *(np.frombuffer(file, np.uint8) for file in files))
        self._opencv.enableFusion(False)  # so that a blob is the output of its layer alone

    def run(self, images: np.ndarray, blobs: list[str]) -> dict[str, np.ndarray]:
        """The values of these blobs; the net takes the batch size from the images."""
        self._opencv.setInput(images, "data")
        return dict(zip(blobs, _run(self._opencv.forward, blobs), strict=True))


def activations(model: LeNet, images: np.ndarray) -> dict[str, np.ndarray]:
    """The output of every layer, by name."""
    return model.run(images, list(ACTIVATION_SHAPES))


def check_net(net: Any) -> None:
    """Refuse a net that reads a blob before it is written, or that lacks a layer of the table.

    Raises:
        UserError: a line with the name of the blob or layer.
    """
    tops: dict[str, list[str]] = {}
    for layer in net.layer:
        for blob in layer.bottom:
            if not any(blob in written for written in tops.values()):
                raise UserError(
                    f"{DEPLOY.name}: layer {layer.name!r} reads {blob!r}, which no layer before it writes"
                )
        tops[layer.name] = list(layer.top)
    for name in ACTIVATION_SHAPES:
        if tops.get(name) != [name]:
            raise UserError(f"{DEPLOY.name}: no layer {name!r} with a top of that name")


def _run(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except cv2.error as error:
        raise UserError(f"OpenCV cannot run {DEPLOY.name}: {' '.join(str(error).split())}") from error
