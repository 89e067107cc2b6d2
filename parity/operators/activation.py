"""Activations: functions of one value, with parameters.

If libraries write a function in several ways, the formula here is the one whose bound holds for all of
them; a class that covers another order of rounding says so. Attributes are float32 numbers, as in ONNX
files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from parity.arithmetic import Array, Function, Number
from parity.errors import Unjudged
from parity.operators import functions as known
from parity.operators.operator import Elementwise, Inputs, register, unsure_of

HIGHER = Function("larger of two", np.maximum, monotone=True, exact=True)
LOWER = Function("smaller of two", np.minimum, monotone=True, exact=True)
ABOVE = Function("a > b", np.greater, monotone=True, exact=True)
BELOW = Function("a < b", np.less, monotone=True, exact=True)


def _chosen(c: Array, a: Array, b: Array) -> Array:
    return np.where(c.astype(bool), a, b)


CHOICE = Function("a where c, else b", _chosen, monotone=True, exact=True)


def choose(condition: Number, a: Number | float, b: Number | float) -> Number:
    """a where the condition holds, b elsewhere. Where both are possible, the error covers both a and b."""
    return condition.apply(CHOICE, a, b)


def single(value: float) -> float:
    """An attribute as ONNX stores it: in float32."""
    return float(np.float32(value))


@register
@dataclass(frozen=True)
class Relu(Elementwise):
    """max(x, 0)."""

    TYPE: ClassVar[str] = "Relu"

    def evaluate(self, x: Number) -> Number:
        return x.maximum(0)

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        """The cotangent where x is positive; the cotangent or zero where rounding leaves the sign open."""
        x = inputs[0]
        assert x is not None
        gate, doubt = x.comparable > 0, x.doubtful
        back = cotangent.move(lambda d: d * gate)
        return back.either(cotangent.move(lambda d: d * (gate ^ doubt))) if doubt.any() else back


@register
@dataclass(frozen=True)
class LeakyRelu(Elementwise):
    """x where it is not negative, alpha·x elsewhere; default 0.01 in PyTorch and ONNX, 0.3 in Keras 2."""

    TYPE: ClassVar[str] = "LeakyRelu"

    alpha: float = 0.01

    def evaluate(self, x: Number) -> Number:
        return choose(x.apply(BELOW, 0.0), x * single(self.alpha), x)


@register
@dataclass(frozen=True)
class PRelu(Elementwise):
    """x where it is not negative, slope·x elsewhere; the slope is broadcast to x."""

    TYPE: ClassVar[str] = "PRelu"

    def evaluate(self, x: Number, slope: Number) -> Number:
        return choose(x.apply(BELOW, 0), x * slope, x)


@register
@dataclass(frozen=True)
class ThresholdedRelu(Elementwise):
    """x where it is above alpha, 0 elsewhere."""

    TYPE: ClassVar[str] = "ThresholdedRelu"

    alpha: float = 1.0

    def evaluate(self, x: Number) -> Number:
        return choose(x.apply(ABOVE, single(self.alpha)), x, 0.0)


@register
@dataclass(frozen=True)
class Elu(Elementwise):
    """x where it is positive, alpha·(e^x − 1) elsewhere.

    Many libraries compute e^x first, so that the error of e^x remains.
    """

    TYPE: ClassVar[str] = "Elu"

    alpha: float = 1.0

    def evaluate(self, x: Number) -> Number:
        return choose(x.apply(ABOVE, 0.0), x, x.apply(LOWER, 0.0).apply(known.EXPM1) * single(self.alpha))


@register
@dataclass(frozen=True)
class Selu(Elementwise):
    """gamma·x where x is positive, gamma·alpha·(e^x − 1) elsewhere."""

    TYPE: ClassVar[str] = "Selu"

    alpha: float = 1.67326319217681884765625
    gamma: float = 1.05070102214813232421875

    def evaluate(self, x: Number) -> Number:
        negative = x.apply(LOWER, 0.0).apply(known.EXPM1) * single(self.alpha)
        return choose(x.apply(ABOVE, 0.0), x, negative) * single(self.gamma)


@register
@dataclass(frozen=True)
class Celu(Elementwise):
    """x where it is positive, alpha·(e^(x/alpha) − 1) elsewhere."""

    TYPE: ClassVar[str] = "Celu"

    alpha: float = 1.0

    def evaluate(self, x: Number) -> Number:
        negative = x.apply(LOWER, 0.0)
        scaled = negative if self.alpha == 1 else negative / single(self.alpha)
        return choose(x.apply(ABOVE, 0.0), x, scaled.apply(known.EXPM1) * single(self.alpha))


@register
@dataclass(frozen=True)
class HardSigmoid(Elementwise):
    """alpha·x + beta, clipped to [0, 1]: 0.2 x + 0.5 in ONNX and Keras 2, x/6 + 0.5 in PyTorch and Keras 3.

    Some libraries compute min(max(x + 3, 0), 6)/6, which rounds two more times.
    """

    TYPE: ClassVar[str] = "HardSigmoid"

    alpha: float = 0.2
    beta: float = 0.5

    def evaluate(self, x: Number) -> Number:
        line = x * single(self.alpha) + single(self.beta)
        return line.apply(known.ROUNDED).maximum(0.0).minimum(1.0)


@register
@dataclass(frozen=True)
class HardSwish(Elementwise):
    """x·g, where g is x/6 + 0.5 clipped to [0, 1].

    Some libraries compute x·min(max(x + 3, 0), 6)/6, whose last two operations each round once more.
    """

    TYPE: ClassVar[str] = "HardSwish"

    def evaluate(self, x: Number) -> Number:
        gate = (x.divided(6) + 0.5).maximum(0.0).minimum(1.0)
        return (x * gate).apply(known.ROUNDED)


@register
@dataclass(frozen=True)
class Clip(Elementwise):
    """x clipped to two limits, which are attributes before opset 11 and inputs since.

    Attributes:
        min, max: None for no limit. ONNX then uses the lowest and the largest number of the format, which
            makes a difference only for infinite values.
    """

    TYPE: ClassVar[str] = "Clip"

    min: float | None = None
    max: float | None = None

    @classmethod
    def read(cls, attributes: Mapping[str, Any], opset: int) -> Self:
        if attributes and opset >= 11:
            raise Unjudged(f"Clip with attribute {min(attributes)} in opset {opset}")
        return super().read(attributes, opset)

    def evaluate(self, x: Number, low: Number | None = None, high: Number | None = None) -> Number:
        lowest = low if low is not None or self.min is None else single(self.min)
        highest = high if high is not None or self.max is None else single(self.max)
        y = x if lowest is None else x.apply(HIGHER, lowest)
        y = y if highest is None else y.apply(LOWER, highest)
        given = x.comparable
        if (lowest is not None and highest is not None) or given.dtype.kind in "iu":
            return y
        return unsure_of(np.isinf(given) & np.isinf(y.comparable), y)


@register
@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """1 / (1 + e^−x)."""

    TYPE: ClassVar[str] = "Sigmoid"

    def evaluate(self, x: Number) -> Number:
        return x.apply(known.SIGMOID)

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        return output * (1.0 - output) * cotangent


@register
@dataclass(frozen=True)
class Tanh(Elementwise):
    """The hyperbolic tangent."""

    TYPE: ClassVar[str] = "Tanh"

    def evaluate(self, x: Number) -> Number:
        return x.apply(known.TANH)

    def gradient(self, which: int, inputs: Inputs, output: Number, cotangent: Number) -> Number:
        return (1.0 - output * output) * cotangent


@register
@dataclass(frozen=True)
class Swish(Elementwise):
    """x·sigmoid(alpha·x), also called SiLU; alpha is 1.702 in the QuickGelu of onnxruntime."""

    TYPE: ClassVar[str] = "Swish"

    alpha: float = 1.0

    def evaluate(self, x: Number) -> Number:
        scaled = x if self.alpha == 1 else x * single(self.alpha)
        return x * scaled.apply(known.SIGMOID)


@register
@dataclass(frozen=True)
class QuickGelu(Swish):
    """x·sigmoid(1.702 x), an approximation of Gelu."""

    TYPE: ClassVar[str] = "com.microsoft.QuickGelu"

    alpha: float = 1.702


@register
@dataclass(frozen=True)
class Gelu(Elementwise):
    """x·Φ(x), where the normal distribution Φ is computed with erf or with tanh; these differ by up to 5e-4.

    Where x is negative, 1 + erf cancels: the error is a multiple of |x|·u, not of the value. The bound
    holds for 0.5·x·(1 + erf), x·(0.5 + 0.5·erf) and x·erfc(−x/√2)/2, and with tanh for x·sigmoid as well.
    """

    TYPE: ClassVar[str] = "Gelu"

    approximate: str = "none"

    @classmethod
    def read(cls, attributes: Mapping[str, Any], opset: int) -> Self:
        gelu = super().read(attributes, opset)
        if gelu.approximate not in ("none", "tanh"):
            raise Unjudged(f"{cls.TYPE} with approximate {gelu.approximate}")
        return gelu

    def evaluate(self, x: Number) -> Number:
        y = x * x.apply(known.GAUSS_TANH if self.approximate == "tanh" else known.GAUSS)
        return unsure_of(np.isneginf(x.comparable), y)


@register
@dataclass(frozen=True)
class BiasGelu(Gelu):
    """Gelu(x + bias), with the error function."""

    TYPE: ClassVar[str] = "com.microsoft.BiasGelu"

    def evaluate(self, x: Number, bias: Number) -> Number:  # type: ignore[override]
        return super().evaluate(x + bias)


@register
@dataclass(frozen=True)
class MicrosoftGelu(Gelu):
    """Gelu with the error function, in onnxruntime's domain."""

    TYPE: ClassVar[str] = "com.microsoft.Gelu"


@register
@dataclass(frozen=True)
class FastGelu(Gelu):
    """Gelu(x + bias) with tanh; the bias is optional."""

    TYPE: ClassVar[str] = "com.microsoft.FastGelu"

    approximate: str = "tanh"

    def evaluate(self, x: Number, bias: Number | None = None) -> Number:
        return super().evaluate(x if bias is None else x + bias)


@register
@dataclass(frozen=True)
class Mish(Elementwise):
    """x·tanh(log(1 + e^x))."""

    TYPE: ClassVar[str] = "Mish"

    def evaluate(self, x: Number) -> Number:
        return x * x.apply(known.MISH)


@register
@dataclass(frozen=True)
class Softplus(Elementwise):
    """log(1 + e^x)."""

    TYPE: ClassVar[str] = "Softplus"

    def evaluate(self, x: Number) -> Number:
        return x.apply(known.SOFTPLUS)


@register
@dataclass(frozen=True)
class Softsign(Elementwise):
    """x / (1 + |x|)."""

    TYPE: ClassVar[str] = "Softsign"

    def evaluate(self, x: Number) -> Number:
        return unsure_of(np.isinf(x.comparable), x.apply(known.SOFTSIGN))


@register
@dataclass(frozen=True)
class Shrink(Elementwise):
    """x + bias below −lambd, x − bias above lambd, 0 in between."""

    TYPE: ClassVar[str] = "Shrink"

    bias: float = 0.0
    lambd: float = 0.5

    def evaluate(self, x: Number) -> Number:
        bias, limit = single(self.bias), single(self.lambd)
        upper = choose(x.apply(ABOVE, limit), x - bias if bias else x, 0.0)
        return choose(x.apply(BELOW, -limit), x + bias if bias else x, upper)
