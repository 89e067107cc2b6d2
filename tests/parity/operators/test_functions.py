"""The stated accuracy of every function against installed libraries, and against 50 decimal digits.

Arguments run from the smallest subnormal number to 1e38, dense where functions turn, saturate or cancel.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext
from math import erf, erfc, pi, sqrt
from typing import Any

import numpy as np
import pytest

from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import FLOAT32
from parity.operators import OPERATORS, Operator, functions
from tests.parity.arithmetic.rational import COVER
from tests.parity.examples.example import Example
from tests.parity.operators.one_node import in_onnxruntime, share

Run = Callable[[Array], Array]
CORNERS = (0.5, 1.0, 4.0, 7.9, 9.0, 18.0, 87.34, 88.02, 88.72, 103.97)
# Largest error in ulps of the rounded result, in single precision: CUDA C++ Programming Guide, HIP Math API.
PUBLISHED = {
    "Tan": 4,
    "Acosh": 4,
    "Erf": 4,
    "Sin": 2,
    "Cos": 2,
    "Asinh": 3,
    "Atanh": 3,
    "Log": 2,
    "Sqrt": 1,
    "Pow": 4,
}


def arguments() -> Array:
    """Some 400,000 float32 numbers of both signs."""
    rng = np.random.default_rng(0)
    around = np.concatenate([c * (1 + np.arange(-300, 301) * 2.0**-22) for c in CORNERS])
    sizes = np.concatenate(
        [np.exp2(rng.uniform(-149, 126, 60_000)), np.exp2(rng.uniform(-12, 7, 60_000)), around]
    )
    x = np.concatenate([sizes, -sizes, rng.uniform(-20, 20, 80_000), rng.uniform(-100, 100, 40_000), [0.0]])
    return np.unique(x.astype(np.float32))


def _onnxruntime(operator: Operator, node: dict[str, Any]) -> Run:
    return lambda x: in_onnxruntime(Example(operator, node, lambda rng: [], 24), [x], 1)[0]


def libraries(kind: str, node: dict[str, Any]) -> dict[str, Run]:
    """Every installed implementation of an operator of one input."""
    import jax
    import tensorflow as tf
    import torch

    nn, numpy = torch.nn.functional, np
    tanh = node.get("approximate") == "tanh"
    one = np.float32(1)
    named: dict[str, tuple[Any, Any, Any, Any]] = {
        "Exp": (numpy.exp, torch.exp, tf.exp, jax.numpy.exp),
        "Log": (numpy.log, torch.log, tf.math.log, jax.numpy.log),
        "Sqrt": (numpy.sqrt, torch.sqrt, tf.sqrt, jax.numpy.sqrt),
        "Reciprocal": (None, torch.reciprocal, tf.math.reciprocal, lambda x: 1 / x),
        "Sin": (numpy.sin, torch.sin, tf.sin, jax.numpy.sin),
        "Cos": (numpy.cos, torch.cos, tf.cos, jax.numpy.cos),
        "Tan": (numpy.tan, torch.tan, tf.tan, jax.numpy.tan),
        "Asin": (numpy.arcsin, torch.asin, tf.asin, jax.numpy.arcsin),
        "Acos": (numpy.arccos, torch.acos, tf.acos, jax.numpy.arccos),
        "Atan": (numpy.arctan, torch.atan, tf.atan, jax.numpy.arctan),
        "Sinh": (numpy.sinh, torch.sinh, tf.sinh, jax.numpy.sinh),
        "Cosh": (numpy.cosh, torch.cosh, tf.cosh, jax.numpy.cosh),
        "Asinh": (numpy.arcsinh, torch.asinh, tf.asinh, jax.numpy.arcsinh),
        "Acosh": (numpy.arccosh, torch.acosh, tf.acosh, jax.numpy.arccosh),
        "Atanh": (numpy.arctanh, torch.atanh, tf.atanh, jax.numpy.arctanh),
        "Erf": (None, torch.erf, tf.math.erf, jax.scipy.special.erf),
        "Tanh": (numpy.tanh, torch.tanh, tf.tanh, jax.numpy.tanh),
        "Sigmoid": (lambda x: one / (one + np.exp(-x)), torch.sigmoid, tf.sigmoid, jax.nn.sigmoid),
        "Softplus": (
            lambda x: np.where(x > 20, x, np.log(one + np.exp(x))),
            nn.softplus,
            tf.math.softplus,
            jax.nn.softplus,
        ),
        "Softsign": (None, nn.softsign, tf.nn.softsign, jax.nn.soft_sign),
        "Elu": (lambda x: np.where(x > 0, x, np.exp(x) - one), nn.elu, tf.nn.elu, jax.nn.elu),
        "Selu": (None, nn.selu, tf.nn.selu, jax.nn.selu),
        "Celu": (None, nn.celu, None, jax.nn.celu),
        "Swish": (None, nn.silu, tf.nn.silu, jax.nn.silu),
        "Mish": (
            lambda x: np.where(x > 20, x, x * (((one + np.exp(x)) ** 2 - 1) / ((one + np.exp(x)) ** 2 + 1))),
            nn.mish,
            lambda x: x * tf.tanh(tf.math.softplus(x)),
            jax.nn.mish,
        ),
        "Gelu": (
            None,
            lambda x: nn.gelu(x, approximate="tanh" if tanh else "none"),
            lambda x: tf.nn.gelu(x, approximate=tanh),
            lambda x: jax.nn.gelu(x, approximate=tanh),
        ),
        "HardSwish": (None, nn.hardswish, None, jax.nn.hard_swish),
    }
    numpy_, torch_, tensorflow_, jax_ = named[kind]
    found: dict[str, Run] = {
        "torch": lambda x: torch_(torch.from_numpy(x)).numpy(),
        "jax": lambda x: np.asarray(jax.jit(jax_)(x)),
    }
    if tensorflow_:
        found["tensorflow"] = lambda x: tensorflow_(tf.constant(x)).numpy()
    if numpy_:
        found["numpy"] = numpy_
    return found


ONE_INPUT: list[tuple[str, dict[str, Any]]] = [
    *(
        (kind, {})
        for kind in ("Exp", "Log", "Sqrt", "Reciprocal", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan")
    ),
    *(
        (kind, {})
        for kind in ("Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Erf", "Tanh", "Sigmoid", "Softplus")
    ),
    *((kind, {}) for kind in ("Softsign", "Elu", "Selu", "Celu", "Swish", "Mish", "Gelu", "HardSwish")),
    ("Gelu", {"approximate": "tanh"}),
]


@pytest.mark.parametrize(("kind", "node"), ONE_INPUT, ids=str)
def test_accuracy_holds_for_every_library_and_is_tight(kind: str, node: dict[str, Any]) -> None:
    operator = OPERATORS[kind].read(node, 24)
    x = arguments()
    if kind in ("Sinh", "Cosh"):
        x = x[np.abs(x) < 88.72]  # PyTorch overflows where e^x does
    if kind == "HardSwish":
        x = x[np.abs(x) < 5e37]  # and where 6x does
    with np.errstate(all="ignore"):
        expected = operator.evaluate(Bounded(x))
        shares = {name: share(run(x), expected) for name, run in libraries(kind, node).items()}
        if kind != "Swish":  # in opset 24, for which onnxruntime has no kernel
            shares["onnxruntime"] = share(_onnxruntime(operator, node)(x), expected)
    assert isinstance(expected, Bounded)
    assert max(shares.values()) <= 1, shares
    stated = getattr(operator, "FUNCTION", functions.ROUNDED).ulps
    published = (PUBLISHED[kind] + 0.5) / stated if kind in PUBLISHED else 0.0
    assert max(*shares.values(), published) >= 0.25, shares


@pytest.mark.parametrize(
    ("kind", "node", "name"),
    [
        ("Sigmoid", {}, "SIGMOID"),
        ("Softplus", {}, "SOFTPLUS"),
        ("Elu", {}, "EXPM1"),
        ("Gelu", {}, "GAUSS"),
        ("Gelu", {"approximate": "tanh"}, "GAUSS_TANH"),
        ("Mish", {}, "MISH"),
    ],
)
def test_floors_are_needed(
    kind: str, node: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, x = OPERATORS[kind].read(node, 24), arguments()
    monkeypatch.setattr(functions, name, replace(getattr(functions, name), floor=0.0))
    with np.errstate(all="ignore"):
        expected = operator.evaluate(Bounded(x))
        shares = [share(run(x), expected) for run in libraries(kind, node).values()]
    assert max(*shares, share(_onnxruntime(operator, node)(x), expected)) > 4


@pytest.mark.slow
def test_accuracy_of_powers() -> None:
    import jax
    import tensorflow as tf
    import torch

    rng = np.random.default_rng(0)
    a = np.concatenate([np.exp2(rng.uniform(-20, 20, 50_000)), rng.uniform(0.5, 2, 50_000)]).astype(
        np.float32
    )
    b = np.concatenate([rng.uniform(-6, 6, 50_000), rng.uniform(-120, 120, 50_000)]).astype(np.float32)
    node = Example(OPERATORS["Pow"](), {}, lambda rng: [])
    for exponents in (b, *(np.full_like(a, n) for n in (2, 3, -1, -2, 0.5, -0.5, 5, 7, 13))):
        expected = OPERATORS["Pow"]().evaluate(Bounded(a), Bounded(exponents))
        assert isinstance(expected, Bounded)
        with np.errstate(over="ignore"):
            in_numpy = np.power(a, exponents)
        found = {
            "numpy": in_numpy,
            "torch": torch.pow(torch.from_numpy(a), torch.from_numpy(exponents)).numpy(),
            "tensorflow": tf.pow(tf.constant(a), tf.constant(exponents)).numpy(),
            "jax": np.asarray(jax.jit(jax.numpy.power)(a, exponents)),
            "onnxruntime": in_onnxruntime(node, [a, exponents], 1)[0],
        }
        n = float(exponents[0])
        if n == int(n) and (exponents == n).all():
            found["jax, by products"] = np.asarray(jax.jit(lambda x, n=int(n): x**n)(a))
        shares = {name: share(array, expected) for name, array in found.items()}
        assert max(shares.values()) <= 1, (n, shares)


def test_many_products_need_more_than_one_power() -> None:
    import jax

    a = np.exp2(np.random.default_rng(0).uniform(-2, 2, 50_000)).astype(np.float32)
    found = np.asarray(jax.jit(lambda x: x**31)(a))
    one = Bounded(a).apply(functions.POW, 31.0)
    many = OPERATORS["Pow"]().evaluate(Bounded(a), Bounded(np.array(31, np.float32)))
    assert isinstance(many, Bounded)
    assert share(found, one) > 1
    assert 0.25 < share(found, many) <= 1


def test_error_of_a_base_reaches_as_far_as_its_power() -> None:
    y = OPERATORS["Pow"]().evaluate(Bounded(np.array([2.0]), np.array([0.5])), Bounded(np.array([3.0])))
    assert isinstance(y, Bounded)
    least, rounding = 2.5**3 - 2**3, 2.5**3 * functions.POW.ulps * 2 * FLOAT32.u
    assert least <= y.bound <= (least + rounding) * (1 + float(COVER))


# --- the float64 values themselves -----------------------------------------------------------


def _exactly(name: str, x: float) -> Decimal:
    """The function in 50 digits."""
    with localcontext() as context:
        context.prec = 50
        d = Decimal(x)
        e = d.exp()
        if name == "sigmoid":
            return 1 / (1 + 1 / e)
        if name == "softplus":
            return (1 + e).ln()
        if name == "tanh(log(1 + e^x))":
            return ((1 + e) ** 2 - 1) / ((1 + e) ** 2 + 1)
        slope = (Decimal(2) / Decimal("3.14159265358979323846264338327950288419716939937510")).sqrt()
        return 1 / (1 + (-2 * slope * (d + Decimal("0.044715") * d**3)).exp())


@pytest.mark.parametrize(
    "function", [functions.SIGMOID, functions.SOFTPLUS, functions.MISH, functions.GAUSS_TANH]
)
def test_float64_value_is_accurate(function: Any) -> None:
    """To 4 ulps of float64, 16 where the argument is a rounded polynomial; `Bounded.apply` leaves 8."""
    x = np.concatenate([np.linspace(-30, 30, 301), [1e-30, -1e-9, 0.0]])
    if function is functions.GAUSS_TANH:
        x = x[np.abs(x) < 3]
    for value, found in zip(x, function.f(x), strict=True):
        right = _exactly(function.name, float(value))
        assert abs(Decimal(float(found)) - right) <= 8 * Decimal(2) ** -53 * right, value


def test_error_function_is_the_library_one() -> None:
    x = np.array([[-9.0, -2.0, -0.3, 0.0], [1e-9, 0.5, 3.0, np.inf]])
    assert functions.erf(x).tolist() == [[erf(v) for v in row] for row in x]
    gauss = [[erfc(-v * sqrt(0.5)) / 2 for v in row] for row in x]
    np.testing.assert_allclose(functions.GAUSS.f(x), gauss, rtol=4e-16)
    assert sqrt(2 / pi) == functions.SLOPE


def test_functions_say_where_their_accuracy_comes_from() -> None:
    stated = [one for one in vars(functions).values() if type(one).__name__ == "Function"]
    assert len(stated) > 20
    assert all(one.source for one in stated)
