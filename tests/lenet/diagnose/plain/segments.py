"""A stretch of the forward pass that plain NumPy computes, right or wrong."""

import numpy as np

from lenet.diagnose.mistakes.wrong_forward import after
from lenet.diagnose.search.segment import Sample, Segment
from parity.arithmetic import Bounded
from tests.lenet.diagnose.plain.network import Array, Layer, drawn, input_of, own, right, stored, wide


def computed(stages: tuple[str, ...], x: Array, params: dict[str, Array], wrong: dict[str, Layer]) -> Array:
    """Plain NumPy through these stages, some of them wrong."""
    for name in stages:
        w, b = own(name, params)
        x = wrong[name](x, w, b) if name in wrong else right(name, x, w, b)
    return x


def segment(stages: tuple[str, ...], dtype: str = "float32", digits: int = 3, **wrong: Layer) -> Segment:
    """A segment on two probes."""
    samples = []
    for seed in (0, 1):
        params, x = wide(drawn(seed + 20)), input_of(stages[0], seed, digits)
        y = computed(stages, x, params, wrong)
        samples.append(Sample(Bounded(x), stored(y) if dtype == "float32" else y, params))
    return Segment(stages, tuple(samples), dtype, {})


def halved(x: Array, w: Array, b: Array) -> Array:
    return right("relu4", x) / 2


def absolute(x: Array, w: Array, b: Array) -> Array:
    return np.abs(x)


def unbiased(x: Array, w: Array, b: Array) -> Array:
    return x @ w.T


HALF = {"relu4": after(lambda y, call: Bounded(y.value / 2, y.bound / 2))}
DENSE = ("fc2", "relu4", "logits")
