"""The forward pass in eight versions, each faster than the last; their docstrings are the chapter's text.

A step takes the shared parameters and images (N, 1, 28, 28), and returns the logits (N, 10). The layers after
the second pooling are the same in all steps, because at most a few microseconds could be gained there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lenet.compare.speed import TASK_FLOPS, calls_in_a_round, large_product, product_flops, seconds_per_call
from lenet.network.digits import Digits
from lenet.reference.distance import ratio
from lenet.reference.forward import reference
from lenet_numpy import fast
from lenet_numpy.layers import conv2d, conv2d_definition, max_pool2d, max_pool2d_definition
from parity.errors import UserError

Array = np.ndarray
Params = Mapping[str, Array]
Conv = Callable[..., Array]
Pool = Callable[[Array], Array]


@dataclass(frozen=True)
class Step:
    """A step: its title, the number of digits for timing, and a function from weights to the forward pass."""

    title: str
    digits: int
    make: Callable[[Params], Callable[[Array], Array]]


@dataclass(frozen=True)
class Measured:
    """A step's median microseconds per digit."""

    step: Step
    microseconds: float


def network(params: Params, images: Array, conv: Conv, pool: Pool) -> Array:
    """The layers in order, with the given convolution and pooling."""
    x = pool(np.maximum(conv(images, params["conv1.weight"], params["conv1.bias"], padding=2), 0))
    x = pool(np.maximum(conv(x, params["conv2.weight"], params["conv2.bias"]), 0))
    return dense(params, x.reshape(len(x), -1))


def dense(params: Params, x: Array) -> Array:
    """The three dense layers: (N, 400) to (N, 10)."""
    for name in ("fc1", "fc2"):
        x = np.maximum(x @ params[f"{name}.weight"].T + params[f"{name}.bias"], 0)
    return x @ params["logits.weight"].T + params["logits.bias"]


def definition(params: Params) -> Callable[[Array], Array]:
    """Seven nested loops: digit, map, row and column of the output; channel, row and column of the kernel.

    This is only the formula. 357,600 times per digit, the interpreter looks up two numbers, creates objects,
    multiplies, adds, and discards the objects. The arithmetic itself takes the processor some microseconds.
    """
    return lambda images: network(
        params, images, conv2d_definition, lambda x: max_pool2d_definition(x, size=2, stride=2)
    )


def positions(params: Params) -> Callable[[Array], Array]:
    """All positions at once: the loops over rows and columns of the output become one operation on arrays.

    The remaining loops run over the kernel, and each iteration multiplies a shifted picture by a number. The
    cost of the interpreter now occurs once per picture instead of once per pixel. But every iteration reads
    and writes the whole output for a single multiplication per value, so memory takes most of the time.
    """

    def conv(x: Array, w: Array, b: Array, padding: int = 0) -> Array:
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        rows, columns = x.shape[2] - 4, x.shape[3] - 4
        y = np.tile(b[:, None, None], (len(x), 1, rows, columns))
        for n, o, c, i, j in np.ndindex(len(x), *w.shape):
            y[n, o] += w[o, c, i, j] * x[n, c, i : i + rows, j : j + columns]
        return y

    return lambda images: network(params, images, conv, _pool)


def digit_by_digit(params: Params) -> Callable[[Array], Array]:
    """The loops over the kernel become a product of matrices (im2col): every patch is copied to a column.

    Each pixel is copied 25 times, but this is worth it: a product keeps small blocks of both matrices in
    registers and uses every loaded number many times. No other operation comes near the processor's peak.
    """
    return lambda images: np.concatenate(
        [network(params, images[n : n + 1], _im2col, _pool) for n in range(len(images))]
    )


def batch(params: Params) -> Callable[[Array], Array]:
    """The whole batch at once: this is the port `numpy`.

    A NumPy call costs about a microsecond before it does any work; now about forty calls serve the whole
    batch. The remaining cost is memory: patches, outputs, and new arrays for ReLU and pooling, all of them
    larger than the cache.
    """
    return lambda images: network(params, images, _im2col, _pool)


def fused(params: Params) -> Callable[[Array], Array]:
    """Convolution and pooling as a single product.

    The four outputs of a pooling window depend on the same patch of 6×6 pixels. A matrix with the kernel at
    four shifts computes all four from this patch. This takes 1.44 times as many multiplications, but copies
    2.8 times fewer numbers, and the maximum is taken over four contiguous blocks.
    """
    kernels = {}
    for name, channels, maps in (("conv1", 1, 6), ("conv2", 6, 16)):
        shifts = np.zeros((2, 2, maps, channels, 6, 6), params[f"{name}.weight"].dtype)
        for r, s in np.ndindex(2, 2):
            shifts[r, s, :, :, r : r + 5, s : s + 5] = params[f"{name}.weight"]
        kernels[name] = shifts.reshape(4 * maps, -1), params[f"{name}.bias"][:, None]

    def stage(x: Array, name: str) -> Array:
        kernel, bias = kernels[name]
        patches = sliding_window_view(x, (6, 6), axis=(2, 3))[:, :, ::2, ::2]  # (N, C, P, Q, 6, 6)
        n, channels, rows, columns = patches.shape[:4]
        laid_out = patches.transpose(0, 1, 4, 5, 2, 3).reshape(n, channels * 36, rows * columns)
        slabs = (kernel @ laid_out).reshape(n, 4, len(bias), rows * columns)
        return np.maximum(slabs.max(axis=1) + bias, 0).reshape(n, len(bias), rows, columns)

    def logits(images: Array) -> Array:
        padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
        x = stage(stage(padded, "conv1"), "conv2")
        return dense(params, x.reshape(len(x), -1))

    return logits


def strips(params: Params) -> Callable[[Array], Array]:
    """Digits as the last axis, and strips instead of patches.

    With the digit as the last axis, every copy moves runs of numbers as long as the batch; with the digit
    first, runs have six pixels. And only columns are copied: the rows of a patch follow each other in memory,
    so patches are overlapping windows of an array. This copies 3 times the input instead of 9 times. Patches
    of five rows cost no copies either, so a product computes only two neighbours in a row, with 1.2 times as
    many multiplications instead of 1.44. The bias is included in the product by a row of ones.
    """
    model = _model(params)

    def logits(images: Array) -> Array:
        out = np.empty((len(images), 10), images.dtype)
        model.forward(images, out, fast.Buffers(model, len(images)))
        return out

    return logits


def chunks(params: Params) -> Callable[[Array], Array]:
    """Chunks and buffers.

    A few digits at a time go through all layers, so that each layer finds its input in the cache. All chunks
    use the same buffers, because the system must provide and clear new memory page by page.
    """
    model = _model(params)
    buffers = fast.Share(model).buffers

    def logits(images: Array) -> Array:
        out = np.empty((len(images), 10), images.dtype)
        for start in range(0, len(images), fast.CHUNK):
            some = images[start : start + fast.CHUNK]
            model.forward(some, out[start : start + fast.CHUNK], buffers(len(some)))
        return out

    return logits


def threads(params: Params) -> Callable[[Array], Array]:
    """Chunks on threads: the mode `numpy:fast`.

    In the steps before, several threads share a product, and everything else runs on a single thread. Here
    each thread takes its own chunks through all layers, in its own buffers. Python runs one thread at a time,
    but NumPy lets the others run while it computes.
    """
    return _model(params)


STEPS = (
    Step("the definition", 1, definition),
    Step("all positions at once", 4, positions),
    Step("a product of matrices", 64, digit_by_digit),
    Step("the batch at once", 256, batch),
    Step("convolution and pooling in one", 256, fused),
    Step("digits last, strips", 256, strips),
    Step("chunks and buffers", 1000, chunks),
    Step("chunks on threads", 1000, threads),
)


def measure(
    params: Params,
    digits: Digits,
    rounds: int,
    steps: Sequence[Step] = STEPS,
    progress: Callable[[str], None] = lambda doing: None,
) -> tuple[list[Measured], float]:
    """Check every step against the bound, then time all steps in interleaved rounds, and the limit.

    Returns:
        the steps with their medians, and the limit: microseconds per digit of the arithmetic alone, at the
        speed of a large product in the best round.

    Raises:
        UserError: a step computes another function.
    """
    calls, taken, product, peaks = [], [], large_product(), []
    for step in steps:
        progress(step.title)
        run, images = step.make(params), digits.images[: step.digits]
        if ratio(run(images), reference(params, images)["logits"]).max() > 1:
            raise UserError(f"step {step.title!r} computes another function")
        calls.append(lambda run=run, images=images: run(images))
        taken.append([seconds_per_call(calls[-1], 1)])
    repeats = [
        calls_in_a_round(call) if times[0] < 0.1 else 1 for call, times in zip(calls, taken, strict=True)
    ]
    for number in range(rounds):
        progress(f"round {number + 1}")
        for call, times, count in zip(calls, taken, repeats, strict=True):
            times.append(seconds_per_call(call, count))
        peaks.append(product_flops() / seconds_per_call(product, 1))
    found = [
        Measured(step, median(times[1:]) / step.digits * 1e6)
        for step, times in zip(steps, taken, strict=True)
    ]
    return found, TASK_FLOPS["forward"] / max(peaks) * 1e6


def _im2col(x: Array, w: Array, b: Array, padding: int = 0) -> Array:
    return conv2d(x, w, b, padding=padding)[0]


def _pool(x: Array) -> Array:
    return max_pool2d(x, size=2, stride=2)[0]


def _model(params: Params) -> fast.LeNet:
    model = fast.LeNet()
    for name, parameter in model.params.items():
        parameter[...] = params[name]
    model.lay_out()
    return model
