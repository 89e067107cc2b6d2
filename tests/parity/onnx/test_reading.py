"""Reading ONNX files: what a graph becomes."""

from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper

from parity import UserError, judge, read_onnx
from parity.graph import Declared
from parity.onnx.constants import named_dtype
from parity.onnx.reading import attribute_value
from tests.parity.onnx.read_models import a_function, an_if, floats, kinds, product, refused
from tests.parity.small import computed, convolutions, loop, model, normal


def test_nodes_inputs_weights_and_shapes_are_read() -> None:
    graph = read_onnx(convolutions())
    assert kinds(graph) == ["Conv", "Conv", "MatMul"]
    assert str(graph.inputs["x"]) == "float32 [batch, 3, 9, 9]"
    assert graph.outputs == ("y",)
    assert set(graph.constants) == {"w1", "b1", "w2", "m"}
    assert str(graph.declared["conv2"]) == "float32 [batch, 4, 4, 4]"


def test_shapes_follow_from_sizes_and_from_recorded_inputs() -> None:
    assert read_onnx(convolutions(), sizes={"batch": 5}).declared["y"].shape == (5, 4, 4, 5)
    assert read_onnx(convolutions(), shapes={"x": (6, 3, 9, 9)}).declared["y"].shape == (6, 4, 4, 5)
    contradicting = read_onnx(convolutions(), shapes={"x": (6, 1, 9, 9)})  # refused by the judge
    assert contradicting.inputs["x"].shape == ("batch", 3, 9, 9)


def test_a_size_without_name_is_called_after_its_input() -> None:
    proto = product()
    proto.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_value")
    assert read_onnx(proto).inputs["x"].shape == ("x:0", 3)
    assert read_onnx(proto, sizes={"x:0": 7}).declared["y"].shape == (7, 4)


def test_a_size_of_minus_one_is_not_known() -> None:
    proto = product()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert read_onnx(proto).inputs["x"].shape == ("x:0", 3)


def test_a_size_of_zero_is_known() -> None:
    proto = product()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 0
    assert read_onnx(proto).inputs["x"].shape == (0, 3)


def test_a_size_that_no_input_has_is_refused() -> None:
    with pytest.raises(UserError, match=r"^small has no symbolic dimension 'rows': it has batch$"):
        read_onnx(convolutions(), sizes={"rows": 5})
    with pytest.raises(UserError, match=r"^small has no symbolic dimension 'rows': it has none$"):
        read_onnx(product(), sizes={"rows": 5})


def test_sizes_that_the_inputs_have_are_listed() -> None:
    proto = product()
    for place, name in enumerate(("rows", "columns")):
        proto.graph.input[0].type.tensor_type.shape.dim[place].dim_param = name
    with pytest.raises(UserError, match=r"no symbolic dimension 'row': it has columns, rows$"):
        read_onnx(proto, sizes={"row": 5})


def test_the_shape_of_a_large_weight_is_known() -> None:
    assert read_onnx(product({"m": normal(3, 1000)})).declared["y"].shape == (2, 1000)


def test_an_input_without_a_type_hides_no_shape_of_the_others() -> None:
    proto = product()
    proto.graph.input.append(helper.make_empty_tensor_value_info("untyped"))
    graph = read_onnx(proto)
    assert graph.inputs["untyped"] == Declared()
    assert graph.declared["y"].shape == (2, 4)


def test_an_input_of_an_unknown_type_is_refused() -> None:
    proto = product()
    proto.graph.input[0].type.tensor_type.elem_type = 77
    refused(proto, "^x has an element type that is not known: 77$")


def test_shapes_that_a_file_states_wrongly_are_not_trusted() -> None:
    proto = product()
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [9, 9]))
    assert read_onnx(proto).declared["y"].shape in ((2, 4), None)


@pytest.mark.parametrize(
    ("attribute", "value", "wanted"),
    [
        ("value", numpy_helper.from_array(floats([[1, 2]])), floats([[1, 2]])),
        ("value_float", 0.1, np.float32(0.1)),
        ("value_floats", [0.1, 2.0], floats([0.1, 2])),
        ("value_int", 7, np.int64(7)),
        ("value_ints", [7, 8], np.array([7, 8], np.int64)),
        ("value_string", "a", np.array("a", object)),
        ("value_strings", ["a", "é"], np.array(["a", "é"], object)),
    ],
)
def test_constant_nodes_of_every_kind_are_weights(attribute: str, value: Any, wanted: np.ndarray) -> None:
    node = helper.make_node("Constant", [], ["c"], **{attribute: value})
    proto = model([node, helper.make_node("Identity", ["c"], ["y"])], {}, ["y"])
    found = read_onnx(proto).constants["c"]
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype


@pytest.mark.parametrize("name", ["value_int", "value_ints", "value_float", "value_floats"])
@pytest.mark.parametrize("kind", [AttributeProto.UNDEFINED, AttributeProto.STRING, AttributeProto.GRAPH])
def test_constant_nodes_of_another_type_are_refused(name: str, kind: int) -> None:
    node = helper.make_node("Constant", [], ["c"], name="constant")
    node.attribute.add(name=name, type=kind, s=b"x")
    proto = model([node, helper.make_node("Identity", ["c"], ["y"])], {}, ["y"])
    refused(proto, f"^small: a Constant whose {name} has another type$")


def test_a_constant_node_has_no_attributes_of_other_names() -> None:
    node = helper.make_node("Constant", [], ["c"], name="constant", value_bool=1)
    refused(
        model([node], {}, ["c"]),
        "^small: a Constant with attribute value_bool, which a Constant does not have$",
    )


def test_a_constant_node_without_a_value_is_named_by_its_output() -> None:
    proto = model([helper.make_node("Constant", [], ["c"])], {}, ["c"])
    refused(proto, "^small: the Constant 'c' has no single value$")
    del proto.graph.node[0].output[:]
    refused(proto, "^small: the Constant '' has no single value$")


@pytest.mark.parametrize("flat", [True, False])
def test_sparse_weights_are_written_out(flat: bool) -> None:
    values = numpy_helper.from_array(floats([5, 6]), "m")
    indices = np.array([1, 11], np.int64) if flat else np.array([[0, 1], [2, 3]], np.int64)
    proto = product({})
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices), [3, 4])
    proto.graph.sparse_initializer.append(sparse)
    wanted = np.zeros((3, 4), np.float32)
    wanted[0, 1], wanted[2, 3] = 5, 6
    np.testing.assert_array_equal(read_onnx(proto).constants["m"], wanted)


@pytest.mark.parametrize("name", ["object", "str", "StringDType128"])
def test_texts_are_objects_whatever_numpy_calls_them(name: str) -> None:
    assert named_dtype(name) == np.dtype(object)


def test_weights_listed_among_the_inputs_are_no_inputs() -> None:
    proto = product()
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, [3, 4]))
    assert list(read_onnx(proto).inputs) == ["x"]


def test_nodes_out_of_order_are_sorted() -> None:
    proto = convolutions()
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert [node.name for node in read_onnx(proto).nodes] == ["first", "second", "product"]


def test_functions_are_written_out() -> None:
    call = helper.make_node("Outer", ["x", "m"], ["y"], domain="own")
    functions = [a_function("Outer", "Inner"), a_function("Inner", "MatMul")]
    proto = model([call], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, functions=functions, domains={"own": 1})
    graph = read_onnx(proto)
    assert kinds(graph) == ["MatMul"]
    assert judge(graph, computed(proto, {"x": normal(2, 3)})).same


def test_a_function_of_another_opset_is_not_written_out() -> None:
    call = helper.make_node("Old", ["x", "m"], ["y"], domain="own")
    old = a_function("Old", "MatMul")
    old.opset_import[0].version = 11
    proto = model([call], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, functions=[old], domains={"own": 1})
    (node,) = read_onnx(proto).nodes
    assert node.problem == "own.Old, a function of the model that could not be written out"


def test_functions_that_call_themselves_are_refused() -> None:
    call = helper.make_node("A", ["x", "m"], ["y"], domain="own")
    functions = [a_function("A", "B"), a_function("B", "A")]
    refused(
        model([call], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, functions=functions, domains={"own": 1}),
        "calls itself",
    )


def test_functions_that_grow_beyond_measure_are_refused() -> None:
    functions = []
    for level in range(40):
        last = "MatMul" if level == 39 else f"F{level + 1}"
        one = a_function(f"F{level}", last)
        one.node.append(helper.make_node(last, ["a", "b"], ["d"], domain="" if last == "MatMul" else "own"))
        functions.append(one)
    call = helper.make_node("F0", ["x", "m"], ["y"], domain="own")
    refused(
        model([call], {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, functions=functions, domains={"own": 1}),
        "more than",
    )


def test_an_operator_of_another_domain_is_not_the_standards() -> None:
    nodes = [helper.make_node("MatMul", ["x", "m"], ["y"], domain="evil")]
    graph = read_onnx(model(nodes, {"x": [2, 3]}, ["y"], {"m": normal(3, 4)}, domains={"evil": 1}))
    assert kinds(graph) == ["evil.MatMul"]
    assert graph.nodes[0].operator is None
    assert graph.nodes[0].problem == "evil.MatMul"
    constant = helper.make_node("Constant", [], ["y"], domain="evil", value_int=7)
    assert kinds(read_onnx(model([constant], {}, ["y"], domains={"evil": 1}))) == ["evil.Constant"]


def test_the_standards_domain_has_two_names() -> None:
    nodes = [helper.make_node("MatMul", ["x", "m"], ["y"], domain="ai.onnx")]
    assert read_onnx(model(nodes, {"x": [2, 3]}, ["y"], {"m": normal(3, 4)})).nodes[0].operator is not None


@pytest.mark.parametrize("condition", [True, False])
def test_an_if_with_a_constant_condition_is_its_branch(condition: bool) -> None:
    proto = an_if(np.array(condition))
    graph = read_onnx(proto)
    assert kinds(graph) == ["MatMul"] * 4
    assert len(set(graph.tensors)) == 4
    assert ("m" if condition else "n") in graph.nodes[0].inputs
    report = judge(graph, computed(proto, {"x": normal(2, 3)}))
    assert report.same
    assert report.judged == 2


def test_an_if_that_returns_nothing_and_has_no_name_is_its_branch() -> None:
    proto = an_if(np.array(True))
    proto.graph.node.append(proto.graph.node[0])
    del proto.graph.node[-1].output[:]
    graph = read_onnx(proto)
    assert kinds(graph) == ["MatMul"] * 6
    assert len(set(graph.tensors)) == 6


def test_a_branch_may_return_what_was_there_before_and_hold_a_graph_of_its_own() -> None:
    inner = [helper.make_node("MatMul", ["x", "m"], ["inner"]), loop("rounds", "start", "looped")]
    returned = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "inner", "looped")
    ]
    branch = helper.make_graph(inner, "branch", [], returned)
    node = helper.make_node(
        "If", ["c"], ["before", "inside", "behind"], then_branch=branch, else_branch=branch
    )
    weights = {"c": np.array(True), "m": normal(3, 4), "rounds": np.array(2), "start": floats([1])[0]}
    proto = model([node], {"x": [2, 3]}, ["before", "inside", "behind"], weights)
    graph = read_onnx(proto)
    assert kinds(graph) == ["MatMul", "Loop", "Identity"]
    assert [node.outputs for node in graph.nodes] == [("inside",), ("behind",), ("before",)]
    x = normal(2, 3)  # onnxruntime refuses an x that is returned as it is
    report = judge(graph, {"x": x, "before": x, "inside": x @ normal(3, 4), "behind": weights["start"]})
    assert [one.verdict for one in report.tensors] == ["rounding", "unjudged", "equal"]


def test_a_sparse_constant_keeps_its_type() -> None:
    dense = np.array([[0, 2, 0], [0, 0, 3]], np.float32)
    places = numpy_helper.from_array(np.flatnonzero(dense), "places")
    proto = model([helper.make_node("Add", ["x", "s"], ["y"])], {"x": [2, 3]}, ["y"])
    held = numpy_helper.from_array(dense[dense != 0], "s")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(held, places, dense.shape))
    constant = read_onnx(proto).constants["s"]
    assert constant.dtype == np.float32
    np.testing.assert_array_equal(constant, dense)


def test_a_graph_without_a_name_is_called_a_model() -> None:
    proto = product()
    proto.graph.name = ""
    assert read_onnx(proto).name == "model"


def test_an_if_that_depends_on_an_input_is_named() -> None:
    proto = an_if(None)
    graph = read_onnx(proto)
    assert kinds(graph) == ["If", "If"]
    assert "a graph within the graph" in graph.nodes[0].problem
    report = judge(graph, computed(proto, {"x": normal(2, 3), "c": np.array(True)}))
    assert report.unjudged == {"If": 2}
    assert report.verdict == "undecided"


def test_what_a_branch_reads_is_made_before_the_if() -> None:
    proto = an_if(None)
    assert proto.graph.initializer[0].name == "m"
    del proto.graph.initializer[0]
    refused(proto, "^small: If '' needs 'm', which nothing makes$")
    proto.graph.node.append(helper.make_node("Identity", ["x"], ["m"]))
    assert kinds(read_onnx(proto)) == ["Identity", "If", "If"]


def test_an_attribute_that_refers_to_none_is_unjudged() -> None:
    proto = convolutions()
    proto.graph.node[0].attribute.append(
        AttributeProto(name="group", ref_attr_name="g", type=AttributeProto.INT)
    )
    assert "refers to another" in read_onnx(proto).nodes[0].problem


def test_an_attribute_of_another_type_is_unjudged() -> None:
    proto = convolutions()
    proto.graph.node[1].attribute[0].CopyFrom(helper.make_attribute("strides", "wide"))
    assert "wrong type" in read_onnx(proto).nodes[1].problem


def test_an_attribute_that_holds_a_damaged_tensor_is_named() -> None:
    proto = model([helper.make_node("ConstantOfShape", ["n"], ["y"])], {}, ["y"], {"n": np.array([2])})
    proto.graph.node[0].attribute.append(helper.make_attribute("value", numpy_helper.from_array(floats([1]))))
    proto.graph.node[0].attribute[0].t.raw_data = b"123"
    assert read_onnx(proto).nodes[0].problem == "value has 3 bytes, but its shape [1] needs 4"


def test_texts_of_an_attribute_that_are_no_text_are_read_as_far_as_they_are() -> None:
    attribute = helper.make_attribute("activations", ["Relu", "Tanh"])
    attribute.strings[1] = b"Tan\xff"
    assert attribute_value(attribute) == ("Relu", "Tan\ufffd")


def test_inputs_that_the_standard_does_not_allow_are_unjudged() -> None:
    """One too many; and one left out that is needed, before one that is given."""
    for inputs in (["x", "m", "x"], ["", "m"]):
        proto = product()
        proto.graph.node[0].input[:] = inputs
        said = f"MatMul with {len(inputs)} inputs, which the standard does not allow"
        assert read_onnx(proto).nodes[0].problem == said


def test_an_operator_that_its_opset_does_not_have_is_unjudged() -> None:
    proto = model([helper.make_node("Gelu", ["x"], ["y"])], {"x": [2, 3]}, ["y"], opset=17)
    assert read_onnx(proto).nodes[0].problem == "Gelu, which opset 17 does not have"


def test_an_attribute_that_the_operator_does_not_have_is_unjudged() -> None:
    proto = product()
    proto.graph.node[0].attribute.append(helper.make_attribute("folds", 2))
    assert read_onnx(proto).nodes[0].problem == "MatMul with attribute folds"


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        ("Cast", "to"),
        ("EyeLike", "dtype"),
        ("QuantizeLinear", "output_dtype"),
        ("QuantizeLinear", "precision"),
    ],
)
def test_a_type_that_the_standard_does_not_have_is_unjudged(kind: str, attribute: str) -> None:
    inputs = ["x", "m"] if kind == "QuantizeLinear" else ["x"]
    numbered: dict[str, Any] = {attribute: 77}
    node = helper.make_node(kind, inputs, ["y"], **numbered)
    proto = model([node], {"x": [2, 3]}, ["y"], {"m": floats([1])}, opset=23)
    assert read_onnx(proto).nodes[0].problem == "values of type 77"


def test_meanings_outside_of_the_opsets_known_are_unjudged() -> None:
    assert read_onnx(product(opset=6)).nodes[0].operator is not None  # MatMul means the same since 1
    gemm = helper.make_node("Gemm", ["x", "m", "b"], ["y"], broadcast=1)
    old = model([gemm], {"x": [2, 3]}, ["y"], {"m": normal(3, 4), "b": normal(4)}, opset=6)
    assert read_onnx(old).nodes[0].problem == "Gemm of opset 6: known from 7 on"
    newest = f"the onnx package here knows {defs.onnx_opset_version()} at most"
    refused(product(opset=999), f"^small: keeps to opset 999, but {newest}: .*pip install -U onnx$")
    assert kinds(read_onnx(product(opset=defs.onnx_opset_version()))) == ["MatMul"]


def test_a_graph_that_names_no_version_of_the_standard_keeps_to_its_first() -> None:
    nodes = [helper.make_node(kind, ["x", "m"], [kind]) for kind in ("MatMul", "Mul")]
    proto = model(nodes, {"x": [2, 3]}, ["Mul"], {"m": normal(3, 4)}, domains={"own": 9})
    del proto.opset_import[0]
    assert [node.problem for node in read_onnx(proto).nodes] == ["", "Mul of opset 1: known from 7 on"]
