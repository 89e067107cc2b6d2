"""Bugs of the update: the rate, the momentum and the decay in the wrong place or at the wrong time."""

from dataclasses import replace

import numpy as np

from lenet_numpy.train import gradients
from workshop.bugs.gallery import bug, issue

NUMPY_STEP, NUMPY_MAKE = "lenet_numpy.train.train_step", "lenet_numpy.train.make_optimizer"
TORCH_STEP, TORCH_SGD = "lenet_torch.port.train_step", "lenet_torch.train.SGD"


@bug(
    "the rate in the velocity",
    "numpy",
    NUMPY_STEP,
    story="v ← μv + ηg, w ← w − v, as in Caffe, gives the same trajectory until the rate changes.",
    where="step 5",
    named="learning rate inside the velocity",
    case=issue("pytorch/pytorch", 1099),
)
def rate_in_the_velocity(right, model, optimizer, images, labels, rate):
    loss, gradient = gradients(model, images, labels)
    for name, w in model.params.items():
        v = optimizer.velocity[name]
        v[...] = optimizer.momentum * v + rate * (gradient[name] + optimizer.weight_decay * w)
        w -= v
    return loss


@bug(
    "Keras' SGD",
    "tf",
    "lenet_tf.port.train_step",
    story="`keras.optimizers.SGD` uses v ← μv − ηg, so the velocity contains the old rate after a drop.",
    where="step 5",
    named="learning rate inside the velocity",
    case=issue("pytorch/pytorch", 1099),
)
def keras_sgd(right, model, optimizer, images, labels, rate):
    from lenet_tf.train import gradients as of_tf
    from lenet_tf.weights import named_parameters

    loss, gradient = of_tf(model, images, labels)
    for name, w in named_parameters(model).items():
        v = optimizer.velocity[name]
        v.assign(optimizer.momentum * v - rate * (gradient[name] + optimizer.weight_decay * w))
        w.assign_add(v)
    return loss


@bug(
    "dampening",
    "torch",
    TORCH_SGD,
    story="`SGD(dampening=0.9)` makes the velocity an average, with (1 − μ)·g.",
    where="step 1",
    named="momentum dampened",
    case=issue("HIPS/autograd", 289),
)
def dampening(right, parameters, **options):
    return right(parameters, dampening=options["momentum"], **options)


@bug(
    "Nesterov's momentum",
    "torch",
    TORCH_SGD,
    story="`nesterov=True` was copied from another recipe.",
    where="step 1",
    named="Nesterov momentum",
    case=issue("ml-explore/mlx", 87),
)
def nesterov(right, parameters, **options):
    return right(parameters, nesterov=True, **options)


@bug(
    "momentum left at its default",
    "torch",
    TORCH_SGD,
    story="`SGD(model.parameters(), lr=...)` has momentum 0 by default.",
    where="step 2",
    named="momentum missing",
)
def default_momentum(right, parameters, **options):
    return right(parameters, **options | {"momentum": 0})


@bug(
    "AdamW's decay",
    "torch",
    TORCH_STEP,
    story="The weights decay by w ← w(1 − ηλ) outside the velocity, as in AdamW.",
    where="step 2",
    named="decoupled weight decay",
    case=issue("leondgarse/Keras_insightface", 5),
)
def adamw_decay(right, model, optimizer, images, labels, rate):
    import torch

    decay = rate * optimizer.defaults["weight_decay"]
    decays = [decay * w.detach() for w in model.parameters()]
    optimizer.param_groups[0]["weight_decay"] = 0
    loss = right(model, optimizer, images, labels, rate)
    with torch.no_grad():
        for w, lost in zip(model.parameters(), decays, strict=True):
            w -= lost
    return loss


@bug(
    "L2 without its half",
    "numpy",
    NUMPY_MAKE,
    story="λ·Σw² is added to the loss; its gradient is 2λw, but weight decay is λw.",
    where="step 1",
    named="weight decay twice as large",
    case=issue("mlcommons/hpc", 22),
)
def l2_without_half(right, model, recipe, velocity):
    return right(model, replace(recipe, weight_decay=2 * recipe.weight_decay), velocity)


@bug(
    "biases spared from decay",
    "numpy",
    NUMPY_STEP,
    story="Only weights have decay, as is usual today; this recipe decays all parameters.",
    where="step 1",
    named="no weight decay on biases",
    case=issue("thtrieu/qclass_dl", 3),
)
def biases_not_decayed(right, model, optimizer, images, labels, rate):
    loss, gradient = gradients(model, images, labels)
    for name, w in model.params.items():
        v, decay = optimizer.velocity[name], optimizer.weight_decay if name.endswith("weight") else 0
        v[...] = optimizer.momentum * v + gradient[name] + decay * w
        w -= rate * v
    return loss


@bug(
    "Caffe's rate for biases",
    "numpy",
    NUMPY_STEP,
    story="`lr_mult: 2` for biases was usual in Caffe's prototxt files.",
    where="step 1",
    named="learning rate doubled for biases",
    case=issue("amoudgl/pygoturn", 12),
)
def caffe_bias_rate(right, model, optimizer, images, labels, rate):
    loss = right(model, optimizer, images, labels, rate)
    for name, v in optimizer.velocity.items():
        if name.endswith("bias"):
            model.params[name] -= rate * v
    return loss


@bug(
    "schedule a step late",
    "torch",
    TORCH_STEP,
    story="The rate is set after `optimizer.step()`, so it takes effect a step late.",
    where="step 5",
    named="learning rate one step late",
    case=issue("cjlin1/simpleNN", 3),
)
def schedule_a_step_late(right, model, optimizer, images, labels, rate):
    loss = right(model, optimizer, images, labels, optimizer.param_groups[0]["lr"])
    optimizer.param_groups[0]["lr"] = rate
    return loss


@bug(
    "rate traced once",
    "tf",
    "lenet_tf.port.train_step",
    story="The rate is a Python number, which `tf.function` reads only when it traces the step.",
    where="step 5",
    named="learning rate never drops",
)
def rate_traced_once(right, model, optimizer, images, labels, rate):
    if not hasattr(optimizer, "traced"):
        optimizer.traced = rate
    return right(model, optimizer, images, labels, optimizer.traced)


@bug(
    "a new optimizer at the drop",
    "torch",
    TORCH_STEP,
    story="The rate was changed by creating a new optimizer, whose velocity is zero.",
    where="step 5",
    named="velocity reset at a rate drop",
)
def new_optimizer_at_the_drop(right, model, optimizer, images, labels, rate):
    if rate != optimizer.param_groups[0]["lr"]:
        optimizer.state.clear()
    return right(model, optimizer, images, labels, rate)


@bug(
    "velocity updated last",
    "numpy",
    NUMPY_STEP,
    story="The parameters move before the new gradient is added to the velocity.",
    where="step 1",
    named="velocity one step late",
)
def velocity_updated_last(right, model, optimizer, images, labels, rate):
    loss, gradient = gradients(model, images, labels)
    for name, w in model.params.items():
        v, decay = optimizer.velocity[name], optimizer.weight_decay * w
        w -= rate * v
        v[...] = optimizer.momentum * v + gradient[name] + decay
    return loss


@bug(
    "zeroed before the loop",
    "torch",
    "lenet_torch.train.SGD.zero_grad",
    story="`optimizer.zero_grad()` is before the loop, not in it, so gradients of all steps accumulate.",
    where="step 2",
    named="gradients accumulated across steps",
    case=issue("karpathy/llm.c", 548),
)
def zeroed_before_the_loop(right, optimizer):
    if not hasattr(optimizer, "zeroed"):
        optimizer.zeroed = True
        right(optimizer)


@bug(
    "drop_last",
    "numpy",
    NUMPY_STEP,
    story="`drop_last=True` gives all batches the same shape, but skips the short last batch.",
    where="step 3",
    named="short batch dropped",
    case=issue("thuml/Autoformer", 104),
)
def drop_last(right, model, optimizer, images, labels, rate):
    return right(model, optimizer, images, labels, rate) if len(labels) == 8 else np.float32("nan")


@bug(
    "a layer left out of the optimizer",
    "torch",
    TORCH_SGD,
    story="The list of parameters was written by hand, and conv2 is not on it.",
    where="step 1",
    named="conv2 not trained",
)
def layer_not_optimized(right, parameters, **options):
    optimizer = right(parameters, **options)
    group = optimizer.param_groups[0]
    group["params"] = [w for k, w in enumerate(group["params"]) if k not in (2, 3)]
    return optimizer
