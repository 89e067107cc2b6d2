"""Reports of an activation, of attention, and of a recurrent layer."""

import numpy as np
from onnx import TensorProto, helper

from tests.parity.reports.report import Array, Rebuilt, case
from tests.parity.small import model, normal


@case(
    23,
    "goodfire-ai/spd#624",
    "A transformer's GELU differs by 4.7e-4.",
    needs=("torch",),
    tensor="z",
    cause="tanh approximation",
)
def gelu() -> Rebuilt:
    """A layer of 64 to 256 and GELU; the port is PyTorch with `approximate="tanh"`."""
    import torch

    x, w = normal(8, 64), normal(64, 256) / 4
    y = torch.from_numpy(x) @ torch.from_numpy(w)
    z = torch.nn.functional.gelu(y, approximate="tanh")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Gelu", ["y"], ["z"])]
    proto = model(nodes, {"x": [8, 64]}, ["z"], {"w": w}, opset=20)
    return proto, {"x": x, "y": y.numpy(), "z": z.numpy()}


@case(
    24,
    "microsoft/onnxscript#2479",
    "Attention gives NaN after the export, where a row is masked completely.",
    needs=("torch",),
    tensor="y",
    cause="fully masked",
)
def masked_row() -> Rebuilt:
    """The report's own example, 4 heads of 8×16 of which one row is masked; the port is PyTorch in steps:
    product, −∞ where masked, softmax, product."""
    import torch

    q, k, v = (torch.from_numpy(normal(2, 4, 8, 16, seed=seed)) for seed in range(3))
    mask = torch.ones(2, 4, 8, 8, dtype=torch.bool)
    mask[0, 0, 0] = False
    scores = (q @ k.transpose(-1, -2) / 4).masked_fill(~mask, float("-inf"))
    y = scores.softmax(-1) @ v
    proto = model(
        [helper.make_node("Attention", ["q", "k", "v", "mask"], ["y"])],
        {"q": [2, 4, 8, 16], "k": [2, 4, 8, 16], "v": [2, 4, 8, 16], "mask": [2, 4, 8, 8]},
        ["y"],
        opset=23,
    )
    proto.graph.input[3].type.tensor_type.elem_type = TensorProto.BOOL
    return proto, {name: one.numpy() for name, one in {"q": q, "k": k, "v": v, "mask": mask, "y": y}.items()}


@case(
    25,
    "keras-team/keras#8720",
    "A GRU with PyTorch's weights gives other results in Keras.",
    needs=("keras",),
    tensor="y",
    cause="reset gate applied before the product",
)
def gru() -> Rebuilt:
    """5 to 8 numbers over 6 steps; the port is Keras with `reset_after=False`, its gates in the right
    order."""
    import keras

    steps, batch, size, hidden = 6, 3, 5, 8
    x = normal(steps, batch, size)
    weights = {  # gates z, r, h
        "w": normal(1, 3 * hidden, size) / 2,
        "r": normal(1, 3 * hidden, hidden, seed=1) / 2,
        "b": np.concatenate([normal(1, 3 * hidden) / 4, np.zeros((1, 3 * hidden), np.float32)], 1),
    }
    layer = keras.layers.GRU(hidden, reset_after=False, return_sequences=True)
    layer.build((batch, steps, size))
    layer.set_weights([weights["w"][0].T, weights["r"][0].T, weights["b"][0, : 3 * hidden]])
    y: Array = np.asarray(layer(x.swapaxes(0, 1))).swapaxes(0, 1)[:, None]
    node = helper.make_node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=hidden, linear_before_reset=1)
    proto = model([node], {"x": [steps, batch, size]}, ["y"], weights)
    return proto, {"x": x, "y": np.ascontiguousarray(y)}
