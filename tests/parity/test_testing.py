"""`parity.testing.assert_same`: any candidate, any reference, and the verdict as the message."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from parity import Report, UserError, judge, read_onnx
from parity.testing import assert_same
from tests.parity.record.frameworks import framework
from tests.parity.small import computed, convolutions, normal, saved

X = normal(2, 3, 9, 9)


def threes(values: np.ndarray) -> np.ndarray:
    """Values of which no pair of mistakes is searched: the same number everywhere."""
    return np.full_like(values, 3)


def wrong(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return values | {"conv2": threes(values["conv2"])}


def failed(*arguments: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_same(*arguments, **options)
    return str(caught.value)


@pytest.mark.slow
def test_recorded_arrays_are_judged_against_every_kind_of_graph(tmp_path: Path) -> None:
    proto = convolutions()
    values, path = computed(proto, {"x": X}), saved(proto, tmp_path)
    for reference in (path, str(path), proto, read_onnx(proto)):
        for inputs in ({"x": X}, (X,), X):
            report = assert_same(reference, values, inputs)
            assert isinstance(report, Report)
            assert report.verdict == "rounding"
        assert "conv2 (Conv), different" in failed(reference, wrong(values), X)
    only = {name: array for name, array in values.items() if name != "x"}
    assert assert_same(proto, only, X, sample=50).sample == 50


@pytest.mark.slow
def test_the_message_is_the_verdict_with_the_worst_value_and_the_cause() -> None:
    proto = convolutions()
    values = computed(proto, {"x": X})
    values["conv1"] = values["conv1"] - normal(8)[:, None, None]
    lines = failed(proto, values, X).splitlines()
    assert lines[0] == "The candidate does not compute the reference."
    assert lines[1] == "Not the same function."
    assert lines[3] == "First in order of execution: conv1 (Conv), different."
    assert lines[4].startswith("  At [")
    assert any(line.startswith("  Cause: bias") for line in lines)


def test_names_are_those_of_the_candidate() -> None:
    proto = convolutions()
    values = computed(proto, {"x": X})
    own = {"first": values["conv1"].transpose(0, 2, 3, 1), "last": values["y"]}
    names = {"first": ("conv1", "NHWC->NCHW"), "last": "y"}
    assert [one.tensor for one in assert_same(proto, own, X, names=names).tensors] == ["conv1", "y"]
    with pytest.raises(UserError, match="no tensor 'first'"):
        assert_same(proto, own, X)


def test_runtimes_are_judged(tmp_path: Path) -> None:
    proto = convolutions()
    for reference in (proto, saved(proto, tmp_path)):
        assert len(assert_same(reference, "onnxruntime", X).tensors) == 3
    with pytest.raises(UserError, match="no runtime 'tensorrt'"):
        assert_same(proto, "tensorrt", X)
    with pytest.raises(UserError, match="the runtime 'reference' needs a model"):
        assert_same(read_onnx(proto), "reference", X)


@pytest.mark.slow
def test_any_function_is_judged_by_what_it_returns() -> None:
    proto = convolutions()
    right = computed(proto, {"x": X})

    def port(picture: np.ndarray) -> np.ndarray:
        np.testing.assert_array_equal(picture, X)
        return right["y"]

    def parts(x: np.ndarray) -> dict[str, np.ndarray]:
        return {name: right[name] for name in ("conv1", "y")}

    assert [one.tensor for one in assert_same(proto, port, X).tensors] == ["y"]
    assert [one.tensor for one in assert_same(proto, parts, X).tensors] == ["conv1", "y"]
    assert "y (MatMul), different" in failed(proto, lambda x: threes(right["y"]), X)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"z": X}, "no input 'z'"),
        ((X, X), "has the inputs x, but 2 were given"),
        (X.astype(np.float64), "is float64"),
        (X[0], r"has shape \[3, 9, 9\]"),
    ],
)
def test_what_does_not_fit_is_refused(inputs: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        assert_same(convolutions(), {"y": X}, inputs)


def test_what_is_no_reference_or_candidate_is_refused() -> None:
    with pytest.raises(UserError, match="int can be neither run nor judged"):
        assert_same(convolutions(), 3, X)
    with pytest.raises(UserError, match="the reference is a function: give an ONNX file"):
        assert_same(lambda x: x, {"y": X}, X)
    with pytest.raises(UserError, match="no such file"):
        assert_same("none.onnx", {"y": X}, X)


# --- frameworks --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module() -> Any:
    torch = framework("torch", "onnxscript")
    torch.manual_seed(0)
    layers = {"conv": torch.nn.Conv2d(3, 4, 3, 2, 1), "bn": torch.nn.BatchNorm2d(4), "act": torch.nn.ReLU()}
    made = torch.nn.Sequential()
    for name, layer in layers.items():
        made.add_module(name, layer)
    made.bn.running_mean.normal_()
    made.bn.running_var.uniform_(0.5, 2)
    return made.eval()


IMAGE = normal(2, 3, 8, 8)


@pytest.mark.slow
def test_a_pytorch_module_is_a_reference_and_a_candidate(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, samples = copy.deepcopy(module), []

    def judged(*given: Any, sample: int) -> Any:
        samples.append(sample)
        return judge(*given, sample=sample)

    with monkeypatch.context() as patch:
        patch.setattr("parity.testing.judge", judged)
        assert len(assert_same(module, port, IMAGE, sample=1000).tensors) == 3
    assert samples == [1000, 1000]  # of the module itself too
    port.bn.eps = 1e-3
    said = failed(module, port, {"input": IMAGE})
    assert said.startswith("The candidate does not compute the reference.")
    assert "Cause: epsilon 0.001 for 1e-05." in said


@pytest.mark.slow
def test_a_reference_that_is_not_its_own_graph_is_told_from_a_wrong_port(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parity.record.frameworks import torch_modules

    training = copy.deepcopy(module).train()
    said = failed(training, module, IMAGE)
    assert said.startswith("The reference module itself does not compute the graph")
    assert "batch statistics" in said
    export = torch_modules.export_torch

    def mistaken(*given: Any) -> ModelProto:
        graph = export(*given)
        conv = next(node for node in graph.graph.node if node.op_type == "Conv")
        next(one for one in conv.attribute if one.name == "pads").ints[:] = [0, 0, 2, 2]
        return graph

    monkeypatch.setattr(torch_modules, "export_torch", mistaken)
    assert failed(module, module, IMAGE).startswith("The reference module itself does not compute the graph")


def weights(module: Any) -> dict[str, np.ndarray]:
    return {name: one.numpy() for name, one in module.state_dict().items()}


@pytest.mark.slow
def test_a_keras_model_is_judged_against_a_pytorch_module(module: Any) -> None:
    keras = framework("keras", "tensorflow")
    w = weights(module)

    def port(same: bool) -> Any:
        image = keras.Input((8, 8, 3), name="image")
        x = image if same else keras.layers.ZeroPadding2D(1)(image)
        x = keras.layers.Conv2D(4, 3, 2, padding="same" if same else "valid", name="conv")(x)
        x = keras.layers.BatchNormalization(epsilon=1e-5, name="bn")(x)
        made = keras.Model(image, keras.layers.ReLU()(x))
        made.get_layer("conv").set_weights([w["conv.weight"].transpose(2, 3, 1, 0), w["conv.bias"]])
        parts = ("weight", "bias", "running_mean", "running_var")
        made.get_layer("bn").set_weights([w[f"bn.{part}"] for part in parts])
        return made

    names = {"conv": "conv2d", "bn": "getitem"}
    assert len(assert_same(module, port(False), IMAGE, names=names).tensors) == 3
    assert len(assert_same(module, port(False), IMAGE).tensors) == 1
    said = failed(module, port(True), IMAGE, names=names)
    assert "First in order of execution: conv2d (Conv), different." in said
    assert "Cause: padding on the other side" in said


@pytest.mark.slow
def test_a_jax_function_is_judged_against_a_pytorch_module(module: Any) -> None:
    jax = framework("jax", "jax.ad_checkpoint")
    w = {
        name: array.reshape(-1, 1, 1) if array.ndim == 1 else array for name, array in weights(module).items()
    }

    def port(eps: float) -> Any:
        @jax.jit
        def forward(x: Any) -> Any:
            y = jax.lax.conv_general_dilated(x, w["conv.weight"], (2, 2), [(1, 1), (1, 1)]) + w["conv.bias"]
            y = jax.ad_checkpoint.checkpoint_name(y, "conv2d")
            scale = w["bn.weight"] / jax.numpy.sqrt(w["bn.running_var"] + eps)
            return jax.nn.relu((y - w["bn.running_mean"]) * scale + w["bn.bias"])

        return forward

    assert [one.tensor for one in assert_same(module, port(1e-5), IMAGE).tensors] == ["conv2d", "relu"]
    assert "relu (Relu), different" in failed(module, port(1e-2), IMAGE)
