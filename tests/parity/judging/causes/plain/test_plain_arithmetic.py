"""Sums, products, quotients and roots with one mistake each, in plain NumPy; what is said of the operands."""

import numpy as np
import pytest
from onnx import NodeProto

from parity.arithmetic import Bounded
from parity.judging.causes import mistakes
from parity.judging.causes.mistake import Seen
from parity.operators import OPERATORS
from tests.parity.judging.causes.plain.layer import Array, Layer
from tests.parity.judging.causes.plain.several import Several
from tests.parity.judging.causes.small_graphs import N, drawn

A, B = drawn(3, 4), drawn(3, 4, seed=1)
ROW = drawn(4, seed=2)
WIDE, OTHER = A.astype(np.float64), B.astype(np.float64)


def one_of(number: float) -> Array:
    return np.array(number, np.float32)


TWO = {"Add": WIDE + OTHER, "Sub": WIDE - OTHER, "Mul": WIDE * OTHER, "Div": WIDE / OTHER}
LARGER, SMALLER = np.maximum(WIDE, OTHER), np.minimum(WIDE, OTHER)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Add", {"Mul for Add": TWO["Mul"], "Max for Add": LARGER, "term i0 left out": OTHER}),
        ("Mul", {"Add for Mul": TWO["Add"], "Div for Mul": TWO["Div"]}),
        ("Sub", {"operands swapped": -TWO["Sub"], "sign of the second operand changed": TWO["Add"]}),
        ("Div", {"Mul for Div": TWO["Mul"], "operands swapped": OTHER / WIDE}),
        ("Max", {"Min for Max": SMALLER, "Add for Max": TWO["Add"]}),
        ("Min", {"Max for Min": LARGER}),
    ],
)
def test_another_operator_or_order(kind, expected):
    layer = Layer(kind, A, B)
    for name, values in expected.items():
        layer.returns(name, values)
    others = {"Add", "Sub", "Mul", "Div", "Max", "Min"} - {kind}
    found = {name for name in layer.mistakes if name.endswith(f" for {kind}")}
    assert found == {name for name in expected if name.endswith(f" for {kind}")}
    assert all(name.split()[0] in others for name in found)
    number = Layer(kind, A, one_of(3.0))
    assert not [name for name in number.mistakes if name.endswith(f" for {kind}")]


def test_an_operand_that_is_left_out():
    """It has a name, or a number; the other one has the shape of the result."""
    Layer("Add", A, ROW).returns("term i1 left out", WIDE)
    Layer("Mul", A, one_of(3)).returns("factor 3 left out", WIDE)
    Layer("Sub", A, ROW).returns("subtrahend i1 left out", WIDE)
    Layer("Div", A, ROW).returns("divisor i1 left out", WIDE)
    positive = np.abs(A)
    Layer("Pow", positive, one_of(2)).returns("exponent 2 left out", positive.astype(np.float64))
    Layer("Pow", positive, one_of(2)).returns("operands swapped", 2.0 ** positive.astype(np.float64))
    left_out = {
        kind: [name for name in Layer(kind, ROW, A).mistakes if name.endswith("left out")]
        for kind in ("Add", "Mul", "Sub", "Div")
    }
    assert left_out == {"Add": ["term i0 left out"], "Mul": ["factor i0 left out"], "Sub": [], "Div": []}


def test_an_operand_without_a_name_is_told_by_its_place():
    inputs = [Bounded(A), Bounded(B)]
    names = [one.name for one in mistakes(OPERATORS["Add"](), Seen(inputs, None))]
    assert [name for name in names if name.endswith("left out")] == [
        "term of the first operand left out",
        "term of the second operand left out",
    ]


def test_what_makes_no_difference_is_not_left_out():
    """Zero and one; a small number that is added is an ε."""
    for kind, number in (("Add", 0.0), ("Mul", 1.0), ("Sub", 0.0), ("Div", 1.0), ("Add", 0.05)):
        assert not [name for name in Layer(kind, A, one_of(number)).mistakes if name.endswith("left out")]
    for kind, number in (("Add", 0.1), ("Add", -0.05), ("Mul", 0.05)):
        assert [name for name in Layer(kind, A, one_of(number)).mistakes if name.endswith("left out")]


def test_a_sign():
    Layer("Add", A, ROW).returns("sign of the second operand changed", WIDE - ROW)
    Layer("Sub", A, one_of(3)).returns("sign of the second operand 3 changed", WIDE + 3)
    assert Layer("Add", A, ROW).mistakes["sign of the second operand changed"].wider
    assert not [name for name in Layer("Add", A, one_of(0)).mistakes if name.startswith("sign")]
    Layer("Neg", A).returns("sign not changed", WIDE)


def test_a_factor_that_is_applied_otherwise():
    factor, divisor = Layer("Mul", one_of(3), A), Layer("Div", A, one_of(3))
    factor.returns("factor 3 applied twice (1/d for 1/sqrt(d))", 9 * WIDE)
    factor.returns("divided by 3", WIDE / 3)
    divisor.returns("divisor 3 applied twice (1/d for 1/sqrt(d))", WIDE / 9)
    divisor.returns("multiplied by 3", 3 * WIDE)
    assert factor.mistakes["divided by 3"].remedy == "Multiply by 3 once."
    assert divisor.mistakes["multiplied by 3"].remedy == "Divide by 3 once."
    for number in (1.0, -1.0, 0.0, np.inf):
        with np.errstate(all="ignore"):
            assert not [name for name in Layer("Mul", A, one_of(number)).mistakes if "applied twice" in name]
    assert not [name for name in Layer("Div", one_of(3), A).mistakes if "applied twice" in name]
    scores = drawn(2, 3, 4, 5)
    heads = Layer("Div", scores, one_of(3))
    name = "divisor of all 3 heads together: 1/sqrt(H·d) for 1/sqrt(d)"
    heads.returns(name, scores.astype(np.float64) / (3 * 3**0.5))


def test_scales_of_channels():
    """A vector that is smaller than what it scales."""
    layer = Layer("Mul", A, ROW)
    layer.returns("scale 1 + w for w", WIDE * (1 + ROW.astype(np.float64)))
    for one in (
        Layer("Mul", A, B),
        Layer("Mul", A, one_of(3)),
        Layer("Mul", drawn(2, 3, 4), A),
        Layer("Mul", ROW, ROW),
    ):
        assert "scale 1 + w for w" not in one.mistakes


# --- in a graph ----------------------------------------------------------------------------------


def graph(*nodes: NodeProto, x: Array = A, **constants: Array) -> Several:
    return Several(nodes, constants, x=x)


def test_gates_and_constants_in_reverse_order():
    """A gate is computed; a constant is in the graph."""
    one = graph(N("Sigmoid", ["x"], ["g"]), N("Mul", ["g", "c"], ["p"]), N("Add", ["p", "g"], ["y"]), c=B)
    gate = 1 / (1 + np.exp(-WIDE))
    one.each(
        "p",
        {
            "1 + g for the factor g": (1 + gate) * OTHER + gate,
            "c in reverse order along axis 0": gate * OTHER[::-1] + gate,
            "c in reverse order along axis 1": gate * OTHER[:, ::-1] + gate,
        },
    )
    assert "1 + c for the factor c" not in one.mistakes("p")
    assert not [name for name in one.mistakes("p") if name.startswith("g in reverse")]
    number = graph(N("ReduceMax", ["x"], ["m"], keepdims=0), N("Mul", ["x", "m"], ["y"]))
    assert "1 + m for the factor m" not in number.mistakes("y")
    assert "1 + x for the factor x" in number.mistakes("y")
    row = graph(N("Add", ["x", "c"], ["y"]), c=ROW[None])
    assert [name for name in row.mistakes("y") if "reverse" in name] == ["c in reverse order along axis 1"]


def test_a_residual_connection():
    """What the other operand is computed from."""
    one = graph(N("Relu", ["x"], ["r"]), N("Add", ["r", "x"], ["y"]))
    one.each("y", {"residual connection x left out": np.maximum(WIDE, 0), "term r left out": WIDE})
    other = graph(N("Relu", ["x"], ["r"]), N("Add", ["x", "r"], ["y"]))
    assert "residual connection x left out" in other.mistakes("y")
    two = graph(N("Relu", ["x"], ["r"]), N("Neg", ["x"], ["n"]), N("Add", ["r", "n"], ["y"]))
    assert "term n left out" in two.mistakes("y")
    assert "term r left out" in two.mistakes("y")
    bias = graph(N("Mul", ["x", "c"], ["m"]), N("Add", ["m", "c"], ["y"]), c=B)
    assert "term c left out" in bias.mistakes("y")
    deep = graph(N("Relu", ["x"], ["r"]), N("Neg", ["r"], ["n"]), N("Add", ["n", "x"], ["y"]))
    assert "residual connection x left out" in deep.mistakes("y")


EPSILON = float(np.float32(1e-3))


def root(*more: NodeProto, order: tuple[str, str] = ("q", "e"), e: float = EPSILON) -> Several:
    last = more or (N("Sqrt", ["s"], ["y"]),)
    return graph(N("Mul", ["x", "x"], ["q"]), N("Add", order, ["s"]), *last, e=one_of(e))


@pytest.mark.parametrize("order", [("q", "e"), ("e", "q")])
def test_another_epsilon_below_a_root(order):
    one, squares = root(order=order), WIDE**2
    expected = {f"epsilon {e:g} for 0.001": np.sqrt(squares + e) for e in (0, 1e-12, 1e-5, 1e-2, 2e-3)}
    one.each("s", expected)
    assert "epsilon 0.001 for 0.001" not in one.mistakes("s")
    assert one.mistakes("s")["epsilon 1e-05 for 0.001"].value == 1e-5
    one.each(
        "y", {"root missing": squares + EPSILON, "epsilon outside of the root": np.sqrt(squares) + EPSILON}
    )
    assert one.mistakes("y")["epsilon outside of the root"].inputs == ("q", "e")


def test_what_is_added_elsewhere_is_no_epsilon():
    """Large or negative numbers; sums that are no divisor, no root and no argument of a logarithm."""

    def said(one: Several) -> bool:
        return any(name.startswith("epsilon ") for name in one.mistakes("s"))

    assert said(root(e=0.05))
    assert not said(root(e=0.1))
    assert not said(root(e=-0.05))
    assert not said(root(N("Relu", ["s"], ["y"])))
    for kind in ("Reciprocal", "Log"):
        assert said(root(N(kind, ["s"], ["y"])))
    assert said(root(N("Div", ["x", "s"], ["y"])))
    assert said(root(N("Pow", ["s", "e"], ["y"])))
    alone = graph(N("Add", ["x", "e"], ["y"]), e=one_of(EPSILON))
    assert any(name.startswith("epsilon ") for name in alone.mistakes("y"))


def test_a_root_of_anything_else_has_no_epsilon():
    product = graph(N("Mul", ["x", "x"], ["q"]), N("Sqrt", ["q"], ["y"]))
    assert "epsilon outside of the root" not in product.mistakes("y")
    assert "root missing" in product.mistakes("y")
    assert "epsilon outside of the root" not in root(e=0.2).mistakes("y")
    assert "epsilon outside of the root" not in Layer("Sqrt", np.abs(A)).mistakes


def test_parts_in_another_order():
    parts = [drawn(2, 2, seed=k) for k in range(3)]
    layer = Layer("Concat", *parts, axis=1)
    orders = [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    for order in orders:
        expected = np.concatenate([parts[k] for k in order], 1)
        layer.returns(f"concatenated in the order {order}", expected)
    assert len([name for name in layer.mistakes if name.startswith("concatenated")]) == len(orders)
    four, five = (Layer("Concat", *([parts[0]] * count), axis=1).mistakes for count in (4, 5))
    assert len([name for name in four if name.startswith("concatenated")]) == 23
    assert not [name for name in five if name.startswith("concatenated")]
    assert not [name for name in Layer("Concat", parts[0], axis=1).mistakes if name.startswith("concat")]


def test_a_mask_that_is_applied_behind_the_softmax():
    hidden = np.where(np.tri(3, 4, 1, dtype=bool), 0, -1e9).astype(np.float32)
    for order in (("x", "m"), ("m", "x")):
        one = graph(N("Add", order, ["s"]), N("Softmax", ["s"], ["y"]), m=hidden)
        powers = np.exp(WIDE - WIDE.max(-1, keepdims=True))
        shares = powers / powers.sum(-1, keepdims=True) * (hidden == 0)
        one.each("y", {"mask applied after the softmax": shares})
        assert one.mistakes("y")["mask applied after the softmax"].inputs == ("x",)
        one.each("s", {"mask m left out": powers / powers.sum(-1, keepdims=True)})
    plain = graph(N("Add", ["x", "m"], ["s"]), N("Softmax", ["s"], ["y"]), m=B)
    assert "mask applied after the softmax" not in plain.mistakes("y")
    product = graph(N("Mul", ["x", "m"], ["s"]), N("Softmax", ["s"], ["y"]), m=hidden)
    assert "mask applied after the softmax" not in product.mistakes("y")
