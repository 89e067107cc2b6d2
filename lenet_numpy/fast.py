"""The same network, fast: NumPy and its matrix product alone, faster than the frameworks (mode `numpy:fast`).

What costs time is not the arithmetic, some microseconds a digit, but moving memory and calling functions.
Five ideas; docs/fast.md measures what they bring:

1. *Convolution and pooling are one product.* The 2×2 outputs that a pooling window chooses from look at one
   patch of 6×6 pixels. A matrix that holds the kernel four times, once for each of the four shifts inside
   the patch, computes all four: 1.44 times the multiplications (36 / 25), yet a patch is laid out for every
   fourth position alone. Its rows are grouped by shift, so that pooling is the maximum of four slabs.
2. *Digits last.* Arrays are (row, channel, column, digit). Whatever is copied is then runs of a whole
   chunk of digits, and the product of a row of patches has columns enough to be efficient.
3. *Strips, not patches.* Only columns are laid out anew: `strips[h, (c, j), q] = x[h, c, 2q + j]`. The six
   rows of a patch lie one behind the other there, so that patches are a view of overlapping windows:
   3 times what the input holds is copied, where im2col copies 25 times.
4. *A row of ones carries the bias:* it is added inside the product, and its gradient falls out of the
   product that makes the weights'.
5. *Chunks and buffers.* CHUNK digits at a time go through all layers, in buffers made once: they stay in the
   cache, and nothing is allocated. What is returned never lies in a buffer.

ReLU is moved behind the pooling, where there is a quarter to do: both keep order, and max(relu(x)) is
relu(max(x)) to the bit. The gradient is the same too: where the maximum is positive, the first winner
among x is the first among relu(x); elsewhere the gate is closed.

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

CHUNK = 64  # digits: 60 KB of buffers each, 4 MB in all; small enough for a cache, large enough for BLAS
FEW = 8  # columns of a product that do not fill BLAS's registers


def windows(rows: Array, size: int, step: int) -> Array:
    """Every `size` rows that follow each other, `step` apart: (R, D, E) to a view (W, size·D, E)."""
    count, (_, depth, width) = (len(rows) - size) // step + 1, rows.shape
    row, line, item = rows.strides
    return as_strided(rows, (count, size * depth, width), (step * row, line, item))


class ConvPool:
    """5×5 convolution, 2×2 maximum and ReLU, as one product: the weights' part."""

    def __init__(self, maps: int, channels: int, dtype: str) -> None:
        self.matrix = np.zeros((4 * maps, 6 * (6 * channels + 1)), dtype)  # (S·O, K)
        self.back = np.zeros((2 * 6 * channels, 3 * 4 * maps), dtype)  # of the input's gradient

    def lay_out(self, w: Array, b: Array) -> None:
        """The kernel at its four shifts, and the bias at the first one of each patch."""
        shifts, ones = self._parts(self.matrix, w.shape)
        for r, s in np.ndindex(2, 2):
            shifts[r, s, :, r : r + 5, :, s : s + 5] = w.transpose(0, 2, 1, 3)
        ones[:, :, :, 0] = b
        maps, channels = w.shape[:2]
        pairs = self.matrix.reshape(4 * maps, 3, 2, -1)[:, ::-1, :, :-1]  # rows i = 2t + parity, t falling
        self.back.reshape(2, 6 * channels, 3, 4 * maps)[...] = pairs.transpose(2, 3, 1, 0)

    def fold(self, dmatrix: Array, dw: Array, db: Array) -> None:
        """`lay_out` read backwards: what was copied four times gets the sum of four gradients; added."""
        shifts, ones = self._parts(dmatrix, dw.shape)
        for r, s in np.ndindex(2, 2):
            dw += shifts[r, s, :, r : r + 5, :, s : s + 5].transpose(0, 2, 1, 3)
            db += ones[r, s, :, 0]

    @staticmethod
    def _parts(matrix: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Views of the matrix: the kernels (2, 2, O, 6, C, 6), and the places of the ones (2, 2, O, 6)."""
        maps, channels = shape[:2]
        whole = matrix.reshape(2, 2, maps, 6, -1)
        return whole[..., :-1].reshape(2, 2, maps, 6, channels, 6), whole[..., -1]


class Stage:
    """The buffers of one ConvPool for N digits, and what happens in them."""

    def __init__(self, layer: ConvPool, x: Array, pooled: Array) -> None:
        """x: (H, C, H, N) and pooled: (P, O, Q, N), where the stage reads and writes."""
        self.layer, self.x, self.pooled = layer, x, pooled
        (side, channels, _, n), (p, maps, q, _) = x.shape, pooled.shape
        strips = np.ones((side, 6 * channels + 1, q, n), x.dtype)  # what is never written stays one
        self.strips = strips[:, :-1].reshape(side, channels, 6, q, n)
        high, wide, deep, item = x.strides
        self.columns = as_strided(x, self.strips.shape, (high, wide, deep, 2 * deep, item))
        self.patches = windows(strips.reshape(side, -1, q * n), 6, 2)  # (P, K, Q·N)
        turned = (p, q * n, layer.matrix.shape[1])
        self.rows = np.empty(turned, x.dtype) if q * n < FEW else None  # patches copied out, each a row
        around = np.zeros((p + 4, 4 * maps, q * n), x.dtype)  # two rows of zeros on both sides
        self.outputs = around[2:-2]  # (P, S·O, Q·N)
        self.slabs = self.outputs.reshape(p, 4, maps, q, n)
        self.covering = windows(around, 3, 1)  # (H/2, 3·S·O, Q·N): the patches that cover a pair of rows
        self.winners = np.empty((p, maps, q, n), bool)
        self.dmatrices = np.empty((p, *layer.matrix.shape), x.dtype)
        self.dpairs = np.empty((side // 2, len(layer.back), q * n), x.dtype)

    def forward(self) -> None:
        """Lay out the strips, multiply, take the maximum of four slabs and of zero."""
        np.copyto(self.strips, self.columns)
        if self.rows is None:
            np.matmul(self.layer.matrix, self.patches, out=self.outputs)
        else:  # of a single digit: one product with as many columns as the matrix has rows
            np.copyto(self.rows, self.patches.transpose(0, 2, 1))
            products = self.rows.reshape(-1, self.rows.shape[2]) @ self.layer.matrix.T
            np.copyto(self.outputs, products.reshape(*self.rows.shape[:2], -1).transpose(0, 2, 1))
        np.maximum.reduce(self.slabs, axis=1, out=self.pooled, initial=0)

    def backward(self, dpooled: Array, dw: Array, db: Array) -> None:
        """Add the gradients of the parameters; `slabs` and `dpooled` are consumed.

        A winner takes the cotangent away, so that equal ones behind it find zero: the first one wins.
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
        """After `backward`: rows 2a and 2a + 1 are covered by patches a − 2, a − 1 and a, one product.

        Then what the strips copied is added up, one column of the patch at a time.
        """
        np.matmul(self.layer.back, self.covering, out=self.dpairs)
        dstrips, q = self.dpairs.reshape(self.strips.shape), self.pooled.shape[2]
        dx.fill(0)
        for j in range(6):
            dx[:, :, j : j + 2 * q - 1 : 2] += dstrips[:, :, j]


class Buffers:
    """All that N digits need on their way through the network and back."""

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
    """Images (N, 1, 28, 28) to logits (N, 10). After `params` change, `lay_out` must follow.

    Parameters and velocity are views into one vector each, so that an SGD step is six calls, not sixty.
    """

    def __init__(self, dtype: str = "float32") -> None:
        self.flat, self.params = flat_parameters(dtype)
        _, self.scratch = flat_parameters(dtype)
        self.conv1, self.conv2 = ConvPool(6, 1, dtype), ConvPool(16, 6, dtype)
        self._buffers = lru_cache(maxsize=4)(lambda n: Buffers(self, n))

    def lay_out(self) -> None:
        """Bring the kernels into the form that the products use."""
        self.conv1.lay_out(self.params["conv1.weight"], self.params["conv1.bias"])
        self.conv2.lay_out(self.params["conv2.weight"], self.params["conv2.bias"])

    def __call__(self, images: Array) -> Array:
        logits = np.empty((len(images), CLASSES), self.flat.dtype)
        for start in range(0, len(images), CHUNK):
            self.forward(images[start : start + CHUNK], logits[start : start + CHUNK])
        return logits

    def forward(self, images: Array, logits: Array) -> Buffers:
        """One chunk, its logits written to `logits`; the buffers hold what `backward` needs."""
        return self.forward_in(self._buffers(len(images)), images, logits)

    def forward_in(self, buffers: Buffers, images: Array, logits: Array) -> Buffers:
        """`forward`, in the buffers given."""
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
        """Add one chunk's gradients to `d`, after its `forward`."""
        p, dy = self.params, dlogits.T
        # Of one digit every element is one product: BLAS takes four times as long for it.
        outer = np.multiply if len(dlogits) == 1 else np.matmul
        for name, x, dx in (
            ("logits", buffers.relu4, buffers.drelu4),
            ("fc2", buffers.relu3, buffers.drelu3),
            ("fc1", buffers.flatten, buffers.dflatten),
        ):
            d[f"{name}.weight"] += outer(dy, x.T, out=self.scratch[f"{name}.weight"])
            d[f"{name}.bias"] += dy.sum(axis=1)
            dy = np.matmul(p[f"{name}.weight"].T, dy, out=dx)
            if name != "fc1":  # what comes before fc1 is gated where it is pooled
                dy *= x > 0
        buffers.stage2.backward(buffers.dpool2, d["conv2.weight"], d["conv2.bias"])
        buffers.stage2.input_gradient(buffers.dpool1)
        buffers.stage1.backward(buffers.dpool1, d["conv1.weight"], d["conv1.bias"])


def flat_parameters(dtype: DTypeLike) -> tuple[Array, dict[str, Array]]:
    """A vector of zeros, and its parts under the parameters' names and in their shapes."""
    sizes = {name: int(np.prod(shape)) for name, shape in PARAM_SHAPES.items()}
    flat = np.zeros(sum(sizes.values()), dtype)
    parts = np.split(flat, np.cumsum(list(sizes.values()))[:-1])
    return flat, {name: part.reshape(PARAM_SHAPES[name]) for name, part in zip(sizes, parts, strict=True)}


def activations(model: LeNet, images: Array) -> dict[str, Array]:
    """The output of every layer, by name: what the products computed, put back into (N, C, H, W).

    The maxima and gates are taken anew, since the fast path never makes relu1 and relu2 at full size.
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
    """SGD, whose `velocity` and `gradient` are each the parts of one vector."""

    all_velocity: Array
    all_gradient: Array
    gradient: dict[str, Array]


def gradients(model: LeNet, images: Array, labels: Array) -> tuple[Array, dict[str, Array]]:
    """Mean softmax cross-entropy over the batch, and its gradient for every parameter."""
    _, gradient = flat_parameters(model.flat.dtype)
    return _add_gradients(model, images, labels, gradient), gradient


def _add_gradients(model: LeNet, images: Array, labels: Array, gradient: dict[str, Array]) -> Array:
    """`gradients`, added to what is there; each chunk's mean counts as its share of the batch."""
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
    """SGD by the recipe, from the velocity given."""
    (v, parts), (g, gradient) = flat_parameters(model.flat.dtype), flat_parameters(model.flat.dtype)
    for name, start in velocity.items():
        parts[name][...] = start
    return FlatSGD(recipe.momentum, recipe.weight_decay, parts, v, g, gradient)


def train_step(model: LeNet, optimizer: FlatSGD, images: Array, labels: Array, rate: float) -> Array:
    """One step at learning rate η = `rate`; the loss before it. All parameters in six calls."""
    w, v, g = model.flat, optimizer.all_velocity, optimizer.all_gradient
    g.fill(0)
    loss = _add_gradients(model, images, labels, optimizer.gradient)
    v *= optimizer.momentum
    v += g
    v += np.multiply(w, optimizer.weight_decay, out=g)
    w -= np.multiply(v, rate, out=g)
    model.lay_out()
    return loss
