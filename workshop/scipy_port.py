"""A port to SciPy, which is not a deep-learning framework, to be completed in notebook 9.

    lenet check workshop/scipy_port.py

judges it. Write `conv2d` and `max_pool2d`; the rest is right. Useful functions are `scipy.signal.correlate`,
`scipy.signal.convolve` and `scipy.ndimage.maximum_filter`. Only one of the first two is right. Use
`method="direct"`, because an FFT rounds in another way.
"""

import numpy as np
from scipy import ndimage, signal  # noqa: F401 (your two functions use them)

DTYPE = "float32"


def conv2d(x, w, b, padding):
    """x (N, C, H, W), w (O, C, 5, 5), b (O,). Returns (N, O, H + 2·padding − 4, W + 2·padding − 4)."""
    return ...


def max_pool2d(x):
    """x (N, C, H, W), H and W even. Returns the maximum of every 2×2 window, (N, C, H / 2, W / 2)."""
    return ...


def activations(params, images):
    """{layer: output}; `lenet check --template` explains it."""
    p, y = params, {}
    y["conv1"] = conv2d(images, p["conv1.weight"], p["conv1.bias"], padding=2)
    y["relu1"] = np.maximum(y["conv1"], 0)
    y["pool1"] = max_pool2d(y["relu1"])
    y["conv2"] = conv2d(y["pool1"], p["conv2.weight"], p["conv2.bias"], padding=0)
    y["relu2"] = np.maximum(y["conv2"], 0)
    y["pool2"] = max_pool2d(y["relu2"])
    y["flatten"] = y["pool2"].reshape(len(images), -1)
    y["fc1"] = y["flatten"] @ p["fc1.weight"].T + p["fc1.bias"]
    y["relu3"] = np.maximum(y["fc1"], 0)
    y["fc2"] = y["relu3"] @ p["fc2.weight"].T + p["fc2.bias"]
    y["relu4"] = np.maximum(y["fc2"], 0)
    y["logits"] = y["relu4"] @ p["logits.weight"].T + p["logits.bias"]
    return y
