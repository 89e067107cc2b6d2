"""Single products show coarse arithmetic at every n, also where the plain verdict misses it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import parity
from parity.arithmetic import Array, Bounded
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32, Format
from parity.judging.probes import single_products
from parity.judging.probes.coarse_part import lost_digits
from parity.judging.probes.examine import examine
from parity.judging.probes.finding import LIMITS
from parity.operators.affine import Conv, Gemm, MatMul
from parity.operators.elementwise import Add, Mul
from parity.operators.normalization import BatchNormalization
from parity.operators.pooling import AveragePool
from parity.operators.shape import Split
from tests.parity.judging.probes.one_example import shape_only
from tests.parity.operators.one_node import outputs
from tests.parity.small import model, normal

SHORT = {"TF32": TF32, "bfloat16": BFLOAT16, "float16": FLOAT16}
DIGITS = {"TF32": 11, "bfloat16": 8, "float16": 11}
SIZES = [9, 400, 2304, 28672]
Run = Callable[..., Array]


def short(form: Format, x: Array) -> Array:
    return form.round(x).astype(np.float32)


def with_operands_in(form: Format) -> Run:
    return lambda a, b: short(form, a) @ short(form, b)


@pytest.mark.parametrize(
    ("n", "name"), [*((n, name) for n in SIZES[:-1] for name in SHORT), (SIZES[-1], "TF32")]
)
def test_operands_in_a_shorter_format_are_found_and_named(n: int, name: str) -> None:
    found = parity.probe_operator(MatMul(), [(8, n), (n, 24)], with_operands_in(SHORT[name]))
    assert (found.semantics, found.precision) == ("right", "coarse")
    assert [one.name for one in found.causes] == [f"operands rounded to {name}"]
    assert found.worst is not None
    assert (
        DIGITS[name] - 0.5 < found.digits < DIGITS[name] + 1
    )  # of rounding to p digits, most are below 2^-p


@pytest.mark.parametrize("n", SIZES)
def test_float32_is_right_whatever_the_number_of_products(n: int) -> None:
    found = parity.probe_operator(MatMul(), [(16, n), (n, 64)], lambda a, b: a @ b)
    assert (found.semantics, found.precision) == ("right", "right")


@pytest.mark.slow
def test_the_plain_verdict_misses_what_single_products_find() -> None:
    """TF32 operands, 28,672 positive products: 1.02 times the loop."""
    rng = np.random.default_rng(0)
    a, b = (rng.random(shape, np.float32) + np.float32(0.1) for shape in ((16, 28672), (28672, 8)))
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "ab"]
    made = [helper.make_empty_tensor_value_info("y")]
    graph = parity.read_onnx(helper.make_model(helper.make_graph([node], "g", given, made)))
    run = with_operands_in(TF32)
    report = parity.judge(graph, {"a": a, "b": b, "y": run(a, b)})
    found = parity.probe_operator(MatMul(), [a.shape, b.shape], run)
    assert report.verdict == "rounding"
    assert found.precision == "coarse"


def test_one_operand_is_enough() -> None:
    found = parity.probe_operator(MatMul(), [(16, 400), (400, 64)], lambda a, b: a @ short(FLOAT16, b))
    assert [one.name for one in found.causes] == ["weights rounded to float16"]


@pytest.mark.parametrize("name", SHORT)
def test_sums_in_a_shorter_format_are_found(name: str) -> None:
    """A product goes through the sum, even if it is the only one."""
    form = SHORT[name]

    def run(a: Array, b: Array) -> Array:
        total = np.zeros((8, 16), np.float32)
        for k in range(a.shape[1]):
            total = short(form, total + a[:, k : k + 1] * b[k : k + 1])
        return total

    found = parity.probe_operator(MatMul(), [(8, 300), (300, 16)], run)
    assert (found.semantics, found.precision) == ("right", "coarse")


def in_parts(x: Format | None, w: Format | None, b: Format | None, y: Format | None) -> Run:
    """A product whose parts are rounded to formats."""

    def rounded(form: Format | None, a: Array) -> Array:
        return a if form is None else short(form, a)

    return lambda a, m, c: rounded(y, rounded(x, a) @ rounded(w, m) + rounded(b, c))


@pytest.mark.slow
def test_the_part_that_is_coarse_is_told_where_no_known_mistake_is() -> None:
    run = in_parts(None, None, BFLOAT16, None)
    found = parity.probe_operator(Gemm(), [(16, 90), (90, 64), (64,)], run)
    assert found.precision == "coarse"
    assert not found.causes
    assert list(found.clues) == ["the bias keeps 8 of 24 binary digits, as bfloat16 does"]


def test_the_part_of_a_convolution_is_told_although_some_windows_are_empty() -> None:
    conv = Conv(pads=(2, 2, 2, 2))
    shapes = shape_only(conv, (2, 8, 9, 9), (4, 8, 3, 3))
    inputs = single_products.probe(conv, shapes, np.random.default_rng(0)).inputs

    def run(arrays: Sequence[Array | None]) -> Array:
        x, w = arrays
        assert x is not None
        assert w is not None
        return outputs(conv, [short(BFLOAT16, x), w])[0].value.astype(np.float32)

    assert (outputs(conv, inputs)[0].value == 0).any()
    assert lost_digits(conv, inputs, run) == ("the input keeps 8 of 24 binary digits, as bfloat16 does",)


@pytest.mark.parametrize(
    ("run", "cause"),
    [
        (in_parts(TF32, None, None, None), "input with 10 bits of fraction: TF32 or float16"),
        (in_parts(BFLOAT16, BFLOAT16, None, BFLOAT16), "products in bfloat16, added up in float32"),
        (  # OpenVINO's default, say, rounds the bias as well
            in_parts(BFLOAT16, BFLOAT16, BFLOAT16, None),
            "operands rounded to bfloat16, and parameters stored in bfloat16",
        ),
    ],
)
def test_parts_that_a_known_mistake_makes_coarse_are_named(run: Run, cause: str) -> None:
    found = parity.probe_operator(Gemm(), [(16, 90), (90, 64), (64,)], run)
    assert found.precision == "coarse"
    assert [one.name.partition(" (")[0] for one in found.causes] == [cause]


def test_products_are_rounded_once_and_not_twice() -> None:
    """A check that cannot fail is none: one unit in the last place too much is coarse."""

    def run(a: Array, b: Array) -> Array:
        return np.nextafter(a @ b, np.float32(np.inf))

    found = parity.probe_operator(MatMul(), [(16, 9), (9, 64)], run)
    assert found.precision == "coarse"
    assert 22 < found.digits < 24


def test_products_that_are_cut_off_are_coarse() -> None:
    """Rounding towards zero is off by up to one unit, twice as much as a rounding to nearest."""

    def run(a: Array, b: Array) -> Array:
        exact = a.astype(np.float64) @ b.astype(np.float64)
        near = exact.astype(np.float32)
        return np.where(np.abs(near) > np.abs(exact), np.nextafter(near, np.float32(0)), near)

    found = parity.probe_operator(MatMul(), [(16, 9), (9, 64)], run)
    assert found.precision == "coarse"


@pytest.mark.parametrize(("units", "precision"), [(2, "right"), (3, "coarse")])
def test_in_float64_the_reference_itself_may_be_off_by_two_units(units: int, precision: str) -> None:
    """A unit is at most twice the roundoff, of which five are allowed: one for the result, four for it."""

    def run(a: Array, b: Array) -> Array:
        right = a @ b
        return np.where(
            right == np.rint(right), right, right + units * np.spacing(right)
        )  # integers are exact

    found = parity.probe_operator(MatMul(), [(16, 9), (9, 64)], run, dtype="float64")
    assert found.precision == precision


@pytest.mark.parametrize("wrong", [0, 1])
def test_each_output_is_looked_at(wrong: int) -> None:
    split = Split(split=(2, 3))

    def run(inputs: tuple[Array | None, ...]) -> list[Array | None]:
        pieces = [one.value for one in outputs(split, inputs)]
        return [short(BFLOAT16, one) if k == wrong else one for k, one in enumerate(pieces)]

    assert examine(split, shape_only(split, (5, 40)), run, "node").precision == "coarse"


CASES: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "Conv": (Conv(pads=(1, 1, 1, 1), strides=(2, 1)), [(2, 8, 9, 9), (6, 8, 3, 3), (6,)]),
    "depthwise": (Conv(group=4), [(1, 4, 9, 9), (4, 1, 3, 3)]),
    "dilated": (Conv(dilations=(2, 2)), [(1, 4, 12, 12), (5, 4, 3, 3)]),
    "Gemm": (Gemm(transB=1, alpha=0.5), [(6, 50), (7, 50), (7,)]),
    "Add": (Add(), [(4, 50), (4, 50)]),
    "Mul": (Mul(), [(4, 50), (50,)]),
    "AveragePool": (AveragePool(kernel_shape=(3, 3), pads=(1, 1, 1, 1)), [(1, 4, 9, 9)]),
    "BatchNormalization": (BatchNormalization(epsilon=1e-3), [(2, 6, 7, 7), (6,), (6,), (6,), (6,)]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", [TF32, BFLOAT16, FLOAT16], ids=lambda form: form.name)
def test_shorter_inputs_of_other_operators_are_coarse(case: str, form: Format) -> None:
    operator, shapes = CASES[case]

    def run(*arrays: Array) -> Array:
        arrays = (short(form, arrays[0]), *arrays[1:])
        return outputs(operator, list(arrays))[0].value.astype(np.float32)

    assert parity.probe_operator(operator, shapes, run).verdict == "coarse"


@pytest.mark.parametrize("case", CASES)
def test_other_operators_in_float32_are_right(case: str) -> None:
    operator, shapes = CASES[case]

    def run(*arrays: Array) -> Array:
        return outputs(operator, list(arrays))[0].value.astype(np.float32)

    assert parity.probe_operator(operator, shapes, run).verdict == "right"


# --- what is not seen --------------------------------------------------------------------------


def dropping(a: Array, b: Array) -> Array:
    """Sums that drop terms 1,000 times smaller than the largest: an adder that cuts digits off."""
    terms = a[:, :, None] * b
    large = np.abs(terms) > np.abs(terms).max(1, keepdims=True) / 1000
    return np.asarray((terms * large).sum(1, dtype=np.float32))


def saturating(a: Array, b: Array) -> Array:
    """Sums that end at the largest number of float16."""
    return np.clip(a @ b, -65504, 65504)


@pytest.mark.parametrize("run", [dropping, saturating])
def test_limits_are_as_stated(run: Run) -> None:
    """Both pass the probes and are wrong on data of their own: what is said beside every result."""
    found = parity.probe_operator(MatMul(), [(8, 400), (400, 16)], run)
    assert found.verdict == "right"
    rng = np.random.default_rng(0)
    scale = np.float32(300 if run is saturating else 1)
    a, b = (rng.standard_normal(shape).astype(np.float32) * scale for shape in ((8, 400), (400, 16)))
    right = MatMul().evaluate(Bounded(a), Bounded(b))
    assert isinstance(right, Bounded)
    assert (np.abs(run(a, b) - right.value) > right.bound).any()
    assert "small terms" in LIMITS
    assert "overflow" in LIMITS


# --- OpenVINO ----------------------------------------------------------------------------------


def in_openvino(**hints: str) -> Callable[[ModelProto, Any], dict[str, Array]]:
    import openvino

    core = openvino.Core()

    def run(one: ModelProto, inputs: Any) -> dict[str, Array]:
        compiled = core.compile_model(core.read_model(one.SerializeToString()), "CPU", hints)
        found = compiled(dict(inputs)).items()
        return {name: np.array(array) for port, array in found for name in port.get_names()}

    return run


@pytest.mark.parametrize("channels", [1, 256])
def test_openvinos_default_is_coarse_where_the_processor_has_bfloat16(channels: int) -> None:
    """With f32 it is right; n is 9 and 2,304."""
    import openvino

    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])]
    w = normal(16, channels, 3, 3)
    graph = parity.read_onnx(model(nodes, {"x": [1, channels, 14, 14]}, ["y"], {"w": w}))
    can = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    default = parity.probe(graph, in_openvino())
    exact = parity.probe(graph, in_openvino(INFERENCE_PRECISION_HINT="f32"))
    assert default.verdict == ("coarse" if can else "right")
    assert default.findings[0].semantics == "right"
    assert exact.verdict == "right"
