"""ONNX's own published cases of the operators in our files, run on the layers of `lenet_numpy`.

The standard's cases come with the `onnx` package: those of single nodes, and what PyTorch once
exported with the results that it computed. The layers need not do all that an operator can; what they
cannot is listed, with the reason, and nothing else may be left out.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from export.find_layers import pads_of
from lenet_numpy import layers
from parity.arithmetic.floats import FORMATS, gamma

pytestmark = pytest.mark.slow

Array = np.ndarray
U = FORMATS["float32"].u
OPERATORS = ("Conv", "MaxPool", "Relu", "Gemm", "Softmax", "Flatten")


class Unsupported(Exception):
    """The layer has no such setting."""


@dataclass
class Case:
    """One published case: a graph of those operators, what goes in, what must come out."""

    graph: onnx.GraphProto
    inputs: list[Array]
    outputs: list[Array]


@cache
def cases() -> dict[str, Case]:
    """Every published case whose graph has no other operator."""
    return {name: case for name, case in published() if {n.op_type for n in case.graph.node} <= {*OPERATORS}}


def published() -> Iterator[tuple[str, Case]]:
    for operator in OPERATORS:  # a module lists its cases when it is imported; all 200 of them take long
        importlib.import_module(f"onnx.backend.test.case.node.{operator.lower()}")
    node = importlib.import_module("onnx.backend.test.case.node")
    for case in node._NodeTestCases:
        inputs, outputs = case.data_sets[0]
        yield case.name, Case(case.model.graph, inputs, outputs)
    for kind in ("pytorch-operator", "pytorch-converted"):
        for case in load_model_tests(kind=kind):
            folder = Path(str(case.model_dir))
            graph = onnx.load(folder / "model.onnx").graph
            arrays = {}
            for what in ("input", "output"):
                files = sorted((folder / "test_data_set_0").glob(f"{what}_*.pb"))
                arrays[what] = [numpy_helper.to_array(onnx.load_tensor(file)) for file in files]
            yield case.name, Case(graph, arrays["input"], arrays["output"])


def demand(holds: bool, reason: str) -> None:
    if not holds:
        raise Unsupported(reason)


def window(x: Array, settings: dict[str, Any], size: tuple[int, ...]) -> tuple[int, int]:
    """Stride and padding of a Conv or MaxPool, if they are one number each."""
    demand(x.ndim == 4, "images have two axes: no sound, no volumes")
    settings = {"strides": [1, 1], "dilations": [1, 1]} | settings
    sides = set(pads_of(settings, x.shape[2:], size))
    demand(settings["dilations"] == [1, 1], "windows have no holes: no dilation")
    demand(len(set(settings["strides"])) == 1, "the stride is the same along both axes")
    demand(len(sides) == 1, "the padding is the same on all four sides")
    return settings["strides"][0], sides.pop()


def conv(x: Array, w: Array, b: Array | None = None, **settings: Any) -> tuple[Array, Array]:
    demand(settings.get("group", 1) == 1, "every output map reads every channel: no groups")
    stride, pad = window(x, settings, w.shape[2:])
    b = np.zeros(len(w), x.dtype) if b is None else b
    y, _ = layers.conv2d(x, w, b, stride=stride, padding=pad)
    magnitude, _ = layers.conv2d(abs(x), abs(w), abs(b), stride=stride, padding=pad)
    return y, 2 * gamma(w[0].size + 1, U) * magnitude  # ours and theirs may each be a bound away


def max_pool(x: Array, **settings: Any) -> tuple[Array, float]:
    size = settings["kernel_shape"]
    stride, pad = window(x, settings, tuple(size))
    demand(pad == 0, "maxima are taken inside the image: no padding")
    demand(len(set(size)) == 1, "square windows alone")
    fills = all((n - size[0]) % stride == 0 for n in x.shape[2:])
    demand(not settings.get("ceil_mode") or fills, "rows and columns that fill no window are dropped")
    return layers.max_pool2d(x, size=size[0], stride=stride)[0], 0.0


def relu(x: Array) -> tuple[Array, float]:
    return layers.relu(x)[0], 0.0


def gemm(a: Array, b: Array, c: Array | None = None, **settings: Any) -> tuple[Array, Array]:
    demand(settings.get("alpha", 1) == 1 and settings.get("beta", 1) == 1, "y = Wx + b as it is: no factors")
    x, w = a.T if settings.get("transA") else a, b if settings.get("transB") else b.T
    c = np.zeros(len(w), x.dtype) if c is None else c
    demand(c.ndim < 2 or len(c) == 1, "a bias is one number for each output")
    bias = np.broadcast_to(c.ravel(), len(w))
    y, _ = layers.linear(x, w, bias)
    magnitude, _ = layers.linear(abs(x), abs(w), abs(bias))
    return y, 2 * gamma(w.shape[1] + 1, U) * magnitude


def softmax(x: Array, axis: int = -1) -> tuple[Array, Array]:
    demand(x.ndim == 2 and axis in (1, -1), "classes are the last of two axes")
    _, (probabilities, _) = layers.softmax_cross_entropy(x, np.zeros(len(x), np.int64))
    # e^(z − m) carries the rounding of z − m, that is |z − m|·u of its value, and that of exp, which
    # good libraries keep under 4 units in the last place (8u); then a sum of K and a division.
    largest = (x.max(axis=1, keepdims=True) - x).max()
    return probabilities, 2 * gamma(2 * (int(np.ceil(largest)) + 8) + x.shape[1] + 1, U) * probabilities


def flatten(x: Array, axis: int = 1) -> tuple[Array, float]:
    demand(axis in (1, 1 - x.ndim), "what is flattened is all but the batch")
    return layers.flatten(x)[0], 0.0


LAYERS: dict[str, Callable[..., tuple[Array, Any]]] = {
    "Conv": conv,
    "MaxPool": max_pool,
    "Relu": relu,
    "Gemm": gemm,
    "Softmax": softmax,
    "Flatten": flatten,
}


def run(case: Case) -> tuple[Array, Any]:
    """The case's one output by our layers, and how far rounding allows the last of them to be off."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in case.graph.initializer}
    free = [value.name for value in case.graph.input if value.name not in values]
    values |= dict(zip(free, case.inputs, strict=True))
    for node in case.graph.node:
        demand(len(node.output) == 1, "the places of the maxima are no output")
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        settings.pop("broadcast", None)  # of opsets before 7: what they ask for is the rule since
        arguments = [values[name] for name in node.input]
        values[node.output[0]], allowed = LAYERS[node.op_type](*arguments, **settings)
    return values[case.graph.output[0].name], allowed


UNSUPPORTED = {
    name: reason
    for reason, names in {
        "the padding is the same on all four sides": """
            test_conv_with_strides_and_asymmetric_padding test_maxpool_2d_same_upper
            test_maxpool_2d_same_lower
        """,
        "maxima are taken inside the image: no padding": """
            test_maxpool_2d_uint8 test_maxpool_2d_precomputed_pads test_maxpool_2d_precomputed_same_upper
            test_maxpool_2d_pads test_MaxPool2d
        """,
        "the places of the maxima are no output": """
            test_maxpool_with_argmax_2d_precomputed_pads test_maxpool_with_argmax_2d_precomputed_strides
        """,
        "images have two axes: no sound, no volumes": """
            test_maxpool_1d_default test_maxpool_3d_default test_maxpool_3d_dilations
            test_maxpool_3d_dilations_use_ref_impl test_maxpool_3d_dilations_use_ref_impl_large
            test_operator_maxpool test_Conv3d_stride_padding test_Conv1d_dilated test_Conv3d
            test_Conv1d_pad2 test_Conv1d_pad1 test_MaxPool1d_stride_padding_dilation test_Conv3d_no_bias
            test_Conv1d_pad1size1 test_MaxPool3d_stride_padding test_MaxPool3d_stride
            test_Conv3d_dilated_strided test_MaxPool1d_stride test_Conv3d_dilated test_MaxPool1d
            test_Conv1d_stride test_Conv3d_stride test_Conv1d test_Conv1d_pad2size1 test_MaxPool3d
        """,
        "rows and columns that fill no window are dropped": """
            test_maxpool_2d_ceil test_maxpool_2d_ceil_output_size_reduce_by_one
        """,
        "windows have no holes: no dilation": """
            test_maxpool_2d_dilations test_Conv2d_dilated test_MaxPool2d_stride_padding_dilation
        """,
        "a bias is one number for each output": """
            test_gemm_default_matrix_bias test_operator_addmm
        """,
        "y = Wx + b as it is: no factors": """
            test_gemm_alpha test_gemm_beta test_gemm_all_attributes
        """,
        "classes are the last of two axes": """
            test_softmax_axis_0 test_softmax_axis_1 test_softmax_axis_2 test_softmax_negative_axis
            test_softmax_default_axis test_softmax_functional_dim3
        """,
        "what is flattened is all but the batch": """
            test_flatten_axis0 test_flatten_axis2 test_flatten_axis3 test_flatten_negative_axis4
            test_flatten_negative_axis2 test_flatten_negative_axis1
        """,
        "every output map reads every channel: no groups": """
            test_Conv2d_depthwise_padded test_Conv2d_depthwise test_Conv2d_groups_thnn test_Conv1d_groups
            test_Conv2d_depthwise_with_multiplier test_Conv2d_groups test_Conv3d_groups
            test_Conv2d_depthwise_strided
        """,
    }.items()
    for name in names.split()
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_published_cases_hold(operator):
    tried = 0
    for name, case in cases().items():
        if case.graph.node[0].op_type == operator and name not in UNSUPPORTED:
            found, allowed = run(case)
            (wanted,) = case.outputs
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), name
            assert (abs(found - wanted) <= allowed).all(), name
            tried += 1
    assert tried > 0


def test_what_the_layers_cannot_do_is_exactly_the_list():
    found = {}
    for name, case in cases().items():
        try:
            run(case)
        except Unsupported as reason:
            found[name] = str(reason)
    assert found == {name: reason for name, reason in UNSUPPORTED.items() if name in cases()}
