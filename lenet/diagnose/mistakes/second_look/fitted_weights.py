"""The weights with which a layer was computed, fitted to its input and output, and which weights they are.

A convolution's kernels see many windows, so that its weights follow from the values. A dense layer sees one
row for each digit, fewer than it has weights: what is fitted there is one factor for each input, or whether
some weights that are the same in every call fit at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lenet.diagnose.mistakes.base import Kind, Mistake
from lenet.diagnose.mistakes.second_look.fitted_lines import number, rounded
from lenet.diagnose.mistakes.second_look.fitted_orders import ZERO, nearest
from lenet.diagnose.mistakes.second_look.shown import LINE, Example, Shown, listed
from lenet.diagnose.mistakes.wrong_forward import STAGES, Call, before
from lenet.network.architecture import Layer
from parity.arithmetic import Array
from parity.operators.affine import Conv

RANK = 1e-7  # smallest singular value, relative to the largest, of a determined fit
LEAST = 1e-3  # smallest size of biases that are not those of the faint probe
UNLIKE = 0.3  # correlation with the right values above which other weights are not unrelated ones


@dataclass(frozen=True)
class Fit:
    """Weights and bias that give an output, or that do not (`close`).

    Attributes:
        w: (outputs, inputs); b: (outputs,).
        close: whether they explain the values up to rounding.
        determined: whether no others do.
    """

    w: Array
    b: Array
    close: bool
    determined: bool


def mistakes(shown: Shown) -> Iterator[Mistake]:
    """Other weights of a convolution or a dense layer."""
    if not shown.layer.affine:
        return
    rows = [(_columns(shown.layer, one.x.value), _outputs(one.seen)) for one in shown.examples]
    if isinstance(shown.layer.operator, Conv):
        yield from _not_loaded(shown, rows)
        yield from _moved(shown, [_fitted(x, y) for x, y in rows])
    else:
        yield from _dense_not_loaded(shown, rows)
        yield from _rows_moved(shown, rows)
        yield from _inputs(shown, rows)


def _columns(layer: Layer, x: Array) -> Array:
    """The inputs of every output value: (values, terms of its sum)."""
    if not isinstance(layer.operator, Conv):
        return x
    p, k = layer.padding, layer.kernel
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, layer.terms)


def _outputs(y: Array) -> Array:
    """(values, output channels)."""
    return np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])


def _fitted(x: Array, y: Array, seen: Array | float = 0.0) -> Fit:
    """Least squares in float64; then again, where a row of small terms, which rounds little, counts more.

    Args:
        seen: what a port returned, if y is a part of it.
    """
    rows = np.hstack([x, np.ones((len(x), 1))])
    found, determined = _least_squares(rows, y, np.ones((len(x), 1)))
    noise = (np.abs(rows) @ np.abs(found) + np.abs(seen)).mean(1, keepdims=True)
    if determined and noise.any():
        found, _ = _least_squares(rows, y, np.maximum(noise, noise.max() * RANK))
    close = np.abs(rows @ found - y).max() <= LINE * max(np.abs(y - found[-1]).max(), 1e-300)
    return Fit(found[:-1].T, found[-1], bool(close), determined)


def _least_squares(rows: Array, y: Array, noise: Array) -> tuple[Array, bool]:
    """The solution, each row in units of its noise and each column of its size; and if it is the only one."""
    rows, y = rows / noise, y / noise
    size = np.abs(rows).max(0)
    size[size == 0] = 1
    found, _, rank, _ = np.linalg.lstsq(rows / size, y, rcond=RANK)
    return found / size[:, None], bool(rank == rows.shape[1])


# --- weights that are the same in every call ---------------------------------------------------

NOT_LOADED = Kind(
    "weights not loaded",
    "The layer has the same weights in every call, and none of those that were passed: the ones that it was "
    "created with, say.",
    "Load the weights: check the keys that load_state_dict reports as missing (strict=True), and the names.",
)


def _not_loaded(shown: Shown, rows: list[tuple[Array, Array]]) -> Iterator[Mistake]:
    """The same weights fit on all probes, with a bias that is the same, too, or that was loaded."""
    x, seen = (np.concatenate(some) for some in zip(*rows, strict=True))
    fit = _fitted(x, seen)
    if fit.close and fit.determined:
        yield _constant(shown, fit.w, fit.b)
    biases = [one.params[f"{shown.layer.name}.bias"] for one in shown.examples]
    fit = _fitted(x, np.concatenate([y - b for (_, y), b in zip(rows, biases, strict=True)]), seen)
    if fit.close and fit.determined:
        yield _constant(shown, fit.w, None)


def _constant(shown: Shown, w: Array, b: Array | None) -> Mistake:
    """These weights in every call, and this bias unless it was loaded."""
    own = w.reshape(shown.layer.weight_shape)

    def alter(call: Call) -> Call:
        return replace(call, w=own, b=call.b if b is None else b)

    return Mistake(NOT_LOADED, {shown.layer.name: before(alter)})


def _dense_not_loaded(shown: Shown, rows: list[tuple[Array, Array]]) -> Iterator[Mistake]:
    """Fewer rows than weights: any values can be fitted. What shows that nothing was loaded is the probe on
    which all is tiny but the bias that was not loaded; and what is left has nothing in common with the
    right values."""
    if len(rows) < 2 or any(STAGES[name].affine for name in shown.stages[:-1]):
        return  # what a layer before makes of its own parameters would look the same
    faint = int(np.argmin([np.abs(x).max() for x, _ in rows]))
    b = rows[faint][1].mean(0)
    own = shown.examples[faint].params[f"{shown.layer.name}.bias"]
    if np.std(b) < LEAST or np.abs(own).max() > LEAST * np.std(b):
        return
    x, y = (np.concatenate(some) for some in zip(*rows, strict=True))
    found, *_ = np.linalg.lstsq(x, y - b, rcond=1e-12)
    for one in shown.examples:
        right = one.right.value - one.params[f"{shown.layer.name}.bias"]
        if one is not shown.examples[faint] and abs(_correlation(right, one.seen - b)) > UNLIKE:
            return
    yield _constant(shown, found.T, b)


def _correlation(a: Array, b: Array) -> float:
    """Of the values of each output, without what all digits have in common."""
    one, two = ((v - v.mean(0)).ravel() for v in (a, b))
    return float(one @ two / max(np.linalg.norm(one) * np.linalg.norm(two), 1e-300))


# --- a convolution's weights in other places ---------------------------------------------------


def _moved(shown: Shown, fits: list[Fit]) -> Iterator[Mistake]:
    """Each weight is one of ours, or zero, or each kernel has a factor."""
    if not all(fit.close for fit in fits) or not any(fit.determined for fit in fits):
        return
    sure = [(fit, one) for fit, one in zip(fits, shown.examples, strict=True) if fit.determined]
    ours = [one.params[f"{shown.layer.name}.weight"] for _, one in sure]
    order = nearest([fit.w.reshape(-1, 1) for fit, _ in sure], [w.reshape(-1, 1) for w in ours])
    shape, name = shown.layer.weight_shape, shown.layer.name
    if order is None:
        yield from _scaled(name, [fit.w.reshape(shape) for fit, _ in sure], ours)
        return
    order = order.reshape(shape)
    if (order == np.arange(order.size).reshape(shape)).all():
        return
    zeros = order == ZERO
    kind = _of_order(order)

    def alter(call: Call) -> Call:
        return replace(call, w=np.where(zeros, 0, call.w.ravel()[np.maximum(order, 0)]))

    yield Mistake(kind, {name: before(alter)})


def _of_order(order: Array) -> Kind:
    """The name of weights in other places; `order` has the layer's shape (out, in, height, width)."""
    own = np.arange(order.size).reshape(order.shape)
    zeros = order == ZERO
    remedy = "Copy the weights as they are: OIHW, each to its own place."
    if (zeros | (order == own)).all():
        return _of_zeros(zeros)
    for axis, word in enumerate(
        ("filters", "input channels", "rows of the kernels", "columns of the kernels")
    ):
        picked = np.moveaxis(order, axis, 0).reshape(order.shape[axis], -1)
        known = np.moveaxis(own, axis, 0).reshape(order.shape[axis], -1)
        places = [np.flatnonzero((known == row).all(1)) for row in picked]
        if all(len(place) for place in places):
            numbers = np.array([place[0] for place in places])
            if len(set(numbers.tolist())) == 1:
                return Kind(
                    f"weights: one of the {word} repeated: {numbers[0]}",
                    f"All {word} are the same one.",
                    remedy,
                )
            return Kind(
                f"weights: {word} in another order: {listed(numbers)}",
                f"The {word} of the weights are in another order; the biases are not.",
                remedy,
            )
    return Kind(
        f"weights in other places: {listed(order)}",
        "The weights are the right ones, reshaped, transposed or repeated in another order. The numbers are "
        "places in the flat OIHW array, in the order in which the port uses them.",
        remedy,
    )


def _of_zeros(zeros: Array) -> Kind:
    """The name of weights of which some are zero."""
    kernels = np.asarray(zeros.all((2, 3)))
    if (zeros == kernels[:, :, None, None]).all():
        seen = [[k for k in range(zeros.shape[1]) if not row[k]] for row in kernels]
        return Kind(
            f"weights: kernels zero between channels: {int(kernels.sum())} of {kernels.size}",
            "Output channels see only some input channels: groups, a table or a mask. The first sees "
            f"{_or_none(seen[0])}, the last {_or_none(seen[-1])}.",
            "Use a full convolution: groups=1, no mask.",
        )
    places = zeros.all((0, 1))
    if (zeros == places).all():
        return Kind(
            f"weights: places of the kernels zero: {listed(np.flatnonzero(places))}",
            "The same places are zero in every kernel: a smaller or a masked kernel.",
            "Use the whole kernel.",
        )
    return Kind(
        f"weights: {int(zeros.sum())} of {zeros.size} set to zero",
        "The same weights are zero in every call, the others are right: a mask.",
        "Use no mask (pruning, DropConnect).",
    )


def _or_none(numbers: list[int]) -> str:
    return listed(np.array(numbers, int)) or "none"


def _scaled(name: str, found: list[Array], ours: list[Array]) -> Iterator[Mistake]:
    """A factor for each kernel, the same on every probe; one for all of them shows in the output, too."""
    factors = []
    for got, own in zip(found, ours, strict=True):
        size = (own * own).sum((2, 3))
        if not size.all():
            return
        factor = (got * own).sum((2, 3)) / size
        if np.abs(got - factor[:, :, None, None] * own).max() > LINE * np.abs(own).max():
            return
        factors.append(factor)
    size = LINE * np.abs(factors).max()
    if np.ptp(factors, axis=0).max() > size or np.ptp(factors, axis=2).max() <= size:
        return
    factor = factors[0]
    each = factor[0]
    if np.ptp(factor, axis=0).max() <= LINE * np.abs(factor).max():
        words = ", ".join(number(float(one)) for one in each[:8])
        name_, text = f"weights: input channels multiplied by {words}", "Each input channel has a factor."
    else:
        name_, text = "weights: a factor for each kernel", "Each kernel has a factor of its own."
    kind = Kind(name_, text, "Use the weights as they are.")
    yield Mistake(kind, {name: before(lambda call: replace(call, w=call.w * factor[:, :, None, None]))})


def _rows_moved(shown: Shown, rows: list[tuple[Array, Array]]) -> Iterator[Mistake]:
    """The rows of a dense layer's weights in another order, its bias in the right one."""
    biases = [one.params[f"{shown.layer.name}.bias"] for one in shown.examples]
    found = [(y - b).T for (_, y), b in zip(rows, biases, strict=True)]
    ours = [(_outputs(one.right.value) - b).T for one, b in zip(shown.examples, biases, strict=True)]
    order = nearest(found, ours)
    if order is None or (order == np.arange(len(order))).all():
        return
    zeros = order == ZERO
    name = (
        f"zero for outputs {listed(np.flatnonzero(zeros))}"
        if zeros.any()
        else f"in another order: {listed(order)}"
    )
    kind = Kind(
        f"weights: rows {name}",
        "The rows of the weights belong to other outputs, or are zero; the bias is right.",
        "Copy the weights as they are: (outputs, inputs), each row to its own place.",
    )

    def alter(call: Call) -> Call:
        return replace(call, w=np.where(zeros[:, None], 0, call.w[np.maximum(order, 0)]))

    yield Mistake(kind, {shown.layer.name: before(alter)})


# --- a dense layer's inputs --------------------------------------------------------------------


def _inputs(shown: Shown, rows: list[tuple[Array, Array]]) -> Iterator[Mistake]:
    """A factor for each input: Σ_k s_k w_ck x_nk = y_nc − b_c has more equations than inputs."""
    known: list[Array] = []
    for one, (x, y) in zip(shown.examples, rows, strict=True):
        factors = _factors(one, x, y, shown.layer.name)
        if factors is None:
            return
        known.append(factors)
    table = np.array(known)
    some = np.isfinite(table).any(0)
    factors = np.ones(table.shape[1])
    factors[some] = np.nanmedian(table[:, some], axis=0)
    if np.nanmax(np.abs(table - factors)) > 1e-2 or np.ptp(factors) <= LINE:
        return  # not the same on every probe; or one factor, which is no matter of the inputs
    factors = np.where(np.abs(factors) < 1e-3, 0, np.where(np.abs(factors - 1) < 1e-3, 1, factors))
    zeros = factors == 0
    if (zeros | (factors == 1)).all():
        kind = Kind(
            f"inputs ignored: {listed(np.flatnonzero(zeros))}",
            f"{int(zeros.sum())} of {len(zeros)} inputs do not reach the layer: their weights are zero.",
            "Use all inputs and all weights: no mask.",
        )
    else:
        other = factors[factors != 1]
        kind = Kind(
            f"inputs multiplied by factors of their own: {rounded(other)}",
            f"{len(other)} of {len(factors)} inputs have a factor.",
            "Use the weights as they are.",
        )
    yield Mistake(kind, {shown.layer.name: before(lambda call: replace(call, w=call.w * factors))})


def _factors(one: Example, x: Array, y: Array, name: str) -> Array | None:
    """The factors, NaN where an input has no influence; None if there are no such factors."""
    w, b = one.params[f"{name}.weight"], one.params[f"{name}.bias"]
    size = np.abs(x).max(0) * np.abs(w).max(0)
    alive = size > 1e-6 * size.max()
    x, w, scale = x[:, alive], w[:, alive], np.sqrt((x[:, alive] ** 2).sum(0) * (w[:, alive] ** 2).sum(0))
    target = y - b
    matrix = (x.T @ x) * (w.T @ w) / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < 1e-9 * values[-1]:
        return None  # not determined
    found = vectors @ ((vectors.T @ ((x * (target @ w)).sum(0) / scale)) / values) / scale
    if np.abs((x * found) @ w.T - target).max() > LINE * max(np.abs(target).max(), 1e-300):
        return None
    factors = np.full(len(alive), np.nan)
    factors[alive] = found
    return factors
