"""Bugs of the forward pass: kernels, channels, padding, pooling, flattening, activations, biases."""

import numpy as np

from workshop.bugs.gallery import bug, issue

CONV, POOL, LINEAR = (f"lenet_numpy.model.{name}" for name in ("conv2d", "max_pool2d", "linear"))
TORCH_MODEL = "lenet_torch.port.LeNet"
TF_WEIGHTS = "lenet_tf.weights.to_framework"

# --- convolution -------------------------------------------------------------------------------


@bug(
    "true convolution",
    "numpy",
    CONV,
    story="scipy.signal.convolve flips its kernel, as Theano does; these weights need a correlation.",
    where="conv1",
    named="kernel flipped",
    case=issue("keras-team/keras", 3015),
)
def true_convolution(right, x, w, b, **geometry):
    return right(x, w[:, :, ::-1, ::-1], b, **geometry)


@bug(
    "all axes reversed",
    "tf",
    TF_WEIGHTS,
    story="`kernel.T` was meant to turn OIHW into HWIO, but it gives WHIO.",
    where="conv1",
    named="kernel height and width swapped",
    case=issue("hyseob/PyMDNet", 3),
)
def axes_reversed(right, name, array):
    return array.T if name == "conv1.weight" else right(name, array)


@bug(
    "kernel reshaped",
    "tf",
    TF_WEIGHTS,
    story="The shape did not fit, so the kernel was reshaped to HWIO.",
    where="conv2",
    named="weights reshaped to HWIO, not transposed",
    case=issue("Selen-Suyue/DensePolicy2D", 3),
)
def kernel_reshaped(right, name, array):
    return array.reshape(right(name, array).shape) if name == "conv2.weight" else right(name, array)


@bug(
    "kernel permuted and viewed",
    "torch",
    "lenet_torch.weights.to_framework",
    story="A kernel from Keras is brought to OIHW by `reshape` after `permute` had already changed its axes.",
    where="conv2",
    named="weights reshaped from HWIO, not transposed",
    case=issue("hyseob/PyMDNet", 3),
)
def kernel_viewed(right, name, array):
    value = right(name, array)
    return value.permute(2, 3, 1, 0).reshape(value.shape) if name == "conv2.weight" else value


@bug(
    "right for gray images",
    "numpy",
    CONV,
    story="The convolution was tested with one input channel, and does not sum over several.",
    where="conv2",
    named="only the first input channel",
    case=issue("LazaroHurtado/micrograd-rs", 31),
)
def gray_images_only(right, x, w, b, **geometry):
    return right(x[:, :1], w[:, :1], b, **geometry)


@bug(
    "channels averaged",
    "numpy",
    CONV,
    story="`mean` over the input channels was written instead of `sum`.",
    where="conv2",
    named="mean over input channels",
)
def channels_averaged(right, x, w, b, **geometry):
    return right(x, w / w.dtype.type(w.shape[1]), b, **geometry)


@bug(
    "padded on one side",
    "numpy",
    CONV,
    story="All four rows of zeros are added before the image and none after it; the shape is right.",
    where="conv1",
    named="padding on the other side: pads (4, 4, 0, 0) for (2, 2, 2, 2)",
    case=issue("keras-team/keras", 16363),
)
def padded_on_one_side(right, x, w, b, *, padding=0):
    return right(np.pad(x, ((0, 0), (0, 0), (2 * padding, 0), (2 * padding, 0))), w, b)


@bug(
    "reflected border",
    "torch",
    TORCH_MODEL,
    story='`padding_mode="reflect"` was copied from a network for photographs.',
    where="conv1",
    named="padding mode reflect for zeros",
    case=issue("google/flax", 963),
)
def reflected_border(right, dtype):
    import torch

    model = right(dtype)
    model.conv1 = torch.nn.Conv2d(1, 6, 5, padding=2, padding_mode="reflect", dtype=getattr(torch, dtype))
    return model


# --- pooling and activation --------------------------------------------------------------------


@bug(
    "LeNet-5's own pooling",
    "torch",
    TORCH_MODEL,
    story="The paper averages; the tutorials that these weights follow take the maximum.",
    where="pool1",
    named="average pooling for max pooling",
    case=issue("d2l-ai/d2l-en", 1362),
)
def lenet5_pooling(right, dtype):
    from torch import nn

    model = right(dtype)
    model.pool1, model.pool2 = nn.AvgPool2d(2), nn.AvgPool2d(2)
    return model


@bug(
    "AlexNet's pooling",
    "torch",
    TORCH_MODEL,
    story="Overlapping 3×3 windows with stride 2 and padding 1 give the same shapes.",
    where="pool1",
    named="3×3 pooling with padding 1",
    case=issue("d2l-ai/d2l-en", 1270),
)
def alexnet_pooling(right, dtype):
    from torch import nn

    model = right(dtype)
    model.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
    return model


@bug(
    "strided slice for a pooling",
    "numpy",
    POOL,
    story="`x[:, :, ::2, ::2]` halves the maps too, but takes no maximum.",
    where="pool1",
    named="subsampled, not pooled",
)
def strided_slice(right, x, *, size, stride):
    return x[:, :, ::stride, ::stride], right(x, size=size, stride=stride)[1]


@bug(
    "ReLU forgotten",
    "torch",
    TORCH_MODEL,
    story="The dense layers were copied from code in which the activation is an argument.",
    where="relu3",
    named="no activation for ReLU",
    case=issue("intel/ipex-llm", 2411),
)
def relu_forgotten(right, dtype):
    from torch import nn

    model = right(dtype)
    model.relu3 = nn.Identity()
    return model


@bug(
    "LeNet-5's own activation",
    "torch",
    TORCH_MODEL,
    story="The paper uses tanh; these weights were trained with ReLU.",
    where="relu1",
    named="tanh for ReLU",
    case=issue("ChawDoe/LeNet5-MNIST-PyTorch", 9),
)
def lenet5_activation(right, dtype):
    from torch import nn

    model = right(dtype)
    model.relu1 = nn.Tanh()
    return model


@bug(
    "leaky by default",
    "tf",
    "lenet_tf.model.layers.ReLU",
    story="Keras' LeakyReLU multiplies negative values by 0.3, PyTorch's by 0.01; neither is ReLU.",
    where="relu1",
    named="leaky ReLU (0.3) for ReLU",
)
def leaky_by_default(right, **options):
    from keras.layers import LeakyReLU

    return LeakyReLU(**options)


@bug(
    "hooks on a ReLU in place",
    "torch",
    TORCH_MODEL,
    story="`nn.ReLU(inplace=True)` overwrites the activation that a hook kept of the layer before it.",
    where="conv1",
    named="handed out after ReLU",
)
def relu_in_place(right, dtype):
    model = right(dtype)
    for name, layer in model.named_children():
        if name.startswith("relu"):
            layer.inplace = True
    return model


# --- flatten, dense layers, biases, output -----------------------------------------------------


@bug(
    "channels-last weights expected",
    "tf",
    TF_WEIGHTS,
    story="TensorFlow flattens in H, W, C order, but the columns of fc1 are still in C, H, W order.",
    where="fc1",
    named="fc1 expects maps in HWC order",
    case=issue("gzuidhof/nn-transfer", 16),
)
def channels_last_weights(right, name, array):
    return array.T if name == "fc1.weight" else right(name, array)


@bug(
    "permuted again before flattening",
    "torch",
    TORCH_MODEL,
    story="A channels-last network was ported with its permute to H, W, C; these weights need C, H, W.",
    where="flatten",
    named="flattened in H, W, C order",
    case=issue("gzuidhof/nn-transfer", 17),
)
def permuted_again(right, dtype):
    from torch import nn

    class ChannelsLast(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    model = right(dtype)
    model.flatten = ChannelsLast()
    return model


@bug(
    "dense weights reshaped",
    "tf",
    TF_WEIGHTS,
    story="(out, in) was turned into (in, out) by `reshape`, which scrambles the values, not by a transpose.",
    where="fc2",
    named="weights reshaped to the transposed shape, not transposed",
    case=issue("Selen-Suyue/DensePolicy2D", 3),
)
def dense_reshaped(right, name, array):
    return array.reshape(right(name, array).shape) if name == "fc2.weight" else right(name, array)


@bug(
    "kernels loaded, biases not",
    "tf",
    "lenet_tf.weights.load_params",
    story="A loop over `layer.kernel` loads all weights, but leaves the biases at Keras' initial zero.",
    where="conv1",
    named="bias missing",
    case=issue("amoudgl/pygoturn", 12),
)
def biases_not_loaded(right, model, params):
    right(model, {name: w if name.endswith("weight") else w * 0 for name, w in params.items()})


@bug(
    "bias by the layer and by hand",
    "numpy",
    LINEAR,
    story="The bias was added by hand after the layer, but the layer still adds it.",
    where="fc1",
    named="bias doubled",
)
def bias_added_twice(right, x, w, b):
    y, cache = right(x, w, b)
    return y + b, cache


@bug(
    "one bias for all",
    "numpy",
    CONV,
    story="`b[0]` was right when the layer had one output, and was not changed.",
    where="conv1",
    named="first bias for every output",
)
def one_bias_for_all(right, x, w, b, **geometry):
    return right(x, w, np.full_like(b, b[0]), **geometry)


@bug(
    "paired by order",
    "numpy",
    "lenet_numpy.weights.load_params",
    story="Two lists of parameters are paired by order; the last layer gets the bias before it, cut to size.",
    where="logits",
    named="bias of fc2",
    case="https://github.com/PaddlePaddle/PaDiff/blob/develop/docs/FAQs.md",
)
def paired_by_order(right, model, params):
    right(model, params | {"logits.bias": params["fc2.bias"][:10]})


@bug(
    "dropout's scale at test time",
    "numpy",
    LINEAR,
    story="The original dropout halved activations at test time; today's dropout scales only in training.",
    where="fc2",
    named="output halved",
    case=issue("kbreininger/tutorial-dlframework", 3),
)
def dropout_scale(right, x, w, b):
    y, cache = right(x, w, b)
    return (y / 2 if len(w) == 84 else y), cache


@bug(
    "ReLU behind every dense layer",
    "numpy",
    LINEAR,
    story="The activation is part of every dense layer, including the last.",
    where="logits",
    named="ReLU on the result",
    case=issue("intel/ipex-llm", 2411),
)
def relu_on_logits(right, x, w, b):
    y, cache = right(x, w, b)
    return (np.maximum(y, 0) if len(w) == 10 else y), cache


@bug(
    "probabilities for logits",
    "tf",
    "lenet_tf.model.layers.Dense",
    story='`Dense(10, activation="softmax")`, as in most Keras examples, with a loss that expects logits.',
    where="logits",
    named="softmax in the model",
    case=issue("keras-team/keras", 6143),
)
def probabilities_for_logits(right, units, **options):
    return right(units, activation="softmax" if units == 10 else None, **options)
