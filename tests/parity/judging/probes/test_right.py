"""Right implementations pass: all runtimes on every example, a small network, and PyTorch's own operators."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto, helper

import parity
from parity.judging.probes import ProbeReport
from parity.judging.probes.examine import is_known
from parity.operators.affine import Conv, ConvTranspose, Gemm
from parity.operators.reduction import ReduceSum
from parity.record.onnx_runtimes import record
from tests.parity.examples import EXAMPLES
from tests.parity.examples.example import Example
from tests.parity.judging.probes.one_example import with_weights
from tests.parity.small import adds_in_16_bits, model, normal

KINDS = sorted({one.operator.TYPE for one in EXAMPLES if is_known(one.operator)})
# (runtime, example): what it does otherwise, as its own answer to the probe says.
OTHERWISE = {
    (
        "openvino-f32",
        "AveragePool(kernel_shape=(3,3),strides=(3,3),pads=(1,1,1,1),ceil_mode=1,count_include_pad=1)",
    ): "divides by 9 where a window reaches beyond the padding, and holds 6 values with the padding's",
}
# (runtime, operator): why no example is probed there.
NONE = {
    ("", "Where"): "all values are constants in the examples",
    ("openvino-f32", "Dropout"): "OpenVINO drops the mask, an output of the examples",
    ("openvino-f32", "GatherElements"): "OpenVINO refuses sizes of indices that differ from the data's",
}


def signed(example: Example) -> bool:
    """Whether an input is of int8."""
    inputs = example.make(np.random.default_rng(0))
    return any(one is not None and one.dtype == np.int8 for one in inputs)


def probed(proto: ModelProto, runtime: str) -> ProbeReport:
    return parity.probe(parity.read_onnx(proto), lambda one, inputs: record(one, inputs, runtime))


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnxruntime-all", "openvino-f32"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_right_runtime_passes_on_every_example(kind: str, runtime: str) -> None:
    known = 0
    for example in (one for one in EXAMPLES if kind == one.operator.TYPE):
        (finding,) = probed(with_weights(example), runtime).findings
        if (runtime, str(example)) in OTHERWISE:
            assert finding.verdict == "wrong"
            continue
        if (
            kind == "MatMulInteger"
            and runtime.startswith("onnxruntime")
            and signed(example)
            and adds_in_16_bits()
        ):
            # A probe with all of their values must say that it is wrong.
            assert finding.verdict == "wrong"
            continue
        assert finding.verdict in ("right", "not probed"), (str(example), finding)
        assert finding.probed or finding.note
        known += finding.probed
    assert known or (runtime, kind) in NONE or ("", kind) in NONE


def network() -> ModelProto:
    """A residual block between a strided convolution and a dense layer: x [2, 3, 16, 16] → y [2, 10]."""
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        make("BatchNormalization", ["c1", "s1", "b1", "m1", "v1"], ["n1"], epsilon=1e-3),
        make("Relu", ["n1"], ["r1"]),
        make("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        make("Add", ["c2", "r1"], ["a"]),
        make("Relu", ["a"], ["r2"]),
        make("Conv", ["r2", "w2", "b2"], ["c3"], pads=[1, 1, 1, 1]),
        make("MaxPool", ["c3"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        make("GlobalAveragePool", ["p"], ["g"]),
        make("Flatten", ["g"], ["f"]),
        make("Gemm", ["f", "w3", "b3"], ["z"], transB=1),
        make("Softmax", ["z"], ["y"]),
    ]
    weights = {"w1": normal(8, 3, 3, 3), "w2": normal(8, 8, 3, 3), "b2": normal(8)}
    weights |= {"w3": normal(10, 8), "b3": normal(10), "v1": np.ones(8, np.float32)}
    weights |= {name: normal(8, seed=k) for k, name in enumerate(("s1", "b1", "m1"))}
    return model(nodes, {"x": [2, 3, 16, 16]}, ["y"], weights)


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnxruntime-all", "reference", "openvino-f32", "opencv"])
def test_a_right_runtime_passes_on_a_network(runtime: str) -> None:
    report = probed(network(), runtime)
    assert report.right, report.findings
    assert report.probed == 11
    assert dict(report.not_probed) == {"Softmax": 1}


def test_nodes_that_are_alike_are_probed_once() -> None:
    seen = [one.nodes for one in probed(network(), "onnxruntime").findings]
    assert ("c2", "c3") in seen
    assert ("r1", "r2") in seen


@pytest.mark.parametrize("example", [one for one in EXAMPLES if not is_known(one.operator)][:40], ids=str)
def test_what_has_no_probe_is_named(example: Example) -> None:
    report = probed(with_weights(example), "onnxruntime")
    assert report.verdict == "not probed"
    assert sum(report.not_probed.values()) == 1
    assert report.findings[0].note


def test_pytorchs_operators_pass() -> None:
    import torch
    from torch.nn import functional

    def in_torch(function: Callable[..., torch.Tensor]) -> Callable[..., np.ndarray]:
        return lambda *arrays: function(*(torch.from_numpy(one) for one in arrays)).numpy()

    conv = parity.probe_operator(
        Conv(pads=(1, 1, 1, 1)),
        [(2, 16, 9, 9), (4, 16, 3, 3), (4,)],
        in_torch(lambda x, w, b: functional.conv2d(x, w, b, padding=1)),
    )
    transposed = parity.probe_operator(
        ConvTranspose(strides=(2, 2)),
        [(2, 3, 5, 5), (3, 4, 3, 3), (4,)],
        in_torch(lambda x, w, b: functional.conv_transpose2d(x, w, b, stride=2)),
    )
    linear = parity.probe_operator(
        Gemm(transB=1), [(4, 300), (5, 300), (5,)], in_torch(lambda x, w, b: functional.linear(x, w, b))
    )
    assert [conv.verdict, transposed.verdict, linear.verdict] == ["right"] * 3
    assert (conv.semantics, conv.precision) == ("right", "right")


def test_an_array_among_the_shapes_keeps_its_values() -> None:
    found = parity.probe_operator(
        ReduceSum(), [(4, 5, 6), np.array([1], np.int64)], lambda x, axes: x.sum(1, keepdims=True)
    )
    assert found.verdict == "right"
    assert (
        parity.probe_operator(
            ReduceSum(), [(4, 5, 6), np.array([1], np.int64)], lambda x, axes: x.sum(2, keepdims=True)
        ).verdict
        == "wrong"
    )


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(parity.UserError, match="does not fit"):
        parity.probe_operator(Conv(), [(1, 3, 4, 4), (2, 5, 3, 3)], lambda x, w: x)
