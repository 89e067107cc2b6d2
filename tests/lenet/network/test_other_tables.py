"""Other LeNets than this repository's, as tables and as ONNX files: adding a layer is adding a row.

The judge that holds this repository's ports against its table is the one that holds these against theirs.
"""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import parity
from lenet.network.architecture import CLASSES, IMAGE_SHAPE, Layer, Network, conv, dense
from lenet.reference.forward import reference
from parity.graph import Graph
from parity.judging import judge
from parity.operators.activation import Relu, Sigmoid
from parity.operators.affine import Conv, Gemm
from parity.operators.normalization import BatchNormalization
from parity.operators.pooling import AveragePool, MaxPool
from parity.operators.shape import Flatten

Array = np.ndarray
HALF = (2, 2)
MOMENTS = (("scale", (6,)), ("shift", (6,)), ("mean", (6,)), ("variance", (6,)))

# Dive into Deep Learning, section 7.6: sigmoids and average pooling, as in 1998.
D2L = Network(
    (
        conv("conv1", 1, 6, kernel=5, padding=2),
        Layer("sigmoid1", Sigmoid()),
        Layer("pool1", AveragePool(kernel_shape=HALF, strides=HALF)),
        conv("conv2", 6, 16, kernel=5),
        Layer("sigmoid2", Sigmoid()),
        Layer("pool2", AveragePool(kernel_shape=HALF, strides=HALF)),
        Layer("flatten", Flatten()),
        dense("fc1", 400, 120),
        Layer("sigmoid3", Sigmoid()),
        dense("fc2", 120, 84),
        Layer("sigmoid4", Sigmoid()),
        dense("logits", 84, CLASSES),
    ),
    IMAGE_SHAPE,
)
NORMALIZED = Network(
    (
        conv("conv1", 1, 6, kernel=5, padding=2),
        Layer("norm1", BatchNormalization(epsilon=1e-3), MOMENTS),
        Layer("relu1", Relu()),
        Layer("pool1", MaxPool(kernel_shape=HALF, strides=HALF)),
        Layer("flatten", Flatten()),
        dense("logits", 6 * 14 * 14, CLASSES),
    ),
    IMAGE_SHAPE,
)
TABLES = {"d2l": D2L, "normalized": NORMALIZED}


def random_params(network: Network) -> dict[str, Array]:
    """Weights of variance 1 / fan-in; everything else between 1/2 and 3/2."""
    rng = np.random.default_rng(0)
    params = {}
    for name, shape in network.param_shapes.items():
        values = rng.uniform(0.5, 1.5, shape)
        if name.endswith("weight"):
            values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        params[name] = values.astype(np.float32)
    return params


def to_onnx(network: Network, params: dict[str, Array]) -> onnx.ModelProto:
    """The table as an ONNX file: its operators' fields are the standard's attributes."""
    nodes, before = [], "image"
    for layer in network.layers:
        fields = {name: value for name, value in vars(layer.operator).items() if value not in ((), "NOTSET")}
        standard = onnx.defs.get_schema(layer.operator.TYPE, 22).attributes
        attributes = {name: value for name, value in fields.items() if name in standard}
        inputs = [before, *layer.param_shapes()]
        nodes.append(helper.make_node(layer.operator.TYPE, inputs, [layer.name], layer.name, **attributes))
        before = layer.name
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", *network.image_shape])],
        [helper.make_tensor_value_info(before, onnx.TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in params.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def torch_layers(network: Network, params: dict[str, Array], images: Array) -> dict[str, Array]:
    """Every layer's output in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    w = {name: torch.tensor(array) for name, array in params.items()}
    functions: dict[type, Callable] = {
        Sigmoid: torch.sigmoid,
        Relu: torch.relu,
        AveragePool: nn.AvgPool2d(2),
        MaxPool: nn.MaxPool2d(2),
        Flatten: nn.Flatten(),
    }
    x, outputs = torch.tensor(images), {}
    for layer in network.layers:
        own = [w[name] for name in layer.param_shapes()]
        match layer.operator:
            case BatchNormalization(epsilon=epsilon):
                scale, shift, mean, variance = own
                x = F.batch_norm(x, mean, variance, scale, shift, eps=epsilon)
            case Gemm():
                x = F.linear(x, own[0], own[1])
            case Conv():
                x = F.conv2d(x, own[0], own[1], padding=layer.padding)
            case operator:
                x = functions[type(operator)](x)
        outputs[layer.name] = x.numpy()
    return outputs


def keras_layers(network: Network, params: dict[str, Array], images: Array) -> dict[str, Array]:
    """Every layer's output in Keras, channels last, turned to the table's order."""
    import keras

    x, outputs = np.moveaxis(images, 1, -1), {}
    for layer in network.layers:
        own = [params[name] for name in layer.param_shapes()]
        match layer.operator:
            case BatchNormalization(epsilon=epsilon):
                made, weights = keras.layers.BatchNormalization(epsilon=epsilon), own
            case AveragePool():
                made, weights = keras.layers.AveragePooling2D(2), []
            case MaxPool():
                made, weights = keras.layers.MaxPooling2D(2), []
            case Flatten():
                made, weights = keras.layers.Flatten(), []
            case Sigmoid() | Relu():
                made, weights = keras.layers.Activation(layer.operator.TYPE.lower()), []
            case Gemm():
                made, weights = keras.layers.Dense(len(own[1])), [own[0].T, own[1]]
            case _:
                padding = "same" if layer.padding else "valid"
                made = keras.layers.Conv2D(len(own[1]), layer.kernel, padding=padding)
                weights = [own[0].transpose(2, 3, 1, 0), own[1]]
        if isinstance(layer.operator, Flatten):  # in the table's order: maps first
            x = np.moveaxis(np.asarray(x), -1, 1)
        made.build(x.shape)
        made.set_weights(weights)
        x = np.asarray(made(x))
        outputs[layer.name] = np.moveaxis(x, -1, 1) if x.ndim == 4 else x
    return outputs


FRAMEWORKS = {"torch": torch_layers, "keras": keras_layers}


@pytest.fixture(params=TABLES)
def network(request: pytest.FixtureRequest) -> Network:
    return TABLES[request.param]


@pytest.fixture
def images() -> Array:
    return np.random.default_rng(1).random((3, *IMAGE_SHAPE), np.float32)


@pytest.fixture(params=["table", "file"])
def graph(request: pytest.FixtureRequest, network: Network) -> Graph:
    params = random_params(network)
    return network.graph(params) if request.param == "table" else parity.read_onnx(to_onnx(network, params))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_right_port_is_the_same_function(network, graph, images, framework):
    found = FRAMEWORKS[framework](network, random_params(network), images)
    report = parity.judge(graph, {"image": images, **found})
    assert report.judged == len(network.layers)
    assert report.same, report.first


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_end_alone_is_enough_to_accept_a_right_port(network, graph, images, framework):
    found = FRAMEWORKS[framework](network, random_params(network), images)
    report = parity.judge(graph, {"image": images, "logits": found["logits"]})
    assert report.judged == 1
    assert report.same
    assert report.tensors[0].sources == ("image",)


@pytest.mark.slow
def test_a_mistake_is_found_where_it_is(graph, network, images):
    """Each layer of a right port spoilt by one part in a thousand: found there, and nowhere else."""
    right = torch_layers(network, random_params(network), images)
    for layer in network.layers:
        wrong = right | {layer.name: right[layer.name] * np.float32(1.001)}
        report = judge(graph, {"image": images, **wrong})  # no causes are asked for
        assert report.first is not None
        assert report.first.tensor == layer.name
        assert report.first.verdict == "different"


def test_the_same_formulas_give_the_end_to_end_bound(network, images):
    params = random_params(network)
    found = torch_layers(network, params, images)
    for name, expected in reference(params, images, network=network).items():
        assert (np.abs(found[name] - expected.value) <= expected.bound).all(), name
