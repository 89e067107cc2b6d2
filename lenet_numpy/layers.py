"""Every layer as a pair of forward and backward functions, with NumPy only.

A forward function returns its output and a cache with everything that its backward function needs. A
backward function takes the cotangent `dy`, the gradient of a scalar with respect to the layer's output, and
returns the gradient of this scalar with respect to each input. This is the chain rule, layer by layer.
Arguments are never changed.

Letters: N batch; C, O input and output channels; H, W height and width of the input; KH, KW of the
kernel; P, Q height and width of the output; D, E input and output features.
"""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray
Cache = tuple[Any, ...]


# --- convolution -------------------------------------------------------------------------------


def conv2d_definition(x: Array, w: Array, b: Array, *, stride: int = 1, padding: int = 0) -> Array:
    """The definition of convolution in all frameworks, as nested loops. It is slow, and is the specification.

        y[n,o,p,q] = b[o] + Σ_{c,i,j} w[o,c,i,j] · x[n, c, s·p + i − padding, s·q + j − padding]

    with x zero outside its edges. The kernel is not flipped; in mathematics this is a cross-correlation.
    Shapes are those of `conv2d`.
    """
    (n_images, channels, height, width), (maps, _, kh, kw) = x.shape, w.shape
    rows = (height + 2 * padding - kh) // stride + 1
    columns = (width + 2 * padding - kw) // stride + 1
    y = np.zeros((n_images, maps, rows, columns), x.dtype)
    for n, o, p, q in np.ndindex(y.shape):
        total = b[o]
        for c, i, j in np.ndindex(channels, kh, kw):
            row, column = stride * p + i - padding, stride * q + j - padding
            if 0 <= row < height and 0 <= column < width:
                total = total + w[o, c, i, j] * x[n, c, row, column]
        y[n, o, p, q] = total
    return y


def conv2d(x: Array, w: Array, b: Array, *, stride: int = 1, padding: int = 0) -> tuple[Array, Cache]:
    """Convolution as a matrix product: every patch under the kernel becomes a column (im2col).

    The patches are a view: no pixel is copied until the matrix for the product is made.

    Args:
        x: (N, C, H, W).
        w: (O, C, KH, KW).
        b: (O,).
        stride: step between patches, both axes.
        padding: rows and columns of zeros added on each side.

    Returns:
        y (N, O, P, Q) with P = ⌊(H + 2·padding − KH) / stride⌋ + 1 and Q likewise, and the cache.
    """
    maps, _, kh, kw = w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    patches = sliding_window_view(padded, (kh, kw), axis=(2, 3))[:, :, ::stride, ::stride]
    n, channels, rows, columns = patches.shape[:4]  # (N, C, P, Q, KH, KW)
    cols = patches.transpose(0, 1, 4, 5, 2, 3).reshape(n, channels * kh * kw, rows * columns)
    y = w.reshape(maps, -1) @ cols + b[:, None]  # (N, O, P·Q)
    return y.reshape(n, maps, rows, columns), (cols, w, x.shape, stride, padding)


def conv2d_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Gradients of the convolution.

    y is linear in each argument, so each gradient sums dy over the products of the definition:

        db[o]       = Σ_{n,p,q} dy[n,o,p,q]
        dw[o,c,i,j] = Σ_{n,p,q} dy[n,o,p,q] · x[n, c, s·p + i − padding, s·q + j − padding]
        dx[n,c,h,w] = Σ_{o,i,j} dy[n,o,p,q] · w[o,c,i,j]   over the (p, q) whose patch covers (h, w)

    Patches overlap, so the last sum *adds* the contributions of all patches to the same pixel (col2im), with
    a shifted addition for each of the KH·KW kernel positions.

    Args:
        dy: (N, O, P, Q).
        cache: from `conv2d`.

    Returns:
        dx (N, C, H, W), dw (O, C, KH, KW), db (O,).
    """
    _, w, (n, channels, height, width), stride, padding = cache
    maps, _, kh, kw = w.shape
    rows, columns = dy.shape[2:]
    dw, db = conv2d_parameter_gradients(dy, cache)
    dcols = w.reshape(maps, -1).T @ dy.reshape(n, maps, rows * columns)  # (N, C·KH·KW, P·Q)
    dcols = dcols.reshape(n, channels, kh, kw, rows, columns)
    dx = np.zeros((n, channels, height + 2 * padding, width + 2 * padding), dy.dtype)
    for i, j in np.ndindex(kh, kw):
        dx[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride] += dcols[:, :, i, j]
    return dx[:, :, padding : padding + height, padding : padding + width], dw, db


def conv2d_parameter_gradients(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """dw and db of `conv2d_backward`, without dx: the first layer needs no gradient of its input."""
    cols, w, *_ = cache
    dy = dy.reshape(*dy.shape[:2], -1)  # (N, O, P·Q)
    dw = (dy @ cols.transpose(0, 2, 1)).sum(axis=0).reshape(w.shape)
    return dw, dy.sum(axis=(0, 2))


# --- max pooling -------------------------------------------------------------------------------


def max_pool2d_definition(x: Array, *, size: int, stride: int) -> Array:
    """The definition of max pooling, as nested loops. It is slow, and is the specification.

    y[n,c,p,q] = max_{i,j < size} x[n, c, stride·p + i, stride·q + j]
    """
    n_images, channels, height, width = x.shape
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    y = np.empty((n_images, channels, rows, columns), x.dtype)
    for n, c, p, q in np.ndindex(y.shape):
        window = [x[n, c, stride * p + i, stride * q + j] for i, j in np.ndindex(size, size)]
        y[n, c, p, q] = max(window)
    return y


def max_pool2d(x: Array, *, size: int, stride: int) -> tuple[Array, Cache]:
    """Maximum over windows; rows and columns that fill no window are dropped.

    Args:
        x: (N, C, H, W).
        size: height and width of the window.
        stride: step between windows, both axes.

    Returns:
        y (N, C, P, Q) with P = ⌊(H − size) / stride⌋ + 1 and Q likewise, and the cache.
    """
    rows, columns = (x.shape[2] - size) // stride + 1, (x.shape[3] - size) // stride + 1
    taps = [_tap(x, i, j, stride, rows, columns) for i, j in np.ndindex(size, size)]
    y = taps[0]
    for tap in taps[1:]:
        y = np.maximum(y, tap)
    return y, (x, y, size, stride)


def max_pool2d_backward(dy: Array, cache: Cache) -> Array:
    """Gradient of max pooling: the cotangent goes only to the largest value of each window.

    If several values tie, it goes to the first in row order. The maximum has no derivative there, so all
    ports must make the same choice.

    Args:
        dy: (N, C, P, Q).
        cache: from `max_pool2d`.

    Returns:
        dx (N, C, H, W).
    """
    x, y, size, stride = cache
    rows, columns = y.shape[2:]
    dx = np.zeros_like(x)
    waiting = np.ones(y.shape, bool)  # windows whose largest value is not found yet
    for i, j in np.ndindex(size, size):
        wins = waiting & (_tap(x, i, j, stride, rows, columns) == y)
        _tap(dx, i, j, stride, rows, columns)[...] += dy * wins
        waiting &= ~wins
    return dx


def _tap(x: Array, i: int, j: int, stride: int, rows: int, columns: int) -> Array:
    """View (N, C, P, Q) of the values at position (i, j) of every window."""
    return x[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]


# --- other layers ------------------------------------------------------------------------------


def relu(x: Array) -> tuple[Array, Cache]:
    """max(x, 0), elementwise, any shape."""
    return np.maximum(x, 0), (x,)


def relu_backward(dy: Array, cache: Cache) -> Array:
    """The gate: dy passes where x > 0. At x = 0 the derivative is defined as 0, as in all ports."""
    (x,) = cache
    return dy * (x > 0)


def flatten(x: Array) -> tuple[Array, Cache]:
    """(N, C, H, W) to (N, C·H·W); the last axis varies fastest."""
    return x.reshape(len(x), -1), (x.shape,)


def flatten_backward(dy: Array, cache: Cache) -> Array:
    """(N, C·H·W) back to (N, C, H, W)."""
    return dy.reshape(cache[0])


def linear(x: Array, w: Array, b: Array) -> tuple[Array, Cache]:
    """y = x Wᵀ + b: x (N, D), w (E, D), b (E,); y (N, E)."""
    return x @ w.T + b, (x, w)


def linear_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """From y[n,e] = b[e] + Σ_d w[e,d] · x[n,d]:

        dx[n,d] = Σ_e dy[n,e] · w[e,d]      dw[e,d] = Σ_n dy[n,e] · x[n,d]      db[e] = Σ_n dy[n,e]

    Args:
        dy: (N, E).
        cache: from `linear`.

    Returns:
        dx (N, D), dw (E, D), db (E,).
    """
    x, w = cache
    return dy @ w, dy.T @ x, dy.sum(axis=0)


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Cache]:
    """Mean over the batch of −log softmax(logits)[label].

    −log p_y = log Σ_k exp(z_k) − z_y. The largest logit is subtracted first: this does not change the value,
    and no exponential overflows.

    Args:
        logits: (N, K).
        labels: (N,) integers in 0..K−1.

    Returns:
        the loss, a scalar in nats, and the cache.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    totals = exponentials.sum(axis=1, keepdims=True)
    losses = np.log(totals[:, 0]) - shifted[np.arange(len(labels)), labels]
    return losses.mean(), (exponentials / totals, labels)


def softmax_cross_entropy_backward(cache: Cache) -> Array:
    """∂loss/∂z_k = (p_k − [k = label]) / N: predicted minus true probability, with the 1/N of the mean.

    Returns:
        (N, K).
    """
    probabilities, labels = cache
    dlogits = probabilities.copy()
    dlogits[np.arange(len(labels)), labels] -= 1
    return dlogits / len(labels)
