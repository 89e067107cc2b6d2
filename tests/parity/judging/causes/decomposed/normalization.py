"""Normalization, of layers and of images, as several nodes."""

import numpy as np

from tests.parity.judging.causes.case import Array, Case, N, drawing

drawn = drawing(0)

G, B = drawn(16) + 1, drawn(16)
MEAN = [N("ReduceMean", ["x", "last"], ["m"]), N("Sub", ["x", "m"], ["d"])]
ROOT = [N("ReduceMean", ["q", "last"], ["v"]), N("Add", ["v", "e"], ["ve"]), N("Sqrt", ["ve"], ["s"])]
AXIS = {"last": np.array([-1])}


def layer_norm(
    x: Array, e: float = 1e-5, axes: tuple[int, ...] = (2,), less: int = 0, outside: bool = False
) -> Array:
    d = x - x.mean(axes, keepdims=True)
    v = (d * d).sum(axes, keepdims=True) / (np.prod([x.shape[k] for k in axes]) - less)
    return d / (np.sqrt(v) + e if outside else np.sqrt(v + e)) * G + B


LAYER = Case(
    [
        *MEAN,
        N("Pow", ["d", "two"], ["q"]),
        *ROOT,
        N("Div", ["d", "s"], ["n"]),
        N("Mul", ["n", "g"], ["a"]),
        N("Add", ["a", "b"], ["y"]),
    ],
    {**AXIS, "two": 2.0, "e": 1e-5, "g": G, "b": B},
    drawn(3, 5, 16, scale=0.05),
    layer_norm,
    {
        "epsilon 0.001 for 1e-05": lambda x: layer_norm(x, 1e-3),
        "epsilon 2e-05 for 1e-05": lambda x: layer_norm(x, 2e-5),
        "epsilon outside of the root": lambda x: layer_norm(x, outside=True),
        "mean divided by n - 1": lambda x: layer_norm(x, less=1),
        "variance divided by n - 1, epsilon outside of the root": lambda x: layer_norm(
            x, less=1, outside=True
        ),
        "moments over axes (1,) for (2,)": lambda x: layer_norm(x, axes=(1,)),
        "moments over axes (0, 1, 2) for (2,)": lambda x: layer_norm(x, axes=(0, 1, 2)),
        "factor g left out": lambda x: (layer_norm(x) - B) / G + B,
        "term b left out": lambda x: layer_norm(x) - B,
        "scale 1 + w for w": lambda x: (layer_norm(x) - B) / G * (1 + G) + B,
    },
)


def rms(x: Array, e: float = 1e-6) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + e)


RMS = Case(
    [
        N("Mul", ["x", "x"], ["q"]),
        *ROOT,
        N("Reciprocal", ["s"], ["r"]),
        N("Mul", ["x", "r"], ["n"]),
        N("Mul", ["g", "n"], ["y"]),
    ],
    {**AXIS, "e": 1e-6, "g": G},
    drawn(3, 5, 16, scale=0.003) + np.float32(0.002),
    lambda x: rms(x) * G,
    {
        "epsilon 1e-05 for 1e-06": lambda x: rms(x, 1e-5) * G,
        "epsilon outside of the root": lambda x: x / (np.sqrt((x * x).mean(-1, keepdims=True)) + 1e-6) * G,
        "scale 1 + w for w": lambda x: rms(x) * (1 + G),
        "standard deviation for the root mean square": lambda x: layer_norm(x, 1e-6) - B,
        "ReduceSum for ReduceMean": lambda x: x / np.sqrt((x * x).sum(-1, keepdims=True) + 1e-6) * G,
    },
)

# --- images ------------------------------------------------------------------------------------

COLOURS = np.array([0.485, 0.456, 0.406], np.float32)
SPREAD = np.array([0.229, 0.224, 0.225], np.float32)
IMAGE = Case(
    [
        N("Div", ["x", "full"], ["d"]),
        N("Sub", ["d", "mean"], ["c"]),
        N("Div", ["c", "spread"], ["y"]),
    ],
    {"full": 255.0, "mean": COLOURS.reshape(1, 3, 1, 1), "spread": SPREAD.reshape(1, 3, 1, 1)},
    np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4)).astype(np.float32),
    lambda x: (x / 255 - COLOURS[:, None, None]) / SPREAD[:, None, None],
    {
        "divisor 255 left out": lambda x: (x - COLOURS[:, None, None]) / SPREAD[:, None, None],
        "input channels in reverse order (BGR for RGB)": lambda x: (
            (x[:, ::-1] / 255 - COLOURS[:, None, None]) / SPREAD[:, None, None]
        ),
    },
)
