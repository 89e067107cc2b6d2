"""Activations, from the accuracies of functions and a rounding for each operation beside them."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from parity.arithmetic import Array
from parity.operators import OPERATORS
from tests.parity.arithmetic import stated as s
from tests.parity.arithmetic.stated import Stated, known
from tests.parity.examples.activation import values
from tests.parity.examples.example import Example
from tests.parity.statements.arrays import Statement, each, use

One = Callable[[Any, Stated], Stated]


def _of(one: One) -> Statement:
    """A function of one value."""
    return lambda op, x: each(lambda v: one(op, v), x)


def single(value: float) -> float:
    """An attribute, which a file holds in float32."""
    return float(np.float32(value))


def negative(x: Fraction) -> bool:
    return x < 0


def positive(x: Fraction) -> bool:
    return x > 0


def below_zero(x: Stated) -> Stated:
    """The smaller of x and 0, which is x or 0 and rounds nothing."""
    return s.one_of([x.flushed()], x) if x.value + x.flushed().error <= 0 else _clipped(x, None, Fraction(0))


def _clipped(x: Stated, low: Fraction | None, high: Fraction | None) -> Stated:
    """x between two limits, from both ends of its interval."""

    def cut(v: Fraction) -> Fraction:
        v = v if low is None else max(v, low)
        return v if high is None else min(v, high)

    y = x.flushed()
    ends = [cut(end) for end in y.interval()]
    return y.within(ends if y.error else [], cut(y.value))


def leaky_relu(op: Any, x: Stated) -> Stated:
    return s.where(x, negative, x * single(op.alpha), x)


def elu(op: Any, x: Stated) -> Stated:
    return s.where(x, positive, x, known("expm1")(below_zero(x)) * single(op.alpha))


def selu(op: Any, x: Stated) -> Stated:
    return s.where(x, positive, x, known("expm1")(below_zero(x)) * single(op.alpha)) * single(op.gamma)


def celu(op: Any, x: Stated) -> Stated:
    scaled = below_zero(x) if op.alpha == 1 else below_zero(x) / single(op.alpha)
    return s.where(x, positive, x, known("expm1")(scaled) * single(op.alpha))


def hard_sigmoid(op: Any, x: Stated) -> Stated:
    return s.minimum(s.maximum(s.rounded_twice(x * single(op.alpha) + single(op.beta)), 0.0), 1.0)


def hard_swish(op: Any, x: Stated) -> Stated:
    gate = s.minimum(s.maximum(x.divided(6) + 0.5, 0.0), 1.0)
    return s.rounded_twice(x * gate)


def swish(op: Any, x: Stated) -> Stated:
    return x * known("sigmoid")(x if op.alpha == 1 else x * single(op.alpha))


def gelu(op: Any, x: Stated) -> Stated:
    return x * known("gauss_tanh" if op.approximate == "tanh" else "gauss")(x)


def mish(op: Any, x: Stated) -> Stated:
    return x * known("mish")(x)


def shrink(op: Any, x: Stated) -> Stated:
    bias, limit = single(op.bias), Fraction(single(op.lambd))
    nothing = x.at.exactly(0)
    upper = s.where(x, lambda v: v > limit, x - bias if bias else x, nothing)
    return s.where(x, lambda v: v < -limit, x + bias if bias else x, upper)


def relu(op: Any, x: Stated) -> Stated:
    return s.maximum(x, 0.0)


def clip(op: Any, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    limits = [None if one is None else Fraction(single(one)) for one in (op.min, op.max)]
    given = [
        limit if one is None else one.item().value for one, limit in zip((low, high), limits, strict=True)
    ]
    return each(lambda v: _clipped(v, *given), x)


def prelu(op: Any, x: Array, slope: Array) -> Array:
    return each(lambda v, a: s.where(v, negative, v * a, v), x, slope)


def of_a_sum(op: Any, x: Array, bias: Array | None = None) -> Array:
    """Gelu of x + bias."""
    return each(lambda v: gelu(op, v), x if bias is None else each(lambda v, b: v + b, x, bias))


STATEMENTS: dict[str, Statement] = {
    "Relu": _of(relu),
    "LeakyRelu": _of(leaky_relu),
    "PRelu": prelu,
    "Clip": clip,
    "Elu": _of(elu),
    "Selu": _of(selu),
    "Celu": _of(celu),
    "HardSigmoid": _of(hard_sigmoid),
    "HardSwish": _of(hard_swish),
    "Sigmoid": _of(lambda op, x: known("sigmoid")(x)),
    "Tanh": _of(lambda op, x: known("tanh")(x)),
    "Swish": _of(swish),
    "Gelu": _of(gelu),
    "Mish": _of(mish),
    "Softplus": _of(lambda op, x: known("softplus")(x)),
    "Softsign": _of(lambda op, x: known("softsign")(x)),
    "Shrink": _of(shrink),
    "com.microsoft.BiasGelu": of_a_sum,
    "com.microsoft.FastGelu": of_a_sum,
    "com.microsoft.Gelu": _of(gelu),
    "com.microsoft.QuickGelu": _of(swish),
}
EIGHT = (8,)


def _use(kind: str, **attributes: Any) -> Example:
    operator = OPERATORS[kind].read(attributes, 10 if kind == "Clip" else 24)
    return Example(operator, attributes, values(EIGHT))


SMALL = [
    _use("Relu"),
    _use("LeakyRelu"),
    _use("LeakyRelu", alpha=0.25),
    _use("LeakyRelu", alpha=1e-5),  # a subnormal number of float16
    use("PRelu", EIGHT, (1,)),
    _use("Clip", min=-1.0, max=2.5),
    _use("Clip", max=0.75),
    use("Clip", EIGHT, np.array(-0.5, np.float32), data=(0,)),
    use("Clip", EIGHT, None, np.array(0.25, np.float32), data=(0,)),
    _use("Elu"),
    _use("Elu", alpha=0.3),
    _use("Selu"),
    _use("Celu"),
    _use("Celu", alpha=1.7),
    _use("Selu", alpha=2.0, gamma=3.0),
    _use("HardSigmoid"),
    _use("HardSigmoid", alpha=1 / 6, beta=0.25),
    _use("HardSwish"),
    _use("Sigmoid"),
    _use("Tanh"),
    _use("Swish"),
    _use("Swish", alpha=1.702),
    _use("Gelu"),
    _use("Gelu", approximate="tanh"),
    _use("Mish"),
    _use("Softplus"),
    _use("Softsign"),
    _use("Shrink", bias=0.3, lambd=1.5),
    use("com.microsoft.BiasGelu", EIGHT, EIGHT),
    use("com.microsoft.FastGelu", EIGHT, EIGHT),
    use("com.microsoft.FastGelu", EIGHT),
    _use("Shrink"),
    _use("com.microsoft.Gelu"),
    _use("com.microsoft.QuickGelu"),
]
