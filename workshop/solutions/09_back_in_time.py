"""Solutions of workshop/09_back_in_time.ipynb, and answers that are not right."""

from pathlib import Path

CONV2D = """    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    maps = [signal.correlate(padded, one[None], mode="valid", method="direct") for one in w]
    return np.concatenate(maps, axis=1) + b[:, None, None]
"""
MAX_POOL2D = """    largest = ndimage.maximum_filter(x, size=(1, 1, 2, 2), origin=(0, 0, -1, -1))
    return largest[:, :, ::2, ::2]
"""
_stub, _, _after = (
    Path(__file__).parents[1].joinpath("scipy_port.py").read_text("utf-8").partition("return ...\n")
)
PORT = _stub.rstrip(" ") + CONV2D + _after.replace("    return ...\n", MAX_POOL2D, 1)


def to_framework(name, array):
    """Kernels (KH, KW, in, out), turned; dense (in, out); columns of fc1 in H, W, C order."""
    if name.startswith("conv") and array.ndim == 4:
        return array[:, :, ::-1, ::-1].transpose(2, 3, 1, 0)
    if name == "fc1.weight":
        return array.reshape(120, 16, 5, 5).transpose(2, 3, 1, 0).reshape(400, 120)
    return array.T


def _unturned(name, array):
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else to_framework(name, array)


def _reshaped(name, array):
    right = to_framework(name, array)
    return array.reshape(right.shape)


def _columns_left(name, array):
    return array.T if name == "fc1.weight" else to_framework(name, array)


WRONG = {
    "to_framework": [
        (_unturned, "not turned"),
        (_reshaped, "reshape"),
        (_columns_left, "C, H, W"),
        (lambda name, array: array, "shape"),
    ],
    "port": [
        (PORT.replace("correlate(", "convolve("), "kernel flipped"),
        (PORT.replace("maximum_filter", "minimum_filter"), "pool1"),
        (PORT.replace(" + b[:, None, None]", ""), "bias missing"),
        (PORT.replace("origin=(0, 0, -1, -1)", "origin=0"), "pool1"),
        (PORT.replace("import numpy as np", "import numpy as np\n1 / 0"), "ZeroDivisionError"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "compute_at_once": (
        ["numpy", "torch", "tf"],
        "Caffe's line is data, not a program. Theano's and TensorFlow 1's make a node of a graph that "
        "runs later. NumPy's, PyTorch's and TensorFlow 2's compute at once. JAX's computes at once or is "
        "traced, as the caller chooses: the port compiles it. The mathematics is the same in all lines.",
    ),
    "keeps_most": (
        "tf1 to tf",
        "The layouts stayed, and with them what a port must do about them.",
    ),
    "channels_last": (
        ["tf1", "jax"],
        "The frameworks from Google; the others keep a map together.",
    ),
    "dense_in_out": (
        ["theano", "tf1", "jax"],
        "",
    ),
    "different_answers": (
        1,
        "Nothing rounds with exact weights, so every right port gives the same bits, from 2006 to today.",
    ),
    "symbolic": (
        ["theano", "tf1"],
        "Derived once, from the expression.",
    ),
    "tape": (
        ["torch", "tf"],
        "In Caffe and NumPy it is written by hand; in JAX it is a transformation of a function. Each time "
        "it is the chain rule (notebook 3). The ports even had to agree on ties in pooling windows.",
    ),
}
