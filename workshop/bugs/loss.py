"""Bugs of the loss: wrong inputs, wrong axes, wrong averages."""

import numpy as np

from workshop.bugs.gallery import bug, issue

NUMPY = "lenet_numpy.train.softmax_cross_entropy"
NUMPY_BACKWARD = "lenet_numpy.train.softmax_cross_entropy_backward"
TORCH = "lenet_torch.train.F.cross_entropy"


@bug(
    "softmax before cross-entropy",
    "torch",
    TORCH,
    story="`F.cross_entropy` expects logits and applies softmax itself, but it got probabilities.",
    where="loss",
    named="softmax applied twice",
    case=issue("tflearn/tflearn", 562),
)
def softmax_twice(right, logits, labels):
    return right(logits.softmax(dim=1), labels)


@bug(
    "epsilon in the logarithm",
    "torch",
    TORCH,
    story="`torch.log(probabilities + 1e-8)` avoids log(0); log_softmax needs no epsilon.",
    where="loss",
    named="1e-08 added to probabilities",
    case=issue("tensorflow/tensorflow", 41595),
)
def epsilon_in_the_log(right, logits, labels):
    import torch
    from torch.nn.functional import nll_loss

    return nll_loss(torch.log(logits.softmax(dim=1) + 1e-8), labels)


@bug(
    "Keras' default loss",
    "tf",
    "lenet_tf.port.gradients",
    story="`from_logits=False` is the default: probabilities are clipped at 1e-7 and normalised again.",
    where="loss",
    named="probabilities clipped at 1e-07 and normalised again",
    case=issue("keras-team/keras", 17634),
)
def keras_default_loss(right, model, images, labels):
    import keras
    import tensorflow as tf

    from lenet_tf.weights import named_parameters

    with tf.GradientTape() as tape:
        probabilities = tf.nn.softmax(model(images))
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
    return loss, tape.gradient(loss, named_parameters(model))


@bug(
    "NLL of probabilities",
    "torch",
    TORCH,
    story="`F.nll_loss` expects log-probabilities; without the logarithm it is another loss.",
    where="loss",
    named="probability without its logarithm",
)
def nll_of_probabilities(right, logits, labels):
    from torch.nn.functional import nll_loss

    return nll_loss(logits.softmax(dim=1), labels)


@bug(
    "NLL of logits",
    "torch",
    TORCH,
    story="log_softmax was removed from the model, but `F.nll_loss` was kept.",
    where="loss",
    named="logits taken for log-probabilities",
)
def nll_of_logits(right, logits, labels):
    from torch.nn.functional import nll_loss

    return nll_loss(logits, labels)


@bug(
    "smoothed labels",
    "torch",
    TORCH,
    story="`label_smoothing=0.1` was copied from a recipe for ImageNet.",
    where="loss",
    named="label smoothing",
)
def smoothed_labels(right, logits, labels):
    return right(logits, labels, label_smoothing=0.1)


@bug(
    "sum for mean",
    "torch",
    TORCH,
    story='`reduction="sum"` was set, as in many hand-written losses.',
    where="loss",
    named="loss summed over the batch",
    case=issue("PreferredAI/cornac", 537),
)
def sum_for_mean(right, logits, labels):
    return right(logits, labels, reduction="sum")


@bug(
    "mean over a matrix",
    "tf",
    "lenet_tf.train.tf.nn.sparse_softmax_cross_entropy_with_logits",
    story="−one_hot · log p is averaged over all N × 10 entries instead of N losses.",
    where="loss",
    named="loss averaged over the classes",
)
def mean_over_a_matrix(right, labels, logits):
    import tensorflow as tf

    return -tf.one_hot(labels, 10, dtype=logits.dtype) * tf.nn.log_softmax(logits)


@bug(
    "divided twice",
    "numpy",
    NUMPY_BACKWARD,
    story="The loss is a mean, and the trainer divides its gradient by the batch size again.",
    where="gradient of logits.weight",
    named="gradients divided by the batch size twice",
    case=issue("bhanML/Co-teaching", 4),
)
def divided_twice(right, cache):
    dlogits = right(cache)
    return dlogits / len(dlogits)


@bug(
    "1/N in the loss alone",
    "numpy",
    NUMPY_BACKWARD,
    story="The loss is a mean, but its gradient p − y was copied from a derivation for a single digit.",
    where="gradient of logits.weight",
    named="gradients summed over the batch",
    case=issue("pytorch/pytorch", 10148),
)
def mean_in_the_loss_alone(right, cache):
    dlogits = right(cache)
    return dlogits * len(dlogits)


@bug(
    "maximum along the wrong axis",
    "numpy",
    NUMPY,
    story="The shift that prevents overflow is each class's maximum over the batch.",
    where="loss",
    named="maximum over the batch in softmax",
    case=issue("manassharma07/crysx_nn", 7),
)
def maximum_along_batch(right, logits, labels):
    return right(logits - logits.max(axis=0), labels)


@bug(
    "softmax as in the book",
    "numpy",
    NUMPY,
    story="exp(z) / Σ exp(z) is right until a logit overflows, late in training.",
    where="loss",
    named="softmax without its shift",
    case=issue("zackchase/mxnet-the-straight-dope", 3),
)
def softmax_as_in_the_book(right, logits, labels):
    exponentials = np.exp(logits)
    totals = exponentials.sum(axis=1, keepdims=True)
    losses = np.log(totals[:, 0]) - logits[np.arange(len(labels)), labels]
    return losses.mean(), (exponentials / totals, labels)


@bug(
    "clipped in the loss",
    "numpy",
    NUMPY,
    story="log(clip(p, 1e-12, 1)) hides an infinite loss; the gradient was derived without the clip.",
    where="loss",
    named="probabilities clipped at 1e-12 in the loss",
    case=issue("keras-team/keras", 17634),
)
def clipped_in_the_loss(right, logits, labels):
    _, cache = right(logits, labels)
    picked = cache[0][np.arange(len(labels)), labels]
    return -np.log(np.clip(picked, 1e-12, 1 - 1e-12)).mean(), cache
