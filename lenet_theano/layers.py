"""Operators of `theano.tensor.nnet` and `theano.tensor.signal` that PyTensor lacks, written with PyTensor.

Theano's operators were C and CUDA code with a gradient each; these are expressions, and `grad` derives the
gradient. Names and arguments are a subset of Theano's. A condition of `switch` is disconnected from the
gradient: otherwise it would contribute a zero in float64, PyTensor's default, whatever the other dtypes.

Letters: N batch; C, O input and output channels; H, W height and width of the input; KH, KW of the
kernel; P, Q height and width of the output. Only N is unknown while the graph is built.
"""

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad
from pytensor.tensor import TensorVariable


def conv2d(
    x: TensorVariable, w: TensorVariable, *, border_mode: int = 0, filter_flip: bool = True
) -> TensorVariable:
    """`theano.tensor.nnet.conv2d`: a matrix product with all patches under the kernel (im2col).

    Args:
        x: (N, C, H, W).
        w: (O, C, KH, KW).
        border_mode: rows and columns of zeros added on each side.
        filter_flip: turn the kernel by 180° first, as in mathematics; Theano's default. Without it, this is
            the cross-correlation that every other framework calls a convolution.

    Returns:
        (N, O, P, Q), P = H + 2·border_mode − KH + 1 and Q likewise.
    """
    if filter_flip:
        w = w[:, :, ::-1, ::-1]
    (channels, height, width), (maps, _, kh, kw) = x.type.shape[1:], w.type.shape
    if border_mode:
        height, width = height + 2 * border_mode, width + 2 * border_mode
        canvas = pt.zeros((x.shape[0], channels, height, width), dtype=x.dtype)
        x = pt.set_subtensor(canvas[:, :, border_mode:-border_mode, border_mode:-border_mode], x)
    rows, columns = height - kh + 1, width - kw + 1
    taps = [x[:, :, i : i + rows, j : j + columns] for i, j in np.ndindex(kh, kw)]
    cols = pt.stack(taps, axis=2).reshape((x.shape[0], channels * kh * kw, rows * columns))
    y = pt.matmul(w.reshape((maps, channels * kh * kw)), cols)  # (N, O, P·Q)
    return y.reshape((x.shape[0], maps, rows, columns))


def pool_2d(x: TensorVariable, ws: int) -> TensorVariable:
    """`theano.tensor.signal.pool.pool_2d(x, (ws, ws), ignore_border=True)`: maximum over windows of ws×ws.

    The windows are adjacent, and what does not fill one is dropped. Theano 1.0.5 rounds sizes up unless it is
    given ignore_border=True: then 5 becomes 2, by default 3.

    If several values tie, the gradient goes to the first in row order, as in every port: a later value
    replaces it only if it is greater, and `switch` sends the gradient to the value that it selected.
    Theano itself sent the whole gradient to each of them on a CPU, and to one of them with cuDNN (issue
    5404); `pt.max` still sends it to all.

    Args:
        x: (N, C, H, W).
        ws: height and width of the window.

    Returns:
        (N, C, P, Q), P = ⌊H / ws⌋ and Q likewise.
    """
    rows, columns = (ws * (size // ws) for size in x.type.shape[2:])
    y, *others = (x[:, :, i:rows:ws, j:columns:ws] for i, j in np.ndindex(ws, ws))
    for tap in others:
        y = pt.switch(disconnected_grad(tap > y), tap, y)
    return y


def relu(x: TensorVariable) -> TensorVariable:
    """`theano.tensor.nnet.relu`: max(x, 0), elementwise, any shape.

    At x = 0 the derivative is taken as 0, as in every port. Theano's own (x + |x|) / 2 had 1/2 there, and
    `pt.maximum(x, 0)` has 1.
    """
    return pt.switch(disconnected_grad(x > 0), x, 0)


def softmax_cross_entropy(logits: TensorVariable, labels: TensorVariable) -> TensorVariable:
    """`theano.tensor.nnet.categorical_crossentropy(softmax(logits), labels).mean()`.

    The largest logit is subtracted first, so that no exponential overflows. This does not change the value,
    and no gradient passes through it. Theano's users left this to its rewrites; PyTensor's `log_softmax` is
    an operator that Numba compiles in every mode, which takes longer than everything else.

    Args:
        logits: (N, K).
        labels: (N,) integers in 0..K−1.

    Returns:
        the mean over the batch of −log softmax(logits)[label], a scalar in nats.
    """
    shifted = logits - disconnected_grad(logits.max(axis=1, keepdims=True))
    losses = pt.log(pt.exp(shifted).sum(axis=1)) - shifted[pt.arange(labels.shape[0]), labels]
    return losses.mean()
