"""PyTorch modules: their exported graph, and what hooks record under its names."""

import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto

from parity import UserError
from parity.errors import MissingFramework
from parity.record import export_torch, record_torch
from parity.record.frameworks import torch_hooks
from parity.record.frameworks.torch_names import CALLS, traced
from tests.parity.record.frameworks import framework, judged, verdicts
from tests.parity.small import normal

torch = framework("torch", "onnxscript")
nn = torch.nn
Module: Any = nn.Module


class Block(Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        return self.act(self.bn(self.conv(x)) + x)


class Wrapped(Module):
    """Returns what its part returns."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.inner(x)


class Net(Module):
    """Modules called twice, one after the other too; in-place ReLU; a tuple; a module with two names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(Block(), Block())
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.fc = Wrapped()
        self.other = self.fc.inner
        self.lstm = nn.LSTM(4, 5, batch_first=True)

    def forward(self, image: Any, scale: Any = None) -> Any:
        x = self.act(self.stem(image))
        x = self.act(self.blocks(x))
        x = self.fc(self.fc(self.flatten(self.pool(x))))
        x = self.other(x)
        x, (h, _) = self.lstm(x[:, None])
        return x * 2 if scale is None else x * scale, h


@pytest.fixture(scope="module")
def net() -> Any:
    torch.manual_seed(0)
    made = Net().eval()
    for one in made.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.running_mean.normal_()
            one.running_var.uniform_(0.5, 2)
    return made


@pytest.fixture(scope="module")
def graph(net: Any) -> ModelProto:
    return export_torch(net, {"image": IMAGE})


IMAGE = normal(2, 3, 8, 8)
SMALL = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()


@pytest.mark.slow
def test_every_module_is_recorded_under_its_name_in_the_graph(net: Any, graph: ModelProto) -> None:
    values = record_torch(net, {"image": IMAGE}, graph)
    report = judged(graph, values)
    assert report.verdict == "rounding"
    ops = {one.tensor: one.op for one in report.tensors}
    assert sorted(ops.values()) == sorted(
        ["Conv"] * 3 + ["BatchNormalization"] * 2 + ["Relu"] * 4 + ["ReduceMean", "Reshape"] + ["Gemm"] * 3
        + ["Mul", "Transpose", "LSTM"]
    )  # fmt: skip
    np.testing.assert_array_equal(values["image"], IMAGE)
    for name in ("conv2d", "getitem"):  # an in-place ReLU follows the convolution
        assert (values[name] < 0).any()


@pytest.mark.slow
def test_folding_is_off_and_weights_and_modes_are_left(net: Any, graph: ModelProto) -> None:
    assert [node.op_type for node in graph.graph.node].count("BatchNormalization") == 2
    net.blocks[0].train()
    try:
        export_torch(net, (IMAGE,))
        assert [one.training for one in (net, net.blocks[0].bn, net.blocks[1])] == [False, True, False]
    finally:
        net.eval()


@pytest.mark.slow
def test_without_names_the_module_is_exported() -> None:
    found = record_torch(SMALL, normal(1, 3, 5, 5))
    assert list(found) == ["input", "conv2d", "getitem"]


@pytest.mark.slow
def test_a_wrong_port_is_found_at_its_layer(net: Any, graph: ModelProto) -> None:
    bn, right = net.blocks[1].bn, net.blocks[1].bn.eps
    try:
        bn.eps = 1e-3
        report = judged(graph, record_torch(net, IMAGE, graph))
    finally:
        bn.eps = right
    assert [one.tensor for one in report.tensors if one.verdict == "different"] == ["getitem_3"]
    assert report.first is not None
    assert report.first.causes[0].name == "epsilon 0.001 for 1e-05"


@pytest.mark.slow
def test_a_module_in_training_mode_is_recorded_as_it_is_and_left(net: Any, graph: ModelProto) -> None:
    before = {name: one.clone() for name, one in net.state_dict().items()}
    try:
        report = judged(graph, record_torch(net.train(), IMAGE, graph))
        assert net.training
    finally:
        net.eval()
    assert report.first is not None
    assert report.first.causes[0].name.startswith("batch statistics")
    for name, one in net.state_dict().items():
        assert torch.equal(one, before[name]), name


# --- names -------------------------------------------------------------------------------------


def without_calls(graph: ModelProto) -> ModelProto:
    """The graph as PyTorch's exporter writes it."""
    plain = ModelProto()
    plain.CopyFrom(graph)
    for node in plain.graph.node:
        kept = [one for one in node.metadata_props if one.key != CALLS]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    return plain


def test_a_graph_of_the_exporter_itself_names_what_is_certain(net: Any, graph: ModelProto) -> None:
    """Two calls of `fc`, one after the other, look like one: left out rather than mistaken."""
    plain = without_calls(graph)
    assert not traced(plain).exact
    assert traced(graph).exact
    ours, theirs = record_torch(net, IMAGE, graph), record_torch(net, IMAGE, plain)
    assert {*ours} - {*theirs} == {"linear", "linear_1", "linear_2"}
    for name, array in theirs.items():
        np.testing.assert_array_equal(array, ours[name])


def test_names_may_be_given(net: Any, graph: ModelProto) -> None:
    names = {"stem": "conv2d", "act@1": "relu_3", "lstm:1": "getitem_7", "return:0": "mul", "image": "image"}
    values = record_torch(net, {"image": IMAGE}, names)
    assert set(values) == set(names.values())
    assert set(verdicts(judged(graph, values)).values()) <= {"equal", "rounding"}


def test_axes_of_an_argument_and_of_a_module_may_be_given() -> None:
    class Turned(Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Identity()

        def forward(self, x: Any) -> Any:
            assert x.shape == (2, 8, 8, 3)
            return self.part(x) + 1

    names = {"x": ("image", "NHWC->NCHW"), "part": ("same", "NHWC->NCHW"), "return": ("y", "NHWC->NCHW")}
    found = record_torch(Turned(), {"image": IMAGE}, names)
    np.testing.assert_array_equal(found["image"], IMAGE)
    np.testing.assert_array_equal(found["same"], IMAGE)
    np.testing.assert_array_equal(found["y"], IMAGE + 1)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"stam": "conv2d"}, "no module 'stam'; the nearest: stem"),
        ({"act@2": "relu"}, "'act@2' is to be relu, but was not recorded; the nearest: act@1"),
        ({"lstm": "getitem_7"}, "'lstm' is to be getitem_7, but was not recorded; the nearest: lstm"),
        ({"stem": "a", "fc": "a"}, "both 'stem' and 'fc' are to be a"),
        ({"stem": ("a", "NHC->NCH")}, "'stem' has 4 axes, but 'NHC->NCH' tells of 3"),
    ],
)
def test_names_that_do_not_fit_are_refused(net: Any, names: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        record_torch(net, {"image": IMAGE}, names)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"a": IMAGE, "b": IMAGE}, r"no argument 'a' \(there are: image, scale\)"),
        ({}, "missing a required argument: 'image'"),
        ((IMAGE, IMAGE, IMAGE), "too many positional arguments"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(net: Any, inputs: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        export_torch(net, inputs)
    with pytest.raises(UserError, match=said):
        record_torch(net, inputs, {"stem": "conv2d"})


@pytest.mark.slow
def test_a_module_that_cannot_be_exported_is_refused_in_one_line() -> None:
    class Branching(Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(UserError, match=r"PyTorch cannot export the module: .*data-dependent") as caught:
        export_torch(Branching(), normal(3))
    assert "\n" not in str(caught.value)


def test_a_missing_framework_is_reported_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingFramework, match=r"is not installed: .*pip install .*\[torch,export\]"):
        export_torch(SMALL, normal(1, 3, 5, 5))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingFramework, match=r"PyTorch is not installed: .*pip install .*torch"):
        record_torch(SMALL, normal(1, 3, 5, 5), {})


# --- formats, compilation ----------------------------------------------------------------------


@pytest.mark.slow
def test_autocast_is_recorded_and_not_exported(net: Any, graph: ModelProto) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values, again = record_torch(net, IMAGE), export_torch(net, IMAGE)
    assert values["conv2d"].dtype == ml_dtypes.bfloat16
    assert values["image"].dtype == np.float32
    assert [node.op_type for node in again.graph.node] == [node.op_type for node in graph.graph.node]
    assert {*values} <= {"image", *(name for node in graph.graph.node for name in node.output)}


@pytest.mark.slow
def test_half_precision_keeps_its_format() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).half().eval()
    x = normal(2, 4).astype(np.float16)
    graph = export_torch(net, x)
    values = record_torch(net, x, graph)
    assert {one.dtype for one in values.values()} == {np.dtype(np.float16)}
    assert judged(graph, values).same
    brain = record_torch(net.bfloat16(), x.astype(ml_dtypes.bfloat16), {"0": "linear"})
    assert {one.dtype for one in brain.values()} == {np.dtype(ml_dtypes.bfloat16)}


@pytest.fixture
def compiled() -> Any:
    torch.compiler.reset()
    yield torch.compile(SMALL, backend="eager")
    torch.compiler.reset()


@pytest.mark.slow
def test_a_compiled_module_is_recorded_by_the_hooks_of_its_parts(compiled: Any) -> None:
    x = normal(1, 3, 5, 5)
    graph = export_torch(compiled, x)
    for _ in range(2):  # hooks of the first time do not stay
        values = record_torch(compiled, x, graph)
        assert list(values) == ["input", "conv2d", "getitem"]
        assert judged(graph, values).same
    compiled(torch.from_numpy(x))
    assert not any(one._forward_hooks for one in compiled.modules())


@pytest.mark.slow
def test_compiled_code_forgets_the_recorder(compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, seen, leaves = normal(1, 3, 5, 5), [], torch_hooks.leaves

    def counted(output: Any) -> Any:
        seen.append(1)
        return leaves(output)

    monkeypatch.setattr(torch_hooks, "leaves", counted)
    record_torch(compiled, x, {"0": "conv2d"})
    before = len(seen)
    assert before > 0
    with torch.no_grad():
        compiled(torch.from_numpy(x))
    assert len(seen) == before


@pytest.mark.slow
def test_compiled_code_that_calls_no_hooks_is_refused(compiled: Any) -> None:
    x = normal(1, 3, 5, 5)
    graph = export_torch(SMALL, x)
    with torch.no_grad():
        compiled(torch.from_numpy(x))
    with pytest.raises(UserError, match=r"calls no hooks, because it was compiled before: .*reset"):
        record_torch(compiled, x, graph)


@pytest.mark.slow
def test_a_compiled_part_has_its_name(net: Any, graph: ModelProto) -> None:
    torch.compiler.reset()
    whole = net.blocks
    try:
        net.blocks = torch.compile(whole, backend="eager")
        given, found = record_torch(net, IMAGE, graph), record_torch(net, IMAGE)
        assert type(net.blocks) is not type(whole)
    finally:
        net.blocks = whole
        torch.compiler.reset()
    assert list(given) == list(found) == list(record_torch(net, IMAGE, graph))
    assert judged(graph, found).same
