"""Bugs of the backward pass; the forward pass is right."""

import numpy as np

from workshop.bugs.gallery import bug, issue

CONV, POOL, RELU, LINEAR = (
    f"lenet_numpy.model.{name}_backward" for name in ("conv2d", "max_pool2d", "relu", "linear")
)
TORCH = "lenet_torch.port.gradients"


@bug(
    "kernel not turned on the way back",
    "numpy",
    CONV,
    story="dx is a correlation with the kernel turned by 180 degrees, but the kernel was not turned.",
    where="gradient of conv1.weight",
    named="kernel not turned in the input gradient",
    case=issue("parasdahal/deepnet", 8),
)
def kernel_not_turned(right, dy, cache):
    cols, w, *rest = cache
    return right(dy, (cols, w[:, :, ::-1, ::-1], *rest))


@bug(
    "col2im overwrites",
    "numpy",
    CONV,
    story="`dx[...] =` was written for overlapping patches; it must be `+=`.",
    where="gradient of conv1.weight",
    named="col2im keeps the last overlap",
    case=issue("ravin-d-27/PyDeepFlow", 85),
)
def col2im_overwrites(right, dy, cache):
    dx, dw, db = right(dy, cache)
    w, (rows, columns) = cache[1], dy.shape[2:]
    dx = np.zeros_like(dx)
    for i, j in np.ndindex(w.shape[2:]):
        dx[:, :, i : i + rows, j : j + columns] = np.einsum("nopq,oc->ncpq", dy, w[:, :, i, j])
    return dx, dw, db


@bug(
    "bias gradient averaged",
    "numpy",
    "lenet_numpy.model.conv2d_parameter_gradients",
    story="db was computed as the mean over positions; it must be the sum.",
    where="gradient of conv1.bias",
    named="bias gradient averaged over positions",
    case=issue("HomericIntelligence/Odyssey", 2949),
)
def bias_gradient_averaged(right, dy, cache):
    dw, _ = right(dy, cache)
    return dw, dy.mean(axis=(2, 3)).sum(axis=0)


@bug(
    "every winner takes all",
    "numpy",
    POOL,
    story="`dy * (x == y)`: if a window's maximum occurs twice, its gradient is counted twice.",
    where="gradient of conv2.weight",
    named="ties rewarded to all winners",
    case=issue("Theano/Theano", 5248),
)
def every_winner_takes_all(right, dy, cache):
    x, y, size, _ = cache  # windows do not overlap

    def spread(a):
        return a.repeat(size, axis=2).repeat(size, axis=3)

    return spread(dy) * (x == spread(y))


@bug(
    "pooling by reduce_max",
    "torch",
    "lenet_torch.port.LeNet",
    story="`amax` over unfolded windows gives the same maximum, but splits the gradient among ties.",
    where="gradient of conv2.weight",
    named="ties split among winners",
    case=issue("tensorflow/tensorflow", 4886),
)
def pooling_by_reduce_max(right, dtype):
    from torch import nn

    class ReduceMax(nn.Module):
        def forward(self, x):
            return x.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-2, -1))

    model = right(dtype)
    model.pool1, model.pool2 = ReduceMax(), ReduceMax()
    return model


@bug(
    "pooling's gradient as an average's",
    "numpy",
    POOL,
    story="The forward pass was changed from average to maximum, but the backward pass was not.",
    where="gradient of conv2.weight",
    named="pooling gradient spread as an average",
)
def pooling_gradient_averaged(right, dy, cache):
    size = cache[2]
    return (dy / dy.dtype.type(size**2)).repeat(size, axis=2).repeat(size, axis=3)


@bug(
    "gate on the wrong side",
    "numpy",
    RELU,
    story="`np.maximum(dy, 0)`: the gate must depend on the sign of the input, not of the cotangent.",
    where="gradient of fc2.weight",
    named="ReLU applied to the cotangent",
)
def gate_on_the_wrong_side(right, dy, cache):
    return np.maximum(dy, 0)


@bug(
    "gate left out",
    "numpy",
    RELU,
    story="The backward pass of the dense layers was written before they had an activation.",
    where="gradient of fc2.weight",
    named="ReLU's gate missing in the backward pass",
)
def gate_left_out(right, dy, cache):
    return dy


@bug(
    "gradient buffer overwritten",
    "numpy",
    LINEAR,
    story="A loop over the digits assigns dw instead of adding to it, so only the last digit counts.",
    where="gradient of logits.weight",
    named="gradient of the last digit alone",
    case=issue("LBANN/lbann", 1022),
)
def gradient_overwritten(right, dy, cache):
    dx, _, _ = right(dy, cache)
    _, dw, db = right(dy[-1:], (cache[0][-1:], cache[1]))
    return dx, dw, db


@bug(
    "features detached",
    "torch",
    TORCH,
    story="`.detach()` after the convolutions, added to inspect the features, cuts their gradients off.",
    where="gradient of conv2.weight",
    named="detached before fc1",
)
def features_detached(right, model, images, labels):
    import torch

    x = images
    for name, layer in model.named_children():
        x = layer(x.detach() if name == "fc1" else x)
    loss = torch.nn.functional.cross_entropy(x, labels)
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return loss, dict(zip(parameters, found, strict=True))


@bug(
    "weight detached",
    "torch",
    TORCH,
    story="`F.linear(x, self.fc2.weight.detach(), ...)` keeps the weight out of the graph.",
    where="gradient of fc2.weight",
    named="weight gradient missing",
)
def weight_detached(right, model, images, labels):
    import torch

    loss, gradient = right(model, images, labels)
    return loss, gradient | {"fc2.weight": torch.zeros_like(gradient["fc2.weight"])}


@bug(
    "zero_grad forgotten",
    "torch",
    TORCH,
    story="`loss.backward()` adds to the gradients that an earlier batch left in `.grad`.",
    where="gradient of logits.weight",
    named="gradients accumulated across calls",
    case=issue("karpathy/llm.c", 548),
)
def zero_grad_forgotten(right, model, images, labels):
    import torch

    loss = torch.nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    return loss, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@bug(
    "gradient reshaped",
    "tf",
    "lenet_tf.port.gradients",
    story="Weights are converted back by a transpose, gradients by a reshape, which only fits the shape.",
    where="gradient of conv2.weight",
    named="weight gradient reshaped from HWIO",
    case=issue("Selen-Suyue/DensePolicy2D", 3),
)
def gradient_reshaped(right, model, images, labels):
    import tensorflow as tf

    loss, gradient = right(model, images, labels)
    as_if_shared = tf.reshape(gradient["conv2.weight"], (16, 6, 5, 5))
    return loss, gradient | {"conv2.weight": tf.transpose(as_if_shared, (2, 3, 1, 0))}
