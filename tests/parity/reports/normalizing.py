"""Reports of normalizations: ε, the statistics, and the order of groups."""

import numpy as np
from onnx import helper

from tests.parity.reports.report import Array, Rebuilt, case, channels_first, channels_last, hwio
from tests.parity.small import model, normal

STATISTICS = ("scale", "shift", "mean", "variance")


def statistics(channels: int) -> dict[str, Array]:
    """The parameters of a batch normalization, with some small variances, for which ε matters."""
    rng = np.random.default_rng(channels)
    return {
        "scale": rng.uniform(0.5, 1.5, channels).astype(np.float32),
        "shift": normal(channels, seed=1),
        "mean": normal(channels, seed=2),
        "variance": rng.uniform(0.005, 1, channels).astype(np.float32),
    }


def keras_batch_norm(y: Array, given: dict[str, Array], **options: float) -> Array:
    """Keras' layer with these parameters, on N, H, W, C."""
    import keras

    layer = keras.layers.BatchNormalization(**options)
    layer.build(y.shape)
    layer.set_weights([given[name] for name in STATISTICS])
    return np.asarray(layer(y, training=False))


@case(
    10,
    "gzuidhof/nn-transfer#7",
    "LeNet with BatchNorm, moved from PyTorch to Keras, gives other results.",
    needs=("keras",),
    tensor="n",
    cause="epsilon 0.001 for 1e-05",
)
def lenet() -> Rebuilt:
    """LeNet's first convolution, BatchNorm and ReLU; the port is Keras with its default ε, 1e-3."""
    import keras

    x, w, given = normal(2, 1, 28, 28), normal(6, 1, 5, 5) / 5, statistics(6)
    c = np.asarray(keras.ops.conv(channels_last(x), hwio(w), padding="valid"))
    n = keras_batch_norm(c, given)
    r = np.asarray(keras.ops.relu(n))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", *STATISTICS], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
    ]
    proto = model(nodes, {"x": [2, 1, 28, 28]}, ["r"], {"w": w} | given)
    return proto, {"x": x} | {name: channels_first(one) for name, one in {"c": c, "n": n, "r": r}.items()}


@case(
    11,
    "keras-team/keras-applications#12, keras-team/keras#10427",
    "DenseNet with converted weights is less accurate than the original.",
    needs=("keras",),
    tensor="n",
    cause="epsilon outside of the root",
)
def densenet() -> Rebuilt:
    """BatchNorm and ReLU before a 1×1 convolution; the port is Keras' operations with ε added to the square
    root."""
    import keras

    x, w, given = normal(2, 24, 8, 8), normal(12, 24, 1, 1) / 5, statistics(24)
    scale, shift, mean, variance = (given[name] for name in STATISTICS)
    divisor = keras.ops.sqrt(variance) + 1e-5
    n = (channels_last(x) - mean) / divisor * scale + shift
    r = keras.ops.relu(n)
    y = keras.ops.conv(r, hwio(w), padding="valid")
    nodes = [
        helper.make_node("BatchNormalization", ["x", *STATISTICS], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["y"]),
    ]
    proto = model(nodes, {"x": [2, 24, 8, 8]}, ["y"], {"w": w} | given)
    return proto, {"x": x} | {name: channels_first(one) for name, one in {"n": n, "r": r, "y": y}.items()}


@case(
    12,
    "huggingface/transformers#18597",
    "CvT in TensorFlow differs by 1e-2 where 2e-5 is asked for.",
    needs=("keras",),
    tensor="n",
    cause="epsilon 0.001 for 1e-05",
)
def cvt() -> Rebuilt:
    """CvT's projection: a depthwise 3×3 convolution and BatchNorm; the port is Keras, with ε and momentum
    left at their defaults."""
    import keras

    x, w, given = normal(1, 32, 14, 14), normal(32, 1, 3, 3) / 3, statistics(32)
    kernel = w.transpose(2, 3, 0, 1)  # H, W, channels, multiplier
    c = np.asarray(keras.ops.depthwise_conv(channels_last(x), kernel, padding="same"))
    n = keras_batch_norm(c, given)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], group=32),
        helper.make_node("BatchNormalization", ["c", *STATISTICS], ["n"]),
    ]
    proto = model(nodes, {"x": [1, 32, 14, 14]}, ["n"], {"w": w} | given)
    return proto, {"x": x, "c": channels_first(c), "n": channels_first(n)}


@case(
    13,
    "huggingface/candle#271",
    "LLaMA gives other words: is RMSNorm's ε 1e-5 or 1e-6?",
    needs=("torch",),
    tensor="n",
    cause="epsilon 1e-06 for 1e-05",
)
def llama() -> Rebuilt:
    """RMSNorm of 8 embeddings of 128 numbers near 0.02; the port is PyTorch with ε 1e-6."""
    import torch

    x, scale = normal(1, 8, 128) / 50, 1 + normal(128) / 4
    n = torch.nn.functional.rms_norm(torch.from_numpy(x), (128,), torch.from_numpy(scale), eps=1e-6)
    node = helper.make_node("RMSNormalization", ["x", "scale"], ["n"], epsilon=1e-5)
    proto = model([node], {"x": [1, 8, 128]}, ["n"], {"scale": scale}, opset=23)
    return proto, {"x": x, "n": n.numpy()}


@case(
    14,
    "microsoft/onnxruntime#4589",
    "PyTorch and onnxruntime give different results for an exported network.",
    needs=("torch",),
    tensor="n",
    cause="batch statistics",
)
def training_mode() -> Rebuilt:
    """Convolution, BatchNorm and ReLU; the port is the PyTorch module without `eval()`."""
    import torch

    x, w, given = normal(4, 3, 16, 16), normal(8, 3, 3, 3) / 5, statistics(8)
    scale, shift, mean, variance = (torch.from_numpy(given[name].copy()) for name in STATISTICS)
    c = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w), padding=1)
    n = torch.nn.functional.batch_norm(c, mean, variance, scale, shift, training=True)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *STATISTICS], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
    ]
    proto = model(nodes, {"x": [4, 3, 16, 16]}, ["r"], {"w": w} | given)
    return proto, {"x": x, "c": c.numpy(), "n": n.numpy(), "r": n.relu().numpy()}


@case(
    15,
    "titu1994/Keras-Group-Normalization#6",
    "GroupNorm for Keras does not give PyTorch's results.",
    needs=("keras",),
    tensor="n",
    cause="channels grouped in another order",
)
def groups() -> Rebuilt:
    """16 channels in 4 groups; the port is Keras' operations with every fourth channel in a group."""
    import keras

    x = normal(2, 16, 6, 6)
    weights = {"scale": 1 + normal(16) / 4, "shift": normal(16, seed=1)}
    grouped = keras.ops.reshape(channels_last(x), (2, 6, 6, 4, 4))  # channels of a group, then groups
    mean, variance = keras.ops.moments(grouped, (1, 2, 3), keepdims=True)
    n = keras.ops.reshape((grouped - mean) / keras.ops.sqrt(variance + 1e-5), (2, 6, 6, 16))
    n = channels_first(n * weights["scale"] + weights["shift"])
    node = helper.make_node("GroupNormalization", ["x", "scale", "shift"], ["n"], num_groups=4)
    return model([node], {"x": [2, 16, 6, 6]}, ["n"], weights, opset=21), {"x": x, "n": n}
