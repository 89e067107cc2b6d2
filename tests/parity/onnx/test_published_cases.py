"""Every operator against the cases that ONNX publishes with its standard: node cases with recorded outputs.

Each case whose operators all have a class is read, and its recorded outputs are judged as a candidate's. A
case that fails stands in `LEFT_OUT` with its reason, or the test fails; so does an entry that is not needed.
"""

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Mapping
from functools import cache

import numpy as np
import onnx
import onnx.backend.test.case.node as published
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase

from parity.graph import Graph
from parity.judging import judge
from parity.judging.verdict import Report
from parity.onnx import read_onnx
from parity.operators import OPERATORS

ONE_OPERAND = "Einsum over one operand is no product"
SMALL_FLOATS = "rounded quotients among floats of 8 bits and fewer"
FOUR_DIGITS = "its outputs are recorded with four digits"
RANDOM = "what training drops is drawn at random"
NO_INTEGER = "its places are divided by size times scale; onnxruntime's by the size of the output"
# By the module of the cases: case → why its recorded outputs are not judged to be right.
LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "averagepool": {"test_averagepool_2d_ceil_last_window_starts_on_pad": FOUR_DIGITS},
    "dropout": {
        "test_training_dropout_default": RANDOM,
        "test_training_dropout_default_mask": RANDOM,
        "test_training_dropout": RANDOM,
        "test_training_dropout_mask": RANDOM,
    },
    "einsum": {
        "test_einsum_transpose": ONE_OPERAND,
        "test_einsum_sum": ONE_OPERAND,
        "test_einsum_batch_diagonal": ONE_OPERAND,
        "test_einsum_sum_bfloat16": ONE_OPERAND,
        "test_einsum_transpose_bfloat16": ONE_OPERAND,
        "test_einsum_scalar": ONE_OPERAND,
    },
    "gridsample": {"test_gridsample_bicubic": FOUR_DIGITS},
    "quantizelinear": {
        "test_quantizelinear_e4m3fn": SMALL_FLOATS,
        "test_quantizelinear_e5m2": SMALL_FLOATS,
        "test_quantizelinear_float4e2m1": SMALL_FLOATS,
    },
    "resize": {
        "test_resize_downsample_scales_linear_align_corners": NO_INTEGER,
        "test_resize_downsample_scales_cubic_align_corners": NO_INTEGER,
    },
}
# Cases all of whose places lie halfway between two values, either of which is right, and what is between.
HALFWAY = (
    "test_gridsample_nearest_align_corners_0_additional_1",
    "test_gridsample_nearest_align_corners_1_additional_1",
)
MODULES = sorted(one.name for one in pkgutil.iter_modules(published.__path__) if not one.ispkg)


@cache
def cases(module: str) -> list[TestCase]:
    """The cases of one module, which are made when it is imported.

    A module at a time: making all of them, pools above all, takes longer than judging them.
    """
    made = published._NodeTestCases  # as `onnx.backend.test.loader` does, which imports every module
    before, name = len(made), f"{published.__name__}.{module}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.reload(sys.modules[name]) if name in sys.modules else importlib.import_module(name)
    return made[before:]


def graph_of(case: TestCase) -> Graph | None:
    """The graph of a case; None if an operator of it has no class, or if nothing in it is computed.

    So it is where an input is no tensor, but a sequence of them or an optional one.
    """
    assert case.model is not None
    if any(one.type.WhichOneof("value") != "tensor_type" for one in case.model.graph.input):
        return None
    graph = read_onnx(case.model)
    known = all(node.type in OPERATORS for node in graph.nodes)
    return graph if known and graph.nodes else None


def recorded(case: TestCase, graph: Graph) -> list[dict[str, np.ndarray]]:
    """Inputs and recorded outputs by name, for each data set of a case."""
    assert case.model is not None
    names = [one.name for one in case.model.graph.input], graph.outputs
    return [
        {
            name: numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
            for side, values in zip(names, data, strict=True)
            for name, value in zip(side, values, strict=True)
        }
        for data in case.data_sets or ()
    ]


def wrong(report: Report) -> str:
    """What a report says against its candidate; nothing if it is right."""
    return "; ".join(
        f"{one.tensor} of {one.op} is {one.verdict}: {one.ratio:.3g} of its bound,"
        f" {one.loop_ratio:.3g} of the loop. {one.note}"
        for one in report.tensors
        if one.verdict not in ("equal", "rounding")
    )


@pytest.mark.parametrize("module", MODULES)
def test_recorded_outputs_are_right(module: str) -> None:
    left_out = LEFT_OUT.get(module, {})
    problems, needed = {}, set()
    for case in cases(module):
        if (graph := graph_of(case)) is None:
            continue
        found = "; ".join(filter(None, (wrong(judge(graph, values)) for values in recorded(case, graph))))
        if found and case.name in left_out:
            needed.add(case.name)
        elif found:
            problems[case.name] = found
    assert not problems
    assert needed == set(left_out), "left out, but judged to be right"


def spoiled(values: dict[str, np.ndarray], name: str, factor: float = 1.125) -> dict[str, np.ndarray] | None:
    """The same with a value of this tensor changed by an eighth, an integer by a bit; None if it has none."""
    array = np.array(values[name])
    if array.dtype.kind not in "iuf" or not np.isfinite(array).any():
        return None
    place = np.unravel_index(np.where(np.isfinite(array), np.abs(array), -1).argmax(), array.shape)
    value = array[place]
    array[place] = value * factor if array.dtype.kind == "f" and value else value ^ 2 if value else 1
    return {**values, name: array}


@pytest.mark.parametrize("module", MODULES)
def test_a_wrong_value_is_found(module: str) -> None:
    missed = set()
    for case in cases(module):
        if (graph := graph_of(case)) is None or case.name in LEFT_OUT.get(module, {}):
            continue
        for values in recorded(case, graph):
            bad = spoiled(values, graph.outputs[0], 4.0 if case.name in HALFWAY else 1.125)
            if bad is not None and not wrong(judge(graph, bad)):
                missed.add(case.name)
    assert not missed


def uncovered() -> list[str]:
    """Operators of the standard without a class; deprecated ones, and Constant, which is read, apart."""
    return sorted(
        schema.name
        for schema in onnx.defs.get_all_schemas()
        if schema.domain == "" and not schema.deprecated and schema.name not in {*OPERATORS, "Constant"}
    )


def test_left_out_names_modules() -> None:
    assert set(LEFT_OUT) <= set(MODULES)


def test_every_class_is_of_the_standard() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert {name for name in OPERATORS if "." not in name} <= known
    assert not known & set(uncovered()) & set(OPERATORS)
