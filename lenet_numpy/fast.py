"""The same network, faster than the frameworks, with NumPy and its matrix product only (mode `numpy:fast`).

The arithmetic takes some microseconds per digit; memory transfers and function calls take most of the time.
Six ideas reduce this time; docs/fast.md measures the effect of each:

1. *Convolution and pooling as one step.* A matrix with the kernel at two shifts computes two neighbours in a
   row from a patch of 5×6 pixels. This takes 1.2 times the multiplications (30 / 25), but copies a patch only
   for every second column. The outputs of two rows and two shifts are four contiguous blocks (slabs), and
   pooling is their maximum.
2. *Digits as the last axis.* Arrays are (row, channel, column, digit). So copies move runs of a whole chunk
   of digits, and the product for a row of patches has enough columns to be efficient.
3. *Strips instead of patches.* Only columns are copied: `strips[h, (c, j), q] = x[h, c, 2q + j]`. There, the
   five rows of a patch follow each other in memory, so patches are a view of overlapping windows. This copies
   3 times the input, while im2col copies 25 times.
4. *The bias as a row of ones.* The product adds the bias, and the product for the gradient of the weights
   computes the gradient of the bias too.
5. *Chunks and buffers.* CHUNK digits at a time go through all layers, in buffers that are allocated once and
   stay in the cache. Returned arrays are never in a buffer.
6. *Chunks on threads.* BLAS divides nothing but products between threads. Here each thread takes whole
   chunks, with buffers of its own.

ReLU comes after the pooling, where it has a quarter of the work. Both keep the order, so max(relu(x)) equals
relu(max(x)) to the bit. The gradient is the same too: if the maximum is positive, the first largest value
among x is the first among relu(x); otherwise the gate is closed.

Letters: N digits of a chunk; C, O input and output channels; H side of the input; P, Q pooled rows and
columns, (H − 4) / 2 each; K = 5·(6C + 1) the terms of a sum with their ones; S = 2 the shifts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike

from lenet.network.architecture import ACTIVATION_SHAPES, CLASSES, PARAM_SHAPES
from lenet.network.recipe import Recipe
from lenet_numpy.layers import Array, softmax_cross_entropy, softmax_cross_entropy_backward
from lenet_numpy.parallel import on_threads
from lenet_numpy.train import SGD

CHUNK = 64  # digits: with 100 KB of buffers each, they fit into a cache, and are enough for an efficient BLAS
FEW = 8  # columns of a product that do not fill BLAS's registers


def windows(rows: Array) -> Array:
    """Each five consecutive rows: (R, D, E) to a view (R − 4, 5·D, E)."""
    count, depth, width = rows.shape
    return as_strided(rows, (count - 4, 5 * depth, width), rows.strides)


class ConvPool:
    """The weights of a 5×5 convolution with 2×2 maximum and ReLU, arranged for the products."""

    def __init__(self, maps: int, channels: int, dtype: str) -> None:
        self.matrix = np.zeros((2 * maps, 5 * (6 * channels + 1)), dtype)  # (S·O, K)
        self.back = np.zeros((6 * channels, 5 * 2 * maps), dtype)  # for the input's gradient

    def lay_out(self, w: Array, b: Array) -> None:
        """Write the kernel at both shifts, and the bias at the first row of ones of each patch."""
        kernels, ones = self._parts(self.matrix, w.shape)
        for s in range(2):
            kernels[s, ..., s : s + 5] = w.transpose(0, 2, 1, 3)
        ones[:, :, 0] = b
        rows = self.matrix.reshape(len(self.matrix), 5, -1)[:, ::-1, :-1]  # the last row of the kernel first
        self.back.reshape(-1, 5, len(self.matrix))[...] = rows.transpose(2, 1, 0)

    def fold(self, dmatrix: Array, dw: Array, db: Array) -> None:
        """The reverse of `lay_out`: add the sum of the gradients of both copies to dw and db."""
        kernels, ones = self._parts(dmatrix, dw.shape)
        for s in range(2):
            dw += kernels[s, ..., s : s + 5].transpose(0, 2, 1, 3)
            db += ones[s, :, 0]

    @staticmethod
    def _parts(matrix: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Views of the matrix: the kernels (2, O, 5, C, 6), and the columns of the ones (2, O, 5)."""
        maps, channels = shape[:2]
        whole = matrix.reshape(2, maps, 5, -1)
        return whole[..., :-1].reshape(2, maps, 5, channels, 6), whole[..., -1]


class Stage:
    """The buffers of a ConvPool for N digits, and its forward and backward pass."""

    def __init__(self, layer: ConvPool, x: Array, pooled: Array) -> None:
        """x (H, C, H, N) is the input buffer, pooled (P, O, Q, N) the output buffer."""
        self.layer, self.x, self.pooled = layer, x, pooled
        (side, channels, _, n), (p, maps, q, _) = x.shape, pooled.shape
        strips = np.ones((side, 6 * channels + 1, q, n), x.dtype)  # rows that are never written stay one
        self.strips = strips[:, :-1].reshape(side, channels, 6, q, n)
        high, wide, deep, item = x.strides
        self.columns = as_strided(x, self.strips.shape, (high, wide, deep, 2 * deep, item))
        self.patches = windows(strips.reshape(side, -1, q * n))  # (2P, K, Q·N)
        turned = (2 * p, q * n, layer.matrix.shape[1])
        self.rows = np.empty(turned, x.dtype) if q * n < FEW else None  # copies of the patches, each a row
        around = np.zeros((2 * p + 8, 2 * maps, q * n), x.dtype)  # four rows of zeros on both sides
        self.outputs = around[4:-4]  # (2P, S·O, Q·N)
        self.slabs = self.outputs.reshape(p, 4, maps, q, n)
        self.covering = windows(around)  # (H, 5·S·O, Q·N): the outputs that use a row of the input
        self.winners = np.empty((p, maps, q, n), bool)
        self.dmatrices = np.empty((2 * p, *layer.matrix.shape), x.dtype)
        self.dstrips = np.empty((side, len(layer.back), q * n), x.dtype)

    def forward(self) -> None:
        """Copy the strips, multiply, and take the maximum of four slabs and zero."""
        np.copyto(self.strips, self.columns)
        if self.rows is None:
            np.matmul(self.layer.matrix, self.patches, out=self.outputs)
        else:  # a single digit: one product with as many columns as the matrix has rows
            np.copyto(self.rows, self.patches.transpose(0, 2, 1))
            products = self.rows.reshape(-1, self.rows.shape[2]) @ self.layer.matrix.T
            np.copyto(self.outputs, products.reshape(*self.rows.shape[:2], -1).transpose(0, 2, 1))
        np.maximum.reduce(self.slabs, axis=1, out=self.pooled, initial=0)

    def backward(self, dpooled: Array, dw: Array, db: Array) -> None:
        """Add the gradients of the parameters; this overwrites `slabs` and `dpooled`.

        The first largest value takes the cotangent and sets it to zero, so later equal values get nothing.
        """
        np.greater(self.pooled, 0, out=self.winners)  # the gate of ReLU
        dpooled *= self.winners
        for k in range(3):
            slab = self.slabs[:, k]
            np.equal(slab, self.pooled, out=self.winners)
            np.multiply(dpooled, self.winners, out=slab)
            dpooled -= slab
        self.slabs[:, 3] = dpooled
        np.matmul(self.outputs, self.patches.transpose(0, 2, 1), out=self.dmatrices)
        self.layer.fold(self.dmatrices.sum(axis=0), dw, db)

    def input_gradient(self, dx: Array) -> None:
        """The gradient of the input, after `backward`: five rows of outputs use row h of the strips, so one
        product gives this row. Then the copies in the strips are summed, column by column.
        """
        np.matmul(self.layer.back, self.covering, out=self.dstrips)
        dstrips, q = self.dstrips.reshape(self.strips.shape), self.pooled.shape[2]
        dx.fill(0)
        for j in range(6):
            dx[:, :, j : j + 2 * q - 1 : 2] += dstrips[:, :, j]


class Buffers:
    """All buffers for the forward and backward pass of N digits."""

    def __init__(self, model: "LeNet", n: int) -> None:
        def empty(*shape: int) -> Array:
            return np.empty((*shape, n), model.flat.dtype)

        self.digits = n
        self.padded = np.zeros((32, 1, 32, n), model.flat.dtype)
        self.images = self.padded[2:30, 0, 2:30]
        self.pool1, self.dpool1 = empty(14, 6, 14), empty(14, 6, 14)
        self.flatten, self.dflatten = empty(400), empty(400)
        rows_first = (1, 0, 2, 3)  # `flatten` is in C, H, W order, as in the shared layout
        self.pool2 = self.flatten.reshape(16, 5, 5, n).transpose(rows_first)
        self.dpool2 = self.dflatten.reshape(16, 5, 5, n).transpose(rows_first)
        self.stage1 = Stage(model.conv1, self.padded, self.pool1)
        self.stage2 = Stage(model.conv2, self.pool1, self.pool2)
        self.fc1, self.relu3, self.fc2, self.relu4 = empty(120), empty(120), empty(84), empty(84)
        self.drelu3, self.drelu4 = empty(120), empty(84)


class Share:
    """What a thread needs for its part of a batch: buffers, by the number of digits, and sums over the part.

    Attributes:
        loss: scalar.
        gradient: {name: gradient of a parameter}, views of `flat`.
        scratch: a product before it is added, by the name of its parameter.
    """

    def __init__(self, model: "LeNet") -> None:
        self.buffers = lru_cache(maxsize=4)(lambda n: Buffers(model, n))
        self.flat, self.gradient = flat_parameters(model.flat.dtype)
        _, self.scratch = flat_parameters(model.flat.dtype)
        self.clear()

    def clear(self) -> None:
        """Start new sums."""
        self.loss = self.flat.dtype.type(0)
        self.flat.fill(0)

    def add(self, other: "Share") -> None:
        """Add the sums of another thread."""
        self.loss += other.loss
        self.flat += other.flat


class LeNet:
    """Images (N, 1, 28, 28) to logits (N, 10). Call `lay_out` after every change of `params`. A model is
    for one caller at a time.

    Parameters are views into a single vector, and so is the velocity, so an SGD step takes six calls, not
    sixty.
    """

    def __init__(self, dtype: str = "float32") -> None:
        self.flat, self.params = flat_parameters(dtype)
        self.conv1, self.conv2 = ConvPool(6, 1, dtype), ConvPool(16, 6, dtype)
        self.shares = dict[int, Share]()  # by the number of the thread

    def lay_out(self) -> None:
        """Copy the kernels into the matrices of the products."""
        self.conv1.lay_out(self.params["conv1.weight"], self.params["conv1.bias"])
        self.conv2.lay_out(self.params["conv2.weight"], self.params["conv2.bias"])

    def __call__(self, images: Array) -> Array:
        logits = np.empty((len(images), CLASSES), self.flat.dtype)

        def run(some: slice, buffers: Buffers, _: Share) -> None:
            self.forward(images[some], logits[some], buffers)

        self.in_chunks(len(images), run)
        return logits

    def in_chunks(self, count: int, run: Callable[[slice, Buffers, Share], None]) -> list[Share]:
        """Call `run` for all chunks of `count` digits, on as many threads as BLAS may use.

        Args:
            run: called with the digits of a chunk, buffers for so many, and the share of its thread.

        Returns:
            the shares of these threads.
        """
        starts = range(0, count, CHUNK)

        def part(thread: int, threads: int) -> None:
            if thread not in self.shares:
                self.shares[thread] = Share(self)
            share = self.shares[thread]
            for start in starts[thread::threads]:
                stop = min(start + CHUNK, count)
                run(slice(start, stop), share.buffers(stop - start), share)

        return [self.shares[thread] for thread in range(on_threads(part, most=len(starts)))]

    def summed(self, count: int, run: Callable[[slice, Buffers, Share], None]) -> Share:
        """`in_chunks`, with the sums of all threads; they are valid until the next call."""
        for share in self.shares.values():
            share.clear()
        first, *others = self.in_chunks(count, run)
        for other in others:
            first.add(other)
        return first

    def forward(self, images: Array, logits: Array, buffers: Buffers) -> None:
        """Run a chunk in these buffers, which `backward` needs, and write its logits to `logits`."""
        p = self.params
        np.copyto(buffers.images, images[:, 0].transpose(1, 2, 0))
        buffers.stage1.forward()
        buffers.stage2.forward()
        x = buffers.flatten
        for name, y, relu in (("fc1", buffers.fc1, buffers.relu3), ("fc2", buffers.fc2, buffers.relu4)):
            np.matmul(p[f"{name}.weight"], x, out=y)
            y += p[f"{name}.bias"][:, None]
            x = np.maximum(y, 0, out=relu)
        np.matmul(x.T, p["logits.weight"].T, out=logits)
        logits += p["logits.bias"]

    def backward(self, dlogits: Array, buffers: Buffers, share: Share) -> None:
        """Add the gradients of a chunk to those of the share, after its `forward` in these buffers."""
        p, d, dy = self.params, share.gradient, dlogits.T
        # For a single digit, each element is a single product; BLAS would take four times as long.
        outer = np.multiply if len(dlogits) == 1 else np.matmul
        for name, x, dx in (
            ("logits", buffers.relu4, buffers.drelu4),
            ("fc2", buffers.relu3, buffers.drelu3),
            ("fc1", buffers.flatten, buffers.dflatten),
        ):
            d[f"{name}.weight"] += outer(dy, x.T, out=share.scratch[f"{name}.weight"])
            d[f"{name}.bias"] += dy.sum(axis=1)
            dy = np.matmul(p[f"{name}.weight"].T, dy, out=dx)
            if name != "fc1":  # the gate before fc1 is part of the pooling
                dy *= x > 0
        buffers.stage2.backward(buffers.dpool2, d["conv2.weight"], d["conv2.bias"])
        buffers.stage2.input_gradient(buffers.dpool1)
        buffers.stage1.backward(buffers.dpool1, d["conv1.weight"], d["conv1.bias"])


def flat_parameters(dtype: DTypeLike) -> tuple[Array, dict[str, Array]]:
    """A vector of zeros, and views of it with the names and shapes of the parameters."""
    sizes = {name: int(np.prod(shape)) for name, shape in PARAM_SHAPES.items()}
    flat = np.zeros(sum(sizes.values()), dtype)
    parts = np.split(flat, np.cumsum(list(sizes.values()))[:-1])
    return flat, {name: part.reshape(PARAM_SHAPES[name]) for name, part in zip(sizes, parts, strict=True)}


def activations(model: LeNet, images: Array) -> dict[str, Array]:
    """The output of every layer, by name: results of the products, transposed to (N, C, H, W).

    Maxima and gates are computed separately, because the fast path never makes relu1 and relu2 at full size.
    """
    y = {name: np.empty((len(images), *shape), model.flat.dtype) for name, shape in ACTIVATION_SHAPES.items()}

    def run(some: slice, buffers: Buffers, _: Share) -> None:
        model.forward(images[some], y["logits"][some], buffers)
        for i, stage in ((1, buffers.stage1), (2, buffers.stage2)):
            conv = y[f"conv{i}"][some]
            for k, (r, s) in enumerate(np.ndindex(2, 2)):
                conv[:, :, r::2, s::2] = stage.slabs[:, k].transpose(3, 1, 0, 2)
            np.maximum(conv, 0, out=y[f"relu{i}"][some])
            y[f"pool{i}"][some] = stage.pooled.transpose(3, 1, 0, 2)
        for name in ("flatten", "fc1", "relu3", "fc2", "relu4"):
            y[name][some] = getattr(buffers, name).T

    model.in_chunks(len(images), run)
    return y


@dataclass
class FlatSGD(SGD):
    """SGD with `velocity` as views into a vector."""

    all_velocity: Array


def gradients(model: LeNet, images: Array, labels: Array) -> tuple[Array, dict[str, Array]]:
    """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
    share = _sums(model, images, labels)
    return share.loss, _copied(share.gradient)


def _sums(model: LeNet, images: Array, labels: Array) -> Share:
    """The loss and its gradients, until the next call; the mean of each chunk has its share of the batch."""

    def run(some: slice, buffers: Buffers, share: Share) -> None:
        part = share.loss.dtype.type(buffers.digits / len(images))
        logits = np.empty((buffers.digits, CLASSES), part.dtype)
        model.forward(images[some], logits, buffers)
        mean, cache = softmax_cross_entropy(logits, labels[some])
        share.loss += mean * part
        model.backward(softmax_cross_entropy_backward(cache) * part, buffers, share)

    return model.summed(len(images), run)


def backward(model: LeNet, images: Array, cotangent: Array) -> dict[str, Array]:
    """d(sum(cotangent · logits)) / d(parameter)."""

    def run(some: slice, buffers: Buffers, share: Share) -> None:
        model.forward(images[some], np.empty_like(cotangent[some]), buffers)
        model.backward(cotangent[some], buffers, share)

    return _copied(model.summed(len(images), run).gradient)


def _copied(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in arrays.items()}


def make_optimizer(model: LeNet, recipe: Recipe, velocity: dict[str, Array]) -> FlatSGD:
    """SGD with the constants of the recipe, starting with this velocity."""
    v, parts = flat_parameters(model.flat.dtype)
    for name, start in velocity.items():
        parts[name][...] = start
    return FlatSGD(recipe.momentum, recipe.weight_decay, parts, v)


def train_step(model: LeNet, optimizer: FlatSGD, images: Array, labels: Array, rate: float) -> Array:
    """An SGD step at learning rate η = `rate`; returns the loss before it. All parameters take six calls."""
    share = _sums(model, images, labels)
    w, v, g = model.flat, optimizer.all_velocity, share.flat
    v *= optimizer.momentum
    v += g
    v += np.multiply(w, optimizer.weight_decay, out=g)
    w -= np.multiply(v, rate, out=g)
    model.lay_out()
    return share.loss
