"""The right network as functions that a mistake can change, with its rounding bound.

Each layer is a `Compute`: it takes a `Call` (input, parameters, geometry) and returns the float64 value with
its bound. A mistake is a `Change`, which maps the right `Compute` to the wrong one: `before` changes the
layer's arguments, `after` its result, and `instead` replaces the layer. Changes compose, so two mistakes in
a layer are two changes in a row. The bound of a wrong layer comes from the right layer inside it.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from lenet.network.architecture import LAYERS, Layer
from lenet.reference.forward import in_format
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FORMATS
from parity.errors import Unjudged
from parity.judging.causes.mistake import MISFITS
from parity.judging.causes.together import core, together, with_core
from parity.operators import Operator
from parity.operators.affine import Conv, Gemm
from parity.operators.elementwise import Identity

IMAGE = Layer("image", Identity())  # a stage before the first layer, for mistakes in the data
STAGES: dict[str, Layer] = {layer.name: layer for layer in (IMAGE, *LAYERS)}


@dataclass(frozen=True)
class Call:
    """The arguments of a layer's computation.

    Attributes:
        layer: the layer, with its geometry.
        x: its input, with the error carried in.
        params: all shared weights, float64.
        dtype: the port's dtype.
        w, b: the layer's own weights and biases; empty arrays if it has none.
    """

    layer: Layer
    x: Bounded
    params: Mapping[str, Array]
    dtype: str
    w: Array
    b: Array

    @property
    def u(self) -> float:
        """The port's unit roundoff."""
        return FORMATS[self.dtype].u

    def with_mistake(self, wrong: Operator) -> "Call":
        """The same call with a mistake in the layer's operator, beside those that it has.

        Raises:
            ValueError: the two do not go together.
        """
        usual, now = STAGES[self.layer.name].operator, self.layer.operator
        operator = wrong if now is usual else together(usual, wrong, now)
        layer = Layer(self.layer.name, operator, self.layer.params)
        return Call(layer, self.x, self.params, self.dtype, self.w, self.b)


Compute = Callable[[Call], Bounded]
Change = Callable[[Any], Any]  # maps a Compute to a Compute; backward, a `Part` to a `Part`
Changes = Mapping[str, Change]


@dataclass(frozen=True, eq=False, kw_only=True)
class Gridded(Bounded):
    """A value in a coarse format: within the bound, and unchanged by rounding to that format.

    Attributes:
        grid: rounds to the format.
        coarser: rounds to a format with a bit less. If that changes no value either, the values are no
            evidence for this format (small integers are numbers of every format).
    """

    grid: Callable[[Array], Array]
    coarser: Callable[[Array], Array]


def moved(x: Bounded, change: Callable[[Array], Array]) -> Bounded:
    """Apply `change`, which moves or drops values or sets them to zero, to values and errors alike."""
    return x.move(change)


def before(alter: Callable[..., Any]) -> Change:
    """A change that gives the right layer other arguments."""
    return lambda compute: lambda call: compute(alter(call))


def after(alter: Callable[..., Any]) -> Change:
    """A change of the right layer's output."""
    return lambda compute: lambda call: alter(compute(call), call)


def instead(wrong: Callable[..., Any]) -> Change:
    """A change that replaces the layer."""
    return lambda compute: wrong


def right(call: Call) -> Bounded:
    """The value of a layer, with its bound, which is zero where no sum can round.

    Raises:
        ValueError: the shapes do not fit the layer.
    """
    usual = core(call.layer.operator)
    sharp = _Sharp(usual, call.params) if isinstance(usual, Conv | Gemm) else usual
    return _evaluated(with_core(call.layer.operator, sharp), call)


def rounded(call: Call) -> Bounded:
    """The same with the full rounding bound of every sum."""
    return _evaluated(call.layer.operator, call)


def _evaluated(operator: Operator, call: Call) -> Bounded:
    x = in_format(call.x, call.dtype)
    if x.error is not None and not x.error.any():
        x = replace(x, error=None)  # which takes no computing of what errors become
    inputs = [x, *(x.like(a) for a in (call.w, call.b))] if call.layer.params else [x]
    try:
        y = operator.evaluate(*inputs)
    except (Unjudged, *MISFITS) as error:
        raise ValueError(str(error)) from error
    assert isinstance(y, Bounded)
    return y


@dataclass(frozen=True)
class _Sharp(Operator):
    """Wx + b: where no operation rounds, neither in float64 nor in the port's dtype, the error is zero.

    Attributes:
        right: the layer's operator, with other attributes where these are the mistake.
        params: all shared weights.
    """

    TYPE: ClassVar[str] = "sharp"

    right: Conv | Gemm
    params: Mapping[str, Array]

    def evaluate(self, x: Bounded, w: Bounded, b: Bounded) -> Bounded:
        y = self.right.evaluate(x, w, b)
        assert isinstance(y, Bounded)
        return replace(y, error=None) if never_rounds(x, w, b, self.params) else y


# Affine layers with the full rounding bound, even where the direct computation is exact: weights or products
# may be computed through other numbers (weight norm, a fast convolution).
ROUNDED: Changes = {name: instead(rounded) for name, layer in STAGES.items() if layer.affine}


def walk(
    stages: Iterable[str], x: Bounded, params: Mapping[str, Array], dtype: str, changes: Changes
) -> Bounded:
    """Run x through the named stages, each of them right or as `changes` defines it.

    Raises:
        ValueError: the shapes of the changed network do not fit.
    """
    for name in stages:
        compute = changes[name](right) if name in changes else right
        x = compute(call_of(name, x, params, dtype))
    return x


def call_of(name: str, x: Bounded, params: Mapping[str, Array], dtype: str) -> Call:
    """The arguments of a stage in the right network."""
    none = np.empty(0)
    w, b = params.get(f"{name}.weight", none), params.get(f"{name}.bias", none)
    return Call(STAGES[name], x, params, dtype, w, b)


def compose(*changes: Changes) -> Changes:
    """Several mistakes at once. In the same layer, the first is the outermost."""
    together: dict[str, Change] = {}
    for one in changes:
        for name, change in one.items():
            inner = together.get(name)
            together[name] = change if inner is None else _both(inner, change)
    return together


def _both(outer: Change, inner: Change) -> Change:
    return lambda compute: outer(inner(compute))


def never_rounds(x: Bounded, w: Bounded, b: Bounded, params: Mapping[str, Array]) -> bool:
    """Whether no sum of Wx + b can round: as `lenet.reference.certificate`, with a cruder bound.

    With x, w and b on dyadic grids, every partial sum is a multiple of the finer of two steps, that of the
    products and that of the biases, and at most max_o Σ|w_o| · max|x| + max|b|. If this maximum is below
    2^p steps, arithmetic with p significant bits computes every partial sum exactly.
    """
    if any(one.error is not None and one.error.any() for one in (x, w, b)) or not x.value.size:
        return False
    x_bits = grid_bits(x.value)
    if x_bits is None:
        return False
    w_bits, b_bits = (_kept_bits(one.value, params) for one in (w, b))
    if w_bits is None or b_bits is None:
        return False
    load = np.abs(w.value).reshape(w.shape[0], -1).sum(axis=1).max() * np.abs(x.value).max()
    grid = max(x_bits + w_bits, b_bits)
    return bool((load + np.abs(b.value).max(initial=0)) * 2.0**grid < 0.5 / x.format.u)


_KEPT: dict[int, tuple[weakref.ref, int | None]] = {}  # the grids of parameters, by id


def _kept_bits(a: Array, params: Mapping[str, Array]) -> int | None:
    """`grid_bits`, cached if `a` is one of the parameters itself."""
    if not any(a is one for one in params.values()):
        return grid_bits(a)
    owner, bits = _KEPT.get(id(a), (None, None))
    if owner is None or owner() is not a:
        bits = grid_bits(a)
        _KEPT[id(a)] = weakref.ref(a), bits
    return bits


def grid_bits(a: Array) -> int | None:
    """The smallest k for which 2^k · a is integer everywhere; None if above 60 or if a is not finite."""
    bits = _bits(a.ravel()[:: max(1, a.size // 256)])  # a quick look: most arrays are on no grid
    if bits is None or bits > 60:
        return None
    lifted = a * 2.0**bits
    if not (np.rint(lifted) == lifted).all():
        bits = _bits(a)
    return bits if bits is not None and bits <= 60 else None


def _bits(a: Array) -> int | None:
    """The same without the limit of 60, from the lowest bit set in each 53-bit significand."""
    a = a[a != 0]
    if not a.size:
        return -60
    if not np.isfinite(a).all():
        return None
    mantissa, exponent = np.frexp(a)
    units = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = np.frexp((units & -units).astype(np.float64))[1] - 1
    return int((53 - exponent - lowest).max())


def of_type(*types: type[Operator]) -> tuple[str, ...]:
    """Names of the layers with these operators, in order."""
    return tuple(layer.name for layer in LAYERS if isinstance(layer.operator, types))
