"""Self-checks of notebook 17."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from workshop.checks.marking import NotRight, called, check, same_form

Array = np.ndarray
Answer = Callable[..., Any]
Layers = list[tuple[int, int]]
VGG16: Layers = [layer for convolutions in (2, 2, 3, 3, 3) for layer in [*[(3, 1)] * convolutions, (2, 2)]]
NETWORKS: dict[str, Layers] = {
    "one 5×5": [(5, 1)],
    "two 3×3": [(3, 1), (3, 1)],
    "LeNet up to pool2": [(5, 1), (2, 2), (5, 1), (2, 2)],
    "AlexNet's first five layers": [(11, 4), (3, 2), (5, 1), (3, 2), (3, 1)],
    "VGG-16 up to its last pooling": VGG16,
}


@check
def receptive_field(answer: Answer) -> str:
    """Check the width of the field of several networks, whole numbers."""
    for name, layers in NETWORKS.items():
        found = called(answer, list(layers))
        if isinstance(found, bool) or not isinstance(found, int | np.integer):
            raise NotRight(f"the width is one {type(found).__name__}, expected an int")
        right = _field(layers)
        wrong = {
            sum(k for k, _ in layers): "this is the sum of the kernels: neighbouring fields overlap",
            1 + sum(k - 1 for k, _ in layers): "the strides are left out: they move later kernels apart",
            1
            + sum((k - 1) * s for k, s in layers): "a layer's stride counts for the layers after it, all of "
            "them",
            _field(
                [(k, s) for k, s in layers], own=True
            ): "a layer's own stride does not widen its own kernel",
        }
        if found != right:
            raise NotRight(f"{name}: {found}, expected {right}: {wrong.get(int(found), 'another width')}")
    return f"the fields of {len(NETWORKS)} networks, up to {_field(VGG16)} pixels wide"


def _field(layers: Layers, *, own: bool = False) -> int:
    """1 + Σ (kernel − 1) · the product of the strides before, with `own` the layer's stride too."""
    return 1 + sum(
        (kernel - 1) * prod(s for _, s in layers[: k + own]) for k, (kernel, _) in enumerate(layers)
    )


@check
def residual_backward(answer: Answer) -> str:
    """Check the gradients of a residual block to the bit: whole numbers, no sum rounds."""
    rng = np.random.default_rng(0)
    dy, x = (rng.integers(-9, 10, (6, 5)).astype(np.float64) for _ in range(2))
    w1, w2 = (rng.integers(-3, 4, shape).astype(np.float64) for shape in ((7, 5), (5, 7)))
    x[0], w1[0], dy[0] = 0, 0, 1  # the last ReLU stands at exactly 0 in row 0, the inner one in column 0
    right = _pulled(dy, x, w1, w2)
    given = [one.copy() for one in (dy, x, w1, w2)]
    found = same_form(answer.__name__, called(answer, *given), right)
    wrong: dict[str, dict[str, Any]] = {
        "the skip is left out: x goes into the sum as well": {"skip": 0.0},
        "the skip goes around the last ReLU: dy must pass its gate first": {"gated": False},
        "the last ReLU has no gate": {"last": False},
        "the inner ReLU has no gate": {"inner": False},
        "the last ReLU is open at exactly 0": {"last_at": np.greater_equal},
        "the inner ReLU is open at exactly 0": {"inner_at": np.greater_equal},
        "both ReLUs are open at exactly 0": {"last_at": np.greater_equal, "inner_at": np.greater_equal},
    }
    for why, options in wrong.items():
        other = _pulled(dy, x, w1, w2, **options)
        if all(np.array_equal(a, b) for a, b in zip(found, other, strict=True)):
            raise NotRight(why)
    for name, one, wanted in zip(("dx", "dw1", "dw2"), found, right, strict=True):
        if not np.array_equal(one, wanted):
            place = tuple(int(i) for i in np.argwhere(one != wanted)[0])
            raise NotRight(f"{name}{list(place)} is {one[place]:g}, expected {wanted[place]:g}")
    return "dx, dw1 and dw2, to the bit"


def _pulled(
    dy: Array,
    x: Array,
    w1: Array,
    w2: Array,
    *,
    skip: float = 1.0,
    gated: bool = True,
    last: bool = True,
    inner: bool = True,
    last_at: np.ufunc = np.greater,
    inner_at: np.ufunc = np.greater,
) -> tuple[Array, Array, Array]:
    """The gradients of relu(x + relu(x w1ᵀ) w2ᵀ), or of what a mistake makes of them."""
    z = x @ w1.T
    h = np.maximum(z, 0)
    ds = dy * last_at(x + h @ w2.T, 0) if last else dy
    dz = ds @ w2 * inner_at(z, 0) if inner else ds @ w2
    return skip * (ds if gated else dy) + dz @ w1, dz.T @ x, ds.T @ h
