"""What a finding says: why there is no probe, which part is coarse, and its form as JSON."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np
import pytest

import parity
from parity.arithmetic import Array
from parity.arithmetic.floats import BFLOAT16, FLOAT16, TF32, Format
from parity.judging.probes import Finding, ProbeReport, single_products
from parity.judging.probes.coarse_part import lost_digits
from parity.judging.probes.examine import examine
from parity.judging.probes.finding import LIMITS
from parity.judging.probes.operand import Operand
from parity.judging.verdict import Cause, Worst
from parity.operators import Operator
from parity.operators.activation import LeakyRelu
from parity.operators.affine import Gemm
from parity.operators.einsum import Einsum
from parity.operators.elementwise import Add, Mul
from parity.operators.normalization import BatchNormalization
from parity.operators.pooling import AveragePool
from parity.operators.reduction import CumSum
from parity.operators.select import Gather, ScatterElements
from parity.operators.softmax import Softmax
from tests.parity.judging.probes.one_example import shape_only
from tests.parity.operators.one_node import outputs

INT64 = np.dtype(np.int64)
FLOATS = Operand((4, 5), np.dtype(np.float32))
INDICES = Operand((4, 5), INT64, np.zeros((4, 5), np.int64), constant=True)
Part = Callable[[Array], Array]


@pytest.mark.parametrize(
    ("operator", "operands", "note", "verdict"),
    [
        (Softmax(), [FLOATS], "no probe", "not probed"),
        (LeakyRelu(alpha=0.01), [FLOATS], "no integers are known for LeakyRelu", "right"),
        (
            CumSum(),
            [FLOATS, Operand((), INT64, np.array(1), True)],
            "no single products are known for CumSum",
            "right",
        ),
        (
            AveragePool(kernel_shape=(3, 3)),
            shape_only(Add(), (1, 2, 6, 6)),
            "a division by 9 in exact integers",
            "right",
        ),
        (Add(), shape_only(Add(), (0, 3), (0, 3)), "its operands are empty", "not probed"),
        (Mul(), [INDICES, INDICES], "its operands are no floating-point numbers", "not probed"),
        (
            Gather(),
            [FLOATS, Operand((2,), INT64)],
            "the values of an input that is not a float are not known",
            "not probed",
        ),
        (
            ScatterElements(reduction="add"),
            [FLOATS, INDICES, FLOATS],
            "it adds values up where they meet",
            "not probed",
        ),
        (
            BatchNormalization(training_mode=1),
            shape_only(Add(), (2, 3, 4, 4), *[(3,)] * 4),
            "in training, mean and variance are computed",
            "not probed",
        ),
        (
            Einsum(equation="i,j,k->ijk"),
            shape_only(Add(), (2,), (3,), (4,)),
            "Einsum with 3 operands",
            "not probed",
        ),
    ],
    ids=lambda one: one.TYPE if isinstance(one, Operator) else "",
)
def test_a_finding_says_why_a_probe_does_not_apply(
    operator: Operator, operands: list[Operand | None], note: str, verdict: str
) -> None:
    def run(inputs: tuple[Array | None, ...]) -> list[Array | None]:
        return [outputs(operator, inputs)[0].value.astype(np.float32)]

    found = examine(operator, operands, run, "node")
    assert (found.nodes, found.op, found.note, found.verdict) == (("node",), operator.TYPE, note, verdict)
    assert found.shapes == tuple(one.shape for one in operands if one is not None)


def short(form: Format) -> Part:
    return lambda a: form.round(a).astype(np.float32)


def off(units: int) -> Part:
    return lambda a: a + units * np.spacing(a)


def whole(a: Array) -> Array:
    return a


@pytest.mark.parametrize(
    ("x", "w", "b", "y", "lines"),
    [
        (whole, whole, whole, whole, []),
        (whole, whole, whole, off(1), []),
        (whole, whole, whole, off(2), ["the result keeps 22 of 24 binary digits"]),
        (short(BFLOAT16), whole, whole, whole, ["the input keeps 8 of 24 binary digits, as bfloat16 does"]),
        (
            whole,
            short(TF32),
            whole,
            whole,
            ["the weight keeps 11 of 24 binary digits, as TF32 and float16 do"],
        ),
        (whole, whole, short(BFLOAT16), whole, ["the bias keeps 8 of 24 binary digits, as bfloat16 does"]),
        # Some values are so small that float16 has six to eight digits for them.
        (
            short(FLOAT16),
            whole,
            whole,
            whole,
            ["the input keeps 11 of 24 binary digits, as TF32 and float16 do"],
        ),
        (
            whole,
            whole,
            whole,
            short(FLOAT16),
            ["the result keeps 11 of 24 binary digits, as TF32 and float16 do"],
        ),
        # What the result loses hides what its operands lose.
        (
            short(BFLOAT16),
            whole,
            whole,
            short(TF32),
            ["the result keeps 11 of 24 binary digits, as TF32 and float16 do"],
        ),
        (
            short(BFLOAT16),
            short(TF32),
            whole,
            whole,
            [
                "the input keeps 8 of 24 binary digits, as bfloat16 does",
                "the weight keeps 11 of 24 binary digits, as TF32 and float16 do",
            ],
        ),
    ],
)
def test_each_part_that_loses_digits_is_told(x: Part, w: Part, b: Part, y: Part, lines: list[str]) -> None:
    def run(arrays: Sequence[Any]) -> Array:
        a, m, c = arrays
        return y((x(a) @ w(m) + b(c)).astype(np.float32))

    given = shape_only(Gemm(), (16, 90), (90, 64), (64,))
    inputs = single_products.probe(Gemm(), given, np.random.default_rng(0)).inputs
    assert list(lost_digits(Gemm(), inputs, run)) == lines


@pytest.mark.parametrize(
    "found",
    [np.zeros((16, 63)), np.full((16, 64), np.nan), np.full((16, 64), np.inf), np.full((16, 64), 9.0)],
)
def test_parts_of_results_that_are_no_such_product_are_not_told(found: Array) -> None:
    given = shape_only(Gemm(), (16, 90), (90, 64), (64,))
    inputs = single_products.probe(Gemm(), given, np.random.default_rng(0)).inputs
    assert lost_digits(Gemm(), inputs, lambda arrays: found.astype(np.float32)) == ()


COARSE = Finding(
    ("first", "second"),
    "MatMul",
    ((2, 3), (3, 4)),
    "right",
    "coarse",
    7.5,
    Worst((1, 2), 1.5, 1.25),
    (Cause("y0", "node", "a name", "an explanation", "a remedy"),),
    ("a clue",),
    "a note",
)
RIGHT = Finding(("third",), "Add", ((2,), (2,)), "right", "right", inf)
WRONG = Finding(("fourth",), "Relu", ((2,),), "wrong")
NONE = [
    Finding(("fifth", "sixth"), "Softmax", note="no probe"),
    Finding(("last",), "Softmax"),
    Finding(("one",), "Erf"),
]


def test_the_json_of_a_finding_has_all_of_it() -> None:
    assert COARSE.to_json() == {
        "nodes": ["first", "second"],
        "op": "MatMul",
        "shapes": [[2, 3], [3, 4]],
        "verdict": "coarse",
        "semantics": "right",
        "precision": "coarse",
        "digits": 7.5,
        "worst": {"index": [1, 2], "found": 1.5, "expected": 1.25},
        "causes": [
            {
                "tensor": "y0",
                "node": "node",
                "name": "a name",
                "explanation": "an explanation",
                "remedy": "a remedy",
                "case": "",
                "apart": "",
            }
        ],
        "clues": ["a clue"],
        "note": "a note",
    }
    nothing = NONE[0].to_json()
    empty = dict.fromkeys(("semantics", "precision", "digits", "worst"))
    assert nothing == empty | {
        "nodes": ["fifth", "sixth"],
        "op": "Softmax",
        "shapes": [],
        "verdict": "not probed",
        "causes": [],
        "clues": [],
        "note": "no probe",
    }
    assert RIGHT.to_json()["digits"] is None


def test_a_report_counts_nodes_and_has_the_worst_verdict() -> None:
    report = ProbeReport((*NONE, COARSE, RIGHT, WRONG))
    assert report.to_json() == {
        "verdict": "wrong",
        "probed": 4,
        "not_probed": {"Softmax": 3, "Erf": 1},
        "limits": LIMITS,
        "findings": [one.to_json() for one in report.findings],
    }
    some = [report, ProbeReport((RIGHT, COARSE)), ProbeReport((*NONE, RIGHT)), ProbeReport(tuple(NONE))]
    assert [one.verdict for one in some] == ["wrong", "coarse", "right", "not probed"]
    assert [one.right for one in some] == [False, False, True, False]


def test_a_framework_that_returns_lists_is_probed() -> None:
    assert parity.probe_operator(Add(), [(2, 3), (2, 3)], lambda a, b: (a + b).tolist()).semantics == "right"
