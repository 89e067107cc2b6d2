"""Keras models: every layer under the graph's names and in its layout, as declared."""

import sys
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from parity import UserError
from parity.errors import MissingFramework
from parity.record import record_keras
from tests.parity.record.frameworks import framework, judged, verdicts
from tests.parity.small import model, normal

keras = framework("keras", "tensorflow")
L = keras.layers
Model: Any = keras.Model
X = normal(2, 3, 8, 6)
W, M = normal(4, 3, 3, 3), normal(4, 2)


def reference() -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Add", ["relu", "conv"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "m"], ["y"]),
    ]
    return model(nodes, {"x": [2, 3, 8, 6]}, ["y"], {"w": W, "m": M})


def port(padding: str = "explicit", data_format: str = "channels_last") -> Any:
    first = data_format == "channels_first"
    image = keras.Input((3, 8, 6) if first else (8, 6, 3), name="image")
    options = {"use_bias": False, "data_format": data_format, "name": "c"}
    if padding == "explicit":
        conv = L.Conv2D(4, 3, 2, **options)(L.ZeroPadding2D(1, data_format=data_format)(image))
    else:
        conv = L.Conv2D(4, 3, 2, padding="same", **options)(image)
    total = L.Add(name="plus")([L.ReLU(name="r")(conv), conv])
    mean = L.GlobalAveragePooling2D(name="g", data_format=data_format)(total)
    made = keras.Model(image, L.Dense(2, use_bias=False, name="d")(mean))
    made.get_layer("c").set_weights([W.transpose(2, 3, 1, 0)])
    made.get_layer("d").set_weights([M])
    return made


NAMES = {"image": "x", "c": "conv", "r": "relu", "plus": "sum", "g": "flat", "d": "y"}


def test_a_right_port_is_the_same_function() -> None:
    values = record_keras(port(), {"x": X}, NAMES)
    report = judged(reference(), values)
    assert report.verdict == "rounding"
    assert set(verdicts(report)) == {"conv", "relu", "sum", "flat", "y"}
    assert values["conv"].shape == (2, 4, 4, 3)
    np.testing.assert_array_equal(values["x"], X)


def test_a_wrong_port_is_found_at_its_layer() -> None:
    report = judged(reference(), record_keras(port("same"), {"x": X}, NAMES))
    assert verdicts(report) == {
        "conv": "different", "relu": "equal", "sum": "equal", "flat": "rounding", "y": "rounding"
    }  # fmt: skip
    assert report.first is not None
    assert report.first.causes[0].name.startswith("padding on the other side")


# --- layouts -----------------------------------------------------------------------------------


def mixed() -> Any:
    """Shared layers, an operation, a nested model, and layers that change the axes."""
    image = keras.Input((8, 6, 3), name="image")
    relu = L.ReLU(name="r")
    x = relu(L.Conv2D(4, 3, padding="same", name="c")(image))
    y = relu(x + x)
    inner = keras.Sequential(
        [L.Input((8, 6, 4)), L.Conv2D(4, 1, name="ic"), L.BatchNormalization(name="ibn")], name="inner"
    )
    y = L.Add(name="a")([inner(inner(y)), x])
    turned = L.Permute((2, 1, 3), name="p")(y)
    rows, state, _ = L.LSTM(5, return_sequences=True, return_state=True, name="lstm")(
        L.Reshape((48, 4), name="rs")(y)
    )
    return keras.Model(image, [L.Flatten(name="f")(y), turned, rows, state])


@pytest.fixture(scope="module")
def made() -> Any:
    return mixed()


@pytest.mark.slow
def test_layers_without_a_data_format_have_that_of_their_neighbours(made: Any) -> None:
    own = record_keras(made, X)
    added = next(name for name in own if name.startswith("add"))  # Keras counts those of a process
    names = {"image": "x", "r": "r", "r@1": "s", added: "+", "inner/ibn@1": "bn", "inner@1": "in", "a": "a"}
    found = record_keras(made, {"x": X}, names)
    assert set(found) == set(names.values())
    for layer, name in names.items():
        expected = X if layer == "image" else own[layer].transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(found[name], expected)
    np.testing.assert_array_equal(found["in"], found["bn"])


def test_a_layout_is_never_concluded_from_a_shape() -> None:
    """Channels first or last, of an image with as many channels as rows and columns."""
    for form, axes in (("channels_last", (0, 3, 1, 2)), ("channels_first", (0, 1, 2, 3))):
        image = keras.Input((3, 3, 3), name="image")
        scaled = L.Rescaling(2.0, name="scaled")(image)
        whole = keras.Model(image, L.ZeroPadding2D(1, data_format=form, name="pad")(scaled))
        x = normal(1, 3, 3, 3)
        found = record_keras(whole, x, {"scaled": "s", "pad": "p"})
        np.testing.assert_array_equal(found["s"], 2 * x)
        np.testing.assert_array_equal(found["p"], np.pad(2 * x, ((0, 0), (0, 0), (1, 1), (1, 1))))
        seen = record_keras(whole, x)["scaled"]
        np.testing.assert_array_equal(seen.transpose(axes), 2 * x)


def test_without_a_declaration_nothing_is_turned() -> None:
    rows = keras.Input((5, 4), name="rows")
    whole = keras.Model(rows, L.Flatten()(L.Dense(3, name="d")(L.LayerNormalization(name="n")(rows))))
    x = normal(2, 5, 4)
    found = record_keras(whole, x, {"n": "n", "d": "d"})
    assert (found["n"].shape, found["d"].shape) == ((2, 5, 4), (2, 5, 3))
    np.testing.assert_array_equal(found["rows"], x)


@pytest.mark.slow
def test_axes_that_nothing_declares_must_be_named(made: Any) -> None:
    for layer in ("p", "rs", "return:1"):
        with pytest.raises(UserError, match=f"nothing declares the axes of '{layer}'"):
            record_keras(made, X, {layer: "t"})
    own = record_keras(made, X)
    found = record_keras(made, X, {"p": ("t", "NWHC->NCHW"), "rs": ("u", "NLC->NLC"), "lstm:1": "h"})
    np.testing.assert_array_equal(found["t"], own["p"].transpose(0, 3, 2, 1))
    np.testing.assert_array_equal(found["u"], own["rs"])
    np.testing.assert_array_equal(found["h"], own["lstm:1"])


def test_layers_that_declare_both_are_refused() -> None:
    image = keras.Input((3, 8, 3), name="image")
    x = L.ZeroPadding2D(1, data_format="channels_last", name="a")(image)
    whole = keras.Model(image, L.ZeroPadding2D(1, data_format="channels_first", name="b")(x))
    with pytest.raises(UserError, match="declare channels_first and channels_last"):
        record_keras(whole, normal(1, 3, 3, 8), {"a": "a"})


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"cc": "x"}, "no layer 'cc'; the nearest: c"),
        ({"r@5": "t"}, "'r@5' is to be t, but was not recorded; the nearest: r@1"),
        ({"c": ("t", "NHC->NCH")}, "'c' has 4 axes, but 'NHC->NCH' tells of 3"),
        ({"c": ("t", "sideways")}, "not written like NHWC->NCHW"),
        ({"c": ("t", "NHWC->NCHH")}, "not written like NHWC->NCHW"),
    ],
)
def test_names_that_do_not_fit_are_refused(made: Any, names: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        record_keras(made, X, names)


def test_inputs_that_do_not_fit_are_refused(made: Any) -> None:
    with pytest.raises(UserError, match="has the inputs image, but 2 were given"):
        record_keras(made, (X, X), {})
    with pytest.raises(UserError, match="needs the input 'image', but given are: y, z"):
        record_keras(made, {"y": X, "z": X}, {})
    with pytest.raises(UserError, match=r"x has shape \[2, 3, 6, 8\], but the input 'image' of the model is"):
        record_keras(made, {"x": X.transpose(0, 1, 3, 2)}, {"image": "x", "c": "c"})
    with pytest.raises(UserError, match="has no input 'z'; its inputs: image"):
        record_keras(made, {"image": X, "z": X}, {})


def test_models_without_a_graph_of_layers_are_refused() -> None:
    class Own(Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(UserError, match="has no graph of layers"):
        record_keras(Own(), X, {})
    with pytest.raises(UserError, match="is not built yet"):
        record_keras(keras.Sequential([L.Dense(3)]), X, {})


@pytest.mark.slow
def test_the_model_is_left_as_it_was(made: Any) -> None:
    with pytest.raises(UserError):
        record_keras(made, X, {"p": "t"})
    record_keras(made, X, {"c": "c"})
    assert not any("call" in vars(layer) for layer in made.layers)


def test_missing_keras_is_reported_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingFramework, match=r"Keras is not installed: .*pip install .*tensorflow"):
        record_keras(None, X, {})
