"""Weights that were changed before they were used: rounded, pruned, rescaled, those of another call."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lenet.diagnose import probe_inputs
from lenet.diagnose.mistakes.base import Family, Kind, Mistake
from lenet.diagnose.mistakes.precision import AFFINE, GROUPS, to_bits
from lenet.diagnose.mistakes.wrong_forward import Call, Change, before
from parity.arithmetic import Array

FAMILY = Family()
SELDOM = 3  # the tier of changes that are named only if no others explain the values
Change1 = Callable[[Array], Array]


def _decimals(n: int) -> Change1:
    return lambda w: np.round(w, n)


def _cut_decimals(n: int) -> Change1:
    return lambda w: np.trunc(w * 10.0**n) / 10.0**n


def _digits(n: int) -> Change1:
    """Rounded to n significant decimal digits."""

    def change(w: Array) -> Array:
        with np.errstate(divide="ignore"):
            size = np.where(w == 0, 0, np.floor(np.log10(np.abs(w))))
        unit = 10.0 ** (size - n + 1)
        return np.rint(w / unit) * unit

    return change


def _fixed(bits: int, whole: Change1) -> Change1:
    return lambda w: whole(w * 2.0**bits) / 2.0**bits


def _float8(bits: int, least: int, largest: float) -> Change1:
    """Rounded to `bits` significant bits with a smallest normal exponent, cut off at the largest number."""

    def change(w: Array) -> Array:
        tiny = 2.0 ** (least - bits + 1)  # the step between subnormal numbers
        small = np.abs(w) < 2.0**least
        return np.clip(np.where(small, np.rint(w / tiny) * tiny, to_bits(w, bits)), -largest, largest)

    return change


def _steps(levels: int, by_row: bool, dtype: str = "float32") -> Change1:
    """Rounded to whole multiples of the largest magnitude over `levels`, which is computed in this dtype."""

    def change(w: Array) -> Array:
        axes = tuple(range(1, w.ndim)) if by_row else tuple(range(w.ndim))
        if not axes:  # a bias has one value for each row
            axes = (0,)
        a = w.astype(dtype)  # as it was done: the largest weight may lie halfway between two steps
        scale = np.abs(a).max(axes, keepdims=True) / a.dtype.type(levels)
        scale = np.where(scale == 0, a.dtype.type(1), scale)
        return (np.round(a / scale) * scale).astype(w.dtype)

    return change


def _pruned(share: float, fewer: int = 0) -> Change1:
    """The smallest magnitudes, a share of all, set to zero; the number of them is rounded, less `fewer`."""

    def change(w: Array) -> Array:
        kept = w.copy().ravel()
        kept[np.argsort(np.abs(kept), kind="stable")[: round(share * kept.size) - fewer]] = 0
        return kept.reshape(w.shape)

    return change


def _standardised(w: Array) -> Array:
    axes = tuple(range(1, w.ndim))
    spread = w.std(axes, keepdims=True)
    return (w - w.mean(axes, keepdims=True)) / np.where(spread == 0, 1, spread)


def _unit(w: Array) -> Array:
    norm = np.sqrt((w * w).sum(tuple(range(1, w.ndim)), keepdims=True))
    return w / np.where(norm == 0, 1, norm)


def _spectral(w: Array) -> Array:
    return w / max(float(np.linalg.norm(w.reshape(len(w), -1), 2)), 1e-300)


TEXT = "Save weights with all their digits: 9 are enough for float32 ('%.9g'), or in binary."
ROUNDED: list[tuple[str, str, str, Change1]] = [
    *(
        (
            f"rounded to {n} decimals",
            f"They went through text with {n} decimals (%.{n}f), say.",
            TEXT,
            _decimals(n),
        )
        for n in range(1, 9)
    ),
    *(
        (
            f"cut off after {n} decimals",
            f"All digits after the first {n} decimals are dropped.",
            TEXT,
            _cut_decimals(n),
        )
        for n in range(1, 7)
    ),
    *(
        (
            f"rounded to {n} significant digits",
            f"They went through text with {n} digits (%.{n}g), say.",
            TEXT,
            _digits(n),
        )
        for n in range(2, 8)
    ),
    *(
        (
            f"{word} to multiples of 2^-{n}",
            f"They are fixed-point numbers with {n} bits after the point.",
            "Keep the weights in float32.",
            _fixed(n, whole),
        )
        for n in range(1, 17)
        for word, whole in (("rounded", np.rint), ("cut off", np.trunc), ("rounded down", np.floor))
    ),
    *(
        (
            f"rounded to {n} significant bits",
            f"They are stored with {n} significant bits, fewer than float32's 24.",
            "Keep the weights in float32.",
            lambda w, n=n: to_bits(w, n),
        )
        for n in (*range(3, 8), 9, 10, *range(12, 23))
    ),
    (
        "rounded to float8 (e4m3)",
        "They are stored in 8 bits, four of them significant.",
        "Keep the weights in float32.",
        _float8(4, -6, 448.0),
    ),
    (
        "rounded to float8 (e5m2)",
        "They are stored in 8 bits, three of them significant.",
        "Keep the weights in float32.",
        _float8(3, -14, 57344.0),
    ),
    *(
        (
            f"rounded to {bits}-bit integers: {words}, symmetric",
            f"They are stored as {bits}-bit integers with a scale.",
            "Keep the weights in float32.",
            _steps(2 ** (bits - 1) - 1, by_row, dtype),
        )
        for dtype, numbers in (("float32", (2, 3, 4, 5, 6, 16)), ("float64", (4, 8)))
        for bits in numbers
        for words, by_row in (("one scale", False), ("a scale per output channel", True))
    ),
]
CHANGED: list[tuple[str, str, str, Change1]] = [
    (
        "zero",
        "They are all zero: allocated, and never filled. If what goes into the layer was not returned, it "
        "may be that which is zero.",
        "Load them before the model is used, and check the sum of what was loaded.",
        np.zeros_like,
    ),
    ("without their sign", "Their absolute values are used.", "Use them as they are.", np.abs),
    ("negated", "They have the opposite sign.", "Use them as they are.", np.negative),
    (
        "reduced to their sign",
        "They are −1 or 1, as in a binary network.",
        "Use them as they are.",
        np.sign,
    ),
    (
        "reduced to their sign times the mean magnitude",
        "They are binary, with one scale.",
        "Use them as they are.",
        lambda w: np.sign(w) * np.abs(w).mean(),
    ),
    (
        "reduced to their sign times the mean magnitude of each output",
        "They are binary, with a scale for each output.",
        "Use them as they are.",
        lambda w: np.sign(w) * np.abs(w).mean(tuple(range(1, w.ndim)), keepdims=True),
    ),
    (
        "without their negative values",
        "Negative values are zero: a constraint to be non-negative.",
        "Use them as they are.",
        lambda w: np.maximum(w, 0),
    ),
    *(
        (
            f"clipped to ±{limit:g}",
            f"Values beyond ±{limit:g} are cut off.",
            "Use them as they are.",
            lambda w, limit=limit: np.clip(w, -limit, limit),
        )
        for limit in (0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0)
    ),
    *(
        (
            f"pruned below {limit:g}",
            f"Values with a magnitude below {limit:g} are zero.",
            "Load the weights before they were pruned.",
            lambda w, limit=limit: np.where(np.abs(w) < limit, 0, w),
        )
        for limit in (1e-4, 1e-3, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    ),
]
WHOLE: list[tuple[str, str, str, Change1]] = [  # of weights alone
    *(
        (
            f"pruned: the smallest {share:.0%}",
            f"The {share:.0%} of the layer's weights with the smallest magnitude are zero.",
            "Load the weights before they were pruned.",
            _pruned(share),
        )
        for share in (0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95)
    ),
    (
        "pruned: the smaller half, below the median",
        "Values below the lower median of all magnitudes are zero, as torch.median gives it.",
        "Load the weights before they were pruned.",
        _pruned(0.5, fewer=1),
    ),
    (
        "standardised for each output",
        "The weights of each output have mean 0 and deviation 1 (weight standardisation).",
        "Use them as they are.",
        _standardised,
    ),
    (
        "of norm 1 for each output",
        "The weights of each output are divided by their norm (weight norm without its gain).",
        "Use them as they are, or load the gain too.",
        _unit,
    ),
    (
        "divided by their spectral norm",
        "The matrix is divided by its largest singular value.",
        "Remove spectral norm from the layer.",
        _spectral,
    ),
    *(
        (
            f"multiplied by {words}",
            "They are scaled at run time (an equalised learning rate); the shared ones are scaled already.",
            "Use them as they are.",
            factor,
        )
        for words, factor in (
            ("√(2 / inputs)", lambda w: w * np.sqrt(2 / (w.size / len(w)))),
            ("1 / √inputs", lambda w: w / np.sqrt(w.size / len(w))),
        )
    ),
]


def _as_stored(w: Array, dtype: str) -> Array:
    """Numbers of the port's dtype."""
    return w.astype(dtype).astype(np.float64)


def _with(change: Change1, parts: str) -> Change:
    def alter(call: Call) -> Call:
        w = _as_stored(change(call.w), call.dtype) if "w" in parts else call.w
        b = _as_stored(change(call.b), call.dtype) if "b" in parts else call.b
        return replace(call, w=w, b=b)

    return before(alter)


for _parts, _what in (("wb", "parameters"), ("w", "weights"), ("b", "biases")):
    for _name, _text, _remedy, _change in [*ROUNDED, *CHANGED, *(WHOLE if _parts == "w" else [])]:
        if _parts == "b" and _name in ("zero", "negated"):
            continue  # known of the operators: "bias missing"
        # A file holds all of a layer's parameters; biases alone are seldom changed, and small changes of
        # them explain what changes of all do.
        _seldom = _parts == "b" or (_parts == "wb" and _name in [name for name, *_ in CHANGED])
        _kind = Kind(f"{_what} {_name}", _text, _remedy)
        FAMILY.add_groups(GROUPS, _kind, _with(_change, _parts), tier=SELDOM if _seldom else 0)


# --- the weights of another call ---------------------------------------------------------------


def _call_of(call: Call) -> int | None:
    """The number of the probe whose weights the call has; None if it is none of them."""
    for k, probe in enumerate(probe_inputs.standard().asked):
        bias = f"{call.layer.name}.bias"
        if bias in call.params and np.array_equal(probe.params[bias], call.params[bias]):
            return k
    return None


def _of_call(which: Callable[[int], int]) -> Change:
    def alter(call: Call) -> Call:
        number = _call_of(call)
        if number is None:
            return call
        other = probe_inputs.standard().asked[max(0, which(number))].params
        name = call.layer.name
        w, b = (other[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        return replace(call, w=w, b=b)

    return before(alter)


for _name, _text, _which in (
    (
        "weights of the first call",
        "The layer has the weights that were passed in the first call: the model is built once and kept.",
        lambda k: 0,
    ),
    (
        "weights of the call before",
        "The layer has the weights that were passed in the call before.",
        lambda k: k - 1,
    ),
):
    FAMILY.add_groups(
        GROUPS,
        Kind(_name, _text, "Load the weights in each call, before the model is used."),
        _of_call(_which),
    )


def likely(mistake: Mistake) -> bool:
    """Whether it is made in all layers at once, as a file format does, or fits all layers of a kind."""
    name, count = mistake.kind.name, len(mistake.stages)
    if name.startswith("biases"):
        return False
    if name in ("weights zero", "parameters zero") or "call" in name:
        return True
    return count == len(AFFINE) or (count > 1 and ("integers" in name or "pruned: " in name))
