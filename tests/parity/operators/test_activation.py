"""Activations against their definitions in plain Python, libraries, and what is mistaken for them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import erf, exp, expm1, log1p, pi, sqrt, tanh
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from parity.arithmetic import Bounded
from parity.arithmetic.floats import FLOAT16, FLOAT32, U64, Format
from parity.errors import Unjudged
from parity.graph import Declared, Graph, Node
from parity.judging import judge
from parity.onnx import read_onnx
from parity.operators import OPERATORS, Operator, functions
from tests.parity.examples.activation import EXAMPLES, values
from tests.parity.examples.example import Example
from tests.parity.operators import checks
from tests.parity.operators.one_node import check_within, in_reference, outputs, share

every = pytest.mark.parametrize("example", EXAMPLES, ids=str)


def _gelu(x: float, tanh_form: bool) -> float:
    if tanh_form:
        return x * 0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))
    return x * 0.5 * (1 + erf(x / sqrt(2)))


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def _clip(x: float, low: float | None, high: float | None) -> float:
    x = x if low is None else max(x, low)
    return x if high is None else min(x, high)


# The definition of each operator: of its attributes, as float32 numbers, and of one value of each input.
DEFINITIONS: dict[str, Callable[..., float]] = {
    "Relu": lambda at, x: max(x, 0),
    "LeakyRelu": lambda at, x: x if x >= 0 else at.alpha * x,
    "PRelu": lambda at, x, slope: x if x >= 0 else slope * x,
    "ThresholdedRelu": lambda at, x: x if x > at.alpha else 0,
    "Elu": lambda at, x: x if x > 0 else at.alpha * expm1(x),
    "Selu": lambda at, x: at.gamma * (x if x > 0 else at.alpha * expm1(x)),
    "Celu": lambda at, x: max(0, x) + min(0, at.alpha * expm1(x / at.alpha)),
    "HardSigmoid": lambda at, x: max(0, min(1, at.alpha * x + at.beta)),
    "HardSwish": lambda at, x: x * max(0, min(1, x / 6 + 0.5)),
    "Clip": lambda at, x, low=None, high=None: _clip(
        x, at.min if low is None else low, at.max if high is None else high
    ),
    "Sigmoid": lambda at, x: _sigmoid(x),
    "Tanh": lambda at, x: tanh(x),
    "Swish": lambda at, x: x * _sigmoid(at.alpha * x),
    "Gelu": lambda at, x: _gelu(x, at.approximate == "tanh"),
    "Mish": lambda at, x: x * tanh(log1p(exp(x))),
    "Softplus": lambda at, x: log1p(exp(x)),
    "Softsign": lambda at, x: x / (1 + abs(x)),
    "Shrink": lambda at, x: x + at.bias if x < -at.lambd else x - at.bias if x > at.lambd else 0,
    "com.microsoft.Gelu": lambda at, x: _gelu(x, False),
    "com.microsoft.FastGelu": lambda at, x, bias=0.0: _gelu(x + bias, True),
    "com.microsoft.BiasGelu": lambda at, x, bias: _gelu(x + bias, False),
    "com.microsoft.QuickGelu": lambda at, x: x * _sigmoid(at.alpha * x),
}


def _singles(operator: Operator) -> Operator:
    """With attributes as ONNX stores them."""
    floats = {
        name: float(np.float32(value)) for name, value in vars(operator).items() if type(value) is float
    }
    return replace(operator, **floats)


@every
def test_values_are_those_of_the_definition(example: Example) -> None:
    arrays = example.make(np.random.default_rng(0))
    expected = outputs(example.operator, arrays)[0]
    operator = _singles(example.operator)
    given = [np.broadcast_to(a, expected.shape).ravel().tolist() if a is not None else None for a in arrays]
    for k, value in enumerate(expected.value.ravel()):
        args = [None if one is None else one[k] for one in given]
        size = max(1.0, *(abs(arg) for arg in args if arg is not None))
        right = DEFINITIONS[operator.TYPE](operator, *args)
        assert abs(value - right) <= 16 * U64 * size  # some ten roundings of numbers up to that size


# The reference evaluator has the standard's operators alone; onnxruntime has no kernel of opset 24 for Swish.
@pytest.mark.parametrize("example", [e for e in EXAMPLES if "microsoft" not in e.operator.TYPE], ids=str)
def test_values_are_those_of_the_reference_evaluator(example: Example) -> None:
    arrays = example.make(np.random.default_rng(1))
    assert share(in_reference(example, arrays, 1)[0], outputs(example.operator, arrays)[0]) <= 1


@pytest.mark.parametrize("kind", ["Elu", "Selu", "Celu"])
@pytest.mark.parametrize("x", [-0.25, -0.05, 0.05, 0.25])
def test_error_where_the_sign_is_not_known_reaches_both_pieces(kind: str, x: float) -> None:
    """It covers all arguments, and no more than the line and the curve, whose intervals are symmetric."""
    operator, error = _singles(OPERATORS[kind]()), 0.3
    y: Any = operator.evaluate(Bounded(np.array([x]), np.array([error])))
    f = partial(DEFINITIONS[kind], operator)
    worst = max(abs(f(float(at)) - f(x)) for at in np.linspace(x - error, x + error))
    below = min(x, 0.0)  # the argument of the curve
    pieces = [(lambda t: f(1.0) * t, x, error), (lambda t: -f(-99.0) * expm1(t), below, below - (x - error))]
    most = max(
        abs(f(x) - piece(at)) + max(abs(piece(at + off) - piece(at)) for off in (far, -far))
        for piece, at, far in pieces
    )
    # All values are below 2. Besides e^x, three operations round.
    room = 2 * 2 * (functions.EXPM1.ulps + 3) * FLOAT32.u
    assert worst <= y.bound <= most + room


@pytest.mark.parametrize(
    ("kind", "node", "name", "arguments"),
    [
        ("Relu", {}, "relu", {}),
        ("LeakyRelu", {"alpha": 0.2}, "leaky_relu", {"negative_slope": 0.2}),
        ("Elu", {"alpha": 0.7}, "elu", {"alpha": 0.7}),
        ("Selu", {}, "selu", {}),
        ("Celu", {"alpha": 0.7}, "celu", {"alpha": 0.7}),
        ("HardSigmoid", {"alpha": 1 / 6}, "hardsigmoid", {}),
        ("HardSwish", {}, "hardswish", {}),
        ("Sigmoid", {}, "sigmoid", {}),
        ("Tanh", {}, "tanh", {}),
        ("Swish", {}, "silu", {}),
        ("Gelu", {}, "gelu", {}),
        ("Gelu", {"approximate": "tanh"}, "gelu", {"approximate": "tanh"}),
        ("Mish", {}, "mish", {}),
        ("Softplus", {}, "softplus", {}),
        ("Softsign", {}, "softsign", {}),
        ("Shrink", {"bias": 0.5, "lambd": 0.5}, "softshrink", {"lambd": 0.5}),
        ("Shrink", {"bias": 0.0, "lambd": 0.5}, "hardshrink", {"lambd": 0.5}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_pytorch_is_within_the_bound(
    kind: str, node: dict[str, Any], name: str, arguments: dict[str, Any], dtype: Any
) -> None:
    import torch

    from parity.arithmetic.floats import format_of

    x = (np.random.default_rng(5).standard_normal(20_000) * 5).astype(dtype)
    found = getattr(torch.nn.functional, name)(torch.from_numpy(x), **arguments).numpy()
    form = format_of(x)
    assert form is not None
    expected = outputs(OPERATORS[kind].read(node, 24), [x], form)[0]
    assert share(found, expected) <= 1


# --- what is mistaken for one another ----------------------------------------------------------


def _verdict(operator: Operator, found: Operator, unrecorded: bool = False) -> str:
    """What is said of one activation, given for another, on the output of a convolution."""
    rng = np.random.default_rng(6)
    x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 4, 9, 9), (6, 4, 3, 3), (6,)))
    conv = OPERATORS["Conv"]()
    nodes = (
        Node("conv", "Conv", conv, ("x", "w", "b"), ("y",)),
        Node("act", operator.TYPE, operator, ("y",), ("z",)),
    )
    graph = Graph(nodes, {"x": Declared("float32", x.shape)}, ("z",), {"w": w, "b": b})
    sums: Any = conv.evaluate(*(Bounded(a) for a in (x, w, b)))
    y = sums.value.astype(np.float32)
    z: Any = found.evaluate(Bounded(y))
    recorded = {"x": x, "z": z.value.astype(np.float32)} | ({} if unrecorded else {"y": y})
    return judge(graph, recorded).tensors[-1].verdict


@pytest.mark.parametrize("unrecorded", [False, True])
@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("Gelu", {}, {"approximate": "tanh"}),
        ("Gelu", {"approximate": "tanh"}, {}),
        ("LeakyRelu", {"alpha": 0.01}, {"alpha": 0.3}),
        ("LeakyRelu", {"alpha": 0.2}, {"alpha": 0.200001}),
        ("Elu", {"alpha": 1.0}, {"alpha": 0.99}),
        ("HardSigmoid", {"alpha": 0.2}, {"alpha": 1 / 6}),
        ("Swish", {"alpha": 1.0}, {"alpha": 1.702}),
        ("Shrink", {"lambd": 0.5}, {"lambd": 0.5, "bias": 0.5}),
    ],
)
def test_other_attributes_are_different(
    kind: str, right: dict[str, Any], wrong: dict[str, Any], unrecorded: bool
) -> None:
    one, other = OPERATORS[kind].read(right, 24), OPERATORS[kind].read(wrong, 24)
    assert _verdict(one, one, unrecorded) in ("equal", "rounding")
    if not (unrecorded and wrong == {"alpha": 0.200001}):  # less than the convolution's own rounding
        assert _verdict(one, other, unrecorded) == "different"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (OPERATORS["Relu"](), OPERATORS["Clip"](0.0, 6.0)),  # type: ignore[call-arg]
        (OPERATORS["Sigmoid"](), OPERATORS["HardSigmoid"]()),
        (OPERATORS["Gelu"](), OPERATORS["com.microsoft.QuickGelu"]()),
        (OPERATORS["Swish"](), OPERATORS["HardSwish"]()),
        (OPERATORS["Mish"](), OPERATORS["Swish"]()),
        (OPERATORS["Elu"](), OPERATORS["Selu"]()),
        (OPERATORS["Softplus"](), OPERATORS["Relu"]()),
    ],
    ids=lambda operator: operator.TYPE,
)
def test_other_activations_are_different(right: Operator, wrong: Operator) -> None:
    assert _verdict(right, right) in ("equal", "rounding")
    assert _verdict(right, wrong) == "different"


def test_leaky_relu_of_a_value_that_may_have_either_sign() -> None:
    """Near 0 either branch may be taken, at either end of the interval."""
    x = Bounded(np.array([1.0, 1e-3, -1e-3, -1.0]), np.array([1e-2] * 4))
    y: Any = OPERATORS["LeakyRelu"](0.1).evaluate(x)  # type: ignore[call-arg]
    np.testing.assert_allclose(y.bound, [1e-2, 1e-2, 1.09e-2, 1e-3], rtol=1e-4)


def test_gate_of_relu_is_closed_at_zero() -> None:
    x = Bounded(np.array([-1, 0, 2], np.float32))
    relu = OPERATORS["Relu"]()
    back = relu.gradient(0, [x], x, Bounded(np.array([5, 6, 7], np.float32)))
    assert isinstance(back, Bounded)
    assert back.value.tolist() == [0, 0, 7]


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Relu"])
def test_backward_is_pytorchs(kind: str) -> None:
    import torch

    rng = np.random.default_rng(7)
    x, cotangent = (rng.standard_normal(1000).astype(np.float32) for _ in range(2))
    tensor = torch.from_numpy(x).requires_grad_()
    output = getattr(torch, kind.lower())(tensor)
    output.backward(torch.from_numpy(cotangent))
    assert tensor.grad is not None
    operator, recorded = OPERATORS[kind](), Bounded(output.detach().numpy())
    back = operator.gradient(0, [Bounded(x)], recorded, Bounded(cotangent))
    assert isinstance(back, Bounded)
    assert share(tensor.grad.numpy(), back) <= 1


def test_what_is_not_covered_is_said() -> None:
    with pytest.raises(Unjudged, match="Clip with attribute min in opset 13"):
        OPERATORS["Clip"].read({"min": 0.0}, 13)
    with pytest.raises(Unjudged, match="Gelu with approximate erf"):
        OPERATORS["Gelu"].read({"approximate": "erf"}, 20)


@pytest.mark.parametrize("opset", [10, 13])
def test_clip_changes_its_meaning_with_the_opset(opset: int) -> None:
    """Attributes before opset 11, inputs after, read from a file."""
    x = np.array([-9, 0.5, 9], np.float32)
    if opset < 11:
        node, given = helper.make_node("Clip", ["x"], ["y"], min=-1.0, max=1.0), []
    else:
        node = helper.make_node("Clip", ["x", "low", "high"], ["y"])
        limits = (("low", -1.0), ("high", 1.0))
        given = [onnx.numpy_helper.from_array(np.array(v, np.float32), name) for name, v in limits]
    x_type, y_type = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in "xy")
    graph = helper.make_graph([node], "clip", [x_type], [y_type], given)
    model = read_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))
    clipped, half = np.array([-1, 0.5, 1], np.float32), np.array([-9, 0.5, 1], np.float32)
    assert judge(model, {"x": x, "y": clipped}).verdict == "equal"
    assert judge(model, {"x": x, "y": half}).verdict == "different"


@pytest.mark.parametrize("form", [FLOAT16, FLOAT32], ids=lambda form: form.name)
def test_a_constant_that_is_small_for_the_format_is_rounded_further(form: Format) -> None:
    """1e-5 is a subnormal number of float16, which has four digits less there."""
    example = Example(OPERATORS["LeakyRelu"].read({"alpha": 1e-5}, 24), {"alpha": 1e-5}, values((20,)))
    checks.reached(example, checks.drawn(example, 1, form=form), form)
    (found,) = outputs(example.operator, [np.array([-1000.0], form.dtype)], form)
    check_within(form.round(np.array([-1000.0 * float(form.round(np.array(1e-5)))])), found)
