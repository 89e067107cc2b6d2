"""The same network, faster than the frameworks, with NumPy and its matrix product only (mode `numpy:fast`).

The arithmetic takes some microseconds per digit; memory transfers and function calls take most of the time.
Five ideas reduce this time; docs/fast.md measures the effect of each:

1. *Convolution and pooling as a single product.* The 2×2 outputs under a pooling window depend on the same
   patch of 6×6 pixels. A matrix with the kernel at four shifts inside the patch computes all four. This takes
   1.44 times the multiplications (36 / 25), but copies a patch only for every fourth position. The rows of
   the matrix are grouped by shift, so pooling is the maximum of four contiguous blocks (slabs).
2. *Digits as the last axis.* Arrays are (row, channel, column, digit). So copies move runs of a whole chunk
   of digits, and the product for a row of patches has enough columns to be efficient.
3. *Strips instead of patches.* Only columns are copied: `strips[h, (c, j), q] = x[h, c, 2q + j]`. There, the
   six rows of a patch follow each other in memory, so patches are a view of overlapping windows. This copies
   3 times the input, while im2col copies 25 times.
4. *The bias as a row of ones.* The product adds the bias, and the product for the gradient of the weights
   computes the gradient of the bias too.
5. *Chunks and buffers.* CHUNK digits at a time go through all layers, in buffers that are allocated once and
   stay in the cache. Returned arrays are never in a buffer.

ReLU comes after the pooling, where it has a quarter of the work. Both keep the order, so max(relu(x)) equals
relu(max(x)) to the bit. The gradient is the same too: if the maximum is positive, the first largest value
among x is the first among relu(x); otherwise the gate is closed.

Letters: N digits of a chunk; C, O input and output channels; H side of the input; P, Q pooled rows and
columns, (H − 4) / 2 each; K = 6·(6C + 1) the terms of a sum with their ones; S = 4 the shifts.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike

from lenet.network.architecture import ACTIVATION_SHAPES, CLASSES, PARAM_SHAPES
from lenet.network.recipe import Recipe
from lenet_numpy.layers import Array, softmax_cross_entropy, softmax_cross_entropy_backward
from lenet_numpy.train import SGD

CHUNK = 64  # digits: with 60 KB of buffers each, they fit into a cache, and are enough for an efficient BLAS
FEW = 8  # columns of a product that do not fill BLAS's registers


def windows(rows: Array, size: int, step: int) -> Array:
    """Windows of `size` consecutive rows, with step `step`: (R, D, E) to a view (W, size·D, E)."""
    count, (_, depth, width) = (len(rows) - size) // step + 1, rows.shape
    row, line, item = rows.strides
    return as_strided(rows, (count, size * depth, width), (step * row, line, item))


class ConvPool:
    """The weights of a 5×5 convolution with 2×2 maximum and ReLU, arranged for a single product."""

    def __init__(self, maps: int, channels: int, dtype: str) -> None:
        self.matrix = np.zeros((4 * maps, 6 * (6 * channels + 1)), dtype)  # (S·O, K)
        self.back = np.zeros((2 * 6 * channels, 3 * 4 * maps), dtype)  # for the input's gradient

    def lay_out(self, w: Array, b: Array) -> None:
        """Write the kernel at its four shifts, and the bias at the first row of ones of each patch."""
        shifts, ones = self._parts(self.matrix, w.shape)
        for r, s in np.ndindex(2, 2):
            shifts[r, s, :, r : r + 5, :, s : s + 5] = w.transpose(0, 2, 1, 3)
        ones[:, :, :, 0] = b
        maps, channels = w.shape[:2]
        pairs = self.matrix.reshape(4 * maps, 3, 2, -1)[:, ::-1, :, :-1]  # rows i = 2t + parity, t falling
        self.back.reshape(2, 6 * channels, 3, 4 * maps)[...] = pairs.transpose(2, 3, 1, 0)

    def fold(self, dmatrix: Array, dw: Array, db: Array) -> None:
        """The reverse of `lay_out`: add the sum of the gradients of the four copies to dw and db."""
        shifts, ones = self._parts(dmatrix, dw.shape)
        for r, s in np.ndindex(2, 2):
            dw += shifts[r, s, :, r : r + 5, :, s : s + 5].transpose(0, 2, 1, 3)
            db += ones[r, s, :, 0]

    @staticmethod
    def _parts(matrix: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Views of the matrix: the kernels (2, 2, O, 6, C, 6), and the columns of the ones (2, 2, O, 6)."""
        maps, channels = shape[:2]
        whole = matrix.reshape(2, 2, maps, 6, -1)
        return whole[..., :-1].reshape(2, 2, maps, 6, channels, 6), whole[..., -1]


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
        self.patches = windows(strips.reshape(side, -1, q * n), 6, 2)  # (P, K, Q·N)
        turned = (p, q * n, layer.matrix.shape[1])
        self.rows = np.empty(turned, x.dtype) if q * n < FEW else None  # copies of the patches, each a row
        around = np.zeros((p + 4, 4 * maps, q * n), x.dtype)  # two rows of zeros on both sides
        self.outputs = around[2:-2]  # (P, S·O, Q·N)
        self.slabs = self.outputs.reshape(p, 4, maps, q, n)
        self.covering = windows(around, 3, 1)  # (H/2, 3·S·O, Q·N): the patches that cover a pair of rows
        self.winners = np.empty((p, maps, q, n), bool)
        self.dmatrices = np.empty((p, *layer.matrix.shape), x.dtype)
        self.dpairs = np.empty((side // 2, len(layer.back), q * n), x.dtype)

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
        """The gradient of the input, after `backward`: patches a − 2, a − 1 and a cover rows 2a and 2a + 1,
        so one product gives these rows. Then the copies in the strips are summed, column by column.
        """
        np.matmul(self.layer.back, self.covering, out=self.dpairs)
        dstrips, q = self.dpairs.reshape(self.strips.shape), self.pooled.shape[2]
        dx.fill(0)
        for j in range(6):
            dx[:, :, j : j + 2 * q - 1 : 2] += dstrips[:, :, j]


class Buffers:
    """All buffers for the forward and backward pass of N digits."""

    def __init__(self, model: "LeNet", n: int) -> None:
        def empty(*shape: int) -> Array:
            return np.empty((*shape, n), model.flat.dtype)

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


class LeNet:
    """Images (N, 1, 28, 28) to logits (N, 10). Call `lay_out` after every change of `params`.

    Parameters are views into a single vector, and so is the velocity, so an SGD step takes six calls, not
    sixty.
    """

    def __init__(self, dtype: str = "float32") -> None:
        self.flat, self.params = flat_parameters(dtype)
        _, self.scratch = flat_parameters(dtype)
        self.conv1, self.conv2 = ConvPool(6, 1, dtype), ConvPool(16, 6, dtype)
        self._buffers = lru_cache(maxsize=4)(lambda n: Buffers(self, n))

    def lay_out(self) -> None:
        """Copy the kernels into the matrices of the products."""
        self.conv1.lay_out(self.params["conv1.weight"], self.params["conv1.bias"])
        self.conv2.lay_out(self.params["conv2.weight"], self.params["conv2.bias"])

    def __call__(self, images: Array) -> Array:
        logits = np.empty((len(images), CLASSES), self.flat.dtype)
        for start in range(0, len(images), CHUNK):
            self.forward(images[start : start + CHUNK], logits[start : start + CHUNK])
        return logits

    def forward(self, images: Array, logits: Array) -> Buffers:
        """Run a chunk and write its logits to `logits`. Returns the buffers, which `backward` needs."""
        return self.forward_in(self._buffers(len(images)), images, logits)

    def forward_in(self, buffers: Buffers, images: Array, logits: Array) -> Buffers:
        """`forward` with given buffers."""
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
        return buffers

    def backward(self, dlogits: Array, buffers: Buffers, d: dict[str, Array]) -> None:
        """Add the gradients of a chunk to `d`, after its `forward`."""
        p, dy = self.params, dlogits.T
        # For a single digit, each element is a single product; BLAS would take four times as long.
        outer = np.multiply if len(dlogits) == 1 else np.matmul
        for name, x, dx in (
            ("logits", buffers.relu4, buffers.drelu4),
            ("fc2", buffers.relu3, buffers.drelu3),
            ("fc1", buffers.flatten, buffers.dflatten),
        ):
            d[f"{name}.weight"] += outer(dy, x.T, out=self.scratch[f"{name}.weight"])
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
    for start in range(0, len(images), CHUNK):
        chunk = slice(start, start + CHUNK)
        buffers = model.forward(images[chunk], y["logits"][chunk])
        for i, stage in ((1, buffers.stage1), (2, buffers.stage2)):
            conv = y[f"conv{i}"][chunk]
            for k, (r, s) in enumerate(np.ndindex(2, 2)):
                conv[:, :, r::2, s::2] = stage.slabs[:, k].transpose(3, 1, 0, 2)
            np.maximum(conv, 0, out=y[f"relu{i}"][chunk])
            y[f"pool{i}"][chunk] = stage.pooled.transpose(3, 1, 0, 2)
        for name in ("flatten", "fc1", "relu3", "fc2", "relu4"):
            y[name][chunk] = getattr(buffers, name).T
    return y


@dataclass
class FlatSGD(SGD):
    """SGD with `velocity` and `gradient` as views into a vector each."""

    all_velocity: Array
    all_gradient: Array
    gradient: dict[str, Array]


def gradients(model: LeNet, images: Array, labels: Array) -> tuple[Array, dict[str, Array]]:
    """The mean softmax cross-entropy over the batch, and its gradients for all parameters."""
    _, gradient = flat_parameters(model.flat.dtype)
    return _add_gradients(model, images, labels, gradient), gradient


def _add_gradients(model: LeNet, images: Array, labels: Array, gradient: dict[str, Array]) -> Array:
    """Add `gradients` to `gradient`; the mean of each chunk is weighted by its share of the batch."""
    loss = model.flat.dtype.type(0)
    for start in range(0, len(images), CHUNK):
        some, targets = images[start : start + CHUNK], labels[start : start + CHUNK]
        share = loss.dtype.type(len(some) / len(images))
        logits = np.empty((len(some), CLASSES), loss.dtype)
        buffers = model.forward(some, logits)
        mean, cache = softmax_cross_entropy(logits, targets)
        loss += mean * share
        model.backward(softmax_cross_entropy_backward(cache) * share, buffers, gradient)
    return loss


def backward(model: LeNet, images: Array, cotangent: Array) -> dict[str, Array]:
    """d(sum(cotangent · logits)) / d(parameter)."""
    _, gradient = flat_parameters(model.flat.dtype)
    for start in range(0, len(images), CHUNK):
        some = cotangent[start : start + CHUNK]
        buffers = model.forward(images[start : start + CHUNK], np.empty_like(some))
        model.backward(some, buffers, gradient)
    return gradient


def make_optimizer(model: LeNet, recipe: Recipe, velocity: dict[str, Array]) -> FlatSGD:
    """SGD with the constants of the recipe, starting with this velocity."""
    (v, parts), (g, gradient) = flat_parameters(model.flat.dtype), flat_parameters(model.flat.dtype)
    for name, start in velocity.items():
        parts[name][...] = start
    return FlatSGD(recipe.momentum, recipe.weight_decay, parts, v, g, gradient)


def train_step(model: LeNet, optimizer: FlatSGD, images: Array, labels: Array, rate: float) -> Array:
    """An SGD step at learning rate η = `rate`; returns the loss before it. All parameters take six calls."""
    w, v, g = model.flat, optimizer.all_velocity, optimizer.all_gradient
    g.fill(0)
    loss = _add_gradients(model, images, labels, optimizer.gradient)
    v *= optimizer.momentum
    v += g
    v += np.multiply(w, optimizer.weight_decay, out=g)
    w -= np.multiply(v, rate, out=g)
    model.lay_out()
    return loss
