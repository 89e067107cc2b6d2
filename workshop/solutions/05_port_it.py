"""Solutions of workshop/05_port_it.ipynb, and answers that are not right."""

import torch
import torch.nn.functional as F


def activations(params, images, *, order=lambda x: x):
    """The network in torch.nn.functional; `order` is there to go wrong before flatten."""
    p, y = {name: torch.tensor(array) for name, array in params.items()}, {}
    y["conv1"] = F.conv2d(torch.tensor(images), p["conv1.weight"], p["conv1.bias"], padding=2)
    y["relu1"] = F.relu(y["conv1"])
    y["pool1"] = F.max_pool2d(y["relu1"], 2)
    y["conv2"] = F.conv2d(y["pool1"], p["conv2.weight"], p["conv2.bias"])
    y["relu2"] = F.relu(y["conv2"])
    y["pool2"] = F.max_pool2d(y["relu2"], 2)
    y["flatten"] = order(y["pool2"]).flatten(1)
    y["fc1"] = F.linear(y["flatten"], p["fc1.weight"], p["fc1.bias"])
    y["relu3"] = F.relu(y["fc1"])
    y["fc2"] = F.linear(y["relu3"], p["fc2.weight"], p["fc2.bias"])
    y["relu4"] = F.relu(y["fc2"])
    y["logits"] = F.linear(y["relu4"], p["logits.weight"], p["logits.bias"])
    return y


def to_tf(name, array):
    """By name, not by shape: a square dense layer would pass untransposed."""
    if name.startswith("conv") and array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if name == "fc1.weight":
        return array.reshape(-1, 16, 5, 5).transpose(0, 2, 3, 1).reshape(array.shape).T
    return array.T


def _hwc(params, images):
    return activations(params, images, order=lambda x: x.permute(0, 2, 3, 1))


def _normalised(params, images):
    return activations(params, ((images - 0.1307) / 0.3081).astype(images.dtype))


def _softmax(params, images):
    return torch.softmax(activations(params, images)["logits"], dim=1)


def _plain_transpose(name, array):
    return array.T if array.ndim < 4 else to_tf(name, array)


def _reversed(name, array):
    return array.T if array.ndim == 4 else to_tf(name, array)


def _reshaped(name, array):
    return array.reshape(to_tf(name, array).shape)


WRONG = {
    "torch_forward": [
        (_hwc, "flattened in H, W, C order"),
        (_normalised, "pixels normalised"),
        (_softmax, "softmax in the model"),
    ],
    "to_tf": [
        (_plain_transpose, "fc1 differs"),
        (_reversed, "kernel height and width swapped"),
        (_reshaped, "weights reshaped to HWIO, not transposed"),
        (lambda name, array: array, "shape"),
    ],
}


ANSWERS = {  # to the predictions: the right guess, and the explanation
    "other_shapes": (
        5,
        "All weights: PyTorch keeps convolutions as OIHW and dense layers as (out, in); TensorFlow as "
        "HWIO and (in, out). A bias has one axis.",
    ),
    "not_just_transposed": (
        ["fc1.weight"],
        "Its 400 inputs come from flattening (16, 5, 5) in one framework and (5, 5, 16) in the other. A "
        "plain transpose has the right shape, but the wrong order.",
    ),
    "harmless_to_accuracy": (
        5,
        "The margin of MNIST is empty, so a reflected border reflects no ink; and softmax does not change "
        "which value is the largest. **Accuracy is no test of a port.**",
    ),
    "missed_by_the_bound": (
        0,
        "The bound detects every trap, at its layer.",
    ),
    "right_ports_pass": (
        "no",
        "A relative error is meaningless near zero, and some logits are near zero.",
    ),
    "tf32_passes": (
        "yes",
        "A tolerance wide enough for nobody to complain lets a lower precision pass.",
    ),
    "changes_most": (
        "weights",
        "The layouts: each framework has its own, so this file is where a port differs.",
    ),
}
