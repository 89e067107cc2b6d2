"""Caffe's files: their bytes, their texts held against the table and the recipe, the rule of SGD."""

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pool, text_format
from numpy.testing import assert_array_equal

from lenet.network import digits
from lenet.network.architecture import ACTIVATION_SHAPES, IMAGE_SHAPE, LAYERS, PARAM_SHAPES, Layer
from lenet.network.recipe import Recipe
from lenet_caffe.schema import NetParameter, SolverParameter, parse_schema, read_text
from lenet_caffe.train import SGD, SOLVER, learning_rate, read_solver
from lenet_numpy import train as by_recipe
from lenet_numpy.model import LeNet
from parity.arithmetic.floats import FORMATS
from parity.errors import UserError
from parity.operators.affine import Conv, Gemm
from parity.operators.pooling import MaxPool
from tests.helpers import one_line

FOLDER = SOLVER.parent
TYPES = {
    "Conv": "Convolution",
    "Relu": "ReLU",
    "MaxPool": "Pooling",
    "Flatten": "Flatten",
    "Gemm": "InnerProduct",
}


@pytest.fixture(scope="module")
def deploy() -> Any:
    return read_text(NetParameter, FOLDER / "deploy.prototxt")


@pytest.fixture(scope="module")
def train_val() -> Any:
    return read_text(NetParameter, FOLDER / "train_val.prototxt")


# --- the schema --------------------------------------------------------------------------------


def delimited(number: int, content: bytes) -> bytes:
    """A string, message or packed array of under 128 bytes, as protobuf encodes it: wire type 2."""
    key = number << 3 | 2
    head = [key] if key < 128 else [key & 127 | 128, key >> 7]
    return bytes([*head, len(content)]) + content


def varint(number: int, value: int) -> bytes:
    """A whole number under 128, as protobuf encodes it: wire type 0."""
    return bytes([number << 3, value])


def real(number: int, value: float) -> bytes:
    """A float, as protobuf encodes it: wire type 5."""
    return bytes([number << 3 | 5]) + struct.pack("<f", value)


def test_the_bytes_of_a_caffemodel_are_by_caffes_field_numbers():
    """Encoded by hand from the numbers in Caffe's caffe.proto; no protobuf library has a say in them."""
    blob = delimited(5, struct.pack("<2f", 1.5, -0.0)) + delimited(7, delimited(1, bytes([2, 1])))
    layer = delimited(1, b"fc") + delimited(2, b"InnerProduct") + delimited(3, b"in") + delimited(4, b"out")
    layer += delimited(6, real(3, 2) + real(4, 0)) + delimited(7, blob) + delimited(8, varint(1, 1))
    old = delimited(4, b"old") + delimited(6, varint(1, 11) + varint(2, 12) + varint(3, 13) + varint(4, 14))
    net = delimited(1, b"net") + delimited(2, old) + delimited(100, layer)
    message = NetParameter.FromString(net)
    assert message.SerializeToString(deterministic=True) == net
    written = """name: "net"
        layers { name: "old" blobs { num: 11 channels: 12 height: 13 width: 14 } }
        layer {
          name: "fc" type: "InnerProduct" bottom: "in" top: "out"
          param { lr_mult: 2 decay_mult: 0 }
          blobs { data: 1.5 data: -0.0 shape { dim: 2 dim: 1 } }
          include { phase: TEST }
        }"""
    assert message == text_format.Parse(written, NetParameter())


def test_the_bytes_of_layer_parameters_are_by_caffes_field_numbers():
    filler = delimited(1, b"constant") + real(2, 0.5)
    layer = delimited(100, real(1, 0.25))
    layer += delimited(106, varint(1, 6) + varint(3, 2) + varint(4, 5) + varint(6, 1) + delimited(7, filler))
    layer += delimited(107, delimited(1, b"db") + varint(4, 64) + varint(8, 1))
    layer += delimited(117, varint(1, 10) + delimited(3, filler) + delimited(4, filler))
    layer += delimited(121, varint(1, 1) + varint(2, 3) + varint(3, 2) + varint(4, 1))
    layer += delimited(143, delimited(1, delimited(1, bytes([1, 28]))))
    written = """layer {
          transform_param { scale: 0.25 }
          convolution_param { num_output: 6 pad: 2 kernel_size: 5 stride: 1 weight_filler { FILLER } }
          data_param { source: "db" batch_size: 64 backend: LMDB }
          inner_product_param { num_output: 10 weight_filler { FILLER } bias_filler { FILLER } }
          pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }
          input_param { shape { dim: 1 dim: 28 } }
        }""".replace("FILLER", 'type: "constant" value: 0.5')
    (found,) = text_format.Parse(written, NetParameter()).layer
    assert found.SerializeToString(deterministic=True) == layer


def test_a_line_that_the_schemas_reader_does_not_know_is_an_error():
    for line in ("required int32 x = 1;", "oneof y {", "optional float x = 1 [deprecated = true];", "}}"):
        with pytest.raises(ValueError, match="not understood"):
            parse_schema(f"message A {{\n{line}\n")


def test_the_pool_that_everybody_shares_knows_nothing_of_it():
    """So that TensorFlow, ONNX, or a Caffe in the same process may have messages of the same names."""
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter")


# --- the texts ---------------------------------------------------------------------------------


def test_deploy_is_the_table(deploy):
    first, *layers, last = deploy.layer
    assert (first.type, first.top, [list(s.dim) for s in first.input_param.shape]) == (
        "Input",
        ["data"],
        [[1, *IMAGE_SHAPE]],
    )
    assert [layer.name for layer in layers] == list(ACTIVATION_SHAPES)
    before = "data"
    for layer, row in zip(layers, LAYERS, strict=True):
        assert (layer.type, layer.bottom, layer.top) == (TYPES[row.operator.TYPE], [before], [row.name])
        before = row.name
        if isinstance(row.operator, Conv):
            found = layer.convolution_param
            assert (found.num_output, found.kernel_size) == (row.weight_shape[0], [row.kernel])
            assert sum(found.pad) == row.padding
            assert list(found.stride) == []  # 1
        elif isinstance(row.operator, MaxPool):
            found = layer.pooling_param
            assert (found.pool, found.kernel_size, found.stride, found.pad) == (0, row.kernel, row.kernel, 0)
        elif isinstance(row.operator, Gemm):
            assert layer.inner_product_param.num_output == row.weight_shape[0]
    assert (last.name, last.type, last.bottom) == ("prob", "Softmax", ["logits"])


def test_caffes_rounding_up_changes_no_size_of_this_network():
    """⌈(H − size) / stride⌉ + 1, in Caffe's pooling_layer.cpp; deploy.prototxt says that 27 would differ."""

    def pooled(rows: int) -> int:
        return -(-(rows - 2) // 2) + 1

    shape = IMAGE_SHAPE
    for row in LAYERS:
        if isinstance(row.operator, MaxPool):
            assert pooled(shape[1]) == row.out_shape(shape)[1]
        shape = row.out_shape(shape)
    assert (
        pooled(27),
        Layer("", MaxPool(kernel_shape=(2, 2), strides=(2, 2))).out_shape((1, 27, 27))[1],
    ) == (14, 13)


def test_train_val_is_deploy_between_the_databases_and_the_loss(deploy, train_val):
    train, test, *layers, loss, accuracy = train_val.layer
    for source, phase, size in ((train, 0, Recipe().batch_size), (test, 1, 100)):
        assert (source.type, source.top) == ("Data", ["data", "label"])
        assert [rule.phase for rule in source.include] == [phase]
        assert (source.data_param.backend, source.data_param.batch_size) == (1, size)
        assert source.transform_param.scale == np.float32(1 / 255)
    assert (loss.type, loss.bottom) == ("SoftmaxWithLoss", ["logits", "label"])
    assert (accuracy.type, accuracy.bottom) == ("Accuracy", ["logits", "label"])
    assert [rule.phase for rule in accuracy.include] == [1]
    for layer, plain in zip(layers, deploy.layer[1:-1], strict=True):
        if f"{layer.name}.weight" in PARAM_SHAPES:
            assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [
                (1, 1),
                (1, 1),
            ]  # as the recipe has it
            kind = "convolution_param" if layer.type == "Convolution" else "inner_product_param"
            weight, bias = getattr(layer, kind).weight_filler, getattr(layer, kind).bias_filler
            assert (weight.type, bias.type, bias.value) == ("msra", "constant", 0)
            getattr(layer, kind).ClearField("weight_filler")
            getattr(layer, kind).ClearField("bias_filler")
        stripped = type(layer)()
        stripped.CopyFrom(layer)
        stripped.ClearField("param")
        assert stripped == plain


def test_caffes_scaling_differs_in_the_last_bit_of_126_grey_values():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    ours = digits.scale(pixels).ravel()
    caffes = pixels.ravel() * np.float32(1 / 255)
    apart = np.abs(ours.view(np.int32) - caffes.view(np.int32))
    assert ((apart == 1).sum(), apart.max()) == (126, 1)
    text = " ".join((FOLDER / "train_val.prototxt").read_text().replace("#", "").split())
    assert "126 of the 256 grey values differ in their last bit" in text


def test_the_solver_is_the_recipe():
    solver, recipe = read_solver(), Recipe(schedule="drop")
    steps = recipe.steps(60_000)
    assert (solver.net, solver.type, solver.regularization_type) == ("train_val.prototxt", "SGD", "L2")
    assert solver.max_iter == steps == 18_760
    assert solver.momentum == np.float32(recipe.momentum)
    assert solver.weight_decay == np.float32(recipe.weight_decay)
    assert [n * 100 for n in solver.test_iter] == [10_000]
    assert solver.test_interval * recipe.epochs == steps
    for step in (0, steps // 2 - 1, steps // 2, steps - 1):
        rate, u = recipe.rate(step, steps), FORMATS["float32"].u
        # base_lr and gamma are rounded to float32, two factors (1 + u); their product in float64 hardly.
        assert abs(learning_rate(solver, step) - rate) <= rate * ((1 + u) ** 2 - 1)
    assert learning_rate(solver, steps // 2) < learning_rate(solver, steps // 2 - 1) / 9


def test_learning_rate_policies():
    fixed = SolverParameter(lr_policy="fixed", base_lr=0.5, gamma=0.25, stepvalue=[1])
    assert learning_rate(fixed, 7) == 0.5
    several = SolverParameter(lr_policy="multistep", base_lr=0.5, gamma=0.5, stepvalue=[2, 3])
    assert [learning_rate(several, step) for step in range(5)] == [0.5, 0.5, 0.25, 0.125, 0.125]
    with pytest.raises(UserError) as refusal:
        learning_rate(SolverParameter(lr_policy="inv"), 0)
    assert one_line(refusal) == "solver.prototxt: lr_policy is 'inv', expected fixed or multistep"


# --- the rule of SGD ---------------------------------------------------------------------------


def test_caffes_rule_is_the_recipes_until_the_rate_drops(monkeypatch):
    """Six steps by both rules with μ = 1/2, λ = 1/4 and dyadic rates and gradients: nothing rounds.

    Before the drop V = η·v and the weights are the same bits; the first step at the new rate goes
    further by μ·(η_old − η_new)·v.
    """
    rng = np.random.default_rng(0)
    at_each_step = [
        {n: rng.integers(-4, 5, s).astype(float) for n, s in PARAM_SHAPES.items()} for _ in range(6)
    ]
    model, recipe = LeNet("float64"), Recipe(momentum=0.5, weight_decay=0.25)
    for array in model.params.values():
        array[...] = rng.integers(-4, 5, array.shape)
    params = {name: array.copy() for name, array in model.params.items()}
    zeros = {name: np.zeros_like(array) for name, array in params.items()}
    theirs = by_recipe.make_optimizer(model, recipe, {name: array.copy() for name, array in zeros.items()})
    caffes = SGD(recipe.momentum, recipe.weight_decay, zeros)
    old, new = 1 / 8, 1 / 64
    for step, gradient in enumerate(at_each_step):
        monkeypatch.setattr(by_recipe, "gradients", lambda *_, g=gradient: (0.0, g))
        velocity = {name: v.copy() for name, v in theirs.velocity.items()}
        rate = old if step < 5 else new
        by_recipe.train_step(model, theirs, np.empty(0), np.empty(0), rate)
        caffes.step(params, gradient, rate)
        for name, w in params.items():
            if rate == old:
                assert_array_equal(w, model.params[name])
                assert_array_equal(caffes.velocity[name], old * theirs.velocity[name])
            else:
                assert_array_equal(model.params[name] - w, 0.5 * (old - new) * velocity[name])
                assert (velocity[name] != 0).any()
