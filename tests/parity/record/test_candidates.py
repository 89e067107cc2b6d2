"""What may be judged, which recorder records it, and functions of arrays."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

import parity.record
from parity import UserError
from parity.record.candidates import kind, record_function, recorded
from tests.parity.small import convolutions, normal, saved

X = normal(2, 3, 9, 9)
Kerasish: Any = type("Model", (), {"__module__": "keras.src.models"})
Torchish: Any = type("Module", (), {"__module__": "torch.nn.modules.module"})


class Both(Torchish, Kerasish):  # as with Keras on PyTorch
    pass


class Own(Torchish):
    pass


class Model:
    """Of another package than Keras'."""


def plain(x: Any) -> Any:
    return x


def of_file(**imported: ModuleType) -> Callable[..., Any]:
    """A function from a file that imports these modules."""
    return FunctionType(plain.__code__, dict(imported))


@functools.wraps(of_file(jax=ModuleType("jax")))
def wrapped(x: Any) -> Any:
    return x


Jitted = type("PjitFunction", (), {"__module__": "jaxlib._jax", "__call__": plain})


@pytest.mark.parametrize(
    ("candidate", "what"),
    [
        ({}, "arrays"),
        ("onnxruntime", "runtime"),
        (Kerasish(), "Keras model"),
        (Own(), "PyTorch module"),
        (Both(), "Keras model"),
        (plain, "function"),
        (functools.partial(plain), "function"),
        (of_file(j=ModuleType("jax.numpy")), "JAX function"),
        (of_file(j=ModuleType("jaxlib")), "JAX function"),
        (of_file(j=ModuleType("jaxtyping")), "function"),
        (of_file(jax=ModuleType("numpy")), "function"),
        (wrapped, "JAX function"),
        (Jitted(), "JAX function"),
    ],
)
def test_candidates_are_told_apart_without_their_frameworks(candidate: Any, what: str) -> None:
    assert kind(candidate) == what


def test_a_function_of_jax_itself_is_one() -> None:
    made = of_file()
    made.__module__ = "jax.nn"
    assert kind(made) == "JAX function"
    made.__module__ = None  # type: ignore[assignment]
    assert kind(made) == "function"


@pytest.mark.parametrize("candidate", [3, Model()])
def test_what_cannot_be_run_is_refused(candidate: Any) -> None:
    with pytest.raises(UserError) as caught:
        kind(candidate)
    assert str(caught.value) == f"{type(candidate).__name__} can be neither run nor judged"


# --- which recorder ----------------------------------------------------------------------------


def test_arrays_get_the_inputs_that_they_lack() -> None:
    found: Any = recorded({"y": 1, "x": 2}, {"w": 3, "x": 4})
    assert list(found.items()) == [("w", 3), ("y", 1), ("x", 2)]


def test_arrays_are_renamed_and_keep_their_inputs() -> None:
    own = {"x": X, "a": X + 1, "rest": X}
    found = recorded(own, {"x": X - 1, "z": X - 2}, {"a": ("y", "NHWC->NCHW")})
    assert set(found) == {"x", "y", "z"}
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["y"], (X + 1).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(found["z"], X - 2)


def test_a_runtime_runs_the_model(tmp_path: Path) -> None:
    for model in (convolutions(), saved(convolutions(), tmp_path)):
        assert set(recorded("reference", {"x": X}, None, model)) == {"x", "conv1", "conv2", "y"}
    with pytest.raises(UserError, match="the runtime 'reference' needs a model to run"):
        recorded("reference", {"x": X})


NAMES = {"stem": "conv1"}
RESULTS = {"stem": ("conv1", ""), "return": ("y", "")}


@pytest.mark.parametrize(
    ("names", "model", "outputs", "given"),
    [
        (None, convolutions(), ("y",), "the model"),
        (None, convolutions(), (), "the model"),
        (None, Path("model.onnx"), ("y",), {"return": ("y", "")}),
        (None, None, (), None),
        (NAMES, convolutions(), ("y",), RESULTS),
        (NAMES, None, (), {"stem": ("conv1", "")}),
    ],
)
def test_a_module_is_recorded_by_the_graph_or_by_names(
    names: Any, model: Any, outputs: tuple[str, ...], given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity.record, "record_torch", lambda *told: told, raising=False)
    module = Own()
    told: Any = recorded(module, {"x": 1}, names, model, outputs)
    candidate, inputs, by = told
    assert (candidate, inputs) == (module, {"x": 1})
    assert (by is model and isinstance(by, ModelProto)) if given == "the model" else by == given


@pytest.mark.parametrize(
    ("names", "outputs", "given"),
    [
        (None, (), None),
        (None, ("y", "z"), {"return:0": ("y", ""), "return:1": ("z", "")}),
        (NAMES, (), {"stem": ("conv1", "")}),
        ({"last": "y"}, ("y", "z"), {"last": ("y", ""), "return:1": ("z", "")}),
        ({"return:0": "a"}, ("y", "z"), {"return:0": ("a", ""), "return:1": ("z", "")}),
    ],
)
def test_a_keras_model_is_recorded_by_names_and_outputs(
    names: Any, outputs: tuple[str, ...], given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity.record, "record_keras", lambda *told: told, raising=False)
    model = Kerasish()
    told: Any = recorded(model, {"x": 1}, names, convolutions(), outputs)
    assert told == (model, {"x": 1}, given)


def test_what_a_function_returns_has_the_names_of_the_outputs() -> None:
    found = recorded(lambda x: (x + 1, x + 2), {"x": X}, outputs=("y", "z"))
    assert list(found) == ["x", "y", "z"]
    np.testing.assert_array_equal(found["z"], X + 2)
    assert list(recorded(lambda x: x + 1, X, outputs=["y"])) == ["x", "y"]
    assert list(recorded(lambda x: x + 1, X)) == ["x", "return"]
    assert list(recorded(lambda x: {"a": x, "y": x}, X, {"a": "b"}, outputs=["y"])) == ["x", "b", "y"]
    assert list(recorded(lambda returns: {"return": returns}, X, {"return": "a"}, outputs=["y"])) == [
        "returns",
        "a",
    ]


def test_a_function_of_jax_has_its_own_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity.record, "record_jax", lambda *told: {"return": told}, raising=False)
    function = of_file(j=ModuleType("jax"))
    assert recorded(function, {"x": 1}, NAMES, outputs=("y",)) == {"y": (function, {"x": 1}, NAMES)}


# --- functions of arrays -----------------------------------------------------------------------


def test_a_function_returns_arrays_by_name_one_or_several() -> None:
    assert list(record_function(lambda x: {"a": x, 3: x}, X)) == ["x", "a", "3"]
    assert list(record_function(lambda x: [x], X)) == ["x", "return"]
    found = record_function(lambda x, s: (x * s, s), {"x": X, "s": 2.0})
    assert list(found) == ["x", "s", "return:0", "return:1"]
    np.testing.assert_array_equal(found["return:0"], X * 2)
    assert found["s"] == found["return:1"] == 2


def test_inputs_are_recorded_as_they_were_before_the_function_ran() -> None:
    def in_place(x: Any) -> Any:
        x += 1
        return x

    found = record_function(in_place, X.copy())
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["return"], X + 1)


def test_names_and_axes_of_a_function_may_be_given() -> None:
    names = {"image": ("x", "NHWC->NCHW"), "return": ("y", "NHWC->NCHW")}

    def function(image: Any) -> Any:
        assert image.shape == (2, 9, 9, 3)
        return image + 1

    found = record_function(function, {"x": X}, names)
    assert list(found) == ["x", "y"]
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["y"], X + 1)
    with pytest.raises(UserError) as caught:
        record_function(plain, X, {"retrun": "y"})
    assert str(caught.value).startswith("nothing is named 'retrun'; the nearest: return")
