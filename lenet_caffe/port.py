"""The adapter to the contract of `lenet.ports`: the only file here that knows the harness."""

import cv2
import numpy as np

from lenet import ports
from lenet.ports import Arrays
from lenet_caffe import weights
from lenet_caffe.model import LeNet, activations
from parity.errors import MissingFramework, install_line


def require_importer(name: str) -> None:
    """Refuse OpenCV 5, which has dropped the importer of Caffe's files."""
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise MissingFramework(
            f"port {name!r} needs OpenCV 4, as {cv2.__version__} cannot read Caffe's files: "
            f"{install_line('cv2')}"
        )


class Port(ports.ForwardPort):
    """Caffe's files, run by OpenCV 4."""

    layout = weights

    def _setup(self) -> None:
        require_importer(self.name)
        self.version = f"OpenCV {self.version}"
        self._model = LeNet(self.dtype)

    def _forward(self, inputs: np.ndarray) -> np.ndarray:
        return self._model(inputs)

    def _outputs(self, inputs: np.ndarray) -> Arrays:
        return activations(self._model, inputs)
