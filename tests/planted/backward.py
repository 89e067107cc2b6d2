"""Mistakes of the loss and the gradients, planted in functions of the NumPy port."""

import numpy as np

import lenet_numpy.layers as layers

CONV = "lenet_numpy.model.conv2d_backward"
POOL = "lenet_numpy.model.max_pool2d_backward"
RELU = "lenet_numpy.model.relu_backward"
LINEAR = "lenet_numpy.model.linear_backward"
LOSS = "lenet_numpy.train.softmax_cross_entropy"
DLOGITS = "lenet_numpy.train.softmax_cross_entropy_backward"
MODEL = "lenet_numpy.model.LeNet.backward"


def label_entries(p, labels):
    return p[np.arange(len(labels)), labels]


# --- loss --------------------------------------------------------------------------------------


def loss_times(factor):
    return lambda right: lambda z, k: (lambda loss, cache: (loss * factor(len(k)), cache))(*right(z, k))


def loss_of_probabilities(f):
    """−mean f(p of the label), the gradient as it should be."""

    def make(right):
        def loss(z, k):
            _, cache = right(z, k)
            with np.errstate(divide="ignore"):
                return -f(label_entries(cache[0], k)).mean(), cache

        return loss

    return make


def softmax_of(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def twice(right):
    """Softmax of softmax, and the gradient through both, which `handed_on` hands on."""

    def loss(z, k):
        p = softmax_of(z)
        value, (q, _) = right(p, k)
        d = q.copy()
        d[np.arange(len(k)), k] -= 1
        return value, (p * (d - (d * p).sum(axis=1, keepdims=True)) / len(k), k)

    return loss


def handed_on(right):
    return lambda cache: cache[0]


def unshifted(right):
    def loss(z, k):
        e = np.exp(z)
        p = e / e.sum(axis=1, keepdims=True)
        return -np.log(label_entries(p, k)).mean(), (p, k)

    return loss


LOSSES = [
    ((LOSS, loss_times(lambda n: n)), "loss", "loss reported as a sum"),
    (
        (LOSS, loss_of_probabilities(lambda p: np.log(np.clip(p, 1e-7, 1 - 1e-7)))),
        "loss",
        "probabilities clipped at 1e-07 in the loss",
    ),
    ((LOSS, unshifted), "loss", "softmax without its shift"),
    ((LOSS, lambda right: lambda z, k: right(z, (k + 1) % 10)), "loss", "labels too large by one"),
    (
        (DLOGITS, lambda right: lambda cache: right(cache) * len(cache[1])),
        "gradient of logits.weight",
        "gradients summed over the batch",
    ),
]


# --- gradients ---------------------------------------------------------------------------------


def conv_backward(change):
    """(dx, dw, db) of a convolution, changed; dy and the cache are at hand."""
    return lambda right: lambda dy, cache: change(*right(dy, cache), dy, cache)


def overlap_overwritten(right):
    def backward(dy, cache):
        _, dw, db = right(dy, cache)
        _, w, (n, channels, height, width), _, _ = cache
        rows, columns = dy.shape[2:]
        dx = np.zeros((n, channels, height, width), dy.dtype)
        for i, j in np.ndindex(5, 5):
            dx[:, :, i : i + rows, j : j + columns] = np.tensordot(dy, w[:, :, i, j], (1, 0)).transpose(
                0, 3, 1, 2
            )
        return dx, dw, db

    return backward


def ties(share, equal=np.equal):
    def backward(dy, cache):
        x, y, size, stride = cache
        dx, count = np.zeros_like(x), np.zeros_like(y)
        places = list(np.ndindex(size, size))
        for i, j in places:
            count += equal(layers._tap(x, i, j, stride, *y.shape[2:]), y)
        for i, j in places:
            tap = layers._tap(x, i, j, stride, *y.shape[2:])
            layers._tap(dx, i, j, stride, *y.shape[2:])[...] += dy * equal(tap, y) / (count if share else 1)
        return dx

    return lambda right: backward


def maximum_of_maxima(first, second):
    """The gradient of a maximum along one axis of maxima along another: equal values of a pair share."""

    def halves(x, axis):
        return np.split(x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :]), 2, axis + 1)

    def shares(x, axis):
        one, two = halves(x, axis)
        left = np.where(one == two, x.dtype.type(0.5), (one > two).astype(x.dtype))
        return np.concatenate([left, 1 - left], axis + 1).reshape(x.shape)

    def backward(dy, cache):
        x = cache[0]
        best = np.maximum(*halves(x, first)).squeeze(first + 1)
        inner = dy.repeat(2, second) * shares(best, second)
        return inner.repeat(2, first) * shares(x, first)

    return lambda right: backward


def won_by(order):
    """The gradient goes to the first largest value in this order of the window's positions."""

    def backward(dy, cache):
        x, y, size, stride = cache
        dx, given = np.zeros_like(x), np.zeros(y.shape, bool)
        for place in order:
            i, j = divmod(place, size)
            tap = layers._tap(x, i, j, stride, *y.shape[2:])
            wins = (tap == y) & ~given
            layers._tap(dx, i, j, stride, *y.shape[2:])[...] += dy * wins
            given |= wins
        return dx

    return lambda right: backward


def without(*names):
    """The gradients of some parameters replaced by zeros."""

    def make(right):
        def backward(model, dlogits, cache):
            found = right(model, dlogits, cache)
            return found | {name: found[name] * 0 for name in names}

        return backward

    return make


def changed(name, change):
    def make(right):
        def backward(model, dlogits, cache):
            found = right(model, dlogits, cache)
            return found | {name: change(found[name])}

        return backward

    return make


GRADIENTS = [  # of each part of the backward pass; others are tested in `plain`
    ((CONV, overlap_overwritten), "conv1.weight", "col2im keeps the last overlap"),
    (
        (CONV, conv_backward(lambda dx, dw, db, dy, cache: (dx, dw, dy.sum(axis=0)))),
        "conv2.bias",
        "bias gradient not summed over positions",
    ),
    (
        (CONV, conv_backward(lambda dx, dw, db, dy, cache: (dx, dw[:, :, ::-1, ::-1].copy(), db))),
        "conv2.weight",
        "weight gradient flipped",
    ),
    ((RELU, lambda right: lambda dy, cache: dy), "fc2.weight", "ReLU's gate missing in the backward pass"),
    (
        (MODEL, without("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")),
        "conv2.weight",
        "detached before fc1",
    ),
    ((MODEL, changed("fc1.bias", lambda g: 2 * g)), "fc1.bias", "gradient doubled"),
]
