"""Reports of differences that are rounding: two right implementations, and a tolerance that they break."""

import numpy as np
from onnx import helper

from tests.parity.reports.report import Array, Rebuilt, case, channels_first, channels_last, hwio
from tests.parity.small import model, normal


@case(
    1,
    "NVIDIA/TensorRT#4507",
    "An image encoder in float32 fails a tolerance of 1e-5; the answer was read off from plots.",
    needs=("torch",),
    verdict="rounding",
    tolerance=(1e-5, 1e-5),
)
def image_encoder() -> Rebuilt:
    """16×16 patches of an image to 192 features, LayerNorm, and two layers of 768 and 192 with GELU; the
    port is PyTorch."""
    import torch
    from torch.nn import functional as F

    weights = {
        "patches": normal(192, 3, 16, 16) / 8,
        "scale": 1 + normal(192) / 4,
        "shift": normal(192, seed=1),
        "w1": normal(192, 768) / 8,
        "w2": normal(768, 192) / 8,
        "shape": np.array([1, 192, -1]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "patches"], ["embedded"], strides=[16, 16]),
        helper.make_node("Reshape", ["embedded", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("LayerNormalization", ["tokens", "scale", "shift"], ["normed"]),
        helper.make_node("MatMul", ["normed", "w1"], ["wide"]),
        helper.make_node("Gelu", ["wide"], ["gelu"]),
        helper.make_node("MatMul", ["gelu", "w2"], ["features"]),
    ]
    x = normal(1, 3, 224, 224)
    w = {name: torch.from_numpy(array) for name, array in weights.items()}
    seen = {"embedded": F.conv2d(torch.from_numpy(x), w["patches"], stride=16)}
    seen["tokens"] = seen["embedded"].flatten(2).transpose(1, 2)
    seen["normed"] = F.layer_norm(seen["tokens"], (192,), w["scale"], w["shift"])
    seen["wide"] = seen["normed"] @ w["w1"]
    seen["gelu"] = F.gelu(seen["wide"])
    seen["features"] = seen["gelu"] @ w["w2"]
    proto = model(nodes, {"x": [1, 3, 224, 224]}, ["features"], weights, opset=20)
    return proto, {"x": x} | {name: one.numpy() for name, one in seen.items()}


DEPTH = 40  # convolutions of the deep stack


@case(
    2,
    "pytorch/pytorch#66528",
    "The boxes of a keypoint R-CNN differ by 2e-3, of which 1e-5 is allowed; the test was switched off.",
    needs=("torch",),
    verdict="rounding",
    tolerance=(1e-5, 1e-4),
)
def deep_stack() -> Rebuilt:
    """40 convolutions of 32 channels with ReLU, and a layer that gives 500 boxes in pixels; the port is
    PyTorch."""
    import torch
    from torch.nn import functional as F

    weights = {f"w{k}": normal(32, 32, 3, 3, seed=k) * np.float32(np.sqrt(2 / 288)) for k in range(DEPTH)}
    weights |= {"w_boxes": 100 * normal(32 * 64, 2000), "shape": np.array([1, -1])}
    nodes, x, last = [], normal(1, 32, 8, 8), "x"
    seen: dict[str, Array] = {"x": x}
    y = torch.from_numpy(x)
    for k in range(DEPTH):
        nodes.append(helper.make_node("Conv", [last, f"w{k}"], [f"conv{k}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"conv{k}"], [f"relu{k}"]))
        y = F.conv2d(y, torch.from_numpy(weights[f"w{k}"]), padding=1)
        seen[f"conv{k}"] = y.numpy()
        y = y.relu()
        last = f"relu{k}"
        seen[last] = y.numpy()
    nodes.append(helper.make_node("Reshape", [last, "shape"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "w_boxes"], ["boxes"]))
    seen["boxes"] = (y.flatten(1) @ torch.from_numpy(weights["w_boxes"])).numpy()
    return model(nodes, {"x": [1, 32, 8, 8]}, ["boxes"], weights), seen


@case(
    3,
    "keras-team/keras#20804",
    "A convolution of 1,024 channels, kernel 4×7, dilation 3×2, is not the same on two backends.",
    needs=("keras",),
    verdict="rounding",
    tolerance=(1e-7, 1e-7),
)
def dilated() -> Rebuilt:
    """The same layer with 8 filters on 16×16 places, inputs in [0, 1]; the port is Keras."""
    import keras

    x = np.random.default_rng(0).random((1, 1024, 16, 16), np.float32)
    limit = np.sqrt(6 / (28 * (1024 + 1024)))  # Keras' initializer
    w = np.random.default_rng(1).uniform(-limit, limit, (8, 1024, 4, 7)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[4, 6, 5, 6], dilations=[3, 2])
    y = keras.ops.conv(channels_last(x), hwio(w), padding="same", dilation_rate=(3, 2))
    proto = model([node], {"x": [1, 1024, 16, 16]}, ["y"], {"w": w})
    return proto, {"x": x, "y": channels_first(y)}


@case(
    4,
    "microsoft/onnxruntime#18946",
    "A convolution differs by 4.8e-7, which is 67 % of a value.",
    needs=("torch",),
    verdict="rounding",
    tolerance=(0.0, 1e-3),
)
def near_zero() -> Rebuilt:
    """Filters whose weights add up to 0 on an image that hardly changes, so that the results are near zero;
    the port is PyTorch."""
    import torch

    x = 1 + normal(1, 16, 24, 24) / 1000
    w = normal(16, 16, 3, 3) / 12
    w -= w.mean((1, 2, 3), keepdims=True)
    y = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w))
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    return model([node], {"x": [1, 16, 24, 24]}, ["y"], {"w": w}), {"x": x, "y": y.numpy()}


@case(
    5,
    "PINTO0309/onnx2tf#790",
    "A converted network differs by at most 9e-6; the converter says `Unmatched`.",
    needs=("tensorflow",),
    verdict="rounding",
    tolerance=(1e-6, 0.0),
)
def converted() -> Rebuilt:
    """Two 3×3 convolutions of 64 channels with a bias, ReLU and a residual sum; the port is TensorFlow."""
    import tensorflow as tf

    x = normal(1, 64, 16, 16)
    weights = {"w1": normal(64, 64, 3, 3) / 16, "w2": normal(64, 64, 3, 3) / 16, "b1": normal(64)}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "x"], ["y"]),
    ]
    c1 = tf.nn.conv2d(channels_last(x), hwio(weights["w1"]), 1, "SAME") + weights["b1"]
    r1 = tf.nn.relu(c1)
    c2 = tf.nn.conv2d(r1, hwio(weights["w2"]), 1, "SAME")
    seen = {"c1": c1, "r1": r1, "c2": c2, "y": c2 + channels_last(x)}
    proto = model(nodes, {"x": [1, 64, 16, 16]}, ["y"], weights)
    return proto, {"x": x} | {name: channels_first(one) for name, one in seen.items()}


@case(
    6,
    "keras-team/keras#19348",
    "GroupNormalization of 64×64×512 in 32 groups fails a relative tolerance of 1e-2.",
    needs=("keras",),
    verdict="rounding",
    tolerance=(0.0, 1e-2),
)
def group_norm() -> Rebuilt:
    """The report's own example, random numbers and ε 1e-6; the port is Keras."""
    import keras

    x = np.random.default_rng(0).standard_normal((1, 64, 64, 512), dtype=np.float32)
    y = keras.layers.GroupNormalization(groups=32, epsilon=1e-6)(x)
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=32, epsilon=1e-6)
    weights = {"s": np.ones(512, np.float32), "b": np.zeros(512, np.float32)}
    proto = model([node], {"x": [1, 512, 64, 64]}, ["y"], weights, opset=21)
    return proto, {"x": channels_first(x), "y": channels_first(y)}
