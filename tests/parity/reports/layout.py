"""Reports of where windows and values lie: padding, divisors, coordinates, order."""

import numpy as np
from onnx import helper

from parity.record.onnx_runtimes import record
from tests.parity.reports.report import Rebuilt, case, channels_first, channels_last, hwio
from tests.parity.small import model, normal


@case(
    16,
    "keras-team/keras#16363",
    "A ResNet with PyTorch's weights gives other results in Keras.",
    needs=("keras",),
    tensor="c",
    cause="padding on the other side: pads (0, 0, 1, 1) for (1, 1, 1, 1)",
)
def same_at_stride_2() -> Rebuilt:
    """A 3×3 convolution with stride 2 and padding 1, and ReLU; the port is Keras with `padding="same"`."""
    import keras

    x, w = normal(2, 16, 14, 14), normal(32, 16, 3, 3) / 12
    c = keras.ops.conv(channels_last(x), hwio(w), strides=2, padding="same")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
    ]
    proto = model(nodes, {"x": [2, 16, 14, 14]}, ["r"], {"w": w})
    return proto, {"x": x, "c": channels_first(c), "r": channels_first(keras.ops.relu(c))}


@case(
    17,
    "google/flax#963",
    "A ResNet with PyTorch's weights gives other results in Flax; to find out why took a month.",
    needs=("jax",),
    tensor="c",
    cause="padding on the other side: pads (2, 2, 3, 3) for (3, 3, 3, 3)",
)
def default_padding() -> Rebuilt:
    """ResNet's first layers: a 7×7 convolution with stride 2 and padding 3, ReLU, a max pool with padding
    1; the port is JAX with Flax's default, SAME."""
    import jax

    x, w = normal(1, 3, 32, 32), normal(16, 3, 7, 7) / 12
    axes = ("NCHW", "OIHW", "NCHW")
    given = jax.numpy.asarray(x), jax.numpy.asarray(w)
    c = jax.lax.conv_general_dilated(*given, (2, 2), "SAME", dimension_numbers=axes)
    r = jax.nn.relu(c)
    windows = ((1, 1, 3, 3), (1, 1, 2, 2), "SAME")
    p = jax.lax.reduce_window(r, -np.inf, jax.lax.max, *windows)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[3, 3, 3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    proto = model(nodes, {"x": [1, 3, 32, 32]}, ["p"], {"w": w})
    return proto, {"x": x, "c": np.asarray(c), "r": np.asarray(r), "p": np.asarray(p)}


@case(
    18,
    "microsoft/onnxruntime#14500",
    "A U-Net gives other results on one processor, where convolution and sum are fused.",
    needs=("onnxruntime",),
    verdict="rounding",
    mended="the fused kernel of onnxruntime 1.32 is right",
)
def fused() -> Rebuilt:
    """A 3×3 convolution of 32 channels, to which a tensor of the same shape is added; the port is
    onnxruntime with optimisation."""
    weights = {"w": normal(32, 32, 3, 3) / 16, "b": normal(32)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "x"], ["y"]),
    ]
    proto = model(nodes, {"x": [2, 32, 16, 16]}, ["y"], weights)
    return proto, record(proto, {"x": normal(2, 32, 16, 16)}, "onnxruntime-all")


@case(
    19,
    "pytorch/pytorch#183528",
    "Average pooling with `ceil_mode` and `count_include_pad`: 2.0 or 1.33?",
    needs=("openvino",),
    tensor="y",
    cause="divisor|divided",
)
def ceil_mode() -> Rebuilt:
    """The report's own example, the numbers 1 to 16; the port is OpenVINO, which divides by the window's
    size."""
    node = helper.make_node(
        "AveragePool",
        ["x"],
        ["y"],
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        ceil_mode=1,
        count_include_pad=1,
    )
    proto = model([node], {"x": [1, 1, 4, 4]}, ["y"], opset=19)
    x = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
    return proto, record(proto, {"x": x}, "openvino")


@case(
    20,
    "NVIDIA/TensorRT#273",
    "Bilinear resizing without `align_corners` gives other results than PyTorch's.",
    needs=("tensorflow",),
    tensor="y",
    cause="coordinates asymmetric for half_pixel",
)
def coordinates() -> Rebuilt:
    """A map of 8×8, twice as large; the port is TensorFlow 1's function, whose coordinates are
    asymmetric."""
    import tensorflow as tf

    x = normal(1, 4, 8, 8)
    y = tf.compat.v1.image.resize_bilinear(channels_last(x), (16, 16), align_corners=False)
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear")
    scales = np.array([1, 1, 2, 2], np.float32)
    proto = model([node], {"x": [1, 4, 8, 8]}, ["y"], {"scales": scales})
    return proto, {"x": x, "y": channels_first(y)}


@case(
    21,
    "PINTO0309/onnx2tf#56",
    "A transposed convolution with stride 3 and padding 1 comes out wrong.",
    needs=("tensorflow",),
    tensor="y",
    cause="padding at the beginning",
)
def cropped() -> Rebuilt:
    """3 to 8 channels, kernel 3×3; the port is TensorFlow without padding, cut off at the end alone."""
    import tensorflow as tf

    x, w = normal(1, 3, 7, 7), normal(3, 8, 3, 3)
    kernel = w.transpose(2, 3, 1, 0)  # H, W, out, in
    y = tf.nn.conv2d_transpose(channels_last(x), kernel, (1, 21, 21, 8), 3, "VALID")
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[3, 3], pads=[1, 1, 1, 1])
    proto = model([node], {"x": [1, 3, 7, 7]}, ["y"], {"w": w})
    return proto, {"x": x, "y": channels_first(y[:, :19, :19])}


@case(
    22,
    "PINTO0309/onnx2tf#91",
    "PixelShuffle comes out with its pixels in another order.",
    needs=("tensorflow",),
    tensor="y",
    cause="order of the channels DCR for CRD",
)
def pixel_shuffle() -> Rebuilt:
    """A convolution to 12 channels, which become 3 of twice the size; the port is TensorFlow's
    `depth_to_space`."""
    import tensorflow as tf

    x, w = normal(1, 4, 6, 6), normal(12, 4, 3, 3) / 6
    c = tf.nn.conv2d(channels_last(x), hwio(w), 1, "SAME")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    proto = model(nodes, {"x": [1, 4, 6, 6]}, ["y"], {"w": w})
    return proto, {"x": x, "c": channels_first(c), "y": channels_first(tf.nn.depth_to_space(c, 2))}
